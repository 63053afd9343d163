//! Restores a clip of any size piece by piece: cut in space and time, restore, put together.
//!
//! ```text
//! frames ─► WindowStream ─► clip of a few frames ─► restore_window ─► tiles ─► ClipModel
//!                ▲                                        │
//! frames ◄───────┴──────────── restored clip ◄────────────┘
//! ```
//!
//! [`TemporalWindows`] is the stream of windows for networks that restore every frame,
//! [`Interpolation`] the one for networks that make the frame between two. [`restore_window`] cuts
//! a window into tiles in space; [`Batches`] does so for as many windows as there are models, in
//! tiles that fit in their memory. [`plan`] chooses tile sizes for the memory there is.

mod axis;
mod batches;
mod interpolation;
mod lanes;
mod plan;
mod space;
#[cfg(test)]
mod tests;
mod time;

pub use batches::{Batches, FailedBatch, Moved, WatchBatch};
pub use interpolation::Interpolation;
pub use plan::{ClipSize, PlanError, PlanLimits, plan};
pub use space::{restore_window, restore_windows};
pub use time::TemporalWindows;

use std::ops::ControlFlow;

use crate::volume::{Volume, VolumeError};

/// Hears what share of a clip is restored, 0…1, and says whether to go on.
pub type Watch<'a> = dyn FnMut(f32) -> ControlFlow<()> + 'a;

/// How far a window is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Done {
    /// Tiles that are restored.
    pub tiles: usize,
    /// Tiles in all.
    pub of: usize,
    /// Share of the window that is restored, 0…1, the tile under way included.
    pub share: f32,
}

/// Something that restores a short clip of small frames.
pub trait ClipModel: Sync + Sized {
    /// Why a clip could not be restored.
    type Error: std::error::Error + Send + 'static;

    /// Output pixels per input pixel along each side; at least 1.
    fn scale(&self) -> usize;

    /// Frames, rows and columns of an attention window.
    ///
    /// Published tiling pads whole clips and frames to multiples of it.
    fn window(&self) -> [usize; 3];

    /// Restores one clip.
    ///
    /// The output is [`scale`](Self::scale) times as high and wide. It has as many frames as
    /// `clip`, or one if the network makes the frame in the middle; its channels may be fewer.
    ///
    /// # Errors
    ///
    /// If the clip cannot be restored; the tiles then stop and hand the error on.
    fn restore(&self, clip: Volume) -> Result<Volume, Self::Error>;

    /// The same, telling `watch` on the way how far it is; `None` if that said to break off. A
    /// model that cannot tell restores the clip to its end.
    ///
    /// # Errors
    ///
    /// As [`restore`](Self::restore).
    fn restore_watched(
        &self,
        clip: Volume,
        _watch: &mut Watch<'_>,
    ) -> Result<Option<Volume>, Self::Error> {
        self.restore(clip).map(Some)
    }

    /// Models that restore the same, at the same time as this one: on other devices, say. Whoever
    /// has several tiles gives each model the next one.
    fn helpers(&self) -> &[Self] {
        &[]
    }

    /// Whether a clip may turn out too large for the memory of a device. Who restores tiles then
    /// keeps what they were cut from, to cut it smaller.
    fn memory_may_lack(&self) -> bool {
        false
    }

    /// Whether a clip could not be restored because that memory was too small for it.
    fn lacked_memory(_error: &Self::Error) -> bool {
        false
    }
}

/// How tiles are placed and put together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tiling {
    /// Evenly placed tiles that fade into each other: no seam to see or measure.
    #[default]
    Seamless,
    /// What the numbers in papers were made with: fixed steps, plain averages, hard borders.
    Published,
}

/// Why a tile specification makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Windows in time would not advance.
    #[error(
        "tiles of {frames} frames cannot overlap by {overlap} frames; overlap by at most {}",
        frames - 1
    )]
    Frames {
        /// Frames of a tile.
        frames: usize,
        /// Frames shared with the next one.
        overlap: usize,
    },
    /// Tiles in space would not advance.
    #[error("tiles of {size} pixels cannot overlap by {overlap} pixels; overlap by at most {}", size - 1)]
    Size {
        /// Rows and columns of a tile.
        size: usize,
        /// Pixels shared with the next one.
        overlap: usize,
    },
}

