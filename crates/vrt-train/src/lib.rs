//! How weights of the Video Restoration Transformer are made: from an option file to a checkpoint.

#![forbid(unsafe_code)]

pub mod adam;
pub mod chance;
pub mod clip;
pub mod ema;
pub mod loss;
pub mod order;
pub mod parameters;
pub mod prefetch;
pub mod ranks;
pub mod recipe;
pub mod samples;
pub mod schedule;
#[cfg(test)]
mod testing;

pub use recipe::Recipe;
