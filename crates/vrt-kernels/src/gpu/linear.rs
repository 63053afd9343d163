//! Linear layers; see [`linear`](crate::linear).

use burn_cubecl::tensor::CubeTensor;

use super::launch::packed;
use super::product::{Left, Sizes, Store, outer, product, product_into};
use super::shape::{split, transposed};
use crate::linear::LinearGeometry;

fn sizes(geometry: &LinearGeometry) -> Sizes {
    let LinearGeometry { rows, inputs, outputs } = *geometry;
    Sizes { first: 0, rows, outputs, inputs, groups: 1 }
}

/// See [`ops::linear`](crate::ops::linear).
pub(crate) fn forward([x, weight, bias]: [CubeTensor; 3], geometry: &LinearGeometry) -> CubeTensor {
    let [x, weight, bias] = checked([x, weight, bias], geometry);
    product(Left::matrix(&x, geometry.inputs), &weight, Some(&bias), sizes(geometry))
}

/// See [`ops::linear_onto`](crate::ops::linear_onto).
pub(crate) fn onto(
    tensors: [CubeTensor; 3],
    residual: CubeTensor,
    geometry: &LinearGeometry,
) -> CubeTensor {
    let ([x, weight, bias], residual) = (checked(tensors, geometry), packed(residual));
    let expected = geometry.rows * geometry.outputs;
    let len = residual.meta.shape().num_elements();
    assert_eq!(len, expected, "linear: what it is added to does not have the sizes {geometry:?}");
    let left = Left::matrix(&x, geometry.inputs);
    product_into(left, &weight, Some(&bias), sizes(geometry), Store::Onto(&residual))
}

/// See [`ops::linear_gated`](crate::ops::linear_gated).
pub(crate) fn gated(
    x: CubeTensor,
    [gate_weight, gate_bias]: [CubeTensor; 2],
    [weight, bias]: [CubeTensor; 2],
    geometry: &LinearGeometry,
) -> CubeTensor {
    let [x, gate_weight, gate_bias] = checked([x, gate_weight, gate_bias], geometry);
    let [x, weight, bias] = checked([x, weight, bias], geometry);
    let left = Left::matrix(&x, geometry.inputs);
    let both = Sizes { outputs: 2 * geometry.outputs, ..sizes(geometry) };
    product_into(left, &gate_weight, Some(&gate_bias), both, Store::Gated([&weight, &bias]))
}

/// Gradients of the input, the weight and the bias, where they are wanted.
pub(crate) fn backward(
    inputs: [CubeTensor; 3],
    grad: CubeTensor,
    geometry: &LinearGeometry,
    [of_x, of_weight, of_bias]: [bool; 3],
) -> [Option<CubeTensor>; 3] {
    let ([x, weight, _], grad) = (checked(inputs, geometry), packed(grad));
    let LinearGeometry { rows, inputs, outputs } = *geometry;
    let x_grad = of_x.then(|| {
        let sizes = Sizes { first: 0, rows, outputs: inputs, inputs: outputs, groups: 1 };
        product(Left::matrix(&grad, outputs), &transposed(weight), None, sizes)
    });
    let layer = (of_weight || of_bias)
        .then(|| split(outer(Left::matrix(&x, inputs), &grad, sizes(geometry))));
    let [weight_grad, bias_grad] = layer.map_or([None, None], |layer| layer.map(Some));
    [x_grad, weight_grad.filter(|_| of_weight), bias_grad.filter(|_| of_bias)]
}

fn checked(tensors: [CubeTensor; 3], geometry: &LinearGeometry) -> [CubeTensor; 3] {
    let LinearGeometry { rows, inputs, outputs } = *geometry;
    let lengths = tensors.each_ref().map(|tensor| tensor.meta.shape().num_elements());
    let expected = [rows * inputs, outputs * inputs, outputs];
    assert_eq!(lengths, expected, "linear: the tensors do not have the sizes {geometry:?}");
    tensors.map(packed)
}
