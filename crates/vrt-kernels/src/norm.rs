//! Layer norm: each row to a mean of 0 and a variance of 1, then times a weight, plus a bias.

use crate::level::{at_every_level, mul_add};

/// What the published layer norms add to the variance.
pub(crate) const EPSILON: f32 = 1e-5;

/// Values that are summed side by side, so that sums run in vectors.
const LANES: usize = 16;

at_every_level! {
    /// Writes the norm of the rows of `x` to `out`, rows as long as `weight`.
    pub(crate) fn normalise(
        x: &[f32],
        weight: &[f32],
        bias: &[f32],
        out: &mut [f32],
    ) = normalise_body;
}

#[inline(always)]
fn normalise_body<const FUSED: bool>(x: &[f32], weight: &[f32], bias: &[f32], out: &mut [f32]) {
    let len = weight.len();
    let bias = &bias[..len];
    for (row, out) in x.chunks_exact(len).zip(out.chunks_exact_mut(len)) {
        let mean = sum(row) / len as f32;
        let variance = square_sum::<FUSED>(row, mean) / len as f32;
        let factor = 1.0 / (variance + EPSILON).sqrt();
        for i in 0..len {
            out[i] = mul_add::<FUSED>((row[i] - mean) * factor, weight[i], bias[i]);
        }
    }
}

/// The gradients of a norm's weight and bias, to be added to.
#[derive(Debug)]
pub(crate) struct NormSums<'a> {
    pub(crate) weight: &'a mut [f32],
    pub(crate) bias: &'a mut [f32],
}

at_every_level! {
    /// Adds to `grad_x` the gradient of the rows of `x` behind the norm from `grad`, that of its
    /// output, and to `sums` those of its weight and bias.
    pub(crate) fn add_gradients(
        x: &[f32],
        weight: &[f32],
        grad: &[f32],
        grad_x: &mut [f32],
        sums: &mut NormSums<'_>,
    ) = add_gradients_body;
}

#[inline(always)]
fn add_gradients_body<const FUSED: bool>(
    x: &[f32],
    weight: &[f32],
    grad: &[f32],
    grad_x: &mut [f32],
    sums: &mut NormSums<'_>,
) {
    let len = weight.len();
    let (of_weight, of_bias) = (&mut sums.weight[..len], &mut sums.bias[..len]);
    let rows = x.chunks_exact(len).zip(grad.chunks_exact(len)).zip(grad_x.chunks_exact_mut(len));
    for ((row, grad), grad_x) in rows {
        let mean = sum(row) / len as f32;
        let variance = square_sum::<FUSED>(row, mean) / len as f32;
        let factor = 1.0 / (variance + EPSILON).sqrt();
        let [plain, along] = weighted_sums::<FUSED>(row, (mean, factor), weight, grad);
        let (plain, along) = (plain / len as f32, along / len as f32);
        for i in 0..len {
            let normal = (row[i] - mean) * factor;
            of_weight[i] = mul_add::<FUSED>(grad[i], normal, of_weight[i]);
            of_bias[i] += grad[i];
            let centred = mul_add::<FUSED>(grad[i], weight[i], -plain);
            grad_x[i] =
                mul_add::<FUSED>(mul_add::<FUSED>(-normal, along, centred), factor, grad_x[i]);
        }
    }
}

/// Σ weight · gradient, and the same times the normal value.
#[inline(always)]
fn weighted_sums<const FUSED: bool>(
    row: &[f32],
    (mean, factor): (f32, f32),
    weight: &[f32],
    grad: &[f32],
) -> [f32; 2] {
    let (mut plain, mut along) = ([0.0_f32; LANES], [0.0_f32; LANES]);
    let len = row.len();
    let body = len / LANES * LANES;
    for first in (0..body).step_by(LANES) {
        let (row, weight, grad) =
            (&row[first..][..LANES], &weight[first..][..LANES], &grad[first..][..LANES]);
        for l in 0..LANES {
            let product = weight[l] * grad[l];
            plain[l] += product;
            along[l] = mul_add::<FUSED>(product, (row[l] - mean) * factor, along[l]);
        }
    }
    for i in body..len {
        let product = weight[i] * grad[i];
        plain[i - body] += product;
        along[i - body] = mul_add::<FUSED>(product, (row[i] - mean) * factor, along[i - body]);
    }
    [total(plain), total(along)]
}

#[inline(always)]
fn sum(row: &[f32]) -> f32 {
    lane_sums::<false, false>(row, 0.0)
}

/// Σ (value − mean)²
#[inline(always)]
fn square_sum<const FUSED: bool>(row: &[f32], mean: f32) -> f32 {
    lane_sums::<FUSED, true>(row, mean)
}

/// The sum of all values, or of their squared distances from `mean`.
#[inline(always)]
fn lane_sums<const FUSED: bool, const SQUARED: bool>(row: &[f32], mean: f32) -> f32 {
    const HALF: usize = LANES / 2;
    let mut lanes = [0.0_f32; LANES];
    let (body, tail) = row.as_chunks::<LANES>();
    for values in body {
        for l in 0..LANES {
            lanes[l] = added::<FUSED, SQUARED>(lanes[l], values[l], mean);
        }
    }
    // Channels are multiples of eight as a rule.
    let (half, rest) = tail.as_chunks::<HALF>();
    for values in half {
        for l in 0..HALF {
            lanes[l] = added::<FUSED, SQUARED>(lanes[l], values[l], mean);
        }
    }
    for (l, value) in rest.iter().enumerate() {
        lanes[HALF + l] = added::<FUSED, SQUARED>(lanes[HALF + l], *value, mean);
    }
    total(lanes)
}

#[inline(always)]
fn added<const FUSED: bool, const SQUARED: bool>(sum: f32, value: f32, mean: f32) -> f32 {
    if SQUARED { mul_add::<FUSED>(value - mean, value - mean, sum) } else { sum + value }
}

/// The sum of all lanes, by halves: four steps behind one another in place of sixteen.
#[inline(always)]
fn total(mut lanes: [f32; LANES]) -> f32 {
    const { assert!(LANES == 16) };
    for half in [8, 4, 2, 1] {
        for l in 0..half {
            lanes[l] += lanes[l + half];
        }
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vrt_testing::Random;

    use super::*;
    use crate::level::Level;

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
