//! The run: steps, journal, checkpoints, trials, and what happens when numbers go wrong.

mod agree;
mod changes;
mod error;
mod setup;
mod together;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use burn::module::Module;
use burn::tensor::Device;
use serde_json::json;
use vrt_model::{Restorer, Vrt};
use vrt_video::SetScore;

pub use error::TrainError;
pub use together::train_on_all;

use crate::checkpoint;
use crate::journal::{Journal, tells};
use crate::order::Shard;
use crate::prefetch::{Prefetch, PrefetchError, Reading};
use crate::ranks::{Collective, CollectiveError};
use crate::recipe::Recipe;
use crate::run_folder::RunFolder;
use crate::samples::{Batch, Samples};
use crate::step::{BatchGradients, Learner, State, StepError, StepReport, Trouble};
use crate::tensorboard::Board;
use crate::validate::{Trial, ValidationError, validate};

/// What the journal calls a trial.
const VALIDATION: &str = "validation";

/// What a run needs beside its recipe.
#[derive(Debug)]
pub struct RunOptions {
    /// The folder of the run.
    pub folder: PathBuf,
    /// Whether to go on with the run that is in it.
    pub resume: bool,
    /// Where to compute, without gradients.
    pub device: Device,
    /// Set to save and stop.
    pub stop: Arc<AtomicBool>,
    /// This process among those that train together. Rank 0 writes the folder, which all of them
    /// read.
    pub ranks: Arc<dyn Collective>,
    /// The devices of all ranks, in their order, where these add up gradients between them; see
    /// [`are_linked`](vrt_kernels::are_linked). Empty where the ranks do.
    pub linked: Vec<Device>,
}

/// What happens in a run.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Steps begin behind this one.
    Started {
        /// Steps that are done.
        step: u64,
        /// Steps in all.
        total: u64,
        /// The folder of the run.
        folder: &'a Path,
    },
    /// A step is done.
    Step {
        /// Its numbers.
        report: &'a StepReport,
        /// How long it took, waiting for its samples included.
        elapsed: Duration,
    },
    /// The state and the weights are on disk.
    Saved {
        /// The step they are of.
        step: u64,
    },
    /// The network was tried.
    Validated {
        /// After which step.
        step: u64,
        /// Its scores.
        scores: &'a SetScore,
    },
    /// Numbers went wrong, and the run goes on from an earlier state with other samples.
    WentBack {
        /// The step that went wrong.
        step: u64,
        /// The step it goes on from.
        to: u64,
        /// What went wrong.
        trouble: Trouble,
    },
    /// Something a person should know.
    Message(&'a str),
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Steps that are done.
    pub step: u64,
    /// Whether it was stopped before the last one.
    pub stopped: bool,
    /// The loss of the last step, if this process did one.
    pub loss: Option<f64>,
    /// The weights that were exported last.
    pub weights: PathBuf,
}

/// Trains a recipe to its end, or until it is asked to stop; `on_event` hears how it goes.
///
/// # Errors
///
/// If files are missing, the folder holds another run, samples cannot be read, nothing can be
/// written, another rank is gone, or numbers go wrong twice. The newest state stays usable; what was
/// done behind it is saved first where the error leaves it whole ([`TrainError::Saved`]).
pub fn train(
    recipe: &Recipe,
    options: &RunOptions,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Summary, TrainError> {
    let (mut run, state) = setup::begin(recipe, options, on_event)?;
    run.catch_up(&state, on_event)?;
    let mut state = Some(state);
    let mut loss = None;
    while let Some(done) = state.as_ref().map(|state| state.step) {
        let counted = run.count([run.stopping()]);
        let [stopping] = run.or_save(counted, state.as_ref())?;
        if done >= recipe.train.total_steps || stopping > 0 {
            break;
        }
        let Some(before) = state.take() else { break };
        let (after, report) = run.step(before, on_event)?;
        if let Some(report) = report {
            loss = Some(report.loss);
        }
        state = Some(after);
    }
    let Some(state) = state else { unreachable!("a state comes back from each step") };
    run.save_unless_saved(&state, on_event)?;
    Ok(Summary {
        step: state.step,
        stopped: state.step < recipe.train.total_steps,
        loss,
        weights: run.folder.model(state.step, 'G'),
    })
}

/// A run under way.
struct Run<'a> {
    recipe: &'a Recipe,
    options: &'a RunOptions,
    folder: RunFolder,
    /// What only rank 0 writes.
    books: Option<Books>,
    learner: Learner,
    set: Arc<dyn Samples>,
    prefetch: Prefetch,
    resolved: String,
    /// The step of the newest state on disk.
    saved: u64,
    /// Whether the run has gone back to that state already.
    went_back: bool,
}

/// Journal and event files.
struct Books {
    journal: Journal,
    board: Board,
}

impl Books {
    /// Those of a run that goes on after a step.
    fn open(folder: &RunFolder, step: u64) -> Result<Self, TrainError> {
        let journal = Journal::open_after(&folder.journal(), step)?;
        let board = Board::create(&folder.board(), now(), step)?;
        Ok(Self { journal, board })
    }
}

