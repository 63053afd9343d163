//! Comparison of tensors relative to their largest value.

/// How far a value may be from the expected one, relative to the largest expected value.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// Bound on every value, or on the share of values named by `share`.
    pub each: f32,
    /// Share of the values that must be within `each`, 1 for all.
    pub share: f32,
    /// Bound on the mean difference.
    pub mean: f32,
}

impl Tolerance {
    /// Every value within `each`.
    pub const fn all(each: f32) -> Self {
        Self { each, share: 1.0, mean: each }
    }

    /// A `share` of the values within `each`.
    pub const fn most(share: f32, each: f32) -> Self {
        Self { each, share, mean: f32::INFINITY }
    }

    /// The same with a bound on the mean difference.
    pub const fn mean(self, mean: f32) -> Self {
        Self { mean, ..self }
    }
}

/// The largest difference, the mean difference (both relative to the largest expected value) and
/// the share of values within `each`.
///
/// # Panics
///
/// Panics if the lengths differ or a value is not finite.
pub fn worst(actual: &[f32], expected: &[f32], each: f32) -> (f32, f32, f32) {
    assert_eq!(actual.len(), expected.len(), "tensors of different sizes");
    assert!(!expected.is_empty(), "tensors without values");
    let largest = expected.iter().fold(f32::MIN_POSITIVE, |m, v| m.max(v.abs()));
    let (mut worst, mut sum, mut within) = (0_f32, 0_f64, 0_usize);
    for (index, (a, e)) in actual.iter().zip(expected).enumerate() {
        assert!(a.is_finite(), "value {index} is {a}, expected {e}");
        let difference = (a - e).abs() / largest;
        worst = worst.max(difference);
        sum += f64::from(difference);
        within += usize::from(difference <= each);
    }
    (worst, (sum / actual.len() as f64) as f32, within as f32 / actual.len() as f32)
}

/// Holds `actual` to `expected`.
///
/// # Panics
///
/// Panics with `name` and the figures if the tolerance is not met.
pub fn assert_close(name: &str, actual: &[f32], expected: &[f32], tolerance: Tolerance) {
    let (largest, mean, share) = worst(actual, expected, tolerance.each);
    assert!(
        share >= tolerance.share && mean <= tolerance.mean,
        "{name}: {share} of the values are within {} (wanted {}), the mean difference is {mean} \
         (wanted {}), the largest {largest}",
        tolerance.each,
        tolerance.share,
        tolerance.mean,
    );
}
