//! Builds a network's parameters under their published names: from a file's values, or drawn.

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::sight::sight;

/// Values for parameters, by their published names.
pub trait Values {
    /// The values of `name`, row-major, if there is such a tensor of this shape.
    fn values(&mut self, name: &str, shape: &[usize]) -> Option<Vec<f32>>;
}

/// What a parameter is before training.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Initial {
    /// Uniform in ±1/√fan_in.
    FanIn(usize),
    /// Normal, σ 0.02. PyTorch cuts at ±2, which is a hundred σ away.
    Position,
    /// All zero.
    Zero,
    /// All one.
    One,
    /// Filters over two by two pixels of so many channels and what neighbours show of them; see
    /// [`sight`].
    Sight { inputs: usize, channels: usize },
}

enum Source<'a> {
    Given(&'a mut dyn Values),
    Drawn(Box<ChaCha8Rng>),
}

/// Hands out parameters and keeps their names.
pub(crate) struct Builder<'a> {
    device: &'a Device,
    source: Source<'a>,
    path: String,
    names: Vec<(ParamId, String)>,
    missing: Vec<String>,
}

/// What is known about parameters that a network itself does not hold.
pub(crate) struct Built {
    /// The published name of each parameter, in order of construction.
    pub(crate) names: Vec<(ParamId, String)>,
    /// Parameters the source had no value for.
    pub(crate) missing: Vec<String>,
}

impl<'a> Builder<'a> {
    pub(crate) fn given(device: &'a Device, values: &'a mut dyn Values) -> Self {
        Self::new(device, Source::Given(values))
    }

    pub(crate) fn drawn(device: &'a Device, seed: u64) -> Self {
        Self::new(device, Source::Drawn(Box::new(ChaCha8Rng::seed_from_u64(seed))))
    }

    fn new(device: &'a Device, source: Source<'a>) -> Self {
        let (path, names, missing) = (String::new(), Vec::new(), Vec::new());
        Self { device, source, path, names, missing }
    }

    pub(crate) fn finish(self) -> Built {
        Built { names: self.names, missing: self.missing }
    }

    /// Builds a part whose parameters' names start with `name`.
    pub(crate) fn part<T>(&mut self, name: &str, build: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.path.len();
        self.path.push_str(name);
        self.path.push('.');
        let part = build(self);
        self.path.truncate(before);
        part
    }

    /// The parameter `name` of the part under construction.
    pub(crate) fn tensor<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
        initial: Initial,
    ) -> Param<Tensor<D>> {
        let name = format!("{}{name}", self.path);
        let len = shape.iter().product();
        let values = match &mut self.source {
            Source::Given(values) => values.values(&name, &shape).unwrap_or_else(|| {
                self.missing.push(name.clone());
                vec![0.0; len]
            }),
            Source::Drawn(random) => draw(random, initial, len),
        };
        let data = TensorData::new(values, shape);
        let param = Param::from_tensor(Tensor::from_data(data, self.device));
        self.names.push((param.id, name));
        param
    }
}

fn draw(random: &mut ChaCha8Rng, initial: Initial, len: usize) -> Vec<f32> {
    match initial {
        Initial::Zero => vec![0.0; len],
        Initial::One => vec![1.0; len],
        Initial::FanIn(fan_in) => {
            let bound = (fan_in as f32).sqrt().recip();
            (0..len).map(|_| random.random_range(-bound..bound)).collect()
        }
        Initial::Sight { inputs, channels } => {
            sight(draw(random, Initial::FanIn(9 * inputs), len), inputs, channels)
        }
        Initial::Position => (0..len).map(|_| 0.02 * normal(random)).collect(),
    }
}

/// Standard normal: Box and Muller's transform.
fn normal(random: &mut ChaCha8Rng) -> f32 {
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    (radius * (std::f64::consts::TAU * random.random::<f64>()).cos()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn position_tables_are_normal_beyond_two_deviations_too() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let values = draw(&mut random, Initial::Position, 100_000);
        let share = |bound: f32| {
            values.iter().filter(|value| value.abs() > 0.02 * bound).count() as f64 / 100_000.0
        };
        // Of a normal distribution; the bounds are five deviations of such a count.
        for (bound, expected) in [(1.0, 0.3173), (2.0, 0.0455), (3.0, 0.0027)] {
            let deviation = (expected * (1.0 - expected) / 100_000.0_f64).sqrt();
            let found = share(bound);
            assert!((found - expected).abs() < 5.0 * deviation, "{bound} σ: {found}");
        }
        let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / 100_000.0;
        assert!(mean.abs() < 5.0 * 0.02 / 100_000.0_f64.sqrt(), "{mean}");
    }
}
