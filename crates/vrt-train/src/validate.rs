//! Tries a network on test clips: restored in tiles as published, scored as published.

mod clip;

use std::path::Path;
use std::sync::atomic::AtomicBool;

use vrt_model::Restorer;
use vrt_model::RestorerError;
use vrt_model::tiled::{TiledError, WindowError};
use vrt_model::volume::VolumeError;
use vrt_video::{Averaging, ClipScore, DataError, Frame, FrameScore, Scores, SetScore, VideoError};

use crate::ranks::{Collective, CollectiveError};
use crate::recipe::{TestSet, Validation};
use clip::Clip;

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
    /// Frames of the test set.
    #[error("validation: {0}")]
    Data(#[from] DataError),
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
    /// It was asked to break off, on this or another rank.
    #[error("validation was stopped")]
    Stopped,
    /// The other ranks.
    #[error(transparent)]
    Ranks(#[from] CollectiveError),
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
    clip::clips(test, validation)?.iter().try_for_each(Clip::look)
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

/// Restores and scores every clip, each on one of the ranks; all of them get all scores, and rank 0
/// the picture.
///
/// # Errors
///
/// If frames cannot be read, restored, compared or kept, or one of the ranks is asked to break off.
pub fn validate(
    model: &Restorer,
    trial: &Trial<'_>,
    ranks: &dyn Collective,
) -> Result<Tried, ValidationError> {
    let clips = clip::clips(trial.test, trial.validation)?;
    let mut picture = None;
    let own = own_scores(model, trial, (&clips, ranks), &mut picture);
    let own = match own {
        Ok(own) => Some(own),
        Err(ValidationError::Stopped) => None,
        Err(error) => return Err(error),
    };
    let mut stopped = [f32::from(u8::from(own.is_none()))];
    ranks.sum(&mut stopped)?;
    let Some(own) = own.filter(|_| stopped == [0.0]) else {
        return Err(ValidationError::Stopped);
    };
    let scores = gathered(&clips, own, ranks)?;
    Ok(Tried { scores: SetScore::new(scores, Averaging::Clips), picture })
}

/// The scores of every rank's share of the clips; `None` for those of others.
type Own = Vec<Option<ClipScore>>;

fn own_scores(
    model: &Restorer,
    trial: &Trial<'_>,
    (clips, ranks): (&[Clip], &dyn Collective),
    picture: &mut Option<Frame>,
) -> Result<Own, ValidationError> {
    let mut scores = Vec::with_capacity(clips.len());
    for (i, clip) in clips.iter().enumerate() {
        let sample = (i == 0).then_some(&mut *picture);
        let own = i % ranks.size() == ranks.rank();
        scores.push(own.then(|| clip::score(model, trial, clip, sample)).transpose()?);
    }
    Ok(scores)
}

/// The scores of all clips, of whatever rank.
fn gathered(
    clips: &[Clip],
    own: Own,
    ranks: &dyn Collective,
) -> Result<Vec<ClipScore>, ValidationError> {
    if ranks.size() == 1 {
        return Ok(own.into_iter().flatten().collect());
    }
    let mut sums = Vec::new();
    for (clip, own) in clips.iter().zip(&own) {
        for frame in 0..clip.frame_names().len() {
            let scores = own.as_ref().map(|own| own.frames[frame].scores);
            let numbers = scores.map_or([0.0; 4], |s| [s.psnr, s.ssim, s.psnr_y, s.ssim_y]);
            sums.extend(numbers.into_iter().flat_map(halves));
        }
    }
    ranks.sum(&mut sums)?;
    let (pairs, _) = sums.as_chunks::<2>();
    let mut numbers = pairs.iter().map(|[high, low]| f64::from(*high) + f64::from(*low));
    let mut next = || numbers.next().unwrap_or(f64::NAN);
    let of_clip = |clip: &Clip| {
        let frames = clip.frame_names().into_iter().map(|name| {
            let scores = Scores { psnr: next(), ssim: next(), psnr_y: next(), ssim_y: next() };
            FrameScore { name, scores }
        });
        ClipScore::new(clip.name().to_owned(), frames.collect())
    };
    Ok(clips.iter().map(of_clip).collect())
}

/// Two numbers of 24 bits whose sum is one of 48.
fn halves(number: f64) -> [f32; 2] {
    let high = number as f32;
    [high, if high.is_finite() { (number - f64::from(high)) as f32 } else { 0.0 }]
}
