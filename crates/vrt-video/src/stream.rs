//! What is known about a stream beside its pictures.

use crate::Frame;

/// A fraction, kept exactly as a file states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Ratio {
    /// Above the line.
    pub numerator: u32,
    /// Below the line, never 0.
    pub denominator: u32,
}

/// Frames per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum FrameRate {
    /// Every frame lasts equally long.
    Constant(Ratio),
    /// Frames carry their own times; the ratio is the average.
    Variable(Ratio),
}

/// The matrix between RGB and YCbCr.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum Matrix {
    /// ITU-R BT.601 (both systems share it).
    Bt601,
    /// ITU-R BT.709.
    Bt709,
    /// ITU-R BT.2020, non-constant luminance.
    Bt2020,
    /// The samples are RGB.
    Rgb,
}

/// Which codes stand for black and white.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub enum Range {
    /// 16…235 of 255 ("tv", studio).
    Limited,
    /// 0…255 of 255 ("pc", full).
    Full,
}

/// The colours of R, G, B, by the name ffmpeg uses, for example `bt709`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Primaries(pub String);

/// The curve from light to code, by the name ffmpeg uses.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub enum Transfer {
    /// Standard dynamic range: samples restore as they are.
    Sdr(String),
    /// `smpte2084` (PQ).
    Pq,
    /// `arib-std-b67` (HLG).
    Hlg,
}

/// How colours are coded; `None` where a file does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ColorDescription {
    /// Between RGB and YCbCr.
    pub matrix: Option<Matrix>,
    /// Of the codes.
    pub range: Option<Range>,
    /// Of the RGB system.
    pub primaries: Option<Primaries>,
    /// From light to code.
    pub transfer: Option<Transfer>,
}

/// What is known about a stream before its first frame is read.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct StreamInfo {
    /// Columns of every frame, as shown (after rotation).
    pub width: usize,
    /// Rows of every frame, as shown (after rotation).
    pub height: usize,
    /// `None` for a folder of pictures.
    pub frame_rate: Option<FrameRate>,
    /// Frames in all, where that is known without reading them.
    pub frames: Option<u64>,
    /// Width over height of one pixel as shown, where it is not 1.
    pub sample_aspect: Option<Ratio>,
    /// How colours were coded.
    pub color: ColorDescription,
    /// Bits per sample of the source.
    pub bit_depth: u8,
}

/// A frame and when it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct TimedFrame {
    /// The picture.
    pub frame: Frame,
    /// Seconds since the first frame, or, where frames before it cannot be decoded, since the first
    /// of those; `None` where only the order is known.
    pub seconds: Option<f64>,
    /// What the source calls it: a file name without extension; `None` where frames are numbered.
    pub name: Option<String>,
}
