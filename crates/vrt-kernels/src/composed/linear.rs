//! Linear layer, gate and norm, composed.

use burn::tensor::Tensor;
use burn::tensor::activation::gelu;
use burn::tensor::module::layer_norm;

use crate::norm::EPSILON;

/// As [`ops::linear`](crate::ops::linear).
pub fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    x.matmul(weight.transpose()) + bias.unsqueeze()
}

/// As [`ops::gated`](crate::ops::gated).
pub fn gated(gate: Tensor<2>, x: Tensor<2>) -> Tensor<2> {
    gelu(gate) * x
}

/// As [`ops::norm`](crate::ops::norm).
pub fn norm(x: Tensor<2>, weight: Tensor<1>, bias: Tensor<1>) -> Tensor<2> {
    layer_norm(x, weight, Some(bias), f64::from(EPSILON))
}
