//! One test a fixture in `fixtures/models`.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{Gradients, Tensor};
use vrt_kernels::{Level, Precision, precisions};
use vrt_testing::{Fixture, Tolerance, assert_close};

use super::{Collect, FixtureValues, device, input, on_gpus, on_processors, values};
use crate::checkpoint::{Checkpoint, account};
use crate::config::VrtConfig;
use crate::network::Vrt;
use crate::option_file;
use crate::parameters::Values;
use crate::pass::Pass;

/// Outputs where nearest4 may jump at a flow that is whole within rounding.
const NETWORK: Tolerance = Tolerance::most(0.99, 2e-4).mean(5e-5);
/// The same on GPUs, for the fixture whose frames move the least. Noise of a millionth in its input
/// makes up to 4 % of the values jump on processors, by up to 0.144; their own rounding 0.9 %.
const STILL_ON_GPUS: Tolerance = Tolerance::most(0.95, 2e-4).mean(1.2e-4);
/// Gradients there: llvmpipe has 97 % of those of an offset layer within a hundredth, all within two.
const STILL_GRADIENT: Tolerance = Tolerance::most(0.95, 1e-2);
/// Outputs of super-resolution and interpolation, which have no such place.
const EXACT: Tolerance = Tolerance::all(2e-5);
const GRADIENT: Tolerance = Tolerance::most(0.99, 1e-2);

fn config(fixture: &Fixture) -> VrtConfig {
    option_file::from_json(&fixture.metadata("config").to_string()).expect("a configuration")
}

fn network_fixture(name: &str, tolerance: Tolerance) {
    network_fixture_with(name, tolerance, [tolerance, GRADIENT]);
}

/// With other tolerances for outputs and gradients on GPUs.
fn network_fixture_with(name: &str, processors: Tolerance, gpus: [Tolerance; 2]) {
    let Some(fixture) = Fixture::try_load(&format!("models/{name}")) else { return };
    // What attention found is kept at one of the levels, found again at the others.
    let keeps = || Level::current() == Level::Portable;
    on_processors(|| check_network(&fixture, [processors, GRADIENT], keeps()));
    on_gpus(|| {
        check_network(&fixture, gpus, false);
        check_rounded(&fixture);
    });
}

/// Holds what a GPU makes in 16 bits to what it makes in `f32`: how far they are apart, of how far
/// values are from their mean.
fn check_rounded(fixture: &Fixture) {
    let device = device().inner();
    let network = Vrt::with_values(&config(fixture), &mut FixtureValues::new(fixture), &device);
    let x = input::<5>(fixture, "x").inner().permute([0, 1, 3, 4, 2]);
    let restored = |precision: Precision| {
        let y = precision.scope(|| network.network.forward(x.clone(), &mut Pass::Restore));
        values(y)
    };
    let exact = restored(Precision::F32);
    let size = |values: &mut dyn Iterator<Item = f32>| {
        values.map(|value| f64::from(value).powi(2)).sum::<f64>().sqrt()
    };
    let mean = exact.iter().sum::<f32>() / exact.len() as f32;
    let spread = size(&mut exact.iter().map(|value| value - mean));
    for precision in precisions(&device).into_iter().filter(|other| *other != Precision::F32) {
        let rounded = restored(precision);
        let error = size(&mut exact.iter().zip(&rounded).map(|(a, b)| a - b)) / spread;
        eprintln!("{precision} is {:.3} % from f32", 100.0 * error);
        assert!(error > 0.0 && error < 0.02, "{precision}: {error}");
    }
}

