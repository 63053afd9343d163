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
        let mean = sum(row, 0.0) / len as f32;
        let variance = square_sum::<FUSED>(row, mean) / len as f32;
        let factor = 1.0 / (variance + EPSILON).sqrt();
        for i in 0..len {
            out[i] = mul_add::<FUSED>((row[i] - mean) * factor, weight[i], bias[i]);
        }
    }
}

#[inline(always)]
fn sum(row: &[f32], start: f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (body, tail) = row.as_chunks::<LANES>();
    for values in body {
        for (lane, value) in lanes.iter_mut().zip(values) {
            *lane += value;
        }
    }
    for (lane, value) in lanes.iter_mut().zip(tail) {
        *lane += value;
    }
    lanes.into_iter().fold(start, |sum, lane| sum + lane)
}

/// Σ (value − mean)²
#[inline(always)]
fn square_sum<const FUSED: bool>(row: &[f32], mean: f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (body, tail) = row.as_chunks::<LANES>();
    for values in body {
        for (lane, value) in lanes.iter_mut().zip(values) {
            *lane = mul_add::<FUSED>(value - mean, value - mean, *lane);
        }
    }
    for (lane, value) in lanes.iter_mut().zip(tail) {
        *lane = mul_add::<FUSED>(value - mean, value - mean, *lane);
    }
    lanes.into_iter().sum()
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
}
