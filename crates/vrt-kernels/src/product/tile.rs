//! One tile of a product's output: what it starts from, its sums in registers, and its store.

use super::{PANEL_VECTORS, Product, Rows, Start};
use crate::vector::{Step, Vector};

/// Where a tile lies in the output.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tile {
    pub(super) row: usize,
    pub(super) rows: usize,
    /// First column.
    pub(super) first: usize,
    pub(super) columns: usize,
}

/// One tile of `VECTORS` vectors of columns, held in registers while the depth goes by.
#[inline(always)]
pub(super) fn tile_body<S: Step, const ROWS: usize, const VECTORS: usize>(
    product: &Product<'_, S::Element>,
    panel: &[S::Element],
    tile: Tile,
    out: &mut [f32],
    stride: usize,
) {
    let Product { rows, right, start } = product;
    let whole = tile.rows == ROWS && tile.columns == VECTORS * S::Sum::LANES;
    let mut sums = [[S::Sum::splat(0.0); VECTORS]; ROWS];
    match start {
        Start::Output => {
            let out = &out[tile.row * stride + tile.first..];
            load_tile(&mut sums, out, stride, tile, whole);
        }
        Start::Bias if right.bias.is_empty() => {}
        Start::Bias => {
            let mut bias = [S::Sum::splat(0.0); VECTORS];
            load_row(&mut bias, &right.bias[tile.first..]);
            sums = [bias; ROWS];
        }
        Start::Matrix(values, stride) => {
            let values = &values[tile.row * stride + tile.first..];
            load_tile(&mut sums, values, *stride, tile, whole);
        }
    }
    let starts = rows.starts(tile.row, tile.rows);
    add_products::<S, ROWS, VECTORS>(&mut sums, rows, starts, panel);
    store_tile(&sums, &mut out[tile.row * stride + tile.first..], stride, tile, whole);
}

/// `sums[i] += Σ_k rows[i][k] · panel[k]` for rows that start at `starts`.
#[inline(always)]
fn add_products<S: Step, const ROWS: usize, const VECTORS: usize>(
    sums: &mut [[S::Sum; VECTORS]; ROWS],
    rows: &Rows<'_, S::Element>,
    starts: [usize; ROWS],
    panel: &[S::Element],
) {
    let lanes = S::Sum::LANES;
    let width = PANEL_VECTORS * lanes;
    let mut furthest = 0;
    for start in starts {
        furthest = furthest.max(start);
    }
    // Saturating: what is too large for a number is longer than any slice.
    let reach = (rows.parts.saturating_sub(1).saturating_mul(rows.part_stride))
        .saturating_add(rows.part_len);
    let elements = rows.parts.saturating_mul(rows.part_len).saturating_mul(width);
    assert!(
        furthest <= rows.values.len()
            && reach <= rows.values.len() - furthest
            && elements <= panel.len(),
        "product: a row from {furthest} on, {} pieces of {}, {} apart, of {} elements; a panel of {}",
        rows.parts,
        rows.part_len,
        rows.part_stride,
        rows.values.len(),
        panel.len()
    );
    let mut own = *sums;
    for part in 0..rows.parts {
        let panel = &panel[part * rows.part_len * width..];
        let mut starts = starts;
        for start in &mut starts {
            *start += part * rows.part_stride;
        }
        for k in 0..rows.part_len {
            // SAFETY: panels hold `width` elements for each element of a row, by the assertion above.
            let right = unsafe { panel.get_unchecked(k * width..k * width + width) };
            let mut vectors = [S::fetch(right); VECTORS];
            for (j, vector) in vectors.iter_mut().enumerate().skip(1) {
                *vector = S::fetch(&right[j * lanes..]);
            }
            for i in 0..ROWS {
                // SAFETY: no row starts behind the furthest one, of which all elements of all parts are
                // among the values by the assertion above.
                let value = S::spread(unsafe { *rows.values.get_unchecked(starts[i] + k) });
                for j in 0..VECTORS {
                    own[i][j] = S::add_product(value, vectors[j], own[i][j]);
                }
            }
        }
    }
    *sums = own;
}

/// Asserts that a whole tile lies in a slice of so many values from its place on.
#[inline(always)]
pub(super) fn assert_inside<V: Vector, const VECTORS: usize, const ROWS: usize>(
    len: usize,
    stride: usize,
) {
    let columns = VECTORS * V::LANES;
    assert!(
        columns <= len && stride.saturating_mul(ROWS - 1) <= len - columns,
        "product: a tile of {ROWS} rows, {stride} apart, in {len} values"
    );
}

/// Reads a tile whose rows are `stride` apart.
#[inline(always)]
fn load_tile<V: Vector, const VECTORS: usize, const ROWS: usize>(
    sums: &mut [[V; VECTORS]; ROWS],
    values: &[f32],
    stride: usize,
    tile: Tile,
    whole: bool,
) {
    if whole {
        assert_inside::<V, VECTORS, ROWS>(values.len(), stride);
        for (i, row) in sums.iter_mut().enumerate() {
            let at = i * stride;
            // SAFETY: the last row ends inside the slice by the assertion above, the others before it.
            load_row(row, unsafe { values.get_unchecked(at..at + VECTORS * V::LANES) });
        }
    } else {
        // By way of memory, so that the sums stay in registers.
        let mut some = *sums;
        for (i, row) in some.iter_mut().enumerate().take(tile.rows) {
            load_part(row, &values[i * stride..][..tile.columns]);
        }
        *sums = some;
    }
}

/// Writes a tile to rows `stride` apart.
#[inline(always)]
fn store_tile<V: Vector, const VECTORS: usize, const ROWS: usize>(
    sums: &[[V; VECTORS]; ROWS],
    out: &mut [f32],
    stride: usize,
    tile: Tile,
    whole: bool,
) {
    if whole {
        assert_inside::<V, VECTORS, ROWS>(out.len(), stride);
        for (i, row) in sums.iter().enumerate() {
            let at = i * stride;
            // SAFETY: the last row ends inside the slice by the assertion above, the others before it.
            store_part(row, unsafe { out.get_unchecked_mut(at..at + VECTORS * V::LANES) });
        }
    } else {
        let some = *sums;
        for (i, row) in some.iter().enumerate().take(tile.rows) {
            store_part(row, &mut out[i * stride..][..tile.columns]);
        }
    }
}

/// Reads as many vectors as `row` has.
#[inline(always)]
fn load_row<V: Vector, const VECTORS: usize>(row: &mut [V; VECTORS], values: &[f32]) {
    for (j, vector) in row.iter_mut().enumerate() {
        *vector = V::load(&values[j * V::LANES..]);
    }
}

/// Reads the vectors of `row` from a slice that may end before them; zeros behind it.
#[inline(always)]
fn load_part<V: Vector, const VECTORS: usize>(row: &mut [V; VECTORS], values: &[f32]) {
    for (j, vector) in row.iter_mut().enumerate() {
        *vector = V::load_at(values, j * V::LANES);
    }
}

/// Writes the vectors of `row` to a slice that may end before them.
#[inline(always)]
fn store_part<V: Vector, const VECTORS: usize>(row: &[V; VECTORS], out: &mut [f32]) {
    for (j, vector) in row.iter().enumerate() {
        vector.store_at(out, j * V::LANES);
    }
}
