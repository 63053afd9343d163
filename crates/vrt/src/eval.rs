//! Restores folders of frames and compares them with the truth, as published numbers were made.
//!
//! A set is a folder of clips, a clip a folder of pictures; the same clips and frames are in the
//! folder with the truth and in the one that is compared with it. Scene cuts are not looked for.

mod clips;
mod protocol;
mod restored;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use serde::Serialize;
use vrt_model::config::VrtConfig;
use vrt_model::tiled::{ClipModel, Tiling};
use vrt_model::volume::VolumeError;
use vrt_video::{
    BitDepth, ClipScore, DataError, Frame, FrameScore, PictureChannels, SetScore, SpikeClip,
    SpikeTree, VideoError, read_picture, write_picture,
};

use crate::restore::{TileChoice, TilePlan, TilePlanError};

pub use protocol::Protocol;

use clips::clips;
use protocol::{ClipPlan, stem};
use restored::{Runner, Told};

/// Why frames could not be restored for a comparison, or not be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvalError {
    /// A picture, folder or pair of them.
    #[error(transparent)]
    Video(#[from] VideoError),
    /// A stream of spikes.
    #[error(transparent)]
    Spikes(#[from] DataError),
    /// A frame cannot be held.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// The network cannot be judged in this way.
    #[error("the protocol {protocol} does not fit: {needed}")]
    Misfit {
        /// Name of the protocol.
        protocol: &'static str,
        /// What would do.
        needed: &'static str,
    },
    /// A clip has not the frames that a protocol looks at.
    #[error("the clip {clip:?} has {got} frames; the protocol needs {needed}")]
    Frames {
        /// Which clip.
        clip: String,
        /// Its frames.
        got: usize,
        /// What would do.
        needed: &'static str,
    },
    /// The network gave fewer frames than are scored.
    #[error("the clip {clip:?}: {got} of {wanted} frames were restored")]
    Missing {
        /// Which clip.
        clip: String,
        /// Frames that were scored.
        got: usize,
        /// Frames that should have been.
        wanted: usize,
    },
    /// There are no tiles for a clip.
    #[error("the clip {clip:?}: {source}")]
    Plan {
        /// Which clip.
        clip: String,
        /// Why.
        source: TilePlanError,
    },
    /// A clip could not be restored.
    #[error("the clip {clip:?} could not be restored: {source}")]
    Restore {
        /// Which clip.
        clip: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A restored and a true frame cannot be compared.
    #[error("the clip {clip:?}, frame {frame:?}: {source}")]
    Compare {
        /// Which clip.
        clip: String,
        /// Which frame, by its name.
        frame: String,
        /// Why.
        source: Box<VideoError>,
    },
}

/// How frames are restored and scored.
#[derive(Clone, Debug)]
pub struct EvalOptions {
    /// Which frames count, and how they are averaged.
    pub protocol: Protocol,
    /// Sizes of tiles.
    pub tile: TileChoice,
    /// How tiles are put together.
    pub tiling: Tiling,
    /// Streams of spikes beside the frames, for networks that take them.
    pub spikes: Option<SpikeTree>,
    /// Folder for the restored frames that are scored: `clip/frame.png`, 8 bits.
    pub save: Option<PathBuf>,
    /// Whether frames in that folder may be replaced.
    pub overwrite: bool,
}

/// The folders of an evaluation: each a set of clips, or one clip.
#[derive(Clone, Copy, Debug)]
pub struct Folders<'a> {
    /// With the truth.
    pub truth: &'a Path,
    /// With what is restored; `None` if the protocol makes it from the truth.
    pub input: Option<&'a Path>,
}

/// Scores of a set, and how they were made.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EvalReport {
    /// Which frames count, and how they are averaged.
    pub protocol: Protocol,
    /// Frames that were scored.
    pub frames: usize,
    /// The scores.
    #[serde(flatten)]
    pub set: SetScore,
}

