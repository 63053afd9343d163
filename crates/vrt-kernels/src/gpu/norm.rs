//! Normalisation of the last axis: `(x − mean) / √(variance + ε) · weight + bias`.
//!
//! Some units share a row; what they summed meets in the cube's memory.

use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::launch::{buffer, cubes, empty, packed, zeros};
use super::sum::{Exchanged, Native, Sum, adds_floats};
use crate::norm::EPSILON;

/// Units that share a row.
const LANES: usize = 32;
/// Rows of a cube.
const ROWS: usize = 8;
/// Rows that one unit sums for the gradients of weight and bias.
const PART_ROWS: usize = 256;

/// The sum of what the lanes of a row have; all units of a cube together.
#[cube]
fn of_row(value: f32, shared: &mut Shared<[f32]>) -> f32 {
    let unit = usize::cast_from(UNIT_POS);
    sync_cube();
    shared[unit] = value;
    sync_cube();
    let mut sum = 0.0f32;
    for lane in 0..LANES {
        sum += shared[unit / LANES * LANES + lane];
    }
    sum
}

/// Mean and 1 / √(variance + ε) of a row.
#[cube]
fn moments(x: &[f32], start: usize, channels: usize, shared: &mut Shared<[f32]>) -> (f32, f32) {
    let lane = usize::cast_from(UNIT_POS) % LANES;
    let count = f32::cast_from(channels);
    let mut sum = 0.0f32;
    for channel in range_stepped(lane, channels, LANES) {
        sum += x[start + channel];
    }
    let mean = of_row(sum, shared) / count;
    let mut squares = 0.0f32;
    for channel in range_stepped(lane, channels, LANES) {
        let off = x[start + channel] - mean;
        squares += off * off;
    }
    let variance = of_row(squares, shared) / count;
    (mean, 1.0f32 / (variance + EPSILON).sqrt())
}

#[cube(launch_unchecked)]
fn values(x: &[f32], weight: &[f32], bias: &[f32], out: &mut [f32], rows: usize, channels: usize) {
    let unit = usize::cast_from(UNIT_POS);
    let row = CUBE_POS * ROWS + unit / LANES;
    // Units without a row work on the last one, as all of a cube wait for each other.
    let start = min(row, rows - 1) * channels;
    let mut shared = Shared::<[f32]>::new_slice(ROWS * LANES);
    let (mean, scale) = moments(x, start, channels, &mut shared);
    if row < rows {
        for channel in range_stepped(unit % LANES, channels, LANES) {
            let normed = (x[start + channel] - mean) * scale;
            out[start + channel] = normed * weight[channel] + bias[channel];
        }
    }
}

/// The gradient of the input, and the moments of every row.
#[cube(launch_unchecked)]
fn of_x(
    x: &[f32],
    weight: &[f32],
    grad: &[f32],
    out: &mut [f32],
    all: &mut [f32],
    rows: usize,
    channels: usize,
) {
    let unit = usize::cast_from(UNIT_POS);
    let row = CUBE_POS * ROWS + unit / LANES;
    let start = min(row, rows - 1) * channels;
    let mut shared = Shared::<[f32]>::new_slice(ROWS * LANES);
    let (mean, scale) = moments(x, start, channels, &mut shared);
    let mut sum = 0.0f32;
    let mut along = 0.0f32;
    for channel in range_stepped(unit % LANES, channels, LANES) {
        let slope = grad[start + channel] * weight[channel];
        sum += slope;
        along += slope * (x[start + channel] - mean) * scale;
    }
    let count = f32::cast_from(channels);
    let level = of_row(sum, &mut shared) / count;
    let tilt = of_row(along, &mut shared) / count;
    if row < rows {
        for channel in range_stepped(unit % LANES, channels, LANES) {
            let slope = grad[start + channel] * weight[channel];
            let normed = (x[start + channel] - mean) * scale;
            out[start + channel] = scale * (slope - level - normed * tilt);
        }
        if unit % LANES == 0 {
            all[2 * row] = mean;
            all[2 * row + 1] = scale;
        }
    }
}

