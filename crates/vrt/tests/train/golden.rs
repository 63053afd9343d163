//! Eight steps on one batch, beside the published implementation.

use std::path::Path;

use serde_json::Value;
use vrt_model::Checkpoint;
use vrt_model::checkpoint::Existing;
use vrt_testing::{Fixture, fixture_root, read_tensors, trajectory_options, workspace_root};

use super::Bench;

/// Root mean square of a difference, and of how far the expected values are from the start.
fn off(found: &[f32], expected: &[f32], start: &[f32]) -> (f64, f64) {
    let norm = |a: &[f32], b: &[f32]| {
        a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>().sqrt()
    };
    (norm(found, expected), norm(expected, start))
}

/// Holds exported weights to golden ones: within a hundredth of how far training moved them, for
/// the first steps of Adam move each number by the learning rate, whatever its gradient, and tiny
/// gradients whose sign is rounding move it the other way.
fn check_weights(fixture: &Fixture, prefix: &str, path: &Path) {
    let found = Checkpoint::open(path).unwrap();
    let spynet = read_tensors(&workspace_root().join("weights/spynet.safetensors"));
    let mut compared = 0;
    for (name, golden) in fixture.under(prefix) {
        let start = match name.strip_prefix("spynet.") {
            Some(name) => &spynet[name],
            None => fixture.tensor(&format!("param.{name}")),
        };
        let values = found.read(name).unwrap();
        let (difference, moved) = off(&values, &golden.values, &start.values);
        assert!(difference <= 1e-2 * moved, "{prefix}{name}: off by {difference} of {moved}");
        compared += 1;
    }
    assert_eq!(compared, 5);
}

fn follow(name: &str, device: &str) {
    let Some(fixture) = Fixture::try_load(&format!("training/{name}")) else { return };
    let bench = Bench::new();
    let start = bench.path("start.safetensors");
    let tensors = fixture
        .under("param.")
        .map(|(name, golden)| (name.to_owned(), golden.shape.clone(), golden.values.clone()));
    Checkpoint::from_values(tensors).write_plain_safetensors(&start, Existing::Keep).unwrap();
    let batch = fixture_root(&format!("training/{name}.safetensors")).unwrap();
    bench.write(&trajectory_options(&fixture, &batch, &start));
    bench.train(&["--run-dir", "run", "--device", device]).succeeded();

    let numbers =
        |key: &str| -> Vec<f64> { serde_json::from_value(fixture.metadata(key).clone()).unwrap() };
    let (losses, norms) = (numbers("losses"), numbers("grad_norms"));
    let rates: Vec<Vec<f64>> = serde_json::from_value(fixture.metadata("lrs").clone()).unwrap();
    let journal = bench.journal("run");
    assert_eq!(journal.len(), losses.len());
    let relative =
        |found: &Value, expected: f64| (found.as_f64().unwrap() - expected).abs() / expected;
    for (i, line) in journal.iter().enumerate() {
        // Rounding grows with the steps: 1e-4 at the first, 2 % at the eighth.
        let tolerance = 1e-4 * 200_f64.powf(i as f64 / 7.0);
        assert!(relative(&line["loss"], losses[i]) <= tolerance, "{line}");
        assert!(relative(&line["grad_norm"], norms[i]) <= tolerance.max(1e-3), "{line}");
        let found: Vec<f64> = serde_json::from_value(line["lr"].clone()).unwrap();
        assert_eq!(found.len(), rates[i].len());
        for (found, expected) in found.iter().zip(&rates[i]) {
            assert!((found - expected).abs() <= 1e-9 * expected, "{line}");
        }
        assert!(line["seconds"].as_f64().unwrap() > 0.0);
    }
    check_weights(&fixture, "out.param.", &bench.path("run/models/8_G.pth"));
    check_weights(&fixture, "out.ema.", &bench.path("run/models/8_E.pth"));
}

#[test]
fn a_golden_run_with_freezing_and_milestones() {
    follow("multistep_freeze", "cpu");
}

#[test]
fn a_golden_run_with_restarts_and_clipping() {
    follow("cosine_clip", "cpu");
}

/// On the first GPU there is of a kind that the program was built for.
#[cfg(feature = "gpu")]
#[test]
#[ignore = "a GPU that is played by a program takes longer than all other tests together"]
fn a_golden_run_on_a_gpu() {
    use vrt::device::DeviceKind;
    let mut gpus = DeviceKind::ALL.into_iter().filter(|kind| *kind != DeviceKind::Cpu);
    match gpus.find(|kind| !kind.found().is_empty()) {
        Some(kind) => follow("cosine_clip", kind.name()),
        None => eprintln!("no GPU: not tested"),
    }
}