fn check_network(fixture: &Fixture, [output, gradient]: [Tolerance; 2], keeps: bool) {
    let config = config(fixture);
    let device = device();
    let named = Vrt::with_values(&config, &mut FixtureValues::new(fixture), &device);
    assert!(named.missing.is_empty(), "parameters without a value: {:?}", named.missing);
    let network = named.network.keeping_attention(|_| keeps);
    let x = input::<5>(fixture, "x");
    let clip = x.clone().permute([0, 1, 3, 4, 2]);
    let y = network.forward(clip, &mut Pass::Restore);
    check_output(fixture, y.clone().permute([0, 1, 4, 2, 3]), output);
    let grads = (y - 0.5).powi_scalar(2).mean().backward();
    let names = named.names.into_iter().collect();
    let mut collect = Collect { grads: &grads, names: &names, found: BTreeMap::new() };
    network.visit(&mut collect);
    check_gradients(fixture, &grads, &collect.found, (&x, gradient));
}

fn check_output(fixture: &Fixture, y: Tensor<5>, tolerance: Tolerance) {
    let (y, golden) = match fixture.find("out.y") {
        Some(golden) => (y, golden),
        None => (crop(y), fixture.tensor("out.y_crop")),
    };
    assert_eq!(y.dims().to_vec(), golden.shape, "shape of the output");
    assert_close("output", &values(y), &golden.values, tolerance);
}

/// `y[:, 1:3, :, 40:168, -100:]`, as the fixtures' metadata says.
fn crop(y: Tensor<5>) -> Tensor<5> {
    let [b, _, c, h, w] = y.dims();
    y.slice([0..b, 1..3, 0..c, 40..h.min(168), w - 100..w])
}

fn check_gradients(
    fixture: &Fixture,
    grads: &Gradients,
    found: &BTreeMap<String, Vec<f32>>,
    (x, tolerance): (&Tensor<5>, Tolerance),
) {
    let of_input = values(x.grad(grads).expect("a gradient of the input"));
    let golden = fixture.tensor("grad.in.x");
    assert_close("gradient of the input", &of_input, &golden.values, tolerance);
    let mut compared = 0;
    for (name, golden) in fixture.under("grad.param.") {
        let found = found.get(name).unwrap_or_else(|| panic!("no gradient of {name}"));
        assert_close(&format!("gradient of {name}"), found, &golden.values, tolerance);
        compared += 1;
    }
    assert!(compared > 8, "the fixture has gradients of parameters from every part");
}

#[test]
fn a_published_file_gives_the_same_network() {
    let Some(path) = vrt_testing::fixture_root("models/deblur.pth") else {
        eprintln!("SKIPPED: fixture models/deblur.pth is not on this machine");
        return;
    };
    let fixture = Fixture::load("models/deblur");
    let checkpoint = Checkpoint::open(&path).expect("a checkpoint");
    let recognised = checkpoint.config().expect("a network");
    assert!(recognised.same_network(&config(&fixture)), "recognised as {recognised:?}");
    account(&recognised, &checkpoint).expect("every tensor in its place");
    let mut values = FixtureValues::new(&fixture);
    for spec in recognised.tensors() {
        let expected = values.values(&spec.name, &spec.shape).expect("a golden parameter");
        let read = checkpoint.read(&spec.name).expect("a readable tensor");
        assert_eq!(read, expected, "values of {}", spec.name);
    }
}

#[test]
fn deblurring() {
    network_fixture("deblur", NETWORK);
}

#[test]
fn deblurring_with_a_spike_channel() {
    network_fixture("deblur_spike", NETWORK);
}

#[test]
fn denoising_with_a_noise_map() {
    network_fixture_with("denoise", NETWORK, [STILL_ON_GPUS, STILL_GRADIENT]);
}

#[test]
fn interpolation() {
    network_fixture("interpolate", EXACT);
}

#[test]
fn upscaling_by_two_with_a_spike_channel() {
    network_fixture("sr_x2_spike", EXACT);
}

#[test]
fn upscaling_by_four_with_reach_one() {
    network_fixture("sr_x4_pa2", EXACT);
}

#[test]
fn upscaling_by_four_with_reach_two() {
    network_fixture("sr_x4_pa4", EXACT);
}

#[test]
fn upscaling_by_four_with_reach_three() {
    network_fixture("sr_x4_pa6", EXACT);
}
