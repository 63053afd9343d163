//! A tile of the gradient of a weight.

use cubecl::prelude::*;

use super::source::{FieldArgs, Source, column, row, value};
use super::tile::{ALONG, SIDE, SQUARE, STRIP, Sizes, UNITS, add_strip};
use crate::gpu::sum::Sum;

/// Adds `gradᵀ · left` of a part of the rows; the column behind the inputs is that of ones.
#[cube(launch_unchecked)]
pub(super) fn outer<S: Sum>(
    x: &[f32],
    offset: &[f32],
    mask: &[f32],
    grad: &[f32],
    out: &[Atomic<S::Cell>],
    field: &FieldArgs,
    sizes: &Sizes,
    part_rows: usize,
    parts: usize,
    #[comptime] source: Source,
) {
    let columns = sizes.inputs + 1;
    let across = (columns + SIDE - 1) / SIDE;
    let down = (sizes.outputs + SIDE - 1) / SIDE;
    let part = CUBE_POS / (across * down * sizes.groups);
    if part >= parts {
        terminate!();
    }
    let group = CUBE_POS / (across * down) % sizes.groups;
    let first_output = CUBE_POS / across % down * SIDE;
    let first_input = CUBE_POS % across * SIDE;
    let unit = usize::cast_from(UNIT_POS);
    let mut left = Shared::<[f32]>::new_slice(STRIP * SIDE);
    let mut right = Shared::<[f32]>::new_slice(STRIP * SIDE);
    let mut sums = Array::<f32>::new(SQUARE * SQUARE);
    let end = min((part + 1) * part_rows, sizes.rows);
    for start in range_stepped(part * part_rows, end, STRIP) {
        sync_cube();
        for at in range_stepped(unit, STRIP * SIDE, UNITS) {
            let (line, k) = (at % SIDE, at / SIDE);
            let (at_row, output, input) = (start + k, first_output + line, first_input + line);
            let mut slope = 0.0f32;
            let mut seen = 0.0f32;
            if at_row < end {
                if output < sizes.outputs {
                    let of_row = (sizes.first + at_row) * (sizes.groups * sizes.outputs);
                    slope = grad[of_row + group * sizes.outputs + output];
                }
                if input < sizes.inputs {
                    let row = row(sizes.first + at_row, field, source);
                    let column = column(input, group, field, source);
                    seen = value(x, offset, mask, &row, &column, field, source);
                } else if input == sizes.inputs {
                    seen = 1.0f32;
                }
            }
            left[k * SIDE + line] = slope;
            right[k * SIDE + line] = seen;
        }
        sync_cube();
        add_strip(&mut sums, &left, &right);
    }
    let (top, start) = (unit / ALONG * SQUARE, unit % ALONG * SQUARE);
    #[unroll]
    for i in 0..SQUARE {
        let output = first_output + top + i;
        #[unroll]
        for j in 0..SQUARE {
            let input = first_input + start + j;
            if output < sizes.outputs && input < columns {
                let at = (group * sizes.outputs + output) * columns + input;
                S::add(out, at, sums[i * SQUARE + j]);
            }
        }
    }
}
