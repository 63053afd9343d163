//! The folder that fetched checkpoints are kept in.
//!
//! `weights/NAME.pth` is a whole file; beside it lie its record (`NAME.pth.json`), a file on its
//! way (`NAME.pth.part`, with `NAME.pth.part.json`) and a lock (`NAME.pth.lock`).

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::published::ContentError;
use super::{Published, Sha256};

/// A folder of fetched checkpoints, which need not exist yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cache {
    folder: PathBuf,
}

/// What is known about a file in the cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its digest when it came.
    pub sha256: Sha256,
    /// Its bytes then.
    pub bytes: u64,
    /// Where it came from; `None` if it was put here by hand.
    pub source: Option<String>,
}

/// How a file in the cache is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// As it came.
    Same(Record),
    /// Not recorded before, but whole: recorded now.
    Recorded(Record),
    /// Not as it came.
    Changed {
        /// As it came.
        record: Record,
        /// Its digest now.
        found: Sha256,
    },
}

/// Why a file in the cache could not be checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// It cannot be read, or its record not be written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It has no record, and is not what it should be.
    #[error(transparent)]
    Content(#[from] ContentError),
}

/// Why a checkpoint could not be removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RemoveError {
    /// It is on its way.
    #[error("{}: is being fetched by another process; end that, or wait for it", path.display())]
    Busy {
        /// Which file.
        path: PathBuf,
    },
    /// A file of it cannot be removed.
    #[error("{}: cannot be removed: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl Cache {
    /// The cache in this folder.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a checkpoint is, once it was fetched.
    pub fn path(&self, network: Published) -> PathBuf {
        self.folder.join("weights").join(network.file())
    }

    /// Where a checkpoint is, if it is there.
    pub fn held(&self, network: Published) -> Option<PathBuf> {
        Some(self.path(network)).filter(|path| path.is_file())
    }

    /// What was recorded of a checkpoint.
    pub fn record(&self, network: Published) -> Option<Record> {
        Record::read(&self.path(network))
    }

    /// Holds a checkpoint that is there to its record. Without one it is held to what the network
    /// is, and recorded.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or has no record and is something else.
    pub fn check(&self, network: Published) -> Result<Checked, CheckError> {
        let path = self.path(network);
        let failed = |source| CheckError::Io { path: path.clone(), source };
        let found = Sha256::of_file(&path).map_err(failed)?;
        if let Some(record) = self.record(network) {
            return Ok(match record.sha256 == found {
                true => Checked::Same(record),
                false => Checked::Changed { record, found },
            });
        }
        network.check(&path)?;
        let bytes = fs::metadata(&path).map_err(failed)?.len();
        let record = Record { sha256: found, bytes, source: None };
        record.write(&path).map_err(failed)?;
        Ok(Checked::Recorded(record))
    }

    /// Removes a checkpoint, and what there is of it; whether there was anything.
    ///
    /// # Errors
    ///
    /// If another process fetches it, or something cannot be removed.
    pub fn remove(&self, network: Published) -> Result<bool, RemoveError> {
        let path = self.path(network);
        let _lock = lock_if_any(&path)?;
        let mut removed = false;
        // The lock stays: another process may wait for it.
        let others = ["part", "part.json", "json", "json.new"].map(|ending| beside(&path, ending));
        for path in [path].into_iter().chain(others) {
            match fs::remove_file(&path) {
                Ok(()) => removed = true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(RemoveError::Io { path, source }),
            }
        }
        Ok(removed)
    }
}

/// Locks the file at `path` as those who fetch it do; without a lock beside it nobody does.
fn lock_if_any(path: &Path) -> Result<Option<File>, RemoveError> {
    let lock = beside(path, "lock");
    let file = match File::options().write(true).open(&lock) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(RemoveError::Io { path: lock, source }),
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(RemoveError::Busy { path: path.to_owned() }),
        Err(TryLockError::Error(error)) if has_no_locks(&error) => Ok(None),
        Err(TryLockError::Error(source)) => Err(RemoveError::Io { path: lock, source }),
    }
}

/// Whether this says that files cannot be locked there, as on some file systems of networks.
pub(super) fn has_no_locks(error: &io::Error) -> bool {
    /// `ENOLCK`, which has no kind of its own: NFS without what keeps its locks.
    const NO_LOCKS: i32 = if cfg!(target_os = "linux") { 37 } else { 77 };
    error.kind() == io::ErrorKind::Unsupported
        || (cfg!(unix) && error.raw_os_error() == Some(NO_LOCKS))
}

impl Record {
    /// The record of a file, if there is one that can be read.
    pub(super) fn read(path: &Path) -> Option<Self> {
        let text = fs::read_to_string(beside(path, "json")).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Writes the record beside the file it is of, whole or not at all.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(io::Error::other)?;
        let (aside, to) = (beside(path, "json.new"), beside(path, "json"));
        let mut file = File::create(&aside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(aside, to)
    }
}

/// The file beside `path` that has this ending on top.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}
