//! How weights of the Video Restoration Transformer are made: from an option file to a checkpoint.
//!
//! A [`Recipe`] is an option file, read and checked. [`trainer::train`] runs it:
//!
//! ```text
//! recipe ─► start: drawn or pretrained weights ─► State { network, moments, average, step, position }
//!           prefetch: threads read samples ahead ─► Batch        │
//!           step: Learner::gradients ─► clip ─► adam ─► average ◄┘ … journal, checkpoints, trials
//! ```
//!
//! Chance has no state: the order of samples, crops and dropped branches follow from the seed and
//! the position among the samples ([`chance`], [`order`]). So a run that goes on from a checkpoint
//! makes the weights that it would have made.

#![forbid(unsafe_code)]

pub mod adam;
pub mod chance;
pub mod checkpoint;
pub mod clip;
pub mod ema;
mod host;
pub mod journal;
pub mod loss;
pub mod order;
pub mod parameters;
pub mod plan;
pub mod prefetch;
pub mod ranks;
pub mod recipe;
pub mod run_folder;
pub mod samples;
pub mod schedule;
pub mod start;
pub mod step;
pub mod tensorboard;
#[cfg(test)]
mod testing;
pub mod trainer;
pub mod validate;

pub use recipe::Recipe;
