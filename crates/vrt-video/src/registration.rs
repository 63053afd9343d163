//! Where the pixels of one camera are seen by another one.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::{Frame, one_aspect, resize_grey};

/// The longest file of nine numbers and words about them.
const MAX_FILE: u64 = 1 << 16;

/// The least share of a frame that the other camera has to see.
const LEAST_SEEN: f64 = 0.25;

/// The least share of the other camera's picture that frames show: far less is a map the other way
/// round, or in other units.
const LEAST_SHOWN: f64 = 1.0 / 32.0;

/// The least determinant of a map, where the columns of its matrix are of length 1.
const LEAST_VOLUME: f64 = 1e-12;

/// Places on each side that are looked at for what the other camera sees.
const PLACES: usize = 64;

/// A plane projective map from places of a frame to places of another camera's picture.
///
/// Places are counted in pixels from the upper left corner, so that the middle of the first pixel is
/// (0.5, 0.5): `[u·w, v·w, w] = matrix · [x, y, 1]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Registration {
    /// Where it comes from, for errors.
    path: PathBuf,
    matrix: [f64; 9],
}

/// Why a file is no registration, or does not fit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationError {
    /// The file cannot be read.
    #[error("{path:?} cannot be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It holds something else.
    #[error(
        "{path:?} is no registration: {reason}; write 6 numbers (affine) or 9 (homography), row by \
         row, that take a place of the frame to one of the spike camera's picture, in pixels"
    )]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// It shrinks frames to next to nothing.
    #[error(
        "{path:?} takes a frame of {}×{} to only {shown:.1} % of the spike camera's picture of \
         {}×{}: it is about other sizes, the other way round, or not in pixels",
        frame.0, frame.1, picture.0, picture.1
    )]
    Shrunk {
        /// The file.
        path: PathBuf,
        /// How much of the picture frames show, of 100.
        shown: f64,
        /// Width and height of the frame.
        frame: (usize, usize),
        /// Width and height of the picture.
        picture: (usize, usize),
    },
    /// The other camera does not look there.
    #[error(
        "{path:?} takes only {seen:.0} % of a frame of {}×{} into the spike camera's picture of \
         {}×{}: it is about other sizes, or the other way round",
        frame.0, frame.1, picture.0, picture.1
    )]
    Elsewhere {
        /// The file.
        path: PathBuf,
        /// How much of the frame is seen, of 100.
        seen: f64,
        /// Width and height of the frame.
        frame: (usize, usize),
        /// Width and height of the picture.
        picture: (usize, usize),
    },
}

impl Registration {
    /// The one in the file `path`: 6 numbers (affine) or 9, row by row, with blanks, commas or line
    /// breaks between them; what follows a `#` is not looked at.
    ///
    /// # Errors
    ///
    /// Says that it cannot be read, or what is wrong with it.
    pub fn read(path: &Path) -> Result<Self, RegistrationError> {
        let unreadable = |source| RegistrationError::Read { path: path.to_path_buf(), source };
        let mut bytes = Vec::new();
        let file = std::fs::File::open(path).map_err(unreadable)?;
        file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        let registration = match str::from_utf8(&bytes) {
            _ if bytes.len() as u64 > MAX_FILE => Err(format!("it has more than {MAX_FILE} bytes")),
            Ok(text) => Self::parse(path, text),
            Err(_) => Err("it is not text".to_owned()),
        };
        registration.map_err(|reason| {
            let path = path.to_path_buf();
            RegistrationError::Content { path, reason }
        })
    }

    fn parse(path: &Path, text: &str) -> Result<Self, String> {
        let lines = text.lines().filter_map(|line| line.split('#').next());
        let words = lines.flat_map(|line| line.split([' ', '\t', ',', ';', '[', ']']));
        let numbers = words.filter(|word| !word.is_empty()).map(|word| {
            let number = word.parse().ok().filter(|number: &f64| number.is_finite());
            number.ok_or_else(|| format!("{word:?} is no number"))
        });
        let numbers: Vec<f64> = numbers.collect::<Result<_, _>>()?;
        let matrix = match *numbers.as_slice() {
            [a, b, c, d, e, f] => [a, b, c, d, e, f, 0.0, 0.0, 1.0],
            [a, b, c, d, e, f, g, h, i] => [a, b, c, d, e, f, g, h, i],
            _ => return Err(format!("it has {} numbers", numbers.len())),
        };
        let [a, b, c, d, e, f, g, h, i] = matrix;
        let determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
        // Numbers of a column have one unit: what moves a picture is large where it is.
        let volume: f64 = [[a, d, g], [b, e, h], [c, f, i]]
            .map(|[x, y, z]| (x * x + y * y + z * z).sqrt())
            .iter()
            .product();
        if determinant.abs() <= LEAST_VOLUME * volume {
            return Err("it takes a plane to a line or a point".to_owned());
        }
        Ok(Self { path: path.to_path_buf(), matrix })
    }

