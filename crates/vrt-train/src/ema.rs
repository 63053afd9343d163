//! A decaying average of a network's weights.

use burn::tensor::Tensor;

/// The average of all parameters, in their order.
#[derive(Clone, Debug)]
pub struct Ema {
    decay: f64,
    values: Vec<Tensor<1>>,
}

impl Ema {
    /// An average that begins with `values`; each update keeps `decay` of it.
    pub fn new(decay: f64, values: Vec<Tensor<1>>) -> Self {
        Self { decay, values }
    }

    /// The average so far.
    pub fn values(&self) -> &[Tensor<1>] {
        &self.values
    }

    /// The same average at another place.
    pub fn with_values(self, values: Vec<Tensor<1>>) -> Self {
        Self { values, ..self }
    }

    /// Takes in the weights after a step.
    pub fn update(&mut self, weights: Vec<Tensor<1>>) {
        let old = std::mem::take(&mut self.values);
        let average =
            |(old, new): (Tensor<1>, Tensor<1>)| old * self.decay + new * (1.0 - self.decay);
        self.values = old.into_iter().zip(weights).map(average).collect();
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    #[test]
    fn old_weights_decay() {
        let tensor = |value| Tensor::from_data(TensorData::new(vec![value], [1]), &Device::flex());
        let mut ema = Ema::new(0.5, vec![tensor(8.0_f32)]);
        for value in [0.0, 4.0] {
            ema.update(vec![tensor(value)]);
        }
        assert_eq!(ema.values()[0].clone().into_scalar::<f32>(), 4.0);
    }
}
