//! Frames to train on: pairs of short clips, cut and turned at random.

mod agreement;
mod augment;
mod check;
mod error;
mod held_out;
mod jitter;
mod list;
mod options;
mod sample;
mod spikes;
mod store;
#[cfg(test)]
mod tests;
mod tree;
mod window;

pub use agreement::Agreement;
pub use check::{CheckReport, check_folders, check_set};
pub use error::DataError;
pub use held_out::{HeldOut, HeldOutClips, held_out_clips};
pub(crate) use list::check_name;
pub use list::{ClipEntry, ClipList};
pub use options::{Backend, FrameRoot, SetKind, TrainingSetOptions};
pub use sample::{Sample, TrainingSet};
pub use spikes::{SpikeClip, SpikeTree};
pub use tree::FrameTree;
