//! Why a file could not be fetched.

use std::io;
use std::path::{Path, PathBuf};

use super::Wanted;
use super::part::Part;
use crate::models::Sha256;
use crate::models::licence::Licence;
use crate::models::published::ContentError;

/// Why a file could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The licence was not accepted.
    #[error(
        "{name} is under {} ({}): {}. Read it at {}, and accept it once with --accept-licence",
        .licence.name, .licence.id, .licence.summary, .licence.address
    )]
    Licence {
        /// What was to be fetched.
        name: &'static str,
        /// What it is under.
        licence: &'static Licence,
    },
    /// The address is none that can be fetched from.
    #[error("{0:?} is no address to fetch from: it starts with https:// or http://")]
    Address(String),
    /// The server has no such file.
    #[error("{address}: there is no such file on the server (status {status})")]
    NotThere {
        /// The address.
        address: String,
        /// What the server answered.
        status: u16,
    },
    /// The server does not give the file.
    #[error("{address}: the server refuses it (status {status})")]
    Refused {
        /// The address.
        address: String,
        /// What the server answered.
        status: u16,
    },
    /// Nothing came, however often it was asked for.
    #[error(
        "{address}: nothing came: {reason}. Try again later, name a mirror (--from), or put the \
         file there by hand: {}",
        to.display()
    )]
    Unreachable {
        /// The address.
        address: String,
        /// What happened at last.
        reason: String,
        /// Where the file belongs.
        to: PathBuf,
    },
    /// Some of it came, and then no more.
    #[error(
        "{address}: broken off after {have} bytes{}: {reason}. What has come is kept: try again, \
         and it goes on there if the server can",
        .total.map_or_else(String::new, |total| format!(" of {total}"))
    )]
    BrokenOff {
        /// The address.
        address: String,
        /// Bytes that have come.
        have: u64,
        /// Bytes of the file, if the server told.
        total: Option<u64>,
        /// What happened at last.
        reason: String,
    },
    /// The file is far larger than it should be.
    #[error("{address}: {got} bytes are offered, where about {about} were expected; not fetched")]
    TooLarge {
        /// The address.
        address: String,
        /// Bytes that were announced or have come.
        got: u64,
        /// Bytes that it should have.
        about: u64,
    },
    /// The digest of what came is another.
    #[error(
        "{address}: its SHA-256 is {found}, not {expected}: this is another file, or a damaged one"
    )]
    Digest {
        /// The address.
        address: String,
        /// What it should be.
        expected: Sha256,
        /// What it is.
        found: Sha256,
    },
    /// The digest of the file that is there already is another.
    #[error(
        "{}: is there, but its SHA-256 is {found}, not {expected}: this is another file, or a \
         damaged one; remove it (`vrt models remove`), and fetch it again",
        path.display()
    )]
    HeldDigest {
        /// The file.
        path: PathBuf,
        /// What it should be, or was when it came.
        expected: Sha256,
        /// What it is.
        found: Sha256,
    },
    /// A file is there already that did not come from here, and is something else.
    #[error(
        "a file is there, but not what it should be: {source}. Remove it (`vrt models remove`), \
         and fetch it again"
    )]
    HeldContent {
        /// In which way; it names the file.
        source: Box<ContentError>,
    },
    /// What came is something else.
    #[error("{address}: what came is not what it should be, and is not kept: {source}")]
    Content {
        /// The address.
        address: String,
        /// In which way.
        source: Box<ContentError>,
    },
    /// The disk is full.
    #[error(
        "{}: no space left; free some, or choose a folder elsewhere (--cache). What has come is \
         kept",
        folder.display()
    )]
    NoSpace {
        /// The folder that was written to.
        folder: PathBuf,
    },
    /// A file cannot be written or read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file that was to be.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl FetchError {
    /// The failure behind what the system says about the file that is to be at `to`.
    pub(super) fn io(to: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::NoSpace { folder: to.parent().unwrap_or(to).to_owned() }
            }
            _ => Self::Io { path: to.to_owned(), source },
        }
    }

    /// The failure after the last try.
    pub(super) fn gave_up(wanted: &Wanted, part: &Part, reason: String) -> Self {
        let address = wanted.address.clone();
        match part.have() {
            0 => Self::Unreachable { address, reason, to: wanted.to.clone() },
            have => Self::BrokenOff { address, have, total: part.total(), reason },
        }
    }
}
