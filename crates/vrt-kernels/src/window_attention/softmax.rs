//! Rows of logits to probabilities, and the way back.

use super::MASKED;
use crate::level::{at_every_level, mul_add};

/// Values that are reduced side by side, so that sums and maxima run in vectors.
const LANES: usize = 16;

/// Below this the exponential is taken for zero; it is next to the smallest normal number there.
const SMALLEST_EXPONENT: f32 = -87.0;

/// `eˣ` for `x` of at most 0, within two units in the last place; zero below −87.
#[inline(always)]
fn exp<const FUSED: bool>(x: f32) -> f32 {
    // Adding 1.5 · 2²³ leaves the nearest whole number in the lowest bits.
    const ROUNDER: f32 = 12_582_912.0;
    // ln 2 in two parts; the first has so few bits that its products below are exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let shifted = mul_add::<FUSED>(x, std::f32::consts::LOG2_E, ROUNDER);
    let twos = shifted - ROUNDER;
    let rest = mul_add::<FUSED>(twos, -LN_2_HIGH, x);
    let rest = mul_add::<FUSED>(twos, -LN_2_LOW, rest);
    // Taylor's series: |rest| is at most ln 2 / 2, where the next term is below 6e-9.
    let mut sum = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = mul_add::<FUSED>(sum, rest, coefficient);
    }
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits()));
    if x < SMALLEST_EXPONENT { 0.0 } else { sum * power }
}

/// What is added to logits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Added<'a> {
    /// `[rows, keys]`
    pub(super) bias: Option<&'a [f32]>,
    /// The region of each token; rows and keys are the same tokens, or have the same regions.
    pub(super) regions: Option<&'a [u8]>,
}

at_every_level! {
    /// Replaces rows of logits by `e^(logit + added − largest)` and writes one over the sum of each
    /// row to `scales`, which makes them probabilities.
    pub(super) fn exponentials(
        logits: &mut [f32],
        added: Added<'_>,
        scales: &mut [f32],
    ) = exponentials_body;
}

#[inline(always)]
fn exponentials_body<const FUSED: bool>(logits: &mut [f32], added: Added<'_>, scales: &mut [f32]) {
    let keys = logits.len() / scales.len();
    for (i, (row, scale)) in logits.chunks_exact_mut(keys).zip(scales).enumerate() {
        if let Some(bias) = added.bias {
            let bias = &bias[i * keys..][..keys];
            row.iter_mut().zip(bias).for_each(|(logit, bias)| *logit += bias);
        }
        if let Some(regions) = added.regions {
            let own = regions[i];
            for (logit, region) in row.iter_mut().zip(regions) {
                *logit += if *region == own { 0.0 } else { MASKED };
            }
        }
        let largest = largest(row);
        *scale = exponential_sum::<FUSED>(row, largest).recip();
    }
}

#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

#[inline(always)]
fn largest(row: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (body, tail) = row.as_chunks::<LANES>();
    for values in body {
        for (lane, value) in lanes.iter_mut().zip(values) {
            *lane = larger(*value, *lane);
        }
    }
    for (lane, value) in lanes.iter_mut().zip(tail) {
        *lane = larger(*value, *lane);
    }
    lanes.into_iter().fold(f32::NEG_INFINITY, larger)
}

/// Replaces each value by its exponential after taking `largest` away, and gives their sum.
#[inline(always)]
fn exponential_sum<const FUSED: bool>(row: &mut [f32], largest: f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (body, tail) = row.as_chunks_mut::<LANES>();
    for values in body {
        for (lane, value) in lanes.iter_mut().zip(values) {
            *value = exp::<FUSED>(*value - largest);
            *lane += *value;
        }
    }
    for (lane, value) in lanes.iter_mut().zip(tail) {
        *value = exp::<FUSED>(*value - largest);
        *lane += *value;
    }
    lanes.into_iter().sum()
}

at_every_level! {
    /// Multiplies each row by its scale.
    pub(super) fn scale_rows(rows: &mut [f32], scales: &[f32]) = scale_rows_body;
}

#[inline(always)]
fn scale_rows_body<const FUSED: bool>(rows: &mut [f32], scales: &[f32]) {
    let len = rows.len() / scales.len();
    for (row, scale) in rows.chunks_exact_mut(len).zip(scales) {
        row.iter_mut().for_each(|value| *value *= scale);
    }
}

at_every_level! {
    /// Replaces the gradient of `rows` rows of probabilities by that of their logits:
    /// `probability · (gradient − Σ probability · gradient)`.
    pub(super) fn logit_gradients(
        probabilities: &[f32],
        grads: &mut [f32],
        rows: usize,
    ) = logit_gradients_body;
}

#[inline(always)]
fn logit_gradients_body<const FUSED: bool>(probabilities: &[f32], grads: &mut [f32], rows: usize) {
    let keys = grads.len() / rows;
    for (row, grads) in probabilities.chunks_exact(keys).zip(grads.chunks_exact_mut(keys)) {
        let mean = dot::<FUSED>(row, grads);
        for (grad, probability) in grads.iter_mut().zip(row) {
            *grad = probability * (*grad - mean);
        }
    }
}

#[inline(always)]
fn dot<const FUSED: bool>(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let ((a_body, a_tail), (b_body, b_tail)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a_body.iter().zip(b_body) {
        for (lane, (a, b)) in lanes.iter_mut().zip(a.iter().zip(b)) {
            *lane = mul_add::<FUSED>(*a, *b, *lane);
        }
    }
    for (lane, (a, b)) in lanes.iter_mut().zip(a_tail.iter().zip(b_tail)) {
        *lane = mul_add::<FUSED>(*a, *b, *lane);
    }
    lanes.into_iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::level::Level;

    /// Relative error of two units in the last place.
    const BOUND: f64 = 2.0 * f32::EPSILON as f64;

    fn check<const FUSED: bool>(x: f32) {
        let (actual, expected) = (f64::from(exp::<FUSED>(x)), f64::from(x).exp());
        if x < SMALLEST_EXPONENT {
            assert_eq!(actual, 0.0, "exp({x})");
        } else {
            assert!((actual - expected).abs() <= BOUND * expected, "exp({x}) is {actual}");
        }
    }

    #[test]
    fn the_exponential_is_within_two_units() {
        // Every 401st float from −0 to −110.
        let mut bits = (-0.0_f32).to_bits();
        while f32::from_bits(bits) > -110.0 {
            check::<true>(f32::from_bits(bits));
            check::<false>(f32::from_bits(bits));
            bits += 401;
        }
        assert_eq!(exp::<true>(0.0), 1.0);
        assert_eq!(exp::<false>(f32::NEG_INFINITY), 0.0);
        assert!(exp::<false>(f32::NAN).is_nan());
    }

    #[test]
    fn rows_become_probabilities_whatever_their_length_and_size() {
        for level in Level::available() {
            for keys in 1..40 {
                let mut logits: Vec<f32> = (0..3 * keys).map(|i| 300.0 - 7.0 * i as f32).collect();
                let mut scales = [0.0; 3];
                let added = Added { bias: None, regions: None };
                exponentials(level, &mut logits, added, &mut scales);
                scale_rows(level, &mut logits, &scales);
                for row in logits.chunks_exact(keys) {
                    let sum: f32 = row.iter().sum();
                    assert!((sum - 1.0).abs() < 1e-6, "{level}, {keys} keys: {sum}");
                    assert!(row.windows(2).all(|pair| pair[0] >= pair[1]), "{level}, {keys} keys");
                }
            }
        }
    }
}
