//! Tensors one behind the other.

use burn::tensor::{DType, Tensor};

use super::serves;
use super::values::{Operand, Values, plain};
use crate::parallel::for_each_part;
use crate::tensor::filled;

/// Values that one task copies.
const TASK: usize = 1 << 16;

/// [`Tensor::cat`], which it is for tensors that want gradients or are not of `f32`, and on devices that
/// are not [served](serves): what is joined lies where the output of operations does.
///
/// # Panics
///
/// As [`Tensor::cat`].
pub fn join<const D: usize>(parts: Vec<Tensor<D>>, axis: usize) -> Tensor<D> {
    let fit = |a: &Tensor<D>, b: &Tensor<D>| {
        let pairs = a.dims().into_iter().zip(b.dims()).enumerate();
        pairs.filter(|(at, _)| *at != axis).all(|(_, (a, b))| a == b)
    };
    let plainly = axis < D
        && parts.len() > 1
        && parts.iter().all(|part| {
            serves(&part.device()) && part.dtype() == DType::F32 && fit(&parts[0], part)
        });
    let operands: Vec<Operand> = match plainly {
        true => parts.iter().cloned().map(Operand::of).collect(),
        false => Vec::new(),
    };
    if operands.is_empty() || operands.iter().any(Operand::is_tracked) {
        return Tensor::cat(parts, axis);
    }
    let mut shape = parts[0].dims();
    shape[axis] = parts.iter().map(|part| part.dims()[axis]).sum();
    let inner: usize = shape[axis + 1..].iter().product();
    let runs: Vec<usize> = parts.iter().map(|part| part.dims()[axis] * inner).collect();
    let values: Vec<Values> = operands.iter().map(Operand::values).collect();
    let row_len = (shape[axis] * inner).max(1);
    // Runs of all parts, one behind the other, from a row of the output on.
    let write = |first: usize, out: &mut [f32]| {
        for (row, mut out) in out.chunks_exact_mut(row_len).enumerate() {
            for (values, run) in values.iter().zip(&runs) {
                let part = out.split_off_mut(..*run).unwrap_or_default();
                copy(&values.get()[(first + row) * run..][..*run], part);
            }
        }
    };
    let rows = (TASK / row_len).max(1);
    plain(filled(shape, |out| match row_len < TASK {
        true => for_each_part(out, rows * row_len, |task, out| write(task * rows, out)),
        false => write(0, out),
    }))
}

/// Copies by all threads, where that is worth it.
fn copy(values: &[f32], out: &mut [f32]) {
    if out.len() < 2 * TASK {
        return out.copy_from_slice(values);
    }
    for_each_part(out, TASK, |task, out| {
        out.copy_from_slice(&values[task * TASK..][..out.len()]);
    });
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};
    use proptest::prelude::*;

    use super::*;

    fn tensor(shape: [usize; 3], first: usize) -> Tensor<3> {
        let values = (0..shape.iter().product()).map(|i: usize| (first + i) as f32).collect();
        Tensor::from_data(TensorData::new::<f32, _>(values, shape), &Device::flex())
    }

    proptest! {
        #[test]
        fn it_is_what_burn_joins(
            shape in prop::array::uniform3(1usize..5),
            lens in prop::collection::vec(0usize..5, 1..4),
            axis in 0usize..3,
        ) {
            let parts: Vec<Tensor<3>> = lens
                .iter()
                .enumerate()
                .map(|(i, len)| {
                    let mut shape = shape;
                    shape[axis] = *len + usize::from(i == 0);
                    tensor(shape, 1000 * i)
                })
                .collect();
            let expected = Tensor::cat(parts.clone(), axis).into_data();
            prop_assert_eq!(join(parts, axis).into_data(), expected);
        }
    }

    #[test]
    fn what_is_long_and_what_is_rearranged_is_joined_too() {
        let [a, b] = [tensor([2, 300, 500], 0), tensor([2, 500, 300], 7).swap_dims(1, 2)];
        for axis in 0..3 {
            let expected = Tensor::cat(vec![a.clone(), b.clone()], axis).into_data();
            assert_eq!(join(vec![a.clone(), b.clone()], axis).into_data(), expected);
        }
    }

    #[test]
    fn gradients_pass() {
        let device = Device::flex().autodiff();
        let x = Tensor::<1>::from_data([1.0, 2.0], &device).require_grad();
        let y = Tensor::<1>::from_data([3.0], &Device::flex().autodiff());
        let weights = Tensor::from_data([1.0, 10.0, 100.0], &device);
        let grads = (join(vec![x.clone(), y], 0) * weights).sum().backward();
        let grad = x.grad(&grads).expect("a gradient").into_data();
        assert_eq!(grad, TensorData::from([1.0f32, 10.0]));
    }
}
