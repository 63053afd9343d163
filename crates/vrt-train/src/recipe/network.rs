//! The section `netG`: the network, and how KAIR starts and runs it.

use std::path::PathBuf;

use serde_json::{Map, Value};
use vrt_model::VrtConfig;
use vrt_model::option_file;

use super::section::{Findings, Kind};

/// Whether attention is found again in the backward pass, in all entries of `depths` but some.
const AGAIN: &str = "use_checkpoint_attn";
/// Entries that keep it.
const KEPT: &str = "no_checkpoint_attn_blocks";

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
    for key in ["use_checkpoint_ffn", "no_checkpoint_ffn_blocks"] {
        if get(key).is_some() {
            let why = "MLPs are computed again in any case: their memory costs more than they do";
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
    if get("img_size").is_some() {
        let why = "its rows and columns change nothing: clips of any size are trained on";
        findings.note("netG.img_size", why);
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

/// For each entry of `depths`, whether it keeps what attention found for the backward pass.
pub(super) fn keeps_attention(
    net_g: &Map<String, Value>,
    entries: usize,
    findings: &mut Findings,
) -> Vec<bool> {
    let get = |key: &str| net_g.get(key).filter(|value| !value.is_null());
    let again = get(AGAIN).map_or(Some(false), bool::of).unwrap_or_else(|| {
        findings.problem(&format!("netG.{AGAIN}"), format!("is no {}", bool::WHAT));
        false
    });
    let kept: Vec<usize> = get(KEPT).map_or(Some(Vec::new()), Vec::of).unwrap_or_else(|| {
        findings.problem(&format!("netG.{KEPT}"), format!("is no {}", Vec::<usize>::WHAT));
        Vec::new()
    });
    if let Some(entry) = kept.iter().find(|entry| **entry >= entries) {
        let what = format!("names entry {entry}, but depths has {entries}, counted from 0");
        findings.problem(&format!("netG.{KEPT}"), what);
    }
    (0..entries).map(|entry| !again || kept.contains(&entry)).collect()
}

/// The keys that [`keeps_attention`] reads.
pub(super) fn write_keeps(keeps: &[bool], net_g: &mut Value) {
    let kept: Vec<_> = keeps.iter().enumerate().filter(|(_, keeps)| **keeps).collect();
    net_g[AGAIN] = (kept.len() < keeps.len()).into();
    net_g[KEPT] = kept.into_iter().map(|(entry, _)| entry).collect();
}

/// `netG.spynet_path`
pub(super) fn flow_path(net_g: Map<String, Value>) -> Option<PathBuf> {
    net_g.get("spynet_path").and_then(Value::as_str).map(PathBuf::from)
}
