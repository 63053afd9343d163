//! One picture in memory.

/// One picture: interleaved samples `[height, width, channels]`, `f32`, 0 black … 1 white.
///
/// Three channels are R, G, B; one channel is grey (or a spike camera's intensity).
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    width: usize,
    height: usize,
    channels: usize,
    samples: Vec<f32>,
}

impl Frame {
    /// The largest picture that readers take on: 2^27 pixels are 1.5 GiB of samples.
    pub const MAX_PIXELS: usize = 1 << 27;

    /// A picture made of `samples`, row after row, channels interleaved.
    ///
    /// # Panics
    ///
    /// Panics if a size is zero or `samples` is not `height · width · channels` long.
    pub fn new(width: usize, height: usize, channels: usize, samples: Vec<f32>) -> Self {
        assert!(
            width > 0 && height > 0 && channels > 0,
            "frame: {width}×{height} with {channels} channels holds no pixel"
        );
        assert_eq!(
            samples.len(),
            width * height * channels,
            "frame: {width}×{height} with {channels} channels"
        );
        Self { width, height, channels, samples }
    }

    /// A picture of one value.
    ///
    /// # Panics
    ///
    /// Panics if a size is zero.
    pub fn filled(width: usize, height: usize, channels: usize, value: f32) -> Self {
        Self::new(width, height, channels, vec![value; width * height * channels])
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Samples of one pixel.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// All samples, `[height, width, channels]`.
    pub fn samples(&self) -> &[f32] {
        &self.samples
    }

    /// All samples, to be changed.
    pub fn samples_mut(&mut self) -> &mut [f32] {
        &mut self.samples
    }

    /// The samples alone.
    pub fn into_samples(self) -> Vec<f32> {
        self.samples
    }
}

/// A picture of a spike camera, one channel.
impl From<vrt_spike::Intensity> for Frame {
    fn from(picture: vrt_spike::Intensity) -> Self {
        let (width, height) = (picture.width(), picture.height());
        Self::new(width, height, 1, picture.into_values())
    }
}

/// The code of `value`: `value · top`, rounded half to even and kept in 0…`top`; not-a-number is 0.
pub(crate) fn quantise(value: f32, top: f32) -> u16 {
    (value * top).round_ties_even().clamp(0.0, top) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_half_to_even_and_stay_in_range() {
        let halves = [0.5f32, 1.5, 2.5, 254.5];
        assert_eq!(halves.map(|code| quantise(code / 255.0, 255.0)), [0, 2, 2, 254]);
        let strange = [-1.0, f32::NAN, f32::NEG_INFINITY, 2.0, f32::INFINITY];
        assert_eq!(strange.map(|value| quantise(value, 65535.0)), [0, 0, 0, 65535, 65535]);
    }

    #[test]
    fn every_code_comes_back() {
        for code in 0..=u16::MAX {
            assert_eq!(quantise(f32::from(code) / 65535.0, 65535.0), code);
        }
    }
}
