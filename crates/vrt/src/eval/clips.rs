//! The clips of a set, with the truth and with what is compared with it.

use std::collections::HashMap;
use std::path::Path;

use vrt_video::{ClipFolder, Pairing, VideoError, list_clips, pair_clips};

use super::protocol::{ClipFiles, Protocol};
use super::{EvalError, Folders};

/// The clips that a protocol looks at; without an input, the truth is both.
pub(super) fn clips(folders: Folders<'_>, protocol: Protocol) -> Result<Vec<ClipFiles>, EvalError> {
    let Some(input) = folders.input else {
        let both = |ClipFolder { name, frames, .. }| ClipFiles {
            name,
            truth: frames.clone(),
            input: frames,
        };
        return Ok(list_clips(folders.truth)?.into_iter().map(both).collect());
    };
    if !protocol.pairs_frames() {
        return by_clip(folders.truth, input);
    }
    let clips = pair_clips(folders.truth, input, Pairing::Same)?.into_iter().map(|clip| {
        let (truth, input) =
            clip.frames.into_iter().map(|frame| (frame.truth, frame.input)).unzip();
        ClipFiles { name: clip.name, truth, input }
    });
    Ok(clips.collect())
}

/// Clips of both folders by name, whatever frames they have; the truth may have more clips.
fn by_clip(truth: &Path, input: &Path) -> Result<Vec<ClipFiles>, EvalError> {
    let (truths, inputs) = (list_clips(truth)?, list_clips(input)?);
    let single = truths.len() == 1 && inputs.len() == 1;
    let key = |name: &str| {
        if single { String::new() } else { name.to_owned() }
    };
    let mut truths_by_name: HashMap<_, _> =
        truths.into_iter().map(|clip| (key(&clip.name), clip.frames)).collect();
    let (mut clips, mut missing) = (Vec::new(), Vec::new());
    for ClipFolder { name, frames: input, .. } in inputs {
        match truths_by_name.remove(&key(&name)) {
            Some(truth) => clips.push(ClipFiles { name, truth, input }),
            None => missing.push(format!("the clip {name} is not in {truth:?}")),
        }
    }
    if missing.is_empty() {
        return Ok(clips);
    }
    let (truth, input) = (truth.to_path_buf(), input.to_path_buf());
    Err(VideoError::Unpaired { truth, input, missing }.into())
}
