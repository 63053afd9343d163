//! An environment that is read.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use heed::types::Bytes;
use heed::{Database, Env, RoTxn, WithoutTls};

use crate::map::{self, Purpose};
use crate::{LmdbError, tree};

/// Environments that are open in this process: one file has one map.
static OPEN: LazyLock<Mutex<HashMap<PathBuf, Weak<Mapped>>>> = LazyLock::new(Mutex::default);

fn all_open() -> MutexGuard<'static, HashMap<PathBuf, Weak<Mapped>>> {
    // The table is whole after every statement, so a panic elsewhere does not spoil it.
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file that is mapped for reading.
struct Mapped {
    env: Env<WithoutTls>,
    entries: Database<Bytes, Bytes>,
    folder: PathBuf,
}

/// An LMDB environment, read-only and without a lock file; clones share it.
///
/// Threads may read at once. The file must stay as it is while it is open: without a lock nothing
/// tells writers that somebody reads, and a file that shrinks under its map ends the process. What is
/// found out on opening is whether the file is an environment, holds all its pages, and all its pages
/// that lead to values are sound; values are bytes to it.
#[derive(Clone)]
pub struct Environment {
    mapped: Option<Arc<Mapped>>,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("path", &self.path()).finish_non_exhaustive()
    }
}

impl Environment {
    /// Opens the environment in the folder `path`, or shares it where this process has it open.
    ///
    /// # Errors
    ///
    /// Says that there is no `data.mdb` in the folder, that it is no environment, cut off, or
    /// damaged.
    pub fn open(path: &Path) -> Result<Self, LmdbError> {
        let data = path.join("data.mdb");
        let bytes = tree::check(&data)?;
        let folder =
            path.canonicalize().map_err(|source| LmdbError::Read { path: data, source })?;
        let mut open = all_open();
        if let Some(mapped) = open.get(&folder).and_then(Weak::upgrade) {
            return Ok(Self { mapped: Some(mapped) });
        }
        let mapped = Arc::new(Mapped::open(folder, bytes)?);
        open.insert(mapped.folder.clone(), Arc::downgrade(&mapped));
        Ok(Self { mapped: Some(mapped) })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.mapped().folder
    }

    /// The value of `key`, or `None` where there is no such key.
    ///
    /// # Errors
    ///
    /// Says that LMDB cannot read it.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, LmdbError> {
        self.look_up(key, |value| value.to_vec())
    }

    /// Whether there is a value of `key`.
    ///
    /// # Errors
    ///
    /// Says that LMDB cannot read it.
    pub fn contains(&self, key: &str) -> Result<bool, LmdbError> {
        self.look_up(key, |_| ()).map(|found| found.is_some())
    }

    /// Number of keys.
    ///
    /// # Errors
    ///
    /// Says that LMDB cannot read it.
    pub fn len(&self) -> Result<u64, LmdbError> {
        let doing = || "its entries are counted".to_owned();
        let mapped = self.mapped();
        let reading = mapped.reading()?;
        mapped.entries.len(&reading).map_err(|error| mapped.failed(doing(), &error))
    }

    /// Whether there is no key.
    ///
    /// # Errors
    ///
    /// Says that LMDB cannot read it.
    pub fn is_empty(&self) -> Result<bool, LmdbError> {
        self.len().map(|len| len == 0)
    }

    /// All keys, in the order of their bytes; what is not UTF-8 in them is replaced.
    ///
    /// # Errors
    ///
    /// Says that LMDB cannot read them.
    pub fn keys(&self) -> Result<Vec<String>, LmdbError> {
        let mapped = self.mapped();
        let failed = |error| mapped.failed("its keys are listed".to_owned(), &error);
        let reading = mapped.reading()?;
        let entries = mapped.entries.iter(&reading).map_err(failed)?;
        entries
            .map(|entry| {
                entry.map(|(key, _)| String::from_utf8_lossy(key).into_owned()).map_err(failed)
            })
            .collect()
    }

    fn look_up<T>(&self, key: &str, take: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, LmdbError> {
        let mapped = self.mapped();
        let reading = mapped.reading()?;
        let value = mapped.entries.get(&reading, key.as_bytes());
        value
            .map(|value| value.map(take))
            .map_err(|error| mapped.failed(format!("the key {key:?} is read"), &error))
    }

    fn mapped(&self) -> &Mapped {
        let Some(mapped) = &self.mapped else {
            unreachable!("an environment loses its map only when it is dropped");
        };
        mapped
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        // Closed under the table's lock: whoever opens it again finds it open or closed, not between.
        let mut open = all_open();
        let Some(mapped) = self.mapped.take() else { return };
        if Arc::strong_count(&mapped) == 1 {
            open.remove(&mapped.folder);
        }
        drop(mapped);
    }
}

impl Mapped {
    fn open(folder: PathBuf, bytes: u64) -> Result<Self, LmdbError> {
        let refused = |doing: &str, error: &heed::Error| LmdbError::Library {
            path: folder.clone(),
            doing: doing.to_owned(),
            reason: error.to_string(),
        };
        let env = map::open(&folder, Purpose::Read(bytes))
            .map_err(|error| refused("it is opened", &error))?;
        let listed = |error| refused("its table is opened", &error);
        let reading = env.read_txn().map_err(listed)?;
        let entries = env.open_database(&reading, None).map_err(listed)?;
        let Some(entries) = entries else {
            return Err(LmdbError::NotLmdb { path: folder, reason: "it has no table".to_owned() });
        };
        drop(reading);
        Ok(Self { env, entries, folder })
    }

    fn reading(&self) -> Result<RoTxn<'_, WithoutTls>, LmdbError> {
        self.env.read_txn().map_err(|error| self.failed("it is read".to_owned(), &error))
    }

    fn failed(&self, doing: String, error: &heed::Error) -> LmdbError {
        LmdbError::Library { path: self.folder.clone(), doing, reason: error.to_string() }
    }
}
