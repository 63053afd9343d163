//! Licences that are accepted once before what is under them is fetched.

use std::io;

use super::Cache;

/// A licence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Licence {
    /// Its SPDX name.
    pub id: &'static str,
    /// What it is called.
    pub name: &'static str,
    /// What it says, in a sentence; the text itself is what counts.
    pub summary: &'static str,
    /// Where the text is.
    pub address: &'static str,
}

/// What the published checkpoints are under.
pub static CC_BY_NC: Licence = Licence {
    id: "CC-BY-NC-4.0",
    name: "Creative Commons Attribution-NonCommercial 4.0 International",
    summary: "you may use, share and adapt them for purposes that are not commercial, if you \
              name their authors",
    address: "https://creativecommons.org/licenses/by-nc/4.0/",
};

impl Cache {
    /// Whether the licence was accepted before.
    pub fn accepted(&self, licence: &Licence) -> bool {
        self.acceptance(licence).is_file()
    }

    /// Notes that the licence is accepted.
    ///
    /// # Errors
    ///
    /// If the note cannot be written.
    pub fn accept(&self, licence: &Licence) -> io::Result<()> {
        let Licence { id, name, summary, address } = licence;
        let path = self.acceptance(licence);
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        std::fs::write(path, format!("Accepted: {name} ({id}), {address}\nIn short: {summary}.\n"))
    }

    fn acceptance(&self, licence: &Licence) -> std::path::PathBuf {
        self.folder().join("licences").join(format!("{}.accepted", licence.id))
    }
}
