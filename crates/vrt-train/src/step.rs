//! One step: gradients of a batch, and what they make of the weights.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::{Device, Tensor, TensorData};
use vrt_model::{Named, Pass, Vrt};

use crate::adam::{self, Moments};
use crate::chance::{Purpose, generator};
use crate::clip;
use crate::ema::Ema;
use crate::loss;
use crate::parameters::{Flat, Group, Parameters};
use crate::recipe::{Recipe, Train};
use crate::samples::{Batch, Sample};
use crate::schedule::learning_rate;

/// Everything that changes as training goes on.
#[derive(Debug)]
pub struct State {
    /// The network.
    pub network: Vrt,
    /// What the optimiser knows of each parameter.
    pub moments: Vec<Option<Moments>>,
    /// The average of weights, if one is kept.
    pub ema: Option<Ema>,
    /// Steps that are done.
    pub step: u64,
    /// Samples that were handed to steps, over all ranks; those of steps that went wrong count.
    pub position: u64,
    /// Whether slow parameters have no gradient, as the network is now.
    pub(crate) frozen: bool,
}

impl State {
    /// The state of a network before its first step.
    pub fn new(network: Vrt, parameters: &Parameters, ema: Option<Ema>) -> Self {
        let moments = vec![None; parameters.list().len()];
        Self { network, moments, ema, step: 0, position: 0, frozen: false }
    }
}

/// Gradients of a batch.
#[derive(Debug)]
pub struct BatchGradients {
    /// One a parameter that has one.
    pub values: Flat,
    /// The loss, weight included.
    pub loss: f64,
}

impl BatchGradients {
    /// Hands all numbers to `sum`, which adds up those of all ranks in place, and takes them back.
    /// A parameter has a gradient afterwards if it had one on any rank.
    ///
    /// # Errors
    ///
    /// If the device gives no numbers back, or the sum fails.
    pub fn exchange<E: std::error::Error + 'static>(
        &mut self,
        parameters: &Parameters,
        device: &Device,
        sum: impl FnOnce(&mut [f32]) -> Result<(), E>,
    ) -> Result<(), ExchangeError<E>> {
        let list = parameters.list();
        // Loss and flags first, so that all ranks send as many numbers whatever they have.
        let mut numbers = vec![self.loss as f32];
        numbers.extend(self.values.iter().map(|value| f32::from(u8::from(value.is_some()))));
        for (parameter, value) in list.iter().zip(&self.values) {
            match value {
                None => numbers.resize(numbers.len() + parameter.len(), 0.0),
                Some(value) => {
                    let values: Vec<f32> = value
                        .clone()
                        .into_data()
                        .try_to_vec()
                        .map_err(|error| ExchangeError::Device(error.to_string()))?;
                    numbers.extend(values);
                }
            }
        }
        sum(&mut numbers).map_err(ExchangeError::Sum)?;
        self.loss = f64::from(numbers[0]);
        let (flags, mut rest) = numbers[1..].split_at(list.len());
        for ((parameter, value), flag) in list.iter().zip(&mut self.values).zip(flags) {
            let (numbers, behind) = rest.split_at(parameter.len());
            rest = behind;
            *value = (*flag > 0.0).then(|| {
                let data = TensorData::new(numbers.to_vec(), [numbers.len()]);
                Tensor::from_data(data, device)
            });
        }
        Ok(())
    }
}

/// Why ranks could not add up their gradients.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExchangeError<E: std::error::Error + 'static> {
    /// The device gave no numbers back.
    #[error("the device gave no gradients back: {0}")]
    Device(String),
    /// The sum.
    #[error(transparent)]
    Sum(E),
}

/// Numbers of a step that is done.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// Which step, from 1.
    pub step: u64,
    /// The loss, weight included.
    pub loss: f64,
    /// Learning rates, one a group, the normal one first.
    pub rates: Vec<f64>,
    /// Norm of all gradients together, before clipping.
    pub gradient_norm: f64,
}

/// Numbers that no training survives.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// The loss is not a number, or infinite.
    #[error("the loss is {0}")]
    Loss(f64),
    /// The gradients are.
    #[error("the norm of the gradients is {0}")]
    Gradient(f64),
}

/// Why there are no gradients.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// Whoever asked for a stop.
    #[error("stopped within a step")]
    Stopped,
    /// The device gave no numbers back.
    #[error("the device gave no numbers back: {0}")]
    Device(String),
}

