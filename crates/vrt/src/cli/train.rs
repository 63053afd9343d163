//! `vrt train`: weights from an option file.

mod progress;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use vrt_train::Recipe;
use vrt_train::parameters::Group;
use vrt_train::plan::Plan;
use vrt_train::ranks::launch::detect;
use vrt_train::ranks::{Collective, Waiting, connect};
use vrt_train::recipe::{Override, Parsed, Problem};
use vrt_train::trainer::{Event, RunOptions, Summary, train, train_on_all};

use super::precision::check;
use super::stop::stop_on_signals;
use super::table::bytes;
use super::{Failure, GlobalOptions, output};
use progress::Reporter;

/// How long ranks wait for each other at the start.
const PATIENCE: Duration = Duration::from_secs(600);

const EXAMPLES: &str = "\
Examples:
  vrt train 006_train_vrt_videodeblurring_gopro.json --plan
  vrt train options.json --run-dir runs/first --set train.total_iter=1000
  vrt train options.json --run-dir runs/first --resume
  torchrun --nproc-per-node 2 --no-python vrt train options.json
  mpirun --bind-to none -n 2 vrt train options.json   (built with --features mpi)

OPTIONS.json is an option file of KAIR, JSON with // comments. Every key is used, or explained with
--plan, or an error. Keys beside KAIR's:
  train.manual_seed           seed of all chance: first weights, order, crops, drop path [0]
  train.accumulate            parts that a batch goes through the network in [1]
  train.offset_limit          pixels that offset layers may ask for on average; 0 never looks [100]
  train.precision             numbers to compute with: f32 or bf16 [f32]
  train.nccl                  CUDA devices of this process add up gradients by NCCL [false]
  train.keep_states           whole states that are kept for --resume [2]
  datasets.train.dataset_type FixedBatch trains on the clips of one file, as they are
  datasets.train.batch_file   that file: .safetensors with lq and gt [clips, frames, channels, rows,
                              columns]
fix_keys make a group of their own with any fix_iter; 0 or -1 never freezes them.

In the run folder: options.json, journal.jsonl (a line a step), states/ (for --resume), models/
(N_G.pth and N_E.pth, as KAIR loads them), tensorboard/, images/ with val.save_img.

Exit codes: 0 trained to the end, 1 failed or stopped (the state is saved), 2 wrong usage.";

/// Flags of `vrt train`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Option file
    #[arg(value_name = "OPTIONS.json")]
    options: PathBuf,
    /// Folder of the run [default: path.root/task of the option file]
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Go on with the run in the folder; begin one if it holds none
    #[arg(long)]
    resume: bool,
    /// Set a key of the option file; may be given several times
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<Override>,
    /// Numbers to compute with: factors of products as bf16, all else f32, or all f32; the same as
    /// --set train.precision=…
    #[arg(long, value_enum)]
    precision: Option<Precision>,
    /// Print the options with all defaults and what they amount to, and train nothing
    #[arg(long)]
    plan: bool,
}

/// What `--precision` may be.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Precision {
    F32,
    Bf16,
}

/// The keys that flags set, those of `--set` last.
fn overrides(arguments: &Arguments) -> Result<Vec<Override>, Failure> {
    let precision = arguments.precision.map(|precision| match precision {
        Precision::F32 => "train.precision=f32",
        Precision::Bf16 => "train.precision=bf16",
    });
    let own = precision.map(str::parse).transpose().map_err(Failure::failed)?;
    Ok(own.into_iter().chain(arguments.set.iter().cloned()).collect())
}

/// This rank's share of the processors where ranks have them in common; nothing where they do not,
/// or where somebody has said how many threads there are to be.
pub(crate) fn threads() -> Option<NonZeroUsize> {
    if std::env::var_os("RAYON_NUM_THREADS").is_some() {
        return None;
    }
    // What a launcher says wrongly is an error once the run begins.
    let ranks = detect(std::env::var_os).ok()??.local_size()?;
    let processors = std::thread::available_parallelism().ok()?;
    Some(NonZeroUsize::new(processors.get() / ranks).unwrap_or(NonZeroUsize::MIN))
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, global: &GlobalOptions) -> Result<(), Failure> {
    let parsed = Recipe::read(&arguments.options, &overrides(arguments)?)?;
    if arguments.plan {
        return plan(&parsed, global);
    }
    let launch = detect(std::env::var_os)?;
    let stop = stop_on_signals()?;
    let waiting = Waiting { patience: PATIENCE, stop: &stop, tell: &|what| global.tell(what) };
    let ranks: Arc<dyn Collective> = connect(launch.as_ref(), waiting)?.into();
    let local_rank = launch.map_or(0, |launch| launch.local_rank());
    match train_as(&ranks, local_rank, parsed, stop, arguments, global) {
        Ok((summary, recipe, folder)) if ranks.rank() == 0 => {
            conclude(&summary, &recipe, &folder, global)
        }
        Ok(_) => Ok(()),
        Err(failure) if ranks.size() > 1 => {
            // The others wait for this rank, and would for ever; this may be its end.
            failure.report(global);
            ranks.abandon(1);
            Err(Failure::Told)
        }
        Err(failure) => Err(failure),
    }
}

