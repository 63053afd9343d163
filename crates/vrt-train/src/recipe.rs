//! What a training run is: an option file, read and checked.
//!
//! Option files are KAIR's, JSON with `//` comments. Every key is used, or accepted with a note
//! that says why it changes nothing, or a problem that names the nearest known key. A [`Recipe`]
//! that exists is valid by itself; whether its files are there is asked by
//! [`missing`](Recipe::missing), because a plan can be made without them.

mod data;
mod json;
mod network;
mod problem;
mod resolved;
mod section;
#[cfg(test)]
pub(crate) mod tests;
mod train;
mod val;

use std::path::{Path, PathBuf};

use serde_json::Map;
use vrt_model::VrtConfig;

pub use data::{Beyond, TestKind, TestSet, TrainingData};
pub use json::{Override, OverrideError};
pub use problem::{Note, Problem, RecipeError};
pub use train::{Adam, LossKind, Schedule, ScheduleKind, Slow, Train};
pub use val::Validation;

use section::{Findings, Section};

/// A training run: network, data, optimisation.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// Name of the run, and of its folder.
    pub task: String,
    /// Folder of all runs.
    pub root: PathBuf,
    /// What is trained.
    pub network: VrtConfig,
    /// For each entry of its `depths`, whether what attention found is kept for the backward pass.
    pub keeps_attention: Vec<bool>,
    /// Where its weights come from.
    pub start: Start,
    /// What it is trained on.
    pub data: Data,
    /// What it is tried on between steps.
    pub test: Option<TestSet>,
    /// How it is trained.
    pub train: Train,
    /// How it is tried.
    pub validation: Validation,
}

/// Weights that training starts with; what no file gives is drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Weights of the whole network (`path.pretrained_netG`).
    pub weights: Option<PathBuf>,
    /// Averaged weights to go on averaging (`path.pretrained_netE`).
    pub averaged: Option<PathBuf>,
    /// Weights of SpyNet (`netG.spynet_path`), read before those of the whole network.
    pub flow: Option<PathBuf>,
    /// Whether `weights` has to have every tensor and no other (`train.G_param_strict`).
    pub strict: bool,
    /// The same of `averaged` (`train.E_param_strict`).
    pub averaged_strict: bool,
}

/// What batches are made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Data {
    /// Where samples come from.
    pub source: TrainingData,
    /// Whether the order is drawn anew for each epoch.
    pub shuffle: bool,
    /// Threads that read ahead.
    pub workers: usize,
    /// Samples of a step, over all parts and ranks.
    pub batch: usize,
}

/// A recipe, and what in its file means nothing here.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// The recipe.
    pub recipe: Recipe,
    /// Keys that change nothing, and why.
    pub notes: Vec<Note>,
}

impl Recipe {
    /// Reads an option file with keys set from outside.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or as [`parse`](Self::parse).
    pub fn read(path: &Path, overrides: &[Override]) -> Result<Parsed, RecipeError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| RecipeError::whole(path, format!("cannot be read: {error}")))?;
        Self::parse(path, &text, overrides)
    }

    /// The recipe of a text; `path` is for messages.
    ///
    /// # Errors
    ///
    /// Fails with everything that is wrong: keys that nobody knows, values of the wrong kind or
    /// size, sections that do not fit each other.
    pub fn parse(path: &Path, text: &str, overrides: &[Override]) -> Result<Parsed, RecipeError> {
        let mut file = json::parse(text).map_err(|what| RecipeError::whole(path, what))?;
        let mut findings = Findings::default();
        for set in overrides {
            if let Err(problem) = set.apply(&mut file) {
                findings.problems.push(problem);
            }
        }
        let recipe = read_file(file, &mut findings);
        findings.settle_unknown();
        let Findings { problems, notes, .. } = findings;
        match recipe {
            Some(recipe) if problems.is_empty() => Ok(Parsed { recipe, notes }),
            _ => {
                let given = |problem: &Problem| overrides.iter().any(|set| set.is_of(&problem.key));
                let set = problems.iter().filter(|problem| given(problem));
                let set = set.map(|problem| problem.key.clone()).collect();
                Err(RecipeError { path: path.to_path_buf(), problems, set })
            }
        }
    }

    /// The folder of the run where none is stated.
    pub fn default_run_dir(&self) -> PathBuf {
        self.root.join(&self.task)
    }

    /// Samples of a batch that go through the network at a time.
    pub fn part(&self) -> usize {
        self.data.batch / self.train.accumulate
    }

    /// The option file with every default written out, as text that [`parse`](Self::parse) takes.
    pub fn resolved(&self) -> String {
        resolved::text(self)
    }

    /// Files and folders that the recipe names and that are not there. `fresh` is whether the
    /// run begins: one that goes on reads no pretrained weights.
    pub fn missing(&self, fresh: bool) -> Vec<Problem> {
        let start = &self.start;
        let mut wanted = Vec::new();
        if fresh {
            let file = "there is no such file: correct the path, or write null to start without it";
            let weights = [
                ("path.pretrained_netG", &start.weights),
                ("path.pretrained_netE", &start.averaged),
                ("netG.spynet_path", &start.flow),
            ];
            wanted.extend(
                weights.into_iter().filter_map(|(key, path)| Some((key, path.as_deref()?, file))),
            );
        }
        self.data.source.paths(&mut wanted);
        if let Some(test) = &self.test {
            test.paths(&mut wanted);
        }
        let lost = wanted.into_iter().filter(|(_, path, _)| !vrt_video::is_there(path));
        lost.map(|(key, path, what)| Problem::new(key, format!("is {path:?}: {what}"))).collect()
    }
}

