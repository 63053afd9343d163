//! Runs through the library: beside the published implementation, and when numbers go wrong.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

mod bf16;
mod offsets;
#[path = "../support/small.rs"]
mod small;
mod spikes;
mod trials;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;
use serde_json::{Value, json};
use small::{small, write_batch};
use vrt_model::Checkpoint;
use vrt_model::checkpoint::Existing;
use vrt_testing::{Fixture, Random, fixture_root, trajectory_options};
use vrt_train::Recipe;
use vrt_train::ranks::{Single, local};
use vrt_train::recipe::Override;
use vrt_train::step::{StepReport, Trouble};
use vrt_train::trainer::{Event, RunOptions, Summary, TrainError, train, train_on_all};
use vrt_video::SetScore;

/// What happened, as far as tests ask.
#[derive(Debug, Default)]
struct Seen {
    steps: Vec<StepReport>,
    saved: Vec<u64>,
    went_back: Vec<(u64, u64, Trouble)>,
    scores: Vec<SetScore>,
}

struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(
        &self,
        options: &Value,
        sets: &[&str],
        resume: bool,
        stop_after: Option<u64>,
    ) -> (Result<Summary, TrainError>, Seen) {
        let sets: Vec<Override> = sets.iter().map(|set| set.parse().unwrap()).collect();
        let recipe = Recipe::parse(Path::new("options.json"), &options.to_string(), &sets);
        let recipe = recipe.unwrap_or_else(|error| panic!("{error}")).recipe;
        let stop = Arc::new(AtomicBool::new(false));
        let options = RunOptions {
            folder: self.path("run"),
            resume,
            device: Device::flex(),
            stop: Arc::clone(&stop),
            ranks: Arc::new(Single),
            linked: Vec::new(),
        };
        let mut seen = Seen::default();
        let summary = train(&recipe, &options, &mut |event| match event {
            Event::Step { report, .. } => {
                seen.steps.push(report.clone());
                stop.store(stop_after == Some(report.step), Ordering::Relaxed);
            }
            Event::Saved { step } => seen.saved.push(step),
            Event::Validated { scores, .. } => seen.scores.push(scores.clone()),
            Event::WentBack { step, to, trouble } => seen.went_back.push((step, to, trouble)),
            _ => {}
        });
        (summary, seen)
    }

    /// Writes clips of random values; those named in `broken` have no number in their truth.
    fn batch(&self, clips: usize, broken: &[usize]) -> PathBuf {
        let path = self.path("batch.safetensors");
        write_batch(&path, clips, broken);
        path
    }
}

fn numbers(fixture: &Fixture, key: &str) -> Vec<f64> {
    serde_json::from_value(fixture.metadata(key).clone()).unwrap()
}

#[test]
fn the_first_steps_are_the_published_ones() {
    for name in ["multistep_freeze", "cosine_clip"] {
        let Some(fixture) = Fixture::try_load(&format!("training/{name}")) else { return };
        let bench = Bench::new();
        let start = bench.path("start.safetensors");
        let tensors = fixture
            .under("param.")
            .map(|(name, golden)| (name.to_owned(), golden.shape.clone(), golden.values.clone()));
        Checkpoint::from_values(tensors).write_plain_safetensors(&start, Existing::Keep).unwrap();
        let batch = fixture_root(&format!("training/{name}.safetensors")).unwrap();
        let options = trajectory_options(&fixture, &batch, &start);
        let (summary, seen) = bench.run(&options, &["train.total_iter=2"], false, None);
        assert_eq!(summary.unwrap().step, 2);
        let (losses, norms) = (numbers(&fixture, "losses"), numbers(&fixture, "grad_norms"));
        for (i, report) in seen.steps.iter().enumerate() {
            assert!((report.loss - losses[i]).abs() <= 1e-4 * losses[i], "{name}: {report:?}");
            let off = (report.gradient_norm - norms[i]).abs();
            assert!(off <= 1e-3 * norms[i], "{name}: {report:?}, not {}", norms[i]);
        }
    }
}

