//! The section `netG`: the network, and how KAIR starts and runs it.

use std::path::PathBuf;

use serde_json::{Map, Value};
use vrt_model::VrtConfig;
use vrt_model::option_file;

use super::section::{Findings, Kind};

/// Keys that say what to keep in memory for the backward pass.
const CHECKPOINTING: [&str; 4] = [
    "use_checkpoint_attn",
    "use_checkpoint_ffn",
    "no_checkpoint_attn_blocks",
    "no_checkpoint_ffn_blocks",
];

/// The network of a whole file; `None` if it has none.
pub(super) fn read(file: &Map<String, Value>, findings: &mut Findings) -> Option<VrtConfig> {
    let section = file.get("netG").and_then(Value::as_object);
    if let Some(section) = section {
        notes(section, findings);
    }
    match option_file::read(&Value::Object(file.clone()).to_string()) {
        Ok(config) => Some(config),
        Err(error) => {
            findings.problem("", error.to_string());
            None
        }
    }
}

fn notes(section: &Map<String, Value>, findings: &mut Findings) {
    let get = |key: &str| section.get(key).filter(|value| !value.is_null());
    for key in CHECKPOINTING {
        if get(key).is_some() {
            let why = "blocks keep their input alone wherever a backward kernel computes the rest \
                       again, and everything elsewhere";
            findings.note(&format!("netG.{key}"), why);
        }
    }
    match get("init_type").map(|value| (value, value.as_str())) {
        None | Some((_, Some("default"))) => {}
        Some((other, _)) => {
            let what = format!(
                "is {other}: weights are drawn as the published network draws them; write \
                 \"default\" or remove the key"
            );
            findings.problem("netG.init_type", what);
        }
    }
    for key in ["init_bn_type", "init_gain"] {
        if get(key).is_some() {
            findings.note(&format!("netG.{key}"), "init_type default does not look at it");
        }
    }
    if let Some(path) = get("spynet_path").filter(|path| path.as_str().is_none()) {
        let what = format!("is {path}: write {} or null", PathBuf::WHAT);
        findings.problem("netG.spynet_path", what);
    }
}

/// `netG.spynet_path`
pub(super) fn flow_path(net_g: Map<String, Value>) -> Option<PathBuf> {
    net_g.get("spynet_path").and_then(Value::as_str).map(PathBuf::from)
}
