//! `vrt info`: what a network is made of, and what it costs.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use serde_json::json;
use vrt::info::{Architecture, ClipShape, CostInfo, NetworkInfo, task_name};
use vrt::models::{Weights, builtin};
use vrt_model::config::VrtConfig;
use vrt_model::option_file;
use vrt_model::presets::Preset;

use super::models::find;
use super::network::NetworkOptions;
use super::table::{Table, bytes, flops, grouped};
use super::{Failure, GlobalOptions, output};

const HELP: &str = "\
States the architecture, the exact number of parameters of each part, and, with \
--size, operations by kind and predicted memory for a clip restored in one piece (a tile).

The network is that of a file of weights, recognised from names and shapes, a built-in one, or a \
preset.

Examples:
  vrt info 006_VRT_videodeblurring_GoPro.pth
  vrt info 006 --size 6,256x256
  vrt info deblur.safetensors --json";

/// Flags of `vrt info`.
#[derive(Args, Clone, Debug)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// A file of weights, or the name of a built-in network or of a preset, such as 006
    #[arg(value_name = "WEIGHTS|PRESET")]
    network: PathBuf,
    /// Clip to state operations and memory for: frames, then width and height of the input
    #[arg(long, value_name = "FRAMES,WIDTHxHEIGHT")]
    size: Option<Size>,
    #[command(flatten)]
    options: NetworkOptions,
}

/// `6,256x256`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size(ClipShape);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no size; write frames, width and height as 6,256x256");
        let number = |text: &str| text.trim().parse().ok().filter(|&number: &usize| number > 0);
        let (frames, sides) = text.split_once(',').ok_or_else(wrong)?;
        let (width, height) = sides.split_once(['x', 'X', '×']).ok_or_else(wrong)?;
        match (number(frames), number(width), number(height)) {
            (Some(frames), Some(width), Some(height)) => {
                Ok(Self(ClipShape { frames, width, height }))
            }
            _ => Err(wrong()),
        }
    }
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, global: &GlobalOptions) -> Result<(), Failure> {
    let Arguments { network, size, options } = arguments;
    let config = config(network, options, global)?;
    let info = NetworkInfo::of(&config);
    let cost = size.map(|Size(clip)| CostInfo::of(&config, clip)).transpose()?;
    if global.json {
        let mut json = serde_json::to_value(&info).map_err(Failure::failed)?;
        json["config"] = option_file::to_json(&config);
        json["cost"] = json!(cost);
        return Ok(output::json(&json)?);
    }
    let mut text = format!("{}\n\n{}\n", headline(&config), architecture(&info.architecture));
    text.push_str(&parts(&info).to_string());
    if let Some(cost) = &cost {
        text.push_str(&format!("\n{}", costs(cost)));
    }
    Ok(output::result(text.trim_end())?)
}

/// The network of weights that are there, every tensor accounted for, else of a preset of that
/// name.
fn config(
    network: &Path,
    options: &NetworkOptions,
    global: &GlobalOptions,
) -> Result<VrtConfig, Failure> {
    let name = network.to_string_lossy();
    let built_in = builtin::all().iter().find(|known| name.eq_ignore_ascii_case(known.name));
    // A folder may well be called as a preset.
    let weights = match (network.is_file(), built_in) {
        (false, Some(built_in)) => Some(Weights::BuiltIn(built_in)),
        (true, _) => Some(Weights::File(network.to_owned())),
        (false, None) if options.is_stated() => Some(find(network, global)?),
        (false, None) => None,
    };
    if let Some(weights) = weights {
        let (config, _) = options.load(&weights)?;
        return Ok(config);
    }
    Preset::parse(&name)
        .map(Preset::config)
        .map_err(|unknown| Failure::failed(format!("there is no file {name:?}, and {unknown}")))
}

