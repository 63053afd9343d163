//! From a recipe to a run that is ready for its next step.

use std::sync::Arc;

use serde_json::json;
use vrt_video::TrainingSet;

use crate::checkpoint::{self, StateError};
use crate::ranks::Collective;
use crate::recipe::{Recipe, TrainingData};
use crate::run_folder::RunFolder;
use crate::samples::{FixedBatch, Samples};
use crate::start::{Started, start};
use crate::step::{Learner, State};
use crate::validate::check;

use super::agree::{agree, agree_on};
use super::changes::changes;
use super::{Books, Event, Run, RunOptions, TrainError, prefetch};

/// Opens folder and data, makes the network or reads the newest state.
pub(super) fn begin<'a>(
    recipe: &'a Recipe,
    options: &'a RunOptions,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<(Run<'a>, State), TrainError> {
    let ranks = &*options.ranks;
    share(recipe, ranks)?;
    agree(recipe, ranks)?;
    let first = ranks.rank() == 0;
    let (folder, steps) = match first {
        true => {
            let folder = RunFolder::open(&options.folder, options.resume)?;
            let steps = folder.steps()?;
            if steps.is_empty() {
                folder.fresh()?;
            }
            (folder, steps)
        }
        false => joined(options)?,
    };
    let missing = recipe.missing(steps.is_empty());
    if !missing.is_empty() {
        return Err(TrainError::Missing(missing));
    }
    if options.resume && steps.is_empty() {
        on_event(Event::Message("there is nothing to go on with: a new run begins"));
    }
    if let Some(test) = &recipe.test {
        check(test, recipe.validation)?;
    }
    let set = open(recipe, on_event)?;
    if set.is_empty() {
        return Err(TrainError::Empty);
    }
    let (learner, fresh) = network(recipe, options, steps.is_empty(), on_event)?;
    let resolved = recipe.resolved();
    let state = match steps.is_empty() {
        true => fresh,
        false => newest(&folder, &steps, fresh, &learner, on_event)?,
    };
    let saved = state.step;
    let before = match steps.is_empty() {
        true => None,
        false => checkpoint::options(&folder.state(saved))?.filter(|before| *before != resolved),
    };
    let books = first
        .then(|| books(&folder, (before.as_deref(), &resolved), saved, on_event))
        .transpose()?;
    let prefetch = prefetch(recipe, &set, ranks, state.position)?;
    if steps.is_empty() {
        // A run can go back to here, and a full disk is found out before the first step.
        checkpoint::write(&folder.state(saved), &state, learner.parameters(), &resolved)?;
    }
    if first {
        ranks.broadcast(&mut words(saved), 0)?;
    }
    agree_on(set.len(), ranks)?;
    let (path, total) = (folder.path(), recipe.train.total_steps);
    on_event(Event::Started { step: saved, total, folder: path });
    let run = Run {
        recipe,
        options,
        folder,
        books,
        learner,
        set,
        prefetch,
        resolved,
        saved,
        went_back: false,
    };
    Ok((run, state))
}

/// Keeps the options, opens the books, and says there what is not as it was up to the state.
fn books(
    folder: &RunFolder,
    (before, resolved): (Option<&str>, &str),
    saved: u64,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Books, TrainError> {
    folder.write_options(resolved, before, saved)?;
    let mut books = Books::open(folder, saved)?;
    let changed = before.map_or_else(Vec::new, |before| changes(before, resolved));
    if !changed.is_empty() {
        let text = format!(
            "other options from here on; those before are in options.before-{saved}.json: {}",
            changed.join("; ")
        );
        on_event(Event::Message(&text));
        books.journal.event("options", saved, json!({ "changed": changed }))?;
    }
    Ok(books)
}

/// Says whether a batch divides among the ranks.
fn share(recipe: &Recipe, ranks: &dyn Collective) -> Result<(), TrainError> {
    let (batch, parts, ranks) = (recipe.data.batch, recipe.train.accumulate, ranks.size());
    match batch.is_multiple_of(parts * ranks) {
        true => Ok(()),
        false => Err(TrainError::Share { batch, parts, ranks }),
    }
}

/// The folder of rank 0, once it has the state that all ranks begin with.
fn joined(options: &RunOptions) -> Result<(RunFolder, Vec<u64>), TrainError> {
    let ranks = &*options.ranks;
    let mut step = words(0);
    ranks.broadcast(&mut step, 0)?;
    let step = step.into_iter().fold(0, |step, word| (step << WORD) + word as u64);
    let folder = RunFolder::look(&options.folder);
    match folder.state(step).exists() {
        true => Ok((folder, vec![step])),
        false => {
            let folder = options.folder.clone();
            Err(TrainError::NotShared { rank: ranks.rank(), folder })
        }
    }
}

/// Bits of a number that an `f32` takes.
const WORD: u32 = 16;

/// A number in parts that an `f32` takes, the largest first.
fn words(number: u64) -> [f32; 4] {
    std::array::from_fn(|i| (number >> (WORD * (3 - i as u32)) & ((1 << WORD) - 1)) as f32)
}

fn open(
    recipe: &Recipe,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<Arc<dyn Samples>, TrainError> {
    match &recipe.data.source {
        TrainingData::Fixed { path } => {
            let batch = FixedBatch::open(path).map_err(|error| TrainError::Data(error.into()))?;
            Ok(Arc::new(batch))
        }
        TrainingData::Videos(options) => {
            let set = TrainingSet::open((**options).clone());
            let set = set.map_err(|error| TrainError::Data(error.into()))?;
            set.warnings().iter().for_each(|text| on_event(Event::Message(text)));
            Ok(Arc::new(set))
        }
    }
}

/// The network before its first step; pretrained weights are read only for a fresh run.
fn network(
    recipe: &Recipe,
    options: &RunOptions,
    fresh: bool,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<(Learner, State), TrainError> {
    let device = options.device.clone().autodiff();
    let mut recipe = recipe.clone();
    if !fresh {
        recipe.start = Default::default();
    }
    let Started { named, ema, messages } = start(&recipe, &device)?;
    if fresh {
        messages.iter().for_each(|text| on_event(Event::Message(text)));
    }
    let learner = Learner::new(&recipe, &named, &device, options.ranks.size());
    let state = State::new(named.network, learner.parameters(), ema);
    Ok((learner, state))
}

/// The newest state that can be read.
fn newest(
    folder: &RunFolder,
    steps: &[u64],
    fresh: State,
    learner: &Learner,
    on_event: &mut dyn FnMut(Event<'_>),
) -> Result<State, TrainError> {
    let mut into = fresh;
    for (i, step) in steps.iter().enumerate() {
        let path = folder.state(*step);
        let State { network, ema, .. } = &into;
        let spare = State::new(network.clone(), learner.parameters(), ema.clone());
        match checkpoint::read(&path, into, learner.parameters()) {
            Ok(state) => return Ok(state),
            // What is whole but does not fit is no accident.
            Err(StateError::File(error)) if i + 1 < steps.len() => {
                let text = format!("{error}; the state before it is taken");
                on_event(Event::Message(&text));
                into = spare;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(into)
}
