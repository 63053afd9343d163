//! Whole networks in bf16 against the same in f32: the difference beside the output's spread.

mod support;

use burn::tensor::{Device, Tensor, TensorData};
use vrt_kernels::Precision;
use vrt_model::{Pass, Vrt};
use vrt_testing::Fixture;

/// Fixtures, and how far bf16 may be from f32, of the output's distance to its mean.
const NETWORKS: [(&str, f64); 8] = [
    ("deblur", 0.02),
    ("deblur_spike", 0.02),
    ("denoise", 0.02),
    ("interpolate", 0.02),
    ("sr_x2_spike", 0.02),
    ("sr_x4_pa2", 0.02),
    ("sr_x4_pa4", 0.02),
    ("sr_x4_pa6", 0.02),
];

fn restored(network: &Vrt, fixture: &Fixture, precision: Precision) -> Vec<f32> {
    let x = fixture.tensor("in.x");
    let data = TensorData::new(x.values.clone(), x.shape.clone());
    let clip = Tensor::<5>::from_data(data, &Device::flex()).permute([0, 1, 3, 4, 2]);
    let y = precision.scope(|| network.forward(clip, &mut Pass::Restore));
    y.into_data().try_to_vec().expect("f32 values")
}

fn size(values: impl Iterator<Item = f32>) -> f64 {
    values.map(|value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

#[test]
fn bf16_restores_what_f32_does() {
    for (name, bound) in NETWORKS {
        let Some(fixture) = Fixture::try_load(&format!("models/{name}")) else { continue };
        let network = support::network(&fixture);
        let [exact, rounded] = [Precision::F32, Precision::Bf16]
            .map(|precision| restored(&network, &fixture, precision));
        let mean = exact.iter().sum::<f32>() / exact.len() as f32;
        let spread = size(exact.iter().map(|value| value - mean));
        let error = size(exact.iter().zip(&rounded).map(|(a, b)| a - b)) / spread;
        eprintln!("{name}: {:.2} %", 100.0 * error);
        assert!(error < bound, "{name}: {error}");
        assert!(error > 0.0, "{name}: bf16 has changed nothing");
    }
}
