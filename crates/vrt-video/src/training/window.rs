//! Which frames of a clip make a sample.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::options::VIMEO_FRAMES;
use super::{ClipEntry, SetKind, TrainingSetOptions};

/// Keys of the frames of a sample, `clip/frame` without extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// Of frames that the network gets.
    pub(super) degraded: Vec<String>,
    /// Of frames that it should make.
    pub(super) sharp: Vec<String>,
    /// Whether time runs backwards.
    pub(super) backwards: bool,
}

/// Draws the window that begins at frame `at` of `clip`, or before it where the clip ends.
pub(super) fn draw(
    options: &TrainingSetOptions,
    clip: &ClipEntry,
    at: usize,
    random: &mut ChaCha8Rng,
) -> Window {
    let mut frames = if options.kind.is_vimeo() {
        vimeo_frames(options.frames).step_by(options.temporal_scale).collect()
    } else {
        recurrent_frames(options, clip, at, random)
    };
    let backwards = options.random_reverse && random.random_bool(0.5);
    if backwards {
        frames.reverse();
    }
    let digits = clip.digits.unwrap_or(options.digits);
    let key = |frame: &usize| match options.kind {
        SetKind::Vimeo | SetKind::Interpolation => format!("{}/im{frame}", clip.name),
        SetKind::Recurrent | SetKind::Denoising { .. } => {
            format!("{}/{:0digits$}", clip.name, clip.first + frame)
        }
    };
    let degraded: Vec<_> = frames.iter().map(key).collect();
    let sharp = match options.kind {
        SetKind::Interpolation => vec![key(&middle(options.frames))],
        _ => degraded.clone(),
    };
    Window { degraded, sharp, backwards }
}

/// Frames from the first to the last of a sample.
pub(super) fn span(frames: usize, interval: usize) -> usize {
    (frames - 1) * interval + 1
}

/// Numbers of frames within the clip, counted from 0. The clip has room for every interval.
fn recurrent_frames(
    options: &TrainingSetOptions,
    clip: &ClipEntry,
    at: usize,
    random: &mut ChaCha8Rng,
) -> Vec<usize> {
    let interval = options.intervals[random.random_range(0..options.intervals.len())];
    let last_start = clip.frames.unwrap_or(0).saturating_sub(span(options.frames, interval));
    // A window that would leave the clip begins anywhere else in it, so that the clip's end does
    // not come more often than the rest.
    let start = if at > last_start { random.random_range(0..=last_start) } else { at };
    (start..).step_by(interval).take(options.frames).collect()
}

/// Numbers of the `frames` middle frames of a Vimeo sequence, counted from 1.
fn vimeo_frames(frames: usize) -> std::ops::Range<usize> {
    let first = (VIMEO_FRAMES - frames) / 2 + 1;
    first..first + frames
}

/// The number of the middle frame of a Vimeo sequence's `frames` middle ones, an odd number.
fn middle(frames: usize) -> usize {
    vimeo_frames(frames).start + frames / 2
}
