//! Chooses tile sizes for the memory there is.

use super::TileSpec;
use super::axis::seamless_starts;

/// Smallest side of a tile, and the step of sides that waste nothing: an attention window of 8
/// at a scale of 1/8.
const SIDE_PX: usize = 64;

/// Step of the sides that are tried: an attention window of 8 at full scale.
const SIDE_STEP_PX: usize = 8;

/// The clip to plan for, in input frames and pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClipSize {
    /// Number of frames; `None` if it is not known, as in a stream.
    pub frames: Option<usize>,
    /// Rows of a frame.
    pub height: usize,
    /// Columns of a frame.
    pub width: usize,
}

/// What a plan must keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanLimits {
    /// Frames of an attention window: the fewest frames of a tile, and the step of their number.
    pub window_frames: usize,
    /// Most frames of a tile; at least `window_frames` is used.
    pub max_frames: usize,
    /// Frames that windows in time share.
    pub overlap_frames: usize,
    /// Pixels that tiles in space share, but at most half a tile.
    pub overlap_size: usize,
}

/// Why there is no plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Not even the smallest tile fits.
    #[error(
        "the smallest tile, {frames} frames of {height}×{width}, needs {} MiB of memory, \
         but only {} MiB may be used; free memory or allow more", needed.div_ceil(1 << 20), budget >> 20
    )]
    NothingFits {
        /// Frames of the smallest tile.
        frames: usize,
        /// Rows of the smallest tile.
        height: usize,
        /// Columns of the smallest tile.
        width: usize,
        /// Bytes it needs.
        needed: u64,
        /// Bytes that may be used.
        budget: u64,
    },
    /// The overlaps leave no tile that advances.
    #[error(
        "no tile of at most {max_frames} frames advances with an overlap of {overlap_frames} frames; \
         overlap by fewer"
    )]
    Overlap {
        /// Most frames of a tile.
        max_frames: usize,
        /// Frames that windows in time were to share.
        overlap_frames: usize,
    },
}

/// Chooses the tiles that restore `clip` within `budget` bytes with the least work done twice.
///
/// `peak` predicts the bytes needed to restore a clip of so many frames, rows and columns; it must
/// not fall as they grow. Whole frames (`size` 0) are taken if they fit with any number of frames.
/// A known clip that fits into one window gets a window of its own length, never 0 frames, so that
/// the plan stays within memory should the clip turn out longer.
///
/// # Errors
///
/// If not even the smallest tile fits, or none of the allowed lengths exceeds the overlap.
pub fn plan(
    budget: u64,
    clip: ClipSize,
    limits: PlanLimits,
    peak: impl Fn(usize, usize, usize) -> u64,
) -> Result<TileSpec, PlanError> {
    let lengths = limits.lengths(clip.frames);
    let Some(&shortest) = lengths.first() else {
        return Err(PlanError::Overlap {
            max_frames: limits.max_frames,
            overlap_frames: limits.overlap_frames,
        });
    };
    let fits = |frames: usize, size: usize| {
        let [height, width] = clip.tile_sides(size);
        peak(frames, height, width) <= budget
    };
    let spec = |frames: usize, size: usize| {
        TileSpec::new(frames, size, limits.overlap_frames, limits.overlap_of(size)).ok()
    };
    let whole = lengths.iter().rev().find(|&&frames| fits(frames, 0));
    if let Some(spec) = whole.and_then(|&frames| spec(frames, 0)) {
        return Ok(spec);
    }
    let sizes = || {
        let largest = clip.height.max(clip.width);
        (SIDE_PX..largest).step_by(SIDE_STEP_PX)
    };
    let candidates = lengths.iter().flat_map(|&frames| sizes().map(move |size| (frames, size)));
    let best = candidates.filter(|&(frames, size)| fits(frames, size)).min_by(|&a, &b| {
        let work = |(frames, size)| clip.work(frames, size, &limits);
        // Of equal work, the longer window sees more.
        work(a).total_cmp(&work(b)).then(b.cmp(&a))
    });
    best.and_then(|(frames, size)| spec(frames, size)).ok_or_else(|| {
        let [height, width] = clip.tile_sides(sizes().next().unwrap_or(0));
        PlanError::NothingFits {
            frames: shortest,
            height,
            width,
            needed: peak(shortest, height, width),
            budget,
        }
    })
}

