//! `vrt spike raster`: when a pixel fires.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use vrt::spike::raster;
use vrt_video::{BitDepth, write_picture};

use super::StreamOptions;
use crate::cli::{Failure, GlobalOptions, output};

/// Most frames of a plot.
const MOST: u64 = 1 << 18;

/// Flags of `vrt spike raster`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    /// The stream: .dat, .npy or .npz
    stream: PathBuf,
    /// The plot: a bar for every spike, 512 frames a line
    #[arg(long, short, value_name = "FILE.png")]
    output: PathBuf,
    /// Which pixel, counted from the top left [default: the middle]
    #[arg(long, value_name = "X,Y")]
    pixel: Option<Place>,
    /// The first frame
    #[arg(long, value_name = "T", default_value_t = 0)]
    from: u64,
    /// How many frames [default: all]
    #[arg(long, value_name = "N")]
    frames: Option<u64>,
    /// Replace the plot if it exists
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    options: StreamOptions,
}

/// Column and row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place([usize; 2]);

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sides = text.split_once(',');
        let place = sides.and_then(|(x, y)| Some([x.trim().parse().ok()?, y.trim().parse().ok()?]));
        place
            .map(Self)
            .ok_or_else(|| format!("{text:?} is no pixel; write column and row as 320,180"))
    }
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, global: &GlobalOptions) -> Result<(), Failure> {
    let mut stream = arguments.options.open(&arguments.stream)?;
    let g = stream.geometry();
    let [x, y] = arguments.pixel.map_or([g.width() / 2, g.height() / 2], |place| place.0);
    if x >= g.width() || y >= g.height() {
        return Err(Failure::Usage(format!("frames of {g} have no pixel {x},{y}")));
    }
    let (from, all) = (arguments.from, stream.frames());
    let count = arguments.frames.unwrap_or_else(|| all.saturating_sub(from));
    let end = from.saturating_add(count);
    if count == 0 || end > all || count > MOST {
        return Err(Failure::Usage(format!(
            "the stream has no frames {from} to {}: it has {all}, and a plot at most {MOST}",
            end.saturating_sub(1)
        )));
    }
    let fires = stream.spikes_of([x, y], from..end)?;
    write_picture(&arguments.output, &raster(&fires), BitDepth::Eight, arguments.overwrite)?;
    let spikes = fires.iter().filter(|fires| **fires).count();
    if global.json {
        return Ok(output::json(&serde_json::json!({
            "pixel": [x, y], "from": from, "frames": count, "spikes": spikes,
            "output": arguments.output,
        }))?);
    }
    Ok(output::result(&format!(
        "{}: pixel {x},{y} fires in {spikes} of {count} frames",
        arguments.output.display()
    ))?)
}
