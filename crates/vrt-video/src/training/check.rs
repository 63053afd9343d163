//! Whether every pair of a set is there, can be decoded and fits.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use serde::Serialize;

use super::options::VIMEO_FRAMES;
use super::store::Store;
use super::{Agreement, ClipEntry, ClipList, DataError, SetKind, TrainingSetOptions};
use crate::{Pairing, PictureChannels, VideoError, pair_clips, read_picture};

/// Problems of a set that are kept; the others are counted.
const PROBLEMS_KEPT: usize = 100;

/// What was found out about a set.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CheckReport {
    /// Clips that were looked at.
    pub clips: usize,
    /// Pairs of frames that were looked at.
    pub pairs: usize,
    /// How many pairs are missing, cannot be decoded or do not fit.
    pub faults: usize,
    /// The first of these, in words with file and frame.
    pub problems: Vec<String>,
    /// How well spikes show what their frames do, clip by clip; empty where there are none.
    pub agreements: Vec<Agreement>,
}

impl CheckReport {
    /// Whether there is no fault.
    pub fn is_fine(&self) -> bool {
        self.faults == 0
    }
}

/// Looks at every pair of frames of the list in `options`: both are there, can be decoded, and the
/// sharp one has the size of its clip's first and `scale` times that of the other. Where there are
/// spikes beside them, the streams are there, and those of every clip's middle frame show what it
/// does.
///
/// Clips that are held out are looked at as well. `on_clip` hears how many clips are done, from any
/// thread.
///
/// # Errors
///
/// Names the option that cannot be, the line of the list that is none, or the tree that cannot be
/// opened. Faults of frames are in the report.
pub fn check_set(
    options: &TrainingSetOptions,
    on_clip: &(dyn Fn(usize) + Sync),
) -> Result<CheckReport, DataError> {
    options.check()?;
    let list = ClipList::read(&options.meta_info)?;
    let sharp = Store::open(&options.sharp, &options.extension)?;
    let degraded = match options.kind {
        SetKind::Denoising { .. } => None,
        _ => Some(Store::open(&options.degraded, &options.extension)?),
    };
    let faults = Faults::default();
    let (pairs, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let agreements = list.clips().par_iter().filter_map(|clip| {
        let keys = keys_of(options, clip);
        let middle = keys.get(keys.len() / 2).cloned();
        pairs.fetch_add(keys.len(), Ordering::Relaxed);
        let mut size = None;
        for key in keys {
            if let Err(error) = check_pair(&sharp, degraded.as_ref(), &key, options, &mut size) {
                faults.add(error.to_string());
            }
            let small = size.map(|(width, height)| (width / options.scale, height / options.scale));
            let spikes = options.spikes.as_ref().zip(small);
            if let Some(Err(error)) = spikes.map(|(spikes, small)| spikes.look(&key, small)) {
                faults.add(error.to_string());
            }
        }
        let agreement = middle.and_then(|key| agreement(&sharp, degraded.as_ref(), &key, options));
        on_clip(done.fetch_add(1, Ordering::Relaxed) + 1);
        let agreement = agreement?.map_err(|error| faults.add(error.to_string())).ok()?;
        agreement.problem.iter().for_each(|problem| faults.add(problem.clone()));
        Some(agreement)
    });
    let agreements = agreements.collect();
    Ok(CheckReport { agreements, ..faults.report(list.clips().len(), pairs.into_inner()) })
}

/// How well the spikes of a frame show what it does: beside the sharp one, where both have one size.
fn agreement(
    sharp: &Store,
    degraded: Option<&Store>,
    key: &str,
    options: &TrainingSetOptions,
) -> Option<Result<Agreement, DataError>> {
    let spikes = options.spikes.as_ref()?;
    let store = if options.scale == 1 { sharp } else { degraded? };
    let frame = store.fetch(key).and_then(|frame| frame.whole());
    Some(frame.and_then(|frame| Agreement::of(spikes, key, &frame)))
}

/// All keys of a clip.
pub(super) fn keys_of(options: &TrainingSetOptions, clip: &ClipEntry) -> Vec<String> {
    if options.kind.is_vimeo() {
        return (1..=VIMEO_FRAMES).map(|frame| format!("{}/im{frame}", clip.name)).collect();
    }
    let digits = clip.digits.unwrap_or(options.digits);
    let numbers = clip.first..clip.first.saturating_add(clip.frames.unwrap_or(0));
    numbers.map(|number| format!("{}/{number:0digits$}", clip.name)).collect()
}

/// Decodes both frames of a pair; `size` is that of the clip's sharp frames, from the first on.
fn check_pair(
    sharp: &Store,
    degraded: Option<&Store>,
    key: &str,
    options: &TrainingSetOptions,
    size: &mut Option<(usize, usize)>,
) -> Result<(), DataError> {
    let frame = sharp.fetch(key)?;
    let found = frame.size()?;
    let expected = *size.get_or_insert(found);
    frame.check_crop(found, options.crop)?;
    frame.decode_whole(expected)?;
    let Some(degraded) = degraded else { return Ok(()) };
    let other = degraded.fetch(key)?;
    let small = (expected.0 / options.scale, expected.1 / options.scale);
    if (small.0 * options.scale, small.1 * options.scale) != expected {
        let whole = (small.0 * options.scale, small.1 * options.scale);
        return Err(frame.wrong_size(expected, whole));
    }
    other.decode_whole(small)
}

/// Looks at every pair of frames of two trees with the same clips and file names: both can be
/// decoded, and the sharp one is `scale` times as large. `on_clip` hears how many clips are done.
///
/// # Errors
///
/// Says that a tree cannot be listed, or which clips and frames are missing in one of them.
pub fn check_folders(
    sharp: &Path,
    degraded: &Path,
    scale: usize,
    on_clip: &(dyn Fn(usize) + Sync),
) -> Result<CheckReport, VideoError> {
    let clips = pair_clips(sharp, degraded, Pairing::Same)?;
    let (faults, done) = (Faults::default(), AtomicUsize::new(0));
    clips.par_iter().for_each(|clip| {
        let mut first = None;
        for pair in &clip.frames {
            let size = |path: &Path| {
                let picture = read_picture(path, PictureChannels::Rgb);
                picture.map(|frame| (frame.width(), frame.height()))
            };
            match (size(&pair.truth), size(&pair.input)) {
                (Ok(truth), Ok(input)) => {
                    let first = *first.get_or_insert(truth);
                    let fits = truth == (input.0 * scale, input.1 * scale);
                    if !fits || truth != first {
                        faults.add(format!(
                            "{:?} is {}×{} and {:?} {}×{}; the first frame of the clip is {}×{}, \
                             and the scale {scale}",
                            pair.truth,
                            truth.0,
                            truth.1,
                            pair.input,
                            input.0,
                            input.1,
                            first.0,
                            first.1
                        ));
                    }
                }
                (truth, input) => {
                    [truth, input].into_iter().filter_map(Result::err).for_each(|error| {
                        faults.add(error.to_string());
                    });
                }
            }
        }
        on_clip(done.fetch_add(1, Ordering::Relaxed) + 1);
    });
    let pairs = clips.iter().map(|clip| clip.frames.len()).sum();
    Ok(faults.report(clips.len(), pairs))
}

/// Faults as threads find them.
#[derive(Debug, Default)]
struct Faults(Mutex<(usize, Vec<String>)>);

impl Faults {
    fn add(&self, problem: String) {
        let mut faults = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        faults.0 += 1;
        if faults.1.len() < PROBLEMS_KEPT {
            faults.1.push(problem);
        }
    }

    fn report(self, clips: usize, pairs: usize) -> CheckReport {
        let (faults, mut problems) = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        problems.sort();
        CheckReport { clips, pairs, faults, problems, agreements: Vec::new() }
    }
}
