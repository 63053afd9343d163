//! Places of tensors.

use burn::tensor::{DType, Int, Tensor, TensorData};

use super::serves;
use super::values::{Operand, plain};
use crate::parallel::for_each_part;
use crate::tensor::filled;

/// Values that one task copies.
const TASK: usize = 1 << 14;

/// `size` places of an axis, of which `place` says where each lies: [`Tensor::select`], which it is for
/// tensors that want gradients or are not of `f32`, and on devices that are not [served](serves); else
/// the output lies where that of operations does.
///
/// # Panics
///
/// Panics if a place is not one of the axis's.
pub fn select<const D: usize>(
    x: Tensor<D>,
    axis: usize,
    size: usize,
    place: impl Fn(usize) -> usize + Sync,
) -> Tensor<D> {
    let device = x.device();
    let operand = (serves(&device) && x.dtype() == DType::F32).then(|| Operand::of(x.clone()));
    let Some(operand) = operand.filter(|operand| !operand.is_tracked()) else {
        let places: Vec<i64> = (0..size).map(|index| place(index) as i64).collect();
        let places = Tensor::<1, Int>::from_data(TensorData::from(&*places), &device);
        return x.select(axis, places);
    };
    let mut shape = x.dims();
    let from = std::mem::replace(&mut shape[axis], size);
    assert!((0..size).all(|index| place(index) < from), "select: a place is not below {from}");
    let inner: usize = shape[axis + 1..].iter().product();
    let values = operand.values();
    // Runs of all places, one behind the other: a task copies some.
    let rows = (TASK / inner.max(1)).max(1);
    plain(filled(shape, |out| {
        for_each_part(out, rows * inner, |task, out| {
            for (row, out) in (task * rows..).zip(out.chunks_exact_mut(inner.max(1))) {
                let (outer, index) = (row / size, place(row % size));
                out.copy_from_slice(&values.get()[(outer * from + index) * inner..][..inner]);
            }
        });
    }))
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use proptest::prelude::*;

    use super::super::without;
    use super::*;

    fn tensor(shape: [usize; 3]) -> Tensor<3> {
        let values: Vec<f32> = (0..shape.iter().product()).map(|i: usize| i as f32).collect();
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    fn at<const D: usize>(x: Tensor<D>, axis: usize, places: &[usize]) -> Tensor<D> {
        select(x, axis, places.len(), |index| places[index])
    }

    proptest! {
        #[test]
        fn it_is_what_burn_selects(
            shape in prop::array::uniform3(1usize..5),
            axis in 0usize..3,
            indices in prop::collection::vec(0usize..5, 1..9),
        ) {
            let indices: Vec<usize> = indices.iter().map(|index| index % shape[axis]).collect();
            let expected = without(|| at(tensor(shape), axis, &indices));
            prop_assert_eq!(at(tensor(shape), axis, &indices).into_data(), expected.into_data());
        }
    }

    #[test]
    fn large_tensors_are_selected_by_many_tasks() {
        let x = tensor([3, 200, 150]).swap_dims(1, 2);
        for axis in 0..3 {
            let indices: Vec<usize> = (0..x.dims()[axis]).rev().chain([0, 0]).collect();
            let expected = without(|| at(x.clone(), axis, &indices));
            assert_eq!(at(x.clone(), axis, &indices).into_data(), expected.into_data());
        }
    }

    #[test]
    fn gradients_pass() {
        let device = Device::flex().autodiff();
        let x = Tensor::<1>::from_data([1.0, 2.0, 3.0], &device).require_grad();
        let grads = at(x.clone(), 0, &[2, 0, 2]).sum().backward();
        let grad = x.grad(&grads).expect("a gradient").into_data();
        assert_eq!(grad, TensorData::from([1.0f32, 0.0, 2.0]));
    }

    #[test]
    #[should_panic(expected = "a place is not below 2")]
    fn places_are_those_of_the_axis() {
        at(tensor([1, 2, 3]), 1, &[2]);
    }
}
