//! `vrt models check`, `path` and `remove`: what is in the cache.

use std::path::PathBuf;

use clap::Args;
use etcetera::BaseStrategy;
use serde_json::json;
use vrt::models::{Cache, Checked, Published};

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
    if !cache.remove(network)? {
        return Err(absent(network, &cache));
    }
    let path = cache.path(network);
    match global.json {
        true => output::json(&json!({ "name": network.name(), "removed": path }))?,
        false => output::result(&format!("removed {}", path.display()))?,
    }
    Ok(())
}

/// Runs `vrt models check`: every checkpoint is told of, and one that is not as it came fails.
pub(super) fn check(arguments: &CheckArguments, global: &GlobalOptions) -> Result<(), Failure> {
    let cache = of(global)?;
    let networks = match arguments.networks.as_slice() {
        [] => Published::all().filter(|network| cache.held(*network).is_some()).collect(),
        stated => stated.to_vec(),
    };
    if networks.is_empty() && !global.json {
        return Ok(output::result(&format!("nothing in {}", cache.folder().display()))?);
    }
    let mut wrong = Vec::new();
    for network in networks {
        let name = network.name();
        if cache.held(network).is_none() {
            return Err(absent(network, &cache));
        }
        let (state, record, found) = match cache.check(network)? {
            Checked::Same(record) => ("same", record, None),
            Checked::Recorded(record) => ("recorded", record, None),
            Checked::Changed { record, found } => ("changed", record, Some(found)),
        };
        if found.is_some() {
            wrong.push(network.id());
        }
        if global.json {
            let found = found.unwrap_or(record.sha256);
            output::json(&json!({
                "name": name, "state": state, "sha256": found, "record": record,
            }))?;
            continue;
        }
        let digest = record.sha256;
        output::result(&match (state, found) {
            (_, Some(found)) => format!("{name}: changed: sha256 {found}, came with {digest}"),
            ("recorded", _) => format!("{name}: whole, and recorded now: sha256 {digest}"),
            _ => format!("{name}: as it came, {}, sha256 {digest}", bytes(record.bytes)),
        })?;
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let ids = wrong.join(", ");
    Err(Failure::failed(format!(
        "not as fetched: {ids}; remove and fetch again (`vrt models remove`, `vrt models fetch`)"
    )))
}
