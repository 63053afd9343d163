//! Sums of outer products, `out[i, j] += Σ_k left[k, i] · right[k, j]`: what the gradients of weights
//! are made of, with tokens for the depth.
//!
//! Both matrices are read where they lie, along their rows; a tile of the sum is held in registers
//! while some tokens go by.

use crate::element::Element;
use crate::level::{Level, at_every_level};
use crate::parallel::with_kept;
use crate::vector::{Step, Vector};

#[cfg(test)]
mod tests;

/// Vectors of columns of a tile.
const TILE_VECTORS: usize = 2;
/// Depth after which the right matrix's columns are taken anew: they stay in the smallest cache.
const DEPTH: usize = 128;
/// Columns of the widest tile.
const MOST_COLUMNS: usize = 32;

/// Lines of `len` elements, `stride` apart; a line holds [`Element::TERMS`] rows of values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lines<'a, E> {
    pub(crate) values: &'a [E],
    pub(crate) count: usize,
    pub(crate) len: usize,
    pub(crate) stride: usize,
}

impl<E> Lines<'_, E> {
    /// Some lines of these, from `first` on.
    fn some(&self, first: usize, count: usize) -> Self {
        Self { values: &self.values[first * self.stride..], count, ..*self }
    }

    /// Some columns of these lines, from `first` on.
    fn columns(&self, first: usize, len: usize) -> Self {
        Self { values: &self.values[first..], len, ..*self }
    }
}

/// Rows of `len` values, `stride` apart; they may overlap, as the windows of a convolution do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) rows: usize,
    pub(crate) len: usize,
    pub(crate) stride: usize,
}

impl<'a> Table<'a> {
    /// Rows that follow each other.
    pub(crate) fn dense(values: &'a [f32], len: usize) -> Self {
        Self { values, rows: values.len() / len, len, stride: len }
    }
}

/// Adds the outer products of the rows of two tables to `sum`, `[left.len, right.len]`; factors are
/// those of `E`.
pub(crate) fn add_outer<E: Element>(level: Level, [left, right]: [Table<'_>; 2], sum: &mut [f32]) {
    assert_eq!(left.rows, right.rows, "outer: rows");
    assert_eq!(sum.len(), left.len * right.len, "outer: the sum does not fit");
    if left.rows == 0 {
        return;
    }
    let lens = [left, right].map(|table| E::lines_len([table.rows, table.len]));
    with_kept(E::kept(), lens, |[of_left, of_right]| {
        let lines = [E::lines(level, left, of_left), E::lines(level, right, of_right)];
        add_lines(level, lines, sum);
    });
}

/// The gradients of a linear layer's weight, `[outputs, inputs]`, and bias, to be added to.
#[derive(Debug)]
pub(crate) struct LayerSums<'a> {
    pub(crate) weight: &'a mut [f32],
    pub(crate) bias: &'a mut [f32],
}

impl LayerSums<'_> {
    /// Adds what rows of the input, and the gradients of the rows of the output, contribute.
    pub(crate) fn add<E: Element>(&mut self, level: Level, grad: &[f32], x: &[f32]) {
        let outputs = self.bias.len();
        let inputs = self.weight.len() / outputs;
        let tables = [Table::dense(grad, outputs), Table::dense(x, inputs)];
        add_outer::<E>(level, tables, self.weight);
        add_rows(level, grad, self.bias);
    }
}

at_every_level! {
    /// Adds all rows to `sum`.
    pub(crate) fn add_rows(rows: &[f32], sum: &mut [f32]) = add_rows_body;
}

#[inline(always)]
fn add_rows_body<const FUSED: bool>(rows: &[f32], sum: &mut [f32]) {
    let len = sum.len();
    for row in rows.chunks_exact(len) {
        for i in 0..len {
            sum[i] += row[i];
        }
    }
}

