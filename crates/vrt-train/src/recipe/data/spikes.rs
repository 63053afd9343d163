//! Streams of spikes beside the frames of a training set.

use std::path::PathBuf;

use serde_json::{Value, json};
use vrt_spike::{BitOrder, CEILING, Method, Stated};
use vrt_video::{Registration, SpikeTree};

use super::Section;

/// Keys about streams.
const KEYS: [&str; 8] = [
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
    let root: Option<PathBuf> = s.optional("dataroot_spike");
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

/// The keys that [`read`] takes.
pub(super) fn to_json(spikes: &SpikeTree, section: &mut Value) {
    let (method, half_window) = match spikes.method {
        Method::Playback { half_window } => (MethodName::Playback, half_window),
        Method::Interval => (MethodName::Interval, HALF_WINDOW as u64),
        Method::Mean => (MethodName::Mean, HALF_WINDOW as u64),
    };
    section["dataroot_spike"] = json!(spikes.root);
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
