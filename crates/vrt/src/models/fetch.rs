//! Fetching a file over HTTP: beside its place first, from where an earlier try stopped, checked,
//! and only then under its name.

mod error;
mod exchange;
mod part;

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::cache::{Record, beside, has_no_locks};
use super::digest::Sha256;
use super::published::ContentError;
pub use error::FetchError;
use exchange::{Problem, check_address};
use part::Part;

/// Bytes beyond the furthest place that was reached, after which failures are forgotten.
const HEADWAY: u64 = 1 << 20;

/// A file to fetch.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Its address: `http://` or `https://`.
    pub address: String,
    /// Where it is to be; the folder is made.
    pub to: PathBuf,
    /// About how many bytes it has. More than twice as many are not taken.
    pub about: u64,
    /// Its digest, if it is known.
    pub sha256: Option<Sha256>,
}

/// How a file is fetched.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// Tries in a row without headway before it fails.
    pub tries: u32,
    /// Pause before the second try; it doubles with each.
    pub pause: Duration,
    /// How long the server may say nothing.
    pub patience: Duration,
    /// What stands between this machine and the network, if anything.
    pub proxy: Option<ureq::Proxy>,
}

impl Default for FetchOptions {
    fn default() -> Self {
        let (pause, patience) = (Duration::from_secs(1), Duration::from_secs(30));
        Self { tries: 4, pause, patience, proxy: None }
    }
}

/// What happens while a file is fetched.
#[derive(Clone, Copy, Debug)]
pub enum FetchEvent<'a> {
    /// Another process fetches the same file: its end is waited for.
    Waiting,
    /// The server is asked for the bytes from `have` on.
    Asked {
        /// The address.
        address: &'a str,
        /// Bytes that are there.
        have: u64,
    },
    /// Bytes have come.
    Moved {
        /// Bytes that are there.
        have: u64,
        /// Bytes of the whole file, if the server tells.
        total: Option<u64>,
    },
    /// A try failed; the next one comes after a pause.
    Again {
        /// Why it failed.
        reason: &'a str,
        /// The pause.
        pause: Duration,
    },
    /// Everything is there, and is checked.
    Checking,
}

/// A file that is there and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Where it is.
    pub path: PathBuf,
    /// Its digest.
    pub sha256: Sha256,
    /// Its bytes.
    pub bytes: u64,
    /// Whether it was there already, and nothing was fetched.
    pub was_there: bool,
}

