//! Frames between two frames, along the motion that SpyNet sees.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use vrt_kernels::{WarpMode, ops};

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::flow::SpyNet;
use crate::parameters::Builder;
use crate::restorer::FromCheckpoint;
use crate::volume::{Volume, VolumeError};

/// The least side of frames: the coarsest of the flow's scales is an eighth of it.
const LEAST_SIDE: usize = 8;

/// Makes the frames that a faster camera would have taken between two others: both are moved along
/// the flow between them and mixed (the flow at a time between is that of Super SloMo,
/// arXiv:1712.00080, section 3.1). What only one of them shows is mixed, too.
#[derive(Debug)]
pub struct FramesBetween {
    spynet: SpyNet,
    device: Device,
}

/// Why there are no frames between two.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BetweenError {
    /// The two are not alike.
    #[error(
        "the frames are {first:?} and {second:?} (height, width, channels), not RGB of one size"
    )]
    Frames {
        /// Height, width and channels of the first.
        first: [usize; 3],
        /// Those of the second.
        second: [usize; 3],
    },
    /// They are too small for a flow to be seen.
    #[error("frames of {width}×{height} show no motion: sides are {LEAST_SIDE} pixels at least")]
    Small {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
    },
    /// The device failed.
    #[error("the device failed: {0}")]
    Device(String),
    /// There is no such volume.
    #[error(transparent)]
    Volume(#[from] VolumeError),
}

impl FramesBetween {
    /// With the flow network of `checkpoint`.
    ///
    /// # Errors
    ///
    /// Fails if it has none, or its tensors cannot be read.
    pub fn new(checkpoint: &Checkpoint, device: &Device) -> Result<Self, CheckpointError> {
        let mut values = FromCheckpoint { checkpoint, error: None };
        let mut builder = Builder::given(device, &mut values);
        let spynet = SpyNet::new(&mut builder, "spynet", false);
        drop(builder);
        match values.error {
            Some(error) => Err(error),
            None => Ok(Self { spynet: spynet.no_grad(), device: device.clone() }),
        }
    }

    /// Whether there can be frames between those of this width and height.
    ///
    /// # Errors
    ///
    /// Says that a side is below 8 pixels.
    pub fn check((width, height): (usize, usize)) -> Result<(), BetweenError> {
        if width.min(height) < LEAST_SIDE {
            return Err(BetweenError::Small { width, height });
        }
        Ok(())
    }

    /// The frames at `shares` of the way from `first` to `second`, 0…1.
    ///
    /// # Shapes
    ///
    /// - `first`, `second`: one frame each, RGB in 0…1
    /// - output: a frame for each share
    ///
    /// # Errors
    ///
    /// Fails if there is not one frame of RGB each, both of one size, with sides of 8 at least.
    pub fn at(
        &self,
        first: &Volume,
        second: &Volume,
        shares: &[f32],
    ) -> Result<Vec<Volume>, BetweenError> {
        let dims = [first, second].map(Volume::frame_dims);
        if dims[0] != dims[1] || dims[0][2] != 3 || first.frames() != 1 || second.frames() != 1 {
            return Err(BetweenError::Frames { first: dims[0], second: dims[1] });
        }
        let [height, width, _] = dims[0];
        Self::check((width, height))?;
        let [first, second] = [first, second].map(|frame| {
            let data = TensorData::new(frame.samples().to_vec(), [1, height, width, 3]);
            Tensor::<4>::from_data(data, &self.device)
        });
        let [one, other] = [&first, &second].map(|frame| self.spynet.pyramid(frame.clone()));
        let [there, _, _, _] = self.spynet.forward(&one, &other);
        let [back, _, _, _] = self.spynet.forward(&other, &one);
        let made = shares.iter().map(|share| {
            let (t, u) = (*share, 1.0 - *share);
            let to_first = back.clone() * (t * t) - there.clone() * (u * t);
            let to_second = there.clone() * (u * u) - back.clone() * (u * t);
            let moved =
                |frame: &Tensor<4>, flow| ops::warp(frame.clone(), flow, WarpMode::BilinearBorder);
            let mixed = moved(&first, to_first) * u + moved(&second, to_second) * t;
            let data = mixed.clamp(0.0, 1.0).try_into_data();
            let data = data.map_err(|error| BetweenError::Device(error.to_string()))?;
            let samples = data.try_to_vec();
            let samples = samples.map_err(|error| BetweenError::Device(error.to_string()))?;
            Ok(Volume::new([1, height, width, 3], samples)?)
        });
        made.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A network that sees no motion.
    struct Still;

    impl crate::parameters::Values for Still {
        fn values(&mut self, _: &str, shape: &[usize]) -> Option<Vec<f32>> {
            Some(vec![0.0; shape.iter().product()])
        }
    }

    #[test]
    fn without_motion_frames_are_mixed() {
        let device = Device::flex();
        let mut still = Still;
        let spynet = SpyNet::new(&mut Builder::given(&device, &mut still), "spynet", false);
        let between = FramesBetween { spynet, device };
        let frame = |value: f32| Volume::new([1, 33, 40, 3], vec![value; 33 * 40 * 3]).unwrap();
        let made = between.at(&frame(0.2), &frame(0.6), &[0.25, 0.5]).unwrap();
        for (made, expected) in made.iter().zip([0.3, 0.4]) {
            assert_eq!(made.frame_dims(), [33, 40, 3]);
            let samples = made.iter_frames().flatten();
            samples.for_each(|sample| assert!((sample - expected).abs() < 1e-6));
        }
        let grey = Volume::new([1, 33, 40, 1], vec![0.0; 33 * 40]).unwrap();
        assert!(between.at(&frame(0.2), &grey, &[0.5]).is_err());
        for size in [(8, 8), (7, 40), (40, 7)] {
            let frame =
                Volume::new([1, size.1, size.0, 3], vec![0.0; 3 * size.0 * size.1]).unwrap();
            let done = between.at(&frame, &frame, &[0.5]);
            assert_eq!(done.is_ok(), size == (8, 8), "{size:?}");
        }
    }
}