/// How batches become weights.
#[derive(Debug)]
pub struct Learner {
    train: Train,
    parameters: Parameters,
    groups: Vec<Group>,
    device: Device,
    /// Equal parts of a batch over all ranks.
    parts: usize,
    /// Samples of a part.
    part: usize,
}

impl Learner {
    /// A learner for a network on a device with gradients, as one of `ranks` processes.
    ///
    /// # Panics
    ///
    /// Panics if the parts of a batch do not divide among the ranks.
    pub fn new(recipe: &Recipe, named: &Named, device: &Device, ranks: usize) -> Self {
        let parts = recipe.train.accumulate * ranks;
        let batch = recipe.data.batch;
        assert!(batch.is_multiple_of(parts), "a batch of {batch} in {parts} parts");
        let parameters = Parameters::of(named, &recipe.train.slow);
        let groups = parameters.groups();
        let (train, device) = (recipe.train.clone(), device.clone());
        Self { train, parameters, groups, device, parts, part: batch / parts }
    }

    /// The network's parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Samples that go through the network at a time.
    pub fn part(&self) -> usize {
        self.part
    }

    /// Learning rates of a step, one a group, the normal one first.
    pub fn rates(&self, step: u64) -> Vec<f64> {
        self.groups.iter().map(|group| self.rate(*group, step)).collect()
    }

    fn rate(&self, group: Group, step: u64) -> f64 {
        let factor = match group {
            Group::Normal => 1.0,
            Group::Slow => self.train.slow.factor,
        };
        learning_rate(&self.train.schedule, factor, step)
    }

    /// Freezes slow parameters, or trains them, as the next step wants it.
    pub fn prepare(&self, state: State) -> State {
        let frozen = state.step + 1 < self.train.slow.from_step;
        if frozen == state.frozen {
            return state;
        }
        let network = self.parameters.freeze(state.network, frozen);
        State { network, frozen, ..state }
    }

    /// This rank's share of the gradients of a batch: added up over ranks they are those of the
    /// whole. `first` is the position of the share's first sample. Where the loss is no number,
    /// there are no gradients; [`update`](Self::update) says so, on all ranks alike.
    ///
    /// # Errors
    ///
    /// If `stop` is set on the way.
    pub fn gradients(
        &self,
        state: &State,
        batch: &Batch,
        first: u64,
        stop: &AtomicBool,
    ) -> Result<BatchGradients, StepError> {
        let mut sum = BatchGradients { values: vec![None; state.moments.len()], loss: 0.0 };
        for (i, part) in batch.samples().chunks(self.part).enumerate() {
            let position = first + (i * self.part) as u64;
            let (loss, values) = self.part_gradients(state, part, position, stop)?;
            sum.loss += loss;
            for (sum, value) in sum.values.iter_mut().zip(values) {
                *sum = match (sum.take(), value) {
                    (Some(a), Some(b)) => Some(a + b),
                    (a, b) => a.or(b),
                };
            }
        }
        Ok(sum)
    }

    fn part_gradients(
        &self,
        state: &State,
        part: &[Sample],
        position: u64,
        stop: &AtomicBool,
    ) -> Result<(f64, Flat), StepError> {
        let degraded = part.iter().map(|sample| sample.degraded.samples());
        let x = stack(degraded, part[0].degraded.dims(), &self.device);
        let sharp = part.iter().map(|sample| sample.sharp.samples());
        let truth = stack(sharp, part[0].sharp.dims(), &self.device);
        let of_sample = |sample| generator(self.train.seed, Purpose::DropPath, [0, sample]);
        let mut random: Vec<_> = (position..).take(part.len()).map(of_sample).collect();
        let mut watch = |_| match stop.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        let mut pass = Pass::Train(&mut random);
        let forward = || state.network.forward_watched(x, &mut pass, &mut watch);
        let y = self.train.precision.scope(forward).ok_or(StepError::Stopped)?;
        let factor = self.train.loss_weight * loss::share(self.train.loss, self.parts);
        let loss = loss::loss(self.train.loss, y, truth) * factor;
        let values = loss.clone().inner().into_data().try_to_vec::<f32>();
        let values = values.map_err(|error| StepError::Device(error.to_string()))?;
        let number = values.first().copied().map_or(f64::NAN, f64::from);
        if !number.is_finite() {
            return Ok((number, vec![None; state.moments.len()]));
        }
        let mut gradients = loss.backward();
        Ok((number, self.parameters.gradients(&state.network, &mut gradients)))
    }

