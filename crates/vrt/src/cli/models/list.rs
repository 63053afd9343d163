//! `vrt models`: what there is.

use serde_json::{Value, json};
use vrt::models::licence::CC_BY_NC;
use vrt::models::published::SOURCE;
use vrt::models::{BuiltIn, Cache, Published, builtin};

use super::cache;
use crate::cli::table::{Table, bytes};
use crate::cli::{Failure, GlobalOptions, output};

/// Runs the command.
pub(super) fn run(global: &GlobalOptions) -> Result<(), Failure> {
    let cache = cache::of(global)?;
    if global.json {
        let built_in: Vec<_> = builtin::all().iter().map(built_in_as_json).collect();
        let published: Vec<_> =
            Published::all().map(|network| published_as_json(network, &cache)).collect();
        let folder = cache.folder();
        let all = json!({ "built_in": built_in, "published": published, "cache": folder });
        return Ok(output::json(&all)?);
    }
    Ok(output::result(&in_words(&cache))?)
}

fn in_words(cache: &Cache) -> String {
    let mut table = Table::default();
    if builtin::all().is_empty() {
        table.fact("built in", "nothing in this build".to_owned());
    }
    for network in builtin::all() {
        table.fact(network.name, format!("built in, {}: {}", bytes(network.size()), network.about));
    }
    table.line();
    for network in Published::all() {
        let state = match (cache.held(network), cache.record(network)) {
            (Some(_), Some(record)) => format!("in the cache, {}", bytes(record.bytes)),
            (Some(_), None) => "in the cache".to_owned(),
            (None, _) => format!("to fetch, about {}", bytes(network.about_bytes())),
        };
        let text = format!("{:<34}{state}: {}", network.name(), network.about());
        table.fact(network.id(), text);
    }
    let (folder, licence) = (cache.folder().display(), &CC_BY_NC);
    format!(
        "{table}\nThe numbered ones are published by the authors of VRT under {} ({}):\n{}.\nFetch \
         one with `vrt models fetch 006`, from {SOURCE}NAME.pth;\nuse one with --weights 006. The \
         cache is {folder}",
        licence.id, licence.address, licence.summary
    )
}

fn built_in_as_json(network: &BuiltIn) -> Value {
    let BuiltIn { name, task, about, .. } = network;
    json!({ "name": name, "task": task.name(), "about": about, "bytes": network.size() })
}

fn published_as_json(network: Published, cache: &Cache) -> Value {
    let record = cache.held(network).and_then(|_| cache.record(network));
    json!({
        "id": network.id(),
        "name": network.name(),
        "about": network.about(),
        "bytes": record.as_ref().map(|record| record.bytes),
        "about_bytes": network.about_bytes(),
        "licence": network.licence().id,
        "licence_accepted": cache.accepted(network.licence()),
        "source": network.address(None),
        "path": cache.held(network),
        "sha256": record.map(|record| record.sha256),
    })
}
