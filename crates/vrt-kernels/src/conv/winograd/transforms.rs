//! What filters, inputs and sums are at the points, one tile or filter at a time, with vectors of
//! channels.

use std::ops::Range;

use super::{Filters, IN, OUT, PIECE, POINTS};
use crate::conv::ConvGeometry;
use crate::vector::{Body, MOST_LANES, Vector};

/// `a + b`
#[inline(always)]
fn add<V: Vector>(a: V, b: V) -> V {
    a.mul_add(V::splat(1.0), b)
}

/// `a − b`
#[inline(always)]
fn sub<V: Vector>(a: V, b: V) -> V {
    b.mul_add(V::splat(-1.0), a)
}

/// The points of an axis are 0, ±`NEAR`, ±`FAR` and ∞. Both and their squares are exact in binary, and
/// of those tried they lose least to rounding: half of what ±1 and ±2 lose, at worst a quarter.
const NEAR: f32 = 0.625;
/// See [`NEAR`].
const FAR: f32 = 1.5;
/// Their squares.
const SQUARES: [f32; 2] = [NEAR * NEAR, FAR * FAR];
/// The middle coefficient of (x² − `NEAR`²)(x² − `FAR`²), and the last one.
const MIDDLE: f32 = -(SQUARES[0] + SQUARES[1]);
/// See [`MIDDLE`].
const LAST: f32 = SQUARES[0] * SQUARES[1];

/// Inputs along an axis at all its points: at each, those times the coefficients of the polynomial
/// that is zero at all others.
#[inline(always)]
fn input_points<V: Vector>(d: [V; IN]) -> [V; IN] {
    let (middle, last) = (V::splat(MIDDLE), V::splat(LAST));
    let [near, far] = SQUARES;
    let (even_near, odd_near) =
        (d[2].mul_add(V::splat(-far), d[4]), scaled(d[1].mul_add(V::splat(-far), d[3]), NEAR));
    let (even_far, odd_far) =
        (d[2].mul_add(V::splat(-near), d[4]), scaled(d[1].mul_add(V::splat(-near), d[3]), FAR));
    [
        d[0].mul_add(last, d[2].mul_add(middle, d[4])),
        add(even_near, odd_near),
        sub(even_near, odd_near),
        add(even_far, odd_far),
        sub(even_far, odd_far),
        d[1].mul_add(last, d[3].mul_add(middle, d[5])),
    ]
}

#[inline(always)]
fn scaled<V: Vector>(value: V, factor: f32) -> V {
    value.mul_add(V::splat(factor), V::splat(0.0))
}

/// A filter along an axis at all its points, over the polynomials' values there.
#[inline(always)]
fn filter_points<V: Vector>(g: [V; 3]) -> [V; IN] {
    let [near, far] = SQUARES;
    let at = |point: f32, square: f32, other: f32| {
        let over = 1.0 / (2.0 * square * (square - other));
        (over, point * over, square * over)
    };
    let (near, far) = (at(NEAR, near, far), at(FAR, far, near));
    let even_near = g[0].mul_add(V::splat(near.0), scaled(g[2], near.2));
    let even_far = g[0].mul_add(V::splat(far.0), scaled(g[2], far.2));
    let (odd_near, odd_far) = (scaled(g[1], near.1), scaled(g[1], far.1));
    [
        scaled(g[0], 1.0 / LAST),
        add(even_near, odd_near),
        sub(even_near, odd_near),
        add(even_far, odd_far),
        sub(even_far, odd_far),
        g[2],
    ]
}

/// Outputs along an axis from sums at all its points.
#[inline(always)]
fn outputs<V: Vector>(m: [V; IN]) -> [V; OUT] {
    let [near, far] = SQUARES;
    let (even_near, odd_near) = (add(m[1], m[2]), scaled(sub(m[1], m[2]), NEAR));
    let (even_far, odd_far) = (add(m[3], m[4]), scaled(sub(m[3], m[4]), FAR));
    [
        add(m[0], add(even_near, even_far)),
        add(odd_near, odd_far),
        even_near.mul_add(V::splat(near), scaled(even_far, far)),
        odd_near.mul_add(V::splat(near), odd_far.mul_add(V::splat(far), m[5])),
    ]
}

/// The next vector's start behind that at `at`, of vectors that cover `len` values: the last one
/// overlaps where they do not fit.
#[inline(always)]
fn next<V: Vector>(at: usize, len: usize) -> usize {
    if at + V::LANES == len { len } else { (at + V::LANES).min(len - V::LANES) }
}

/// What a tile sees of a source at all points.
pub(super) struct InputTransform<'a> {
    pub(super) pixels: &'a [&'a [f32]; POINTS],
    pub(super) channels: usize,
    /// From point to point of the output.
    pub(super) plane: usize,
    pub(super) out: &'a mut [f32],
}

