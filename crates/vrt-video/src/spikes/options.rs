//! What is made of clips that are filmed again.

use super::{MAX_SPIKE_FRAMES, SpikeCamera};
use crate::SimulateError;
use crate::degrade::Light;

/// What is made of clips.
#[derive(Clone, Debug, PartialEq)]
pub struct SpikeSetOptions {
    /// Frames that a blurred one is the mean of: an odd number, so that one is in the middle.
    pub frames: usize,
    /// Frames from the first of a mean to the first of the next.
    pub step: usize,
    /// Instants of every frame that both cameras see; more than one are made by a
    /// [`Between`](super::Between).
    pub instants: usize,
    /// What a blurred frame is the mean of: samples as stored, or light.
    pub light: Light,
    /// The spike camera.
    pub camera: SpikeCamera,
    /// Which part of the set it is: `train` or `test`, a folder's name.
    pub part: String,
    /// What settles the charges that pixels begin with, and darkness.
    pub seed: u64,
}

impl Default for SpikeSetOptions {
    fn default() -> Self {
        Self {
            frames: 11,
            step: 11,
            instants: 8,
            light: Light::Gamma,
            camera: SpikeCamera::default(),
            part: "train".to_owned(),
            seed: 0,
        }
    }
}

impl SpikeSetOptions {
    pub(super) fn check(&self) -> Result<(), SimulateError> {
        let refuse = |option, value: String, reason: String| {
            Err(SimulateError::Option { option, value, reason })
        };
        if let Some((option, value, reason)) = self.camera.problem() {
            return refuse(option, value, reason);
        }
        for (option, count) in
            [("frames", self.frames), ("step", self.step), ("instants", self.instants)]
        {
            if !(1..=MAX_SPIKE_FRAMES).contains(&count) {
                return refuse(option, count.to_string(), format!("it is 1 to {MAX_SPIKE_FRAMES}"));
            }
        }
        if self.frames.is_multiple_of(2) {
            let reason = "it is odd, so that a sharp frame is in the middle".to_owned();
            return refuse("frames", self.frames.to_string(), reason);
        }
        let frames = self.frames * self.instants;
        if frames > MAX_SPIKE_FRAMES {
            let reason = format!(
                "a stream of {} frames times {} is longer than {MAX_SPIKE_FRAMES}",
                self.frames, self.instants
            );
            return refuse("instants", self.instants.to_string(), reason);
        }
        let plain = !self.part.is_empty() && self.part.chars().all(|c| c.is_ascii_alphanumeric());
        if !plain {
            let reason = "a part is a folder's name: letters and digits".to_owned();
            return refuse("part", self.part.clone(), reason);
        }
        Ok(())
    }
}
