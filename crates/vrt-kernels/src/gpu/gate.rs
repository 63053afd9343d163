//! The gate of a gated MLP; see [`gate`](crate::gate).

use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::launch::{buffer, each, empty, packed};

/// Φ(g) and the density φ(g); as the processor's, within 7.5e-8 of the truth.
#[cube]
fn normal(g: f32) -> (f32, f32) {
    let t = 1.0f32 / (1.0f32 + 0.327_591_1f32 * g.abs() * 0.707_106_77f32);
    let bell = (-0.5f32 * g * g).exp();
    let mut sum = 1.061_405_4f32;
    sum = sum * t - 1.453_152_1f32;
    sum = sum * t + 1.421_413_8f32;
    sum = sum * t - 0.284_496_72f32;
    sum = sum * t + 0.254_829_6f32;
    let beyond = 0.5f32 * sum * t * bell;
    (select(g < 0.0f32, beyond, 1.0f32 - beyond), 0.398_942_3f32 * bell)
}

/// GELU(gate) · x
#[cube]
pub(super) fn gated(gate: f32, x: f32) -> f32 {
    let (below, _) = normal(gate);
    gate * below * x
}

#[cube(launch_unchecked)]
fn values(gate: &[f32], x: &[f32], out: &mut [f32], count: usize) {
    if ABSOLUTE_POS >= count {
        terminate!();
    }
    out[ABSOLUTE_POS] = gated(gate[ABSOLUTE_POS], x[ABSOLUTE_POS]);
}

#[cube(launch_unchecked)]
fn gradients(
    gate: &[f32],
    x: &[f32],
    grad: &[f32],
    of_gate: &mut [f32],
    of_x: &mut [f32],
    count: usize,
) {
    if ABSOLUTE_POS >= count {
        terminate!();
    }
    let at = ABSOLUTE_POS;
    let (below, density) = normal(gate[at]);
    of_gate[at] = grad[at] * x[at] * (below + gate[at] * density);
    of_x[at] = grad[at] * gate[at] * below;
}

/// See [`ops::gated`](crate::ops::gated).
pub(crate) fn forward(gate: CubeTensor, x: CubeTensor) -> CubeTensor {
    let (gate, x, count) = checked(gate, x);
    let out = empty(&x, x.meta.shape().clone());
    let (cubes, cube) = each(&x, count);
    // SAFETY: all three have `count` values; a unit below that is at its own.
    unsafe {
        values::launch_unchecked(
            &x.client,
            cubes,
            cube,
            buffer(&gate),
            buffer(&x),
            buffer(&out),
            count,
        );
    }
    out
}

/// Gradients of the gate and of what it is multiplied with, where they are wanted.
pub(crate) fn backward(
    [gate, x]: [CubeTensor; 2],
    grad: CubeTensor,
    wanted: [bool; 2],
) -> [Option<CubeTensor>; 2] {
    let (gate, x, count) = checked(gate, x);
    let grad = packed(grad);
    let found = [(); 2].map(|()| empty(&x, x.meta.shape().clone()));
    let (cubes, cube) = each(&x, count);
    // SAFETY: all five have `count` values; a unit below that is at its own.
    unsafe {
        gradients::launch_unchecked(
            &x.client,
            cubes,
            cube,
            buffer(&gate),
            buffer(&x),
            buffer(&grad),
            buffer(&found[0]),
            buffer(&found[1]),
            count,
        );
    }
    let [of_gate, of_x] = found;
    [wanted[0].then_some(of_gate), wanted[1].then_some(of_x)]
}

fn checked(gate: CubeTensor, x: CubeTensor) -> (CubeTensor, CubeTensor, usize) {
    let count = x.meta.shape().num_elements();
    let gates = gate.meta.shape().num_elements();
    assert_eq!(gates, count, "gated: the gate and the values differ in size");
    (packed(gate), packed(x), count)
}
