//! Windows on their way through a model and its helpers, in tiles that fit in their memory.

use std::ops::ControlFlow;

use super::{
    ClipModel, Done, FailedWindow, TileSpec, TiledError, Tiling, Window, WindowStream,
    restore_windows,
};
use crate::volume::Volume;

/// What whoever watches [`Batches`] hears.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Moved {
    /// How far the windows are that are restored now.
    Done(Done),
    /// A tile did not fit in the memory of a device: from now on tiles have so many rows and columns.
    Shrunk(usize),
}

/// Hears how far windows are, and says whether to go on.
pub type WatchBatch<'a> = dyn FnMut(Moved) -> ControlFlow<()> + 'a;

/// Why windows could not be restored.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct FailedBatch<E: std::error::Error + 'static> {
    /// First frame of the window that failed, counted from the beginning of the clip.
    pub first_frame: usize,
    /// Why.
    pub source: TiledError<E>,
}

/// Windows that wait until there is one for each model; then all are restored side by side.
///
/// Where a tile is too large for the memory of a device, tiles have half as many rows and columns
/// from there on. Tiles placed as [published](Tiling::Published) stay as they are: numbers made with
/// them are those of their sizes.
#[derive(Debug)]
pub struct Batches<'a, M> {
    model: &'a M,
    spec: TileSpec,
    tiling: Tiling,
    waiting: Vec<Window>,
}

impl<'a, M: ClipModel> Batches<'a, M> {
    /// None that wait.
    pub fn new(model: &'a M, spec: TileSpec, tiling: Tiling) -> Self {
        Self { model, spec, tiling, waiting: Vec::new() }
    }

    /// Puts a window of `stream`, if there is one, to those that wait; once every model has one they
    /// are restored, and `stream` has them back.
    ///
    /// # Errors
    ///
    /// As [`restore`](Self::restore).
    pub fn queue(
        &mut self,
        window: Option<Window>,
        stream: &mut dyn WindowStream,
        watch: &mut WatchBatch<'_>,
    ) -> Result<(), FailedBatch<M::Error>> {
        self.waiting.extend(window);
        match self.waiting.len() > self.model.helpers().len() {
            true => self.restore(stream, watch),
            false => Ok(()),
        }
    }

    /// Restores the windows that wait, however many; `stream` has them back.
    ///
    /// # Errors
    ///
    /// If a model fails, its output does not fit, memory is short for the smallest tiles, or `watch`
    /// said to break off.
    pub fn restore(
        &mut self,
        stream: &mut dyn WindowStream,
        watch: &mut WatchBatch<'_>,
    ) -> Result<(), FailedBatch<M::Error>> {
        let windows = std::mem::take(&mut self.waiting);
        let (firsts, clips): (Vec<_>, Vec<_>) =
            windows.into_iter().map(|Window { first_frame, clip, .. }| (first_frame, clip)).unzip();
        let failed = |window: usize, source| FailedBatch { first_frame: firsts[window], source };
        let restored =
            self.fitting(clips, watch).map_err(|error| failed(error.window, error.source))?;
        for (window, clip) in restored.into_iter().enumerate() {
            stream.put_back(clip).map_err(|error| failed(window, error.into()))?;
        }
        Ok(())
    }

    /// Restores one clip by itself.
    ///
    /// # Errors
    ///
    /// As [`restore`](Self::restore).
    pub fn restore_clip(
        &mut self,
        clip: Volume,
        watch: &mut WatchBatch<'_>,
    ) -> Result<Volume, TiledError<M::Error>> {
        let restored = self.fitting(vec![clip], watch).map_err(|failed| failed.source)?;
        Ok(restored.into_iter().next().unwrap_or_else(|| unreachable!("one clip went in")))
    }

    /// Restores clips, in smaller tiles where those of now do not fit.
    fn fitting(
        &mut self,
        clips: Vec<Volume>,
        watch: &mut WatchBatch<'_>,
    ) -> Result<Vec<Volume>, FailedWindow<M::Error>> {
        let kept = self.model.memory_may_lack().then(|| clips.clone());
        let size = clips.first().map(|clip| [clip.height(), clip.width()]);
        let told = &mut |done| watch(Moved::Done(done));
        let failed = match restore_windows(self.model, clips, &self.spec, self.tiling, told) {
            Err(failed) if failed.lacked_memory::<M>() => failed,
            other => return other,
        };
        let may_shrink = self.tiling == Tiling::Seamless;
        match (kept, size.and_then(|size| self.spec.halved(size))) {
            (Some(clips), Some(smaller)) if may_shrink => {
                self.spec = smaller;
                if watch(Moved::Shrunk(smaller.size())).is_break() {
                    return Err(FailedWindow { window: 0, source: TiledError::Stopped });
                }
                self.fitting(clips, watch)
            }
            _ => Err(failed),
        }
    }
}
