//! The Video Restoration Transformer (arXiv:2201.12288): configurations, network, weights, tiles.
//!
//! [`Vrt`] is the network of a [`VrtConfig`]; a published one is a [`presets::Preset`]. Clips,
//! tiles and activations have one layout, channels-last: `[…, frames, height, width, channels]`,
//! RGB in 0…1. [`tiled`] restores clips of any length and size tile by tile.

#![forbid(unsafe_code)]

mod align;
mod attention;
mod between;
mod block;
pub mod checkpoint;
pub mod config;
pub mod cost;
mod flow;
#[cfg(test)]
mod golden;
pub mod inventory;
mod layers;
mod mlp;
mod network;
mod offsets;
pub mod option_file;
mod parameters;
mod pass;
mod positions;
pub mod presets;
pub mod recognise;
mod reconstruct;
mod resample;
mod restorer;
mod shapes;
mod sight;
pub mod similar;
mod stage;
pub mod tiled;
mod trail;
pub mod volume;

pub use between::{BetweenError, FramesBetween};
pub use checkpoint::Checkpoint;
pub use config::VrtConfig;
pub use network::{Named, Vrt};
pub use offsets::Offsets;
pub use parameters::Values;
pub use pass::Pass;
pub use restorer::{Restorer, RestorerError};