    /// The file that it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same map with the sign by which what is in front of a camera that sees frames of `size`
    /// has positive weights: all numbers may be of the other sign.
    fn facing(&self, (width, height): (usize, usize)) -> Facing {
        let [_, _, _, _, _, _, g, h, i] = self.matrix;
        let middle = g * width as f64 / 2.0 + h * height as f64 / 2.0 + i;
        Facing(self.matrix.map(|number| if middle < 0.0 { -number } else { number }))
    }

    /// Whether a camera whose pictures have the size `picture` sees enough of frames of the size
    /// `frame`.
    ///
    /// # Errors
    ///
    /// Fails if it sees less than a quarter, or frames show less than 1/32 of its pictures.
    pub fn check(
        &self,
        picture: (usize, usize),
        frame: (usize, usize),
    ) -> Result<(), RegistrationError> {
        let (facing, [columns, rows]) = (self.facing(frame), [picture.0, picture.1]);
        let on = |place: usize, len: usize| (place as f64 + 0.5) * len as f64 / PLACES as f64;
        let places =
            (0..PLACES * PLACES).map(|it| (on(it % PLACES, frame.0), on(it / PLACES, frame.1)));
        let inside = |[u, v]: &[f64; 2]| {
            (0.0..=columns as f64).contains(u) && (0.0..=rows as f64).contains(v)
        };
        let seen: Vec<[f64; 2]> =
            places.filter_map(|(x, y)| facing.apply(x, y)).filter(inside).collect();
        let share = seen.len() as f64 / (PLACES * PLACES) as f64;
        if share < LEAST_SEEN {
            let (path, seen) = (self.path.clone(), 100.0 * share);
            return Err(RegistrationError::Elsewhere { path, seen, frame, picture });
        }
        let extent = |axis: usize| {
            let along = seen.iter().map(|place| place[axis]);
            along.clone().fold(f64::MIN, f64::max) - along.fold(f64::MAX, f64::min)
        };
        let share = extent(0) * extent(1) / (columns * rows) as f64;
        if share < LEAST_SHOWN {
            let (path, shown) = (self.path.clone(), 100.0 * share);
            return Err(RegistrationError::Shrunk { path, shown, frame, picture });
        }
        Ok(())
    }

    /// The grey picture as the camera of frames of `size` sees it: bilinear, with the picture's
    /// edges repeated where it does not reach.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    ///
    /// # Panics
    ///
    /// Panics if the picture has more than one channel.
    pub fn bring(
        &self,
        picture: &Frame,
        size @ (width, height): (usize, usize),
    ) -> Result<Frame, RegistrationError> {
        assert_eq!(picture.channels(), 1, "a grey picture");
        self.check((picture.width(), picture.height()), size)?;
        let facing = self.facing(size);
        let samples = (0..width * height).map(|at| {
            let place = facing.apply((at % width) as f64 + 0.5, (at / width) as f64 + 0.5);
            let [u, v] = place.unwrap_or([-1.0, -1.0]);
            bilinear(picture, u - 0.5, v - 0.5)
        });
        Ok(Frame::new(width, height, 1, samples.collect()))
    }
}

/// Whether the pictures of a spike camera show what frames do: where `align` says, or edge to edge,
/// which needs one aspect ratio.
///
/// # Errors
///
/// As [`Registration::check`].
pub fn fits_frames(
    align: Option<&Registration>,
    picture: (usize, usize),
    frame: (usize, usize),
) -> Result<bool, RegistrationError> {
    match align {
        Some(align) => align.check(picture, frame).map(|()| true),
        None => Ok(one_aspect(picture, frame)),
    }
}

/// The picture of a spike camera in the size of frames: where `align` says, or edge to edge.
///
/// # Errors
///
/// As [`Registration::bring`].
///
/// # Panics
///
/// Panics if the picture has more than one channel, or a side of the frames is zero.
pub fn place_grey(
    picture: Frame,
    align: Option<&Registration>,
    size: (usize, usize),
) -> Result<Frame, RegistrationError> {
    match align {
        Some(align) => align.bring(&picture, size),
        None => Ok(resize_grey(picture, size.0, size.1)),
    }
}

/// A map of [`Registration`] for frames of one size.
struct Facing([f64; 9]);

impl Facing {
    /// Where a place of the frame is on the picture; `None` behind the camera.
    fn apply(&self, x: f64, y: f64) -> Option<[f64; 2]> {
        let [a, b, c, d, e, f, g, h, i] = self.0;
        let w = g * x + h * y + i;
        (w > 0.0).then(|| [(a * x + b * y + c) / w, (d * x + e * y + f) / w])
    }
}

