//! Where frames go.

pub(crate) mod ffmpeg;
pub(crate) mod folder;
pub(crate) mod picture;
pub(crate) mod y4m;

use std::path::PathBuf;

use crate::{TimedFrame, VideoError};

/// What a sink has left on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Written {
    /// The file or folder; `None` for a pipe.
    pub path: Option<PathBuf>,
    /// Whole frames in it.
    pub frames: u64,
    /// What could not be kept as it was (a subtitle format, frame times), for a person.
    pub warnings: Vec<String>,
}

/// Takes frames in order and writes them.
pub trait FrameSink: Send {
    /// Writes the next frame.
    ///
    /// # Errors
    ///
    /// Says which file and frame could not be written, why, and what is whole.
    fn write(&mut self, frame: &TimedFrame) -> Result<(), VideoError>;

    /// Completes the file: only after this is it whole. Also called when a run stops early, so
    /// that what was written stays playable.
    ///
    /// # Errors
    ///
    /// Says what could not be completed, and what is whole.
    fn finish(self: Box<Self>) -> Result<Written, VideoError>;
}
