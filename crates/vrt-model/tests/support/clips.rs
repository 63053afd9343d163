//! Passes of golden networks.

use burn::tensor::{Device, Tensor, TensorData};
use vrt_kernels::Precision;
use vrt_model::{Pass, Vrt};
use vrt_testing::Fixture;

/// The clip of a fixture, channels last.
pub(crate) fn clip(fixture: &Fixture) -> Tensor<5> {
    let x = fixture.tensor("in.x");
    let data = TensorData::new(x.values.clone(), x.shape.clone());
    Tensor::<5>::from_data(data, &Device::flex()).permute([0, 1, 3, 4, 2])
}

/// What a network makes of a clip.
pub(crate) fn restored(network: &Vrt, clip: &Tensor<5>, precision: Precision) -> Tensor<5> {
    precision.scope(|| network.forward(clip.clone(), &mut Pass::Restore))
}
