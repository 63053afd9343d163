//! Linear layer and gate, composed.

use burn::tensor::Tensor;
use burn::tensor::activation::gelu;

/// As [`ops::linear`](crate::ops::linear).
pub fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    x.matmul(weight.transpose()) + bias.unsqueeze()
}

/// As [`ops::gated`](crate::ops::gated).
pub fn gated(gate: Tensor<2>, x: Tensor<2>) -> Tensor<2> {
    gelu(gate) * x
}
