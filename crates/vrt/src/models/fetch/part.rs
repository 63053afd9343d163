//! A file on its way: the bytes that have come, and what is known of the rest.

use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::models::cache::beside;

/// The first bytes of a file, and notes on it beside them.
#[derive(Debug)]
pub(super) struct Part {
    file: File,
    path: PathBuf,
    notes_path: PathBuf,
    notes: Notes,
    have: u64,
}

/// What the server told of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Notes {
    /// Where it comes from.
    pub(super) address: String,
    /// What tells this version of the file from others: an entity tag, or a date.
    pub(super) validator: Option<String>,
    /// Bytes of the whole file.
    pub(super) total: Option<u64>,
}

impl Part {
    /// What there is of the file that is to be at `to`. Bytes from another address, or without
    /// notes, are worth nothing.
    pub(super) fn open(to: &Path, address: &str) -> io::Result<Self> {
        let (path, notes_path) = (beside(to, "part"), beside(to, "part.json"));
        // Not for appending: some systems do not shorten files that are open for that.
        let mut file = File::options().write(true).create(true).truncate(false).open(&path)?;
        let have = file.metadata()?.len();
        file.seek(SeekFrom::Start(have))?;
        let notes = fs::read_to_string(&notes_path).ok();
        let notes = notes.and_then(|text| serde_json::from_str::<Notes>(&text).ok());
        let fits = |notes: &Notes| {
            notes.address == address && notes.total.is_none_or(|total| have <= total)
        };
        let notes = notes.filter(fits);
        let known = notes.is_some();
        let mut part = Self { file, path, notes_path, notes: notes.unwrap_or_default(), have };
        if !known {
            part.start_over()?;
        }
        Ok(part)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that have come.
    pub(super) fn have(&self) -> u64 {
        self.have
    }

    /// Bytes of the whole file, if they are known.
    pub(super) fn total(&self) -> Option<u64> {
        self.notes.total
    }

    /// Whether all bytes have come.
    pub(super) fn is_whole(&self) -> bool {
        self.have > 0 && self.notes.total == Some(self.have)
    }

    /// What the rest can be asked for with, if some has come and this is known.
    pub(super) fn validator(&self) -> Option<&str> {
        self.notes.validator.as_deref().filter(|_| self.have > 0)
    }

    /// Forgets everything that has come.
    pub(super) fn start_over(&mut self) -> io::Result<()> {
        self.notes = Notes::default();
        if self.have > 0 {
            self.file.set_len(0)?;
            self.file.rewind()?;
            self.have = 0;
        }
        Ok(())
    }

    /// Starts the file from its first byte.
    pub(super) fn start(&mut self, notes: Notes) -> io::Result<()> {
        self.start_over()?;
        self.notes = notes;
        self.write_notes()
    }

    /// Adds the bytes that came next.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.have += bytes.len() as u64;
        Ok(())
    }

    /// No more bytes come, of a file whose size was not told.
    pub(super) fn end(&mut self) -> io::Result<()> {
        self.set_total(self.have)
    }

    /// The whole file has so many bytes.
    pub(super) fn set_total(&mut self, total: u64) -> io::Result<()> {
        self.notes.total = Some(total);
        self.write_notes()
    }

    fn write_notes(&self) -> io::Result<()> {
        let text = serde_json::to_string(&self.notes).map_err(io::Error::other)?;
        fs::write(&self.notes_path, text)
    }

    /// Waits until the bytes are on the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    /// Gives the file its name.
    pub(super) fn name(self, to: &Path) -> io::Result<()> {
        let Self { file, path, notes_path, .. } = self;
        // Some systems rename no open files.
        drop(file);
        fs::rename(path, to)?;
        fs::remove_file(notes_path)
    }

    /// Removes what has come.
    pub(super) fn remove(self) -> io::Result<()> {
        let Self { file, path, notes_path, .. } = self;
        drop(file);
        fs::remove_file(path)?;
        match fs::remove_file(notes_path) {
            // Before the first answer there are none.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}
