//! `vrt train` as a person runs it: option files, real frames, kill and resume.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

mod golden;
mod ranks;
mod sets;
#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::{Ran, vrt};
use tempfile::TempDir;
use vrt_testing::shared_root;
use vrt_video::{BitDepth, Frame, write_picture};

/// Longest wait for a program that is to write something.
const PATIENCE: Duration = Duration::from_secs(120);

struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vrt"));
        command.current_dir(self.folder.path()).args(["train", "options.json"]).args(more);
        command
    }

    fn train(&self, more: &[&str]) -> Ran {
        Ran::of(&mut self.command(more))
    }

    fn start(&self, more: &[&str]) -> Child {
        let mut command = self.command(more);
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn write(&self, options: &Value) {
        std::fs::write(self.path("options.json"), options.to_string()).unwrap();
    }

    /// A moving pattern and a softer copy: `sharp/NAME` and `blurred/NAME`, each frame of
    /// `width`×`height`.
    fn clip(&self, root: &str, name: &str, frames: usize, (width, height): (usize, usize)) {
        for (kind, soft) in [("sharp", 1), ("blurred", 4)] {
            let folder = self.path(&format!("{root}/{kind}/{name}"));
            std::fs::create_dir_all(&folder).unwrap();
            for i in 0..frames {
                let at = |k: usize| {
                    let (column, row, channel) = (k / 3 % width, k / (3 * width), k % 3);
                    let sum: usize =
                        (0..soft).map(|s| (column + s + i) * (7 + channel) + row * row).sum();
                    (sum / soft % 64) as f32 / 64.0
                };
                let samples = (0..3 * width * height).map(at).collect();
                let frame = Frame::new(width, height, 3, samples);
                let path = folder.join(format!("{i:08}.png"));
                write_picture(&path, &frame, BitDepth::Eight, true).unwrap();
            }
        }
    }

    /// Two training clips with their list, and a test clip.
    fn data(&self) {
        self.clip("train", "000", 5, (40, 32));
        self.clip("train", "001", 4, (32, 48));
        let list = "000 5 (32,40,3) 0\n001 4 (48,32,3) 0\n";
        std::fs::write(self.path("list.txt"), list).unwrap();
        self.clip("test", "clip", 3, (24, 16));
    }

    fn journal(&self, run: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.path(run).join("journal.jsonl"));
        let text = text.unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits until the journal of a run has a step.
    fn wait_for(&self, run: &str, step: u64, child: &mut Child) {
        let started = Instant::now();
        let has = |lines: &[Value]| lines.iter().any(|line| line["step"] == json!(step));
        while !has(&self.journal(run)) {
            assert!(started.elapsed() < PATIENCE, "no step {step}");
            assert!(child.try_wait().unwrap().is_none(), "the run ended before step {step}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A network of the smallest kind, trained on crops of the clips of [`Bench::data`].
fn small(steps: u64) -> Value {
    json!({
        "task": "small",
        "gpu_ids": [0],
        "path": { "root": "runs" },
        "datasets": {
            "train": {
                "dataset_type": "VideoRecurrentTrainDataset",
                "dataroot_gt": "train/sharp",
                "dataroot_lq": "train/blurred",
                "meta_info_file": "list.txt",
                "io_backend": { "type": "disk" },
                "num_frame": 3,
                "gt_size": 16,
                "use_hflip": true,
                "use_rot": true,
                "random_reverse": true,
                "dataloader_batch_size": 2,
                "dataloader_num_workers": 2,
            },
            "test": {
                "dataset_type": "VideoRecurrentTestDataset",
                "dataroot_gt": "test/sharp",
                "dataroot_lq": "test/blurred",
            },
        },
        "netG": {
            "window_size": [2, 2, 2],
            "depths": [2, 2, 2, 2, 2, 2, 2, 1],
            "embed_dims": [8, 8, 8, 8, 8, 8, 8, 8],
            "num_heads": [2, 2, 2, 2, 2, 2, 2, 2],
            "pa_frames": 2,
            "deformable_groups": 4,
        },
        "train": {
            "G_lossfn_type": "charbonnier",
            "E_decay": 0.9,
            "G_optimizer_lr": 4e-4,
            "G_optimizer_clipgrad": 0.5,
            "fix_keys": ["spynet", "deform"],
            "fix_lr_mul": 0.25,
            "fix_iter": steps.min(6),
            "total_iter": steps,
            "G_scheduler_type": "CosineAnnealingWarmRestarts",
            "G_scheduler_periods": steps,
            "G_scheduler_eta_min": 1e-7,
        },
        "val": { "num_frame_testing": 2, "num_frame_overlapping": 1, "size_patch_testing": 24 },
    })
}

/// A journal without what differs from run to run.
fn without_times(mut lines: Vec<Value>) -> Vec<Value> {
    for line in &mut lines {
        line.as_object_mut().unwrap().remove("seconds");
    }
    lines
}

#[test]
fn a_killed_run_goes_on_to_the_same_weights_and_journal() {
    let bench = Bench::new();
    bench.data();
    bench.write(&small(20));
    let set = ["--set", "train.checkpoint_save=12", "--set", "train.checkpoint_test=8"];
    let whole = bench.train(&[&set[..], &["--run-dir", "whole"]].concat());
    assert!(whole.succeeded().contains("20 steps"));

    let cut = [&set[..], &["--run-dir", "cut"]].concat();
    let mut child = bench.start(&cut);
    bench.wait_for("cut", 13, &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    bench.train(&[&cut[..], &["--resume"]].concat()).succeeded();

    let weights = |run: &str, name: &str| std::fs::read(bench.path(run).join(name)).unwrap();
    for name in ["models/20_G.pth", "models/20_E.pth", "states/20.safetensors"] {
        assert!(weights("whole", name) == weights("cut", name), "{name} differs");
    }
    let journal = without_times(bench.journal("cut"));
    assert_eq!(journal, without_times(bench.journal("whole")));
    let steps: Vec<_> = journal.iter().filter_map(|line| line["step"].as_u64()).collect();
    assert_eq!(steps, (1..=20).collect::<Vec<_>>());
    assert_eq!(journal.iter().filter(|line| line["event"] == "validation").count(), 2);
}

#[test]
fn a_trial_that_was_cut_off_behind_its_checkpoint_is_made_up_for() {
    let bench = Bench::new();
    bench.data();
    bench.write(&small(3));
    let set = ["--set", "train.checkpoint_save=2", "--set", "train.checkpoint_test=2"];
    bench.train(&[&set[..], &["--run-dir", "whole"]].concat()).succeeded();
    let cut = [&set[..], &["--run-dir", "cut"]].concat();
    bench.train(&[&cut[..], &["--set", "train.total_iter=2"]].concat()).succeeded();
    let journal = bench.path("cut/journal.jsonl");
    let text = std::fs::read_to_string(&journal).unwrap();
    let before: String = text.split_inclusive('\n').take(2).collect();
    std::fs::write(&journal, before).unwrap();
    bench.train(&[&cut[..], &["--resume"]].concat()).succeeded();
    let mut journal = without_times(bench.journal("cut"));
    let changed: Vec<_> = journal.extract_if(.., |line| line["event"] == "options").collect();
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0]["changed"], json!(["train.total_iter 3, was 2"]));
    assert_eq!(journal, without_times(bench.journal("whole")));
    assert_eq!(journal.len(), 4);
}

#[cfg(unix)]
#[test]
fn a_run_that_is_asked_to_end_saves_and_says_how_to_go_on() {
    for signal in ["-TERM", "-INT"] {
        let bench = Bench::new();
        bench.data();
        bench.write(&small(100_000));
        let mut child =
            bench.command(&[]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        bench.wait_for("runs/small", 2, &mut child);
        Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("is saved in runs/small; go on with --resume"), "{said}");
        let last = bench.journal("runs/small").last().unwrap()["step"].as_u64().unwrap();
        let state = bench.path(&format!("runs/small/states/{last}.safetensors"));
        assert!(state.exists());
        let ran = vrt(&["info", state.to_str().unwrap()]);
        assert!(ran.stderr.contains("beside it in models/"), "{}", ran.stderr);
        let total = format!("train.total_iter={}", last + 1);
        let ran = bench.train(&["--resume", "--set", &total, "--set", "train.fix_iter=0"]);
        assert!(ran.succeeded().contains(&format!("{} steps", last + 1)));
    }
}

#[test]
fn a_run_that_fails_saves_what_was_done_and_says_which_frame_was_the_matter() {
    let bench = Bench::new();
    bench.data();
    bench.write(&small(100_000));
    let mut child =
        bench.command(&["-q"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    bench.wait_for("runs/small", 2, &mut child);
    let frame = bench.path("train/sharp/000/00000002.png");
    let whole = std::fs::read(&frame).unwrap();
    std::fs::write(&frame, b"not a picture").unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("00000002.png"), "{said}");
    let last = bench.journal("runs/small").last().unwrap()["step"].as_u64().unwrap();
    let saved = format!("step {last} is saved, and --resume goes on from there");
    assert!(said.contains(&saved), "{said}");
    assert!(bench.path(&format!("runs/small/states/{last}.safetensors")).exists());
    std::fs::write(&frame, whole).unwrap();
    let total = format!("train.total_iter={}", last + 1);
    let ran = bench.train(&["--resume", "--set", &total, "--set", "train.fix_iter=0"]);
    assert!(ran.succeeded().contains(&format!("{} steps", last + 1)));
}

#[test]
fn trials_score_and_keep_frames_and_change_nothing() {
    let bench = Bench::new();
    bench.data();
    bench.write(&small(2));
    let sets = ["train.checkpoint_test=1", "val.save_img=true", "val.flip_seq=true"];
    let sets: Vec<_> = sets.iter().flat_map(|set| ["--set", set]).collect();
    let run = |more: &[&str]| bench.train(more).succeeded();
    let events = run(&[&sets[..], &["--run-dir", "tried", "--json"]].concat());
    run(&["--run-dir", "untried"]);

    let events: Vec<Value> =
        events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let tried: Vec<_> = events.iter().filter(|event| event["event"] == "validation").collect();
    assert_eq!(tried.len(), 2);
    assert_eq!(tried[0]["scores"]["clips"][0]["frames"].as_array().unwrap().len(), 3);
    assert!(tried[1]["scores"]["mean"]["psnr"].as_f64().unwrap() > 1.0);
    assert!(bench.path("tried/images/2/clip/00000002.png").exists());
    assert_eq!(std::fs::read_dir(bench.path("tried/tensorboard")).unwrap().count(), 1);
    let weights = |run: &str| std::fs::read(bench.path(run).join("models/2_E.pth")).unwrap();
    assert!(weights("tried") == weights("untried"), "trials have changed the weights");

    // What was scored is what `vrt eval` scores with the exported average.
    let [truth, input, weights] = ["test/sharp", "test/blurred", "untried/models/2_E.pth"]
        .map(|name| bench.path(name).display().to_string());
    let mut eval = vec!["eval", "--gt", &truth, "--input", &input, "--weights", &weights];
    eval.extend(["--json", "--precision", "f32", "--tiling", "published"]);
    eval.extend(["--tile", "2,24", "--overlap", "1,20"]);
    let scored = vrt(&eval).succeeded();
    let scored: Value = serde_json::from_str(scored.lines().last().unwrap()).unwrap();
    let once = run(&["--run-dir", "once", "--json", "--set", "train.checkpoint_test=2"]);
    let mut once = once.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let once = once.rfind(|event| event["event"] == "validation").unwrap();
    let psnr = |scores: &Value| scores["mean"]["psnr"].as_f64().unwrap();
    assert!((psnr(&once["scores"]) - psnr(&scored)).abs() < 1e-6, "{once} {scored}");
}

#[test]
fn published_option_files_have_plans() {
    let Some(shared) = shared_root() else {
        eprintln!("SKIPPED: the published option files are not on this machine");
        return;
    };
    let bench = Bench::new();
    let mut found = 0;
    for entry in std::fs::read_dir(shared.join("reference/options")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ending| ending != "json") {
            continue;
        }
        std::fs::copy(&path, bench.path("options.json")).unwrap();
        let plan = bench.train(&["--plan"]).succeeded();
        assert!(plan.contains("\"dataset_type\"") && plan.contains("// gpu_ids: "), "{plan}");
        // A plan is an option file.
        std::fs::write(bench.path("options.json"), &plan).unwrap();
        assert_eq!(options_of(&bench.train(&["--plan"]).succeeded()), options_of(&plan));
        std::fs::remove_file(bench.path("options.json")).unwrap();
        found += 1;
    }
    assert_eq!(found, 9);
}

/// A plan without its remarks.
fn options_of(plan: &str) -> String {
    plan.lines().filter(|line| !line.starts_with("//")).collect()
}

#[test]
fn plans_count_parameters_and_steps() {
    let bench = Bench::new();
    bench.data();
    bench.write(&small(20));
    let plan: Value =
        serde_json::from_str(&bench.train(&["--plan", "--json"]).succeeded()).unwrap();
    assert_eq!((&plan["samples"], &plan["steps_per_epoch"]), (&json!(9), &json!(5)));
    assert!(plan["step_bytes"].as_u64().unwrap() > 100_000_000, "{plan}");
    let mut check = Command::new(env!("CARGO_BIN_EXE_vrt"));
    check.current_dir(bench.folder.path()).args(["data", "check", "options.json"]);
    let said = Ran::of(&mut check).succeeded();
    assert!(said.contains("2 clips, 9 pairs of frames, 0 faults"), "{said}");
    assert_eq!(plan["parameters"].as_array().unwrap().len(), 2);
    assert_eq!(plan["options"]["train"]["G_optimizer_betas"], json!([0.9, 0.999]));
    assert_eq!(plan["missing"], json!([]));
    assert!(!bench.path("runs").exists(), "a plan writes nothing");
}

#[test]
fn what_is_wrong_is_said_with_file_key_and_remedy() {
    let bench = Bench::new();
    bench.data();
    bench.write(&small(20));
    let failed = |more: &[&str], parts: &[&str]| {
        let said = bench.train(more).failed();
        for part in parts {
            assert!(said.contains(part), "{part:?} is not in {said}");
        }
    };
    failed(&["--set", "train.totl_iter=3"], &["options.json", "train.totl_iter", "total_iter?"]);
    failed(&["--set", "datasets.train.gt_size=1"], &["datasets.train.gt_size is 1", "at least 2"]);
    failed(
        &["--set", "datasets.train.dataroot_lq=gone"],
        &["datasets.train.dataroot_lq", "gone", "correct the path"],
    );
    failed(&["--set", "datasets.train.meta_info_file=no.txt"], &["meta_info_file", "no.txt"]);
    failed(&["--set", "datasets.train.gt_size=64"], &["64"]);
    std::fs::rename(bench.path("test/blurred/clip"), bench.path("test/blurred/other")).unwrap();
    std::fs::write(bench.path("test/blurred/other/x.png"), "").unwrap();
    failed(&[], &["validation", "test/blurred"]);
    std::fs::remove_dir_all(bench.path("test")).unwrap();
    bench.clip("test", "clip", 3, (24, 16));
    assert!(!bench.path("runs/small/journal.jsonl").exists());

    std::fs::write(bench.path("runs/small/options.json"), "{}").unwrap();
    failed(&[], &["runs/small", "--resume", "--run-dir"]);
    let usage = bench.train(&["--set", "nonsense"]);
    assert_eq!(usage.code, 2, "{}", usage.stderr);
    assert!(usage.stderr.contains("section.key=value"), "{}", usage.stderr);
    std::fs::remove_file(bench.path("options.json")).unwrap();
    failed(&[], &["options.json", "cannot be read"]);
}