/// Trains as one of several ranks, or alone; rank 0 speaks for all.
fn train_as(
    ranks: &Arc<dyn Collective>,
    local_rank: usize,
    Parsed { recipe, notes }: Parsed,
    stop: Arc<AtomicBool>,
    arguments: &Arguments,
    global: &GlobalOptions,
) -> Result<(Summary, Recipe, PathBuf), Failure> {
    let devices = match ranks.size() {
        1 => global.device.open()?.list,
        _ => vec![global.device.of_rank(local_rank).open()?],
    };
    let precision = recipe.train.precision;
    devices.iter().try_for_each(|device| check(device, precision, "train with f32"))?;
    let first = ranks.rank() == 0;
    let mut reporter = Reporter::new(global, recipe.train.print_every, first);
    reporter.options(&recipe.resolved());
    notes.iter().for_each(|note| reporter.message(&note.to_string()));
    let folder = arguments.run_dir.clone().unwrap_or_else(|| recipe.default_run_dir());
    let ranks = Arc::clone(ranks);
    let options = RunOptions {
        folder: folder.clone(),
        resume: arguments.resume,
        device: devices[0].clone(),
        stop,
        ranks,
        linked: Vec::new(),
    };
    let mut on_event = |event: Event<'_>| reporter.on_event(&event);
    let summary = match &*devices {
        [_] => train(&recipe, &options, &mut on_event),
        devices => train_on_all(&recipe, &options, devices, &mut on_event),
    };
    reporter.finish();
    Ok((summary?, recipe, folder))
}

/// Tells what the run has left.
fn conclude(
    summary: &Summary,
    recipe: &Recipe,
    folder: &Path,
    global: &GlobalOptions,
) -> Result<(), Failure> {
    let Summary { step, stopped, loss, weights } = summary;
    if *stopped {
        let total = recipe.train.total_steps;
        let text = format!(
            "stopped: step {step} of {total} is saved in {}; go on with --resume",
            folder.display()
        );
        return Err(Failure::Failed(text.into()));
    }
    if global.json {
        let event = json!({ "event": "done", "step": step, "loss": loss, "weights": weights });
        return Ok(output::json(&event)?);
    }
    let loss = loss.map_or_else(String::new, |loss| format!(", loss {loss:.5}"));
    Ok(output::result(&format!("{step} steps{loss}, weights in {}", weights.display()))?)
}

/// Prints what a recipe amounts to: an option file with remarks.
fn plan(parsed: &Parsed, global: &GlobalOptions) -> Result<(), Failure> {
    let Parsed { recipe, notes } = parsed;
    let plan = Plan::of(recipe);
    let missing = recipe.missing(true);
    if global.json {
        return Ok(output::json(&plan_as_json(parsed, &plan, &missing)?)?);
    }
    for lost in &missing {
        output::message(&format!("warning: {lost}"));
    }
    let mut text = String::new();
    for size in &plan.groups {
        let (name, frozen) = group_in_words(size.group, recipe);
        let line =
            format!("// {name}: {} numbers in {} tensors{frozen}\n", size.numbers, size.tensors);
        text.push_str(&line);
    }
    let steps = recipe.train.total_steps;
    text.push_str(&match (&plan.samples, plan.steps_per_epoch) {
        (Ok(samples), Some(epoch)) => {
            let epochs = (steps * recipe.data.batch as u64) as f64 / *samples as f64;
            format!("// {samples} samples, {epoch} steps an epoch, {steps} steps or {epochs:.1} epochs in all\n")
        }
        (Err(why), _) => format!("// {steps} steps in all; samples cannot be counted: {why}\n"),
        (Ok(_), None) => String::new(),
    });
    if let Some(size) = plan.step_bytes {
        let line = format!("// about {} of memory a step, on a processor\n", bytes(size));
        text.push_str(&line);
    }
    for note in notes {
        text.push_str(&format!("// {note}\n"));
    }
    text.push_str(recipe.resolved().trim_end());
    Ok(output::result(&text)?)
}

/// A group's name, and when it is frozen.
fn group_in_words(group: Group, recipe: &Recipe) -> (&'static str, String) {
    let slow = &recipe.train.slow;
    match group {
        Group::Normal => ("parameters", String::new()),
        Group::Slow => {
            let frozen = match slow.from_step {
                0 => String::new(),
                step => format!(", frozen before step {step}"),
            };
            ("parameters of fix_keys", format!(", learning rate times {}{frozen}", slow.factor))
        }
    }
}

fn plan_as_json(
    parsed: &Parsed,
    plan: &Plan,
    missing: &[Problem],
) -> Result<Value, serde_json::Error> {
    let options: Value = serde_json::from_str(&parsed.recipe.resolved())?;
    let groups: Vec<_> = plan.groups.iter().map(|size| size.numbers).collect();
    let notes: Vec<_> = parsed.notes.iter().map(ToString::to_string).collect();
    let missing: Vec<_> = missing.iter().map(ToString::to_string).collect();
    Ok(json!({
        "event": "plan",
        "options": options,
        "parameters": groups,
        "samples": plan.samples.as_ref().ok(),
        "steps_per_epoch": plan.steps_per_epoch,
        "step_bytes": plan.step_bytes,
        "notes": notes,
        "missing": missing,
    }))
}
