//! The softmax of a window's attention: keys down the rows, queries side by side in lanes, so that
//! maxima and sums need no step across lanes.
//!
//! Logits are in powers of two: the factor log₂ e is in the weight that makes the queries and in the
//! bias.

use std::f32::consts::LOG2_E;

use super::MASKED;
use crate::element::{Element, Pair};
use crate::exponential::{EXACT, Powers, ROUNDED};
use crate::level::Level;
use crate::product::PanelSizes;
use crate::vector::{Body, Vector, with_vectors};

/// What the mask adds to a logit.
const MASKED_TWOS: f32 = MASKED * LOG2_E;

/// Logits of some queries, `[keys, width]`, and the regions where a window has more than one.
#[derive(Debug)]
pub(crate) struct Logits<'a> {
    pub(crate) values: &'a mut [f32],
    /// Queries, those beyond the last one counted: a multiple of a vector.
    pub(crate) width: usize,
    /// Of the queries and of the keys.
    pub(crate) regions: Option<[&'a [u8]; 2]>,
}

/// An element that probabilities are rounded to.
pub(crate) trait Probability: Element {
    /// Elements of the buffer that [`Self::of`] needs.
    fn len(keys: usize, width: usize) -> usize;

    /// `2^(logit − largest of its query)` as the rows of a panel, `[keys, width]`, and one over the
    /// sums in `scales`, which makes them probabilities.
    fn of<'a>(
        level: Level,
        logits: Logits<'a>,
        scales: &mut [f32],
        rounded: &'a mut [Self],
    ) -> &'a [Self];

    /// Values `[keys, width]` as the rows of a panel.
    fn panel<'a>(
        level: Level,
        values: &'a [f32],
        sizes: [usize; 2],
        rounded: &'a mut [Self],
    ) -> &'a [Self];
}

impl Probability for f32 {
    fn len(_: usize, _: usize) -> usize {
        0
    }

    fn of<'a>(
        level: Level,
        Logits { values, width, regions }: Logits<'a>,
        scales: &mut [f32],
        _: &'a mut [f32],
    ) -> &'a [f32] {
        let logits = Logits { values: &mut *values, width, regions };
        with_vectors(level, ByLanes(Exponentials { logits, scales }));
        values
    }

    fn panel<'a>(_: Level, values: &'a [f32], _: [usize; 2], _: &'a mut [f32]) -> &'a [f32] {
        values
    }
}

impl Probability for Pair {
    fn len(keys: usize, width: usize) -> usize {
        Self::units(keys) * width
    }

    fn of<'a>(
        level: Level,
        logits: Logits<'a>,
        scales: &mut [f32],
        rounded: &'a mut [Pair],
    ) -> &'a [Pair] {
        let rounding = RoundedExponentials { logits, scales, rounded: &mut *rounded };
        with_vectors(level, ByLanes(rounding));
        rounded
    }

    fn panel<'a>(
        level: Level,
        values: &'a [f32],
        [keys, width]: [usize; 2],
        rounded: &'a mut [Pair],
    ) -> &'a [Pair] {
        let sizes = PanelSizes::new(level, [keys, width]);
        sizes.pack(level, values, width, rounded);
        &rounded[..sizes.len::<Self>()]
    }
}

/// Logits that become `2^(logit − largest of its query)`; `scales` becomes one over their sums.
struct Exponentials<'a> {
    logits: Logits<'a>,
    scales: &'a mut [f32],
}

/// What is done with as many queries at a time as one may hold.
trait Lanes {
    /// Queries, a multiple of four.
    fn width(&self) -> usize;

    /// Does it with the `L` queries from `first` on.
    fn lanes<P: Powers, const L: usize>(&mut self, first: usize);
}

struct ByLanes<T>(T);

impl<T: Lanes> Body for ByLanes<T> {
    #[inline(always)]
    fn run<V: Vector>(mut self) {
        let width = self.0.width();
        if width.is_multiple_of(32) {
            for first in (0..width).step_by(32) {
                self.0.lanes::<V::Powers, 32>(first);
            }
        } else if width.is_multiple_of(16) {
            for first in (0..width).step_by(16) {
                self.0.lanes::<V::Powers, 16>(first);
            }
        } else {
            for first in (0..width).step_by(4) {
                self.0.lanes::<V::Powers, 4>(first);
            }
        }
    }
}

impl Lanes for Exponentials<'_> {
    #[inline(always)]
    fn width(&self) -> usize {
        self.logits.width
    }

    #[inline(always)]
    fn lanes<P: Powers, const L: usize>(&mut self, first: usize) {
        let Logits { values, width, regions } = &mut self.logits;
        let largest = largest::<L>(values, (*width, first), *regions);
        let mut sums = [0.0; L];
        for row in values.chunks_exact_mut(*width) {
            let Some(row) = row[first..].first_chunk_mut::<L>() else { continue };
            // In an array of its own: written where they are read, values were taken one by one.
            let mut below = [0.0; L];
            for l in 0..L {
                below[l] = row[l] - largest[l];
            }
            let powers = P::of::<EXACT, L>(below);
            for l in 0..L {
                sums[l] += powers[l];
            }
            *row = powers;
        }
        for (scale, sum) in self.scales[first..].iter_mut().zip(sums) {
            *scale = 1.0 / sum;
        }
    }
}

/// The same rounded to pairs, and summed up before.
struct RoundedExponentials<'a> {
    logits: Logits<'a>,
    scales: &'a mut [f32],
    rounded: &'a mut [Pair],
}

