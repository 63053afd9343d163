//! Linear layer: `out[i, o] = bias[o] + Σ_c weight[o, c] · x[i, c]`.

use crate::level::Level;
use crate::mlp::Affine;
use crate::outer::{Table, add_outer};
use crate::parallel::{for_each_part, sum_parts};
use crate::product::Packed;
use crate::weights::bias_gradient;

#[cfg(test)]
mod tests;

/// Rows that one task computes.
const TASK_ROWS: usize = 512;
/// Tasks that sum the gradient of a weight, each with a copy of its own.
const WEIGHT_PARTS: usize = 16;

/// The sizes of a linear layer.
///
/// # Shapes
///
/// - `x`: `[rows, inputs]`
/// - `weight`: `[outputs, inputs]`
/// - `bias`: `[outputs]`
/// - output: `[rows, outputs]`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinearGeometry {
    /// Tokens.
    pub rows: usize,
    /// Values of an input token.
    pub inputs: usize,
    /// Values of an output token.
    pub outputs: usize,
}

impl LinearGeometry {
    fn check(&self, x: usize, weight: usize, out: usize) {
        let Self { rows, inputs, outputs } = *self;
        assert!(inputs > 0 && outputs > 0, "linear: a layer without values: {self:?}");
        assert_eq!(
            [x, weight, out],
            [rows * inputs, inputs * outputs, rows * outputs],
            "linear: the input, the weight or the output does not have the sizes {self:?}"
        );
    }
}

/// Applies the layer to `x`, into `out`; see [`LinearGeometry`] for the shapes.
///
/// # Panics
///
/// Panics if a slice does not have the length that `geometry` says.
pub fn linear(geometry: &LinearGeometry, x: &[f32], weight: &[f32], bias: &[f32], out: &mut [f32]) {
    linear_at(Level::current(), geometry, x, Affine::new(weight, bias), out);
}

fn linear_at(
    level: Level,
    geometry: &LinearGeometry,
    x: &[f32],
    layer: Affine<'_>,
    out: &mut [f32],
) {
    let LinearGeometry { inputs, outputs, .. } = *geometry;
    geometry.check(x.len(), layer.weight.len(), out.len());
    assert_eq!(layer.bias.len(), outputs, "linear: the bias does not fit {geometry:?}");
    let packed = layer.packed::<f32>(level);
    for_each_part(out, TASK_ROWS * outputs, |task, out| {
        let rows = out.len() / outputs;
        packed.apply_dense(&x[task * TASK_ROWS * inputs..][..rows * inputs], &mut [], out);
    });
}

/// The gradients that a backward pass of [`linear`] is to write; all values are overwritten.
#[derive(Debug, Default)]
pub struct LinearGradients<'a> {
    /// Of the input.
    pub x: Option<&'a mut [f32]>,
    /// Of the weight.
    pub weight: Option<&'a mut [f32]>,
    /// Of the bias.
    pub bias: Option<&'a mut [f32]>,
}

/// The gradients of [`linear`] from `grad_out`, that of the output.
///
/// The result does not depend on the number of threads.
///
/// # Panics
///
/// As [`linear`].
pub fn linear_backward(
    geometry: &LinearGeometry,
    x: &[f32],
    weight: &[f32],
    grad_out: &[f32],
    wanted: LinearGradients<'_>,
) {
    geometry.check(x.len(), weight.len(), grad_out.len());
    let LinearGeometry { rows, inputs, outputs } = *geometry;
    let level = Level::current();
    if let Some(grad) = wanted.x {
        assert_eq!(grad.len(), x.len(), "linear: the input and its gradient differ in size");
        let back = Packed::<f32>::matrix(level, weight, [outputs, inputs], None);
        for_each_part(grad, TASK_ROWS * inputs, |task, grad| {
            let rows = grad.len() / inputs;
            let grad_out = &grad_out[task * TASK_ROWS * outputs..][..rows * outputs];
            back.apply_dense(grad_out, &mut [], grad);
        });
    }
    if let Some(grad) = wanted.weight {
        assert_eq!(grad.len(), weight.len(), "linear: the weight and its gradient differ in size");
        grad.fill(0.0);
        let parts = rows.div_ceil(TASK_ROWS).min(WEIGHT_PARTS);
        sum_parts(grad, parts, |part, sum| {
            let (first, last) = (part * rows / parts, (part + 1) * rows / parts);
            let grad_out = Table::dense(&grad_out[first * outputs..last * outputs], outputs);
            let x = Table::dense(&x[first * inputs..last * inputs], inputs);
            add_outer::<f32>(level, [grad_out, x], sum);
        });
    }
    if let Some(grad) = wanted.bias {
        assert_eq!(grad.len(), outputs, "linear: the gradient of the bias does not fit");
        bias_gradient(grad_out, grad);
    }
}