/// Sizes of tiles, in input frames and pixels; one that exists makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TileSpec {
    frames: usize,
    size: usize,
    overlap_frames: usize,
    overlap_size: usize,
}

impl TileSpec {
    /// The whole clip at once. Memory then grows with the clip.
    pub const WHOLE: Self = Self { frames: 0, size: 0, overlap_frames: 0, overlap_size: 0 };

    /// Fewest rows and columns that [`halved`](Self::halved) tiles have.
    pub const SMALLEST: usize = 32;

    /// Tiles of `frames` frames (0: all) and `size` rows and columns (0: all), each neighbour
    /// sharing at least the overlap.
    ///
    /// # Errors
    ///
    /// If an overlap is not below its tile.
    pub fn new(
        frames: usize,
        size: usize,
        overlap_frames: usize,
        overlap_size: usize,
    ) -> Result<Self, SpecError> {
        if frames > 0 && overlap_frames >= frames {
            let overlap = overlap_frames;
            return Err(SpecError::Frames { frames, overlap });
        }
        if size > 0 && overlap_size >= size {
            let overlap = overlap_size;
            return Err(SpecError::Size { size, overlap });
        }
        Ok(Self { frames, size, overlap_frames, overlap_size })
    }

    /// Tiles of half as many rows and columns, for frames of this size; `None` where they would
    /// have fewer than [`SMALLEST`](Self::SMALLEST).
    #[must_use]
    pub fn halved(&self, [height, width]: [usize; 2]) -> Option<Self> {
        let longer = height.max(width);
        let now = if self.size == 0 { longer } else { self.size.min(longer) };
        let size = now / 2;
        let overlap_size = self.overlap_size.min(size / 2);
        (size >= Self::SMALLEST).then_some(Self { size, overlap_size, ..*self })
    }

    /// Frames of a tile; 0 is the whole scene.
    #[must_use]
    pub fn frames(&self) -> usize {
        self.frames
    }

    /// Rows and columns of a tile; 0 is the whole frame.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Frames that windows in time share.
    #[must_use]
    pub fn overlap_frames(&self) -> usize {
        self.overlap_frames
    }

    /// Pixels that tiles in space share.
    #[must_use]
    pub fn overlap_size(&self) -> usize {
        self.overlap_size
    }
}

/// Why a clip could not be restored in tiles.
#[derive(Debug, thiserror::Error)]
pub enum TiledError<E: std::error::Error + 'static> {
    /// The model failed.
    #[error(transparent)]
    Model(E),
    /// The model's output has not the size its input and scale call for.
    #[error(
        "a tile came back as {got:?} (frames, height, width, channels) where {expected:?} was due; \
         the model does not fit its stated scale"
    )]
    TileShape {
        /// Frames, height, width, channels that were due.
        expected: [usize; 4],
        /// What came.
        got: [usize; 4],
    },
    /// Frames or windows do not fit together.
    #[error(transparent)]
    Window(#[from] WindowError),
    /// A volume cannot be held.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// Whoever watched said to break off.
    #[error("restoring was broken off")]
    Stopped,
}

/// Which of several clips could not be restored, and why.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct FailedWindow<E: std::error::Error + 'static> {
    /// Its place among them.
    pub window: usize,
    /// Why.
    pub source: TiledError<E>,
}

impl<E: std::error::Error + 'static> FailedWindow<E> {
    /// Whether a tile was too large for the memory of a device.
    fn lacked_memory<M: ClipModel<Error = E>>(&self) -> bool {
        matches!(&self.source, TiledError::Model(error) if M::lacked_memory(error))
    }
}

