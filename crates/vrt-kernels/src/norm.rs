//! Layer norm: each row to a mean of 0 and a variance of 1, then times a weight, plus a bias.

use crate::level::Level;
use crate::vector::{Body, MOST_LANES, Vector, with_vectors};

/// What the published layer norms add to the variance.
pub(crate) const EPSILON: f32 = 1e-5;

/// Writes the norm of the rows of `x` to `out`, rows as long as `weight`.
pub(crate) fn normalise(level: Level, x: &[f32], weight: &[f32], bias: &[f32], out: &mut [f32]) {
    with_vectors(level, Normalise { x, weight, bias: &bias[..weight.len()], out });
}

struct Normalise<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    out: &'a mut [f32],
}

impl Body for Normalise<'_> {
    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self { x, weight, bias, out } = self;
        let len = weight.len();
        for (row, out) in x.chunks_exact(len).zip(out.chunks_exact_mut(len)) {
            let normal = Normal::of::<V>(row);
            for first in (0..len).step_by(V::LANES) {
                let (weight, bias) = (V::load_at(weight, first), V::load_at(bias, first));
                normal.at(V::load_at(row, first)).mul_add(weight, bias).store_at(out, first);
            }
        }
    }
}

/// How the values of a row become normal: `(value − mean) · factor`.
#[derive(Clone, Copy)]
struct Normal {
    mean: f32,
    factor: f32,
}

impl Normal {
    #[inline(always)]
    fn of<V: Vector>(row: &[f32]) -> Self {
        let len = row.len() as f32;
        let mean = sum::<V>(row) / len;
        let variance = square_sum::<V>(row, mean) / len;
        Self { mean, factor: 1.0 / (variance + EPSILON).sqrt() }
    }

    #[inline(always)]
    fn at<V: Vector>(&self, value: V) -> V {
        let centred = value.mul_add(V::splat(1.0), V::splat(-self.mean));
        centred.mul_add(V::splat(self.factor), V::splat(0.0))
    }
}

/// The sum of a row's values: two sums of vectors side by side, since each waits for its last one.
#[inline(always)]
fn sum<V: Vector>(row: &[f32]) -> f32 {
    let (one, body) = (V::splat(1.0), whole_pairs::<V>(row.len()));
    let (mut even, mut odd) = (V::splat(0.0), V::splat(0.0));
    for first in (0..body).step_by(2 * V::LANES) {
        even = V::load(&row[first..]).mul_add(one, even);
        odd = V::load(&row[first + V::LANES..]).mul_add(one, odd);
    }
    even = V::load_at(row, body).mul_add(one, even);
    odd = V::load_at(row, body + V::LANES).mul_add(one, odd);
    even.mul_add(one, odd).total()
}

/// Values in whole pairs of vectors.
#[inline(always)]
fn whole_pairs<V: Vector>(len: usize) -> usize {
    len / (2 * V::LANES) * (2 * V::LANES)
}

/// Σ (value − mean)²
#[inline(always)]
fn square_sum<V: Vector>(row: &[f32], mean: f32) -> f32 {
    let (one, minus, body) = (V::splat(1.0), V::splat(-mean), whole_pairs::<V>(row.len()));
    let (mut even, mut odd) = (V::splat(0.0), V::splat(0.0));
    for first in (0..body).step_by(2 * V::LANES) {
        let a = V::load(&row[first..]).mul_add(one, minus);
        let b = V::load(&row[first + V::LANES..]).mul_add(one, minus);
        (even, odd) = (a.mul_add(a, even), b.mul_add(b, odd));
    }
    // Behind the last value there are zeros, whose distance is none.
    let ones = &[1.0; 2 * MOST_LANES][..row.len() - body];
    let a = V::load_at(ones, 0).mul_add(minus, V::load_at(row, body));
    let b = V::load_at(ones, V::LANES).mul_add(minus, V::load_at(row, body + V::LANES));
    (even, odd) = (a.mul_add(a, even), b.mul_add(b, odd));
    even.mul_add(one, odd).total()
}

/// The gradients of a norm's weight and bias, to be added to.
#[derive(Debug)]
pub(crate) struct NormSums<'a> {
    pub(crate) weight: &'a mut [f32],
    pub(crate) bias: &'a mut [f32],
}

/// Adds to `grad_x` the gradient of the rows of `x` behind the norm from `grad`, that of its output, and
/// to `sums` those of its weight and bias.
pub(crate) fn add_gradients(
    level: Level,
    x: &[f32],
    weight: &[f32],
    grad: &[f32],
    grad_x: &mut [f32],
    sums: &mut NormSums<'_>,
) {
    with_vectors(level, AddGradients { x, weight, grad, grad_x, sums });
}

struct AddGradients<'a, 'b> {
    x: &'a [f32],
    weight: &'a [f32],
    grad: &'a [f32],
    grad_x: &'a mut [f32],
    sums: &'a mut NormSums<'b>,
}