/// As [`add_outer`], for lines of elements.
fn add_lines<E: Element>(level: Level, lines: [Lines<'_, E>; 2], sum: &mut [f32]) {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn avx2<E: Element>(lines: [Lines<'_, E>; 2], sum: &mut [f32]) {
        add_body::<E, E::Avx2, 6>(lines, sum);
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
    fn avx512<E: Element>(lines: [Lines<'_, E>; 2], sum: &mut [f32]) {
        add_body::<E, E::Avx512, 12>(lines, sum);
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    fn avx512_bf16<E: Element>(lines: [Lines<'_, E>; 2], sum: &mut [f32]) {
        add_body::<E, E::Avx512Bf16, 12>(lines, sum);
    }
    assert!(level.is_available(), "this processor does not run the level {level}");
    match level {
        // SAFETY: the assertion above proves that this processor has AVX2 and FMA.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2(lines, sum) },
        // SAFETY: the assertion above proves that this processor has AVX-512 F, BW, DQ and VL,
        // AVX2 and FMA.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx512(lines, sum) },
        // SAFETY: the same, and BF16.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512Bf16 | Level::Amx => unsafe { avx512_bf16(lines, sum) },
        _ => add_body::<E, E::Portable, 4>(lines, sum),
    }
}

#[inline(always)]
fn add_body<E: Element, S: Step<Element = E>, const ROWS: usize>(
    [left, right]: [Lines<'_, E>; 2],
    sum: &mut [f32],
) {
    let width = TILE_VECTORS * S::Sum::LANES;
    let columns = right.len;
    for first in (0..left.count).step_by(DEPTH) {
        let depth = DEPTH.min(left.count - first);
        let left = left.some(first, depth);
        let right = right.some(first, depth);
        for column in (0..columns).step_by(width) {
            let len = width.min(columns - column);
            let right = right.columns(column, len);
            if len == width {
                column_body::<E, S, ROWS>([left, right], sum, [column, columns]);
            } else {
                // By way of a copy with whole vectors.
                let mut whole = [E::default(); DEPTH * MOST_COLUMNS];
                for (k, line) in whole.chunks_exact_mut(width).take(depth).enumerate() {
                    line[..len].copy_from_slice(&right.values[k * right.stride..][..len]);
                }
                let right = Lines { values: &whole, count: depth, len, stride: width };
                column_body::<E, S, ROWS>([left, right], sum, [column, columns]);
            }
        }
    }
}

/// A tile's width of columns, all rows.
#[inline(always)]
fn column_body<E: Element, S: Step<Element = E>, const ROWS: usize>(
    [left, right]: [Lines<'_, E>; 2],
    sum: &mut [f32],
    [column, columns]: [usize; 2],
) {
    let whole = left.len / ROWS * ROWS;
    for row in (0..whole).step_by(ROWS) {
        let sum = &mut sum[row * columns + column..];
        tile_body::<E, S, ROWS>([left.columns(row, ROWS), right], sum, columns);
    }
    for row in whole..left.len {
        let sum = &mut sum[row * columns + column..];
        tile_body::<E, S, 1>([left.columns(row, 1), right], sum, columns);
    }
}

/// Adds to a tile whose rows are `stride` apart.
#[inline(always)]
fn tile_body<E: Element, S: Step<Element = E>, const ROWS: usize>(
    [left, right]: [Lines<'_, E>; 2],
    sum: &mut [f32],
    stride: usize,
) {
    let lanes = S::Sum::LANES;
    let whole = right.len == TILE_VECTORS * lanes;
    let mut own = [[S::Sum::splat(0.0); TILE_VECTORS]; ROWS];
    if whole {
        for (i, row) in own.iter_mut().enumerate() {
            for (j, vector) in row.iter_mut().enumerate() {
                *vector = S::Sum::load(&sum[i * stride + j * lanes..]);
            }
        }
    }
    for k in 0..right.count {
        let line = &right.values[k * right.stride..][..TILE_VECTORS * lanes];
        let mut vectors = [S::fetch(line); TILE_VECTORS];
        for (j, vector) in vectors.iter_mut().enumerate().skip(1) {
            *vector = S::fetch(&line[j * lanes..]);
        }
        let values = &left.values[k * left.stride..][..ROWS];
        for i in 0..ROWS {
            let value = S::spread(values[i]);
            for j in 0..TILE_VECTORS {
                own[i][j] = S::add_product(value, vectors[j], own[i][j]);
            }
        }
    }
    if whole {
        for (i, row) in own.iter().enumerate() {
            for (j, vector) in row.iter().enumerate() {
                vector.store(&mut sum[i * stride + j * lanes..]);
            }
        }
    } else {
        add_part(&own, &mut sum[..(ROWS - 1) * stride + right.len], (stride, right.len));
    }
}

/// Adds the first `len` columns of a tile.
#[inline(always)]
fn add_part<V: Vector, const ROWS: usize>(
    own: &[[V; TILE_VECTORS]; ROWS],
    sum: &mut [f32],
    (stride, len): (usize, usize),
) {
    for (i, row) in own.iter().enumerate() {
        let mut values = [0.0; MOST_COLUMNS];
        for (j, vector) in row.iter().enumerate() {
            vector.store(&mut values[j * V::LANES..]);
        }
        let sum = &mut sum[i * stride..][..len];
        for j in 0..len {
            sum[j] += values[j];
        }
    }
}