/// Seconds since 1970, for TensorBoard.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0.0, |since| since.as_secs_f64())
}

fn prefetch(
    recipe: &Recipe,
    set: &Arc<dyn Samples>,
    ranks: &dyn Collective,
    position: u64,
) -> Result<Prefetch, PrefetchError> {
    let shard = Shard { rank: ranks.rank(), ranks: ranks.size(), batch: recipe.data.batch };
    let (seed, data) = (recipe.train.seed, &recipe.data);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = data.workers.min(cores);
    let reading = Reading { seed, shuffle: data.shuffle, workers, shard };
    Prefetch::new(set, reading, position)
}

impl Run<'_> {
    fn stopping(&self) -> bool {
        self.options.stop.load(Ordering::Relaxed)
    }

    /// On how many ranks each of these is so.
    fn count<const N: usize>(&self, flags: [bool; N]) -> Result<[usize; N], CollectiveError> {
        let mut counts = flags.map(|flag| f32::from(u8::from(flag)));
        self.options.ranks.sum(&mut counts)?;
        Ok(counts.map(|count| count as usize))
    }

    /// One step and what is due after it; without a report where none was done.
    fn step(
        &mut self,
        state: State,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<(State, Option<StepReport>), TrainError> {
        let started = Instant::now();
        let mut state = self.learner.prepare(state);
        let gradients = self.gradients(&state);
        let gradients = self.or_save(gradients, Some(&state))?;
        let Some(gradients) = gradients else { return Ok((state, None)) };
        state.position += self.recipe.data.batch as u64;
        let (state, report) = match self.learner.update(state, gradients) {
            Ok(done) => done,
            Err((mut state, trouble)) => {
                state.position -= self.recipe.data.batch as u64;
                return Ok((self.go_back(*state, trouble, on_event)?, None));
            }
        };
        let told = self.tell(&state, &report, started.elapsed(), on_event);
        self.or_save(told, Some(&state))?;
        Ok((state, Some(report)))
    }

    /// What follows a step: its line, its numbers, and what is due.
    fn tell(
        &mut self,
        state: &State,
        report: &StepReport,
        elapsed: Duration,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), TrainError> {
        if let Some(books) = &mut self.books {
            books.journal.step(report, elapsed.as_secs_f64())?;
        }
        self.show(report)?;
        on_event(Event::Step { report, elapsed });
        self.after(state, on_event)
    }

    /// Saves the state that an error leaves whole, and hands the error on.
    fn or_save<T, E: Into<TrainError>>(
        &mut self,
        result: Result<T, E>,
        state: Option<&State>,
    ) -> Result<T, TrainError> {
        let source = match result {
            Ok(done) => return Ok(done),
            Err(error) => error.into(),
        };
        let unsaved = state.filter(|state| self.books.is_some() && state.step > self.saved);
        let Some(state) = unsaved else { return Err(source) };
        let (step, source) = (state.step, Box::new(source));
        // The state alone: launchers end what is left of a run within half a minute.
        Err(match self.save_state(state) {
            Ok(()) => TrainError::Saved { source, step },
            Err(why) => TrainError::Unsaved { source, step, why: Box::new(why) },
        })
    }

    /// The gradients of the next batch, those of all ranks added up; `None` where one was asked to
    /// stop.
    fn gradients(&mut self, state: &State) -> Result<Option<BatchGradients>, TrainError> {
        let batch = Batch::new(self.prefetch.batch()?, &self.recipe.network)?;
        let step = state.step + 1;
        let ranks = Arc::clone(&self.options.ranks);
        let first = state.position + (ranks.rank() * self.recipe.data.batch / ranks.size()) as u64;
        let gradients = self.learner.gradients(state, &batch, first, &self.options.stop);
        let gradients = match gradients {
            Ok(gradients) => Some(gradients),
            Err(StepError::Stopped) => None,
            Err(source) => return Err(TrainError::Step { step, source }),
        };
        let [stopped] = self.count([gradients.is_none()])?;
        let Some(mut gradients) = gradients.filter(|_| stopped == 0) else {
            return Ok(None);
        };
        if ranks.size() > 1 {
            let (parameters, device) = (self.learner.parameters(), &self.options.device);
            let sum = |numbers: &mut [f32]| ranks.sum(numbers);
            match &*self.options.linked {
                [] => gradients.exchange(parameters, device, sum)?,
                linked => gradients.exchange_linked(parameters, device, linked, sum)?,
            }
        }
        Ok(Some(gradients))
    }

    /// Numbers of a step for TensorBoard, as often as lines for a log.
    fn show(&mut self, report: &StepReport) -> Result<(), TrainError> {
        let Some(books) = &mut self.books else { return Ok(()) };
        let every = self.recipe.train.print_every.unwrap_or(1);
        if !report.step.is_multiple_of(every) && report.step != self.recipe.train.total_steps {
            return Ok(());
        }
        let rates = ["train/lr", "train/lr_fix_keys"].into_iter().zip(report.rates.iter().copied());
        let mut numbers: Vec<_> = rates.collect();
        numbers.extend([("train/loss", report.loss), ("train/grad_norm", report.gradient_norm)]);
        Ok(books.board.numbers(now(), report.step, &numbers)?)
    }

    /// Weights and trial that are due at the state a run goes on from, where it ended before them.
    fn catch_up(
        &mut self,
        state: &State,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), TrainError> {
        if state.step > 0 && self.is_due(self.recipe.train.save_every, state) {
            self.save_unless_saved(state, on_event)?;
        }
        let told = tells(&self.folder.journal(), VALIDATION, state.step);
        if state.step > 0 && self.is_due(self.recipe.train.test_every, state) && !told {
            self.validate(state, on_event)?;
        }
        Ok(())
    }

    fn is_due(&self, every: Option<u64>, state: &State) -> bool {
        every.is_some_and(|every| state.step.is_multiple_of(every))
    }

    /// Checkpoints and trials that are due.
    fn after(
        &mut self,
        state: &State,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), TrainError> {
        let train = &self.recipe.train;
        if self.is_due(train.save_every, state) {
            self.save_unless_saved(state, on_event)?;
        }
        if self.is_due(train.test_every, state) {
            self.validate(state, on_event)?;
        }
        Ok(())
    }

    fn save_unless_saved(
        &mut self,
        state: &State,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), TrainError> {
        let step = state.step;
        if self.books.is_none() {
            (self.saved, self.went_back) = (step, self.went_back && self.saved == step);
            return Ok(());
        }
        let parameters = self.learner.parameters();
        let exported = self.folder.model(step, 'G');
        if self.saved != step || !exported.exists() {
            let config = &self.recipe.network;
            let weights = parameters.values(&state.network);
            checkpoint::export(&exported, &weights, parameters, config)?;
            if let Some(ema) = &state.ema {
                let path = self.folder.model(step, 'E');
                checkpoint::export(&path, ema.values(), parameters, config)?;
            }
        }
        if self.saved != step {
            self.save_state(state)?;
            on_event(Event::Saved { step });
        }
        Ok(())
    }

    /// Writes what a run goes on from.
    fn save_state(&mut self, state: &State) -> Result<(), TrainError> {
        let path = self.folder.state(state.step);
        checkpoint::write(&path, state, self.learner.parameters(), &self.resolved)?;
        self.saved = state.step;
        self.went_back = false;
        self.folder.prune(self.recipe.train.keep_states)?;
        Ok(())
    }

    fn validate(
        &mut self,
        state: &State,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), TrainError> {
        let Some(test) = &self.recipe.test else { return Ok(()) };
        let (step, validation) = (state.step, self.recipe.validation);
        let images = validation.save_images.then(|| self.folder.images(step));
        let model = Restorer::of(self.tried(state), &self.options.device);
        let stop = &*self.options.stop;
        let trial = Trial { test, validation, images: images.as_deref(), stop };
        let tried = match validate(&model, &trial, &*self.options.ranks) {
            Ok(tried) => tried,
            Err(ValidationError::Stopped) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let Some(books) = &mut self.books else { return Ok(()) };
        let mean = tried.scores.mean;
        books.journal.event(VALIDATION, step, json!(mean))?;
        let numbers = [
            ("test/psnr", mean.psnr),
            ("test/ssim", mean.ssim),
            ("test/psnr_y", mean.psnr_y),
            ("test/ssim_y", mean.ssim_y),
        ];
        books.board.numbers(now(), step, &numbers)?;
        if let Some(picture) = &tried.picture {
            books.board.picture(now(), step, "test/before_after_truth", picture)?;
        }
        on_event(Event::Validated { step, scores: &tried.scores });
        Ok(())
    }

    /// The network that is tried: of averaged weights, if there are some.
    fn tried(&self, state: &State) -> Vrt {
        let network = state.network.valid();
        match &state.ema {
            None => network,
            Some(ema) => {
                let average = &mut |place: usize, _| ema.values()[place].clone();
                self.learner.parameters().map(network, average)
            }
        }
    }

    /// The newest state, to go on from with the samples behind those that went wrong.
    fn go_back(
        &mut self,
        state: State,
        trouble: Trouble,
        on_event: &mut dyn FnMut(Event<'_>),
    ) -> Result<State, TrainError> {
        let (step, to) = (state.step + 1, self.saved);
        if self.went_back {
            return Err(TrainError::Diverged { step, to, trouble });
        }
        let position = state.position + self.recipe.data.batch as u64;
        let path = self.folder.state(to);
        let state = checkpoint::read(&path, state, self.learner.parameters())?;
        let state = State { position, ..state };
        self.went_back = true;
        if self.books.is_some() {
            let mut books = Books::open(&self.folder, to)?;
            let facts = json!({ "failed": step, "reason": trouble.to_string() });
            books.journal.event("went back", to, facts)?;
            self.books = Some(books);
        }
        on_event(Event::WentBack { step, to, trouble });
        self.prefetch = prefetch(self.recipe, &self.set, &*self.options.ranks, position)?;
        Ok(state)
    }
}
