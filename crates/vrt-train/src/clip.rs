//! The norm of all gradients together, and keeping it small.

use burn::tensor::Tensor;

use crate::host::floats;
use crate::parameters::Flat;

/// What keeps a norm of zero from being divided by.
const EPSILON: f64 = 1e-6;

/// The Euclidean norm of all gradients together; 0 without any.
pub fn norm(gradients: &Flat) -> f64 {
    let squares: Vec<_> = gradients.iter().flatten().map(|g| g.clone().square().sum()).collect();
    if squares.is_empty() {
        return 0.0;
    }
    // One tensor comes back from the device, not hundreds.
    let Ok(squares) = floats(Tensor::cat(squares, 0)) else { return f64::NAN };
    squares.into_iter().map(f64::from).sum::<f64>().sqrt()
}

/// Makes gradients whose norm is `norm` smaller, so that it is at most `most`.
pub fn clip(gradients: Flat, norm: f64, most: f64) -> Flat {
    let factor = most / (norm + EPSILON);
    if factor >= 1.0 {
        return gradients;
    }
    gradients.into_iter().map(|gradient| gradient.map(|g| g * factor)).collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    fn gradients(values: &[&[f32]]) -> Flat {
        let tensor = |values: &&[f32]| match values.is_empty() {
            true => None,
            false => {
                let data = TensorData::new(values.to_vec(), [values.len()]);
                Some(Tensor::from_data(data, &Device::flex()))
            }
        };
        values.iter().map(tensor).collect()
    }

    #[test]
    fn the_norm_is_over_all_that_have_a_gradient() {
        assert!((norm(&gradients(&[&[3.0, 0.0], &[], &[4.0]])) - 5.0).abs() < 1e-6);
        assert_eq!(norm(&gradients(&[&[]])), 0.0);
        assert!(!norm(&gradients(&[&[1.0], &[f32::NAN]])).is_finite());
        assert!(!norm(&gradients(&[&[1.0], &[f32::INFINITY]])).is_finite());
    }

    #[test]
    fn large_norms_become_the_bound_and_small_ones_stay() {
        let large = gradients(&[&[3.0, 0.0], &[], &[4.0]]);
        let clipped = clip(large, 5.0, 0.5);
        assert!((norm(&clipped) - 0.5).abs() < 1e-6);
        assert!(clipped[1].is_none());
        let kept = clip(gradients(&[&[0.3], &[0.4]]), 0.5, 0.6);
        assert!((norm(&kept) - 0.5).abs() < 1e-7);
    }
}
