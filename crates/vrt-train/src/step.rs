//! One step: gradients of a batch, and what they make of the weights.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::distributed::{ReduceOperation, all_reduce};
use burn::tensor::{Device, Tensor, TensorData};
use vrt_model::{Named, Offsets, Pass, Vrt};

use crate::adam::{self, Moments};
use crate::chance::{Purpose, generator};
use crate::clip;
use crate::ema::Ema;
use crate::host::floats;
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
    /// How far the offset layers of each aligned stage ask to go, from the first stage on: mean
    /// pixels of the clip. Empty where nobody looks.
    pub offsets: Vec<f64>,
}

impl BatchGradients {
    /// Adds the share of another part of the batch.
    fn add(&mut self, part: Self) {
        self.loss += part.loss;
        self.offsets.resize(part.offsets.len(), 0.0);
        self.offsets.iter_mut().zip(part.offsets).for_each(|(sum, value)| *sum += value);
        for (sum, value) in self.values.iter_mut().zip(part.values) {
            *sum = match (sum.take(), value) {
                (Some(a), Some(b)) => Some(a + b),
                (a, b) => a.or(b),
            };
        }
    }

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
        let mut numbers = self.summary();
        let summary = numbers.len();
        for (parameter, value) in list.iter().zip(&self.values) {
            match value {
                None => numbers.resize(numbers.len() + parameter.len(), 0.0),
                Some(value) => {
                    numbers.extend(floats(value.clone()).map_err(ExchangeError::Device)?);
                }
            }
        }
        sum(&mut numbers).map_err(ExchangeError::Sum)?;
        let (summary, mut rest) = numbers.split_at(summary);
        let has_gradient = self.take_summary(summary);
        for ((parameter, value), has) in list.iter().zip(&mut self.values).zip(has_gradient) {
            let (numbers, behind) = rest.split_at(parameter.len());
            rest = behind;
            *value = has.then(|| {
                let data = TensorData::new(numbers.to_vec(), [numbers.len()]);
                Tensor::from_data(data, device)
            });
        }
        Ok(())
    }

    /// The same where the devices of all ranks are [linked](vrt_kernels::are_linked): gradients are
    /// added up between them, in an order of their own, and the few other numbers by `sum`.
    ///
    /// # Errors
    ///
    /// If the sum fails.
    pub fn exchange_linked<E: std::error::Error + 'static>(
        &mut self,
        parameters: &Parameters,
        device: &Device,
        linked: &[Device],
        sum: impl FnOnce(&mut [f32]) -> Result<(), E>,
    ) -> Result<(), ExchangeError<E>> {
        let mut summary = self.summary();
        sum(&mut summary).map_err(ExchangeError::Sum)?;
        let has_gradient = self.take_summary(&summary);
        let list = parameters.list().iter().zip(std::mem::take(&mut self.values));
        let sums: Vec<_> = list
            .zip(has_gradient)
            .map(|((parameter, value), has)| {
                let own = || value.unwrap_or_else(|| Tensor::zeros([parameter.len()], device));
                has.then(|| all_reduce(own(), ReduceOperation::Sum, linked.to_vec()))
            })
            .collect();
        self.values = sums.into_iter().map(|sum| Some(sum?.resolve())).collect();
        Ok(())
    }

    /// The loss, the offsets, and which parameters have a gradient: as many numbers on all ranks.
    fn summary(&self) -> Vec<f32> {
        let flags = self.values.iter().map(|value| f32::from(u8::from(value.is_some())));
        let offsets = self.offsets.iter().map(|mean| *mean as f32);
        std::iter::once(self.loss as f32).chain(offsets).chain(flags).collect()
    }

    /// Takes the sums of all ranks' summaries: which parameters have a gradient on any of them.
    fn take_summary(&mut self, summary: &[f32]) -> Vec<bool> {
        self.loss = f64::from(summary[0]);
        let (offsets, flags) = summary[1..].split_at(self.offsets.len());
        self.offsets = offsets.iter().copied().map(f64::from).collect();
        flags.iter().map(|count| *count > 0.0).collect()
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
    /// The offset layers ask to go further than `train.offset_limit` allows.
    #[error(
        "the offsets of stage {stage} ask for {mean:.1} pixels on average, beyond \
         train.offset_limit, which is {limit}"
    )]
    Offsets {
        /// The stage that asks for most, from 1.
        stage: usize,
        /// Mean distance that it asks for, in pixels of the clip.
        mean: f64,
        /// The limit.
        limit: f64,
    },
}

