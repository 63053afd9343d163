//! What goes wrong on the way from file to file.

use std::io;
use std::path::PathBuf;

use vrt_model::tiled::{SpecError, WindowError};
use vrt_model::volume::VolumeError;
use vrt_video::{VideoError, Written};

use super::planning::TilePlanError;
use super::run::FRAMES_AROUND;

/// Why a video could not be restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The options do not fit the network.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The input cannot be read, or the output not be written.
    #[error(transparent)]
    Video(#[from] VideoError),
    /// The spike images do not fit the frames.
    #[error(transparent)]
    Spike(#[from] SpikeError),
    /// Tiles cannot be planned.
    #[error(transparent)]
    Plan(#[from] TilePlanError),
    /// The output would replace the input while it is read.
    #[error("{path:?} is the input and the output; state another output")]
    SameFile {
        /// The file or folder.
        path: PathBuf,
    },
    /// There is nothing to restore.
    #[error("{input:?} holds no frame")]
    NoFrame {
        /// The input.
        input: PathBuf,
    },
    /// The network failed.
    #[error("the frames from {first_frame} on could not be restored: {source}")]
    Model {
        /// First frame of the window, counted from 0.
        first_frame: usize,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Frames and windows do not fit together.
    #[error(transparent)]
    Window(#[from] WindowError),
    /// A frame cannot be held.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// A thread could not be started.
    #[error("the system gives no thread to read or write with: {0}")]
    Thread(io::Error),
    /// The run failed after frames had been written.
    #[error("{cause}; {}", kept_in_words(.written))]
    Partial {
        /// Why it failed.
        cause: Box<Self>,
        /// What is whole.
        written: Written,
    },
    /// The run failed, and what was restored could not be completed.
    #[error("{first}; besides, what was restored could not be completed: {second}")]
    Both {
        /// Why it failed.
        first: Box<Self>,
        /// What went wrong with the output then.
        second: Box<Self>,
    },
}

impl RestoreError {
    /// This error, with what is left of the run.
    pub(super) fn keeping(self, written: Option<Written>) -> Self {
        match written {
            Some(written) => Self::Partial { cause: Box::new(self), written },
            None => self,
        }
    }
}

fn kept_in_words(written: &Written) -> String {
    let frames = match written.frames {
        1 => "1 restored frame is".to_owned(),
        frames => format!("{frames} restored frames are"),
    };
    match &written.path {
        Some(path) => format!("{frames} whole, in {path:?}"),
        None => format!("{frames} written"),
    }
}

/// Why options and a network do not fit together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// A denoising network without the level of the noise.
    #[error("these weights remove noise of a known level: state it with --sigma (0 to 255)")]
    SigmaMissing,
    /// A noise level for a network that takes none.
    #[error("these weights take no noise level; leave --sigma away, or use denoising weights")]
    SigmaUnused,
    /// A noise level that is none.
    #[error("the noise level is {0}, but has to be between 0 and 255, in codes of 8 bits")]
    SigmaRange(f64),
    /// A spike network without spikes.
    #[error(
        "these weights take a spike channel beside RGB: state a folder of one grey image a frame \
         with --spike"
    )]
    SpikeMissing,
    /// Spikes for a network that takes none.
    #[error("these weights take RGB only; leave --spike away, or use RGB+spike weights")]
    SpikeUnused,
    /// More spike channels than a grey image has.
    #[error(
        "these weights take {0} spike channels, but a folder of grey images gives one; raw spike \
         streams cannot be read yet"
    )]
    SpikeChannels(usize),
    /// An interpolation network of a form that frames are not handed to.
    #[error(
        "these weights make one frame of {frames} with {channels} channels each; frames are \
         doubled by networks that make one of {FRAMES_AROUND} RGB frames"
    )]
    Interpolation {
        /// Frames they take.
        frames: usize,
        /// Channels of each.
        channels: usize,
    },
    /// A tile length that interpolation cannot have.
    #[error(
        "interpolation always takes {FRAMES_AROUND} frames at a time; a tile of {0} frames is not \
         possible, state 0 frames"
    )]
    InterpolationTile(usize),
    /// Tiles that do not advance.
    #[error(transparent)]
    Tile(#[from] SpecError),
}

/// Why spike images and frames do not fit together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpikeError {
    /// No folder.
    #[error(
        "{path:?} is no folder of spike images, one grey image a frame; raw spike streams cannot be \
         read yet"
    )]
    NoFolder {
        /// What was stated.
        path: PathBuf,
    },
    /// Another shape than that of the frames.
    #[error(
        "the spike images in {path:?} are {}×{}, the frames {}×{}: both need one aspect ratio; crop \
         one of them", spike.0, spike.1, frame.0, frame.1
    )]
    Aspect {
        /// The folder.
        path: PathBuf,
        /// Width and height of the images.
        spike: (usize, usize),
        /// Width and height of the frames.
        frame: (usize, usize),
    },
    /// Fewer images than frames.
    #[error(
        "there is no spike image for frame {images} (counted from 0): {path:?} holds {images}; one \
         a frame is needed"
    )]
    TooFew {
        /// The folder.
        path: PathBuf,
        /// Images in it.
        images: u64,
    },
    /// More images than frames.
    #[error(
        "{path:?} holds {images} spike images, but the video has {frames} frames; one a frame is \
         needed"
    )]
    TooMany {
        /// The folder.
        path: PathBuf,
        /// Images in it.
        images: u64,
        /// Frames of the video.
        frames: u64,
    },
}
