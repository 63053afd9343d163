//! The one place where environments are opened.

use std::path::Path;

use heed::{Env, EnvFlags, EnvOpenOptions, WithoutTls};

/// What an environment is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Reading a file of this many bytes, whose head was checked.
    Read(u64),
    /// Writing up to this many bytes into a folder that this process has just made.
    Write(u64),
}

/// Opens the environment in the folder `path`.
pub(crate) fn open(path: &Path, purpose: Purpose) -> heed::Result<Env<WithoutTls>> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    let bytes = match purpose {
        Purpose::Read(bytes) | Purpose::Write(bytes) => bytes,
    };
    options.map_size(whole_pages(bytes));
    if matches!(purpose, Purpose::Read(_)) {
        // SAFETY: without a lock the caller must keep writers out. This process opens no
        // environment for writing but in a folder that it has just made, and a training set that
        // others change while it is read is ruled out by the documentation of `Environment`.
        unsafe { options.flags(EnvFlags::READ_ONLY | EnvFlags::NO_LOCK) };
    }
    // SAFETY: the file must not change or shrink below the map. When reading, its pages were
    // found to lie within the file, and `Environment` asks its users to leave the file alone; when
    // writing, the folder is new and the lock keeps other writers out.
    unsafe { options.open(path) }
}

/// `bytes` rounded up to pages of the system, as maps are measured.
fn whole_pages(bytes: u64) -> usize {
    /// The largest page of any system that is served; all others divide it.
    const PAGE: usize = 64 << 10;
    usize::try_from(bytes).unwrap_or(usize::MAX - PAGE).next_multiple_of(PAGE)
}
