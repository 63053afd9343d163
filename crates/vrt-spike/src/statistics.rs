//! What a stream is like.

use std::ops::Range;

use crate::error::SpikeError;
use crate::stream::SpikeStream;

/// What a stream is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    /// Frames of the stream.
    pub frames: u64,
    /// Share of pixels that fire in a frame, on average.
    pub rate: f64,
    /// The lowest and the highest share of frames that a pixel fires in.
    pub range: [f64; 2],
    /// Share of pixels that never fire.
    pub silent: f64,
    /// Share of pixels that always fire.
    pub saturated: f64,
}

impl SpikeStream {
    /// What the stream is like; reads all of it.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read.
    pub fn statistics(&mut self) -> Result<Statistics, SpikeError> {
        let (frames, g) = (self.frames(), self.geometry());
        let sums = self.sums(0..frames)?;
        let sums: Vec<u64> = g.picture(&sums, u64::from);
        let share = |sum: u64| sum as f64 / frames as f64;
        let pixels = |of: &dyn Fn(u64) -> bool| {
            sums.iter().filter(|sum| of(**sum)).count() as f64 / sums.len() as f64
        };
        let ends = [sums.iter().min(), sums.iter().max()];
        Ok(Statistics {
            frames,
            rate: share(sums.iter().sum()) / sums.len() as f64,
            range: ends.map(|end| share(end.copied().unwrap_or(0))),
            silent: pixels(&|sum| sum == 0),
            saturated: pixels(&|sum| sum == frames),
        })
    }

    /// In which of some frames pixel (`x`, `y`), counted from the top left, fires.
    ///
    /// # Errors
    ///
    /// Fails if there are no such frames, or they cannot be read.
    ///
    /// # Panics
    ///
    /// Panics if there is no such pixel.
    pub fn spikes_of(
        &mut self,
        [x, y]: [usize; 2],
        frames: Range<u64>,
    ) -> Result<Vec<bool>, SpikeError> {
        let mut found = Vec::new();
        for part in self.parts(frames) {
            let part = self.read(part)?;
            found.extend((0..part.frames()).map(|frame| part.fires(frame, x, y)));
        }
        Ok(found)
    }
}
