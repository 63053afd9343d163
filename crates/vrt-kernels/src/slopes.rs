//! Holds gradients to what they are: slopes.

use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use vrt_testing::Random;

/// Whether `grads`, one for each of `values`, are the slopes of `function`: each along a random
/// direction, against the difference of the function on both sides.
pub(crate) fn check(
    values: &[Vec<f32>],
    grads: &[Vec<f32>],
    seed: u64,
    function: impl Fn(&[Vec<f32>]) -> f64,
) -> Result<(), TestCaseError> {
    assert_eq!(values.len(), grads.len(), "a gradient for each");
    let mut random = Random::new(seed);
    let mut now = values.to_vec();
    for (index, (own, grad)) in values.iter().zip(grads).enumerate() {
        prop_assert_eq!(own.len(), grad.len(), "gradient {} has another size", index);
        let direction = random.values(own.len(), 1e-3);
        let moved = |sign: f32| -> Vec<f32> {
            own.iter().zip(&direction).map(|(own, step)| own + sign * step).collect()
        };
        let (up, down) = (moved(1.0), moved(-1.0));
        // Steps as they came out rounded, so that the only error is the third derivative's.
        let steps = up.iter().zip(&down).map(|(up, down)| f64::from(up - down));
        let terms: Vec<f64> = steps.zip(grad).map(|(step, grad)| step * f64::from(*grad)).collect();
        now[index] = up;
        let above = function(&now);
        now[index] = down;
        let below = function(&now);
        now[index].clone_from(own);
        let size = terms.iter().map(|term| term.powi(2)).sum::<f64>().sqrt();
        let (along, expected) = (terms.iter().sum::<f64>(), above - below);
        let close = (along - expected).abs() <= 2e-3 * size + 1e-6;
        prop_assert!(close, "gradient {index}: {along} along the direction, not {expected}");
    }
    Ok(())
}

/// Σ values · probe
pub(crate) fn weighted(values: &[f64], probe: &[f32]) -> f64 {
    values.iter().zip(probe).map(|(value, probe)| value * f64::from(*probe)).sum()
}
