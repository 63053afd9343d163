//! Sums of scaled values.

use crate::parallel::{for_each_part, zeros};

/// Values that one task sums up.
const TASK: usize = 1 << 14;

/// Writes `Σ factor · values` to `out`.
///
/// # Panics
///
/// Panics if a term has another length than `out`.
pub fn sum(terms: &[(&[f32], f32)], out: &mut [f32]) {
    let fit = terms.iter().all(|(values, _)| values.len() == out.len());
    assert!(fit, "sum: terms are not of {} values", out.len());
    for_each_part(out, TASK, |task, out| {
        out.fill(0.0);
        for (values, factor) in terms {
            let values = &values[task * TASK..][..out.len()];
            for (out, value) in out.iter_mut().zip(values) {
                *out += factor * value;
            }
        }
    });
}

/// `factor · values`
pub(crate) fn scaled(values: &[f32], factor: f32) -> Vec<f32> {
    let mut scaled = zeros(values.len());
    add_scaled(&mut scaled, factor, values);
    scaled
}

/// Adds `factor · values` to `sum`, which is as long.
pub(crate) fn add_scaled(sum: &mut [f32], factor: f32, values: &[f32]) {
    for_each_part(sum, TASK, |task, sum| {
        let values = &values[task * TASK..][..sum.len()];
        for (sum, value) in sum.iter_mut().zip(values) {
            *sum += factor * value;
        }
    });
}
