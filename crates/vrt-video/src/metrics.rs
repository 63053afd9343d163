//! How close a picture is to the truth: PSNR and SSIM, on RGB and on luma.
//!
//! Both pictures are first brought to 8 bits (kept in 0…1, times 255, rounded half to even), as the
//! published numbers were; everything behind that is computed in `f64`. No border is cut.

mod ssim;
mod summary;

use serde::{Serialize, Serializer};

pub use summary::{Averaging, ClipScore, FrameScore, SetScore};

use crate::VideoError;
use crate::error::shape_of;
use crate::frame::{Frame, quantise};

/// The code of white.
const PEAK: f64 = 255.0;

/// Which of its two common readings SSIM on RGB has; on luma they are one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SsimKind {
    /// The mean over the channels of an 11×11 window on each, where the window fits. What papers
    /// on this family of networks report.
    #[default]
    PerChannel,
    /// One 11×11×11 window over rows, columns and channels, edges repeated: what MATLAB's `ssim`
    /// does when it is given an RGB picture, behind the tables of some deblurring papers.
    Volume,
}

/// The four numbers of a picture, or their mean.
///
/// In JSON, the PSNR of equal pictures, which is infinite, is the text `"inf"`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Scores {
    /// Decibels, over all pixels and channels.
    #[serde(serialize_with = "finite_or_word")]
    pub psnr: f64,
    /// At most 1.
    pub ssim: f64,
    /// Decibels, on BT.601 studio-range luma that is not rounded.
    #[serde(serialize_with = "finite_or_word")]
    pub psnr_y: f64,
    /// At most 1, on the same luma.
    pub ssim_y: f64,
}

fn finite_or_word<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.is_infinite() { serializer.serialize_str("inf") } else { value.serialize(serializer) }
}

/// All four numbers of `output` beside `truth`.
///
/// # Errors
///
/// Says that the pictures are not of one size, or smaller than the window of SSIM (11×11).
pub fn score(truth: &Frame, output: &Frame, kind: SsimKind) -> Result<Scores, VideoError> {
    let pair = Pair::new(truth, output)?;
    pair.check_ssim()?;
    let luma = pair.luma();
    Ok(Scores {
        psnr: pair.psnr(),
        ssim: pair.ssim(kind),
        psnr_y: luma.psnr(),
        ssim_y: luma.ssim(SsimKind::PerChannel),
    })
}

/// PSNR alone, in decibels; infinite for pictures whose 8-bit codes are equal.
///
/// # Errors
///
/// Says that the pictures are not of one size.
pub fn psnr(truth: &Frame, output: &Frame) -> Result<f64, VideoError> {
    Pair::new(truth, output).map(|pair| pair.psnr())
}

/// SSIM alone.
///
/// # Errors
///
/// Says that the pictures are not of one size, or smaller than the window (11×11).
pub fn ssim(truth: &Frame, output: &Frame, kind: SsimKind) -> Result<f64, VideoError> {
    let pair = Pair::new(truth, output)?;
    pair.check_ssim()?;
    Ok(pair.ssim(kind))
}

/// PSNR of luma alone, in decibels; infinite for pictures whose 8-bit codes are equal.
///
/// # Errors
///
/// Says that the pictures are not of one size.
pub fn psnr_y(truth: &Frame, output: &Frame) -> Result<f64, VideoError> {
    Pair::new(truth, output).map(|pair| pair.luma().psnr())
}

/// SSIM of luma alone.
///
/// # Errors
///
/// Says that the pictures are not of one size, or smaller than the window (11×11).
pub fn ssim_y(truth: &Frame, output: &Frame) -> Result<f64, VideoError> {
    let pair = Pair::new(truth, output)?;
    pair.check_ssim()?;
    Ok(pair.luma().ssim(SsimKind::PerChannel))
}

/// Two pictures of one size, as planes of codes in 0…255.
struct Pair {
    width: usize,
    height: usize,
    truth: Vec<Vec<f64>>,
    output: Vec<Vec<f64>>,
}

impl Pair {
    fn new(truth: &Frame, output: &Frame) -> Result<Self, VideoError> {
        let size = |frame: &Frame| (frame.width(), frame.height(), frame.channels());
        if size(truth) != size(output) {
            let (truth, output) = (shape_of(truth), shape_of(output));
            return Err(VideoError::Compare { truth, output });
        }
        let (width, height, _) = size(truth);
        Ok(Self { width, height, truth: planes(truth), output: planes(output) })
    }

    fn check_ssim(&self) -> Result<(), VideoError> {
        let (least, width, height) = (ssim::WINDOW, self.width, self.height);
        if width < least || height < least {
            return Err(VideoError::TooSmallForSsim { least, width, height });
        }
        Ok(())
    }

    fn luma(&self) -> Self {
        let luma = |planes: &[Vec<f64>]| vec![luma_of(planes)];
        let (truth, output) = (luma(&self.truth), luma(&self.output));
        Self { width: self.width, height: self.height, truth, output }
    }

    fn psnr(&self) -> f64 {
        let planes = self.truth.iter().zip(&self.output);
        let squares = planes.flat_map(|(a, b)| a.iter().zip(b)).map(|(a, b)| (a - b) * (a - b));
        let samples = self.width * self.height * self.truth.len();
        let mean = squares.sum::<f64>() / samples as f64;
        if mean == 0.0 { f64::INFINITY } else { 20.0 * (PEAK / mean.sqrt()).log10() }
    }

    fn ssim(&self, kind: SsimKind) -> f64 {
        let size = (self.width, self.height);
        match kind {
            SsimKind::PerChannel => ssim::per_channel(&self.truth, &self.output, size),
            SsimKind::Volume => ssim::volume(&self.truth, &self.output, size),
        }
    }
}

/// One plane of 8-bit codes a channel.
fn planes(frame: &Frame) -> Vec<Vec<f64>> {
    let channels = frame.channels();
    let plane = |channel: usize| {
        let samples = frame.samples().iter().skip(channel).step_by(channels);
        samples.map(|&sample| f64::from(quantise(sample, 255.0))).collect()
    };
    (0..channels).map(plane).collect()
}

/// BT.601 luma in 16…235; a picture without three channels is grey.
fn luma_of(planes: &[Vec<f64>]) -> Vec<f64> {
    let (red, green, blue) = match planes {
        [red, green, blue, ..] => (red, green, blue),
        _ => (&planes[0], &planes[0], &planes[0]),
    };
    let pixels = red.iter().zip(green).zip(blue);
    pixels
        .map(|((red, green), blue)| 16.0 + (65.481 * red + 128.553 * green + 24.966 * blue) / PEAK)
        .collect()
}

#[cfg(test)]
mod tests;
