//! What can be wrong with a file of weights.

use std::io;
use std::path::PathBuf;

use super::{Account, Element};

/// Why weights could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The file cannot be opened or read.
    #[error("{}: cannot be read: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The file is something else.
    #[error("{}: not a checkpoint: {what}", path.display())]
    NotCheckpoint {
        /// Which file.
        path: PathBuf,
        /// What it seems to be, and what to do.
        what: &'static str,
    },
    /// The file starts like a checkpoint but is not a whole one.
    #[error(
        "{}: damaged, cut short or not a checkpoint ({detail}); fetch, copy or write it again \
         (nothing in it was run)",
        path.display()
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What was found.
        detail: String,
    },
    /// The file's tensors would take far more memory than its size explains.
    #[error("{}: claims {claimed} bytes of tensors in a file of {held} bytes", path.display())]
    TooLarge {
        /// Which file.
        path: PathBuf,
        /// Bytes that its tensors would take.
        claimed: u128,
        /// Bytes that it has.
        held: u64,
    },
    /// The file does not hold the weights that were asked for.
    #[error("{}: has no weights {wanted}; take the ones it has", path.display())]
    NoSuchWeights {
        /// Which file.
        path: PathBuf,
        /// The name of what was asked for.
        wanted: &'static str,
    },
    /// There is not one tensor in the file.
    #[error("{}: holds no tensors", path.display())]
    Empty {
        /// Which file.
        path: PathBuf,
    },
    /// Two tensors have one name once `module.` is taken off.
    #[error("{}: has tensor {name} twice, with and without \"module.\"", path.display())]
    Twice {
        /// Which file.
        path: PathBuf,
        /// Which tensor.
        name: String,
    },
    /// There is no flow network in the file.
    #[error("{}: holds no SpyNet (basic_module.0.basic_module.0.weight …)", path.display())]
    NoFlow {
        /// Which file.
        path: PathBuf,
    },
    /// There is no such tensor.
    #[error("{}: has no tensor {name}", path.display())]
    NoTensor {
        /// Which file.
        path: PathBuf,
        /// Which tensor.
        name: String,
    },
    /// A tensor holds something else than floats.
    #[error("{}: tensor {name} holds {element}, not floats", path.display())]
    NotFloats {
        /// Which file.
        path: PathBuf,
        /// Which tensor.
        name: String,
        /// What it holds.
        element: Element,
    },
    /// A tensor holds values that the form of the new file has no name for.
    #[error(
        "{}: tensor {name} holds {element}, which {form} files do not hold; leave it out or write \
         the other form",
        path.display()
    )]
    NotInForm {
        /// The file that was read.
        path: PathBuf,
        /// Which tensor.
        name: String,
        /// What it holds.
        element: Element,
        /// The form that was asked for.
        form: &'static str,
    },
    /// A tensor holds values that 16-bit floats do not reach.
    #[error(
        "{}: tensor {name} holds values beyond 65504, the largest 16-bit float; write 32-bit ones",
        path.display()
    )]
    TooLargeForHalf {
        /// The file that was read.
        path: PathBuf,
        /// Which tensor.
        name: String,
    },
    /// A tensor's values cannot be read.
    #[error("{}: tensor {name} cannot be read: {source}", path.display())]
    Values {
        /// Which file.
        path: PathBuf,
        /// Which tensor.
        name: String,
        /// The reason.
        source: io::Error,
    },
    /// The tensors are not those of the network.
    #[error("{}: {account}", path.display())]
    Account {
        /// Which file.
        path: PathBuf,
        /// Everything that does not fit.
        account: Account,
    },
    /// There is a file already.
    #[error("{}: exists already; name another file or allow overwriting", path.display())]
    Exists {
        /// Which file.
        path: PathBuf,
    },
    /// The file cannot be written.
    #[error("{}: cannot be written: {source}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}
