//! Streams of spikes beside the frames of a training set.

use std::path::PathBuf;

use serde_json::{Value, json};
use vrt_model::VrtConfig;
use vrt_spike::{BitOrder, CEILING, Method, Stated};
use vrt_video::{Registration, SpikeTree};

use super::{Findings, Section};

/// The key that says where streams are.
pub(super) const ROOT: &str = "dataroot_spike";

/// Keys about streams.
pub(super) const KEYS: [&str; 8] = [
    "spike_align",
    "spike_w",
    "spike_h",
    "spike_method",
    "spike_half_window",
    "spike_bit_order",
    "spike_upright",
    "spike_ext",
];

/// Frames on each side of a frame's time, as published.
const HALF_WINDOW: usize = 20;

const METHODS: [(&str, MethodName); 3] =
    [("tfp", MethodName::Playback), ("tfi", MethodName::Interval), ("mean", MethodName::Mean)];

#[derive(Clone, Copy, PartialEq)]
enum MethodName {
    Playback,
    Interval,
    Mean,
}

const ORDERS: [(&str, BitOrder); 2] = [("lsb", BitOrder::LeastFirst), ("msb", BitOrder::MostFirst)];

/// `dataroot_spike` and what belongs to it.
pub(super) fn read(s: &mut Section<'_>, channels: usize) -> Option<SpikeTree> {
    let root: Option<PathBuf> = s.optional(ROOT);
    let Some(root) = root else {
        for key in KEYS {
            s.unused(key, "there are no spikes without dataroot_spike");
        }
        return None;
    };
    let [width, height]: [Option<usize>; 2] = ["spike_w", "spike_h"].map(|key| s.optional(key));
    if width.is_some() != height.is_some() {
        s.problem("spike_w", "goes with spike_h: write both, or a config.yaml beside the streams");
    }
    let method = s.choice("spike_method", &METHODS, Some(MethodName::Playback));
    let half_window = s.or("spike_half_window", HALF_WINDOW) as u64;
    let order = s.choice("spike_bit_order", &ORDERS, Some(BitOrder::LeastFirst));
    let align: Option<PathBuf> = s.optional("spike_align");
    let align = align.and_then(|path| match Registration::read(&path) {
        Ok(align) => Some(align),
        Err(error) => {
            s.problem("spike_align", error.to_string());
            None
        }
    });
    Some(SpikeTree {
        root,
        align,
        stated: Stated {
            size: width.zip(height),
            order: order.unwrap_or_default(),
            upright: s.or("spike_upright", false),
            ..Stated::default()
        },
        method: match method.unwrap_or(MethodName::Playback) {
            MethodName::Playback => Method::Playback { half_window },
            MethodName::Interval => Method::Interval,
            MethodName::Mean => Method::Mean,
        },
        channels,
        ceiling: CEILING,
        extension: s.or("spike_ext", "dat".to_owned()).trim_start_matches('.').to_owned(),
    })
}

/// A section that may state streams.
pub(super) struct Spiked<'a> {
    /// Its name.
    pub(super) section: &'static str,
    /// What it states.
    pub(super) spikes: Option<&'a SpikeTree>,
    /// Whether sets of its kind can have streams, and which kind can.
    pub(super) kind: (bool, &'static str),
    /// What to do where there are none.
    pub(super) without: &'static str,
}

/// Whether a section states streams just where the network takes them.
pub(super) fn check(spiked: &Spiked<'_>, network: &VrtConfig, findings: &mut Findings) {
    let Spiked { section, spikes, kind: (fits, takes), without } = spiked;
    let key = format!("{section}.dataset_type");
    match (network.spike_channels(), spikes) {
        (0, Some(_)) => {
            let what = "is stated, but the network takes RGB alone: set netG.in_chans to 4, or \
                        remove it";
            findings.problem(&format!("{section}.{ROOT}"), what);
        }
        (1.., None) => {
            let what = format!(
                "has RGB frames, but the network takes {} channels: write in {ROOT} where the \
                 streams of the frames are, or {without}",
                network.in_channels()
            );
            findings.problem(&key, what);
        }
        (1.., Some(_)) if !fits => {
            findings.problem(&key, format!("has no spikes beside its frames: take {takes}"));
        }
        _ => {}
    }
}

/// The keys that [`read`] takes.
pub(super) fn to_json(spikes: &SpikeTree, section: &mut Value) {
    let (method, half_window) = match spikes.method {
        Method::Playback { half_window } => (MethodName::Playback, half_window),
        Method::Interval => (MethodName::Interval, HALF_WINDOW as u64),
        Method::Mean => (MethodName::Mean, HALF_WINDOW as u64),
    };
    section[ROOT] = json!(spikes.root);
    if let Some((width, height)) = spikes.stated.size {
        section["spike_w"] = width.into();
        section["spike_h"] = height.into();
    }
    let name = METHODS.iter().find(|(_, known)| *known == method).map(|(name, _)| *name);
    section["spike_method"] = json!(name);
    section["spike_half_window"] = half_window.into();
    let order = ORDERS.iter().find(|(_, known)| *known == spikes.stated.order);
    section["spike_bit_order"] = json!(order.map(|(name, _)| *name));
    section["spike_upright"] = spikes.stated.upright.into();
    if let Some(align) = &spikes.align {
        section["spike_align"] = json!(align.path());
    }
    section["spike_ext"] = spikes.extension.clone().into();
}
