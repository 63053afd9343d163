//! What goes wrong with training data, for a person.

use std::io;
use std::path::PathBuf;

/// Why a training set cannot be opened, or a sample of it not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file or folder cannot be read.
    #[error("{path:?} cannot be read: {source}")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A line of a clip list is not one.
    #[error(
        "{path:?}, line {line}: {reason}; a line is `clip frames (height,width,channels) first`, \
         for example `000 100 (720,1280,3) 00000000`"
    )]
    ListLine {
        /// The list.
        path: PathBuf,
        /// Its line, counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// A clip list without clips, or with none but those that are held out.
    #[error("{path:?} names no clip to train on: {reason}")]
    NoClips {
        /// The list.
        path: PathBuf,
        /// Why none is left.
        reason: String,
    },
    /// A clip is shorter than what is cut out of it.
    #[error(
        "{path:?}: the clip {clip} has {frames} frames, and {wanted} frames at interval {interval} \
         span {span}; take it out of the list, or lower num_frame or interval_list"
    )]
    ShortClip {
        /// The list.
        path: PathBuf,
        /// The clip.
        clip: String,
        /// Its frames.
        frames: usize,
        /// Frames of a sample.
        wanted: usize,
        /// Steps from one to the next.
        interval: usize,
        /// Frames from the first to the last of them.
        span: usize,
    },
    /// An option has a value that cannot be.
    #[error("{key} is {value}, and {reason}")]
    Option {
        /// Its name in option files.
        key: &'static str,
        /// Its value.
        value: String,
        /// What would do.
        reason: String,
    },
    /// A folder of frames was asked for, and an environment is there.
    #[error(
        "{path:?} is an LMDB environment: set io_backend to {{\"type\": \"lmdb\"}} for it, or name a \
         folder of frames"
    )]
    IsEnvironment {
        /// The environment.
        path: PathBuf,
    },
    /// An environment was asked for, and a folder is there.
    #[error(
        "{path:?} is no LMDB environment, for it has no file data.mdb: set io_backend to \
         {{\"type\": \"disk\"}} for a folder of frames, or make an environment of it (vrt data \
         prepare --lmdb)"
    )]
    IsFolder {
        /// The folder.
        path: PathBuf,
    },
    /// A frame of the list is not there.
    #[error(
        "{root:?} has no frame {frame}; the clip list, filename_tmpl and filename_ext together \
         must name what is there"
    )]
    MissingFrame {
        /// The folder or environment.
        root: PathBuf,
        /// The file or key in it.
        frame: String,
    },
    /// A frame cannot be decoded.
    #[error("the frame {frame} of {root:?} cannot be decoded: {reason}; replace it")]
    Decode {
        /// The folder or environment.
        root: PathBuf,
        /// The file or key in it.
        frame: String,
        /// What the decoder says.
        reason: String,
    },
    /// Two frames of a pair have sizes that the scale does not explain.
    #[error(
        "the frame {frame} is {}×{} in {sharp:?} and {}×{} in {degraded:?}, but scale is {scale}: \
         correct scale (and netG.upscale), or the folders", got.0, got.1, small.0, small.1
    )]
    Scale {
        /// The file or key.
        frame: String,
        /// The folder or environment of sharp frames.
        sharp: PathBuf,
        /// That of degraded ones.
        degraded: PathBuf,
        /// Width and height of the sharp frame.
        got: (usize, usize),
        /// Those of the degraded one.
        small: (usize, usize),
        /// How many times as large the sharp one should be.
        scale: usize,
    },
    /// A frame differs in size from the others of its clip.
    #[error(
        "the frame {frame} of {root:?} is {}×{}, but {}×{} was expected: all frames of a clip have \
         one size, and degraded ones that of sharp ones divided by scale",
        got.0, got.1, expected.0, expected.1
    )]
    Size {
        /// The folder or environment.
        root: PathBuf,
        /// The file or key in it.
        frame: String,
        /// Its width and height.
        got: (usize, usize),
        /// What the other frames and the scale ask for.
        expected: (usize, usize),
    },
    /// A frame is smaller than what is cut out of it.
    #[error(
        "the frame {frame} of {root:?} is {}×{}, smaller than a crop of {crop}×{crop}; lower \
         gt_size, or take the clip out of the list",
        size.0, size.1
    )]
    CropTooLarge {
        /// The folder or environment.
        root: PathBuf,
        /// The file or key in it.
        frame: String,
        /// Its width and height.
        size: (usize, usize),
        /// Rows and columns that are cut out.
        crop: usize,
    },
    /// A key of an environment is no frame of a clip.
    #[error(
        "the key {key:?} of {root:?} names no frame below it; keys are `clip/frame`, for example \
         000/00000000"
    )]
    Key {
        /// The environment.
        root: PathBuf,
        /// The key.
        key: String,
    },
    /// A frame without its stream of spikes.
    #[error(
        "{root:?} has no stream {frame}: every frame needs its own; state the folder above those of \
         the clips (--spike, dataroot_spike), and what streams end in (spike_ext)"
    )]
    MissingStream {
        /// The folder.
        root: PathBuf,
        /// The stream that is not in it.
        frame: String,
    },
    /// A stream of spikes has another shape than its frame.
    #[error(
        "the spikes {frame} of {root:?} are {}×{}, the frame {}×{}: both need one aspect ratio; \
         state spike_w and spike_h, or how they lie on each other (spike_align)", got.0, got.1, expected.0, expected.1
    )]
    SpikeShape {
        /// The folder.
        root: PathBuf,
        /// The stream in it.
        frame: String,
        /// Its width and height.
        got: (usize, usize),
        /// Those of the frame.
        expected: (usize, usize),
    },
    /// A stream of spikes cannot be read.
    #[error(transparent)]
    Spikes(#[from] vrt_spike::SpikeError),
    /// Spikes are not where a registration says.
    #[error("the spikes {frame} of {root:?}: {source}")]
    SpikeAlign {
        /// The folder.
        root: PathBuf,
        /// The stream in it.
        frame: String,
        /// Why.
        source: crate::RegistrationError,
    },
    /// Folders of frames that are read whole.
    #[error(transparent)]
    Frames(#[from] crate::VideoError),
    /// An LMDB environment cannot be opened or read.
    #[error(transparent)]
    Lmdb(#[from] vrt_lmdb::LmdbError),
}
