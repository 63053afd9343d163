//! Weights as products take them, and their gradients as they are published.

use burn::backend::Backend;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{Shape, Slice};
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;

use super::launch::packed;

/// What any of Burn's backends does to a tensor's shape.
trait Shaped: Backend {
    fn permuted(tensor: FloatTensor<Self>, axes: &[usize]) -> FloatTensor<Self> {
        Self::float_permute(tensor, axes)
    }

    fn reshaped(tensor: FloatTensor<Self>, shape: Shape) -> FloatTensor<Self> {
        Self::float_reshape(tensor, shape)
    }

    fn flipped(tensor: FloatTensor<Self>, axes: &[usize]) -> FloatTensor<Self> {
        Self::float_flip(tensor, axes)
    }

    fn sliced(tensor: FloatTensor<Self>, slices: &[Slice]) -> FloatTensor<Self> {
        Self::float_slice(tensor, slices)
    }
}

impl Shaped for CubeBackend {}

/// The same values, axes in another order.
fn permuted<const D: usize>(tensor: CubeTensor, axes: [usize; D]) -> CubeTensor {
    packed(CubeBackend::permuted(tensor, &axes))
}

/// The same values, in another shape.
pub(super) fn reshaped<const D: usize>(tensor: CubeTensor, shape: [usize; D]) -> CubeTensor {
    CubeBackend::reshaped(packed(tensor), shape.into())
}

/// `[a, b]` → `[b, a]`
pub(super) fn transposed(matrix: CubeTensor) -> CubeTensor {
    permuted(matrix, [1, 0])
}

/// `[out, in, kh, kw]` → `[out, taps · in]`
pub(super) fn by_taps(weight: CubeTensor) -> CubeTensor {
    let [outputs, inputs, kh, kw] = weight.meta.shape().dims();
    reshaped(permuted(weight, [0, 2, 3, 1]), [outputs, kh * kw * inputs])
}

/// The inverse of [`by_taps`], to `shape`.
pub(super) fn by_inputs(matrix: CubeTensor, shape: [usize; 4]) -> CubeTensor {
    let [outputs, inputs, kh, kw] = shape;
    permuted(reshaped(matrix, [outputs, kh, kw, inputs]), [0, 3, 1, 2])
}

/// The weight by which the gradient of a convolution's output is convolved for that of its input:
/// `[out, in, kh, kw]` → `[in, taps · out]`, taps from the last to the first.
pub(super) fn turned(weight: CubeTensor) -> CubeTensor {
    let [outputs, inputs, kh, kw] = weight.meta.shape().dims();
    let turned = CubeBackend::flipped(weight, &[2, 3]);
    reshaped(permuted(turned, [1, 2, 3, 0]), [inputs, kh * kw * outputs])
}

/// Of each group, `[groups · outputs, inputs]` → `[groups · inputs, outputs]`
pub(super) fn transposed_groups(matrix: CubeTensor, groups: usize) -> CubeTensor {
    let [rows, inputs] = matrix.meta.shape().dims();
    let outputs = rows / groups;
    let turned = permuted(reshaped(matrix, [groups, outputs, inputs]), [0, 2, 1]);
    reshaped(turned, [groups * inputs, outputs])
}

/// The gradients of a weight and a bias, `[out, in]` and `[out]`, of the two side by side.
pub(super) fn split(outer: CubeTensor) -> [CubeTensor; 2] {
    let [outputs, columns] = outer.meta.shape().dims();
    let part = |from: usize, to: usize| {
        let slices = [Slice::from(0..outputs), Slice::from(from..to)];
        packed(CubeBackend::sliced(outer.clone(), &slices))
    };
    [part(0, columns - 1), reshaped(part(columns - 1, columns), [outputs])]
}
