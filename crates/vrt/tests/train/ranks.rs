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
    let [mut second, mut first] = both(&bench, &["--run-dir", "lost"]);
    bench.wait_for("lost", 5, &mut first);
    second.kill().unwrap();
    second.wait().unwrap();
    let output = first.wait_with_output().unwrap();
    let message = "rank 1 has ended before the others: its own messages say why";
    assert!(said(&output).contains(message), "{}", said(&output));
    assert_eq!(output.status.code(), Some(1));
    let last = bench.journal("lost").last().unwrap()["step"].as_u64().unwrap();
    assert!(said(&output).contains(&format!("step {last} is saved")), "{}", said(&output));
    let total = format!("train.total_iter={}", last + 3);
    let set = ["--set", total.as_str()];
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
        (("WORLD_SIZE", "5000"), "5000 ranks were started, and at most 1000 can meet by TCP"),
    ];
    for ((name, value), message) in cases {
        let output = rank(&bench, "1", &port, &[]).env(name, value).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains(message), "{}", said(&output));
    }
}
