//! `vrt spike`: streams of spike cameras.

mod channel;
mod convert;
mod info;
mod raster;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use vrt_spike::{BitOrder, Camera, SpikeError, SpikeStream, Stated};

pub(crate) use channel::{SetSpikes, VideoSpikes};

use super::values::Size;
use super::{Failure, GlobalOptions};

/// Flags of `vrt spike`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Tells frames and firing rates
    Info(info::Arguments),
    /// Makes a video of a stream
    Play(convert::PlayArguments),
    /// Makes pictures, a video or an array of a stream, or another stream
    Convert(convert::Arguments),
    /// Plots when a pixel fires
    Raster(raster::Arguments),
}

/// How the frames of a stream lie.
#[derive(Args, Clone, Debug)]
pub(crate) struct StreamOptions {
    /// Columns and rows of a frame [default: spike_w and spike_h of config.yaml beside the stream
    /// or up to four folders above]
    #[arg(long, value_name = "WxH", conflicts_with = "camera")]
    size: Option<Size>,
    /// Columns that are stored where these are more than are shown, such as header columns
    #[arg(long, value_name = "N")]
    stored_width: Option<usize>,
    /// A known camera, or a public set, in place of the size
    #[arg(long, value_name = "NAME", value_parser = camera)]
    camera: Option<Camera>,
    /// The file with spike_w and spike_h
    #[arg(long, value_name = "FILE", conflicts_with_all = ["size", "camera"])]
    config: Option<PathBuf>,
    /// Which bit of a byte is its first pixel
    #[arg(long, value_enum, default_value = "lsb")]
    bit_order: OrderName,
    /// Rows are stored from the top down, not from the bottom up
    #[arg(long)]
    upright: bool,
}

/// Names of [`BitOrder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OrderName {
    /// The least significant one
    Lsb,
    /// The most significant one
    Msb,
}

impl From<OrderName> for BitOrder {
    fn from(name: OrderName) -> Self {
        match name {
            OrderName::Lsb => Self::LeastFirst,
            OrderName::Msb => Self::MostFirst,
        }
    }
}

fn camera(name: &str) -> Result<Camera, String> {
    Camera::named(name).ok_or_else(|| {
        let known = Camera::KNOWN.map(|camera| camera.name).join(", ");
        format!("no camera of that name is known; there are {known}")
    })
}

impl StreamOptions {
    fn open(&self, path: &Path) -> Result<SpikeStream, Failure> {
        let stated = Stated {
            size: self.size.map(|size| (size.width, size.height)),
            stored_width: self.stored_width,
            camera: self.camera,
            config: self.config.clone(),
            order: self.bit_order.into(),
            upright: self.upright,
        };
        SpikeStream::find(path, &stated).map_err(|error| match error {
            // What is missing on the command line is wrong usage; what files hold is not.
            SpikeError::NoGeometry { .. } => {
                Failure::Usage(format!("{error} (--size WxH, or --camera NAME)"))
            }
            error => Failure::failed(error),
        })
    }
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, global: &GlobalOptions) -> Result<(), Failure> {
    match &arguments.command {
        Command::Info(arguments) => info::run(arguments, global),
        Command::Play(arguments) => convert::play(arguments, global),
        Command::Convert(arguments) => convert::run(arguments, global),
        Command::Raster(arguments) => raster::run(arguments, global),
    }
}
