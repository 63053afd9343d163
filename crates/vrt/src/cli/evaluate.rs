//! `vrt eval`: scores restored frames against the truth, as published.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use vrt::eval::{EvalEvent, EvalOptions, EvalReport, Folders, Protocol, evaluate, score};
use vrt::restore::TilePlan;
use vrt_model::Restorer;
use vrt_video::{ClipScore, Scores};

use super::models::find;
use super::network::NetworkOptions;
use super::precision::PrecisionName;
use super::spike::SetSpikes;
use super::table::{Table, bytes};
use super::tile::{Recognised, TileOptions};
use super::{Failure, GlobalOptions, output};

/// Largest noise level, in codes of 8 bits.
const MAX_SIGMA: f64 = 255.0;

const HELP: &str = "\
Restores every clip under --input and scores it against the one of the same name under --gt: PSNR \
and SSIM on RGB, and on luma (-Y), of each frame, clip and the set, as published numbers were made. \
With --restored, frames that are there already are scored.

A folder is a set of clips (clip/frame.png) or one clip. Published numbers also need the published \
tiles: --tiling published. Scene cuts are not looked for.

Examples:
  vrt eval --gt GoPro/sharp --input GoPro/blur --weights 006_VRT_videodeblurring_GoPro.pth \\
      --tiling published
  vrt eval --gt sharp/ --restored mine/ --json
  vrt eval --gt DAVIS/ --sigma 20 --weights 008_VRT_videodenoising_DAVIS.pth
  vrt eval --gt sharp/ --input blur/ --weights deblur-spike --spike streams/
  vrt eval --gt vimeo_septuplet/ --input bicubic/ --protocol vimeo-sr --weights 003.pth";

/// Flags about restoring, which have no meaning for frames that are restored already.
const NOT_WITH_RESTORED: [&str; 11] = [
    "spike",
    "weights",
    "save",
    "sigma",
    "options",
    "preset",
    "flow",
    "tile",
    "overlap",
    "memory",
    "precision",
];

/// Flags of `vrt eval`.
#[derive(Args, Clone, Debug)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// Folder with the truth: clip/frame, or the frames of one clip
    #[arg(long, value_name = "DIR")]
    gt: PathBuf,
    /// Folder with the frames to restore
    #[arg(long, value_name = "DIR", conflicts_with = "restored")]
    input: Option<PathBuf>,
    /// Folder with restored frames, to score without restoring
    #[arg(long, value_name = "DIR", conflicts_with_all = NOT_WITH_RESTORED)]
    restored: Option<PathBuf>,
    /// Weights of the network: .pth, .safetensors, or the name of a network (`vrt models`)
    #[arg(long, value_name = "FILE|NAME", required_unless_present = "restored")]
    weights: Option<PathBuf>,
    #[command(flatten)]
    network: NetworkOptions,
    /// Which frames count, and how they are averaged [default: clips; denoise with --sigma]
    #[arg(long, value_enum, value_name = "NAME")]
    protocol: Option<ProtocolName>,
    /// Level of the noise that the protocol denoise adds to the truth: its standard deviation in
    /// steps of 255
    #[arg(long, value_name = "S", value_parser = sigma, allow_negative_numbers = true)]
    sigma: Option<f64>,
    #[command(flatten)]
    tile: TileOptions,
    /// Numbers to compute with
    #[arg(long, value_enum, default_value = "f32")]
    precision: PrecisionName,
    /// Folder to write the restored frames that are scored to: clip/frame.png
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// Replace frames in the folder of --save
    #[arg(long, requires = "save")]
    overwrite: bool,
    /// Leave the frames out of the table
    #[arg(long)]
    brief: bool,
    #[command(flatten)]
    spikes: SetSpikes,
}

/// Names of [`Protocol`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ProtocolName {
    /// Mean over the frames of a clip, then over clips
    Clips,
    /// As MATLAB scripts do it: mean over all frames, SSIM over rows, columns and channels
    AllFrames,
    /// Vimeo-90K: the last of 7 frames repeated, only frame 4 scored
    VimeoSr,
    /// Vimeo-90K: frames 1, 3, 5, 7 in, the new one scored against frame 4
    VimeoInterpolation,
    /// Noise of --sigma added to the truth, from seed 0 for each clip
    Denoise,
}

fn sigma(text: &str) -> Result<f64, String> {
    let level = text.parse().ok().filter(|level| (0.0..=MAX_SIGMA).contains(level));
    level.ok_or_else(|| format!("{text:?} is no level of noise; write a number from 0 to 255"))
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, global: &GlobalOptions) -> Result<(), Failure> {
    let protocol = protocol(arguments)?;
    let mut progress = Progress { quiet: global.quiet, last: None };
    let mut on_event = |event: EvalEvent<'_>| progress.show(event);
    let report = match (&arguments.restored, &arguments.weights) {
        (Some(restored), _) => score(&arguments.gt, restored, protocol, &mut on_event)?,
        (None, Some(weights)) => restore(arguments, weights, protocol, global, &mut on_event)?,
        (None, None) => return Err(Failure::Usage("state --weights or --restored".to_owned())),
    };
    if global.json {
        return Ok(output::json(&report)?);
    }
    Ok(output::result(table(&report, arguments.brief).to_string().trim_end())?)
}

