//! `vrt models check`, `path` and `remove`: what is in the cache.

use std::fmt::Display;
use std::path::PathBuf;

use clap::Args;
use etcetera::BaseStrategy;
use serde_json::{Value, json};
use vrt::models::{Cache, CheckError, Checked, Published, RemoveError};

use super::published;
use crate::cli::table::bytes;
use crate::cli::{Failure, GlobalOptions, output};

/// The variable that names the cache.
const VARIABLE: &str = "VRT_CACHE";

/// Folder of this program among those of the user's cache.
const FOLDER: &str = "vrt";

/// Which checkpoint.
#[derive(Args, Clone, Debug)]
pub(crate) struct OneArgument {
    /// A published network, such as 006
    #[arg(value_name = "NAME", value_parser = published)]
    network: Published,
}

/// Which checkpoints.
#[derive(Args, Clone, Debug)]
pub(crate) struct CheckArguments {
    /// Published networks, such as 006 [default: all that are in the cache]
    #[arg(value_name = "NAME", value_parser = published)]
    networks: Vec<Published>,
}

/// The cache that the flags, the environment or the system name.
pub(super) fn of(global: &GlobalOptions) -> Result<Cache, Failure> {
    let stated = global.cache.clone().or_else(|| {
        let folder = std::env::var_os(VARIABLE).filter(|folder| !folder.is_empty());
        folder.map(PathBuf::from)
    });
    if let Some(folder) = stated {
        return Ok(Cache::new(folder));
    }
    let user = etcetera::choose_base_strategy().map_err(|error| {
        Failure::failed(format!("there is no folder for a cache: {error}; name one with --cache"))
    })?;
    Ok(Cache::new(user.cache_dir().join(FOLDER)))
}

fn absent(network: Published, cache: &Cache) -> Failure {
    let (name, id) = (network.name(), network.id());
    let folder = cache.folder().display();
    Failure::failed(format!(
        "{name} is not in the cache ({folder}); `vrt models fetch {id}` gets it"
    ))
}

/// The failure where the cache cannot be written to.
pub(super) fn unusable(cache: &Cache, error: &dyn Display) -> Failure {
    let folder = cache.folder().display();
    Failure::failed(format!("the cache in {folder}: {error}; choose a folder with --cache"))
}

/// Runs `vrt models path`.
pub(super) fn path(argument: &OneArgument, global: &GlobalOptions) -> Result<(), Failure> {
    let (network, cache) = (argument.network, of(global)?);
    let path = cache.held(network).ok_or_else(|| absent(network, &cache))?;
    match global.json {
        true => output::json(&json!({ "name": network.name(), "path": path }))?,
        false => output::result(&path.display().to_string())?,
    }
    Ok(())
}

/// Runs `vrt models remove`.
pub(super) fn remove(argument: &OneArgument, global: &GlobalOptions) -> Result<(), Failure> {
    let (network, cache) = (argument.network, of(global)?);
    let removed = cache.remove(network).map_err(|error| match error {
        RemoveError::Busy { .. } => error.into(),
        other => unusable(&cache, &other),
    })?;
    if !removed {
        return Err(absent(network, &cache));
    }
    let path = cache.path(network);
    match global.json {
        true => output::json(&json!({ "name": network.name(), "removed": path }))?,
        false => output::result(&format!("removed {}", path.display()))?,
    }
    Ok(())
}

/// How a checkpoint was found.
enum Finding {
    /// It could be held to its record.
    Checked(Checked),
    /// It cannot be read, or has no record and is something else.
    Broken(CheckError),
    /// It is not there.
    Absent,
}

impl Finding {
    fn of(network: Published, cache: &Cache) -> Self {
        match cache.held(network) {
            None => Self::Absent,
            Some(_) => cache.check(network).map_or_else(Self::Broken, Self::Checked),
        }
    }

    fn state(&self) -> &'static str {
        match self {
            Self::Checked(Checked::Same(_)) => "same",
            Self::Checked(Checked::Recorded(_)) => "recorded",
            Self::Checked(Checked::Changed { .. }) => "changed",
            Self::Broken(_) => "broken",
            Self::Absent => "absent",
        }
    }

    fn in_words(&self) -> String {
        match self {
            Self::Checked(Checked::Same(record)) => {
                format!("as it came, {}, sha256 {}", bytes(record.bytes), record.sha256)
            }
            Self::Checked(Checked::Recorded(record)) => {
                format!("whole, and recorded now: sha256 {}", record.sha256)
            }
            Self::Checked(Checked::Changed { record, found }) => {
                format!("changed: sha256 {found}, came with {}", record.sha256)
            }
            Self::Broken(error) => format!("broken: {error}"),
            Self::Absent => "not in the cache".to_owned(),
        }
    }

    fn as_json(&self, network: Published) -> Value {
        let (record, found) = match self {
            Self::Checked(Checked::Same(record) | Checked::Recorded(record)) => {
                (Some(record), Some(record.sha256))
            }
            Self::Checked(Checked::Changed { record, found }) => (Some(record), Some(*found)),
            Self::Broken(_) | Self::Absent => (None, None),
        };
        let error = match self {
            Self::Broken(error) => Some(error.to_string()),
            _ => None,
        };
        json!({
            "name": network.name(),
            "state": self.state(),
            "sha256": found,
            "record": record,
            "error": error,
        })
    }
}

/// Runs `vrt models check`: every checkpoint is told of; it fails if one is not there as it came.
pub(super) fn check(arguments: &CheckArguments, global: &GlobalOptions) -> Result<(), Failure> {
    let cache = of(global)?;
    let networks = match arguments.networks.as_slice() {
        [] => Published::all().filter(|network| cache.held(*network).is_some()).collect(),
        stated => stated.to_vec(),
    };
    if networks.is_empty() && !global.json {
        return Ok(output::result(&format!("nothing in {}", cache.folder().display()))?);
    }
    let (mut wrong, mut absent) = (Vec::new(), Vec::new());
    for network in networks {
        let finding = Finding::of(network, &cache);
        match &finding {
            Finding::Checked(Checked::Same(_) | Checked::Recorded(_)) => {}
            Finding::Checked(Checked::Changed { .. }) | Finding::Broken(_) => {
                wrong.push(network.id());
            }
            Finding::Absent => absent.push(network.id()),
        }
        match global.json {
            true => output::json(&finding.as_json(network))?,
            false => output::result(&format!("{}: {}", network.name(), finding.in_words()))?,
        }
    }
    conclude(&wrong, &absent, &cache)
}

/// Fails if there is anything wrong.
fn conclude(wrong: &[&str], absent: &[&str], cache: &Cache) -> Result<(), Failure> {
    let mut parts = Vec::new();
    if !wrong.is_empty() {
        parts.push(format!(
            "not as fetched: {}; remove and fetch again (`vrt models remove`, `vrt models fetch`)",
            wrong.join(", ")
        ));
    }
    if !absent.is_empty() {
        let (ids, folder) = (absent.join(", "), cache.folder().display());
        parts.push(format!("not in the cache ({folder}): {ids}; `vrt models fetch` gets them"));
    }
    match parts.as_slice() {
        [] => Ok(()),
        parts => Err(Failure::failed(parts.join(". "))),
    }
}
