//! The first line of a YUV4MPEG2 stream.

use crate::y4m::Axis;
use crate::{Frame, Range, Ratio};

/// The word that a stream begins with.
pub(crate) const MAGIC: &str = "YUV4MPEG2";

/// Planes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sampling {
    /// Luma alone.
    Mono,
    /// Luma and two chroma planes, sampled so along rows and along columns.
    Color(Axis, Axis),
    /// As [`Sampling::Color`] without subsampling, and a plane of opacity.
    ColorAlpha,
}

impl Sampling {
    /// Samples of all planes of a `width`×`height` picture; `None` if too many to count.
    fn samples(self, width: usize, height: usize) -> Option<usize> {
        let luma = width.checked_mul(height)?;
        match self {
            Self::Mono => Some(luma),
            Self::ColorAlpha => luma.checked_mul(4),
            Self::Color(columns, rows) => {
                let chroma = columns.len(width).checked_mul(rows.len(height))?;
                luma.checked_add(chroma.checked_mul(2)?)
            }
        }
    }
}

/// What the first line states.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Header {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) frame_rate: Option<Ratio>,
    pub(crate) sample_aspect: Option<Ratio>,
    pub(crate) sampling: Sampling,
    pub(crate) bit_depth: u8,
    pub(crate) range: Option<Range>,
}

impl Header {
    /// Reads the line (without its end); the error says what is wrong with it.
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let mut words = line.split(' ').filter(|word| !word.is_empty());
        if words.next() != Some(MAGIC) {
            return Err(format!("it does not begin with {MAGIC}"));
        }
        let (mut width, mut height) = (None, None);
        let mut header = Self {
            width: 0,
            height: 0,
            frame_rate: None,
            sample_aspect: None,
            sampling: Sampling::Color(Axis::HalfMiddle, Axis::HalfMiddle),
            bit_depth: 8,
            range: None,
        };
        for word in words {
            let mut characters = word.chars();
            let tag = characters.next();
            let value = characters.as_str();
            match tag {
                Some('W') => width = Some(side("width", value)?),
                Some('H') => height = Some(side("height", value)?),
                Some('F') => header.frame_rate = ratio("frame rate", value)?,
                Some('A') => header.sample_aspect = ratio("pixel aspect", value)?,
                Some('C') => (header.sampling, header.bit_depth) = colour_space(value)?,
                Some('I') => check_interlacing(value)?,
                Some('X') => header.range = color_range(value).or(header.range),
                // Later versions may add tags; the format's description says to pass over them.
                _ => {}
            }
        }
        header.width = width.ok_or("no width (W) is stated")?;
        header.height = height.ok_or("no height (H) is stated")?;
        header.frame_bytes().map(|_| header)
    }

    /// Bytes of one frame.
    pub(crate) fn frame_bytes(&self) -> Result<usize, String> {
        let pixels = self.width.checked_mul(self.height);
        let samples = self.sampling.samples(self.width, self.height);
        match (pixels, samples) {
            (Some(1..=Frame::MAX_PIXELS), Some(samples)) => {
                Ok(samples * if self.bit_depth > 8 { 2 } else { 1 })
            }
            _ => Err(format!(
                "its frames are {}×{}; 1 to {} pixels are taken",
                self.width,
                self.height,
                Frame::MAX_PIXELS
            )),
        }
    }
}

fn side(what: &str, value: &str) -> Result<usize, String> {
    value.parse().map_err(|_| format!("the {what} {value:?} is not a number of pixels"))
}

/// A fraction; 0 above or below the line states that it is not known.
fn ratio(what: &str, value: &str) -> Result<Option<Ratio>, String> {
    let parts = value.split_once(':');
    let parsed = parts.and_then(|(above, below)| Some((above.parse().ok()?, below.parse().ok()?)));
    match parsed {
        None => Err(format!("the {what} {value:?} is not a fraction like 25:1")),
        Some((0, _) | (_, 0)) => Ok(None),
        Some((numerator, denominator)) => Ok(Some(Ratio { numerator, denominator })),
    }
}

fn check_interlacing(value: &str) -> Result<(), String> {
    match value {
        "t" | "b" | "m" => Err(format!(
            "it is interlaced (I{value}): restoring needs whole frames; deinterlace it first \
             (`ffmpeg -i IN.y4m -vf bwdif OUT.y4m`)"
        )),
        _ => Ok(()),
    }
}

fn color_range(value: &str) -> Option<Range> {
    match value {
        "COLORRANGE=FULL" => Some(Range::Full),
        "COLORRANGE=LIMITED" => Some(Range::Limited),
        _ => None,
    }
}

