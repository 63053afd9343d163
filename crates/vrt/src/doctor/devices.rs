//! The devices that networks are computed on.

use serde::Serialize;

use crate::device::{DeviceKind, Gpu};

/// One kind of device.
#[derive(Clone, Debug, Serialize)]
pub struct DeviceReport {
    /// The name that `--device` takes.
    pub kind: &'static str,
    /// Whether this program was built for it.
    pub compiled_in: bool,
    /// How many there are; 0 where this program was not built for them.
    pub found: usize,
    /// What GPUs say of themselves, in their order; empty for the processor.
    pub gpus: Vec<Option<Gpu>>,
}

pub(super) fn examine() -> Vec<DeviceReport> {
    let report = |kind: DeviceKind| {
        let compiled_in = kind.is_compiled_in();
        let devices = if compiled_in { kind.found() } else { Vec::new() };
        let gpus = match kind {
            DeviceKind::Cpu => Vec::new(),
            _ => devices.iter().map(Gpu::of).collect(),
        };
        DeviceReport { kind: kind.name(), compiled_in, found: devices.len(), gpus }
    };
    DeviceKind::ALL.map(report).to_vec()
}
