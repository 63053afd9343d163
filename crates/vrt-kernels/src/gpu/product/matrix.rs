//! Products and the gradients of weights by matrix units.
//!
//! Both sides are rounded on their way into a cube's own memory; tensors stay `f32`.

use cubecl::prelude::*;

use super::source::{FieldArgs, Look, Row, Source, column, row, value};
use super::store::{Place, StoreArgs, Way, factor, put};
use super::tile::Sizes;
use crate::gpu::sum::Sum;
use crate::gpu::units::{
    Block, MatrixUnits, Side, Small, add_products, first_value, no_sums, plane, rounded,
};

/// Planes of a cube: each has a part of the longer side, and all of the shorter one.
const PLANES: usize = 4;
/// Small matrices of sums of a plane, along the longer side and the shorter one.
const SMALL: [usize; 2] = [2, 4];
/// Inputs, or rows, that a cube has of either side at a time.
pub(super) const STRIP: usize = 32;
/// Values behind a line, so that lines lie in different banks and at multiples of 16 bytes.
const GAP: usize = 8;

/// Units of a cube: those of its planes, and as many as read whole strips.
pub(super) fn units(units: &MatrixUnits) -> usize {
    (PLANES * units.plane).next_multiple_of(STRIP)
}

/// Rows and outputs of a cube's part of a product.
pub(super) fn product_tile(units: &MatrixUnits) -> [usize; 2] {
    [PLANES * SMALL[0] * units.rows, SMALL[1] * units.columns]
}

/// Outputs and inputs of a cube's part of the gradient of a weight.
pub(super) fn outer_tile(units: &MatrixUnits) -> [usize; 2] {
    [SMALL[1] * units.rows, PLANES * SMALL[0] * units.columns]
}

fn rows_and_outputs(units: MatrixUnits) -> Block {
    let side = |lines| Side { stride: STRIP + GAP, by_lines: true, lines };
    let [rows, outputs] = product_tile(&units);
    Block { units, left: side(rows / PLANES), right: side(outputs), inputs: STRIP }
}

fn outputs_and_inputs(units: MatrixUnits) -> Block {
    let side = |stride, lines| Side { stride: stride + GAP, by_lines: false, lines };
    let [outputs, inputs] = outer_tile(&units);
    let (left, right) = (side(outputs, outputs), side(inputs, inputs / PLANES));
    Block { units, left, right, inputs: STRIP }
}

/// Rows of the left side that are read now.
#[derive(CubeType)]
struct Rows {
    frames: Shared<[u32]>,
    rows: Shared<[i32]>,
    columns: Shared<[i32]>,
}

#[cube]
impl Rows {
    fn new(#[comptime] len: usize) -> Rows {
        Rows {
            frames: Shared::new_slice(len),
            rows: Shared::new_slice(len),
            columns: Shared::new_slice(len),
        }
    }

    /// Looks up `len` rows from `first` on; all units of a cube together.
    fn read(
        &mut self,
        first: usize,
        field: &FieldArgs,
        #[comptime] len: usize,
        #[comptime] source: Source,
    ) {
        let unit = usize::cast_from(UNIT_POS);
        for i in range_stepped(unit, len, usize::cast_from(CUBE_DIM)) {
            let look = row(first + i, field, source).look;
            self.frames[i] = u32::cast_from(look.frame);
            self.rows[i] = look.row;
            self.columns[i] = look.column;
        }
    }

    fn get(&self, first: usize, i: usize) -> Row {
        let look = Look {
            frame: usize::cast_from(self.frames[i]),
            column: self.columns[i],
            row: self.rows[i],
        };
        Row { at: first + i, look }
    }
}

/// `left · weightᵀ + bias`
#[cube(launch_unchecked)]
pub(super) fn product<E: Float>(
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
    #[comptime] units: MatrixUnits,
) {
    let block = comptime!(rows_and_outputs(units));
    let (left_stride, right_stride) = comptime!((block.left.stride, block.right.stride));
    let [tile_rows, tile_outputs] = comptime!(product_tile(&units));
    let across = (sizes.outputs + tile_outputs - 1) / tile_outputs;
    let down = (sizes.rows + tile_rows - 1) / tile_rows;
    let group = CUBE_POS / (across * down);
    if group >= sizes.groups {
        terminate!();
    }
    let first_output = CUBE_POS % across * tile_outputs;
    let first_row = CUBE_POS / across % down * tile_rows;
    let (unit, cube) = (usize::cast_from(UNIT_POS), usize::cast_from(CUBE_DIM));
    let mut left = Shared::<[E]>::new_aligned_slice(comptime!(tile_rows * left_stride), 32usize);
    let mut right =
        Shared::<[E]>::new_aligned_slice(comptime!(tile_outputs * right_stride), 32usize);
    let mut rows = Rows::new(tile_rows);
    rows.read(sizes.first + first_row, field, tile_rows, source);
    let mut sums = no_sums(block);
    for start in range_stepped(0, sizes.inputs, STRIP) {
        sync_cube();
        let input = start + unit % STRIP;
        let column = column(input, group, field, source);
        for line in range_stepped(unit / STRIP, tile_rows, cube / STRIP) {
            let mut seen = 0.0f32;
            if input < sizes.inputs && first_row + line < sizes.rows {
                let row = rows.get(sizes.first + first_row, line);
                seen = value(x, offset, mask, &row, &column, field, source);
            }
            left[line * left_stride + unit % STRIP] = rounded::<E>(seen, units.format);
        }
        for line in range_stepped(unit / STRIP, tile_outputs, cube / STRIP) {
            let output = first_output + line;
            let mut by = 0.0f32;
            if input < sizes.inputs && output < sizes.outputs {
                by = factor(weight, beside, (group, output, input), sizes, way);
            }
            right[line * right_stride + unit % STRIP] = rounded::<E>(by, units.format);
        }
        sync_cube();
        if plane() < PLANES {
            let first = plane() * comptime!(block.left.lines);
            add_products(&mut sums, &left, &right, first, 0usize, block);
        }
    }
    let mut small = Small::new(PLANES, block);
    let (m, n, step) = comptime!((units.rows, units.columns, way.outputs()));
    #[unroll]
    for i in 0..comptime!(block.down()) {
        #[unroll]
        for j in 0..comptime!(block.across()) {
            small.put(sums.index(i * comptime!(block.across()) + j), PLANES, block);
            let own = first_value(PLANES, block);
            let values = comptime!(block.small() / step);
            for value in range_stepped(own, values, usize::cast_from(PLANE_DIM)) {
                let at = value * step;
                let row = first_row + plane() * comptime!(block.left.lines) + i * m + at / n;
                let output = first_output + j * n + at % n;
                if row < sizes.rows && output < sizes.outputs {
                    let both = (small.get(at, block), small.get(at + comptime!(step - 1), block));
                    let place = Place { row, group, output };
                    put(out, both, bias, beside, beside_bias, &place, sizes, store, has_bias, way);
                }
            }
        }
    }
}

