//! A file that appears once it is whole.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::SpikeError;
use crate::packed::Packed;

/// A file that is written aside and put in its place by [`finish`](Self::finish); one that is dropped
/// before leaves nothing.
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
    replace: bool,
    aside: BufWriter<NamedTempFile>,
}

impl NewFile {
    /// Begins a file that will be at `path`.
    ///
    /// # Errors
    ///
    /// Fails if there is something at `path` already and it is not to be replaced, or nothing can
    /// be written there.
    pub fn create(path: &Path, replace: bool) -> Result<Self, SpikeError> {
        if !replace && path.symlink_metadata().is_ok() {
            return Err(SpikeError::Exists { path: path.to_path_buf() });
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let mut aside = tempfile::Builder::new();
        aside.prefix(".vrt-").suffix(".partial");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // As files are made by default: the process's mask takes its share off.
            aside.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let aside = aside.tempfile_in(folder.unwrap_or(Path::new(".")));
        let aside = aside.map_err(|source| SpikeError::Io { path: path.to_path_buf(), source })?;
        Ok(Self { path: path.to_path_buf(), replace, aside: BufWriter::new(aside) })
    }

    /// Where it will be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes some frames of a stream.
    ///
    /// # Errors
    ///
    /// Fails if they cannot be written.
    pub fn write_frames(&mut self, frames: &Packed) -> Result<(), SpikeError> {
        self.write_all(frames.bytes())
            .map_err(|source| SpikeError::Io { path: self.path.clone(), source })
    }

    /// The file is whole.
    ///
    /// # Errors
    ///
    /// Fails if its end cannot be written, or it cannot be put in its place.
    pub fn finish(self) -> Result<(), SpikeError> {
        let Self { path, replace, aside } = self;
        let named = aside.into_inner().map_err(io::IntoInnerError::into_error).and_then(|aside| {
            let named = if replace { aside.persist(&path) } else { aside.persist_noclobber(&path) };
            named.map(drop).map_err(|error| error.error)
        });
        named.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => SpikeError::Exists { path },
            _ => SpikeError::Io { path, source },
        })
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.aside.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.aside.flush()
    }
}
