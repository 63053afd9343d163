//! Products of a matrix with a weight that is packed once and used for many rows.
//!
//! The left matrix is read where it lies, row by row; the right one lies in panels of two vectors
//! of columns. A tile of the output, a few rows of one panel, is summed in registers.

use crate::level::Level;
#[cfg(target_arch = "x86_64")]
use crate::vector::{Avx2, Avx512};
use crate::vector::{Portable, Vector, at_every_vector};

/// Vectors of columns in a panel.
const PANEL_VECTORS: usize = 2;
/// Columns of the widest panel.
const MOST_COLUMNS: usize = 32;

/// Sizes of a right matrix, `[depth, columns]`, that lies in panels: for each panel of some columns
/// its rows one behind the other, columns beyond the last one zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PanelSizes {
    depth: usize,
    columns: usize,
    /// Columns of a panel.
    width: usize,
}

impl PanelSizes {
    /// Those that the products of a level take.
    pub(crate) fn new(level: Level, [depth, columns]: [usize; 2]) -> Self {
        let lanes = match level {
            Level::Portable => Portable::LANES,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => Avx2::LANES,
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => Avx512::LANES,
            #[cfg(not(target_arch = "x86_64"))]
            _ => Portable::LANES,
        };
        Self { depth, columns, width: PANEL_VECTORS * lanes }
    }

    /// Values of all panels.
    pub(crate) fn len(&self) -> usize {
        self.columns.next_multiple_of(self.width) * self.depth
    }

    /// Fills panels from the matrix, whose row `i` starts at `i · stride`.
    pub(crate) fn pack(&self, values: &[f32], stride: usize, panels: &mut [f32]) {
        for (index, panel) in panels[..self.len()].chunks_exact_mut(self.panel_len()).enumerate() {
            let (first, count) = self.panel_columns(index);
            for (i, row) in panel.chunks_exact_mut(self.width).enumerate() {
                let (inside, beyond) = row.split_at_mut(count);
                inside.copy_from_slice(&values[i * stride + first..][..count]);
                beyond.fill(0.0);
            }
        }
    }

    /// Fills panels from the transposed matrix, whose row `i` starts at `i · stride`.
    pub(crate) fn pack_transposed(&self, transposed: &[f32], stride: usize, panels: &mut [f32]) {
        for (index, panel) in panels[..self.len()].chunks_exact_mut(self.panel_len()).enumerate() {
            let (first, count) = self.panel_columns(index);
            if count < self.width {
                panel.fill(0.0);
            }
            for column in 0..count {
                let source = &transposed[(first + column) * stride..][..self.depth];
                for (row, value) in panel.chunks_exact_mut(self.width).zip(source) {
                    row[column] = *value;
                }
            }
        }
    }

    fn panel_len(&self) -> usize {
        (self.depth * self.width).max(1)
    }

    /// First column of a panel, and how many of the matrix's it has.
    fn panel_columns(&self, index: usize) -> (usize, usize) {
        let first = index * self.width;
        (first, self.width.min(self.columns - first))
    }
}

/// A right matrix in panels, and what products with it start from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Right<'a> {
    pub(crate) sizes: PanelSizes,
    pub(crate) panels: &'a [f32],
    /// As long as all panels' columns; empty for none.
    pub(crate) bias: &'a [f32],
}

/// A weight in panels.
#[derive(Clone, Debug)]
pub(crate) struct Packed {
    sizes: PanelSizes,
    panels: Vec<f32>,
    bias: Vec<f32>,
}

impl Packed {
    /// The weight of a linear layer, `[columns, depth]` as published, and its bias.
    pub(crate) fn published(level: Level, weight: &[f32], bias: &[f32]) -> Self {
        let columns = bias.len().max(1);
        assert!(
            !weight.is_empty() && weight.len().is_multiple_of(columns),
            "product: a weight of {} values, a bias of {columns}",
            weight.len()
        );
        let depth = weight.len() / columns;
        let mut packed = Self::zero(level, [depth, columns], Some(bias));
        packed.sizes.pack_transposed(weight, depth, &mut packed.panels);
        packed
    }

