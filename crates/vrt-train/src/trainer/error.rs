//! What ends a run early.

use std::path::PathBuf;

use vrt_model::checkpoint::CheckpointError;

use crate::checkpoint::StateError;
use crate::journal::JournalError;
use crate::prefetch::PrefetchError;
use crate::ranks::CollectiveError;
use crate::recipe::Problem;
use crate::run_folder::FolderError;
use crate::samples::SampleError;
use crate::step::{ExchangeError, StepError, Trouble};
use crate::tensorboard::BoardError;
use crate::validate::ValidationError;

/// Why a run could not begin or go on. What was saved before stays.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// Files of the recipe are missing.
    #[error("{}", list(.0))]
    Missing(Vec<Problem>),
    /// The folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Weights.
    #[error(transparent)]
    Weights(#[from] CheckpointError),
    /// A state.
    #[error(transparent)]
    State(#[from] StateError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A file for TensorBoard.
    #[error(transparent)]
    Board(#[from] BoardError),
    /// The training set.
    #[error("the training set: {0}")]
    Data(Box<dyn std::error::Error + Send + Sync>),
    /// There is nothing in it.
    #[error("the training set has no samples: check datasets.train.meta_info_file")]
    Empty,
    /// Samples.
    #[error(transparent)]
    Samples(#[from] PrefetchError),
    /// A batch.
    #[error(transparent)]
    Batch(#[from] SampleError),
    /// A trial.
    #[error(transparent)]
    Validation(#[from] ValidationError),
    /// A step.
    #[error("step {step}: {source}")]
    Step {
        /// Which step.
        step: u64,
        /// Why.
        source: StepError,
    },
    /// A batch does not divide among the ranks.
    #[error(
        "a batch of {batch} samples (datasets.train.dataloader_batch_size) in {parts} parts \
         (train.accumulate) does not divide among {ranks} ranks: start another number of ranks, or \
         change one of the keys"
    )]
    Share {
        /// Samples of a batch.
        batch: usize,
        /// Parts of it.
        parts: usize,
        /// Ranks.
        ranks: usize,
    },
    /// Another rank's folder is not this one's.
    #[error(
        "rank {rank} does not see what rank 0 has written to {folder:?}: the run folder has to be \
         on a file system that all ranks share"
    )]
    NotShared {
        /// This rank.
        rank: usize,
        /// The folder.
        folder: PathBuf,
    },
    /// Ranks were not told to train alike.
    #[error(
        "rank {rank} has other options than rank 0: start all ranks with the same option file, --set \
         and version of this program (paths may differ)"
    )]
    OtherOptions {
        /// The first one that has.
        rank: usize,
    },
    /// Ranks would draw from different sets.
    #[error(
        "rank {rank} has another number of training samples than rank 0: all ranks need the same clip \
         list and frames"
    )]
    OtherSamples {
        /// The first one that has.
        rank: usize,
    },
    /// Something went wrong, and what was done before is saved.
    #[error("{source}; step {step} is saved, and --resume goes on from there")]
    Saved {
        /// What went wrong.
        source: Box<TrainError>,
        /// The last step that was done.
        step: u64,
    },
    /// Something went wrong, and what was done before could not be saved.
    #[error("{source}; step {step} could not be saved: {why}")]
    Unsaved {
        /// What went wrong.
        source: Box<TrainError>,
        /// The last step that was done.
        step: u64,
        /// Why it is not saved.
        why: Box<TrainError>,
    },
    /// The other ranks.
    #[error(transparent)]
    Ranks(#[from] CollectiveError),
    /// Gradients could not be added up.
    #[error(transparent)]
    Exchange(#[from] ExchangeError<CollectiveError>),
    /// Numbers went wrong again after going back.
    #[error(
        "step {step}: {trouble}, again after going back to step {to} with other samples; the state \
         of step {to} is kept: {}",
        trouble.remedy()
    )]
    Diverged {
        /// The step that went wrong.
        step: u64,
        /// The newest good state.
        to: u64,
        /// What went wrong.
        trouble: Trouble,
    },
}

impl TrainError {
    /// What went wrong, without what became of the state.
    pub(super) fn cause(&self) -> &Self {
        match self {
            Self::Saved { source, .. } | Self::Unsaved { source, .. } => source,
            other => other,
        }
    }
}

fn list(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}
