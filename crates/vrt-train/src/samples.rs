//! Where samples come from, and batches of them.

mod fixed;
mod videos;

use std::error::Error;

use rand_chacha::ChaCha8Rng;
use vrt_model::VrtConfig;
use vrt_model::volume::{Volume, VolumeError};

pub use fixed::FixedBatch;

/// A clip as the network sees it, and as it should come out.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Which clip, for messages.
    pub key: String,
    /// `[frames, rows, columns, channels]`
    pub degraded: Volume,
    /// The same, RGB, larger by the scale; one frame for interpolation.
    pub sharp: Volume,
}

/// Something that has samples.
pub trait Samples: Send + Sync {
    /// Samples of an epoch.
    fn len(&self) -> usize;

    /// Whether there is nothing to train on.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sample `index`; all chance comes from `random`, so that it can be had again.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    fn sample(&self, index: usize, random: &mut ChaCha8Rng) -> Result<Sample, SampleError>;
}

/// Why there is no sample.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SampleError {
    /// Its source says why.
    #[error(transparent)]
    Source(#[from] Box<dyn Error + Send + Sync>),
    /// It cannot be held.
    #[error("the sample {key}: {source}")]
    Volume {
        /// Which sample.
        key: String,
        /// Why.
        source: VolumeError,
    },
    /// It does not fit the network.
    #[error(
        "the sample {key} has {part} frames of {got:?} (frames, rows, columns, channels) where the \
         network needs {expected}"
    )]
    Misfit {
        /// Which sample.
        key: String,
        /// Degraded or sharp.
        part: &'static str,
        /// Its sizes.
        got: [usize; 4],
        /// What would do.
        expected: String,
    },
    /// Samples of one batch differ.
    #[error(
        "the samples {first} and {other} of one batch have different sizes; crop all clips to one \
         size, or train with batches of 1"
    )]
    Unlike {
        /// The first sample.
        first: String,
        /// The one that differs.
        other: String,
    },
}

impl Sample {
    /// Says whether a network can be trained with this.
    ///
    /// # Errors
    ///
    /// If frames, sizes or channels do not fit it.
    pub fn check(&self, network: &VrtConfig) -> Result<(), SampleError> {
        let [d, h, w, c] = self.degraded.dims();
        let misfit = |part, got, expected| {
            Err(SampleError::Misfit { key: self.key.clone(), part, got, expected })
        };
        let channels = network.input_channels();
        let frames_fit = network.fused_frames().is_none_or(|frames| frames == d);
        if c != channels || !frames_fit {
            let frames =
                network.fused_frames().map_or(String::new(), |n| format!("{n} frames of "));
            let expected = format!("{frames}{channels} channels");
            return misfit("degraded", [d, h, w, c], expected);
        }
        let scale = network.upscale();
        let frames = if network.fused_frames().is_some() { 1 } else { d };
        let expected = [frames, scale * h, scale * w, network.out_channels()];
        let got = self.sharp.dims();
        if got != expected {
            return misfit("sharp", got, format!("{expected:?}"));
        }
        Ok(())
    }
}

/// Samples that go through the network together, all of one size.
#[derive(Clone, Debug)]
pub struct Batch {
    samples: Vec<Sample>,
}

impl Batch {
    /// A batch of samples that fit the network and each other.
    ///
    /// # Errors
    ///
    /// If they do not.
    ///
    /// # Panics
    ///
    /// Panics if there are no samples.
    pub fn new(samples: Vec<Sample>, network: &VrtConfig) -> Result<Self, SampleError> {
        assert!(!samples.is_empty(), "a batch of no samples");
        for sample in &samples {
            sample.check(network)?;
            if sample.degraded.dims() != samples[0].degraded.dims() {
                let (first, other) = (samples[0].key.clone(), sample.key.clone());
                return Err(SampleError::Unlike { first, other });
            }
        }
        Ok(Self { samples })
    }

    /// The samples.
    pub fn samples(&self) -> &[Sample] {
        &self.samples
    }
}
