//! Tensors of Burn's processor backend from what kernels write.

use burn::tensor::{DType, Shape, TensorData};
use burn_flex::{FlexTensor, Layout};

use crate::arena;
use crate::parallel::zeros;

mod order;

pub(crate) use order::in_order;

/// A tensor of `shape` with these values.
pub(crate) fn flex(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.into()))
}

/// A tensor of `shape`; `fill` writes all of its values, which may be any numbers before.
pub(crate) fn filled<const D: usize>(
    shape: [usize; D],
    fill: impl FnOnce(&mut [f32]),
) -> FlexTensor {
    let len = shape.iter().product();
    if let Some(mut part) = arena::take(len) {
        fill(&mut part);
        let layout = Layout::contiguous(Shape::new(shape));
        return FlexTensor::new(part.into_bytes(), layout, DType::F32);
    }
    let mut values = zeros(len);
    if cfg!(test) {
        // What was not written shows.
        values.fill(f32::NAN);
    }
    fill(&mut values);
    flex(values, Shape::new(shape))
}
