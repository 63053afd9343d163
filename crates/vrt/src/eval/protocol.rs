//! Which frames a published number looks at.

use std::path::{Path, PathBuf};

use serde::Serialize;
use vrt_model::config::{Task, VrtConfig};
use vrt_video::{Averaging, SsimKind};

use super::EvalError;

/// Frames of a clip of Vimeo-90K.
const VIMEO_FRAMES: usize = 7;
/// The one in the middle, which is scored.
const VIMEO_MIDDLE: usize = 3;
/// Every second frame of the clip: the input of interpolation.
const VIMEO_KNOWN: [usize; 4] = [0, 2, 4, 6];

/// How published numbers of one kind were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "name")]
pub enum Protocol {
    /// Mean over the frames of a clip, then over clips.
    #[default]
    Clips,
    /// As the MATLAB script behind some deblurring tables: mean over all frames of all clips, SSIM
    /// with a window over rows, columns and channels.
    AllFrames,
    /// Super-resolution on Vimeo-90K: the last of seven frames is repeated once, and only the
    /// fourth is scored.
    VimeoSr,
    /// Interpolation on Vimeo-90K: frames 1, 3, 5 and 7 go in, and the new one is compared with
    /// frame 4.
    VimeoInterpolation,
    /// Denoising: Gaussian noise is added to the truth, neither clipped nor rounded, from seed 0
    /// for each clip.
    Denoise {
        /// Standard deviation of the noise in steps of 255.
        sigma: f64,
    },
}

impl Protocol {
    /// Says whether a network can be judged in this way.
    ///
    /// # Errors
    ///
    /// Names the protocol that fits the network instead.
    pub fn check(self, config: &VrtConfig) -> Result<(), EvalError> {
        let misfit = |needed| Err(EvalError::Misfit { protocol: self.name(), needed });
        match (self, config.task()) {
            (Self::VimeoInterpolation, Task::Interpolation) => Ok(()),
            (Self::VimeoInterpolation, _) => misfit("it needs a network that interpolates"),
            (_, Task::Interpolation) => {
                misfit("a network that interpolates needs the protocol vimeo-interpolation")
            }
            (Self::Denoise { .. }, _) if config.upscale() > 1 => {
                misfit("it needs a network that keeps the size of frames")
            }
            (Self::Denoise { .. }, _) => Ok(()),
            _ if config.noise_map() => {
                misfit("a network with a noise map needs the protocol denoise and its sigma")
            }
            _ => Ok(()),
        }
    }

    /// The name that `--protocol` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clips => "clips",
            Self::AllFrames => "all-frames",
            Self::VimeoSr => "vimeo-sr",
            Self::VimeoInterpolation => "vimeo-interpolation",
            Self::Denoise { .. } => "denoise",
        }
    }

    /// Whether the input is made from the truth, so that no other is read.
    pub fn makes_input(self) -> bool {
        matches!(self, Self::Denoise { .. })
    }

    /// Whether the truth can be the input, too.
    pub fn input_is_optional(self) -> bool {
        matches!(self, Self::Denoise { .. } | Self::VimeoInterpolation)
    }

    /// Frames to restore in place of those of `input`, and the truth of those that are scored.
    pub(super) fn plan(self, clip: ClipFiles) -> Result<ClipPlan, EvalError> {
        let ClipFiles { name, truth, input } = clip;
        let scored_all = |truth: Vec<PathBuf>| truth.into_iter().enumerate().collect();
        let (inputs, scored) = match self {
            Self::Clips | Self::AllFrames | Self::Denoise { .. } => (input, scored_all(truth)),
            Self::VimeoSr => {
                let mut inputs = exactly(&name, input)?;
                inputs.extend(inputs.last().cloned());
                (inputs, vec![(VIMEO_MIDDLE, middle(&name, truth)?)])
            }
            Self::VimeoInterpolation => {
                let inputs = match input.len() {
                    4 => input,
                    _ => {
                        let seven = exactly(&name, input)?;
                        VIMEO_KNOWN.map(|frame| seven[frame].clone()).to_vec()
                    }
                };
                (inputs, vec![(0, middle(&name, truth)?)])
            }
        };
        Ok(ClipPlan { name, inputs, scored })
    }

    /// Pairs of restored frames and their truth.
    pub(super) fn pairs(self, clip: ClipFiles) -> Result<Vec<(PathBuf, PathBuf)>, EvalError> {
        let ClipFiles { name, truth, input } = clip;
        match self {
            Self::VimeoSr | Self::VimeoInterpolation => {
                Ok(vec![(middle(&name, input)?, middle(&name, truth)?)])
            }
            _ => Ok(input.into_iter().zip(truth).collect()),
        }
    }

    /// Whether truth and input have the same frames; else either may be the whole clip or only
    /// the frames of it that are used.
    pub(super) fn pairs_frames(self) -> bool {
        !matches!(self, Self::VimeoSr | Self::VimeoInterpolation)
    }

    /// What the mean of the set is taken over.
    pub(super) fn averaging(self) -> Averaging {
        match self {
            Self::AllFrames => Averaging::Frames,
            _ => Averaging::Clips,
        }
    }

    /// How SSIM on RGB is read.
    pub(super) fn ssim(self) -> SsimKind {
        match self {
            Self::AllFrames => SsimKind::Volume,
            _ => SsimKind::PerChannel,
        }
    }
}

/// Pictures of one clip, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClipFiles {
    pub(super) name: String,
    pub(super) truth: Vec<PathBuf>,
    pub(super) input: Vec<PathBuf>,
}

/// What is restored of one clip, and what is scored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClipPlan {
    pub(super) name: String,
    pub(super) inputs: Vec<PathBuf>,
    /// Places among the restored frames, ascending, and their truth.
    pub(super) scored: Vec<(usize, PathBuf)>,
}

fn exactly(clip: &str, files: Vec<PathBuf>) -> Result<Vec<PathBuf>, EvalError> {
    if files.len() == VIMEO_FRAMES {
        return Ok(files);
    }
    Err(EvalError::Frames { clip: clip.to_owned(), got: files.len(), needed: "7 frames" })
}

/// The frame in the middle of seven, or the only one.
fn middle(clip: &str, mut files: Vec<PathBuf>) -> Result<PathBuf, EvalError> {
    match files.len() {
        1 => Ok(files.remove(0)),
        VIMEO_FRAMES => Ok(files.swap_remove(VIMEO_MIDDLE)),
        got => Err(EvalError::Frames {
            clip: clip.to_owned(),
            got,
            needed: "7 frames, or the one in the middle alone",
        }),
    }
}

/// The name of a picture without folder and extension.
pub(super) fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
