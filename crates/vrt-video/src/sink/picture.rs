//! One PNG file as the place where a single frame goes.

use std::path::{Path, PathBuf};

use crate::sink::{check_writable, folder_of};
use crate::{BitDepth, FrameSink, TimedFrame, VideoError, Written, write_picture};

/// Writes a stream of one frame as a picture.
#[derive(Debug)]
pub struct PictureSink {
    path: PathBuf,
    bit_depth: BitDepth,
    overwrite: bool,
    frames: u64,
}

impl PictureSink {
    /// A picture that will be `path`, of a stream of `frames` frames where that is known; nothing
    /// is written before the frame.
    ///
    /// # Errors
    ///
    /// Says that the stream has more than one frame, that the file exists and may not be
    /// overwritten, or that its folder takes no file.
    pub fn create(
        path: &Path,
        frames: Option<u64>,
        bit_depth: BitDepth,
        overwrite: bool,
    ) -> Result<Self, VideoError> {
        if frames.is_some_and(|frames| frames > 1) {
            return Err(VideoError::OnePicture { path: path.to_path_buf() });
        }
        if !overwrite && path.symlink_metadata().is_ok() {
            return Err(VideoError::Exists { path: path.to_path_buf() });
        }
        check_writable(folder_of(path))
            .map_err(|source| VideoError::Create { path: path.to_path_buf(), source })?;
        Ok(Self { path: path.to_path_buf(), bit_depth, overwrite, frames: 0 })
    }
}

impl FrameSink for PictureSink {
    fn write(&mut self, frame: &TimedFrame) -> Result<(), VideoError> {
        if self.frames > 0 {
            return Err(VideoError::OnePicture { path: self.path.clone() });
        }
        write_picture(&self.path, &frame.frame, self.bit_depth, self.overwrite)?;
        self.frames = 1;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Written, VideoError> {
        let path = (self.frames > 0).then_some(self.path);
        Ok(Written { path, frames: self.frames, warnings: Vec::new() })
    }
}
