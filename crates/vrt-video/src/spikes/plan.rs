//! Clips that are to be filmed, and whether they can be.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use vrt_spike::Geometry;

use super::{Between, SpikeSetOptions};
use crate::training::check_name;
use crate::{OpenOptions, SimulateError, VideoError, is_picture, list_clips, open};

/// Bytes that the frames of an exposure may take.
const MOST_MEMORY: u64 = 8 << 30;

/// A clip that can be filmed.
pub(super) struct PlannedClip {
    /// Its folder in the set.
    pub(super) name: String,
    /// Where its frames are.
    pub(super) path: PathBuf,
    /// Width and height of them.
    pub(super) size: (usize, usize),
    /// How frames of spikes lie.
    pub(super) geometry: Geometry,
}

/// The clips of `source`, each looked at: nothing is written before all of them can be filmed, as far
/// as is known of videos before they are read.
pub(super) fn plan(
    source: &Path,
    options: &SpikeSetOptions,
    between: &dyn Between,
) -> Result<Vec<PlannedClip>, SimulateError> {
    let mut named: HashMap<String, PathBuf> = HashMap::new();
    let clips = clips(source)?.into_iter().map(|(name, path)| {
        let wrong = |reason| SimulateError::Clip { path: path.clone(), reason };
        // Lists divide their fields by blanks.
        let name = name.replace(char::is_whitespace, "_");
        if check_name(&name).is_err() {
            return Err(wrong(format!("{name:?} is no name for a folder of the set; rename it")));
        }
        if let Some(other) = named.insert(name.clone(), path.clone()) {
            return Err(wrong(format!("{other:?} is called {name}, too; rename one of them")));
        }
        let (size, geometry) = look(&path, options, between)?;
        Ok(PlannedClip { name, path, size, geometry })
    });
    clips.collect()
}

/// Names and places of clips.
fn clips(source: &Path) -> Result<Vec<(String, PathBuf)>, VideoError> {
    if source.is_file() {
        let name = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        return Ok(vec![(name, source.to_path_buf())]);
    }
    Ok(list_clips(source)?.into_iter().map(|clip| (clip.name, clip.path)).collect())
}

/// The size of a clip's frames and of those of its spikes.
fn look(
    path: &Path,
    options: &SpikeSetOptions,
    between: &dyn Between,
) -> Result<((usize, usize), Geometry), SimulateError> {
    let wrong = |reason| SimulateError::Clip { path: path.to_path_buf(), reason };
    let source = open(path, &OpenOptions::default())?;
    let info = source.info();
    let (size, needed) = ((info.width, info.height), options.frames);
    // Of videos this may be what their makers guessed.
    let counted = info
        .frames
        .filter(|_| path.is_dir() || is_picture(path))
        .and_then(|it| usize::try_from(it).ok());
    if let Some(frames) = counted.filter(|frames| *frames < needed) {
        let path = path.to_path_buf();
        return Err(VideoError::ShortClip { path, frames, needed }.into());
    }
    let geometry = options.camera.geometry(size).map_err(wrong)?;
    if options.instants > 1 {
        between.check(size).map_err(wrong)?;
    }
    let memory = memory(size, geometry, options);
    if memory > MOST_MEMORY {
        return Err(wrong(format!(
            "an exposure of {} frames of {}×{} with {} instants each would take {} GiB of memory, \
             and at most {} GiB are taken: choose fewer frames or instants, or smaller pictures",
            options.frames,
            size.0,
            size.1,
            options.instants,
            memory.div_ceil(1 << 30),
            MOST_MEMORY >> 30
        )));
    }
    Ok((size, geometry))
}

/// Bytes of what is kept at once: of the frames of an exposure the sharp one, its sums and its spikes,
/// and the instants between three frames.
fn memory((width, height): (usize, usize), geometry: Geometry, options: &SpikeSetOptions) -> u64 {
    let [frames, instants, samples, spikes] =
        [options.frames, options.instants, 3 * width * height, geometry.frame_bytes()]
            .map(|count| count as u64);
    let frame = size_of::<f32>() as u64 * samples;
    let sums = size_of::<f64>() as u64 * samples;
    frames * (frame + sums + instants * spikes) + 2 * instants * frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_that_of_an_exposure_and_of_instants_between() {
        let options = SpikeSetOptions { frames: 3, instants: 8, ..SpikeSetOptions::default() };
        let geometry = Geometry::new(16, 8).expect("whole bytes");
        let (frame, sums, spikes) = (16 * 8 * 3 * 4, 16 * 8 * 3 * 8, 16 * 8 / 8);
        let expected = 3 * (frame + sums + 8 * spikes) + 16 * frame;
        assert_eq!(memory((16, 8), geometry, &options), expected);
    }
}
