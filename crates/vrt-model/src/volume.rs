//! A clip, or a piece of one, as plain samples: what tiles are cut from and put together into.
//!
//! Samples are `f32`, channels-last: `[frames, height, width, channels]`, the channel varying
//! fastest. No tensor library is needed to hold or cut them.

use std::ops::Range;

/// A volume that cannot be held.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VolumeError {
    /// One of the four sizes is zero.
    #[error(
        "a volume of {0:?} (frames, height, width, channels) is empty; every size must be at least 1"
    )]
    Empty([usize; 4]),
    /// The number of samples is not the product of the sizes.
    #[error(
        "{got} samples for a volume of {dims:?} (frames, height, width, channels), which needs {needed}"
    )]
    Length {
        /// Frames, height, width, channels.
        dims: [usize; 4],
        /// Samples these sizes need.
        needed: usize,
        /// Samples that were given.
        got: usize,
    },
    /// The volume does not fit into memory.
    #[error(
        "a volume of {0:?} (frames, height, width, channels) does not fit into memory; \
         use smaller tiles or fewer frames at a time"
    )]
    TooLarge([usize; 4]),
    /// Volumes that were to follow one another differ in height, width or channels.
    #[error(
        "frames of {first:?} (height, width, channels) cannot be followed by frames of {other:?}"
    )]
    Unlike {
        /// Height, width, channels of the first volume.
        first: [usize; 3],
        /// Height, width, channels of the one that differs.
        other: [usize; 3],
    },
}

/// Samples of a clip, channels-last: `[frames, height, width, channels]`; never empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    frames: usize,
    height: usize,
    width: usize,
    channels: usize,
    samples: Vec<f32>,
}

impl Volume {
    /// Takes `samples` as a volume of `dims`: frames, height, width, channels.
    ///
    /// # Errors
    ///
    /// If a size is zero, the product overflows, or the number of samples is not that product.
    pub fn new(dims: [usize; 4], samples: Vec<f32>) -> Result<Self, VolumeError> {
        let needed = sample_count(dims)?;
        let got = samples.len();
        if got != needed {
            return Err(VolumeError::Length { dims, needed, got });
        }
        let [frames, height, width, channels] = dims;
        Ok(Self { frames, height, width, channels, samples })
    }

    /// A volume of `dims` (frames, height, width, channels) that is `value` everywhere.
    ///
    /// # Errors
    ///
    /// If a size is zero or the memory cannot be had.
    pub fn filled(dims: [usize; 4], value: f32) -> Result<Self, VolumeError> {
        let mut samples = reserve(dims)?;
        samples.resize(sample_count(dims)?, value);
        Self::new(dims, samples)
    }

