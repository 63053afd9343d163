//! A tile of a product.

use cubecl::prelude::*;

use super::source::{FieldArgs, Source, column, row, value};
use super::store::{Place, StoreArgs, Way, factor, put};

/// Rows, and columns, of a tile.
pub(super) const SIDE: usize = 64;
/// Inputs, or rows, that a cube has of either side at a time.
pub(super) const STRIP: usize = 16;
/// Rows, and columns, that one unit sums.
pub(super) const SQUARE: usize = 4;
/// Units along a side.
pub(super) const ALONG: usize = SIDE / SQUARE;
pub(super) const UNITS: usize = ALONG * ALONG;

/// See [`Sizes`](super::Sizes).
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) first: usize,
    pub(super) rows: usize,
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    pub(super) groups: usize,
}

/// Adds to each unit's square the products of a strip: `left` and `right` are `[STRIP, SIDE]`.
#[cube]
pub(super) fn add_strip(sums: &mut Array<f32>, left: &Shared<[f32]>, right: &Shared<[f32]>) {
    let unit = usize::cast_from(UNIT_POS);
    let (top, start) = (unit / ALONG * SQUARE, unit % ALONG * SQUARE);
    let mut row = Array::<f32>::new(SQUARE);
    let mut column = Array::<f32>::new(SQUARE);
    for k in 0..STRIP {
        #[unroll]
        for i in 0..SQUARE {
            row[i] = left[k * SIDE + top + i];
            column[i] = right[k * SIDE + start + i];
        }
        #[unroll]
        for i in 0..SQUARE {
            #[unroll]
            for j in 0..SQUARE {
                sums[i * SQUARE + j] += row[i] * column[j];
            }
        }
    }
}

/// `left · weightᵀ + bias`
#[cube(launch_unchecked)]
pub(super) fn product(
    x: &[f32],
    offset: &[f32],
    mask: &[f32],
    weight: &[f32],
    bias: &[f32],
    beside: &[f32],
    beside_bias: &[f32],
    out: &mut [f32],
    field: &FieldArgs,
    sizes: &Sizes,
    store: &StoreArgs,
    #[comptime] source: Source,
    #[comptime] has_bias: bool,
    #[comptime] way: Way,
) {
    let across = (sizes.outputs + SIDE - 1) / SIDE;
    let down = (sizes.rows + SIDE - 1) / SIDE;
    let group = CUBE_POS / (across * down);
    if group >= sizes.groups {
        terminate!();
    }
    let first_output = CUBE_POS % across * SIDE;
    let first_row = CUBE_POS / across % down * SIDE;
    let unit = usize::cast_from(UNIT_POS);
    let mut left = Shared::<[f32]>::new_slice(STRIP * SIDE);
    let mut right = Shared::<[f32]>::new_slice(STRIP * SIDE);
    let mut sums = Array::<f32>::new(SQUARE * SQUARE);
    for start in range_stepped(0, sizes.inputs, STRIP) {
        sync_cube();
        for at in range_stepped(unit, STRIP * SIDE, UNITS) {
            let (line, k) = (at / STRIP, at % STRIP);
            let (at_row, output, input) = (first_row + line, first_output + line, start + k);
            let mut seen = 0.0f32;
            let mut by = 0.0f32;
            if input < sizes.inputs {
                if at_row < sizes.rows {
                    let row = row(sizes.first + at_row, field, source);
                    let column = column(input, group, field, source);
                    seen = value(x, offset, mask, &row, &column, field, source);
                }
                if output < sizes.outputs {
                    by = factor(weight, beside, (group, output, input), sizes, way);
                }
            }
            left[k * SIDE + line] = seen;
            right[k * SIDE + line] = by;
        }
        sync_cube();
        add_strip(&mut sums, &left, &right);
    }
    let (top, start) = (unit / ALONG * SQUARE, unit % ALONG * SQUARE);
    let step = comptime!(way.outputs());
    #[unroll]
    for i in 0..SQUARE {
        let row = first_row + top + i;
        #[unroll]
        for j in 0..comptime!(SQUARE / step) {
            let output = first_output + start + j * step;
            if row < sizes.rows && output < sizes.outputs {
                let first = i * SQUARE + j * step;
                let both = (sums[first], sums[comptime!(first + step - 1)]);
                let place = Place { row, group, output };
                put(out, both, bias, beside, beside_bias, &place, sizes, store, has_bias, way);
            }
        }
    }
}
