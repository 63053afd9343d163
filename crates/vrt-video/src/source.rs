//! Where frames come from.

pub(crate) mod ffmpeg;
pub(crate) mod folder;
pub(crate) mod y4m;

use crate::{StreamInfo, TimedFrame, VideoError};

/// A stream of frames of one size, read once from front to back.
pub trait FrameSource: Send {
    /// What is known about the stream.
    fn info(&self) -> &StreamInfo;

    /// The next frame, or `None` behind the last one.
    ///
    /// # Errors
    ///
    /// Says which file and which frame could not be read, and why. After an error the stream is
    /// over.
    fn next_frame(&mut self) -> Result<Option<TimedFrame>, VideoError>;

    /// What was not read as it is (frames that cannot be decoded at the start), so far, for a
    /// person.
    fn warnings(&self) -> &[String] {
        &[]
    }
}
