//! Raw samples on a pipe to or from ffmpeg, and what they mean.
//!
//! ffmpeg's own conversion between `YCbCr` and RGB is off by up to one code of 255, so it only
//! resamples chroma here: samples cross the pipe as 16-bit `YCbCr` without subsampling, and the
//! matrix is applied in `f32` on this side. A code of `b` bits crosses as `code · 2^(16 − b)`.

use crate::frame::quantise;
use crate::ycbcr::Codes;
use crate::{Frame, Matrix, Range};

/// How `YCbCr` codes stand for RGB.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct YuvLayout {
    /// Between RGB and `YCbCr`.
    pub(crate) matrix: Matrix,
    /// Which codes are black and white.
    pub(crate) range: Range,
    /// Bits of one code in the file.
    pub(crate) bit_depth: u8,
    /// Chroma is not resampled after this: it is rounded to whole codes here, as luma always is.
    pub(crate) whole_chroma: bool,
}

/// What one pixel on the pipe is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Layout {
    /// Three planes of 16 bits, little-endian.
    Yuv(YuvLayout),
    /// Three bytes a pixel.
    Rgb8,
    /// Three little-endian 16-bit words a pixel.
    Rgb16,
}

impl YuvLayout {
    fn codes(&self) -> Codes {
        Codes::new(self.matrix, self.range, self.bit_depth)
    }

    /// One code of the file, in units of the pipe.
    fn code(&self) -> f32 {
        (16.0 - f32::from(self.bit_depth)).exp2()
    }
}

impl Layout {
    /// ffmpeg's name for it.
    pub(crate) fn pixel_format(&self) -> &'static str {
        match self {
            Self::Yuv(_) => "yuv444p16le",
            Self::Rgb8 => "rgb24",
            Self::Rgb16 => "rgb48le",
        }
    }

    /// Bytes of one pixel.
    pub(crate) fn pixel_bytes(&self) -> usize {
        match self {
            Self::Yuv(_) | Self::Rgb16 => 6,
            Self::Rgb8 => 3,
        }
    }

    /// One picture of RGB samples in 0…1 out of its bytes.
    pub(crate) fn decode(&self, bytes: &[u8]) -> Vec<f32> {
        match self {
            Self::Yuv(yuv) => decode_yuv(yuv, bytes),
            Self::Rgb8 => bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect(),
            Self::Rgb16 => words(bytes).map(|word| word / 65535.0).collect(),
        }
    }

    /// The bytes of one picture; one channel is written as grey.
    pub(crate) fn encode(&self, frame: &Frame, bytes: &mut Vec<u8>) {
        bytes.clear();
        match self {
            Self::Yuv(yuv) => encode_yuv(yuv, frame, bytes),
            Self::Rgb8 => {
                let rgb = pixels(frame).flatten();
                bytes.extend(rgb.map(|value| quantise(value, 255.0) as u8));
            }
            Self::Rgb16 => {
                let rgb = pixels(frame).flatten();
                bytes.extend(rgb.flat_map(|value| quantise(value, 65535.0).to_le_bytes()));
            }
        }
    }
}

fn words(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks().0.iter().map(|&word| f32::from(u16::from_le_bytes(word)))
}

/// Red, green and blue of every pixel.
fn pixels(frame: &Frame) -> impl Iterator<Item = [f32; 3]> {
    let channels = frame.channels();
    frame.samples().chunks_exact(channels).map(move |pixel| match pixel {
        [red, green, blue, ..] => [*red, *green, *blue],
        _ => [pixel[0]; 3],
    })
}

fn decode_yuv(yuv: &YuvLayout, bytes: &[u8]) -> Vec<f32> {
    let (codes, unit) = (yuv.codes(), yuv.code().recip());
    let plane = bytes.len() / 3;
    let (luma, chroma) = bytes.split_at(plane);
    let (blue, red) = chroma.split_at(plane);
    let mut rgb = Vec::with_capacity(bytes.len() / 2);
    for ((y, cb), cr) in words(luma).zip(words(blue)).zip(words(red)) {
        rgb.extend(codes.to_rgb([y * unit, cb * unit, cr * unit]));
    }
    rgb
}