#[test]
fn samples_that_break_the_numbers_are_passed_over() {
    let bench = Bench::new();
    let options = small(&bench.batch(3, &[1]), 2);
    let (summary, seen) = bench.run(&options, &[], false, None);
    assert_eq!(summary.unwrap().step, 2);
    // Clip 0, then clip 1 breaks step 2; from the start again with clips 2 and 0.
    assert_eq!(seen.steps.iter().map(|step| step.step).collect::<Vec<_>>(), [1, 1, 2]);
    let [(2, 0, Trouble::Loss(loss))] = seen.went_back[..] else { panic!("{seen:?}") };
    assert!(!loss.is_finite());
    let journal = std::fs::read_to_string(bench.path("run/journal.jsonl")).unwrap();
    let lines: Vec<Value> =
        journal.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().filter(|line| line.get("step").is_some()).count(), 2);
    assert_eq!(lines[0]["event"], "went back");
    assert_eq!((&lines[0]["after"], &lines[0]["failed"]), (&json!(0), &json!(2)));
}

#[test]
fn a_run_that_breaks_again_ends_with_its_state_kept() {
    let bench = Bench::new();
    let options = small(&bench.batch(2, &[1]), 9);
    let (summary, seen) = bench.run(&options, &["train.checkpoint_save=5"], false, None);
    let error = summary.unwrap_err();
    assert!(matches!(error, TrainError::Diverged { step: 2, to: 0, .. }), "{error}");
    assert!(error.to_string().contains("train.G_optimizer_lr"), "{error}");
    assert_eq!(seen.went_back.len(), 1);
    assert!(bench.path("run/states/0.safetensors").exists());
}

#[test]
fn a_batch_in_parts_is_the_batch() {
    let bench = Bench::new();
    let options = small(&bench.batch(2, &[]), 3);
    let sets = ["datasets.train.dataloader_batch_size=2", "netG.drop_path_rate=0"];
    let mut runs = Vec::new();
    for accumulate in ["train.accumulate=1", "train.accumulate=2"] {
        let (summary, seen) =
            bench.run(&options, &[&sets[..], &[accumulate]].concat(), false, None);
        assert_eq!(summary.unwrap().step, 3);
        runs.push(seen.steps);
        std::fs::remove_dir_all(bench.path("run")).unwrap();
    }
    for (whole, parts) in runs[0].iter().zip(&runs[1]) {
        assert!((whole.loss - parts.loss).abs() <= 1e-5 * whole.loss, "{whole:?} {parts:?}");
        let off = (whole.gradient_norm - parts.gradient_norm).abs();
        assert!(off <= 1e-3 * whole.gradient_norm, "{whole:?} {parts:?}");
    }
}

#[test]
fn a_stopped_run_goes_on_to_the_same_weights() {
    let bench = Bench::new();
    let weights = |stops: &[u64]| {
        let options = small(&bench.batch(3, &[]), 5);
        let sets = [
            "train.E_decay=0.9",
            "train.fix_keys=[\"spynet\"]",
            "train.fix_iter=3",
            "train.checkpoint_save=2",
            "datasets.train.dataloader_shuffle=true",
        ];
        let mut resume = false;
        for stop in stops {
            let (summary, seen) = bench.run(&options, &sets, resume, Some(*stop));
            let summary = summary.unwrap();
            assert!(summary.stopped);
            assert_eq!((summary.step, seen.saved.last()), (*stop, Some(stop)));
            resume = true;
        }
        let (summary, _) = bench.run(&options, &sets, resume, None);
        assert!(!summary.unwrap().stopped);
        let states = bench.path("run/states");
        assert_eq!(std::fs::read_dir(states).unwrap().count(), 2, "old states are removed");
        let files = ["states/5.safetensors", "models/5_G.pth", "models/5_E.pth"]
            .map(|name| std::fs::read(bench.path("run").join(name)).unwrap());
        std::fs::remove_dir_all(bench.path("run")).unwrap();
        files
    };
    let whole = weights(&[]);
    assert!(weights(&[1, 4]) == whole, "a run stopped at 1 and 4 differs");
}

