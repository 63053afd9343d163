//! Processes that are started with torchrun's variables train as one.

use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};

use super::{Bench, small, without_times};

/// What both runs of a test are told.
const SET: [&str; 8] = [
    "--set",
    "train.checkpoint_save=4",
    "--set",
    "train.checkpoint_test=5",
    "--set",
    "datasets.train.dataloader_batch_size=4",
    "--set",
    "train.E_decay=0.9",
];
/// One process does what two ranks do: every batch in two parts.
const PARTS: [&str; 2] = ["--set", "train.accumulate=2"];

fn free_port() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port().to_string()
}

/// The command of a rank of two, with what torchrun tells it.
fn rank(bench: &Bench, rank: &str, port: &str, more: &[&str]) -> Command {
    let mut command = bench.command(&[&SET[..], more].concat());
    command.envs([
        ("RANK", rank),
        ("WORLD_SIZE", "2"),
        ("LOCAL_RANK", rank),
        ("LOCAL_WORLD_SIZE", "2"),
        ("MASTER_ADDR", "localhost"),
        ("MASTER_PORT", port),
    ]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn both(bench: &Bench, more: &[&str]) -> [Child; 2] {
    let port = free_port();
    ["1", "0"].map(|number| rank(bench, number, &port, more).spawn().unwrap())
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// What one process makes of the same samples.
fn alone(bench: &Bench, more: &[&str]) {
    bench.train(&[&SET[..], &PARTS, more, &["--run-dir", "alone"]].concat()).succeeded();
}

fn same_weights(bench: &Bench, run: &str, step: u64) {
    let weights = |run: &str, name: &str| std::fs::read(bench.path(run).join(name)).unwrap();
    for name in ["G", "E"].map(|kind| format!("models/{step}_{kind}.pth")) {
        assert!(weights("alone", &name) == weights(run, &name), "{name} differs");
    }
}

#[test]
fn ranks_of_torchrun_make_the_weights_of_one_process() {
    let bench = Bench::new();
    bench.data();
    bench.write(&small(10));
    let ranks = both(&bench, &["--run-dir", "both"]);
    for (child, speaks) in ranks.into_iter().zip([false, true]) {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        assert_eq!(said(&output).contains("10 steps"), speaks, "rank 0 alone speaks");
    }
    alone(&bench, &[]);
    same_weights(&bench, "both", 10);
    let [both, alone] = ["both", "alone"].map(|run| without_times(bench.journal(run)));
    assert_eq!(both.len(), alone.len());
    for (both, alone) in both.iter().zip(&alone) {
        assert_eq!((&both["step"], &both["lr"]), (&alone["step"], &alone["lr"]));
        let numbers = |line: &serde_json::Value| ["loss", "psnr"].map(|key| line[key].as_f64());
        for (both, alone) in numbers(both).into_iter().zip(numbers(alone)) {
            let (both, alone) = (both.unwrap_or(0.0), alone.unwrap_or(0.0));
            assert!((both - alone).abs() <= 1e-6 * alone, "{both} {alone}");
        }
    }
}

#[test]
fn a_rank_that_is_killed_ends_the_run_and_what_was_done_is_saved() {
    let bench = Bench::new();
    bench.data();
    bench.write(&small(100_000));
    let never = ["train.checkpoint_save=1000000", "train.checkpoint_test=1000000"];
    let never: Vec<_> = never.iter().flat_map(|set| ["--set", set]).collect();
    let [mut second, mut first] = both(&bench, &[&never[..], &["--run-dir", "lost"]].concat());
    bench.wait_for("lost", 5, &mut first);
    second.kill().unwrap();
    second.wait().unwrap();
    let output = first.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let journal = bench.journal("lost");
    let last = journal.iter().rev().find_map(|line| line["step"].as_u64()).unwrap();
    let errors: Vec<_> = String::from_utf8(output.stderr)
        .unwrap()
        .lines()
        .filter(|line| line.starts_with("error: "))
        .map(str::to_owned)
        .collect();
    let expected = format!(
        "error: rank 1 has ended before the others: its own messages say why; step {last} is saved, \
         and --resume goes on from there"
    );
    assert_eq!(errors, [expected]);
    let total = format!("train.total_iter={}", last + 3);
    let set = [&never[..], &["--set", &total]].concat();
    let resumed = [&SET[..], &PARTS, &set, &["--run-dir", "lost", "--resume"]].concat();
    bench.train(&resumed).succeeded();
    alone(&bench, &set);
    same_weights(&bench, "lost", last + 3);
}

#[test]
fn what_a_launcher_says_wrongly_is_named() {
    let bench = Bench::new();
    bench.data();
    bench.write(&small(10));
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let cases = [
        (("MASTER_PORT", "http"), "MASTER_PORT is \"http\" and should be a number from 1 to 65535"),
        (("RANK", "2"), "RANK is 2 and WORLD_SIZE is 2: RANK must be below WORLD_SIZE"),
        (("LOCAL_WORLD_SIZE", "3"), "LOCAL_WORLD_SIZE is \"3\" and should be a number from 1 to 2"),
        (("WORLD_SIZE", "5000"), "5000 ranks were started, and at most 200 can meet by TCP"),
    ];
    for ((name, value), message) in cases {
        let output = rank(&bench, "1", &port, &[]).env(name, value).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains(message), "{}", said(&output));
    }
}

#[test]
fn ranks_with_other_options_are_told_before_anything_is_written() {
    let bench = Bench::new();
    bench.data();
    bench.write(&small(10));
    let port = free_port();
    let rates = ["4e-4", "1e-4"].map(|rate| format!("train.G_optimizer_lr={rate}"));
    let start = |number: usize| {
        let more = ["--set", &rates[number], "--run-dir", "apart"];
        rank(&bench, ["0", "1"][number], &port, &more).spawn().unwrap()
    };
    for child in [start(1), start(0)] {
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(
            said(&output).contains("rank 1 has other options than rank 0"),
            "{}",
            said(&output)
        );
    }
    assert!(!bench.path("apart").exists());
}