impl Lanes for RoundedExponentials<'_> {
    #[inline(always)]
    fn width(&self) -> usize {
        self.logits.width
    }

    #[inline(always)]
    fn lanes<P: Powers, const L: usize>(&mut self, first: usize) {
        let Logits { values, width, regions } = &mut self.logits;
        let width = *width;
        let largest = largest::<L>(values, (width, first), *regions);
        let mut sums = [0.0; L];
        let pairs = values.chunks(2 * width).zip(self.rounded.chunks_exact_mut(width));
        for (rows, out) in pairs {
            let Some(out) = out[first..].first_chunk_mut::<L>() else { continue };
            let Some(even) = rows[first..].first_chunk::<L>() else { continue };
            // Behind an odd number of keys there is a zero.
            let odd =
                if rows.len() > width { rows[width + first..].first_chunk::<L>() } else { None };
            let odd = odd.unwrap_or(&[f32::NEG_INFINITY; L]);
            let (mut a, mut b) = ([0.0; L], [0.0; L]);
            for l in 0..L {
                a[l] = even[l] - largest[l];
                b[l] = odd[l] - largest[l];
            }
            let (a, b) = (P::of::<ROUNDED, L>(a), P::of::<ROUNDED, L>(b));
            for l in 0..L {
                sums[l] += a[l] + b[l];
                out[l] = Pair::of_positive(a[l], b[l]);
            }
        }
        for (scale, sum) in self.scales[first..].iter_mut().zip(sums) {
            *scale = 1.0 / sum;
        }
    }
}

/// Adds the mask, and gives the largest logit of each of `L` queries.
#[inline(always)]
fn largest<const L: usize>(
    values: &mut [f32],
    (width, first): (usize, usize),
    regions: Option<[&[u8]; 2]>,
) -> [f32; L] {
    let mut largest = [f32::NEG_INFINITY; L];
    let Some([queries, keys]) = regions else {
        for row in values.chunks_exact(width) {
            let Some(row) = row[first..].first_chunk::<L>() else { continue };
            for l in 0..L {
                largest[l] = if row[l] > largest[l] { row[l] } else { largest[l] };
            }
        }
        return largest;
    };
    let mut own = [0; L];
    for l in 0..L.min(queries.len().saturating_sub(first)) {
        own[l] = u32::from(queries[first + l]);
    }
    for (row, key) in values.chunks_exact_mut(width).zip(keys) {
        let Some(row) = row[first..].first_chunk_mut::<L>() else { continue };
        let key = u32::from(*key);
        for l in 0..L {
            row[l] += if own[l] == key { 0.0 } else { MASKED_TWOS };
            largest[l] = if row[l] > largest[l] { row[l] } else { largest[l] };
        }
    }
    largest
}

#[cfg(test)]
mod tests {
    use vrt_testing::Random;

    use super::*;

    /// Logits of some keys and queries.
    struct Case {
        keys: usize,
        width: usize,
        logits: Vec<f32>,
        /// Of each key; the queries have the first ones.
        regions: Option<Vec<u8>>,
    }

    impl Case {
        fn expected(&self, key: usize, query: usize) -> f64 {
            let far = self.regions.as_ref().is_some_and(|all| all[query] != all[key]);
            let mask = if far { f64::from(MASKED_TWOS) } else { 0.0 };
            (f64::from(self.logits[key * self.width + query]) + mask).exp2()
        }

        /// The probabilities that are made, `[keys, width]`.
        fn made<E: Probability>(&self, level: Level, value: impl Fn(&E, usize) -> f32) -> Vec<f32> {
            let (keys, width) = (self.keys, self.width);
            let mut values = self.logits.clone();
            let mut scales = vec![f32::NAN; width];
            let mut rounded = vec![E::default(); E::len(keys, width)];
            let regions = self.regions.as_ref().map(|all| [&all[..width], &all[..keys]]);
            let given = Logits { values: &mut values, width, regions };
            let made = E::of(level, given, &mut scales, &mut rounded);
            let places = (0..keys).flat_map(|key| (0..width).map(move |query| (key, query)));
            let element = |(key, query): (usize, usize)| {
                value(&made[key / E::TERMS * width + query], key % E::TERMS) * scales[query]
            };
            places.map(element).collect()
        }
    }

    fn check<E: Probability>(value: impl Fn(&E, usize) -> f32 + Copy, bound: f64) {
        let sizes = [(1, 8), (2, 16), (7, 8), (33, 32), (384, 32)];
        for ((keys, width), masked) in sizes.iter().flat_map(|size| [(*size, false), (*size, true)])
        {
            let logits = Random::new(keys as u64).values(keys * width, 40.0);
            let regions = masked.then(|| (0..keys.max(width)).map(|i| (i / 5 % 3) as u8).collect());
            let case = Case { keys, width, logits, regions };
            let sums: Vec<f64> = (0..width)
                .map(|query| (0..keys).map(|key| case.expected(key, query)).sum())
                .collect();
            for level in Level::available() {
                let made = case.made(level, value);
                for (at, actual) in made.into_iter().enumerate() {
                    let expected = case.expected(at / width, at % width) / sums[at % width];
                    let close = (f64::from(actual) - expected).abs() <= bound * expected + 1e-12;
                    assert!(close, "{level}: {actual}, not {expected}");
                }
            }
        }
    }

    #[test]
    fn logits_become_probabilities_whatever_their_number_and_size() {
        check::<f32>(|value, _| *value, 3e-5);
        check::<Pair>(|pair, term| if term == 0 { pair.first() } else { pair.second() }, 6e-3);
    }
}
