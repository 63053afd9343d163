//! `vrt data simulate`: clips to train on, made of still pictures.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::{Args, ValueEnum};
use vrt_video::{Part, SimulationOptions, SpikeCamera, SpikesBeside, simulate};

use super::spikes::{CameraOptions, refused};
use crate::cli::values::Size;
use crate::cli::{Failure, GlobalOptions, output};

/// Clips between two words on how far it is.
const CLIPS_BETWEEN: usize = 20;

const HELP: &str = "\
Every clip is a camera that shakes, turns, zooms and tilts before a part of a still, in half of the \
clips with shapes of another still moving before it. A degraded frame is the mean, in linear light, \
of what the camera sees while its shutter is open, with noise and, for some clips, H.264; the sharp \
frame is the instant in the middle. Stills are shrunk by 1.5 to 4 first, so use large ones; of several places the one with the most \
detail is shown.

DEST gets GT/000000/00000000.png, the same below LQ, the clip list meta_info.txt, and simulate.json \
with what was drawn; with --spikes also SPIKE/000000/00000000.dat. It must be new or empty. The same options and stills make the same clips.

Examples:
  vrt data simulate photos trainsets/simulated --clips 500 --seed 1
  vrt data simulate photos testsets/simulated --clips 8 --part test --size 256x256
  vrt data simulate photos trainsets/x2 --upscale 2 --max-blur 8 --noise 8";

/// Flags of `vrt data simulate`.
#[derive(Args, Clone, Debug)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// Folder of pictures, with those in folders below it
    stills: PathBuf,
    /// Folder to write clips to
    destination: PathBuf,
    /// How many clips
    #[arg(long, default_value_t = 100)]
    clips: usize,
    /// Frames of a clip
    #[arg(long, default_value_t = 16)]
    frames: usize,
    /// Width and height of sharp frames
    #[arg(long, value_name = "WxH", default_value = "192x192")]
    size: Size,
    /// What settles all that is drawn
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Which stills: every tenth, in the order of names, is for testing
    #[arg(long, value_enum, default_value = "train")]
    part: PartName,
    /// Sharp frames are larger than degraded ones by this
    #[arg(long, value_name = "N", default_value_t = 1)]
    upscale: usize,
    /// The least that is drawn for the longest blur of a moving clip, in pixels of a sharp frame;
    /// a still too small for the way has less
    #[arg(long, value_name = "PX", default_value_t = 2.0)]
    min_blur: f64,
    /// The longest blur, in pixels of a sharp frame
    #[arg(long, value_name = "PX", default_value_t = 20.0)]
    max_blur: f64,
    /// Share of clips that hardly move and are otherwise clean
    #[arg(long, value_name = "SHARE", default_value_t = 0.15)]
    still_share: f64,
    /// The strongest noise: its deviation in middle grey, of 255
    #[arg(long, value_name = "MAX", default_value_t = 4.0)]
    noise: f64,
    /// Share of the other clips that go through H.264, at a rate factor of 16 to 28
    #[arg(long, value_name = "SHARE", default_value_t = 0.5)]
    compress_share: f64,
    /// Add a stream of so many frames of spikes for every frame, seen while its shutter is open
    #[arg(long, value_name = "N")]
    spikes: Option<usize>,
    #[command(flatten)]
    camera: CameraOptions,
}

/// Names of parts.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum PartName {
    Train,
    Test,
    All,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, global: &GlobalOptions) -> Result<(), Failure> {
    let camera = arguments.camera.camera();
    if arguments.spikes.is_none() && camera != SpikeCamera::default() {
        let what = "there is no spike camera without --spikes, which says how many frames it takes";
        return Err(Failure::Usage(what.to_owned()));
    }
    let options = options(arguments);
    let done = AtomicUsize::new(0);
    let on_clip = |_: &_| {
        let done = done.fetch_add(1, Ordering::Relaxed) + 1;
        if done.is_multiple_of(CLIPS_BETWEEN) {
            global.tell(&format!("{done} of {} clips", options.clips));
        }
    };
    let set = simulate(&arguments.stills, &arguments.destination, &options, &on_clip);
    let set = set.map_err(refused)?;
    if global.json {
        return Ok(output::json(&set)?);
    }
    Ok(output::result(&format!(
        "{}: {} clips, {} frames of {} stills; list {}",
        arguments.destination.display(),
        set.clips,
        set.frames,
        set.stills,
        set.list.display()
    ))?)
}

fn options(arguments: &Arguments) -> SimulationOptions {
    let Size { width, height } = arguments.size;
    SimulationOptions {
        clips: arguments.clips,
        frames: arguments.frames,
        width,
        height,
        seed: arguments.seed,
        part: match arguments.part {
            PartName::Train => Part::Train,
            PartName::Test => Part::Test,
            PartName::All => Part::All,
        },
        upscale: arguments.upscale,
        min_blur: arguments.min_blur,
        max_blur: arguments.max_blur,
        still_share: arguments.still_share,
        noise: arguments.noise,
        compress_share: arguments.compress_share,
        spikes: arguments
            .spikes
            .map(|frames| SpikesBeside { frames, camera: arguments.camera.camera() }),
        ..SimulationOptions::default()
    }
}
