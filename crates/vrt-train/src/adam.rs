//! Adam (arXiv:1412.6980), as PyTorch computes it.

use burn::tensor::Tensor;

use crate::recipe::Adam;

/// What keeps the root of the mean square from being zero.
const EPSILON: f64 = 1e-8;

/// What the optimiser knows of a parameter.
#[derive(Clone, Debug)]
pub struct Moments {
    /// Decaying mean of gradients.
    pub mean: Tensor<1>,
    /// Decaying mean of their squares.
    pub square: Tensor<1>,
    /// Gradients so far; a parameter that was frozen begins to count when it is trained.
    pub steps: u64,
}

/// One step: what becomes of a parameter and its moments.
pub fn step(
    adam: Adam,
    rate: f64,
    value: Tensor<1>,
    gradient: Tensor<1>,
    moments: Option<Moments>,
) -> (Tensor<1>, Moments) {
    let [b1, b2] = adam.betas;
    let gradient = match adam.weight_decay {
        0.0 => gradient,
        decay => gradient + value.clone() * decay,
    };
    let (mean, square, steps) = match moments {
        None => (gradient.clone() * (1.0 - b1), gradient.square() * (1.0 - b2), 1),
        Some(Moments { mean, square, steps }) => (
            mean.clone() + (gradient.clone() - mean) * (1.0 - b1),
            square * b2 + gradient.square() * (1.0 - b2),
            steps + 1,
        ),
    };
    let corrected = |beta: f64| 1.0 - beta.powf(steps as f64);
    let root = square.clone().sqrt() / corrected(b2).sqrt() + EPSILON;
    let value = value - mean.clone() / root * (rate / corrected(b1));
    (value, Moments { mean, square, steps })
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};
    use proptest::prelude::*;

    use super::*;

    fn tensor(value: f64) -> Tensor<1> {
        Tensor::from_data(TensorData::new(vec![value as f32], [1]), &Device::flex())
    }

    fn number(x: &Tensor<1>) -> f64 {
        f64::from(x.clone().into_scalar::<f32>())
    }

    /// The formulas of the paper, in f64: means from zero, each divided by what it lacks.
    fn reference(adam: Adam, rate: f64, mut value: f64, gradients: &[f64]) -> f64 {
        let ([b1, b2], mut m, mut v) = (adam.betas, 0.0, 0.0);
        for (t, gradient) in gradients.iter().enumerate() {
            let t = t as i32 + 1;
            let g = gradient + adam.weight_decay * value;
            m = b1 * m + (1.0 - b1) * g;
            v = b2 * v + (1.0 - b2) * g * g;
            value -= rate * (m / (1.0 - b1.powi(t))) / ((v / (1.0 - b2.powi(t))).sqrt() + 1e-8);
        }
        value
    }

    proptest! {
        #[test]
        fn steps_follow_the_paper(
            start in -1.0..1.0_f64,
            gradients in prop::collection::vec(-2.0..2.0_f64, 1..8),
            weight_decay in prop::sample::select(vec![0.0, 0.1]),
        ) {
            let adam = Adam { betas: [0.9, 0.99], weight_decay };
            let (mut value, mut moments) = (tensor(start), None);
            for gradient in &gradients {
                let (next, state) = step(adam, 1e-2, value, tensor(*gradient), moments);
                (value, moments) = (next, Some(state));
            }
            let expected = reference(adam, 1e-2, start, &gradients);
            // A rate of a hundredth, and up to eight steps, each within a few roundings.
            prop_assert!((number(&value) - expected).abs() < 2e-6, "{}", number(&value) - expected);
            prop_assert_eq!(moments.map(|state| state.steps), Some(gradients.len() as u64));
        }
    }

    #[test]
    fn the_first_step_is_the_rate_whatever_the_gradient() {
        for gradient in [1e-3, -5.0, 200.0] {
            let adam = Adam { betas: [0.9, 0.999], weight_decay: 0.0 };
            let (value, _) = step(adam, 1e-2, tensor(0.0), tensor(gradient), None);
            assert!((number(&value) + 1e-2 * gradient.signum()).abs() < 1e-6);
        }
    }
}
