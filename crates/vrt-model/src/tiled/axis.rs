//! Where tiles start along one axis, and what each weighs at each place of the output.

use super::Tiling;

/// One tile along one axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct AxisTile {
    /// First place of the tile, in the input.
    pub(super) start: usize,
    /// Places it spans in the input.
    pub(super) len: usize,
    /// Weight of each place of its output; over all tiles they sum to one at every place.
    pub(super) weights: Vec<f32>,
}

/// How an axis is cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct AxisCut {
    /// Places of the axis, in the input.
    pub(super) len: usize,
    /// Places of a tile; a shorter axis has one tile of its own length.
    pub(super) tile: usize,
    /// Places that neighbours share at least; below `tile`.
    pub(super) overlap: usize,
    /// Output places per input place.
    pub(super) scale: usize,
}

impl AxisCut {
    /// The tiles with their weights.
    pub(super) fn tiles(&self, tiling: Tiling) -> Vec<AxisTile> {
        match tiling {
            Tiling::Published => self.published(),
            Tiling::Seamless => self.seamless(),
        }
    }

    /// Fixed steps; `⌊overlap / 2⌋` **output** places dropped at inner borders, whatever the
    /// scale, and a plain average where tiles still meet.
    fn published(&self) -> Vec<AxisTile> {
        let len = self.tile.min(self.len);
        let starts = published_starts(self.len, self.tile, self.overlap);
        let last = starts.len() - 1;
        let dropped = self.overlap / 2;
        let kept = |i: usize| {
            let from = if i > 0 { dropped } else { 0 };
            let to = len * self.scale - if i < last { dropped } else { 0 };
            from..to
        };
        let mut count = vec![0_u32; self.len * self.scale];
        for (i, start) in starts.iter().enumerate() {
            let counted = &mut count[start * self.scale..][kept(i)];
            counted.iter_mut().for_each(|count| *count += 1);
        }
        let tile = |(i, &start): (usize, &usize)| {
            let mut weights = vec![0.0; len * self.scale];
            for at in kept(i) {
                weights[at] = 1.0 / count[start * self.scale + at] as f32;
            }
            AxisTile { start, len, weights }
        };
        starts.iter().enumerate().map(tile).collect()
    }

    /// Even steps on the grid of windows; every tile fades in over the one before it.
    fn seamless(&self) -> Vec<AxisTile> {
        let starts = seamless_starts(self.len, self.tile, self.overlap);
        let len = |start: usize| self.tile.min(self.len - start);
        let fades: Vec<_> = starts
            .windows(2)
            .map(|pair| {
                let end = pair[0] + len(pair[0]);
                Fade::between(pair[1] * self.scale, end * self.scale)
            })
            .collect();
        let tile = |(i, &start): (usize, &usize)| {
            let len = len(start);
            let own = i.checked_sub(1).map(|before| fades[before]);
            let later = &fades[i..];
            let weight = |at: usize| {
                let covered = later.iter().map(|fade| 1.0 - fade.at(at)).product::<f64>();
                (own.map_or(1.0, |fade| fade.at(at)) * covered) as f32
            };
            let output = start * self.scale..(start + len) * self.scale;
            AxisTile { start, len, weights: output.map(weight).collect() }
        };
        starts.iter().enumerate().map(tile).collect()
    }
}

/// Starts at `0, stride, 2·stride, …` below `len − tile`, then at `len − tile`, or 0 if the axis
/// is shorter than the tile.
pub(super) fn published_starts(len: usize, tile: usize, overlap: usize) -> Vec<usize> {
    let last = len.saturating_sub(tile);
    (0..last).step_by(tile - overlap).chain([last]).collect()
}

/// The grid that windows of 8 lie on at a scale of 1/8: tiles that start on it are cut into the
/// windows that the whole frame would be cut into.
const WINDOW_GRID: usize = 64;

/// The fewest starts that leave the overlap and lie on the grid of windows, or on the coarsest
/// part of it that tile and overlap allow, spread evenly. The last tile may be shorter.
pub(super) fn seamless_starts(len: usize, tile: usize, overlap: usize) -> Vec<usize> {
    let mut grid = WINDOW_GRID;
    while grid > tile - overlap {
        grid /= 2;
    }
    let last = len.saturating_sub(tile).div_ceil(grid);
    let steps = last.div_ceil((tile - overlap) / grid);
    (0..=steps).map(|step| (step * last).checked_div(steps).unwrap_or(0) * grid).collect()
}

/// How a tile takes over from those before it: a raised cosine in the middle half of the places
/// they share. The outer quarters see a tile's border too closely to be used; they are context.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fade {
    from: usize,
    to: usize,
}

impl Fade {
    /// The fade of a tile that begins at `start` over tiles that end at `end`.
    pub(super) fn between(start: usize, end: usize) -> Self {
        let context = (end - start) / 4;
        Self { from: start + context, to: end - context }
    }

