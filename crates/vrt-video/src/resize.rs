//! Pictures of one camera in the size of another one's.

use crate::Frame;

/// Whether both have one aspect ratio, to within the rounding of a side to whole pixels.
pub fn one_aspect(a: (usize, usize), b: (usize, usize)) -> bool {
    let [aw, ah, bw, bh] = [a.0, a.1, b.0, b.1].map(|side| side as f64);
    // A side of the smaller one may be up to a pixel off.
    (aw * bh - ah * bw).abs() <= aw.max(ah).max(bw).max(bh)
}

/// The grey picture in another size: bilinear between the centres of its pixels, edges repeated.
///
/// # Panics
///
/// Panics if the picture has more than one channel, or a side of the other size is zero.
pub fn resize_grey(picture: Frame, width: usize, height: usize) -> Frame {
    assert_eq!(picture.channels(), 1, "a grey picture");
    let (from_width, from_height) = (picture.width(), picture.height());
    if (from_width, from_height) == (width, height) {
        return picture;
    }
    let columns: Vec<_> = (0..width).map(|x| Between::of(x, width, from_width)).collect();
    let mut samples = Vec::with_capacity(width * height);
    for row in (0..height).map(|y| Between::of(y, height, from_height)) {
        let upper = &picture.samples()[row.first * from_width..][..from_width];
        let lower = &picture.samples()[row.second * from_width..][..from_width];
        samples.extend(columns.iter().map(|c| row.mix(c.pick(upper), c.pick(lower))));
    }
    Frame::new(width, height, 1, samples)
}

/// A place between two samples of a line.
#[derive(Clone, Copy)]
struct Between {
    first: usize,
    second: usize,
    /// Share of the second.
    share: f32,
}

impl Between {
    /// Where sample `index` of `len` lies on a line of `from` samples over the same length.
    fn of(index: usize, len: usize, from: usize) -> Self {
        let place = (index as f64 + 0.5) * from as f64 / len as f64 - 0.5;
        let place = place.clamp(0.0, (from - 1) as f64);
        let first = place as usize;
        Self { first, second: (first + 1).min(from - 1), share: (place - first as f64) as f32 }
    }

    fn pick(self, line: &[f32]) -> f32 {
        self.mix(line[self.first], line[self.second])
    }

    fn mix(self, first: f32, second: f32) -> f32 {
        first + self.share * (second - first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(width: usize, height: usize) -> Frame {
        let at = |i: usize| (i % width) as f32 / width as f32 + (i / width) as f32 / 100.0;
        Frame::new(width, height, 1, (0..width * height).map(at).collect())
    }

    #[test]
    fn a_picture_of_the_right_size_is_left_alone() {
        assert_eq!(resize_grey(ramp(7, 5), 7, 5), ramp(7, 5));
    }

    #[test]
    fn flat_pictures_stay_flat() {
        for (width, height) in [(1, 1), (3, 9), (20, 10)] {
            let flat = resize_grey(Frame::filled(10, 5, 1, 0.3), width, height);
            assert_eq!(flat, Frame::filled(width, height, 1, 0.3));
        }
    }

    #[test]
    fn between_two_samples_lie_quarters() {
        let line = resize_grey(Frame::new(2, 1, 1, vec![0.0, 1.0]), 4, 1);
        assert_eq!(line.samples(), [0.0, 0.25, 0.75, 1.0]);
        let line = resize_grey(Frame::new(4, 1, 1, vec![0.0, 1.0, 3.0, 5.0]), 2, 1);
        assert_eq!(line.samples(), [0.5, 4.0]);
    }

    #[test]
    fn rows_and_columns_are_treated_alike() {
        let turned = |f: &Frame| {
            let (w, h) = (f.width(), f.height());
            let at = |i: usize| f.samples()[(i % h) * w + i / h];
            Frame::new(h, w, 1, (0..w * h).map(at).collect())
        };
        let (a, b) =
            (turned(&resize_grey(ramp(6, 4), 9, 5)), resize_grey(turned(&ramp(6, 4)), 5, 9));
        let off = a.samples().iter().zip(b.samples()).map(|(a, b)| (a - b).abs());
        assert!(off.fold(0.0, f32::max) < 1e-6);
    }

    #[test]
    fn aspect_ratios_are_one_up_to_rounding() {
        assert!(one_aspect((640, 360), (1280, 720)));
        assert!(one_aspect((333, 187), (1000, 562)));
        assert!(!one_aspect((400, 250), (1280, 720)));
        assert!(!one_aspect((360, 640), (640, 360)));
        assert!(!one_aspect((24, 16), (16, 16)));
    }
}