impl Trouble {
    /// What to change where it comes again.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Loss(_) | Self::Gradient(_) => {
                "lower train.G_optimizer_lr, or set train.G_optimizer_clipgrad"
            }
            Self::Offsets { .. } => {
                "lower train.G_optimizer_lr, or train.fix_lr_mul with \"deform\" in \
                 train.fix_keys, or set train.G_optimizer_clipgrad; where the weights that it \
                 began with are like this and good, raise train.offset_limit (0 never looks)"
            }
        }
    }
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
        let values = vec![None; state.moments.len()];
        let mut sum = BatchGradients { values, loss: 0.0, offsets: Vec::new() };
        for (i, part) in batch.samples().chunks(self.part).enumerate() {
            let position = first + (i * self.part) as u64;
            sum.add(self.part_gradients(state, part, position, stop)?);
        }
        Ok(sum)
    }

    fn part_gradients(
        &self,
        state: &State,
        part: &[Sample],
        position: u64,
        stop: &AtomicBool,
    ) -> Result<BatchGradients, StepError> {
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
        let mut offsets = Offsets::default();
        let listener = self.train.offset_limit.is_some().then_some(&mut offsets);
        let mut pass = Pass::Train { random: &mut random, offsets: listener };
        let forward = || state.network.forward_watched(x, &mut pass, &mut watch);
        let y = self.train.precision.scope(forward).ok_or(StepError::Stopped)?;
        let factor = self.train.loss_weight * loss::share(self.train.loss, self.parts);
        let loss = loss::loss(self.train.loss, y, truth) * factor;
        let numbers = numbers(&loss, offsets)?;
        let (number, offsets) = numbers.split_first().map_or((f64::NAN, &[][..]), |(a, b)| (*a, b));
        let offsets = offsets.iter().map(|mean| mean / self.parts as f64).collect();
        let values = match number.is_finite() {
            true => self.parameters.gradients(&state.network, &mut loss.backward()),
            false => vec![None; state.moments.len()],
        };
        Ok(BatchGradients { values, loss: number, offsets })
    }

    /// What the gradients of a whole batch make of the state.
    ///
    /// # Errors
    ///
    /// If the loss or the gradients are no numbers, or offsets explode; the state then comes back as
    /// it was.
    pub fn update(
        &self,
        state: State,
        gradients: BatchGradients,
    ) -> Result<(State, StepReport), (Box<State>, Trouble)> {
        let BatchGradients { values, loss, offsets } = gradients;
        let norm = clip::norm(&values);
        if !loss.is_finite() {
            return Err((Box::new(state), Trouble::Loss(loss)));
        }
        if !norm.is_finite() {
            return Err((Box::new(state), Trouble::Gradient(norm)));
        }
        if let Some(trouble) = self.train.offset_limit.and_then(|most| exploded(&offsets, most)) {
            return Err((Box::new(state), trouble));
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

/// The loss, and behind it what the offset layers of each stage ask for.
fn numbers(loss: &Tensor<1>, offsets: Offsets) -> Result<Vec<f64>, StepError> {
    // One tensor comes back from the device, not one a stage.
    let all = [vec![loss.clone().inner()], offsets.means()].concat();
    let values = floats(Tensor::cat(all, 0)).map_err(StepError::Device)?;
    Ok(values.into_iter().map(f64::from).collect())
}

/// The stage whose offsets are furthest beyond `limit`, if there is one.
fn exploded(offsets: &[f64], limit: f64) -> Option<Trouble> {
    // Saturated answers may be infinite, or no number, beside a loss that is one.
    let beyond = offsets.iter().enumerate().filter(|(_, mean)| mean.is_nan() || **mean > limit);
    let (stage, mean) = beyond.max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    Some(Trouble::Offsets { stage: stage + 1, mean: *mean, limit })
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

    #[test]
    fn offsets_that_explode_stop_the_step_with_their_stage_on_any_number_of_ranks() {
        let device = Device::flex().autodiff();
        let mut random = Random::new(3);
        let samples = [sample(&mut random), sample(&mut random)];
        let stop = AtomicBool::new(false);
        let tried = |limit: &str, ranks: usize| {
            let options = small_options("2");
            let set = format!("train.offset_limit={limit}").parse().unwrap();
            let recipe = Recipe::parse(Path::new("options.json"), &options, &[set]).unwrap().recipe;
            let named = Vrt::with_seed(&recipe.network, 1, &device);
            let learner = Learner::new(&recipe, &named, &device, ranks);
            let list = learner.parameters().list();
            // The layer's weights are zero at first: it answers its bias, 10 pixels for each 1.
            let blown = &mut |place: usize, value: Tensor<1>| {
                let blown = list[place].name == "stage3.pa_deform.conv_offset.6.bias";
                if blown { value + 7.0 } else { value }
            };
            let network = learner.parameters().map(named.network, blown);
            let state = State::new(network, learner.parameters(), None);
            let share = 2 / ranks;
            let mut sum = vec![0.0; 7];
            let mut last = None;
            for rank in 0..ranks {
                let batch = Batch::new(samples[rank * share..][..share].to_vec(), &recipe.network);
                let (batch, first) = (batch.unwrap(), (rank * share) as u64);
                let gradients = learner.gradients(&state, &batch, first, &stop).unwrap();
                sum.iter_mut().zip(&gradients.offsets).for_each(|(sum, mean)| *sum += mean);
                last = Some(gradients);
            }
            let mut gradients = last.unwrap();
            let looked = gradients.offsets.len();
            let total = |numbers: &mut [f32]| -> Result<(), Infallible> {
                let means = numbers[1..].iter_mut().zip(&sum);
                means.take(looked).for_each(|(number, sum)| *number = *sum as f32);
                Ok(())
            };
            gradients.exchange(learner.parameters(), &device, total).unwrap();
            let offsets = gradients.offsets.clone();
            let updated = learner.update(state, gradients);
            (
                offsets,
                updated.map(|(state, _)| state.step).map_err(|(state, why)| (state.step, why)),
            )
        };
        for ranks in [1, 2] {
            let (offsets, updated) = tried("50", ranks);
            assert_eq!(offsets.len(), 7);
            for (i, mean) in offsets.iter().enumerate() {
                let expected = if i == 2 { 70.0 } else { 0.0 };
                assert!((mean - expected).abs() < 1e-3, "stage {}: {mean}", i + 1);
            }
            let Err((0, Trouble::Offsets { stage: 3, mean, limit: 50.0 })) = updated else {
                panic!("{updated:?}")
            };
            assert_eq!(mean, offsets[2]);
            assert_eq!(tried("80", ranks).1, Ok(1));
            assert_eq!(tried("0", ranks), (vec![], Ok(1)), "nobody looks");
        }
    }

    #[test]
    fn the_stage_that_is_furthest_beyond_the_limit_is_named() {
        assert_eq!(exploded(&[], 1.0), None);
        assert_eq!(exploded(&[1.0, 0.5], 1.0), None);
        let stage = |offsets: &[f64]| match exploded(offsets, 1.0) {
            Some(Trouble::Offsets { stage, .. }) => stage,
            other => panic!("{other:?}"),
        };
        assert_eq!(stage(&[0.0, 2.0, 3.0, 1.0]), 3);
        assert_eq!(stage(&[f64::INFINITY, 2.0]), 1);
        assert_eq!(stage(&[9.0, f64::NAN]), 2);
    }
}