/// Adds the gradients of weight and bias: a unit for each channel of some rows.
#[cube(launch_unchecked)]
fn of_affine<S: Sum>(
    x: &[f32],
    grad: &[f32],
    all: &[f32],
    of_weight: &[Atomic<S::Cell>],
    of_bias: &[Atomic<S::Cell>],
    rows: usize,
    channels: usize,
) {
    let channel = ABSOLUTE_POS % channels;
    let first = ABSOLUTE_POS / channels * PART_ROWS;
    if first >= rows {
        terminate!();
    }
    let mut weight = 0.0f32;
    let mut bias = 0.0f32;
    for row in first..min(first + PART_ROWS, rows) {
        let slope = grad[row * channels + channel];
        weight += slope * (x[row * channels + channel] - all[2 * row]) * all[2 * row + 1];
        bias += slope;
    }
    S::add(of_weight, channel, weight);
    S::add(of_bias, channel, bias);
}

/// See [`ops::norm`](crate::ops::norm).
pub(crate) fn forward(inputs: [CubeTensor; 3], shape: [usize; 2]) -> CubeTensor {
    let [x, weight, bias] = checked(inputs, shape);
    let [rows, channels] = shape;
    let out = empty(&x, x.meta.shape().clone());
    let (count, cube) = cubes(&x, rows.div_ceil(ROWS), ROWS * LANES);
    // SAFETY: the sizes were checked; a unit writes values of its own row, below `rows`, and reads
    // one that is moved below it.
    unsafe {
        values::launch_unchecked(
            &x.client,
            count,
            cube,
            buffer(&x),
            buffer(&weight),
            buffer(&bias),
            buffer(&out),
            rows,
            channels,
        );
    }
    out
}

/// Gradients of the input, the weight and the bias, where they are wanted.
pub(crate) fn backward(
    inputs: [CubeTensor; 3],
    grad: CubeTensor,
    shape: [usize; 2],
    wanted: [bool; 3],
) -> [Option<CubeTensor>; 3] {
    let ([x, weight, bias], grad) = (checked(inputs, shape), packed(grad));
    let [rows, channels] = shape;
    let (found, all) = (empty(&x, x.meta.shape().clone()), empty(&x, [rows, 2]));
    let (count, cube) = cubes(&x, rows.div_ceil(ROWS), ROWS * LANES);
    // SAFETY: as in `forward`.
    unsafe {
        of_x::launch_unchecked(
            &x.client,
            count,
            cube,
            buffer(&x),
            buffer(&weight),
            buffer(&grad),
            buffer(&found),
            buffer(&all),
            rows,
            channels,
        );
    }
    let [wants_x, wants_weight, wants_bias] = wanted;
    let affine = (wants_weight || wants_bias)
        .then(|| affine_gradients([&x, &weight, &bias], [&grad, &all], shape));
    let [of_weight, of_bias] = affine.map_or([None, None], |found| found.map(Some));
    let of_weight = of_weight.filter(|_| wants_weight);
    [wants_x.then_some(found), of_weight, of_bias.filter(|_| wants_bias)]
}

/// Gradients of weight and bias, from the moments of all rows.
fn affine_gradients(
    [x, weight, bias]: [&CubeTensor; 3],
    [grad, all]: [&CubeTensor; 2],
    [rows, channels]: [usize; 2],
) -> [CubeTensor; 2] {
    let found = [weight, bias].map(|like| zeros(like, like.meta.shape().clone()));
    let (count, cube) = super::launch::each(x, rows.div_ceil(PART_ROWS) * channels);
    let kernel = if adds_floats(x) {
        of_affine::launch_unchecked::<Native>
    } else {
        of_affine::launch_unchecked::<Exchanged>
    };
    // SAFETY: a unit reads a channel of rows below `rows`, and adds to that channel's gradients.
    unsafe {
        kernel(
            &x.client,
            count,
            cube,
            buffer(x),
            buffer(grad),
            buffer(all),
            buffer(&found[0]),
            buffer(&found[1]),
            rows,
            channels,
        );
    }
    found
}

fn checked(tensors: [CubeTensor; 3], [rows, channels]: [usize; 2]) -> [CubeTensor; 3] {
    let lengths = tensors.each_ref().map(|tensor| tensor.meta.shape().num_elements());
    let expected = [rows * channels, channels, channels];
    assert_eq!(lengths, expected, "norm: the tensors are not {rows} rows of {channels}");
    tensors.map(packed)
}