impl EvalReport {
    fn new(protocol: Protocol, clips: Vec<ClipScore>) -> Self {
        let frames = clips.iter().map(|clip| clip.frames.len()).sum();
        Self { protocol, frames, set: SetScore::new(clips, protocol.averaging()) }
    }
}

/// How far an evaluation is.
#[derive(Clone, Copy, Debug)]
pub enum EvalEvent<'a> {
    /// A clip is about to be restored, in these tiles.
    Restoring {
        /// Its name.
        clip: &'a str,
        /// Sizes of tiles.
        plan: TilePlan,
    },
    /// A tile did not fit in the memory of a device: this clip's have fewer rows and columns from
    /// there on.
    Shrunk {
        /// Its name.
        clip: &'a str,
        /// Rows and columns.
        size: usize,
    },
    /// A clip has its scores.
    Scored(&'a ClipScore),
}

/// Restores every clip of a set with `model` and scores it; `on_event` hears how far it is.
///
/// # Errors
///
/// If the protocol does not fit the network of `config`, clips or frames of the folders do not fit
/// together, or a frame cannot be read, restored, compared or saved. Frames saved before stay.
pub fn evaluate<M: ClipModel<Error: Send + Sync>>(
    model: &M,
    config: &VrtConfig,
    folders: Folders<'_>,
    options: &EvalOptions,
    on_event: &mut dyn FnMut(EvalEvent<'_>),
) -> Result<EvalReport, EvalError> {
    let protocol = options.protocol;
    protocol.check(config)?;
    let spikes = spikes(config, options)?;
    if folders.input.is_none() && !protocol.input_is_optional() {
        let needed = "it needs frames to restore";
        return Err(EvalError::Misfit { protocol: protocol.name(), needed });
    }
    check_save(options)?;
    let clips = clips(folders, protocol)?.into_iter().map(|clip| protocol.plan(clip));
    let clips = clips.collect::<Result<Vec<_>, _>>()?;
    let alone = clips.len() == 1;
    // What is missing is said before hours of restoring.
    let clips = clips.into_iter().map(|clip| {
        let streams = spikes.as_ref().map(|tree| streams(tree, &clip, alone)).transpose()?;
        Ok((clip, streams))
    });
    let clips = clips.collect::<Result<Vec<_>, EvalError>>()?;
    let runner = Runner { model, config, options };
    let scores = clips.iter().map(|(clip, streams)| {
        let score = evaluate_clip(&runner, (clip, streams.as_ref()), on_event)?;
        on_event(EvalEvent::Scored(&score));
        Ok(score)
    });
    Ok(EvalReport::new(protocol, scores.collect::<Result<_, EvalError>>()?))
}

/// The streams of a clip's frames.
fn streams(tree: &SpikeTree, clip: &ClipPlan, alone: bool) -> Result<SpikeClip, EvalError> {
    let first = read_picture(&clip.inputs[0], PictureChannels::Rgb)?;
    let size = (first.width(), first.height());
    let streams = tree.clip(&clip.name, alone);
    streams.look(&clip.inputs, size)?;
    Ok(streams)
}

/// The streams that the network takes, if it takes any.
fn spikes(config: &VrtConfig, options: &EvalOptions) -> Result<Option<SpikeTree>, EvalError> {
    let protocol = options.protocol.name();
    match (config.spike_channels(), &options.spikes) {
        (0, None) => Ok(None),
        (0, Some(_)) => {
            Err(EvalError::Misfit { protocol, needed: "the network takes no spikes (--spike)" })
        }
        (_, None) => {
            let needed = "the network takes spikes beside its frames: state where their streams \
                          are (--spike)";
            Err(EvalError::Misfit { protocol, needed })
        }
        (_, Some(_)) if options.protocol != Protocol::Clips => {
            let needed = "frames with spikes are scored with the protocol clips";
            Err(EvalError::Misfit { protocol, needed })
        }
        (channels, Some(tree)) => Ok(Some(SpikeTree { channels, ..tree.clone() })),
    }
}

/// Scores the frames under `restored` as they are.
///
/// # Errors
///
/// If clips or frames of the folders do not fit together, or a frame cannot be read or compared.
pub fn score(
    truth: &Path,
    restored: &Path,
    protocol: Protocol,
    on_event: &mut dyn FnMut(EvalEvent<'_>),
) -> Result<EvalReport, EvalError> {
    let folders = Folders { truth, input: Some(restored) };
    let scores = clips(folders, protocol)?.into_iter().map(|clip| {
        let name = clip.name.clone();
        let frames = protocol.pairs(clip)?.into_iter().map(|(restored, truth)| {
            let restored = read_picture(&restored, PictureChannels::Rgb)?;
            compare(protocol, &name, &restored, &truth)
        });
        let frames = frames.collect::<Result<_, EvalError>>()?;
        let score = ClipScore::new(name.clone(), frames);
        on_event(EvalEvent::Scored(&score));
        Ok(score)
    });
    Ok(EvalReport::new(protocol, scores.collect::<Result<_, EvalError>>()?))
}

fn evaluate_clip<M: ClipModel<Error: Send + Sync>>(
    runner: &Runner<'_, M>,
    (clip, streams): (&ClipPlan, Option<&SpikeClip>),
    on_event: &mut dyn FnMut(EvalEvent<'_>),
) -> Result<ClipScore, EvalError> {
    let mut scored = clip.scored.iter().peekable();
    let mut frames = Vec::with_capacity(clip.scored.len());
    let name = &clip.name;
    let tell = &mut |told| {
        on_event(match told {
            Told::Plan(plan) => EvalEvent::Restoring { clip: name, plan },
            Told::Shrunk(size) => EvalEvent::Shrunk { clip: name, size },
        });
    };
    runner.restore((clip, streams), tell, &mut |place, frame| {
        let Some((_, truth)) = scored.next_if(|(scored, _)| *scored == place) else {
            return Ok(());
        };
        save(runner.options, &clip.name, truth, &frame)?;
        frames.push(compare(runner.options.protocol, &clip.name, &frame, truth)?);
        Ok(())
    })?;
    if frames.len() < clip.scored.len() {
        let (got, wanted) = (frames.len(), clip.scored.len());
        return Err(EvalError::Missing { clip: clip.name.clone(), got, wanted });
    }
    Ok(ClipScore::new(clip.name.clone(), frames))
}

/// Writes a restored frame under the name of its truth, if frames are to be saved.
fn save(options: &EvalOptions, clip: &str, truth: &Path, frame: &Frame) -> Result<(), EvalError> {
    let Some(folder) = &options.save else {
        return Ok(());
    };
    let folder = folder.join(clip);
    std::fs::create_dir_all(&folder)
        .map_err(|source| VideoError::Create { path: folder.clone(), source })?;
    let path = folder.join(format!("{}.png", stem(truth)));
    Ok(write_picture(&path, frame, BitDepth::Eight, options.overwrite)?)
}

/// Refuses to save frames into a folder that is not empty, unless they may be replaced.
fn check_save(options: &EvalOptions) -> Result<(), VideoError> {
    let Some(folder) = options.save.as_deref().filter(|_| !options.overwrite) else {
        return Ok(());
    };
    match std::fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(VideoError::NotEmpty { path: folder.to_path_buf() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(VideoError::Create { path: folder.to_path_buf(), source }),
    }
}

fn compare(
    protocol: Protocol,
    clip: &str,
    restored: &Frame,
    truth: &Path,
) -> Result<FrameScore, EvalError> {
    let name = stem(truth);
    let truth = read_picture(truth, PictureChannels::Rgb)?;
    match vrt_video::score(&truth, restored, protocol.ssim()) {
        Ok(scores) => Ok(FrameScore { name, scores }),
        Err(source) => {
            Err(EvalError::Compare { clip: clip.to_owned(), frame: name, source: Box::new(source) })
        }
    }
}
