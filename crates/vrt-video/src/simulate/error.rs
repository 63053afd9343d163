//! Why clips cannot be simulated.

use std::io;
use std::path::PathBuf;

use crate::VideoError;

/// Why clips cannot be simulated: which still or option, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimulateError {
    /// A still cannot be read, a frame cannot be written, or ffmpeg does not do what it should.
    #[error(transparent)]
    Video(#[from] VideoError),
    /// An option that cannot be.
    #[error("{option} is {value}; {reason}")]
    Option {
        /// The option.
        option: &'static str,
        /// Its value.
        value: String,
        /// What would do.
        reason: String,
    },
    /// A clip that cannot be filmed.
    #[error("{path:?}: {reason}")]
    Clip {
        /// Its folder or file.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// There is nothing between two frames of a clip.
    #[error("{path:?}: what lies between frames {frame} and {} cannot be made: {reason}", frame + 1)]
    Between {
        /// Its folder or file.
        path: PathBuf,
        /// The first of the two, counted from 0.
        frame: usize,
        /// Why.
        reason: String,
    },
    /// No still is left for the part.
    #[error(
        "{path:?} has {stills} pictures, and none of them is for testing: every tenth is; state \
         more pictures or the part all"
    )]
    EmptyPart {
        /// The folder.
        path: PathBuf,
        /// Pictures below it.
        stills: usize,
    },
    /// A still is too small for the frames.
    #[error(
        "{path:?} is {}×{}, and frames of this size need stills of at least {}×{} pixels; take it \
         out of the folder, or ask for smaller frames",
        size.0, size.1, least.0, least.1
    )]
    SmallStill {
        /// The still.
        path: PathBuf,
        /// Its width and height.
        size: (usize, usize),
        /// The least width and height.
        least: (usize, usize),
    },
    /// The list or the record cannot be written.
    #[error("{path:?} cannot be written: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}
