//! Copies of tensors whose values lie in another order than their axes say.

use burn::tensor::DType;
use burn_flex::{FlexTensor, Layout};

use crate::parallel::for_each_part;

/// Most axes of a tensor whose values are put in order here.
const AXES: usize = 8;

/// Values that one task copies.
const TASK: usize = 1 << 14;

/// The tensor, its values one behind the other: as it is, or a copy.
pub(crate) fn in_order(tensor: FlexTensor) -> FlexTensor {
    if tensor.is_contiguous() {
        return tensor;
    }
    let layout = tensor.layout();
    let (shape, strides) = (layout.shape().to_vec(), layout.strides());
    let is_plain = shape.len() <= AXES && tensor.dtype() == DType::F32;
    if !is_plain || strides.iter().any(|stride| *stride < 0) {
        return tensor.to_contiguous();
    }
    let values = &tensor.storage::<f32>()[layout.start_offset()..];
    let runs = Runs::new(&shape, strides);
    let copy = super::filled([shape.iter().product()], |out| {
        let rows = (TASK / runs.len).max(1);
        for_each_part(out, rows * runs.len, |task, out| {
            for (row, out) in out.chunks_exact_mut(runs.len).enumerate() {
                runs.copy(values, task * rows + row, out);
            }
        });
    });
    copy.with_layout(Layout::contiguous(layout.shape().clone()))
}

/// Values in runs: those of the last axis, or of several that lie as one would.
struct Runs {
    /// Values of a run, and from one to the next.
    len: usize,
    step: usize,
    /// Sizes of the axes before, and from place to place along them; the last one first.
    outer: [(usize, usize); AXES],
    axes: usize,
}

impl Runs {
    /// Of axes with these sizes and strides; none of these is negative.
    fn new(shape: &[usize], strides: &[isize]) -> Self {
        let mut runs = Self { len: 1, step: 1, outer: [(1, 0); AXES], axes: 0 };
        let axes = shape.iter().zip(strides).rev().filter(|(size, _)| **size > 1);
        for (size, stride) in axes.map(|(size, stride)| (*size, stride.unsigned_abs())) {
            if runs.len == 1 {
                (runs.len, runs.step) = (size, stride);
            } else if runs.axes == 0 && stride == runs.len * runs.step {
                runs.len *= size;
            } else {
                runs.outer[runs.axes] = (size, stride);
                runs.axes += 1;
            }
        }
        runs
    }

    /// Copies a run, counted from the first.
    fn copy(&self, values: &[f32], index: usize, out: &mut [f32]) {
        let (mut left, mut start) = (index, 0);
        for (size, stride) in &self.outer[..self.axes] {
            start += left % size * stride;
            left /= size;
        }
        match self.step {
            1 => out.copy_from_slice(&values[start..start + self.len]),
            0 => out.fill(values[start]),
            step => {
                out.iter_mut().zip(values[start..].iter().step_by(step)).for_each(|(o, v)| *o = *v)
            }
        }
    }
}