fn restore(
    arguments: &Arguments,
    weights: &Path,
    protocol: Protocol,
    global: &GlobalOptions,
    on_event: &mut dyn FnMut(EvalEvent<'_>),
) -> Result<EvalReport, Failure> {
    let folders = Folders { truth: &arguments.gt, input: arguments.input.as_deref() };
    let weights = find(weights, global)?;
    let (config, checkpoint) = arguments.network.load(&weights)?;
    protocol.check(&config)?;
    let (path, preset) = (weights.path(), arguments.network.preset);
    let network = Recognised { weights: &path, config: &config, preset };
    let mut warn = |text: &str| {
        if !global.quiet {
            output::message(&format!("warning: {text}"));
        }
    };
    let devices = global.device.open()?;
    let options = EvalOptions {
        protocol,
        tile: arguments.tile.choose(&network, &devices, &mut warn)?,
        tiling: arguments.tile.tiling(),
        spikes: arguments.spikes.tree()?,
        save: arguments.save.clone(),
        overwrite: arguments.overwrite,
    };
    let precision = arguments.precision.choose(&devices.list, arguments.tile.tiling())?;
    let restorer = Restorer::on_all(&config, &checkpoint, &devices.list)?;
    let restorer = restorer.with_precision(precision);
    Ok(evaluate(&restorer, &config, folders, &options, on_event)?)
}

/// The protocol that the flags name, once they fit each other.
fn protocol(arguments: &Arguments) -> Result<Protocol, Failure> {
    let Arguments { protocol: name, sigma, restored, input, .. } = arguments;
    let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
    let protocol = match (name, sigma) {
        (None, None) | (Some(ProtocolName::Clips), None) => Protocol::Clips,
        (Some(ProtocolName::AllFrames), None) => Protocol::AllFrames,
        (Some(ProtocolName::VimeoSr), None) => Protocol::VimeoSr,
        (Some(ProtocolName::VimeoInterpolation), None) => Protocol::VimeoInterpolation,
        (None | Some(ProtocolName::Denoise), Some(sigma)) => Protocol::Denoise { sigma: *sigma },
        (Some(ProtocolName::Denoise), None) if restored.is_some() => {
            return usage("--restored frames have no noise to add: leave --protocol denoise out");
        }
        (Some(ProtocolName::Denoise), None) => {
            return usage("--protocol denoise needs the level of the noise: --sigma 20");
        }
        (Some(_), Some(_)) => return usage("--sigma is for --protocol denoise only"),
    };
    match (input, restored) {
        (Some(_), _) if protocol.makes_input() => {
            usage("--protocol denoise adds noise to the truth: leave --input out")
        }
        (None, None) if !protocol.input_is_optional() => {
            usage("state the frames to restore (--input DIR), or restored ones (--restored DIR)")
        }
        _ => Ok(protocol),
    }
}

/// Lines on standard error while clips are restored.
struct Progress {
    quiet: bool,
    /// Tiles that were told last.
    last: Option<TilePlan>,
}

impl Progress {
    fn show(&mut self, event: EvalEvent<'_>) {
        if self.quiet {
            return;
        }
        match event {
            EvalEvent::Restoring { clip, plan } => {
                if self.last.replace(plan) != Some(plan) {
                    output::message(&format!("{clip}: {}", in_words(plan)));
                }
            }
            EvalEvent::Shrunk { clip, size } => output::message(&format!(
                "{clip}: the memory of the device is too small for the tiles: going on with tiles \
                 of {size}×{size} pixels"
            )),
            EvalEvent::Scored(ClipScore { name, mean, frames }) => {
                let Scores { psnr, ssim, .. } = mean;
                let count = frames.len();
                output::message(&format!("{name}: {count} frames, {psnr:.2} dB, SSIM {ssim:.4}"));
            }
        }
    }
}

fn in_words(plan: TilePlan) -> String {
    let frames = match plan.spec.frames() {
        0 => "all".to_owned(),
        frames => frames.to_string(),
    };
    let size = match plan.spec.size() {
        0 => "whole".to_owned(),
        size => format!("{size}×{size}"),
    };
    let memory = plan.memory.map_or_else(String::new, |memory| {
        format!(" (about {} of memory)", bytes(memory.predicted))
    });
    format!("tiles of {frames} frames, {size}{memory}")
}

fn table(report: &EvalReport, brief: bool) -> Table {
    let mut table = Table::new(["clip / frame", "frames", "PSNR", "SSIM", "PSNR-Y", "SSIM-Y"]);
    let row = |name: String, count: String, scores: Scores| {
        let Scores { psnr, ssim, psnr_y, ssim_y } = scores;
        let [psnr, psnr_y] = [psnr, psnr_y].map(|value| format!("{value:.4}"));
        let [ssim, ssim_y] = [ssim, ssim_y].map(|value| format!("{value:.6}"));
        [name, count, psnr, ssim, psnr_y, ssim_y]
    };
    for clip in &report.set.clips {
        for frame in clip.frames.iter().filter(|_| !brief) {
            let name = format!("{}/{}", clip.name, frame.name);
            table.row(row(name, String::new(), frame.scores));
        }
        table.row(row(clip.name.clone(), clip.frames.len().to_string(), clip.mean));
        if !brief {
            table.line();
        }
    }
    if brief {
        table.line();
    }
    let name = format!("mean ({})", report.protocol.name());
    table.row(row(name, report.frames.to_string(), report.set.mean));
    table
}
