//! `--spike`: spikes beside the frames of a video.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use vrt::restore::{Clock, SpikeInput};
use vrt_spike::{CEILING, Camera, Method, Stated};
use vrt_video::{Registration, SpikeTree};

use super::{OrderName, camera};
use crate::cli::Failure;
use crate::cli::values::Size;

/// Extension of the streams of a set.
const STREAM: &str = "dat";

/// Flags of commands that take spikes beside the frames of a video.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Spikes, for RGB+spike weights")]
pub(crate) struct VideoSpikes {
    /// Folder of one stream (.dat, .npy, .npz) or grey image a frame, or one stream of all frames
    #[arg(id = "spike", long = "spike", value_name = "DIR|FILE")]
    path: Option<PathBuf>,
    #[command(flatten)]
    reading: ReadingOptions,
    #[command(flatten)]
    clock: ClockOptions,
}

/// Flags of commands that take spikes beside the frames of a set.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Spikes, for RGB+spike weights")]
pub(crate) struct SetSpikes {
    /// Folder with a stream of every frame to restore: CLIP/FRAME.dat or CLIP/spike/FRAME.dat below
    /// it; a star in it stands for CLIP
    #[arg(id = "spike", long = "spike", value_name = "DIR")]
    root: Option<PathBuf>,
    #[command(flatten)]
    reading: ReadingOptions,
}

/// Flags on how streams are read.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Spikes, for RGB+spike weights")]
struct ReadingOptions {
    /// Columns and rows of a stream's frames [default: spike_w and spike_h of config.yaml beside it
    /// or up to four folders above]
    #[arg(long = "spike-size", value_name = "WxH", requires = "spike", conflicts_with = "camera")]
    size: Option<Size>,
    /// Columns that are stored where these are more than are shown
    #[arg(long = "spike-stored-width", value_name = "N", requires = "spike")]
    stored_width: Option<usize>,
    /// A known camera, or a public set, in place of the size
    #[arg(long = "spike-camera", value_name = "NAME", value_parser = camera, requires = "spike")]
    camera: Option<Camera>,
    /// Which bit of a byte is its first pixel
    #[arg(long = "spike-bit-order", value_enum, default_value = "lsb", requires = "spike")]
    bit_order: OrderName,
    /// Rows are stored from the top down
    #[arg(long = "spike-upright", requires = "spike")]
    upright: bool,
    /// How a stream becomes one channel; several are means of its parts
    #[arg(long = "spike-method", value_enum, default_value = "tfp", requires = "spike")]
    method: ChannelMethod,
    /// Frames of the stream on each side of a frame's time that tfp looks at
    #[arg(long = "spike-half-window", value_name = "N", default_value_t = 20, requires = "spike")]
    half_window: u64,
    /// Where pixels of frames are on the spike camera's picture: a file of 6 numbers (affine) or 9
    /// (homography), row by row [default: both show the same, edge to edge]
    #[arg(long = "spike-align", value_name = "FILE", requires = "spike")]
    align: Option<PathBuf>,
}

/// Flags that say when frames were taken, in one stream of all of them.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Spikes, for RGB+spike weights")]
struct ClockOptions {
    /// In one stream of all frames: frames of the stream from one frame of video to the next, such
    /// as 800 for 20 kHz beside 25 frames a second
    #[arg(long = "spike-step", value_name = "N", requires = "spike", value_parser = above_zero)]
    step: Option<f64>,
    /// In one stream of all frames: the frame of the stream at which the first one was taken
    /// [default: 0, or for weights with several spike channels the middle of a window that the stream
    /// begins with]
    #[arg(long = "spike-first", value_name = "N", requires = "step")]
    first: Option<f64>,
    /// In one stream of all frames: a file with the frame of the stream of every frame of video,
    /// one a line
    #[arg(long = "spike-times", value_name = "FILE", requires = "spike", conflicts_with = "step")]
    times: Option<PathBuf>,
    /// In one stream of all frames, for weights with several spike channels: frames of the stream
    /// around a frame's time that they are parts of [default: those of --spike-step]
    #[arg(long = "spike-window", value_name = "N", requires = "spike")]
    window: Option<u64>,
}

/// Names of [`Method`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ChannelMethod {
    /// How often a pixel fires around a frame's time
    Tfp,
    /// One over the time between two spikes
    Tfi,
    /// How often a pixel fires in a frame's stream
    Mean,
}

fn above_zero(text: &str) -> Result<f64, String> {
    let found = text.parse().ok().filter(|value: &f64| value.is_finite() && *value > 0.0);
    found.ok_or_else(|| format!("{text:?} is no number above 0"))
}

impl VideoSpikes {
    /// Whether spikes were stated.
    pub(crate) fn are_given(&self) -> bool {
        self.path.is_some()
    }

    /// What was stated, if anything.
    ///
    /// # Errors
    ///
    /// Fails if the file of --spike-align is no registration.
    pub(crate) fn input(&self) -> Result<Option<SpikeInput>, Failure> {
        let Some(path) = self.path.clone() else { return Ok(None) };
        let (window, clock) = (self.clock.window, self.clock.clock());
        if window.is_some() && clock.is_none() {
            let what = "--spike-window goes with --spike-step or --spike-times";
            return Err(Failure::Usage(what.to_owned()));
        }
        Ok(Some(SpikeInput {
            path,
            stated: self.reading.stated(),
            method: self.reading.method(),
            ceiling: CEILING,
            align: self.reading.align()?,
            clock,
            window,
        }))
    }
}

impl SetSpikes {
    /// The tree that was stated, if any.
    ///
    /// # Errors
    ///
    /// Fails if it is a file, or that of --spike-align is no registration.
    pub(crate) fn tree(&self) -> Result<Option<SpikeTree>, Failure> {
        let Some(root) = self.root.clone() else { return Ok(None) };
        if root.is_file() {
            let what = "is a file: of a set, --spike is the folder with CLIP/FRAME.dat";
            return Err(Failure::failed(format!("{} {what}", root.display())));
        }
        Ok(Some(SpikeTree {
            root,
            align: self.reading.align()?,
            stated: self.reading.stated(),
            method: self.reading.method(),
            channels: 1,
            ceiling: CEILING,
            extension: STREAM.to_owned(),
        }))
    }
}

impl ReadingOptions {
    fn align(&self) -> Result<Option<Registration>, Failure> {
        Ok(self.align.as_deref().map(Registration::read).transpose()?)
    }

    fn stated(&self) -> Stated {
        Stated {
            size: self.size.map(|size| (size.width, size.height)),
            stored_width: self.stored_width,
            camera: self.camera,
            config: None,
            order: self.bit_order.into(),
            upright: self.upright,
        }
    }

    fn method(&self) -> Method {
        match self.method {
            ChannelMethod::Tfp => Method::Playback { half_window: self.half_window },
            ChannelMethod::Tfi => Method::Interval,
            ChannelMethod::Mean => Method::Mean,
        }
    }
}

impl ClockOptions {
    fn clock(&self) -> Option<Clock> {
        let steady = self.step.map(|step| Clock::Steady { first: self.first, step });
        self.times.clone().map(Clock::File).or(steady)
    }
}