/// Where the gradients of a strip of outputs lie.
#[derive(CubeType, Clone, Copy)]
struct Slopes {
    start: usize,
    end: usize,
    first_output: usize,
    group: usize,
}

/// Reads the gradients of outputs of a strip of rows, zeros behind the last of either.
#[cube]
fn read_slopes<E: Float>(
    to: &mut Shared<[E]>,
    grad: &[f32],
    from: &Slopes,
    sizes: &Sizes,
    #[comptime] outputs: usize,
    #[comptime] units: MatrixUnits,
) {
    let unit = usize::cast_from(UNIT_POS);
    for at in range_stepped(unit, comptime!(STRIP * outputs), usize::cast_from(CUBE_DIM)) {
        let (row, output) = (from.start + at / outputs, from.first_output + at % outputs);
        let mut slope = 0.0f32;
        if row < from.end && output < sizes.outputs {
            let of_row = (sizes.first + row) * (sizes.groups * sizes.outputs);
            slope = grad[of_row + from.group * sizes.outputs + output];
        }
        let stride = comptime!(outputs_and_inputs(units).left.stride);
        to[at / outputs * stride + at % outputs] = rounded::<E>(slope, units.format);
    }
}

/// Adds `gradᵀ · left` of a part of the rows; the column behind the inputs is that of ones.
#[cube(launch_unchecked)]
pub(super) fn outer<E: Float, S: Sum>(
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
    #[comptime] units: MatrixUnits,
) {
    let block = comptime!(outputs_and_inputs(units));
    let (left_stride, right_stride) = comptime!((block.left.stride, block.right.stride));
    let [tile_outputs, tile_inputs] = comptime!(outer_tile(&units));
    let columns = sizes.inputs + 1;
    let across = (columns + tile_inputs - 1) / tile_inputs;
    let down = (sizes.outputs + tile_outputs - 1) / tile_outputs;
    let part = CUBE_POS / (across * down * sizes.groups);
    if part >= parts {
        terminate!();
    }
    let group = CUBE_POS / (across * down) % sizes.groups;
    let first_output = CUBE_POS / across % down * tile_outputs;
    let first_input = CUBE_POS % across * tile_inputs;
    let (unit, cube) = (usize::cast_from(UNIT_POS), usize::cast_from(CUBE_DIM));
    let mut left = Shared::<[E]>::new_aligned_slice(comptime!(STRIP * left_stride), 32usize);
    let mut right = Shared::<[E]>::new_aligned_slice(comptime!(STRIP * right_stride), 32usize);
    let mut rows = Rows::new(STRIP);
    let mut sums = no_sums(block);
    let end = min((part + 1) * part_rows, sizes.rows);
    for start in range_stepped(part * part_rows, end, STRIP) {
        sync_cube();
        rows.read(sizes.first + start, field, STRIP, source);
        let from = Slopes { start, end, first_output, group };
        read_slopes(&mut left, grad, &from, sizes, tile_outputs, units);
        sync_cube();
        for at in range_stepped(unit, comptime!(STRIP * tile_inputs), cube) {
            let (line, input) = (at / tile_inputs, first_input + at % tile_inputs);
            let mut seen = 0.0f32;
            if start + line < end {
                if input < sizes.inputs {
                    let row = rows.get(sizes.first + start, line);
                    let column = column(input, group, field, source);
                    seen = value(x, offset, mask, &row, &column, field, source);
                } else if input == sizes.inputs {
                    seen = 1.0f32;
                }
            }
            right[line * right_stride + at % tile_inputs] = rounded::<E>(seen, units.format);
        }
        sync_cube();
        if plane() < PLANES {
            let first = plane() * comptime!(block.right.lines);
            add_products(&mut sums, &left, &right, 0usize, first, block);
        }
    }
    let mut small = Small::new(PLANES, block);
    let (m, n) = comptime!((units.rows, units.columns));
    #[unroll]
    for i in 0..comptime!(block.down()) {
        #[unroll]
        for j in 0..comptime!(block.across()) {
            small.put(sums.index(i * comptime!(block.across()) + j), PLANES, block);
            let own = first_value(PLANES, block);
            for at in range_stepped(own, comptime!(block.small()), usize::cast_from(PLANE_DIM)) {
                let output = first_output + i * m + at / n;
                let input = first_input + plane() * comptime!(block.right.lines) + j * n + at % n;
                if output < sizes.outputs && input < columns {
                    let row = group * sizes.outputs + output;
                    S::add(out, row * columns + input, small.get(at, block));
                }
            }
        }
    }
}