#[test]
fn folders_and_files_that_do_not_fit_are_refused() {
    let bench = Bench::new();
    let options = small(&bench.batch(1, &[]), 1);
    assert!(bench.run(&options, &[], false, None).0.is_ok());
    let (error, _) = bench.run(&options, &[], false, None);
    assert!(error.unwrap_err().to_string().contains("--resume"));
    let sets = ["netG.embed_dims=[16,16,16,16,16,16,16,16]"];
    let error = bench.run(&options, &sets, true, None).0.unwrap_err().to_string();
    assert!(error.contains("states/1.safetensors") && error.contains("[16"), "{error}");
    let sets = ["netG.in_chans=4"];
    let error = bench.run(&options, &sets, true, None).0.unwrap_err().to_string();
    assert!(error.contains("states/1.safetensors"), "{error}");
    std::fs::remove_dir_all(bench.path("run")).unwrap();
    let error = bench.run(&options, &sets, false, None).0.unwrap_err().to_string();
    assert!(error.contains("the network needs 4 channels"), "{error}");
    std::fs::remove_dir_all(bench.path("run")).unwrap();
    let sets = ["datasets.train.batch_file=/no/such.safetensors"];
    let error = bench.run(&options, &sets, false, None).0.unwrap_err().to_string();
    assert!(error.contains("datasets.train.batch_file") && error.contains("correct"), "{error}");
}

#[test]
fn a_damaged_state_is_passed_over_for_the_one_before() {
    let bench = Bench::new();
    let options = small(&bench.batch(1, &[]), 3);
    let sets = ["train.checkpoint_save=2"];
    assert!(bench.run(&options, &sets, false, None).0.is_ok());
    let newest = bench.path("run/states/3.safetensors");
    let bytes = std::fs::read(&newest).unwrap();
    std::fs::write(&newest, &bytes[..bytes.len() / 2]).unwrap();
    let (summary, seen) = bench.run(&options, &sets, true, None);
    assert_eq!(summary.unwrap().step, 3);
    assert_eq!(seen.steps.iter().map(|step| step.step).collect::<Vec<_>>(), [3]);
    assert!(std::fs::read(&newest).unwrap() == bytes, "the step made the same state again");
}

