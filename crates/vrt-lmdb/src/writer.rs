//! An environment that is made.

use std::fmt;
use std::path::{Path, PathBuf};

use heed::types::Bytes;
use heed::{Database, Env, WithoutTls};

use crate::LmdbError;
use crate::map::{self, Purpose};

/// Room beside the values: keys, inner pages, and the rest of values' last pages.
const ROOM_BYTES: u64 = 64 << 20;

/// Writes a new environment, batch by batch; what a finished [`write`](Self::write) holds is whole
/// after a crash.
pub struct Writer {
    env: Env<WithoutTls>,
    entries: Database<Bytes, Bytes>,
    folder: PathBuf,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Writer {
    /// Makes the folder `path` with an empty environment for `values` values of `bytes` bytes in
    /// all.
    ///
    /// # Errors
    ///
    /// Says that there is something at `path`, that it cannot be made, or that LMDB refuses.
    pub fn create(path: &Path, values: u64, bytes: u64) -> Result<Self, LmdbError> {
        std::fs::create_dir(path).map_err(|source| match source.kind() {
            std::io::ErrorKind::AlreadyExists => LmdbError::Exists { path: path.to_path_buf() },
            _ => LmdbError::Create { path: path.to_path_buf(), source },
        })?;
        // LMDB would make files that nobody else may read; it takes empty ones as new.
        for name in ["data.mdb", "lock.mdb"] {
            let file = path.join(name);
            std::fs::File::create_new(&file)
                .map_err(|source| LmdbError::Create { path: file, source })?;
        }
        let refused = |error: heed::Error| failed(path, "it is begun", &error);
        // Each value ends in a page of its own, and may be followed by one that lists it.
        let room = bytes.saturating_add(values.saturating_mul(3 << 12)).saturating_add(ROOM_BYTES);
        let env = map::open(path, Purpose::Write(room)).map_err(refused)?;
        let mut writing = env.write_txn().map_err(refused)?;
        let entries = env.create_database(&mut writing, None).map_err(refused)?;
        writing.commit().map_err(refused)?;
        Ok(Self { env, entries, folder: path.to_path_buf() })
    }

    /// Adds entries, all of them or none; a key that is there takes the new value.
    ///
    /// # Errors
    ///
    /// Says that LMDB refuses: a key of no or of more than 511 bytes, or no room left.
    pub fn write<'a>(
        &mut self,
        entries: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<(), LmdbError> {
        let refused = |error: heed::Error| failed(&self.folder, "entries are written", &error);
        let mut writing = self.env.write_txn().map_err(refused)?;
        for (key, value) in entries {
            self.entries.put(&mut writing, key.as_bytes(), value).map_err(|error| {
                failed(&self.folder, &format!("the key {key:?} is written"), &error)
            })?;
        }
        writing.commit().map_err(refused)
    }
}

fn failed(path: &Path, doing: &str, error: &heed::Error) -> LmdbError {
    LmdbError::Library {
        path: path.to_path_buf(),
        doing: doing.to_owned(),
        reason: error.to_string(),
    }
}
