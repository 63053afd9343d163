//! Frames between frames, for cameras that are simulated.

use burn::tensor::Device;
use vrt_model::checkpoint::CheckpointError;
use vrt_model::volume::Volume;
use vrt_model::{BetweenError, FramesBetween};
use vrt_video::{Between, Frame};

use crate::models::builtin;

/// Frames along the motion that the built-in SpyNet sees.
#[derive(Debug)]
pub struct AlongMotion(FramesBetween);

impl AlongMotion {
    /// On `device`.
    ///
    /// # Errors
    ///
    /// Fails if the built-in flow network is damaged.
    pub fn new(device: &Device) -> Result<Self, CheckpointError> {
        Ok(Self(FramesBetween::new(&builtin::flow()?, device)?))
    }
}

impl Between for AlongMotion {
    fn check(&self, size: (usize, usize)) -> Result<(), String> {
        FramesBetween::check(size).map_err(|error| error.to_string())
    }

    fn between(
        &mut self,
        first: &Frame,
        second: &Frame,
        shares: &[f32],
    ) -> Result<Vec<Frame>, String> {
        let made = volume(first).and_then(|first| self.0.at(&first, &volume(second)?, shares));
        let made = made.map_err(|error| error.to_string())?;
        Ok(made.into_iter().map(frame).collect())
    }
}

fn volume(frame: &Frame) -> Result<Volume, BetweenError> {
    let dims = [1, frame.height(), frame.width(), frame.channels()];
    Ok(Volume::new(dims, frame.samples().to_vec())?)
}

fn frame(volume: Volume) -> Frame {
    let [height, width, channels] = volume.frame_dims();
    Frame::new(width, height, channels, volume.into_samples())
}