    /// Volumes one after another in time.
    ///
    /// # Errors
    ///
    /// If there is none, they differ in height, width or channels, or the memory cannot be had.
    pub fn concat<'a>(
        parts: impl IntoIterator<Item = &'a Self, IntoIter: Clone>,
    ) -> Result<Self, VolumeError> {
        let parts = parts.into_iter();
        let first = parts.clone().next().map_or([0; 3], Self::frame_dims);
        let frames = parts.clone().map(Self::frames).sum();
        let [height, width, channels] = first;
        let dims = [frames, height, width, channels];
        let mut samples = reserve(dims)?;
        for part in parts {
            if part.frame_dims() != first {
                let other = part.frame_dims();
                return Err(VolumeError::Unlike { first, other });
            }
            samples.extend_from_slice(&part.samples);
        }
        Self::new(dims, samples)
    }

    /// Number of frames.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Rows of a frame.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns of a frame.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// Samples of a pixel.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Frames, height, width, channels.
    #[must_use]
    pub fn dims(&self) -> [usize; 4] {
        [self.frames, self.height, self.width, self.channels]
    }

    /// Height, width, channels.
    #[must_use]
    pub fn frame_dims(&self) -> [usize; 3] {
        [self.height, self.width, self.channels]
    }

    /// All samples in order.
    #[must_use]
    pub fn samples(&self) -> &[f32] {
        &self.samples
    }

    /// All samples in order, to be changed in place.
    #[must_use]
    pub fn samples_mut(&mut self) -> &mut [f32] {
        &mut self.samples
    }

    /// All samples in order, without a copy.
    #[must_use]
    pub fn into_samples(self) -> Vec<f32> {
        self.samples
    }

    /// The samples of one frame.
    ///
    /// # Panics
    ///
    /// Panics if there is no such frame.
    #[must_use]
    pub fn frame(&self, frame: usize) -> &[f32] {
        let len = self.frame_len();
        &self.samples[frame * len..][..len]
    }

    /// The samples of each frame, first frame first.
    pub fn iter_frames(&self) -> impl Iterator<Item = &[f32]> {
        self.samples.chunks_exact(self.frame_len())
    }

    /// Copies out each frame as a volume of one frame.
    pub fn split_frames(&self) -> impl Iterator<Item = Self> {
        self.iter_frames().map(|samples| Self { frames: 1, samples: samples.to_vec(), ..*self })
    }

    /// Copies out the box of these frames, rows and columns.
    ///
    /// # Panics
    ///
    /// Panics if a range is empty or reaches beyond the volume.
    #[must_use]
    pub fn crop(&self, frames: Range<usize>, rows: Range<usize>, columns: Range<usize>) -> Self {
        let dims = self.dims();
        for (range, len) in [(&frames, dims[0]), (&rows, dims[1]), (&columns, dims[2])] {
            assert!(
                !range.is_empty() && range.end <= len,
                "crop: {range:?} of {len} in a volume of {dims:?}"
            );
        }
        let columns_at = columns.start * self.channels..columns.end * self.channels;
        let mut samples =
            Vec::with_capacity(frames.len() * rows.len() * columns.len() * self.channels);
        for frame in frames.clone() {
            let frame = self.frame(frame);
            for row in rows.clone() {
                let row = &frame[row * self.row_len()..][..self.row_len()];
                samples.extend_from_slice(&row[columns_at.clone()]);
            }
        }
        Self {
            frames: frames.len(),
            height: rows.len(),
            width: columns.len(),
            channels: self.channels,
            samples,
        }
    }

    /// The volume continued by the mirror image of its end, the edge itself included.
    ///
    /// `pad` counts the frames, rows and columns to add. Only what is there can be mirrored: along
    /// each axis at most its own length is added.
    ///
    /// # Errors
    ///
    /// If the memory cannot be had.
    pub fn mirror_end(self, pad: [usize; 3]) -> Result<Self, VolumeError> {
        let [frames, height, width, channels] = self.dims();
        let [more_frames, more_rows, more_columns] = pad;
        let frames = mirrored(frames, more_frames);
        let rows = mirrored(height, more_rows);
        let columns = mirrored(width, more_columns);
        let dims = [frames.len(), rows.len(), columns.len(), channels];
        if dims == self.dims() {
            return Ok(self);
        }
        let mut samples = reserve(dims)?;
        for frame in frames {
            let frame = self.frame(frame);
            for &row in &rows {
                let row = &frame[row * self.row_len()..][..self.row_len()];
                for &column in &columns {
                    samples.extend_from_slice(&row[column * channels..][..channels]);
                }
            }
        }
        Self::new(dims, samples)
    }

    /// Samples in a frame.
    pub(crate) fn frame_len(&self) -> usize {
        self.height * self.row_len()
    }

    /// Samples in a row.
    pub(crate) fn row_len(&self) -> usize {
        self.width * self.channels
    }
}

/// `0, 1, … len − 1` and then at most `pad` of them backwards.
fn mirrored(len: usize, pad: usize) -> Vec<usize> {
    (0..len).chain((0..len).rev().take(pad)).collect()
}