fn encode_yuv(yuv: &YuvLayout, frame: &Frame, bytes: &mut Vec<u8>) {
    let (codes, unit) = (yuv.codes(), yuv.code());
    let plane = frame.width() * frame.height() * 2;
    bytes.resize(3 * plane, 0);
    let (luma, chroma) = bytes.split_at_mut(plane);
    let (blue, red) = chroma.split_at_mut(plane);
    let chroma_step = if yuv.whole_chroma { unit } else { 1.0 };
    let planes = luma.as_chunks_mut().0.iter_mut();
    let planes = planes.zip(blue.as_chunks_mut().0).zip(red.as_chunks_mut().0);
    for (((y_out, cb_out), cr_out), rgb) in planes.zip(pixels(frame)) {
        let [y, cb, cr] = codes.to_codes(rgb).map(|code| code * unit);
        *y_out = on_grid(y, unit).to_le_bytes();
        *cb_out = on_grid(cb, chroma_step).to_le_bytes();
        *cr_out = on_grid(cr, chroma_step).to_le_bytes();
    }
}

/// The nearest multiple of `step` (a power of two) that 16 bits hold.
fn on_grid(value: f32, step: f32) -> u16 {
    let top = 65536.0 - step;
    ((value / step).round_ties_even() * step).clamp(0.0, top) as u16
}

/// Pixel formats whose name does not end in `p` and their depth.
const IRREGULAR_DEPTHS: [(&str, u8); 20] = [
    ("p010", 10),
    ("p012", 12),
    ("p016", 16),
    ("p210", 10),
    ("p212", 12),
    ("p216", 16),
    ("p410", 10),
    ("p412", 12),
    ("p416", 16),
    ("nv20", 10),
    ("y210", 10),
    ("y212", 12),
    ("xv30", 10),
    ("xv36", 12),
    ("x2rgb10", 10),
    ("x2bgr10", 10),
    ("ya16", 16),
    ("xyz12", 12),
    ("rgb48", 16),
    ("bgr48", 16),
];

/// Bits of one sample of the pixel format that ffmpeg calls `name`.
pub(crate) fn bit_depth_of(name: &str) -> u8 {
    if let Some((_, depth)) = IRREGULAR_DEPTHS.iter().find(|(start, _)| name.starts_with(start)) {
        return *depth;
    }
    if ["rgba64", "bgra64", "ayuv64"].iter().any(|start| name.starts_with(start)) {
        return 16;
    }
    if name.contains("f32") || name.contains("f16") {
        return 16;
    }
    let name = name.trim_end_matches("le").trim_end_matches("be");
    let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let (stem, depth) = name.split_at(name.len() - digits);
    let counts_bits = stem.ends_with('p') || stem.ends_with("gray");
    depth.parse().ok().filter(|depth| counts_bits && (9..=16).contains(depth)).unwrap_or(8)
}

/// Are the samples of the pixel format `name` red, green and blue?
pub(crate) fn is_rgb(name: &str) -> bool {
    let starts = ["rgb", "bgr", "gbr", "argb", "abgr", "0rgb", "0bgr", "x2", "pal8", "mono", "xyz"];
    starts.iter().any(|start| name.starts_with(start))
}

