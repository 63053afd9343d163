//! `vrt restore`: one video from file to file.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;
use vrt::models::builtin::WITH_SPIKES;
use vrt::models::{NoWeights, Weights};
use vrt::restore::{RestoreOptions, Summary, restore_file};
use vrt_model::Restorer;
use vrt_video::BitDepth;

use super::models::{TaskName, find, for_task};
use super::network::NetworkOptions;
use super::precision::PrecisionName;
use super::progress::Reporter;
use super::spike::VideoSpikes;
use super::stop::stop_on_signals;
use super::tile::{Recognised, TileOptions, TilingName};
use super::values::Rate;
use super::{Failure, GlobalOptions, output};

/// Name of standard input and output.
const PIPE: &str = "-";

const EXAMPLES: &str = "\
Examples:
  vrt restore old.mp4 -o better.mp4
  vrt restore noisy.mkv -o clean.mkv --task denoise --sigma 20
  vrt restore blurred.mp4 -o sharp.mp4 --weights 006
  vrt restore blurred.mp4 -o sharp.mp4 --weights 006_VRT_videodeblurring_GoPro.pth
  vrt restore frames/ -o restored/ --weights sr.safetensors --bit-depth 16
  vrt restore noisy.mkv -o clean.mkv --weights 008.pth --sigma 20 --memory 6G
  vrt restore blurred.mp4 -o sharp.mp4 --spike streams/
  ffmpeg -i in.mp4 -f yuv4mpegpipe - | vrt restore - -o out.y4m --weights deblur.pth

Inputs and outputs are folders of pictures (PNG, JPEG, TIFF, WebP, BMP; written as PNG),
.y4m files or pipes, and whatever ffmpeg reads and writes.";

/// Flags of `vrt restore`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Video, folder of pictures, or - for a YUV4MPEG2 stream
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// Where to write: video, folder, or - for a YUV4MPEG2 stream
    #[arg(long, short, value_name = "OUT")]
    output: PathBuf,
    /// Built-in network to restore with [default: restore, and deblur-spike with --spike]
    #[arg(long, value_enum, conflicts_with = "weights")]
    task: Option<TaskName>,
    /// Weights in place of the built-in ones: .pth, .safetensors, or the name of a network
    /// (`vrt models`)
    #[arg(long, value_name = "FILE|NAME")]
    weights: Option<PathBuf>,
    #[command(flatten)]
    network: NetworkOptions,
    #[command(flatten)]
    tile: TileOptions,
    /// Numbers to compute with
    #[arg(long, value_enum, default_value_t)]
    precision: PrecisionName,
    /// Bits per sample of written pictures [default: as the input]
    #[arg(long, value_enum, value_name = "BITS")]
    bit_depth: Option<Depth>,
    /// Level of the noise, for denoising weights: standard deviation in codes of 8 bits
    #[arg(long, value_name = "S")]
    sigma: Option<f64>,
    /// Restore only the first N frames
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    frames: Option<u64>,
    /// Frames per second of a folder of pictures, where a video is made of it [default: 25]
    #[arg(long, value_name = "RATE")]
    fps: Option<Rate>,
    /// Do not look for scene cuts (published tiling never does)
    #[arg(long)]
    no_scene_cuts: bool,
    /// Arguments of ffmpeg's encoder, with spaces between them, in place of the default ones
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    encoder_args: Option<String>,
    /// Replace the output if it exists
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    spike: VideoSpikes,
}

/// Names of [`BitDepth`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Depth {
    #[value(name = "8")]
    Eight,
    #[value(name = "16")]
    Sixteen,
}

