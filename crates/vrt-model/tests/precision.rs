//! Whole networks in bf16 against the same in f32: the difference beside the output's spread.

#[path = "support/clips.rs"]
mod clips;
mod support;

use vrt_kernels::Precision;
use vrt_testing::{Fixture, NETWORKS};

use clips::{clip, restored};

/// How far bf16 may be from f32, of the output's distance to its mean.
const BOUND: f64 = 0.02;

fn size(values: impl Iterator<Item = f32>) -> f64 {
    values.map(|value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

#[test]
fn bf16_restores_what_f32_does() {
    for name in NETWORKS {
        let Some(fixture) = Fixture::try_load(&format!("models/{name}")) else { continue };
        let (network, clip) = (support::network(&fixture), clip(&fixture));
        let [exact, rounded] = [Precision::F32, Precision::Bf16].map(|precision| {
            let y = restored(&network, &clip, precision).into_data();
            y.try_to_vec::<f32>().expect("f32 values")
        });
        let mean = exact.iter().sum::<f32>() / exact.len() as f32;
        let spread = size(exact.iter().map(|value| value - mean));
        let error = size(exact.iter().zip(&rounded).map(|(a, b)| a - b)) / spread;
        eprintln!("{name}: {:.2} %", 100.0 * error);
        assert!(error < BOUND, "{name}: {error}");
        assert!(error > 0.0, "{name}: bf16 has changed nothing");
    }
}
