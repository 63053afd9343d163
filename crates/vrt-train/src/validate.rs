//! Tries a network on test clips: restored in tiles as published, scored as published.

mod clip;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use vrt_model::Restorer;
use vrt_model::RestorerError;
use vrt_model::tiled::{TiledError, WindowError};
use vrt_model::volume::VolumeError;
use vrt_video::{Averaging, Frame, SetScore, VideoError};

use crate::recipe::{TestSet, Validation};

/// How a network is tried.
#[derive(Clone, Copy, Debug)]
pub struct Trial<'a> {
    /// The clips.
    pub test: &'a TestSet,
    /// Tiles, and which frames count.
    pub validation: Validation,
    /// Where restored frames go, if they are kept.
    pub images: Option<&'a Path>,
    /// Set to break off.
    pub stop: &'a AtomicBool,
}

/// Why a network could not be tried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ValidationError {
    /// Frames.
    #[error("validation: {0}")]
    Video(#[from] VideoError),
    /// A list of clips.
    #[error("validation: the list of clips {path:?} cannot be read: {source}")]
    List {
        /// The list.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A clip lacks something.
    #[error("validation: the clip {clip}: {what}")]
    Clip {
        /// Which clip.
        clip: String,
        /// What is wrong.
        what: String,
    },
    /// A clip cannot be restored.
    #[error("validation: the clip {clip} cannot be restored: {source}")]
    Restore {
        /// Which clip.
        clip: String,
        /// Why.
        source: Box<TiledError<RestorerError>>,
    },
    /// It was asked to break off.
    #[error("validation was stopped")]
    Stopped,
}

impl ValidationError {
    fn of(clip: &str, source: TiledError<RestorerError>) -> Self {
        match source {
            TiledError::Stopped => Self::Stopped,
            source => Self::Restore { clip: clip.to_owned(), source: Box::new(source) },
        }
    }

    fn window(clip: &str, source: WindowError) -> Self {
        Self::of(clip, source.into())
    }

    fn volume(clip: &str, source: VolumeError) -> Self {
        Self::of(clip, source.into())
    }
}

/// Says whether the clips of a test set are there and fit together, before hours of training.
///
/// # Errors
///
/// If a folder or list cannot be read, or frames are missing.
pub fn check(test: &TestSet, validation: Validation) -> Result<(), ValidationError> {
    clip::clips(test, validation).map(|_| ())
}

/// Scores of a trial, and what it looks like.
#[derive(Clone, Debug)]
pub struct Tried {
    /// The scores; the mean is over clips, as published.
    pub scores: SetScore,
    /// From the middle of the first clip, side by side: the frame before (where the network sees
    /// one at this place as it is in its file), the restored one, the truth.
    pub picture: Option<Frame>,
}

/// Restores and scores every clip.
///
/// # Errors
///
/// If frames cannot be read, restored, compared or kept, or it is asked to break off.
pub fn validate(model: &Restorer, trial: &Trial<'_>) -> Result<Tried, ValidationError> {
    let clips = clip::clips(trial.test, trial.validation)?;
    let mut picture = None;
    let mut scores = Vec::with_capacity(clips.len());
    for (i, clip) in clips.iter().enumerate() {
        let sample = (i == 0).then_some(&mut picture);
        scores.push(clip::score(model, trial, clip, sample)?);
    }
    Ok(Tried { scores: SetScore::new(scores, Averaging::Clips), picture })
}
