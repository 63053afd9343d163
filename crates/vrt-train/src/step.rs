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
use crate::ranks::{Collective, CollectiveError};
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
    /// Adds up the shares of all ranks.
    ///
    /// # Errors
    ///
    /// If another rank is gone, or the device gives no numbers back.
    pub fn summed(mut self, ranks: &dyn Collective) -> Result<Self, StepError> {
        if ranks.size() == 1 {
            return Ok(self);
        }
        let high = self.loss as f32;
        let mut loss = [high, (self.loss - f64::from(high)) as f32];
        ranks.sum(&mut loss)?;
        self.loss = loss.into_iter().map(f64::from).sum();
        for gradient in self.values.iter_mut().flatten() {
            let device = gradient.device();
            let values = gradient.clone().into_data().try_to_vec::<f32>();
            let mut values = values.map_err(|error| StepError::Device(error.to_string()))?;
            ranks.sum(&mut values)?;
            let len = values.len();
            *gradient = Tensor::from_data(TensorData::new(values, [len]), &device);
        }
        Ok(self)
    }
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
    /// Another rank has trouble, and says what.
    #[error("numbers have gone wrong on another rank")]
    Elsewhere,
}

/// Why there are no gradients.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// Numbers went wrong.
    #[error(transparent)]
    Trouble(#[from] Trouble),
    /// Whoever asked for a stop.
    #[error("stopped within a step")]
    Stopped,
    /// The device gave no numbers back.
    #[error("the device gave no numbers back: {0}")]
    Device(String),
    /// The other ranks.
    #[error(transparent)]
    Ranks(#[from] CollectiveError),
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
    /// whole. `first` is the position of the share's first sample.
    ///
    /// # Errors
    ///
    /// If the loss is no number, or `stop` is set on the way.
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
            return Err(Trouble::Loss(number).into());
        }
        let mut gradients = loss.backward();
        Ok((number, self.parameters.gradients(&state.network, &mut gradients)))
    }

    /// What the gradients of a whole batch make of the state.
    ///
    /// # Errors
    ///
    /// If the gradients are no numbers; the state then comes back as it was.
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