    /// What the gradients of a whole batch make of the state.
    ///
    /// # Errors
    ///
    /// If the loss or the gradients are no numbers; the state then comes back as it was.
    pub fn update(
        &self,
        state: State,
        gradients: BatchGradients,
    ) -> Result<(State, StepReport), (Box<State>, Trouble)> {
        let BatchGradients { values, loss } = gradients;
        let norm = clip::norm(&values);
        if !loss.is_finite() {
            return Err((Box::new(state), Trouble::Loss(loss)));
        }
        if !norm.is_finite() {
            return Err((Box::new(state), Trouble::Gradient(norm)));
        }
        let mut values = match self.train.clip_norm {
            Some(most) => clip::clip(values, norm, most),
            None => values,
        };
        let State { network, mut moments, mut ema, step, position, frozen } = state;
        let step = step + 1;
        let network = self.parameters.map(network, &mut |place, value| {
            let Some(gradient) = values[place].take() else { return value };
            let rate = self.rate(self.parameters.list()[place].group, step);
            let (value, state) =
                adam::step(self.train.adam, rate, value, gradient, moments[place].take());
            moments[place] = Some(state);
            value
        });
        if let Some(ema) = &mut ema {
            ema.update(self.parameters.values(&network));
        }
        let report = StepReport { step, loss, rates: self.rates(step), gradient_norm: norm };
        Ok((State { network, moments, ema, step, position, frozen }, report))
    }
}

/// Clips of one size as `[clips, frames, rows, columns, channels]`.
fn stack<'a>(
    clips: impl ExactSizeIterator<Item = &'a [f32]>,
    [d, h, w, c]: [usize; 4],
    device: &Device,
) -> Tensor<5> {
    let shape = [clips.len(), d, h, w, c];
    let values: Vec<f32> = clips.flatten().copied().collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::path::Path;

    use vrt_model::volume::Volume;
    use vrt_testing::Random;

    use super::*;
    use crate::testing::small_options;

    fn sample(random: &mut Random) -> Sample {
        let mut clip = || {
            let values = (0..2 * 16 * 16 * 3).map(|_| random.uniform(0.0, 1.0)).collect();
            Volume::new([2, 16, 16, 3], values).unwrap()
        };
        Sample { key: String::new(), degraded: clip(), sharp: clip() }
    }

    fn norm_of(gradients: &BatchGradients) -> f64 {
        clip::norm(&gradients.values)
    }

    #[test]
    fn gradients_of_two_ranks_add_up_to_those_of_the_whole_batch() {
        let options = small_options("2");
        let recipe = Recipe::parse(Path::new("options.json"), &options, &[]).unwrap().recipe;
        let device = Device::flex().autodiff();
        let named = Vrt::with_seed(&recipe.network, 1, &device);
        let mut random = Random::new(2);
        let samples = [sample(&mut random), sample(&mut random)];
        let stop = AtomicBool::new(false);
        let gradients = |ranks: usize, rank: usize| {
            let learner = Learner::new(&recipe, &named, &device, ranks);
            let state = State::new(named.network.clone(), learner.parameters(), None);
            let share = 2 / ranks;
            let own = samples[rank * share..][..share].to_vec();
            let batch = Batch::new(own, &recipe.network).unwrap();
            learner.gradients(&state, &batch, (rank * share) as u64, &stop).unwrap()
        };
        let parameters = Parameters::of(&named, &recipe.train.slow);
        let whole = gradients(1, 0);
        let (mut first, mut second) = (gradients(2, 0), gradients(2, 1));
        // One rank lacks a gradient that the other has.
        second.values[3] = None;
        let missing = first.values[3].clone();
        let mut sent = Vec::new();
        let kept = |numbers: &mut [f32]| -> Result<(), Infallible> {
            sent = numbers.to_vec();
            Ok(())
        };
        second.exchange(&parameters, &device, kept).unwrap();
        let add = |numbers: &mut [f32]| -> Result<(), Infallible> {
            numbers.iter_mut().zip(&sent).for_each(|(a, b)| *a += b);
            Ok(())
        };
        first.exchange(&parameters, &device, add).unwrap();
        assert!((first.loss - whole.loss).abs() < 1e-6 * whole.loss);
        for (i, (sum, whole)) in first.values.iter().zip(&whole.values).enumerate() {
            let expected = if i == 3 { &missing } else { whole };
            let (Some(sum), Some(expected)) = (sum, expected) else {
                assert!(sum.is_none() && expected.is_none(), "{i}");
                continue;
            };
            let off = (sum.clone() - expected.clone()).square().sum().into_scalar::<f32>().sqrt();
            assert!(f64::from(off) < 1e-4 * norm_of(&first), "parameter {i} is off by {off}");
        }
    }
}
