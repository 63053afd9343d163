//! A stream into a file.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::SpikeError;
use crate::packed::Packed;

/// Writes a stream beside its place, and puts it there once it is whole.
#[derive(Debug)]
pub struct StreamWriter {
    path: PathBuf,
    aside: PathBuf,
    file: Option<BufWriter<File>>,
}

impl StreamWriter {
    /// Begins a stream that will be at `path`.
    ///
    /// # Errors
    ///
    /// Fails if there is something at `path` already and it is not to be replaced, or nothing can
    /// be written there.
    pub fn create(path: &Path, replace: bool) -> Result<Self, SpikeError> {
        let io = |source| SpikeError::Io { path: path.to_path_buf(), source };
        if !replace && fs::exists(path).map_err(io)? {
            return Err(io(io::ErrorKind::AlreadyExists.into()));
        }
        let mut aside = path.as_os_str().to_owned();
        aside.push(".part");
        let aside = PathBuf::from(aside);
        let file = File::create(&aside).map_err(io)?;
        Ok(Self { path: path.to_path_buf(), aside, file: Some(BufWriter::new(file)) })
    }

    /// Writes some frames.
    ///
    /// # Errors
    ///
    /// Fails if they cannot be written.
    pub fn write(&mut self, frames: &Packed) -> Result<(), SpikeError> {
        let Some(file) = &mut self.file else { unreachable!("finishing takes the writer") };
        file.write_all(frames.bytes())
            .map_err(|source| SpikeError::Io { path: self.path.clone(), source })
    }

    /// The stream is whole.
    ///
    /// # Errors
    ///
    /// Fails if its end cannot be written, or it cannot be put in its place.
    pub fn finish(mut self) -> Result<(), SpikeError> {
        let Some(file) = self.file.take() else { unreachable!("finishing takes the writer") };
        let written = file.into_inner().map_err(io::IntoInnerError::into_error);
        let done = written.and_then(|_| fs::rename(&self.aside, &self.path));
        done.map_err(|source| SpikeError::Io { path: self.path.clone(), source })
    }
}

impl Drop for StreamWriter {
    /// What was broken off leaves nothing.
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = fs::remove_file(&self.aside);
        }
    }
}