/// Reads all sections; `None` if one that the rest depends on is wrong.
fn read_file(file: Map<String, serde_json::Value>, findings: &mut Findings) -> Option<Recipe> {
    let network = network::read(&file, findings);
    let mut top = Section::new("", file, findings);
    let task = task(&mut top);
    top.optional::<u64>("scale");
    top.optional::<u64>("n_channels");
    top.choice("model", &[("vrt", ())], Some(()));
    let gpus = "devices are chosen with --device, processes by the launcher";
    top.unused("gpu_ids", gpus);
    top.unused("dist", gpus);
    top.unused("find_unused_parameters", "parameters without a gradient are found anyway");
    top.unused("use_static_graph", "the graph is made anew in each step");
    for key in ["merge_bn", "merge_bn_startpoint"] {
        top.unused(key, "the network has no batch norms");
    }
    let inner = ["path", "datasets", "netG", "train", "val"].map(|key| top.inner(key));
    top.finish();
    let [path, datasets, net_g, train, val] = inner.map(Option::unwrap_or_default);
    let train = Section::new("train", train, findings);
    let (train, [strict, averaged_strict]) = train::read(train);
    let (root, weights, averaged) = paths(Section::new("path", path, findings));
    let entries = network.as_ref().map_or(0, |network| network.fields().depths.len());
    let keeps_attention = match &network {
        Some(_) => network::keeps_attention(&net_g, entries, findings),
        None => Vec::new(),
    };
    let flow = network::flow_path(net_g);
    let (data, test) = data::read(Section::new("datasets", datasets, findings), network.as_ref());
    let validation = val::read(Section::new("val", val, findings));
    let start = Start { weights, averaged, flow, strict, averaged_strict };
    let (network, data) = (network?, data?);
    let recipe =
        Recipe { task, root, network, keeps_attention, start, data, test, train, validation };
    check(&recipe, findings);
    Some(recipe)
}

fn task(top: &mut Section<'_>) -> String {
    let task = top.needed("task", "run".to_owned());
    let name = Path::new(&task);
    if task.is_empty() || name.file_name().is_none_or(|file| file != name.as_os_str()) {
        top.problem("task", format!("is {task:?}: write a name that a folder can have"));
    }
    task
}

/// `path.root` and pretrained weights.
fn paths(mut path: Section<'_>) -> (PathBuf, Option<PathBuf>, Option<PathBuf>) {
    let root = path.or("root", PathBuf::from("experiments"));
    let weights = path.optional("pretrained_netG");
    let averaged = path.optional("pretrained_netE");
    let optimizer = "optimiser states of other programs cannot be read; `--resume` goes on with \
                     the state of a run of this one";
    path.fixed("pretrained_optimizerG", &serde_json::Value::Null, optimizer);
    path.finish();
    (root, weights, averaged)
}

/// What option files have in `fix_keys` whether their network aligns frames or not.
const USUAL_SLOW_KEYS: [&str; 2] = ["spynet", "deform"];

/// What only several sections together can have wrong.
fn check(recipe: &Recipe, findings: &mut Findings) {
    let (batch, accumulate) = (recipe.data.batch, recipe.train.accumulate);
    if !batch.is_multiple_of(accumulate) {
        let what = format!(
            "is {accumulate}, but the batch of {batch} samples (datasets.train.\
             dataloader_batch_size) does not divide into so many parts"
        );
        findings.problem("train.accumulate", what);
    }
    if recipe.start.averaged.is_some() && recipe.train.ema_decay == 0.0 {
        let why = "nothing is averaged with train.E_decay 0";
        findings.note("path.pretrained_netE", why);
    }
    let tensors = recipe.network.tensors();
    for key in &recipe.train.slow.keys {
        if !tensors.iter().any(|spec| spec.name.contains(key.as_str())) {
            if USUAL_SLOW_KEYS.contains(&key.as_str()) {
                let why = format!("no parameter of this network has {key:?} in its name");
                findings.note("train.fix_keys", why);
                continue;
            }
            let what = format!(
                "has {key:?}, which is in no parameter's name: correct it, or take it out (names \
                 begin with spynet, stage1 and so on, and those of alignment have deform in them)"
            );
            findings.problem("train.fix_keys", what);
        }
    }
    if let TrainingData::Videos(videos) = &recipe.data.source {
        data::check(videos, &recipe.network, findings);
    }
    if let Some(test) = &recipe.test {
        data::check_test(test, &recipe.network, findings);
    }
}
