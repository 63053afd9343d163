//! Where frames go.

pub(crate) mod ffmpeg;
pub(crate) mod folder;
pub(crate) mod picture;
pub(crate) mod y4m;

use std::path::{Path, PathBuf};

use crate::{TimedFrame, VideoError};

/// Names that are tried for what a run that failed has left.
const PARTIAL_NAMES: u32 = 1000;

/// Finds out whether files can be made in `folder`, by making one: bits of permission do not tell
/// for every user and file system.
pub(crate) fn check_writable(folder: &Path) -> std::io::Result<()> {
    tempfile::Builder::new().prefix(".vrt-").tempfile_in(folder).map(drop)
}

/// The folder that `file` is in.
pub(crate) fn folder_of(file: &Path) -> &Path {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.unwrap_or_else(|| Path::new("."))
}

/// `film.mp4` as `film.partial.mp4`, `film.partial-2.mp4`, …
pub(crate) fn partial_names(target: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let target = target.to_path_buf();
    (1..=PARTIAL_NAMES).map(move |attempt| {
        let mut name = target.file_stem().unwrap_or_default().to_os_string();
        name.push(".partial");
        if attempt > 1 {
            name.push(format!("-{attempt}"));
        }
        if let Some(extension) = target.extension() {
            name.push(".");
            name.push(extension);
        }
        target.with_file_name(name)
    })
}

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
