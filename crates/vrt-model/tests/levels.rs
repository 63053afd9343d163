//! Whole networks as restoring runs them, through the fused operations, at every level that this
//! processor has, against golden tensors.
//!
//! One test, since a level is forced for the whole process.

mod support;

use burn::tensor::{Device, Tensor, TensorData};
use vrt_kernels::Level;
use vrt_model::{Pass, Vrt};
use vrt_testing::{Fixture, Tolerance, assert_close};

/// Fixtures, and what their outputs must meet: flows that are whole within rounding make nearest4
/// jump in the first three.
const NETWORKS: [(&str, Tolerance); 8] = [
    ("deblur", Tolerance::most(0.99, 2e-4).mean(5e-5)),
    ("deblur_spike", Tolerance::most(0.99, 2e-4).mean(5e-5)),
    ("denoise", Tolerance::most(0.99, 2e-4).mean(5e-5)),
    ("interpolate", Tolerance::all(2e-5)),
    ("sr_x2_spike", Tolerance::all(2e-5)),
    ("sr_x4_pa2", Tolerance::all(2e-5)),
    ("sr_x4_pa4", Tolerance::all(2e-5)),
    ("sr_x4_pa6", Tolerance::all(2e-5)),
];

/// `[b, d, c, h, w]`, as fixtures have it; a crop where they hold one.
fn restored(network: &Vrt, fixture: &Fixture) -> (Vec<f32>, Vec<f32>) {
    let x = fixture.tensor("in.x");
    let data = TensorData::new(x.values.clone(), x.shape.clone());
    let clip = Tensor::<5>::from_data(data, &Device::flex()).permute([0, 1, 3, 4, 2]);
    let y = network.forward(clip, &mut Pass::Restore).permute([0, 1, 4, 2, 3]);
    let [b, _, c, h, w] = y.dims();
    let (y, golden) = match fixture.find("out.y") {
        Some(golden) => (y, golden),
        None => {
            let crop = y.slice([0..b, 1..3, 0..c, 40..h.min(168), w - 100..w]);
            (crop, fixture.tensor("out.y_crop"))
        }
    };
    (y.into_data().try_to_vec().expect("f32 values"), golden.values.clone())
}

#[test]
fn every_level_restores_as_published() {
    for (name, tolerance) in NETWORKS {
        let Some(fixture) = Fixture::try_load(&format!("models/{name}")) else { continue };
        let network = support::network(&fixture);
        for level in Level::available() {
            Level::force(level);
            let (y, golden) = restored(&network, &fixture);
            assert_close(&format!("{name} at level {level}"), &y, &golden, tolerance);
        }
    }
}