impl PlanLimits {
    /// Pixels that tiles of `size` share.
    fn overlap_of(&self, size: usize) -> usize {
        if size == 0 { self.overlap_size } else { self.overlap_size.min(size / 2) }
    }

    /// Lengths of a window that may be chosen, shortest first.
    fn lengths(&self, frames: Option<usize>) -> Vec<usize> {
        let step = self.window_frames.max(1);
        let most = self.max_frames.max(step);
        let whole_clip = frames.filter(|&frames| frames <= most);
        let below = whole_clip.unwrap_or(most + 1);
        let steps = (step..below).step_by(step);
        steps
            .chain(whole_clip.map(|frames| frames.max(self.overlap_frames + 1)))
            .filter(|&length| length > self.overlap_frames)
            .collect()
    }
}

impl ClipSize {
    /// Rows and columns of a tile of `size`, completed to whole attention windows.
    fn tile_sides(&self, size: usize) -> [usize; 2] {
        [self.height, self.width].map(|side| {
            let side = if size == 0 { side } else { size.min(side) };
            side.next_multiple_of(SIDE_STEP_PX)
        })
    }

    /// Work per frame of the clip, in pixels restored. The network completes sides to multiples of
    /// [`SIDE_PX`] inside.
    fn work(&self, frames: usize, size: usize, limits: &PlanLimits) -> f64 {
        let pixels: f64 = [self.height, self.width]
            .map(|side| {
                let starts = seamless_starts(side, size, limits.overlap_of(size));
                let lens = starts.iter().map(|start| size.min(side - start));
                lens.map(|len| len.next_multiple_of(SIDE_PX)).sum::<usize>() as f64
            })
            .iter()
            .product();
        let passes = match self.frames {
            Some(total) if total <= frames => 1.0,
            _ => frames as f64 / (frames - limits.overlap_frames) as f64,
        };
        pixels * passes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: PlanLimits =
        PlanLimits { window_frames: 6, max_frames: 24, overlap_frames: 2, overlap_size: 20 };

    const HD: ClipSize = ClipSize { frames: None, height: 720, width: 1280 };

    fn thousand_a_pixel(frames: usize, height: usize, width: usize) -> u64 {
        1000 * (frames * height * width) as u64
    }

    #[test]
    fn whole_frames_are_taken_when_they_fit() {
        let all = thousand_a_pixel(24, 720, 1280);
        let spec = plan(all, HD, LIMITS, thousand_a_pixel).unwrap();
        assert_eq!((spec.frames(), spec.size()), (24, 0));
        let spec = plan(all - 1, HD, LIMITS, thousand_a_pixel).unwrap();
        assert_eq!((spec.frames(), spec.size()), (18, 0));
        let least = thousand_a_pixel(6, 720, 1280);
        let spec = plan(least, HD, LIMITS, thousand_a_pixel).unwrap();
        assert_eq!((spec.frames(), spec.size()), (6, 0));
        let spec = plan(least - 1, HD, LIMITS, thousand_a_pixel).unwrap();
        assert!(spec.size() > 0);
    }

    #[test]
    fn a_short_clip_gets_a_window_of_its_length() {
        let clip = ClipSize { frames: Some(7), ..HD };
        let spec = plan(u64::MAX, clip, LIMITS, thousand_a_pixel).unwrap();
        assert_eq!((spec.frames(), spec.size()), (7, 0));
        let still = ClipSize { frames: Some(1), ..HD };
        let spec = plan(u64::MAX, still, LIMITS, thousand_a_pixel).unwrap();
        assert_eq!(spec.frames(), 3, "one more than the overlap");
    }

    #[test]
    fn too_little_memory_is_an_error_with_numbers() {
        let budget = thousand_a_pixel(6, 64, 64);
        let spec = plan(budget, HD, LIMITS, thousand_a_pixel).unwrap();
        assert_eq!((spec.frames(), spec.size()), (6, 64));
        let error = plan(budget - 1, HD, LIMITS, thousand_a_pixel).unwrap_err();
        assert_eq!(
            error,
            PlanError::NothingFits {
                frames: 6,
                height: 64,
                width: 64,
                needed: budget,
                budget: budget - 1
            }
        );
        assert_eq!(
            error.to_string(),
            "the smallest tile, 6 frames of 64×64, needs 24 MiB of memory, but only 23 MiB may be \
             used; free memory or allow more"
        );
    }

    #[test]
    fn a_small_frame_is_only_taken_whole() {
        let clip = ClipSize { frames: Some(6), height: 30, width: 33 };
        let needed = thousand_a_pixel(6, 32, 40);
        let spec = plan(needed, clip, LIMITS, thousand_a_pixel).unwrap();
        assert_eq!((spec.frames(), spec.size()), (6, 0));
        let error = plan(1, clip, LIMITS, thousand_a_pixel).unwrap_err();
        assert!(matches!(error, PlanError::NothingFits { height: 32, width: 40, .. }), "{error}");
    }

    #[test]
    fn an_overlap_no_window_exceeds_is_an_error() {
        let limits = PlanLimits { overlap_frames: 24, ..LIMITS };
        assert!(matches!(
            plan(u64::MAX, HD, limits, thousand_a_pixel),
            Err(PlanError::Overlap { .. })
        ));
    }

    proptest! {
        #[test]
        fn a_plan_fits_and_keeps_to_the_limits(
            budget in 1_u64..40_000_000_000,
            (height, width) in (1_usize..2200, 1_usize..4000),
            frames in proptest::option::of(1_usize..300),
            window_frames in 1_usize..9,
        ) {
            let limits = PlanLimits { window_frames, ..LIMITS };
            let clip = ClipSize { frames, height, width };
            match plan(budget, clip, limits, thousand_a_pixel) {
                Ok(spec) => {
                    let [rows, columns] = clip.tile_sides(spec.size());
                    prop_assert!(thousand_a_pixel(spec.frames(), rows, columns) <= budget);
                    prop_assert!(spec.frames() > limits.overlap_frames);
                    prop_assert!(spec.frames() <= limits.max_frames);
                    prop_assert!(spec.size() == 0 || spec.size() >= SIDE_PX);
                    prop_assert_eq!(spec.size() % SIDE_STEP_PX, 0);
                }
                Err(error) => {
                    let PlanError::NothingFits { frames, height, width, needed, .. } = error else {
                        return Err(TestCaseError::fail(error.to_string()));
                    };
                    prop_assert!(needed > budget);
                    prop_assert_eq!(needed, thousand_a_pixel(frames, height, width));
                }
            }
        }

        #[test]
        fn more_memory_never_means_more_work(
            budget in 100_000_000_u64..4_000_000_000,
            more in 0_u64..4_000_000_000,
        ) {
            let work = |budget| {
                let spec = plan(budget, HD, LIMITS, thousand_a_pixel).unwrap();
                let size = if spec.size() == 0 { HD.width } else { spec.size() };
                (spec.size() == 0, HD.work(spec.frames(), size, &LIMITS))
            };
            let (less_whole, less_work) = work(budget);
            let (more_whole, more_work) = work(budget + more);
            // Whole frames are taken for their own sake.
            prop_assert!(more_whole >= less_whole);
            prop_assert!(more_whole != less_whole || more_work <= less_work);
        }
    }
}
