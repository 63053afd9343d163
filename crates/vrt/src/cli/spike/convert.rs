//! `vrt spike convert` and `play`: what a stream tells.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use vrt::spike::{Content, ConvertError, ConvertOptions, Times, convert};
use vrt_spike::{CEILING, Method};
use vrt_video::{BitDepth, Programs};

use super::StreamOptions;
use crate::cli::values::Rate;
use crate::cli::{Failure, GlobalOptions, output};

/// Pictures between two words on how far it is.
const PICTURES_BETWEEN: u64 = 500;

const HELP: &str = "\
tfp (texture from playback) is how often a pixel fires around the time of a picture, tfi (texture \
from interval) one over the time between the spikes around it, mean how often it fires in the whole \
stream; all of them times the ceiling: a pixel that fires in half of the frames is white. spikes \
are the zeros and ones themselves.

Examples:
  vrt spike convert 000226.dat -o 226.png --size 640x360
  vrt spike convert long.dat -o frames/ --camera 400x250 --every 40
  vrt spike convert 000226.dat -o 226.npy --size 640x360 --method spikes
  vrt spike play 000226.dat -o 226.mp4 --size 640x360";

/// What pictures are like.
#[derive(Args, Clone, Debug)]
struct PictureOptions {
    /// Frames on each side of a picture's time that tfp looks at
    #[arg(long, value_name = "N", default_value_t = 20)]
    half_window: u64,
    /// What a pixel that always fires is worth
    #[arg(long, value_name = "X", default_value_t = CEILING, value_parser = ceiling)]
    ceiling: f32,
    /// Pictures a second of a video
    #[arg(long, value_name = "RATE", default_value = "25")]
    fps: Rate,
    /// Replace the output if it exists
    #[arg(long)]
    overwrite: bool,
}

/// Flags of `vrt spike convert`.
#[derive(Args, Clone, Debug)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// The stream: .dat, .npy or .npz
    stream: PathBuf,
    /// By its ending: .png, .npy, .dat, .y4m, .mp4 and other videos, or a folder of pictures
    #[arg(long, short, value_name = "OUT")]
    output: PathBuf,
    /// What is made of the stream
    #[arg(long, value_enum, default_value = "tfp")]
    method: MethodName,
    /// Time of the picture: a frame, middle, or all
    #[arg(long, value_name = "middle|T|all", default_value = "middle", conflicts_with = "every")]
    at: At,
    /// Pictures of every Nth frame
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    every: Option<u64>,
    #[command(flatten)]
    pictures: PictureOptions,
    #[command(flatten)]
    options: StreamOptions,
}

/// Flags of `vrt spike play`.
#[derive(Args, Clone, Debug)]
pub(crate) struct PlayArguments {
    /// The stream: .dat, .npy or .npz
    stream: PathBuf,
    /// The video: .mp4, .mkv, .y4m …, or - for YUV4MPEG2 on standard output
    #[arg(long, short, value_name = "OUT")]
    output: PathBuf,
    /// What pictures are made of
    #[arg(long, value_enum, default_value = "tfp")]
    method: Playable,
    /// A picture of every Nth frame
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
    #[command(flatten)]
    pictures: PictureOptions,
    #[command(flatten)]
    options: StreamOptions,
}

/// Names of what is made of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum MethodName {
    /// How often a pixel fires around a time
    Tfp,
    /// One over the time between two spikes
    Tfi,
    /// How often a pixel fires at all
    Mean,
    /// Zeros and ones
    Spikes,
}

/// Those that have a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Playable {
    /// How often a pixel fires around a time
    Tfp,
    /// One over the time between two spikes
    Tfi,
}

/// `--at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct At(Times);

impl FromStr for At {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "middle" => Ok(Self(Times::Middle)),
            "all" => Ok(Self(Times::Every(1))),
            number => number
                .parse()
                .map(|at| Self(Times::At(at)))
                .map_err(|_| format!("{text:?} is no time; write a frame's number, middle or all")),
        }
    }
}

fn ceiling(text: &str) -> Result<f32, String> {
    let found = text.parse().ok().filter(|value: &f32| value.is_finite() && *value > 0.0);
    found.ok_or_else(|| format!("{text:?} is no number above 0"))
}

/// Runs `vrt spike convert`.
pub(crate) fn run(arguments: &Arguments, global: &GlobalOptions) -> Result<(), Failure> {
    let half_window = arguments.pictures.half_window;
    let content = match arguments.method {
        MethodName::Tfp => Content::Pictures(Method::Playback { half_window }),
        MethodName::Tfi => Content::Pictures(Method::Interval),
        MethodName::Mean => Content::Pictures(Method::Mean),
        MethodName::Spikes => Content::Spikes,
    };
    let times = arguments.every.map_or(arguments.at.0, Times::Every);
    let Arguments { stream, output, pictures, options, .. } = arguments;
    made(stream, output, options, conversion(content, times, pictures), global)
}

/// Runs `vrt spike play`.
pub(crate) fn play(arguments: &PlayArguments, global: &GlobalOptions) -> Result<(), Failure> {
    let PlayArguments { stream, output, method, every, pictures, options } = arguments;
    let method = match method {
        Playable::Tfp => Method::Playback { half_window: pictures.half_window },
        Playable::Tfi => Method::Interval,
    };
    let content = Content::Pictures(method);
    made(stream, output, options, conversion(content, Times::Every(*every), pictures), global)
}

fn conversion(content: Content, times: Times, pictures: &PictureOptions) -> ConvertOptions {
    ConvertOptions {
        content,
        times,
        ceiling: pictures.ceiling,
        frame_rate: pictures.fps.0,
        bit_depth: BitDepth::Eight,
        overwrite: pictures.overwrite,
        programs: Programs::default(),
    }
}

fn made(
    from: &std::path::Path,
    to: &std::path::Path,
    options: &StreamOptions,
    conversion: ConvertOptions,
    global: &GlobalOptions,
) -> Result<(), Failure> {
    let mut stream = options.open(from)?;
    let mut on_picture = |done: u64, all: u64| {
        if done.is_multiple_of(PICTURES_BETWEEN) {
            global.tell(&format!("{done} of {all} pictures"));
        }
    };
    let found = convert(&mut stream, to, &conversion, &mut on_picture);
    let found = found.map_err(|error| match error {
        ConvertError::MeanAt | ConvertError::Ending { .. } => Failure::Usage(error.to_string()),
        error => Failure::failed(error),
    })?;
    if global.json {
        return Ok(output::json(&serde_json::json!({
            "stream": from, "output": to, "frames": found.frames, "written": found.written,
            "notes": found.notes,
        }))?);
    }
    found.notes.iter().for_each(|note| global.tell(note));
    let what = match conversion.content {
        Content::Spikes => "frames of spikes",
        Content::Pictures(_) if found.written == 1 => "picture",
        Content::Pictures(_) => "pictures",
    };
    let text = format!("{} of {}: {} {what}", to.display(), from.display(), found.written);
    // A stream of pictures may be on standard output.
    if to == std::path::Path::new("-") {
        global.tell(&text);
        return Ok(());
    }
    Ok(output::result(&text)?)
}