    /// The matrix `[depth, columns]`, and a bias.
    pub(crate) fn matrix(
        level: Level,
        values: &[f32],
        sizes: [usize; 2],
        bias: Option<&[f32]>,
    ) -> Self {
        let mut packed = Self::zero(level, sizes, bias);
        packed.sizes.pack(values, sizes[1], &mut packed.panels);
        packed
    }

    fn zero(level: Level, [depth, columns]: [usize; 2], bias: Option<&[f32]>) -> Self {
        let sizes = PanelSizes::new(level, [depth, columns]);
        let mut bias = bias.map_or_else(Vec::new, <[f32]>::to_vec);
        assert!(bias.is_empty() || bias.len() == columns, "product: the bias does not fit");
        bias.resize(bias.len().next_multiple_of(sizes.width), 0.0);
        Self { sizes, panels: vec![0.0; sizes.len()], bias }
    }

    /// The same with the first `columns` columns, and their bias, multiplied by `factor`.
    pub(crate) fn scaled(mut self, columns: usize, factor: f32) -> Self {
        let (width, panel_len) = (self.sizes.width, self.sizes.panel_len());
        for (index, panel) in self.panels.chunks_exact_mut(panel_len).enumerate() {
            let count = columns.saturating_sub(index * width).min(width);
            for row in panel.chunks_exact_mut(width) {
                row[..count].iter_mut().for_each(|value| *value *= factor);
            }
        }
        self.bias.iter_mut().take(columns).for_each(|value| *value *= factor);
        self
    }

    /// Rows of the matrix: the values of a row that it is multiplied with.
    pub(crate) fn depth(&self) -> usize {
        self.sizes.depth
    }

    /// Columns of the matrix.
    pub(crate) fn columns(&self) -> usize {
        self.sizes.columns
    }

    /// The weight as products take it.
    pub(crate) fn right(&self) -> Right<'_> {
        Right { sizes: self.sizes, panels: &self.panels, bias: &self.bias }
    }
}

/// A left matrix whose rows lie somewhere in a slice, each in `parts` pieces of `part_len` values,
/// `part_stride` apart. Rows may overlap, as the windows of a convolution do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) count: usize,
    /// Rows of a line: after so many, the next one starts at the next line.
    pub(crate) per_line: usize,
    /// From line to line.
    pub(crate) line_stride: usize,
    /// From row to row in a line.
    pub(crate) stride: usize,
    pub(crate) parts: usize,
    pub(crate) part_len: usize,
    pub(crate) part_stride: usize,
}

impl<'a> Rows<'a> {
    /// Rows of `len` values, `stride` apart.
    pub(crate) fn strided(values: &'a [f32], [count, len]: [usize; 2], stride: usize) -> Self {
        Self {
            values,
            count,
            per_line: count.max(1),
            line_stride: 0,
            stride,
            parts: 1,
            part_len: len,
            part_stride: 0,
        }
    }

    /// Rows of `len` values that follow each other.
    pub(crate) fn dense(values: &'a [f32], sizes: [usize; 2]) -> Self {
        Self::strided(values, sizes, sizes[1])
    }

    #[inline(always)]
    fn start(&self, row: usize) -> usize {
        row / self.per_line * self.line_stride + row % self.per_line * self.stride
    }
}

/// What a product is added to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start<'a> {
    /// The bias of the right matrix, or nothing if it has none.
    Bias,
    /// A matrix of the output's sizes, its rows one behind the other.
    Matrix(&'a [f32]),
}

/// A product before it is computed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product<'a> {
    pub(crate) rows: Rows<'a>,
    pub(crate) right: Right<'a>,
    pub(crate) start: Start<'a>,
}

