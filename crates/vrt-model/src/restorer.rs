//! A network on a device, ready to restore clips.

use std::ops::ControlFlow;

use burn::tensor::{Device, Tensor, TensorData};
use vrt_kernels::{Arena, Precision, Stream, fused};

use crate::checkpoint::{Checkpoint, CheckpointError, account};
use crate::config::VrtConfig;
use crate::cost;
use crate::network::Vrt;
use crate::parameters::Values;
use crate::pass::Pass;
use crate::tiled::{ClipModel, Watch};
use crate::volume::{Volume, VolumeError};

/// A network with its weights on a device.
#[derive(Debug)]
pub struct Restorer {
    network: Vrt,
    device: Device,
    precision: Precision,
    stream: Stream,
    /// What activations lie in, on a processor.
    arena: Arena,
    helpers: Vec<Self>,
}

/// Why a network could not be built or a clip not restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestorerError {
    /// The weights are not those of the network, or cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The weights lack tensors.
    #[error("the weights lack {}: {}", count(.0.len(), "tensor"), .0.join(", "))]
    Missing(Vec<String>),
    /// The clip does not have the channels that the network takes.
    #[error("the network takes {expected} channels a pixel, the clip has {got}")]
    Channels {
        /// What the network takes.
        expected: usize,
        /// What the clip has.
        got: usize,
    },
    /// The clip does not have the frames that an interpolation network takes.
    #[error("the network makes one frame of {expected}, the clip has {got}")]
    Frames {
        /// What the network takes.
        expected: usize,
        /// What the clip has.
        got: usize,
    },
    /// The memory of the device is too small.
    #[error(
        "the memory of the device is too small for a tile: {0}; state smaller tiles (--tile) or \
         less memory (--memory)"
    )]
    Memory(String),
    /// The device gave no values back.
    #[error("the device gave no picture back: {0}")]
    Device(String),
    /// What came back is no clip.
    #[error(transparent)]
    Volume(#[from] VolumeError),
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// Reads parameters from a checkpoint and keeps the first error.
pub(crate) struct FromCheckpoint<'a> {
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) error: Option<CheckpointError>,
}

impl Values for FromCheckpoint<'_> {
    fn values(&mut self, name: &str, _shape: &[usize]) -> Option<Vec<f32>> {
        match self.checkpoint.read(name) {
            Ok(values) => Some(values),
            Err(error) => {
                self.error.get_or_insert(error);
                None
            }
        }
    }
}

impl Restorer {
    /// The network of `config` with the weights of `checkpoint`, on `device`.
    ///
    /// # Errors
    ///
    /// Fails with everything in which the two differ, or if a tensor cannot be read.
    pub fn new(
        config: &VrtConfig,
        checkpoint: &Checkpoint,
        device: &Device,
    ) -> Result<Self, RestorerError> {
        account(config, checkpoint)?;
        let mut values = FromCheckpoint { checkpoint, error: None };
        let restorer = Self::with_values(config, &mut values, device);
        match values.error {
            Some(error) => Err(error.into()),
            None => restorer,
        }
    }

    /// The same on several devices, which share tiles: the first restores, the others help.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    ///
    /// # Panics
    ///
    /// Panics if there is no device.
    pub fn on_all(
        config: &VrtConfig,
        checkpoint: &Checkpoint,
        devices: &[Device],
    ) -> Result<Self, RestorerError> {
        let (first, others) =
            devices.split_first().unwrap_or_else(|| panic!("there is no device to restore on"));
        let restorer = Self::new(config, checkpoint, first)?;
        others.iter().try_fold(restorer, |restorer, device| {
            Ok(restorer.with_helper(Self::new(config, checkpoint, device)?))
        })
    }

    /// The network of `config` with `values` for its parameters, on `device`.
    ///
    /// # Errors
    ///
    /// Fails with the names of all parameters that have no value.
    pub fn with_values(
        config: &VrtConfig,
        values: &mut dyn Values,
        device: &Device,
    ) -> Result<Self, RestorerError> {
        let named = Vrt::with_values(config, values, device);
        if !named.missing.is_empty() {
            return Err(RestorerError::Missing(named.missing));
        }
        Ok(Self::of(named.network, device))
    }

    /// A network on the device its parameters are on.
    pub fn of(network: Vrt, device: &Device) -> Self {
        let (device, helpers) = (device.clone(), Vec::new());
        let (precision, stream, arena) = (Precision::F32, Stream::new(), Arena::new());
        Self { network, device, precision, stream, arena, helpers }
    }

    /// The same with products in `precision`, for its helpers, too. A device that does not multiply
    /// it computes in `f32`.
    pub fn with_precision(self, precision: Precision) -> Self {
        let helpers = self.helpers.into_iter().map(|helper| helper.with_precision(precision));
        Self { precision, helpers: helpers.collect(), ..self }
    }

