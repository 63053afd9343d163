//! Fused operations against what is composed instead.

use burn::tensor::{Device, Tensor, TensorData};
use vrt_testing::{Random, Tolerance, assert_close};

use super::without;
use crate::level::Level;

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("f32 values")
}

/// Holds values and gradients of an operation on drawn inputs, at every level, to those of what it is
/// composed of.
pub(super) fn agree<const N: usize>(
    name: &str,
    shapes: [[usize; 4]; N],
    operation: impl Fn([Tensor<4>; N]) -> Tensor<4>,
) {
    let run = || {
        let random = &mut Random::new(5);
        let mut draw = |shape: [usize; 4]| {
            let drawn = random.values(shape.iter().product(), 1.0);
            Tensor::<4>::from_data(TensorData::new(drawn, shape), &Device::flex())
        };
        let inputs = shapes.map(&mut draw);
        let plain = values(operation(inputs.clone()));
        let inputs = inputs.map(|input| input.autodiff().require_grad());
        let out = operation(inputs.clone());
        let weights = draw(out.dims()).autodiff();
        let grads = (out.clone() * weights).sum().backward();
        assert_eq!(values(out.inner()), plain, "{name}: with gradients and without");
        let of_inputs = inputs.map(|input| values(input.grad(&grads).expect("a gradient")));
        (plain, of_inputs)
    };
    let (expected, expected_gradients) = without(run);
    for level in Level::available() {
        let (found, gradients) = level.scope(run);
        let close = |what: &str, found: &[f32], expected: &[f32]| {
            assert_close(
                &format!("{name} at {level}, {what}"),
                found,
                expected,
                Tolerance::all(1e-4),
            );
        };
        close("values", &found, &expected);
        for (i, (found, expected)) in gradients.iter().zip(&expected_gradients).enumerate() {
            close(&format!("gradient {i}"), found, expected);
        }
    }
}
