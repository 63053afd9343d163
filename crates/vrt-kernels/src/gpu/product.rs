//! Matrix products whose left side is read where it lies: rows of a matrix, what the taps of a
//! convolution see, or what those of a deformable one sample. Nothing is unfolded in memory.
//!
//! A cube makes a tile of the result. Its units bring a strip of either side to the cube's own
//! memory together, and each sums a square of values in registers; in 16 bits, matrix units do.

use burn::tensor::{bf16, f16};
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::launch::{BUSY, buffer, cubes, empty, zeros};
use super::sum::{Exchanged, Native, adds_floats};
use super::units::{Format, MatrixUnits};

mod matrix;
mod outer;
mod source;
mod store;
mod tile;

pub(super) use source::{Field, FieldArgs, Source, look};
pub(super) use store::Store;

/// The left side of a product.
#[derive(Clone, Copy, Debug)]
pub(super) struct Left<'a> {
    pub(super) source: Source,
    pub(super) field: Field,
    pub(super) x: &'a CubeTensor,
    /// Where samples are taken, and their factors: offsets and masks.
    pub(super) places: Option<[&'a CubeTensor; 2]>,
}

impl<'a> Left<'a> {
    /// The rows of a packed matrix.
    pub(super) fn matrix(x: &'a CubeTensor, columns: usize) -> Self {
        Self { source: Source::Rows, field: Field::of_rows(columns), x, places: None }
    }

    /// Of a packed matrix whose columns are those of groups, one group's behind the other's.
    pub(super) fn grouped(x: &'a CubeTensor, columns: usize, of_group: usize) -> Self {
        Self { field: Field::of_rows(columns).grouped(of_group), ..Self::matrix(x, columns) }
    }

    fn buffers(&self) -> [BufferArg; 3] {
        let [offset, mask] = self.places.unwrap_or([self.x; 2]);
        [buffer(self.x), buffer(offset), buffer(mask)]
    }
}

/// Rows of a product, and the outputs and inputs of each of its groups.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// First row that is made.
    pub(super) first: usize,
    /// Rows that are made.
    pub(super) rows: usize,
    pub(super) outputs: usize,
    pub(super) inputs: usize,
    pub(super) groups: usize,
}

impl Sizes {
    fn launch(&self) -> tile::SizesLaunch {
        let Self { first, rows, outputs, inputs, groups } = *self;
        tile::SizesLaunch::new(first, rows, outputs, inputs, groups)
    }
}

/// `left · weightᵀ + bias`, `[rows, groups · outputs]`; the weight is `[groups · outputs, inputs]`.
pub(super) fn product(
    left: Left<'_>,
    weight: &CubeTensor,
    bias: Option<&CubeTensor>,
    sizes: Sizes,
) -> CubeTensor {
    product_into(left, weight, bias, sizes, Store::Rows)
}

/// The same values, where `store` puts them.
pub(super) fn product_into(
    left: Left<'_>,
    weight: &CubeTensor,
    bias: Option<&CubeTensor>,
    sizes: Sizes,
    store: Store<'_>,
) -> CubeTensor {
    let out = empty(left.x, [sizes.rows, sizes.groups * sizes.outputs / store.way().outputs()]);
    if let Some(units) = MatrixUnits::now(left.x) {
        product_of_matrices(
            left,
            [weight, bias.unwrap_or(weight), &out],
            bias.is_some(),
            sizes,
            (store, units),
        );
        return out;
    }
    let tiles = [sizes.rows, sizes.outputs].map(|len| len.div_ceil(tile::SIDE));
    let count = tiles[0] * tiles[1] * sizes.groups;
    let (count, cube) = cubes(left.x, count, tile::UNITS);
    let [x, offset, mask] = left.buffers();
    let [beside, beside_bias] = store.buffers(left.x);
    // SAFETY: a cube below the count makes a tile of the output. What lies beyond the rows, the
    // outputs or the inputs is not read or written; sources read where their field says, which
    // callers made of the shapes of these tensors.
    unsafe {
        tile::product::launch_unchecked(
            &left.x.client,
            count,
            cube,
            x,
            offset,
            mask,
            buffer(weight),
            buffer(bias.unwrap_or(weight)),
            beside,
            beside_bias,
            buffer(&out),
            left.field.launch(),
            sizes.launch(),
            store.launch(),
            left.source,
            bias.is_some(),
            store.way(),
        );
    }
    out
}

