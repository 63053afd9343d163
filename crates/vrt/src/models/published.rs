//! The published checkpoints: what they are, where they come from, and what makes one whole.

use std::path::{Path, PathBuf};

use vrt_model::Checkpoint;
use vrt_model::checkpoint::{CheckpointError, account};
use vrt_model::presets::Preset;

use super::fetch::{self, FetchError, FetchEvent, FetchOptions, Fetched, Wanted};
use super::licence::{CC_BY_NC, Licence};
use super::{Cache, Sha256};

/// Where the authors of VRT keep their checkpoints.
pub const SOURCE: &str = "https://github.com/JingyunLiang/VRT/releases/download/v0.0/";

/// Networks whose weights are published there; the other presets have none.
const IDS: [&str; 9] = ["001", "002", "003", "004", "005", "006", "007", "008", "009"];

/// A network whose weights are published.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    preset: &'static Preset,
}

impl Published {
    /// Every one of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let published = Preset::all().iter().filter(|preset| IDS.contains(&preset.id));
        published.map(|preset| Self { preset })
    }

    /// The one of this name, short or full, with the ending of its file or without.
    pub fn parse(name: &str) -> Option<Self> {
        let preset = Preset::parse(name).ok()?;
        Self::all().find(|published| published.id() == preset.id)
    }

    /// Its short name.
    pub fn id(self) -> &'static str {
        self.preset.id
    }

    /// Its full name.
    pub fn name(self) -> &'static str {
        self.preset.name
    }

    /// What it is for.
    pub fn about(self) -> &'static str {
        self.preset.about
    }

    /// The name of its file.
    pub fn file(self) -> String {
        format!("{}.pth", self.preset.name)
    }

    /// What it may be used for.
    pub fn licence(self) -> &'static Licence {
        &CC_BY_NC
    }

    /// About how many bytes its file has: its values, which the network tells exactly.
    pub fn about_bytes(self) -> u64 {
        self.preset.config().published_bytes()
    }

    /// Its address: that of its authors, or `from`, a file or (with a `/` at its end) a folder.
    pub fn address(self, from: Option<&str>) -> String {
        match from {
            None => format!("{SOURCE}{}", self.file()),
            Some(folder) if folder.ends_with('/') => format!("{folder}{}", self.file()),
            Some(file) => file.to_owned(),
        }
    }

    /// Holds a file to what this network is: every tensor there, nothing else, all values
    /// readable, and numbers.
    ///
    /// # Errors
    ///
    /// If it is something else, or damaged.
    pub fn check(self, path: &Path) -> Result<(), ContentError> {
        let checkpoint = Checkpoint::open(path)?;
        account(&self.preset.config(), &checkpoint)?;
        let floats = checkpoint.tensors().iter().filter(|(_, tensor)| tensor.element().is_float());
        for (name, _) in floats {
            if !checkpoint.read(name)?.iter().all(|value| value.is_finite()) {
                let (path, tensor) = (path.to_owned(), name.clone());
                return Err(ContentError::NoNumber { path, tensor });
            }
        }
        Ok(())
    }
}

/// Why a file is not that of a published network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContentError {
    /// It is no checkpoint of it.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A value is infinite or no number.
    #[error("{}: tensor {tensor} holds values that are no numbers", path.display())]
    NoNumber {
        /// The file.
        path: PathBuf,
        /// The name of the tensor.
        tensor: String,
    },
}

/// Fetches a published checkpoint into the cache, unless it is there: from its authors, or from
/// the mirror that is named. It gets its name only when it is whole and checked.
///
/// # Errors
///
/// If its licence is not accepted, it cannot be fetched, or what comes is not what it should be.
/// What has come of it stays for the next try, unless it is wrong.
pub fn fetch_published(
    network: Published,
    cache: &Cache,
    mirror: &Mirror<'_>,
    options: &FetchOptions,
    on_event: &mut dyn FnMut(FetchEvent<'_>),
) -> Result<Fetched, FetchError> {
    let licence = network.licence();
    if !cache.accepted(licence) {
        return Err(FetchError::Licence { name: network.name(), licence });
    }
    let wanted = Wanted {
        address: network.address(mirror.from),
        to: cache.path(network),
        about: network.about_bytes(),
        sha256: mirror.sha256,
    };
    fetch::fetch(&wanted, &|path| network.check(path), options, on_event)
}

/// What differs from fetching a checkpoint as its authors keep it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mirror<'a> {
    /// Another source: the address of a file, or of a folder, with a `/` at its end.
    pub from: Option<&'a str>,
    /// What the file's digest has to be; its authors state none.
    pub sha256: Option<Sha256>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nine_are_published_and_the_other_presets_are_not() {
        assert_eq!(Published::all().count(), IDS.len());
        for preset in Preset::all() {
            let published = Published::parse(preset.name).map(Published::id);
            assert_eq!(published, (!preset.id.contains("spike")).then_some(preset.id));
        }
    }

    #[test]
    fn addresses_are_those_of_the_authors_or_of_a_mirror() {
        let network = Published::parse("006").unwrap();
        let file = "006_VRT_videodeblurring_GoPro.pth";
        assert_eq!(network.address(None), format!("{SOURCE}{file}"));
        let (folder, at) = ("http://mirror/vrt/", "http://mirror/006");
        assert_eq!(network.address(Some(folder)), format!("{folder}{file}"));
        assert_eq!(network.address(Some(at)), at);
    }
}
