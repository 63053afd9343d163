//! Tensors whose values lie in order.

use burn::tensor::{DType, Device, Tensor};

use super::serves;
use super::values::{Operand, plain, tracked};
use crate::parallel::for_each_part;
use crate::tensor::{filled, in_order};

/// Values that one task writes.
const TASK: usize = 1 << 14;

/// The same tensor, whose values lie one behind the other, where the output of operations does; as it is
/// if they do, if it wants gradients or is not of `f32`, and on devices that are not
/// [served](serves).
pub fn arranged<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if !serves(&x.device()) || x.dtype() != DType::F32 {
        return x;
    }
    match Operand::of(x) {
        Operand::Plain(tensor, _) => plain(in_order(tensor)),
        Operand::Tracked(tensor, autodiff) => tracked(tensor, autodiff),
    }
}

/// [`Tensor::zeros`], where the output of operations lies; those are of `f32`. Elsewhere than on devices
/// that are [served](serves), and with gradients, it is nothing else.
pub fn zeros<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    if !serves(device) || device.is_autodiff() {
        return Tensor::zeros(shape, device);
    }
    plain(filled(shape, |out| for_each_part(out, TASK, |_, out| out.fill(0.0))))
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use proptest::prelude::*;

    use super::*;

    fn tensor(shape: [usize; 4]) -> Tensor<4> {
        let values = (0..shape.iter().product()).map(|i: usize| i as f32).collect();
        Tensor::from_data(TensorData::new::<f32, _>(values, shape), &Device::flex())
    }

    fn is_in_order(x: &Tensor<4>) -> bool {
        match Operand::of(x.clone()) {
            Operand::Plain(tensor, _) => tensor.as_slice::<f32>().is_some(),
            Operand::Tracked(..) => false,
        }
    }

    proptest! {
        #[test]
        fn values_are_those_of_before(
            shape in prop::array::uniform4(1usize..6),
            axes in Just([0, 1, 2, 3]).prop_shuffle(),
            (axis, start, len) in (0usize..4, 0usize..6, 0usize..6),
            repeated in 0usize..5,
        ) {
            let mut x = tensor(shape);
            let size = shape[axis];
            x = x.narrow(axis, start % size, (1 + len).min(size - start % size));
            x = x.permute([axes[0], axes[1], axes[2], axes[3]]);
            if repeated < 4 {
                let mut shape = x.dims();
                x = x.narrow(repeated, 0, 1);
                shape[repeated] = 3;
                x = x.expand(shape);
            }
            let found = arranged(x.clone());
            prop_assert!(is_in_order(&found));
            prop_assert_eq!(found.into_data(), x.into_data());
        }
    }

    #[test]
    fn many_values_and_flipped_ones_are_put_in_order_too() {
        let x = tensor([2, 300, 50, 3]).permute([0, 2, 1, 3]);
        for x in [x.clone(), x.flip([1])] {
            let found = arranged(x.clone());
            assert!(is_in_order(&found));
            assert_eq!(found.into_data(), x.into_data());
        }
    }

    #[test]
    fn zeros_are_zeros() {
        for shape in [[1, 1, 1, 1], [2, 100, 100, 3], [2, 0, 1, 1]] {
            let expected = Tensor::<4>::zeros(shape, &Device::flex()).into_data();
            assert_eq!(zeros(shape, &Device::flex()).into_data(), expected);
        }
    }
}