/// Planes and depth of a colour space by its name.
///
/// Names of more than 8 bits do not say where chroma lies; it is at the left, as in every video
/// format of that depth.
fn colour_space(name: &str) -> Result<(Sampling, u8), String> {
    use Axis::{Full, HalfFirst, HalfMiddle, QuarterFirst};
    let sampling = match name {
        "420" | "420jpeg" => Some(Sampling::Color(HalfMiddle, HalfMiddle)),
        "420mpeg2" => Some(Sampling::Color(HalfFirst, HalfMiddle)),
        "420paldv" => Some(Sampling::Color(HalfFirst, HalfFirst)),
        "422" => Some(Sampling::Color(HalfFirst, Full)),
        "411" => Some(Sampling::Color(QuarterFirst, Full)),
        "444" => Some(Sampling::Color(Full, Full)),
        "444alpha" => Some(Sampling::ColorAlpha),
        "mono" => Some(Sampling::Mono),
        _ => None,
    };
    if let Some(sampling) = sampling {
        return Ok((sampling, 8));
    }
    let deep = [
        ("420p", Sampling::Color(HalfFirst, HalfMiddle)),
        ("422p", Sampling::Color(HalfFirst, Full)),
        ("444p", Sampling::Color(Full, Full)),
        ("mono", Sampling::Mono),
    ];
    let found = deep.iter().find_map(|(stem, sampling)| {
        let depth: u8 = name.strip_prefix(stem)?.parse().ok()?;
        matches!(depth, 9 | 10 | 12 | 14 | 16).then_some((*sampling, depth))
    });
    found.ok_or_else(|| {
        format!(
            "the colour space {name:?} is not handled; 420, 422, 444, 411 and mono are, and p9, \
             p10, p12, p14, p16 forms of 420, 422, 444 and mono"
        )
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_tags_are_kept() {
        let line = "YUV4MPEG2 W352 H288 F30000:1001 Ip A128:117 C422p10 XYSCSS=422P10 \
                    XCOLORRANGE=FULL";
        let header = Header::parse(line).unwrap();
        assert_eq!((header.width, header.height, header.bit_depth), (352, 288, 10));
        assert_eq!(header.frame_rate, Some(Ratio { numerator: 30000, denominator: 1001 }));
        assert_eq!(header.sample_aspect, Some(Ratio { numerator: 128, denominator: 117 }));
        assert_eq!(header.sampling, Sampling::Color(Axis::HalfFirst, Axis::Full));
        assert_eq!(header.range, Some(Range::Full));
        assert_eq!(header.frame_bytes(), Ok(352 * 288 * 2 * 2));
    }

    #[test]
    fn what_is_not_stated_has_its_default() {
        let header = Header::parse("YUV4MPEG2 H3 W5 F0:0 A0:0").unwrap();
        assert_eq!((header.frame_rate, header.sample_aspect, header.range), (None, None, None));
        // 15 luma samples and two planes of 3×2.
        assert_eq!((header.bit_depth, header.frame_bytes()), (8, Ok(27)));
    }

    #[test]
    fn bad_heads_are_refused_with_the_reason() {
        for (line, word) in [
            ("RIFF W5 H3", "YUV4MPEG2"),
            ("", "YUV4MPEG2"),
            ("YUV4MPEG2 W5", "height"),
            ("YUV4MPEG2 H5", "width"),
            ("YUV4MPEG2 W-5 H3", "width"),
            ("YUV4MPEG2 W0 H3", "0×3"),
            ("YUV4MPEG2 W4294967295 H4294967295", "pixels"),
            ("YUV4MPEG2 W99999999999999999999 H1", "width"),
            ("YUV4MPEG2 W18446744073709551615 H18446744073709551615", "pixels"),
            ("YUV4MPEG2 W5 H3 F25", "frame rate"),
            ("YUV4MPEG2 W5 H3 A1:x", "aspect"),
            ("YUV4MPEG2 W5 H3 It", "deinterlace"),
            ("YUV4MPEG2 W5 H3 Im", "deinterlace"),
            ("YUV4MPEG2 W5 H3 C420p11", "420p11"),
            ("YUV4MPEG2 W5 H3 C4:2:0", "4:2:0"),
        ] {
            let reason = Header::parse(line).unwrap_err();
            assert!(reason.contains(word), "{line}: {reason}");
        }
    }

    proptest! {
        #[test]
        fn no_line_panics(line in "(YUV4MPEG2 )?([WHFAICX]?[0-9a-z:]{0,12} ?){0,6}.{0,9}") {
            if let Ok(header) = Header::parse(&line) {
                prop_assert!(header.width * header.height <= Frame::MAX_PIXELS);
            }
        }
    }
}