/// Trains as several ranks, threads of this process, and gives what each of them did.
fn together(
    bench: &Bench,
    options: &Value,
    ranks: usize,
) -> Vec<(Result<Summary, TrainError>, Seen)> {
    let recipe = Recipe::parse(Path::new("options.json"), &options.to_string(), &[]);
    let recipe = recipe.unwrap_or_else(|error| panic!("{error}")).recipe;
    let stop = Arc::new(AtomicBool::new(false));
    let run = |rank| {
        let options = RunOptions {
            folder: bench.path("together"),
            resume: false,
            device: Device::flex(),
            stop: Arc::clone(&stop),
            ranks: Arc::new(rank),
            linked: Vec::new(),
        };
        let mut seen = Seen::default();
        let summary = train(&recipe, &options, &mut |event| match event {
            Event::Step { report, .. } => seen.steps.push(report.clone()),
            Event::WentBack { step, to, trouble } => seen.went_back.push((step, to, trouble)),
            _ => {}
        });
        (summary, seen)
    };
    std::thread::scope(|scope| {
        let threads = local::group(ranks).into_iter().map(|rank| scope.spawn(|| run(rank)));
        let threads: Vec<_> = threads.collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
fn ranks_train_together_as_one_does_alone() {
    let bench = Bench::new();
    let mut options = small(&bench.batch(8, &[]), 10);
    options["datasets"]["train"]["dataloader_batch_size"] = 4.into();
    options["netG"]["drop_path_rate"] = 0.2.into();
    options["train"]["E_decay"] = 0.9.into();
    options["train"]["G_optimizer_clipgrad"] = 0.1.into();
    // In the same parts, so that even the last bits are the same.
    let (alone, seen) = bench.run(&options, &["train.accumulate=2"], false, None);
    assert_eq!(alone.unwrap().step, 10);
    for (summary, together) in together(&bench, &options, 2) {
        assert_eq!(summary.unwrap().step, 10);
        assert_eq!(together.steps.len(), seen.steps.len());
        for (together, alone) in together.steps.iter().zip(&seen.steps) {
            assert_eq!(together.gradient_norm, alone.gradient_norm, "step {}", alone.step);
            // Losses meet as f32, and are added up in f64 by one process.
            assert!((together.loss - alone.loss).abs() < 1e-7, "step {}", alone.step);
        }
    }
    for which in ['G', 'E'] {
        let weights =
            |run: &str| std::fs::read(bench.path(&format!("{run}/models/10_{which}.pth"))).unwrap();
        assert!(weights("run") == weights("together"), "weights {which} differ");
    }
    let whole = Bench::new();
    options["datasets"]["train"]["batch_file"] = json!(bench.path("batch.safetensors"));
    let (_, whole) = whole.run(&options, &["train.total_iter=3"], false, None);
    for (together, whole) in seen.steps.iter().zip(&whole.steps) {
        let off = (together.loss - whole.loss).abs() / whole.loss;
        assert!(off <= 1e-5, "step {}: {} {}", whole.step, together.loss, whole.loss);
    }
}

#[test]
fn devices_of_a_process_train_together_as_ranks_do() {
    let bench = Bench::new();
    let mut options = small(&bench.batch(8, &[]), 4);
    options["datasets"]["train"]["dataloader_batch_size"] = 4.into();
    let ranks = together(&bench, &options, 2);
    let recipe = Recipe::parse(Path::new("options.json"), &options.to_string(), &[]);
    let recipe = recipe.unwrap_or_else(|error| panic!("{error}")).recipe;
    let run = |devices: &[Device]| {
        let options = RunOptions {
            folder: bench.path(&format!("on {}", devices.len())),
            resume: false,
            device: Device::flex(),
            stop: Arc::new(AtomicBool::new(false)),
            ranks: Arc::new(Single),
            linked: Vec::new(),
        };
        let mut steps = Vec::new();
        let summary = train_on_all(&recipe, &options, devices, &mut |event| {
            if let Event::Step { report, .. } = event {
                steps.push(report.clone());
            }
        });
        (summary, steps)
    };
    let (summary, steps) = run(&[Device::flex(), Device::flex()]);
    assert_eq!(summary.unwrap().step, 4);
    assert_eq!(steps, ranks[0].1.steps);
    let error = run(&[Device::flex(), Device::flex(), Device::flex()]).0.unwrap_err();
    assert!(matches!(error, TrainError::Share { ranks: 3, .. }), "{error}");
}

#[test]
fn trouble_on_one_rank_takes_all_of_them_back() {
    let bench = Bench::new();
    // The third batch's second half, which rank 1 has.
    let mut options = small(&bench.batch(8, &[5]), 3);
    options["datasets"]["train"]["dataloader_batch_size"] = 2.into();
    let found = together(&bench, &options, 2);
    for (rank, (summary, seen)) in found.iter().enumerate() {
        assert_eq!(summary.as_ref().unwrap().step, 3);
        assert!(matches!(seen.went_back[..], [(3, 0, Trouble::Loss(_))]), "rank {rank}: {seen:?}");
    }
}

#[test]
fn a_batch_that_does_not_divide_among_ranks_is_an_error_on_all_of_them() {
    let bench = Bench::new();
    let mut options = small(&bench.batch(4, &[]), 4);
    options["datasets"]["train"]["dataloader_batch_size"] = 4.into();
    for (summary, _) in together(&bench, &options, 3) {
        let error = summary.unwrap_err().to_string();
        assert!(error.contains("4 samples") && error.contains("among 3 ranks"), "{error}");
    }
}