    /// Weight of the new tile at a place: 0 before the fade, 1 behind it.
    pub(super) fn at(&self, place: usize) -> f64 {
        if place < self.from {
            return 0.0;
        }
        if place >= self.to {
            return 1.0;
        }
        let t = ((place - self.from) as f64 + 0.5) / (self.to - self.from) as f64;
        0.5 - 0.5 * (std::f64::consts::PI * t).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cuts() -> impl Strategy<Value = AxisCut> {
        (1_usize..200, 1_usize..40, 1_usize..5).prop_flat_map(|(len, tile, scale)| {
            (0..tile).prop_map(move |overlap| AxisCut { len, tile, overlap, scale })
        })
    }

    fn tilings() -> impl Strategy<Value = Tiling> {
        prop_oneof![Just(Tiling::Seamless), Just(Tiling::Published)]
    }

    proptest! {
        #[test]
        fn tiles_cover_every_place_and_overlap_enough(cut in cuts(), tiling in tilings()) {
            let tiles = cut.tiles(tiling);
            prop_assert_eq!(tiles[0].start, 0);
            let last = &tiles[tiles.len() - 1];
            prop_assert_eq!(last.start + last.len, cut.len);
            for pair in tiles.windows(2) {
                prop_assert!(pair[1].start > pair[0].start);
                prop_assert!(pair[0].start + pair[0].len >= pair[1].start + cut.overlap);
            }
            let whole = cut.tile.min(cut.len);
            prop_assert!(tiles[..tiles.len() - 1].iter().all(|tile| tile.len == whole));
            prop_assert!(last.len <= whole && last.len > cut.overlap.min(whole - 1));
        }

        #[test]
        fn weights_sum_to_one_everywhere(cut in cuts(), tiling in tilings()) {
            let mut sum = vec![0.0_f32; cut.len * cut.scale];
            for tile in cut.tiles(tiling) {
                prop_assert_eq!(tile.weights.len(), tile.len * cut.scale);
                for (at, weight) in tile.weights.iter().enumerate() {
                    prop_assert!((0.0..=1.0).contains(weight));
                    sum[tile.start * cut.scale + at] += weight;
                }
            }
            // One rounding for each tile that meets here, of a term of at most one.
            let bound = f32::EPSILON * cut.tiles(tiling).len() as f32;
            for (at, sum) in sum.iter().enumerate() {
                prop_assert!((sum - 1.0).abs() <= bound, "{} at {}", sum, at);
            }
        }

        #[test]
        fn a_quarter_of_the_overlap_is_context(cut in cuts()) {
            let tiles = cut.tiles(Tiling::Seamless);
            let context = cut.overlap * cut.scale / 4;
            for (i, tile) in tiles.iter().enumerate() {
                let mut from_start = tile.weights.iter().take(context);
                prop_assert!(i == 0 || from_start.all(|&weight| weight == 0.0));
                let mut from_end = tile.weights.iter().rev().take(context);
                prop_assert!(i + 1 == tiles.len() || from_end.all(|&weight| weight == 0.0));
            }
        }
    }

    #[test]
    fn published_steps_are_fixed_and_the_last_is_drawn_back() {
        assert_eq!(published_starts(100, 40, 10), [0, 30, 60]);
        assert_eq!(published_starts(101, 40, 10), [0, 30, 60, 61]);
        assert_eq!(published_starts(40, 40, 10), [0]);
        assert_eq!(published_starts(39, 40, 10), [0]);
    }

    #[test]
    fn seamless_steps_are_even_and_on_the_grid_of_windows() {
        assert_eq!(seamless_starts(256, 128, 20), [0, 64, 128]);
        assert_eq!(seamless_starts(272, 128, 20), [0, 64, 128, 192]);
        assert_eq!(seamless_starts(640, 256, 48), [0, 192, 384]);
        assert_eq!(seamless_starts(100, 128, 20), [0]);
        // A step below the grid takes the coarsest part of it that is left.
        assert_eq!(seamless_starts(100, 64, 20), [0, 32, 64]);
        assert_eq!(seamless_starts(10, 4, 3), [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn published_borders_are_dropped_in_output_places() {
        let cut = AxisCut { len: 60, tile: 40, overlap: 20, scale: 4 };
        let tiles = cut.tiles(Tiling::Published);
        // 20 input places overlap, so 80 output places; 10 go at each border, 60 are averaged.
        let first = &tiles[0].weights;
        assert_eq!(first.len(), 160);
        assert_eq!(first[..90], [1.0; 90]);
        assert_eq!(first[90..150], [0.5; 60]);
        assert_eq!(first[150..], [0.0; 10]);
        let second = &tiles[1].weights;
        assert_eq!(second[..10], [0.0; 10]);
        assert_eq!(second[10..70], [0.5; 60]);
        assert_eq!(second[70..], [1.0; 90]);
    }
}