/// A network in one line: its task, and presets that are the same.
pub(super) fn headline(config: &VrtConfig) -> String {
    let task = task_name(config.task());
    let scale = match config.upscale() {
        1 => String::new(),
        scale => format!(" ×{scale}"),
    };
    let presets: Vec<_> = Preset::matching(config).map(|preset| preset.name).collect();
    match presets[..] {
        [] => format!("a VRT network for {task}{scale}, of no preset"),
        _ => format!("a VRT network for {task}{scale}, as in {}", presets.join(", ")),
    }
}

fn architecture(network: &Architecture) -> Table {
    let list = |numbers: &[usize]| {
        let numbers: Vec<_> = numbers.iter().map(ToString::to_string).collect();
        numbers.join(" ")
    };
    let [frames, rows, columns] = network.window;
    let independent = match network.independent[..] {
        [] => "none".to_owned(),
        _ => format!("entries {} (from 0)", list(&network.independent)),
    };
    let alignment = match network.reach {
        0 => "none".to_owned(),
        reach => format!("reach {reach}, {} groups", network.deformable_groups),
    };
    let spike = match network.spike_channels {
        0 => String::new(),
        channels => format!(", {channels} of a spike camera"),
    };
    let noise = if network.noise_map { ", 1 of the noise level" } else { "" };
    let mut table = Table::default();
    table.fact("upscale", network.upscale.to_string());
    table.fact("input channels", format!("{} (3 RGB{spike}{noise})", network.input_channels));
    if network.fold > 1 {
        let places = format!("{0}×{0} pixels to one place", network.fold);
        table.fact("folds", places);
    }
    if network.trails {
        table.fact("sees", "every frame along its motion too, and weighs it".to_owned());
    }
    if network.coarse_flow {
        table.fact("flow", "at half the size of its places".to_owned());
    }
    table.fact("window", format!("{frames} frames, {rows}×{columns}"));
    table.fact("depths", list(&network.depths));
    table.fact("widths", list(&network.widths));
    table.fact("heads", list(&network.heads));
    table.fact("one-frame windows", independent);
    table.fact("alignment", alignment);
    if let Some(frames) = network.fused_frames {
        table.fact("fuses", format!("{frames} frames to one"));
    }
    table
}

fn parts(info: &NetworkInfo) -> Table {
    let mut table = Table::new(["part", "tensors", "parameters", "share"]);
    let share = |parameters: u64| percent(parameters as f64 / info.parameters as f64);
    for part in &info.parts {
        table.row([
            part.name.clone(),
            part.tensors.to_string(),
            grouped(part.parameters),
            share(part.parameters),
        ]);
    }
    table.line();
    let tensors: usize = info.parts.iter().map(|part| part.tensors).sum();
    table.row(["all", &tensors.to_string(), &grouped(info.parameters), &percent(1.0)]);
    table
}

fn costs(cost: &CostInfo) -> String {
    let ClipShape { frames, width, height } = cost.clip;
    let mut table = Table::new(["operation", "per frame", "share"]);
    for operation in &cost.operations {
        let per_frame = operation.flops / frames as u128;
        table.row([operation.name, &flops(per_frame), &percent(operation.share)]);
    }
    table.line();
    table.row(["all", &flops(cost.flops_per_frame), &percent(1.0)]);
    format!(
        "A clip of {frames} frames of {width}×{height} in one piece: {} in all, about {} of \
         memory\n\n{table}",
        flops(cost.flops),
        bytes(cost.memory),
    )
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_frames_width_and_height() {
        let size = ClipShape { frames: 6, width: 320, height: 180 };
        for text in ["6,320x180", " 6 , 320 X 180 ", "6,320×180"] {
            assert_eq!(text.parse(), Ok(Size(size)), "{text}");
        }
        for text in ["", "6", "6,320", "320x180", "0,320x180", "6,320x0", "6,-1x2", "6,1x2x3"] {
            let error = text.parse::<Size>().unwrap_err();
            assert!(error.contains("6,256x256"), "{text}: {error}");
        }
    }
}
