//! Rows of logits to probabilities, and the way back.

use super::MASKED;
use crate::exponential::exp;
use crate::level::{at_every_level, mul_add};

/// Values that are reduced side by side, so that sums and maxima run in vectors.
const LANES: usize = 16;

/// What is added to logits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Added<'a> {
    /// `[rows, keys]`
    pub(super) bias: Option<&'a [f32]>,
    /// The regions of the rows' tokens and of the keys'.
    pub(super) regions: Option<[&'a [u8]; 2]>,
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
        if let Some([own, asked]) = added.regions {
            let own = own[i];
            for (logit, region) in row.iter_mut().zip(asked) {
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