    /// The same with another one that takes part of the work: one of the same network on another
    /// device, or on the same one, where that can restore two tiles at a time.
    ///
    /// # Panics
    ///
    /// Panics if that is another network.
    pub fn with_helper(mut self, helper: Self) -> Self {
        assert_eq!(self.config(), helper.config(), "a helper has the same network");
        self.helpers.push(helper);
        self
    }

    /// What the network is.
    pub fn config(&self) -> &VrtConfig {
        self.network.config()
    }

    fn check(&self, clip: &Volume) -> Result<(), RestorerError> {
        let (expected, got) = (self.config().input_channels(), clip.channels());
        if expected != got {
            return Err(RestorerError::Channels { expected, got });
        }
        match self.config().fused_frames() {
            Some(expected) if expected != clip.frames() => {
                Err(RestorerError::Frames { expected, got: clip.frames() })
            }
            _ => Ok(()),
        }
    }
}

/// What a device says when its memory is too small.
const OUT_OF_MEMORY: [&str; 5] = [
    "out of memory",
    "out-of-memory",
    "out of device memory",
    "can't allocate buffer",
    "Can't allocate",
];

/// Why a device gave nothing back, in the first line that says more than that it did not.
fn device_error(text: &str) -> RestorerError {
    let says = |line: &&str| {
        !line.is_empty() && !line.starts_with("Caused by") && !line.starts_with("An error happened")
    };
    let mut lines = text.lines().map(str::trim);
    let first = lines.find(says).unwrap_or(text).to_owned();
    match OUT_OF_MEMORY.iter().any(|words| text.contains(words)) {
        true => RestorerError::Memory(first),
        false => RestorerError::Device(first),
    }
}

impl ClipModel for Restorer {
    type Error = RestorerError;

    fn scale(&self) -> usize {
        self.config().upscale()
    }

    fn window(&self) -> [usize; 3] {
        self.config().window()
    }

    fn restore(&self, clip: Volume) -> Result<Volume, RestorerError> {
        let restored = self.restore_watched(clip, &mut |_| ControlFlow::Continue(()))?;
        Ok(restored.unwrap_or_else(|| unreachable!("nobody broke off")))
    }

    fn restore_watched(
        &self,
        clip: Volume,
        watch: &mut Watch<'_>,
    ) -> Result<Option<Volume>, RestorerError> {
        self.check(&clip)?;
        self.stream.scope(|| self.restore_on_stream(clip, watch))
    }

    fn helpers(&self) -> &[Self] {
        &self.helpers
    }

    fn memory_may_lack(&self) -> bool {
        !fused::serves(&self.device)
    }

    fn lacked_memory(error: &RestorerError) -> bool {
        matches!(error, RestorerError::Memory(_))
    }
}

impl Restorer {
    fn restore_on_stream(
        &self,
        clip: Volume,
        watch: &mut Watch<'_>,
    ) -> Result<Option<Volume>, RestorerError> {
        let [d, h, w, c] = clip.dims();
        let data = TensorData::new(clip.into_samples(), [1, d, h, w, c]);
        let x = Tensor::<5>::from_data(data, &self.device);
        if fused::serves(&self.device) {
            self.arena.plan(cost::arena_bytes(self.config(), [d, h, w]));
        }
        let forward = || self.network.forward_watched(x, &mut Pass::Restore, watch);
        let forward = || self.precision.scope(forward);
        let Some(y) = self.arena.scope(|| fused::Panels::scope(forward)) else {
            return Ok(None);
        };
        let [_, d, h, w, c] = y.dims();
        let data = y.try_into_data().map_err(|error| device_error(&error.to_string()));
        if matches!(data, Err(RestorerError::Memory(_))) {
            // What the tile took until it did not fit is given back: smaller ones follow.
            self.device.memory_cleanup();
        }
        let samples = data?.try_to_vec().map_err(|e| RestorerError::Device(e.to_string()))?;
        Ok(Some(Volume::new([d, h, w, c], samples)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_device_says_is_told_and_lacking_memory_is_known() {
        let wrapped = |reason: &str| {
            format!("An error happened during execution\nCaused by:\n  {reason}\nBacktrace\n  0: a")
        };
        for reason in [
            "out of device memory allocating 7 bytes",
            "can't allocate buffer of size: 7",
            "CUDA_ERROR_OUT_OF_MEMORY: out of memory",
        ] {
            let error = device_error(&wrapped(reason));
            assert!(Restorer::lacked_memory(&error), "{error}");
            assert!(error.to_string().contains(reason), "{error}");
        }
        let error = device_error(&wrapped("the device was lost"));
        assert!(matches!(&error, RestorerError::Device(why) if why == "the device was lost"));
    }
}
