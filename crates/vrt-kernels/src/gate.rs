//! The gate of a gated MLP: `out = GELU(gate) · x`, with `GELU(g) = g · Φ(g)` and Φ the normal
//! distribution.

use crate::exponential::exp;
use crate::level::{Level, at_every_level, mul_add};
use crate::parallel::for_each_part;

#[cfg(test)]
mod tests;

/// Values that one task computes.
const TASK_VALUES: usize = 1 << 14;

/// Φ(g) and the density φ(g).
///
/// Φ is 7.1.26 of Abramowitz and Stegun's handbook, within 7.5e-8 of the truth.
#[inline(always)]
fn normal<const FUSED: bool>(g: f32) -> [f32; 2] {
    const ONE_OVER_ROOT_TWO: f32 = std::f32::consts::FRAC_1_SQRT_2;
    const ONE_OVER_ROOT_TWO_PI: f32 = 0.398_942_3;
    const COEFFICIENTS: [f32; 4] = [-1.453_152_1, 1.421_413_8, -0.284_496_72, 0.254_829_6];
    let t = 1.0 / mul_add::<FUSED>(0.327_591_1, g.abs() * ONE_OVER_ROOT_TWO, 1.0);
    let bell = exp::<FUSED>(-0.5 * g * g);
    let mut sum = 1.061_405_4;
    for coefficient in COEFFICIENTS {
        sum = mul_add::<FUSED>(sum, t, coefficient);
    }
    let beyond = 0.5 * sum * t * bell;
    let below = if g < 0.0 { beyond } else { 1.0 - beyond };
    [below, ONE_OVER_ROOT_TWO_PI * bell]
}

/// Writes `GELU(gate) · x` to `out`.
///
/// # Panics
///
/// Panics if the slices differ in length.
pub fn gated(gate: &[f32], x: &[f32], out: &mut [f32]) {
    assert!(
        gate.len() == x.len() && x.len() == out.len(),
        "gated: {} gates, {} values, {} outputs",
        gate.len(),
        x.len(),
        out.len()
    );
    let level = Level::current();
    for_each_part(out, TASK_VALUES, |task, out| {
        let part = task * TASK_VALUES..task * TASK_VALUES + out.len();
        forward(level, &gate[part.clone()], &x[part], out);
    });
}

at_every_level! {
    /// The gate on slices of one length.
    pub(crate) fn forward(gate: &[f32], x: &[f32], out: &mut [f32]) = forward_body;
}

#[inline(always)]
fn forward_body<const FUSED: bool>(gate: &[f32], x: &[f32], out: &mut [f32]) {
    for ((out, gate), x) in out.iter_mut().zip(gate).zip(x) {
        let [below, _] = normal::<FUSED>(*gate);
        *out = gate * below * x;
    }
}

/// Writes the gradients of [`gated`] from `grad_out`, that of its output.
///
/// # Panics
///
/// Panics if the slices differ in length.
pub fn gated_backward(
    gate: &[f32],
    x: &[f32],
    grad_out: &[f32],
    grad_gate: Option<&mut [f32]>,
    grad_x: Option<&mut [f32]>,
) {
    assert!(
        gate.len() == x.len() && x.len() == grad_out.len(),
        "gated: {} gates, {} values, {} gradients",
        gate.len(),
        x.len(),
        grad_out.len()
    );
    let level = Level::current();
    if let Some(grad) = grad_gate {
        assert_eq!(grad.len(), gate.len(), "gated: the gate and its gradient differ in size");
        for_each_part(grad, TASK_VALUES, |task, grad| {
            let part = task * TASK_VALUES..task * TASK_VALUES + grad.len();
            of_gate(level, &gate[part.clone()], &x[part.clone()], &grad_out[part], grad);
        });
    }
    if let Some(grad) = grad_x {
        gated(gate, grad_out, grad);
    }
}

at_every_level! {
    /// Replaces gates and values by their gradients, and `grad`, that of the gated values, by the
    /// gated values themselves.
    pub(crate) fn exchange(gates: &mut [f32], values: &mut [f32], grad: &mut [f32]) = exchange_body;
}

#[inline(always)]
fn exchange_body<const FUSED: bool>(gates: &mut [f32], values: &mut [f32], grad: &mut [f32]) {
    let len = gates.len();
    let (values, grad) = (&mut values[..len], &mut grad[..len]);
    for i in 0..len {
        let (gate, value, slope) = (gates[i], values[i], grad[i]);
        let [below, density] = normal::<FUSED>(gate);
        let opened = gate * below;
        gates[i] = mul_add::<FUSED>(gate, density, below) * value * slope;
        values[i] = opened * slope;
        grad[i] = opened * value;
    }
}

at_every_level! {
    fn of_gate(gate: &[f32], x: &[f32], grad_out: &[f32], grad: &mut [f32]) = of_gate_body;
}

#[inline(always)]
fn of_gate_body<const FUSED: bool>(gate: &[f32], x: &[f32], grad_out: &[f32], grad: &mut [f32]) {
    for (((grad, gate), x), grad_out) in grad.iter_mut().zip(gate).zip(x).zip(grad_out) {
        let [below, density] = normal::<FUSED>(*gate);
        *grad = mul_add::<FUSED>(*gate, density, below) * x * grad_out;
    }
}