fn sample_count(dims: [usize; 4]) -> Result<usize, VolumeError> {
    if dims.contains(&0) {
        return Err(VolumeError::Empty(dims));
    }
    dims.iter()
        .try_fold(1_usize, |product, &size| product.checked_mul(size))
        .ok_or(VolumeError::TooLarge(dims))
}

/// An empty vector with room for the samples of `dims`; asked for, not assumed.
fn reserve(dims: [usize; 4]) -> Result<Vec<f32>, VolumeError> {
    let mut samples = Vec::new();
    samples.try_reserve_exact(sample_count(dims)?).map_err(|_| VolumeError::TooLarge(dims))?;
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every sample tells its own place.
    fn numbered(dims: [usize; 4]) -> Volume {
        let len = dims.iter().product::<usize>();
        Volume::new(dims, (0..len).map(|i| i as f32).collect()).unwrap()
    }

    #[test]
    fn a_crop_takes_the_samples_of_the_box() {
        let crop = numbered([3, 4, 5, 2]).crop(1..3, 2..4, 1..3);
        assert_eq!(crop.dims(), [2, 2, 2, 2]);
        let at = |d: usize, h: usize, w: usize, c: usize| (((d * 4 + h) * 5 + w) * 2 + c) as f32;
        for (i, &sample) in crop.samples().iter().enumerate() {
            assert_eq!(sample, at(1 + i / 8, 2 + i / 4 % 2, 1 + i / 2 % 2, i % 2));
        }
    }

    #[test]
    fn frames_split_and_joined_are_the_volume() {
        let volume = numbered([3, 2, 2, 3]);
        let frames: Vec<_> = volume.split_frames().collect();
        assert_eq!(frames[1].samples(), volume.frame(1));
        assert_eq!(Volume::concat(&frames).unwrap(), volume);
    }

    #[test]
    fn the_mirror_repeats_the_edge() {
        let row = numbered([1, 1, 3, 1]).mirror_end([0, 0, 2]).unwrap();
        assert_eq!(row.samples(), [0.0, 1.0, 2.0, 2.0, 1.0]);
        let frames = numbered([2, 1, 1, 1]).mirror_end([1, 0, 0]).unwrap();
        assert_eq!(frames.samples(), [0.0, 1.0, 1.0]);
        let both = numbered([1, 2, 2, 1]).mirror_end([0, 1, 1]).unwrap();
        assert_eq!(both.samples(), [0.0, 1.0, 1.0, 2.0, 3.0, 3.0, 2.0, 3.0, 3.0]);
    }

    #[test]
    fn a_mirror_adds_no_more_than_there_is() {
        let clip = numbered([2, 1, 1, 1]).mirror_end([4, 0, 0]).unwrap();
        assert_eq!(clip.samples(), [0.0, 1.0, 1.0, 0.0]);
    }

    #[test]
    fn sizes_that_cannot_be_are_errors() {
        let dims = [1, 2, 2, 3];
        assert_eq!(
            Volume::new(dims, vec![0.0; 11]),
            Err(VolumeError::Length { dims, needed: 12, got: 11 })
        );
        assert_eq!(Volume::new([1, 0, 2, 3], Vec::new()), Err(VolumeError::Empty([1, 0, 2, 3])));
        let huge = [usize::MAX, 2, 1, 1];
        assert_eq!(Volume::filled(huge, 0.0), Err(VolumeError::TooLarge(huge)));
        let large = [usize::MAX / 8, 1, 1, 1];
        assert_eq!(Volume::filled(large, 0.0), Err(VolumeError::TooLarge(large)));
    }

    #[test]
    fn unlike_frames_do_not_join() {
        let (a, b) = (numbered([1, 2, 2, 1]), numbered([1, 2, 3, 1]));
        assert_eq!(
            Volume::concat([&a, &b]),
            Err(VolumeError::Unlike { first: [2, 2, 1], other: [2, 3, 1] })
        );
        assert_eq!(Volume::concat([]), Err(VolumeError::Empty([0; 4])));
    }
}
