//! Streams of spike cameras, and the pictures that they tell.
//!
//! A pixel of a spike camera gathers light and fires when it has enough; the camera reads one bit a
//! pixel, tens of thousands of times a second. A [`SpikeStream`] is a file of such frames that lie
//! as its [`Geometry`] says. [`SpikeStream::intensity`] makes pictures of it ([`Method`]), a
//! [`SpikeSensor`] makes spikes of light, and a [`NewFile`] a file of them.
//!
//! This crate knows no tensors and no video files. Pictures are rows of `f32`, 0 black … 1 white.

#![forbid(unsafe_code)]

mod array;
mod config;
mod count;
mod error;
mod geometry;
mod intensity;
mod new_file;
mod packed;
mod sensor;
mod statistics;
mod stream;
#[cfg(test)]
mod tests;

pub use config::{Stated, settle};
pub use error::SpikeError;
pub use geometry::{BitOrder, Camera, Geometry, GeometryError};
pub use intensity::{CEILING, Intensity, Method};
pub use new_file::NewFile;
pub use packed::Packed;
pub use sensor::{Reset, SensorOptions, SpikeSensor};
pub use statistics::Statistics;
pub use stream::SpikeStream;
