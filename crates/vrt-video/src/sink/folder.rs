//! A folder of PNG files as the place where frames go.

use std::path::{Path, PathBuf};

use crate::picture::{BitDepth, write_numbered};
use crate::sink::check_writable;
use crate::source::folder::list;
use crate::{FrameSink, TimedFrame, VideoError, Written};

/// How a folder of pictures is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FolderSinkOptions {
    /// Bits per sample.
    pub bit_depth: BitDepth,
    /// Frames may replace files of their name in a folder that is not empty; nothing else in it
    /// is touched.
    pub overwrite: bool,
}

/// Writes one PNG file a frame: `NAME.png`, or `00000000.png` and on for frames without a name.
///
/// Each file takes its name only when it is whole, so a run that ends early leaves whole frames.
#[derive(Debug)]
pub struct FolderSink {
    folder: PathBuf,
    options: FolderSinkOptions,
    frames: u64,
}

impl FolderSink {
    /// Makes the folder `path`, or takes one that is empty.
    ///
    /// # Errors
    ///
    /// Says that the folder is not empty and may not be overwritten, that `path` is a file, or that
    /// the folder cannot be made or takes no file.
    pub fn create(path: &Path, options: FolderSinkOptions) -> Result<Self, VideoError> {
        let failed = |source| VideoError::Create { path: path.to_path_buf(), source };
        std::fs::create_dir_all(path).map_err(failed)?;
        if !options.overwrite && !list(path, |_| true)?.is_empty() {
            return Err(VideoError::NotEmpty { path: path.to_path_buf() });
        }
        check_writable(path).map_err(failed)?;
        Ok(Self { folder: path.to_path_buf(), options, frames: 0 })
    }

    fn file(&self, name: Option<&str>) -> PathBuf {
        // A name with separators in it would lead out of the folder.
        let plain =
            name.filter(|name| Path::new(name).file_name().is_some_and(|last| last == *name));
        match plain {
            Some(name) => self.folder.join(format!("{name}.png")),
            None => self.folder.join(format!("{:08}.png", self.frames)),
        }
    }
}

impl FrameSink for FolderSink {
    fn write(&mut self, frame: &TimedFrame) -> Result<(), VideoError> {
        let path = self.file(frame.name.as_deref());
        let FolderSinkOptions { bit_depth, overwrite } = self.options;
        write_numbered(&path, &frame.frame, self.frames, bit_depth, overwrite)?;
        self.frames += 1;
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<Written, VideoError> {
        Ok(Written { path: Some(self.folder), frames: self.frames, ..Written::default() })
    }
}

#[cfg(test)]
mod tests;