fn product_of_matrices(
    left: Left<'_>,
    [weight, bias, out]: [&CubeTensor; 3],
    has_bias: bool,
    sizes: Sizes,
    (store, units): (Store<'_>, MatrixUnits),
) {
    let [rows, outputs] = matrix::product_tile(&units);
    let tiles = sizes.rows.div_ceil(rows) * sizes.outputs.div_ceil(outputs);
    let (count, cube) = cubes(left.x, tiles * sizes.groups, matrix::units(&units));
    let kernel = match units.format {
        Format::F16 => matrix::product::launch_unchecked::<f16>,
        Format::Bf16 => matrix::product::launch_unchecked::<bf16>,
    };
    let [x, offset, mask] = left.buffers();
    let [beside, beside_bias] = store.buffers(left.x);
    // SAFETY: as for a product in `f32`.
    unsafe {
        kernel(
            &left.x.client,
            count,
            cube,
            x,
            offset,
            mask,
            buffer(weight),
            buffer(bias),
            beside,
            beside_bias,
            buffer(out),
            left.field.launch(),
            sizes.launch(),
            store.launch(),
            left.source,
            has_bias,
            store.way(),
            units,
        );
    }
}

/// How the rows are shared where there are fewer tiles than a device has work with: rows of a
/// part, and parts.
fn parts(rows: usize, tiles: usize, strip: usize) -> (usize, usize) {
    let steps = rows.div_ceil(strip);
    let parts = BUSY.div_ceil(tiles).clamp(1, steps.max(1));
    (steps.div_ceil(parts) * strip, parts)
}

/// `gradᵀ · left` and, as a last column, the sums of `grad`: `[groups · outputs, inputs + 1]`; the
/// gradient of the output is `[rows, groups · outputs]`.
pub(super) fn outer(left: Left<'_>, grad: &CubeTensor, sizes: Sizes) -> CubeTensor {
    let out = zeros(left.x, [sizes.groups * sizes.outputs, sizes.inputs + 1]);
    if let Some(units) = MatrixUnits::now(left.x) {
        outer_of_matrices(left, grad, &out, sizes, units);
        return out;
    }
    let tiles = [sizes.outputs, sizes.inputs + 1].map(|len| len.div_ceil(tile::SIDE));
    let tiles = tiles[0] * tiles[1] * sizes.groups;
    let (part_rows, parts) = parts(sizes.rows, tiles, tile::STRIP);
    let (count, cube) = cubes(left.x, tiles * parts, tile::UNITS);
    let kernel = if adds_floats(left.x) {
        outer::outer::launch_unchecked::<Native>
    } else {
        outer::outer::launch_unchecked::<Exchanged>
    };
    let [x, offset, mask] = left.buffers();
    // SAFETY: as in `product`; cubes of one tile add to it.
    unsafe {
        kernel(
            &left.x.client,
            count,
            cube,
            x,
            offset,
            mask,
            buffer(grad),
            buffer(&out),
            left.field.launch(),
            sizes.launch(),
            part_rows,
            parts,
            left.source,
        );
    }
    out
}

fn outer_of_matrices(
    left: Left<'_>,
    grad: &CubeTensor,
    out: &CubeTensor,
    sizes: Sizes,
    units: MatrixUnits,
) {
    let [outputs, inputs] = matrix::outer_tile(&units);
    let tiles = sizes.outputs.div_ceil(outputs) * (sizes.inputs + 1).div_ceil(inputs);
    let tiles = tiles * sizes.groups;
    let (part_rows, parts) = parts(sizes.rows, tiles, matrix::STRIP);
    let (count, cube) = cubes(left.x, tiles * parts, matrix::units(&units));
    let kernel = match (units.format, adds_floats(left.x)) {
        (Format::F16, true) => matrix::outer::launch_unchecked::<f16, Native>,
        (Format::F16, false) => matrix::outer::launch_unchecked::<f16, Exchanged>,
        (Format::Bf16, true) => matrix::outer::launch_unchecked::<bf16, Native>,
        (Format::Bf16, false) => matrix::outer::launch_unchecked::<bf16, Exchanged>,
    };
    let [x, offset, mask] = left.buffers();
    // SAFETY: as in `outer`.
    unsafe {
        kernel(
            &left.x.client,
            count,
            cube,
            x,
            offset,
            mask,
            buffer(grad),
            buffer(out),
            left.field.launch(),
            sizes.launch(),
            part_rows,
            parts,
            left.source,
            units,
        );
    }
}
