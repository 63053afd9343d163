//! Clips to train on, made of still pictures: a camera that shakes before them, and what an exposure
//! of it sees.

mod camera;
mod chance;
mod curve;
mod error;
mod exposure;
mod layer;
mod mask;
mod noise;
mod options;
mod path;
mod plan;
mod scene;
mod stills;
#[cfg(test)]
mod tests;
mod texture;
mod write;

pub use error::SimulateError;
pub use noise::SensorNoise;
pub use options::{Part, SimulationOptions, SpikesBeside};
pub use plan::{ClipRecord, LayerRecord};
pub use write::{SimulatedSet, simulate};
