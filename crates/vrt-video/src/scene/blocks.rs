//! How much of a picture's structure an earlier picture explains.

use crate::scene::thumbnail::{BLOCK, Thumbnail};

/// Pixels around its place in which a block's match is looked for.
const REACH: isize = 4;

/// Rows and columns of the area that is searched for one block.
const AREA: usize = BLOCK + 2 * REACH as usize;

/// Structure that every block may have by chance (0…1): it keeps noise in plain areas quiet.
const CHANCE: f64 = 0.01;

/// How far apart the contrasts of two pictures of one shot may be.
const CONTRASTS: std::ops::RangeInclusive<f64> = 0.5..=2.0;

/// A motion of the whole picture, in pixels of the thumbnail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shift {
    pub(super) columns: isize,
    pub(super) rows: isize,
}

/// Two pictures of one size; the later one is to be explained by the earlier one.
#[derive(Debug)]
pub(super) struct Blocks<'a> {
    before: &'a Thumbnail,
    next: &'a Thumbnail,
    contrast: f32,
}

impl<'a> Blocks<'a> {
    pub(super) fn new(before: &'a Thumbnail, next: &'a Thumbnail) -> Self {
        let contrast = next.structure() / before.structure().max(f64::MIN_POSITIVE);
        let contrast = contrast.clamp(*CONTRASTS.start(), *CONTRASTS.end()) as f32;
        Self { before, next, contrast }
    }

    /// The part of the later picture's structure that is not in the earlier one, 0…1, looking
    /// around the place that each block had if all moved by `shift`.
    pub(super) fn loss(&self, shift: Shift) -> f64 {
        let (mut lost, mut all) = (0.0, 0.0);
        for place in self.next.places() {
            let block = self.next.block(place);
            let own = f64::from(block.iter().flatten().map(|sample| sample.abs()).sum::<f32>());
            lost += own.min(f64::from(self.best_match(&block, place, shift)));
            all += own + CHANCE * (BLOCK * BLOCK) as f64;
        }
        if all == 0.0 { 0.0 } else { lost / all }
    }

    /// The least sum of absolute differences over the places around one.
    fn best_match(
        &self,
        block: &[[f32; BLOCK]; BLOCK],
        (column, row): (usize, usize),
        shift: Shift,
    ) -> f32 {
        let left = column as isize - shift.columns - REACH;
        let top = row as isize - shift.rows - REACH;
        let area: [[f32; AREA]; AREA] = std::array::from_fn(|y| {
            std::array::from_fn(|x| self.sample(left + x as isize, top + y as isize))
        });
        let places = 0..=AREA - BLOCK;
        let differences = places.clone().flat_map(|y| places.clone().map(move |x| (x, y)));
        let contrast = self.contrast;
        differences
            .map(|(x, y)| {
                let rows = || area[y..].iter().map(|row| &row[x..x + BLOCK]).take(BLOCK);
                let mean = rows().flatten().sum::<f32>() / (BLOCK * BLOCK) as f32;
                let pairs = rows().flatten().zip(block.iter().flatten());
                pairs.map(|(before, next)| (contrast * (before - mean) - next).abs()).sum::<f32>()
            })
            .fold(f32::INFINITY, f32::min)
    }

    /// Luma of the earlier picture; outside, that of the nearest edge.
    fn sample(&self, column: isize, row: isize) -> f32 {
        let column = column.clamp(0, self.before.width as isize - 1) as usize;
        let row = row.clamp(0, self.before.height as isize - 1) as usize;
        self.before.luma[row * self.before.width + column]
    }

    /// The motion of the whole picture, by up to half its size, that explains it best.
    pub(super) fn whole_shift(&self) -> Shift {
        let columns = self.next.width as isize / 2;
        let rows = self.next.height as isize / 2;
        // Every second place: the search around each block's place makes up for the other ones.
        let shifts = (-rows..=rows).step_by(2).flat_map(|rows| {
            (-columns..=columns).step_by(2).map(move |columns| Shift { columns, rows })
        });
        let best = shifts.map(|shift| (self.difference(shift), shift));
        best.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(Shift::default(), |(_, shift)| shift)
    }

    /// Mean absolute difference, less the mean difference, where the shifted pictures overlap; on
    /// every second row and column.
    fn difference(&self, shift: Shift) -> f32 {
        let overlap = |len: usize, by: isize| {
            let len = len as isize;
            (by.max(0)..(len + by).min(len)).step_by(2)
        };
        let mut differences = Vec::new();
        for row in overlap(self.next.height, shift.rows) {
            for column in overlap(self.next.width, shift.columns) {
                let next = self.next.luma[row as usize * self.next.width + column as usize];
                differences.push(next - self.sample(column - shift.columns, row - shift.rows));
            }
        }
        let count = differences.len().max(1) as f32;
        let mean = differences.iter().sum::<f32>() / count;
        differences.iter().map(|difference| (difference - mean).abs()).sum::<f32>() / count
    }
}
