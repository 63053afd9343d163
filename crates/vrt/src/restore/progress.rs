//! What is told about a run while it goes on, and when it is over.

use serde::Serialize;
use vrt_model::tiled::Tiling;
use vrt_video::{FrameRate, StreamInfo, Written};

use super::planning::TilePlan;

/// Hears how a run goes.
pub trait Progress {
    /// Something happened. Called between parts of the network, on the thread that computes.
    fn on_event(&mut self, event: &Event);
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn on_event(&mut self, _: &Event) {}
}

/// Something that happened in a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It is settled what will be done.
    Planned(Plan),
    /// It went on.
    Moved(Status),
    /// A tile was too large for the memory of the device: from the window under way on, tiles have
    /// so many rows and columns.
    Shrunk {
        /// Rows and columns of a tile.
        size: usize,
    },
}

/// Size and length of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StreamSize {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Frames in all, if known.
    pub frames: Option<u64>,
    /// Frames per second; `None` if only their order is known.
    pub rate: Option<f64>,
}

impl StreamSize {
    pub(super) fn of(info: &StreamInfo) -> Self {
        let rate = info.frame_rate.map(|rate| {
            let (FrameRate::Constant(ratio) | FrameRate::Variable(ratio)) = rate;
            f64::from(ratio.numerator) / f64::from(ratio.denominator)
        });
        Self { width: info.width, height: info.height, frames: info.frames, rate }
    }
}

/// What will be done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plan {
    /// What is read.
    pub input: StreamSize,
    /// What is written.
    pub output: StreamSize,
    /// How tiles are put together.
    pub tiling: Tiling,
    /// How large they are.
    pub tile: TilePlan,
}

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Frames of the next window are read.
    Reading,
    /// A window is restored.
    Restoring,
    /// All frames are restored; the output is completed.
    Finishing,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Status {
    /// What it is doing.
    pub stage: Stage,
    /// Restored frames that were handed on to be written.
    pub frames: u64,
    /// The same, with the share of the window under way.
    pub estimate: f64,
    /// Frames that will be written, if known.
    pub total: Option<u64>,
    /// Tiles of the window under way: done, and in all.
    pub tiles: (usize, usize),
}

/// What a run has left.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Frames written, where, and what could not be kept; `None` if the run was stopped before the
    /// first frame was whole.
    pub written: Option<Written>,
    /// Whether it was stopped before the last frame.
    pub stopped: bool,
    /// How long restoring took.
    pub seconds: f64,
}

impl Summary {
    pub(super) fn new(written: Option<Written>, seconds: f64, stopped: bool) -> Self {
        Self { written, stopped, seconds }
    }

    /// Frames written.
    pub fn frames(&self) -> u64 {
        self.written.as_ref().map_or(0, |written| written.frames)
    }
}