impl Body for AddGradients<'_, '_> {
    #[inline(always)]
    fn run<V: Vector>(self) {
        let Self { x, weight, grad, grad_x, sums } = self;
        let len = weight.len();
        let (of_weight, of_bias) = (&mut sums.weight[..len], &mut sums.bias[..len]);
        let rows =
            x.chunks_exact(len).zip(grad.chunks_exact(len)).zip(grad_x.chunks_exact_mut(len));
        for ((row, grad), grad_x) in rows {
            let normal = Normal::of::<V>(row);
            let [plain, along] =
                weighted_sums::<V>(row, normal, weight, grad).map(|sum| sum / len as f32);
            for first in (0..len).step_by(V::LANES) {
                let (weight, grad) = (V::load_at(weight, first), V::load_at(grad, first));
                let value = normal.at(V::load_at(row, first));
                grad.mul_add(value, V::load_at(of_weight, first)).store_at(of_weight, first);
                grad.mul_add(V::splat(1.0), V::load_at(of_bias, first)).store_at(of_bias, first);
                let centred = grad.mul_add(weight, V::splat(-plain));
                let rest = value.mul_add(V::splat(-along), centred);
                let sum = rest.mul_add(V::splat(normal.factor), V::load_at(grad_x, first));
                sum.store_at(grad_x, first);
            }
        }
    }
}

/// Σ weight · gradient, and the same times the normal value.
#[inline(always)]
fn weighted_sums<V: Vector>(row: &[f32], normal: Normal, weight: &[f32], grad: &[f32]) -> [f32; 2] {
    let (mut plain, mut along) = (V::splat(0.0), V::splat(0.0));
    for first in (0..row.len()).step_by(V::LANES) {
        let (value, grad) = (V::load_at(row, first), V::load_at(grad, first));
        let weight = V::load_at(weight, first);
        let product = weight.mul_add(grad, V::splat(0.0));
        plain = product.mul_add(V::splat(1.0), plain);
        along = product.mul_add(normal.at(value), along);
    }
    [plain.total(), along.total()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vrt_testing::Random;

    use super::*;

    proptest! {
        #[test]
        fn rows_get_the_mean_and_spread_of_weight_and_bias(
            rows in 1_usize..5, len in 1_usize..70, offset in -3.0_f32..3.0, seed: u64,
        ) {
            let mut random = Random::new(seed);
            let x: Vec<f32> =
                random.values(rows * len, 1.0).iter().map(|value| value + offset).collect();
            let (weight, bias) = (random.values(len, 1.0), random.values(len, 1.0));
            for level in Level::available() {
                let mut out = vec![f32::NAN; x.len()];
                normalise(level, &x, &weight, &bias, &mut out);
                for (row, out) in x.chunks_exact(len).zip(out.chunks_exact(len)) {
                    let row: Vec<f64> = row.iter().map(|value| f64::from(*value)).collect();
                    let mean = row.iter().sum::<f64>() / len as f64;
                    let variance =
                        row.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / len as f64;
                    for i in 0..len {
                        let normal = (row[i] - mean) / (variance + f64::from(EPSILON)).sqrt();
                        let expected = normal * f64::from(weight[i]) + f64::from(bias[i]);
                        // The mean is rounded to `offset · ε`, which a small spread magnifies.
                        let bound = 1e-5 + 2e-6 / (variance + f64::from(EPSILON)).sqrt();
                        prop_assert!((f64::from(out[i]) - expected).abs() < bound, "{level}");
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn gradients_are_the_slopes_of_the_norm(
            rows in 1_usize..5, len in 2_usize..40, seed: u64,
        ) {
            let mut random = Random::new(seed);
            let x = random.values(rows * len, 1.0);
            let (weight, grad) = (random.values(len, 1.0), random.values(rows * len, 1.0));
            // The outputs, weighted by `grad`, in `f64`.
            let value = |x: &[f64], weight: &[f64]| -> f64 {
                let rows = x.chunks_exact(len).zip(grad.chunks_exact(len));
                rows.map(|(row, grad)| {
                    let mean = row.iter().sum::<f64>() / len as f64;
                    let square = row.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
                    let deviation = (square / len as f64 + f64::from(EPSILON)).sqrt();
                    let term = |i: usize| {
                        (row[i] - mean) / deviation * weight[i] * f64::from(grad[i])
                    };
                    (0..len).map(term).sum::<f64>()
                }).sum()
            };
            let wide = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
            let slope = |of_x: bool, at: usize| {
                let at_step = |step: f64| {
                    let (mut x, mut weight) = (wide(&x), wide(&weight));
                    if of_x { x[at] += step } else { weight[at] += step }
                    value(&x, &weight)
                };
                (at_step(1e-5) - at_step(-1e-5)) / 2e-5
            };
            for level in Level::available() {
                let (mut of_x, mut of_weight, mut of_bias) =
                    (vec![1.0; x.len()], vec![2.0; len], vec![3.0; len]);
                let mut sums = NormSums { weight: &mut of_weight, bias: &mut of_bias };
                add_gradients(level, &x, &weight, &grad, &mut of_x, &mut sums);
                for (at, found) in of_x.iter().enumerate() {
                    let expected = 1.0 + slope(true, at);
                    let bound = 1e-4 * (1.0 + expected.abs());
                    prop_assert!((f64::from(*found) - expected).abs() < bound, "{level}: x {at}");
                }
                for at in 0..len {
                    let expected = 2.0 + slope(false, at);
                    let bound = 1e-4 * (1.0 + expected.abs());
                    prop_assert!((f64::from(of_weight[at]) - expected).abs() < bound, "{level}");
                    let column: f64 =
                        grad[at..].iter().step_by(len).map(|grad| f64::from(*grad)).sum();
                    prop_assert!((f64::from(of_bias[at]) - 3.0 - column).abs() < 1e-5, "{level}");
                }
            }
        }
    }
}