/// The sample between the pixels around a place, counted from the middle of the first one.
fn bilinear(picture: &Frame, u: f64, v: f64) -> f32 {
    let along = |place: f64, len: usize| {
        let place = place.clamp(0.0, (len - 1) as f64);
        let first = place as usize;
        (first, (first + 1).min(len - 1), (place - first as f64) as f32)
    };
    let (left, right, across) = along(u, picture.width());
    let (upper, lower, down) = along(v, picture.height());
    let row = |y: usize| {
        let row = &picture.samples()[y * picture.width()..][..picture.width()];
        row[left] + across * (row[right] - row[left])
    };
    let (upper, lower) = (row(upper), row(lower));
    upper + down * (lower - upper)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Registration, String> {
        Registration::parse(Path::new("it.txt"), text)
    }

    /// Brightness is `x + 100 y` at the middle of pixels.
    fn ramp(width: usize, height: usize) -> Frame {
        let at = |i: usize| (i % width) as f32 + 100.0 * (i / width) as f32;
        Frame::new(width, height, 1, (0..width * height).map(at).collect())
    }

    #[test]
    fn scale_alone_is_what_is_done_without_a_file() {
        let half = parse("0.5 0 0\n0 0.5 0").unwrap();
        let (found, expected) =
            (half.bring(&ramp(8, 5), (16, 10)), resize_grey(ramp(8, 5), 16, 10));
        for (a, b) in found.unwrap().samples().iter().zip(expected.samples()) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }

    #[test]
    fn a_homography_divides() {
        // At x = 1.5: w = 2, u = (2 · 1.5 + 2) / 2 = 2.5, v = 2 y / 2.
        let map = parse("[2, 0, 2], [0, 2, 0], [0.6666666666666666, 0, 1] # measured").unwrap();
        let facing = map.facing((4, 4));
        let [u, v] = facing.apply(1.5, 3.0).unwrap();
        assert!((u - 2.5).abs() < 1e-9 && (v - 3.0).abs() < 1e-9, "{u} {v}");
        assert_eq!(facing.apply(-9.0, 0.0), None);
    }

    #[test]
    fn the_sign_of_all_numbers_does_not_matter() {
        let [some, others] =
            ["0.5 0.1 1  0 0.6 2  0.01 0 1", "-0.5 -0.1 -1  0 -0.6 -2  -0.01 0 -1"]
                .map(|text| parse(text).unwrap().bring(&ramp(12, 9), (9, 7)).unwrap());
        assert_eq!(some, others);
    }

    #[test]
    fn a_picture_may_be_far_larger_and_lie_elsewhere() {
        for text in ["1e-4 0 1  0 1e-4 1", "1 0 30000  0 1 30000", "900 0 1  0 900 1"] {
            assert!(parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn long_files_are_refused_not_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, format!("1 0 0 0 1 0 #{}\n7", "é".repeat(MAX_FILE as usize)))
            .unwrap();
        let error = Registration::read(&path).unwrap_err().to_string();
        assert!(error.contains("more than 65536 bytes"), "{error}");
    }

    #[test]
    fn other_files_are_refused() {
        for (text, words) in [
            ("", "0 numbers"),
            ("1 0 0 0 1", "5 numbers"),
            ("1 0 0 0 x 0", "\"x\""),
            ("1 0 0 0 inf 0", "\"inf\""),
            ("1 2 0 2 4 0", "a line"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
        for text in ["0.01 0 0 0 0.01 0", "1e-13 0 5 0 1 0"] {
            let shrunk = parse(text).unwrap().check((800, 500), (800, 500)).unwrap_err();
            assert!(shrunk.to_string().contains("0.0 % of the spike camera's"), "{shrunk}");
        }
        let elsewhere = parse("1 0 900 0 1 0").unwrap().bring(&ramp(8, 5), (8, 5)).unwrap_err();
        assert!(elsewhere.to_string().contains("0 % of a frame of 8×5"), "{elsewhere}");
    }

    proptest! {
        #[test]
        fn shifts_move_pixels(dx in 0usize..4, dy in 0usize..3) {
            let map = parse(&format!("1 0 {dx} 0 1 {dy}")).unwrap();
            let moved = map.bring(&ramp(12, 9), (8, 6)).unwrap();
            for (at, sample) in moved.samples().iter().enumerate() {
                let expected = (at % 8 + dx) as f32 + 100.0 * (at / 8 + dy) as f32;
                prop_assert_eq!(*sample, expected);
            }
        }

        #[test]
        fn no_text_breaks_it(text in ".{0,60}") {
            let _ = parse(&text);
        }
    }
}