/// Does the pixel format `name` halve the width and the height of its chroma?
pub(crate) fn chroma_of(name: &str) -> (bool, bool) {
    let any = |parts: &[&str]| parts.iter().any(|part| name.contains(part));
    let both = any(&["420", "nv12", "nv21", "p01"]);
    let width = any(&["422", "nv16", "nv20", "p21", "y21"]);
    (both || width, both || name.contains("440"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn codes(matrix: Matrix, range: Range, bit_depth: u8) -> Layout {
        Layout::Yuv(YuvLayout { matrix, range, bit_depth, whole_chroma: true })
    }

    #[test]
    fn the_depth_is_read_from_the_name() {
        for (name, depth) in [
            ("yuv420p", 8),
            ("yuvj420p", 8),
            ("yuv420p10le", 10),
            ("yuv444p16be", 16),
            ("yuva444p12le", 12),
            ("gbrp14le", 14),
            ("gray", 8),
            ("gray10le", 10),
            ("gray16be", 16),
            ("grayf32le", 16),
            ("p010le", 10),
            ("nv12", 8),
            ("rgb24", 8),
            ("rgb48le", 16),
            ("rgba64be", 16),
            ("rgb565le", 8),
            ("x2rgb10le", 10),
            ("ya16le", 16),
            ("pal8", 8),
        ] {
            assert_eq!(bit_depth_of(name), depth, "{name}");
        }
    }

    #[test]
    fn chroma_is_read_from_the_name() {
        for (name, halved) in [
            ("yuv420p10le", (true, true)),
            ("yuvj422p", (true, false)),
            ("yuv440p", (false, true)),
            ("yuv444p", (false, false)),
            ("p010le", (true, true)),
            ("p210le", (true, false)),
            ("nv12", (true, true)),
            ("gray10le", (false, false)),
        ] {
            assert_eq!(chroma_of(name), halved, "{name}");
        }
    }

    #[test]
    fn white_black_and_red_have_their_codes() {
        // BT.709 red, 8 bits, limited: Y 63, Cb 102, Cr 240 (ITU-R BT.709 rounded).
        let frame = Frame::new(3, 1, 3, vec![1., 1., 1., 0., 0., 0., 1., 0., 0.]);
        let mut bytes = Vec::new();
        codes(Matrix::Bt709, Range::Limited, 8).encode(&frame, &mut bytes);
        let codes_8: Vec<f32> = words(&bytes).map(|word| word / 256.0).collect();
        assert_eq!(codes_8, [235., 16., 63., 128., 128., 102., 128., 128., 240.]);
        // Full range: white is 255, and 255.5 of Cr is kept at 255.
        codes(Matrix::Bt601, Range::Full, 8).encode(&frame, &mut bytes);
        let codes_8: Vec<f32> = words(&bytes).map(|word| word / 256.0).collect();
        assert_eq!(codes_8, [255., 0., 76., 128., 128., 85., 128., 128., 255.]);
    }

    #[test]
    fn one_channel_is_grey_and_nan_is_black() {
        let frame = Frame::new(2, 1, 1, vec![0.5, f32::NAN]);
        let mut bytes = Vec::new();
        Layout::Rgb16.encode(&frame, &mut bytes);
        let half = 32768u16.to_le_bytes();
        assert_eq!(bytes, [half, half, half, [0; 2], [0; 2], [0; 2]].concat());
    }

    proptest! {
        #[test]
        fn codes_come_back(
            rgb in prop::array::uniform3(0f32..=1.0),
            bit_depth in 8u8..=16,
            full: bool,
            matrix in prop::sample::select(vec![Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020]),
        ) {
            let range = if full { Range::Full } else { Range::Limited };
            let layout = codes(matrix, range, bit_depth);
            let frame = Frame::new(1, 1, 3, rgb.to_vec());
            let mut bytes = Vec::new();
            layout.encode(&frame, &mut bytes);
            let back = layout.decode(&bytes);
            // Half a code in each of Y and C; C weighs at most 2·(1 − 0.0593) in a channel, green
            // takes both chroma, and full range cuts half a code more off at the top.
            let code = 1.0 / (219.0 * f32::from(bit_depth - 8).exp2());
            for (a, b) in rgb.iter().zip(&back) {
                prop_assert!((a - b).abs() <= 2.5 * code, "{rgb:?} {back:?}");
            }
        }

        #[test]
        fn sixteen_bits_come_back_exactly(words in prop::collection::vec(any::<u16>(), 12)) {
            let samples = words.iter().map(|&word| f32::from(word) / 65535.0).collect();
            let frame = Frame::new(2, 2, 3, samples);
            let mut bytes = Vec::new();
            Layout::Rgb16.encode(&frame, &mut bytes);
            prop_assert_eq!(Layout::Rgb16.decode(&bytes), frame.samples());
        }
    }
}