impl InputTransform<'_> {
    #[inline(always)]
    fn channels<V: Vector>(&mut self, at: usize, len: usize) {
        let mut down = [[V::splat(0.0); IN]; IN];
        for (column, down) in down.iter_mut().enumerate() {
            let mut seen = [V::splat(0.0); IN];
            for (row, seen) in seen.iter_mut().enumerate() {
                *seen = V::load_at(self.pixels[row * IN + column], at);
            }
            *down = input_points(seen);
        }
        for row in 0..IN {
            let mut seen = [V::splat(0.0); IN];
            for (seen, down) in seen.iter_mut().zip(&down) {
                *seen = down[row];
            }
            for (column, value) in input_points(seen).iter().enumerate() {
                let out = &mut self.out[(row * IN + column) * self.plane + at..];
                if len == V::LANES {
                    value.store(out);
                } else {
                    let mut lanes = [0.0; MOST_LANES];
                    value.store(&mut lanes);
                    out[..len].copy_from_slice(&lanes[..len]);
                }
            }
        }
    }
}

impl Body for InputTransform<'_> {
    #[inline(always)]
    fn run<V: Vector>(mut self) {
        if self.channels < V::LANES {
            self.channels::<V>(0, self.channels);
        }
        let mut at = 0;
        while at + V::LANES <= self.channels {
            self.channels::<V>(at, V::LANES);
            at = next::<V>(at, self.channels);
        }
    }
}

/// The outputs of a tile, `[4, 4, channels]`, from its sums at all points; at least as many channels as
/// a vector has lanes.
pub(super) struct OutputTransform<'a> {
    pub(super) sums: &'a [&'a [f32]; POINTS],
    pub(super) bias: Option<&'a [f32]>,
    pub(super) out: &'a mut [f32],
}

impl Body for OutputTransform<'_> {
    #[inline(always)]
    fn run<V: Vector>(self) {
        let channels = self.sums[0].len();
        let mut at = 0;
        while at + V::LANES <= channels {
            let mut down = [[V::splat(0.0); OUT]; IN];
            for (column, down) in down.iter_mut().enumerate() {
                let mut sums = [V::splat(0.0); IN];
                for (row, sums) in sums.iter_mut().enumerate() {
                    *sums = V::load(&self.sums[row * IN + column][at..]);
                }
                *down = outputs(sums);
            }
            let bias = match self.bias {
                Some(bias) => V::load(&bias[at..]),
                None => V::splat(0.0),
            };
            for row in 0..OUT {
                let mut sums = [V::splat(0.0); IN];
                for (sums, down) in sums.iter_mut().zip(&down) {
                    *sums = down[row];
                }
                for (column, value) in outputs(sums).iter().enumerate() {
                    let out = &mut self.out[(row * OUT + column) * channels + at..];
                    add(*value, bias).store(out);
                }
            }
            at = next::<V>(at, channels);
        }
    }
}

/// A piece of the filters of one input and some outputs, at least as many as a vector has lanes, at all
/// points: `[points, outputs]`.
pub(super) struct FilterTransform<'a> {
    pub(super) filters: Filters<'a>,
    pub(super) g: &'a ConvGeometry,
    pub(super) piece: usize,
    pub(super) input: usize,
    pub(super) outputs: Range<usize>,
    pub(super) points: &'a mut [f32],
}

impl FilterTransform<'_> {
    /// One tap of the piece of the filters of the outputs from `first` on; zero beyond the kernel.
    #[inline(always)]
    fn tap<V: Vector>(&self, first: usize, [row, column]: [usize; 2]) -> V {
        let [rows, columns] = self.g.kernel;
        let across = columns.div_ceil(PIECE);
        let row = self.piece / across * PIECE + row;
        let column = self.piece % across * PIECE + column;
        if row >= rows || column >= columns {
            return V::splat(0.0);
        }
        let (taps, tap) = (rows * columns, row * columns + column);
        let (inputs, outputs) = (self.g.in_channels, self.g.out_channels);
        let mut lanes = [0.0; MOST_LANES];
        for (i, lane) in lanes.iter_mut().enumerate().take(V::LANES) {
            let output = self.outputs.start + first + i;
            *lane = match self.filters.turned {
                false => self.filters.weight[(output * inputs + self.input) * taps + tap],
                true => self.filters.weight[(self.input * outputs + output + 1) * taps - 1 - tap],
            };
        }
        V::load(&lanes)
    }
}

impl Body for FilterTransform<'_> {
    #[inline(always)]
    fn run<V: Vector>(self) {
        let outputs = self.outputs.len();
        let mut first = 0;
        while first + V::LANES <= outputs {
            let mut down = [[V::splat(0.0); IN]; 3];
            for (column, down) in down.iter_mut().enumerate() {
                *down = filter_points([
                    self.tap(first, [0, column]),
                    self.tap(first, [1, column]),
                    self.tap(first, [2, column]),
                ]);
            }
            let [left, middle, right] = down;
            for row in 0..IN {
                let points = filter_points([left[row], middle[row], right[row]]);
                for (column, value) in points.iter().enumerate() {
                    value.store(&mut self.points[(row * IN + column) * outputs + first..]);
                }
            }
            first = next::<V>(first, outputs);
        }
    }
}
