//! What goes wrong with environments, for a person.

use std::io;
use std::path::PathBuf;

/// Why an LMDB environment could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LmdbError {
    /// The folder has no `data.mdb` that can be read.
    #[error(
        "{path:?} cannot be read: {source}; an LMDB environment is a folder with a file data.mdb"
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is no environment.
    #[error("{path:?} is not an LMDB environment that can be read: {reason}")]
    NotLmdb {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file is shorter than what it says of itself.
    #[error(
        "{path:?} is cut off: it holds {found} bytes, and its own pages need {needed}; copy it again"
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Its length.
        found: u64,
        /// The least length that holds all its pages.
        needed: u64,
    },
    /// A page of the file is not what it should be.
    #[error("{path:?} is damaged: page {page} {reason}; copy the file again, or write it anew")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The page, counted from 0.
        page: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// LMDB refuses to open, read or write.
    #[error("{path:?}: LMDB says while {doing}: {reason}")]
    Library {
        /// The environment.
        path: PathBuf,
        /// What was tried.
        doing: String,
        /// What the library says.
        reason: String,
    },
    /// A new environment has a place that is taken.
    #[error("{path:?} exists already; state another name for the environment")]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// The folder of a new environment cannot be made.
    #[error("{path:?} cannot be made: {source}")]
    Create {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}
