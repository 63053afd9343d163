//! `vrt doctor`: what this machine offers, and what will be used.

use std::fmt::Write as _;

use clap::Args;
use serde::Serialize;
use vrt::device::{Gpu, OpenDevices, is_processor};
use vrt::doctor::{DeviceReport, FfmpegReport, MemoryReport, ProcessorReport, Report, examine};
use vrt_video::Programs;

use super::precision::fastest;
use super::table::bytes;
use super::tile::GPU_MEMORY;
use super::{Failure, GlobalOptions, output};

/// Width of the names in front of each line.
const NAME_WIDTH: usize = 12;

const HELP: &str = "\
Reports what a run on this machine will use: features of the processor and the kernels chosen for them, threads, devices, ffmpeg with its encoders, memory.

Ends with 0 also where something is missing: what, and how to get it, is in the text.";

/// Flags of `vrt doctor`: none but those of every command.
#[derive(Args, Clone, Debug)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {}

/// The report, and what the flags choose.
#[derive(Serialize)]
struct InUse {
    #[serde(flatten)]
    report: Report,
    device: String,
    /// What `--precision auto` computes with there.
    precision: Option<String>,
    /// Why that device cannot be used, if it cannot.
    device_problem: Option<String>,
    /// Bytes that tiles are planned for on that device when `--memory` does not say.
    planned_for: Option<u64>,
}

/// Runs the command.
pub(crate) fn run(_: &Arguments, global: &GlobalOptions) -> Result<(), Failure> {
    let report = examine(&Programs::default());
    let (opened, problem) = match global.device.open() {
        Ok(opened) => (Some(opened), None),
        Err(problem) => (None, Some(problem.to_string())),
    };
    let in_use = InUse {
        planned_for: opened.as_ref().and_then(|devices| planned_for(&report, devices)),
        precision: opened.map(|devices| fastest(&devices.list).to_string()),
        device_problem: problem,
        device: global.device.to_string(),
        report,
    };
    if global.json {
        output::json(&in_use)?;
    } else {
        output::result(text(&in_use).trim_end())?;
    }
    Ok(())
}

/// Bytes that tiles are planned for, of the machine or of GPUs.
fn planned_for(report: &Report, devices: &OpenDevices) -> Option<u64> {
    if devices.list.iter().all(is_processor) {
        return report.memory.map(|memory| memory.usable);
    }
    Some(devices.usable_memory().unwrap_or(GPU_MEMORY))
}

/// The report as text.
fn text(in_use: &InUse) -> String {
    let InUse { report, device: chosen, precision, device_problem, planned_for } = in_use;
    let mut lines = Lines::default();
    lines.add("vrt", report.version);
    processor(&mut lines, &report.processor);
    for device in &report.devices {
        lines.add("device", &device_state(device));
        for (i, gpu) in device.gpus.iter().enumerate() {
            lines.add("", &gpu_in_words(device.kind, i, gpu.as_ref()));
        }
    }
    match device_problem {
        None => lines.add("", &format!("{chosen} will be used; --device chooses another")),
        Some(problem) => lines.add("", &format!("{chosen} cannot be used: {problem}")),
    }
    if let Some(precision) = precision {
        lines.add("precision", &format!("{precision} will be used (--precision auto)"));
    }
    ffmpeg(&mut lines, &report.ffmpeg);
    memory(&mut lines, report.memory);
    if let Some(bytes_planned) = planned_for {
        let text = format!("tiles will be planned for {} on {chosen}", bytes(*bytes_planned));
        lines.add("", &text);
    }
    lines.text
}

fn processor(lines: &mut Lines, processor: &ProcessorReport) {
    let ProcessorReport { model, architecture, cores, processors, threads, .. } = processor;
    let cores = cores.map_or_else(String::new, |cores| format!("{cores} cores, "));
    let model = if model.is_empty() { "unknown model" } else { model };
    lines.add("processor", &format!("{model} ({architecture}), {cores}{processors} threads"));
    lines.add("features", &or(processor.features.join(" "), "none that matter here"));
    let levels = processor.levels.join(", ");
    lines.add(
        "kernels",
        &format!("{} will be used (this processor runs {levels})", processor.level),
    );
    lines.add("threads", &format!("{threads} will be used"));
}

fn device_state(device: &DeviceReport) -> String {
    let DeviceReport { kind, compiled_in, found, .. } = device;
    match (compiled_in, found) {
        (false, _) => format!("{kind}: not in this build (build with `--features {kind}`)"),
        (true, 0) => format!("{kind}: no device or driver found"),
        (true, 1) => format!("{kind}: found"),
        (true, _) => format!("{kind}: {found} found, {kind}:0 to {kind}:{}", found - 1),
    }
}

fn gpu_in_words(kind: &str, index: usize, gpu: Option<&Gpu>) -> String {
    let Some(gpu) = gpu else { return format!("{kind}:{index} does not say what it is") };
    let memory = gpu.memory.map_or_else(String::new, |memory| format!(", {}", bytes(memory)));
    format!("{kind}:{index} is {}{memory}, multiplies in {}", gpu.name, gpu.precisions.join(", "))
}

fn ffmpeg(lines: &mut Lines, ffmpeg: &FfmpegReport) {
    for (name, program) in [("ffmpeg", &ffmpeg.ffmpeg), ("ffprobe", &ffmpeg.ffprobe)] {
        let state = program.version.as_ref().or(program.problem.as_ref());
        lines.add(name, state.map_or("unknown", String::as_str));
    }
    if ffmpeg.ffmpeg.version.is_none() {
        lines.add("", "folders of pictures and YUV4MPEG2 work without it");
        return;
    }
    for encoder in &ffmpeg.encoders {
        let state = if encoder.found { "found" } else { "not in this ffmpeg" };
        lines.add("encoder", &format!("{} ({}): {state}", encoder.name, encoder.purpose));
    }
}

fn memory(lines: &mut Lines, memory: Option<MemoryReport>) {
    let Some(MemoryReport { total, available, limit, .. }) = memory else {
        return lines.add("memory", "the system does not say; state --memory to plan tiles");
    };
    let limit = limit.map_or_else(String::new, |limit| {
        format!(", limited to {} by the control group", bytes(limit))
    });
    lines.add("memory", &format!("{} in all, {} free{limit}", bytes(total), bytes(available)));
}

fn or(text: String, empty: &str) -> String {
    if text.is_empty() { empty.to_owned() } else { text }
}

/// Lines of a name and what there is to say about it.
#[derive(Default)]
struct Lines {
    text: String,
}

impl Lines {
    fn add(&mut self, name: &str, what: &str) {
        let name = if name.is_empty() { String::new() } else { format!("{name}:") };
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{name:<NAME_WIDTH$} {what}");
    }
}
