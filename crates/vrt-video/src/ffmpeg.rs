//! The ffmpeg programs as child processes: what reading, writing and probing share.

mod error;
mod layout;
mod process;
#[cfg(test)]
pub(crate) mod testing;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

pub use error::{FfmpegError, Kept};
pub(crate) use layout::{Layout, YuvLayout, bit_depth_of, chroma_of, is_rgb};
pub(crate) use process::{Level, Tail, capture, each_line, level_of, spawn, watch};

/// Scaler flags under which ffmpeg 5 to 8 resample chroma without shortcuts.
pub(crate) const SCALE_FLAGS: &str = "accurate_rnd+full_chroma_int+full_chroma_inp+bicubic";

/// Where the programs are: names looked up in `PATH`, or paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    /// Decodes and encodes.
    pub ffmpeg: PathBuf,
    /// Describes files.
    pub ffprobe: PathBuf,
}

impl Default for Programs {
    fn default() -> Self {
        Self { ffmpeg: PathBuf::from("ffmpeg"), ffprobe: PathBuf::from("ffprobe") }
    }
}

/// `path` as an ffmpeg argument: never taken for an option, a protocol or a pattern of names.
pub(crate) fn file_argument(path: &Path) -> OsString {
    let mut argument = OsString::from("file:");
    argument.push(path);
    argument
}