impl From<Depth> for BitDepth {
    fn from(depth: Depth) -> Self {
        match depth {
            Depth::Eight => Self::Eight,
            Depth::Sixteen => Self::Sixteen,
        }
    }
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, global: &GlobalOptions) -> Result<(), Failure> {
    let to_pipe = arguments.output == Path::new(PIPE);
    if to_pipe && global.json {
        return Err(Failure::Usage(
            "--json and --output - both need standard output; write to a file".to_owned(),
        ));
    }
    let devices = global.device.open()?;
    let precision = arguments.precision.choose(&devices.list, arguments.tile.tiling())?;
    let mut reporter = Reporter::new(global, precision);
    let weights = arguments.weights(global)?;
    let (config, checkpoint) = arguments.network.load(&weights)?;
    let (path, preset) = (weights.path(), arguments.network.preset);
    let recognised = Recognised { weights: &path, config: &config, preset };
    let mut options = arguments.options()?;
    let choice = &arguments.tile;
    options.tile = choice.choose(&recognised, &devices, &mut |text| reporter.warn(text))?;
    // What does not fit is said before a large network is built.
    options.check(&config).map_err(|error| Failure::Usage(error.to_string()))?;
    let restorer = Restorer::on_all(&config, &checkpoint, &devices.list)?.with_precision(precision);
    drop(checkpoint);
    options.stop = stop_on_signals()?;
    let (input, output) = (&arguments.input, &arguments.output);
    let summary = restore_file(input, output, &restorer, &config, &options, &mut reporter);
    reporter.finish();
    conclude(&summary?, to_pipe, &reporter, global)
}

impl Arguments {
    /// The weights that are named, else the built-in ones, which is told.
    fn weights(&self, global: &GlobalOptions) -> Result<Weights, NoWeights> {
        if let Some(named) = &self.weights {
            return find(named, global);
        }
        let weights = match (self.spike.are_given(), self.task) {
            (true, None) => find(Path::new(WITH_SPIKES), global)?,
            (_, task) => for_task(task.unwrap_or_default())?,
        };
        if let (Weights::BuiltIn(network), false) = (&weights, global.json || global.quiet) {
            output::message(&format!("{}: {}", weights.path().display(), network.about));
        }
        Ok(weights)
    }

    /// The library's options, with tiles still to be chosen.
    fn options(&self) -> Result<RestoreOptions, Failure> {
        let published = self.tile.tiling == TilingName::Published;
        let encoder = self.encoder_args.as_deref();
        Ok(RestoreOptions {
            tiling: self.tile.tiling(),
            // Published numbers were made without them.
            scene_cuts: !self.no_scene_cuts && !published,
            sigma: self.sigma,
            spike: self.spike.input()?,
            frames: self.frames,
            bit_depth: self.bit_depth.map(Into::into),
            frame_rate: self.fps.map(|Rate(ratio)| ratio),
            encoder_arguments: encoder
                .map(|args| args.split_whitespace().map(Into::into).collect()),
            overwrite: self.overwrite,
            ..RestoreOptions::default()
        })
    }
}

/// Tells what the run has left.
fn conclude(
    summary: &Summary,
    to_pipe: bool,
    reporter: &Reporter,
    global: &GlobalOptions,
) -> Result<(), Failure> {
    for warning in summary.written.iter().flat_map(|written| &written.warnings) {
        reporter.warn(warning);
    }
    let path = summary.written.as_ref().and_then(|written| written.path.as_deref());
    let place = path.map_or_else(String::new, |path| format!(" in {}", path.display()));
    let frames = match summary.frames() {
        1 => "1 frame".to_owned(),
        frames => format!("{frames} frames"),
    };
    if summary.stopped {
        let left = match summary.frames() {
            0 => "nothing is written".to_owned(),
            _ => format!("{frames} whole{place}"),
        };
        return Err(Failure::Failed(format!("stopped: {left}").into()));
    }
    if global.json {
        let (frames, seconds) = (summary.frames(), summary.seconds);
        let event = json!({ "event": "done", "frames": frames, "path": path, "seconds": seconds });
        return Ok(output::json(&event)?);
    }
    let line = format!("{frames}{place}, {:.1} s", summary.seconds);
    match to_pipe {
        true if !global.quiet => output::message(&line),
        true => {}
        false => output::result(&line)?,
    }
    Ok(())
}