at_every_vector! {
    /// Writes `start + rows · right` to `out`, whose rows are `stride` apart.
    pub(crate) fn multiply(product: Product<'_>, out: &mut [f32], stride: usize) = multiply_body;
}

#[inline(always)]
fn multiply_body<V: Vector, const ROWS: usize>(
    product: Product<'_>,
    out: &mut [f32],
    stride: usize,
) {
    let Product { rows, right, .. } = product;
    let (width, depth) = (PANEL_VECTORS * V::LANES, rows.parts * rows.part_len);
    assert!(
        depth > 0 && right.sizes.depth == depth && right.sizes.width == width,
        "product: rows of {depth} values and a right matrix of {:?}",
        right.sizes
    );
    for (index, panel) in right.panels.chunks_exact(depth * width).enumerate() {
        let (first, columns) = right.sizes.panel_columns(index);
        for row in (0..rows.count).step_by(ROWS) {
            let tile = Tile { row, rows: ROWS.min(rows.count - row), first, columns };
            // The last panel may hold one vector only.
            if columns <= V::LANES {
                tile_body::<V, ROWS, 1>(&product, panel, tile, out, stride);
            } else {
                tile_body::<V, ROWS, PANEL_VECTORS>(&product, panel, tile, out, stride);
            }
        }
    }
}

/// Where a tile lies in the output.
#[derive(Clone, Copy, Debug)]
struct Tile {
    row: usize,
    rows: usize,
    /// First column.
    first: usize,
    columns: usize,
}

/// One tile of `VECTORS` vectors of columns, held in registers while the depth goes by.
#[inline(always)]
fn tile_body<V: Vector, const ROWS: usize, const VECTORS: usize>(
    product: &Product<'_>,
    panel: &[f32],
    tile: Tile,
    out: &mut [f32],
    stride: usize,
) {
    let Product { rows, right, start } = product;
    let mut sums = [[V::splat(0.0); VECTORS]; ROWS];
    match start {
        Start::Bias if right.bias.is_empty() => {}
        Start::Bias => {
            for row in &mut sums {
                load_row(row, &right.bias[tile.first..]);
            }
        }
        Start::Matrix(values) => {
            for (i, row) in sums.iter_mut().enumerate() {
                let at = (tile.row + i.min(tile.rows - 1)) * right.sizes.columns + tile.first;
                load_part(row, &values[at..at + tile.columns]);
            }
        }
    }
    let width = PANEL_VECTORS * V::LANES;
    let mut starts = [0; ROWS];
    for (i, at) in starts.iter_mut().enumerate() {
        // Rows beyond the last are the last one again; they are not stored.
        *at = rows.start(tile.row + i.min(tile.rows - 1));
    }
    for (part, panel) in panel.chunks_exact(rows.part_len * width).enumerate() {
        let mut values: [&[f32]; ROWS] = [&[]; ROWS];
        for (values, at) in values.iter_mut().zip(&starts) {
            *values = &rows.values[at + part * rows.part_stride..][..rows.part_len];
        }
        add_products::<V, ROWS, VECTORS>(&mut sums, values, panel);
    }
    for (i, row) in sums.iter().enumerate().take(tile.rows) {
        let at = (tile.row + i) * stride + tile.first;
        store_part(row, &mut out[at..at + tile.columns]);
    }
}

/// `sums[i] += Σ_k values[i][k] · panel[k]`
#[inline(always)]
fn add_products<V: Vector, const ROWS: usize, const VECTORS: usize>(
    sums: &mut [[V; VECTORS]; ROWS],
    values: [&[f32]; ROWS],
    panel: &[f32],
) {
    let width = PANEL_VECTORS * V::LANES;
    let depth = panel.len() / width;
    let mut own = *sums;
    let values = {
        let mut cut: [&[f32]; ROWS] = [&[]; ROWS];
        for (cut, values) in cut.iter_mut().zip(values) {
            *cut = &values[..depth];
        }
        cut
    };
    for (k, right) in panel.chunks_exact(width).enumerate() {
        let mut vectors = [V::splat(0.0); VECTORS];
        for (j, vector) in vectors.iter_mut().enumerate() {
            *vector = V::load(&right[j * V::LANES..]);
        }
        for i in 0..ROWS {
            let value = V::splat(values[i][k]);
            for j in 0..VECTORS {
                own[i][j] = value.mul_add(vectors[j], own[i][j]);
            }
        }
    }
    *sums = own;
}

/// Reads as many vectors as `row` has.
#[inline(always)]
fn load_row<V: Vector, const VECTORS: usize>(row: &mut [V; VECTORS], values: &[f32]) {
    for (j, vector) in row.iter_mut().enumerate() {
        *vector = V::load(&values[j * V::LANES..]);
    }
}

/// Reads the vectors of `row` from a slice that may end before them.
#[inline(always)]
fn load_part<V: Vector, const VECTORS: usize>(row: &mut [V; VECTORS], values: &[f32]) {
    if values.len() == VECTORS * V::LANES {
        load_row(row, values);
    } else {
        let mut whole = [0.0; MOST_COLUMNS];
        whole[..values.len()].copy_from_slice(values);
        load_row(row, &whole);
    }
}

/// Writes the vectors of `row` to a slice that may end before them.
#[inline(always)]
fn store_part<V: Vector, const VECTORS: usize>(row: &[V; VECTORS], out: &mut [f32]) {
    if out.len() == VECTORS * V::LANES {
        for (j, vector) in row.iter().enumerate() {
            vector.store(&mut out[j * V::LANES..]);
        }
    } else {
        let mut whole = [0.0; MOST_COLUMNS];
        for (j, vector) in row.iter().enumerate() {
            vector.store(&mut whole[j * V::LANES..]);
        }
        out.copy_from_slice(&whole[..out.len()]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vrt_testing::Random;

    use super::*;

    proptest! {
        #[test]
        fn equals_the_sum_of_products_at_every_level(
            count in 1_usize..30, columns in 1_usize..70, part_len in 1_usize..20,
            parts in 1_usize..4, gap in 0_usize..4, per_line in 1_usize..8, seed: u64,
            matrix: bool,
        ) {
            let depth = parts * part_len;
            let mut random = Random::new(seed);
            let rows_len = 40 * (count + 1) + parts * (part_len + gap);
            let rows = Rows {
                values: &random.values(rows_len, 1.0),
                count,
                per_line,
                line_stride: 40,
                stride: part_len.min(5),
                parts,
                part_len,
                part_stride: part_len + gap,
            };
            let weight = random.values(columns * depth, 1.0);
            let bias = random.values(columns, 1.0);
            let begin = random.values(count * columns, 1.0);
            for level in Level::available() {
                let right = Packed::published(level, &weight, &bias);
                let right = right.right();
                let start = if matrix { Start::Matrix(&begin) } else { Start::Bias };
                let stride = columns + gap;
                let mut out = vec![7.0; count * stride];
                multiply(level, Product { rows, right, start }, &mut out, stride);
                for (at, value) in out.iter().enumerate() {
                    let (i, j) = (at / stride, at % stride);
                    if j >= columns {
                        prop_assert_eq!(*value, 7.0, "between rows");
                        continue;
                    }
                    let mut expected = if matrix { begin[i * columns + j] } else { bias[j] };
                    for k in 0..depth {
                        let from = rows.start(i) + k / part_len * rows.part_stride + k % part_len;
                        expected += rows.values[from] * weight[j * depth + k];
                    }
                    prop_assert!((value - expected).abs() < 2e-5, "{level}: ({i}, {j})");
                }
            }
        }

        #[test]
        fn a_matrix_and_its_transpose_pack_alike(
            depth in 1_usize..20, columns in 1_usize..70, seed: u64,
        ) {
            let values = Random::new(seed).values(depth * columns, 1.0);
            let transposed: Vec<f32> =
                (0..depth * columns).map(|i| values[i % depth * columns + i / depth]).collect();
            for level in Level::available() {
                let sizes = PanelSizes::new(level, [depth, columns]);
                // What panels held before must not matter.
                let (mut a, mut b) = (vec![f32::NAN; sizes.len()], vec![f32::NAN; sizes.len()]);
                sizes.pack(&values, columns, &mut a);
                sizes.pack_transposed(&transposed, depth, &mut b);
                prop_assert_eq!(&a, &b);
            }
        }
    }

    #[test]
    fn scaled_columns_scale_their_outputs() {
        let (weight, bias) = (Random::new(1).values(50 * 3, 1.0), [1.0; 50]);
        for level in Level::available() {
            let plain = Packed::published(level, &weight, &bias);
            let scaled = plain.clone().scaled(37, 2.0);
            let rows = Rows::dense(&[0.5, -1.0, 2.0], [1, 3]);
            let (mut a, mut b) = ([0.0; 50], [0.0; 50]);
            multiply(level, Product { rows, right: plain.right(), start: Start::Bias }, &mut a, 50);
            multiply(
                level,
                Product { rows, right: scaled.right(), start: Start::Bias },
                &mut b,
                50,
            );
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                let factor = if i < 37 { 2.0 } else { 1.0 };
                assert!((a * factor - b).abs() < 1e-5, "{level}: column {i}");
            }
        }
    }
}
