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
    /// A stream of spikes cannot be read.
    #[error(transparent)]
    Stream(#[from] vrt_spike::SpikeError),
    /// Spikes do not fit the frames.
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
        "these weights take spikes beside RGB: state a folder of one stream or grey image a frame, \
         or one stream of all frames, with --spike"
    )]
    SpikeMissing,
    /// Spikes for a network that takes none.
    #[error("these weights take RGB only; leave --spike away, or use RGB+spike weights")]
    SpikeUnused,
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

/// Why spikes and frames do not fit together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpikeError {
    /// A registration does not fit.
    #[error(transparent)]
    Registration(#[from] vrt_video::RegistrationError),
    /// Nothing is there.
    #[error(
        "{path:?} does not exist: state a folder of one grey image or one stream a frame, or one \
         stream of all frames"
    )]
    Nothing {
        /// What was stated.
        path: PathBuf,
    },
    /// Another shape than that of the frames.
    #[error(
        "the spike pictures of {path:?} are {}×{}, the frames {}×{}: both need one aspect ratio; \
         state how they lie on each other (--spike-align), or crop one of them", spike.0, spike.1, frame.0, frame.1
    )]
    Aspect {
        /// Where they are.
        path: PathBuf,
        /// Width and height of the pictures.
        spike: (usize, usize),
        /// Width and height of the frames.
        frame: (usize, usize),
    },
    /// Fewer pictures than frames.
    #[error(
        "there are no spikes for frame {given} (counted from 0): {path:?} has those of {given}; \
         every frame needs its own"
    )]
    TooFew {
        /// Where they are.
        path: PathBuf,
        /// Frames that there are spikes for.
        given: u64,
    },
    /// More pictures than frames.
    #[error(
        "{path:?} has spikes of {given} frames, but the video has {frames} frames: every frame \
         needs its own"
    )]
    TooMany {
        /// Where they are.
        path: PathBuf,
        /// Frames that there are spikes for.
        given: u64,
        /// Frames of the video.
        frames: u64,
    },
    /// More channels than can be made of what is there.
    #[error(
        "these weights take {channels} spike channels, which cannot be made of {path:?}: several \
         channels are parts of a frame's own stream, so state a folder of streams with at least \
         {channels} frames each"
    )]
    Channels {
        /// Where the spikes are.
        path: PathBuf,
        /// Channels that the network takes.
        channels: usize,
    },
    /// Times of frames beside a folder of streams.
    #[error(
        "{path:?} is a folder, whose streams or pictures belong to frames by their order; times of \
         frames, and a window around them, are for one stream of all of them"
    )]
    Clock {
        /// The folder.
        path: PathBuf,
    },
    /// Too few frames for that many channels.
    #[error(
        "these weights take {channels} spike channels, which are parts of a window around each frame \
         of video, and one of {window} frames of {path:?} is too short: state --spike-window"
    )]
    Window {
        /// The stream.
        path: PathBuf,
        /// Channels that the network takes.
        channels: usize,
        /// Frames that they are parts of.
        window: f64,
    },
    /// Nothing says what several channels are parts of.
    #[error(
        "these weights take {channels} spike channels, which are parts of a window of {path:?} around \
         each frame of video: state of how many frames of it (--spike-window)"
    )]
    NoWindow {
        /// The stream.
        path: PathBuf,
        /// Channels that the network takes.
        channels: usize,
    },
    /// A window for a single channel.
    #[error(
        "these weights take one spike channel, which no window of {path:?} is cut up for; state \
         --spike-half-window for playback in place of --spike-window"
    )]
    IdleWindow {
        /// The stream.
        path: PathBuf,
    },
    /// A window beyond the stream.
    #[error(
        "frame {frame} of the video was taken at frame {time} of {path:?}, and of the {window} frames \
         around that a part is not among its {frames}, or less than half of one: state other times \
         (--spike-first, --spike-times), fewer frames around them (--spike-window), or of the video \
         (--frames)"
    )]
    Edge {
        /// The stream.
        path: PathBuf,
        /// Which frame of the video.
        frame: u64,
        /// When it was taken, in frames of the stream.
        time: f64,
        /// Frames around it that are asked for.
        window: f64,
        /// Frames of the stream.
        frames: u64,
    },
    /// A stream unlike the others.
    #[error(
        "{path:?} has {} frames of {}×{}, {first:?} {} of {}×{}: streams of one video are alike",
        found.2, found.0, found.1, expected.2, expected.0, expected.1
    )]
    Differs {
        /// Which stream.
        path: PathBuf,
        /// Its width, height and number of frames.
        found: (usize, usize, u64),
        /// The first stream.
        first: PathBuf,
        /// Its width, height and number of frames.
        expected: (usize, usize, u64),
    },
    /// A gap in the numbers.
    #[error(
        "{path:?} comes behind {before:?}, but numbers go up by {step}: a stream is missing, or one \
         too many"
    )]
    Number {
        /// The stream before it.
        before: PathBuf,
        /// Which stream.
        path: PathBuf,
        /// What numbers went up by before.
        step: u64,
    },
    /// One stream, and nobody knows when frames were taken.
    #[error(
        "{path:?} is one stream: state when frames were taken in it (--spike-step, or \
         --spike-times), or a folder with a stream for every frame"
    )]
    NoClock {
        /// The stream.
        path: PathBuf,
    },
    /// A frame that was taken when the stream was not.
    #[error(
        "frame {frame} was taken at frame {time} of {path:?}, which has {frames}, counted from 0"
    )]
    Outside {
        /// The stream.
        path: PathBuf,
        /// The frame of video.
        frame: u64,
        /// When that was taken.
        time: f64,
        /// Frames of the stream.
        frames: u64,
    },
    /// A file of times that cannot be read.
    #[error("{path:?}: {source}")]
    ReadTimes {
        /// Which file.
        path: PathBuf,
        /// What the file system says.
        source: std::io::Error,
    },
    /// A file of times that holds something else.
    #[error(
        "{path:?}, line {line}: {text}; a frame of the stream is stated for every frame of video"
    )]
    Times {
        /// Which file.
        path: PathBuf,
        /// Which line, counted from 1.
        line: usize,
        /// What is wrong.
        text: String,
    },
}