/// Fetches a file, unless it is there. `check` holds it to what it should be before it gets its
/// name; a file that is there is held to its record, and without one to `check`.
///
/// # Errors
///
/// If it cannot be fetched or written, or is not what it should be. What has come stays for the
/// next try, unless it is wrong.
pub fn fetch(
    wanted: &Wanted,
    check: &dyn Fn(&Path) -> Result<(), ContentError>,
    options: &FetchOptions,
    on_event: &mut dyn FnMut(FetchEvent<'_>),
) -> Result<Fetched, FetchError> {
    check_address(&wanted.address)?;
    let failed = |source| FetchError::io(&wanted.to, source);
    wanted.to.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
    // With a record nothing is written: that needs no lock, and works where nothing can be written.
    if wanted.to.is_file() && Record::read(&wanted.to).is_some() {
        return held(wanted, check);
    }
    let _lock = lock(&wanted.to, on_event).map_err(failed)?;
    // Another process may have fetched it until now, or a person put it there.
    if wanted.to.is_file() {
        on_event(FetchEvent::Checking);
        return held(wanted, check);
    }
    let mut part = Part::open(&wanted.to, &wanted.address).map_err(failed)?;
    if let Err(error) = download(wanted, &mut part, options, on_event) {
        if part.have() == 0 {
            // Why nothing came matters more than an empty file that stays.
            let _ = part.remove();
        }
        return Err(error);
    }
    on_event(FetchEvent::Checking);
    name(wanted, part, check)
}

/// The file that is there already, held to its record. Without one it is held to `check`, and
/// recorded.
fn held(
    wanted: &Wanted,
    check: &dyn Fn(&Path) -> Result<(), ContentError>,
) -> Result<Fetched, FetchError> {
    let path = wanted.to.clone();
    let failed = |source| FetchError::io(&wanted.to, source);
    let sha256 = Sha256::of_file(&path).map_err(failed)?;
    let record = Record::read(&path);
    let recorded = record.as_ref().map(|record| record.sha256);
    let other = wanted.sha256.into_iter().chain(recorded).find(|expected| *expected != sha256);
    if let Some(expected) = other {
        return Err(FetchError::HeldDigest { path, expected, found: sha256 });
    }
    let bytes = fs::metadata(&path).map_err(failed)?.len();
    if record.is_none() {
        check(&path).map_err(|source| FetchError::HeldContent { source: source.into() })?;
        Record { sha256, bytes, source: None }.write(&path).map_err(failed)?;
    }
    Ok(Fetched { path, sha256, bytes, was_there: true })
}

/// Waits until no other process fetches this file; until the lock is dropped, none will.
fn lock(to: &Path, on_event: &mut dyn FnMut(FetchEvent<'_>)) -> io::Result<File> {
    let file = File::options().create(true).truncate(false).write(true).open(beside(to, "lock"))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            on_event(FetchEvent::Waiting);
            file.lock()?;
        }
        // There, one has to take care oneself.
        Err(TryLockError::Error(error)) if has_no_locks(&error) => {}
        Err(TryLockError::Error(error)) => return Err(error),
    }
    Ok(file)
}

/// Tries until all bytes are there.
fn download(
    wanted: &Wanted,
    part: &mut Part,
    options: &FetchOptions,
    on_event: &mut dyn FnMut(FetchEvent<'_>),
) -> Result<(), FetchError> {
    let agent = exchange::agent(&wanted.address, options);
    // Getting back to where an earlier try was is no headway.
    let (mut failures, mut furthest) = (0, part.have());
    while !part.is_whole() {
        let Err(problem) = exchange::go_on(&agent, wanted, part, on_event) else {
            continue;
        };
        if part.have() >= furthest + HEADWAY {
            (failures, furthest) = (0, part.have());
        }
        failures += 1;
        let reason = match problem {
            Problem::Final(error) => return Err(error),
            Problem::Passing(reason) => reason,
            Problem::Stale(reason) => {
                part.start_over().map_err(|source| FetchError::io(&wanted.to, source))?;
                reason
            }
        };
        if failures >= options.tries {
            return Err(FetchError::gave_up(wanted, part, reason));
        }
        let pause = options.pause * (1 << (failures - 1).min(6));
        on_event(FetchEvent::Again { reason: &reason, pause });
        thread::sleep(pause);
    }
    Ok(())
}

/// Checks what has come, and gives it its name. What is wrong is removed.
fn name(
    wanted: &Wanted,
    part: Part,
    check: &dyn Fn(&Path) -> Result<(), ContentError>,
) -> Result<Fetched, FetchError> {
    let failed = |source| FetchError::io(&wanted.to, source);
    let address = || wanted.address.clone();
    part.sync().map_err(failed)?;
    let sha256 = Sha256::of_file(part.path()).map_err(failed)?;
    if let Some(expected) = wanted.sha256.filter(|expected| *expected != sha256) {
        part.remove().map_err(failed)?;
        return Err(FetchError::Digest { address: address(), expected, found: sha256 });
    }
    if let Err(source) = check(part.path()) {
        part.remove().map_err(failed)?;
        return Err(FetchError::Content { address: address(), source: source.into() });
    }
    let (path, bytes) = (wanted.to.clone(), part.have());
    let record = Record { sha256, bytes, source: Some(address()) };
    record.write(&path).and_then(|()| part.name(&path)).map_err(failed)?;
    Ok(Fetched { path, sha256, bytes, was_there: false })
}