/// Why a stream of windows cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// A frame differs from those before it.
    #[error(
        "frame {frame} is {got:?} (frames, height, width, channels), but the clip began with {expected:?}; \
         all frames of a clip must have one size"
    )]
    FrameShape {
        /// Which frame, counted from 0.
        frame: usize,
        /// What the first frame was.
        expected: [usize; 4],
        /// What this one is.
        got: [usize; 4],
    },
    /// A restored window has not the shape of those before it, or not the frames it went out with.
    #[error(
        "the window from frame {first_frame} came back as {got:?} (frames, height, width, channels) \
         where {expected:?} was due"
    )]
    WindowShape {
        /// First frame of the window, counted from 0.
        first_frame: usize,
        /// Frames, height, width, channels that were due.
        expected: [usize; 4],
        /// What came.
        got: [usize; 4],
    },
    /// A restored window came that had not been asked for.
    #[error("a restored window came back that was never handed out")]
    NotRequested,
    /// A window cannot be held.
    #[error(transparent)]
    Volume(#[from] VolumeError),
}

/// Frames to restore together.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// The first frame this window is about, counted from 0 over the whole clip.
    pub first_frame: usize,
    /// The frames.
    pub clip: Volume,
}

/// Turns a stream of frames into windows to restore, and restored windows into a stream of frames.
///
/// Frames go in one at a time. A window comes out as soon as its frames are there; restored
/// windows go back in the order they came out, several may be under way. Finished frames come
/// out in order, each as soon as no later window can change it.
///
/// ```text
/// for each frame:  push ─► maybe a window ─► restore ─► put_back ─► pop while there are frames
/// at cuts and end: end_scene ─► maybe a window ─► … the same
/// ```
pub trait WindowStream {
    /// Takes the next frame; hands out a window if it is complete now.
    ///
    /// # Errors
    ///
    /// If `frame` is not one frame of the shape the clip began with, or memory is short.
    fn push(&mut self, frame: Volume) -> Result<Option<Window>, WindowError>;

    /// Ends the scene at the frame pushed last: no window reaches across. Also ends the clip.
    ///
    /// Hands out the last window of the scene, if it has one.
    ///
    /// # Errors
    ///
    /// If memory is short.
    fn end_scene(&mut self) -> Result<Option<Window>, WindowError>;

    /// Takes back the oldest window that is under way, restored.
    ///
    /// # Errors
    ///
    /// If none is under way or the shape is not the one due; nothing has changed then.
    fn put_back(&mut self, restored: Volume) -> Result<(), WindowError>;

    /// The next finished frame, as a volume of one frame.
    fn pop(&mut self) -> Option<Volume>;

    /// Frames held now, input and output together, without the windows handed out.
    fn held_frames(&self) -> usize;
}

/// Restores a clip that is in memory as a whole, as one scene.
///
/// # Errors
///
/// If the model fails, its output does not fit, or memory is short.
pub fn restore_clip<M: ClipModel>(
    model: &M,
    clip: &Volume,
    spec: &TileSpec,
    tiling: Tiling,
) -> Result<Volume, TiledError<M::Error>> {
    let mut stream = TemporalWindows::new(spec, tiling, model.window()[0]);
    restore_scenes(model, &mut stream, [clip], spec, tiling)
}

/// Drives a stream over scenes that are in memory.
fn restore_scenes<'a, M: ClipModel>(
    model: &M,
    stream: &mut dyn WindowStream,
    scenes: impl IntoIterator<Item = &'a Volume>,
    spec: &TileSpec,
    tiling: Tiling,
) -> Result<Volume, TiledError<M::Error>> {
    let mut finished = Vec::new();
    let mut run = |stream: &mut dyn WindowStream, window: Option<Window>| {
        if let Some(window) = window {
            let watch = &mut |_| ControlFlow::Continue(());
            let restored = restore_window(model, window.clip, spec, tiling, watch)?;
            stream.put_back(restored)?;
        }
        finished.extend(std::iter::from_fn(|| stream.pop()));
        Ok::<(), TiledError<M::Error>>(())
    };
    for scene in scenes {
        for frame in scene.split_frames() {
            let window = stream.push(frame)?;
            run(stream, window)?;
        }
        let window = stream.end_scene()?;
        run(stream, window)?;
    }
    Ok(Volume::concat(&finished)?)
}
