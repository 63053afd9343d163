//! Why a download cannot be regrouped.

use std::io;
use std::path::PathBuf;

/// Why a download cannot be regrouped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// A folder or picture of the download cannot be read.
    #[error(transparent)]
    Source(#[from] crate::VideoError),
    /// An environment cannot be written.
    #[error(transparent)]
    Lmdb(#[from] vrt_lmdb::LmdbError),
    /// A file of the download cannot be read.
    #[error("{path:?} cannot be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Nothing in the download has the names that it should have.
    #[error("{path:?} holds nothing of the layout {layout}; there should be {expected}")]
    NothingFound {
        /// The folder.
        path: PathBuf,
        /// The layout.
        layout: &'static str,
        /// What its folders are called.
        expected: &'static str,
    },
    /// The list that divides sequences into those to train and to test on is missing.
    #[error(
        "{path:?} cannot be read: {source}; Vimeo-90K comes with sep_trainlist.txt and \
         sep_testlist.txt, which say what may be trained on: put them into the folder"
    )]
    VimeoList {
        /// The list.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Two folders would become one clip.
    #[error("{first:?} and {second:?} are both the clip {clip}; keep one of them")]
    SameClip {
        /// The clip.
        clip: String,
        /// One of them.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// The frames of a clip are not numbered as a list can state.
    #[error("{path:?}: {reason}; download the clip again")]
    Frames {
        /// The clip's folder.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// What should be written is there already.
    #[error("{path:?} exists already; state another folder, or remove it")]
    Exists {
        /// The file or folder.
        path: PathBuf,
    },
    /// A run that was cut off has left something.
    #[error("{path:?} was left by a run that was cut off; remove it")]
    Leftover {
        /// The file or folder.
        path: PathBuf,
    },
    /// Something cannot be written.
    #[error("{path:?} cannot be written: {source}")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}
