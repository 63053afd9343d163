//! Products of a matrix with a weight that is packed once and used for many rows.
//!
//! The left matrix is read where it lies, row by row; the right one lies in panels of two vectors
//! of columns. A tile of the output, a few rows of one panel, is summed in registers.

use crate::aligned::Aligned;
use crate::element::Element;
use crate::level::Level;
#[cfg(target_arch = "x86_64")]
use crate::vector::{Avx2, Avx512};
use crate::vector::{Portable, Step, Vector};

pub(crate) use forms::{FormKey, PackedForms};
use tile::{Tile, tile_body};

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
mod forms;
#[cfg(test)]
mod tests;
mod tile;

/// Vectors of columns in a panel.
const PANEL_VECTORS: usize = 2;

/// Sizes of a right matrix, `[depth, columns]`, that lies in panels: for each panel of some columns
/// its rows one behind the other, columns beyond the last one zero. Where an element has two terms,
/// a panel's row holds two rows of the matrix, the last one perhaps zeros.
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
            Level::Avx512 | Level::Avx512Bf16 | Level::Amx => Avx512::LANES,
            #[cfg(not(target_arch = "x86_64"))]
            _ => Portable::LANES,
        };
        Self { depth, columns, width: PANEL_VECTORS * lanes }
    }

    /// Elements of all panels.
    pub(crate) fn len<E: Element>(&self) -> usize {
        self.columns.next_multiple_of(self.width) * E::units(self.depth)
    }

    /// Fills panels from the matrix, whose row `i` starts at `i · stride`.
    pub(crate) fn pack<E: Element>(
        &self,
        level: Level,
        values: &[f32],
        stride: usize,
        panels: &mut [E],
    ) {
        let panels = panels[..self.len::<E>()].chunks_exact_mut(self.panel_len::<E>());
        for (index, panel) in panels.enumerate() {
            let (first, count) = self.panel_columns(index);
            for (i, row) in panel.chunks_exact_mut(self.width).enumerate() {
                let (inside, beyond) = row.split_at_mut(count);
                let rows = E::TERMS.min(self.depth - i * E::TERMS);
                let values = &values[i * E::TERMS * stride + first..];
                E::write_across(level, values, rows, stride, inside);
                beyond.fill(E::default());
            }
        }
    }

    /// Fills panels from the transposed matrix, whose rows are columns here.
    pub(crate) fn pack_transposed<E: Element>(&self, transposed: Rows<'_, E>, panels: &mut [E]) {
        let Rows { values, stride, .. } = transposed;
        let panels = panels[..self.len::<E>()].chunks_exact_mut(self.panel_len::<E>());
        for (index, panel) in panels.enumerate() {
            let (first, count) = self.panel_columns(index);
            if count < self.width {
                panel.fill(E::default());
            }
            for column in 0..count {
                let source = &values[(first + column) * stride..][..E::units(self.depth)];
                for (row, value) in panel.chunks_exact_mut(self.width).zip(source) {
                    row[column] = *value;
                }
            }
        }
    }

    /// The sizes of one panel as a matrix of its own.
    pub(crate) fn panel(&self, index: usize) -> Self {
        Self { columns: self.panel_columns(index).1, ..*self }
    }

    /// Columns of the matrix.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// Columns of a panel.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Elements of a panel.
    pub(crate) fn panel_len<E: Element>(&self) -> usize {
        (E::units(self.depth) * self.width).max(1)
    }

    /// First column of a panel, and how many of the matrix's it has.
    fn panel_columns(&self, index: usize) -> (usize, usize) {
        let first = index * self.width;
        (first, self.width.min(self.columns - first))
    }
}

/// A right matrix in panels, and what products with it start from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Right<'a, E> {
    pub(crate) sizes: PanelSizes,
    pub(crate) panels: &'a [E],
    /// As long as all panels' columns; empty for none.
    pub(crate) bias: &'a [f32],
}

/// A weight in panels.
#[derive(Debug)]
pub(crate) struct Packed<E> {
    level: Level,
    sizes: PanelSizes,
    panels: Aligned<E>,
    bias: Vec<f32>,
}

impl<E: Element> Packed<E> {
    /// The weight of a linear layer, `[columns, depth]` as published, and its bias; the first
    /// `scaled.0` columns, and their bias, multiplied by `scaled.1`.
    pub(crate) fn published(
        level: Level,
        weight: &[f32],
        bias: &[f32],
        scaled: (usize, f32),
    ) -> Self {
        let columns = bias.len().max(1);
        assert!(
            !weight.is_empty() && weight.len().is_multiple_of(columns),
            "product: a weight of {} values, a bias of {columns}",
            weight.len()
        );
        let depth = weight.len() / columns;
        let sizes = PanelSizes::new(level, [depth, columns]);
        let mut packed = Self::unpacked(level, sizes, Some(bias), Aligned::new(sizes.len::<E>()));
        let (count, factor) = scaled;
        packed.bias.iter_mut().take(count).for_each(|value| *value *= factor);
        let mut changed;
        let mut weight = weight;
        if count > 0 {
            changed = weight.to_vec();
            changed.iter_mut().take(count * depth).for_each(|value| *value *= factor);
            weight = &changed;
        }
        let mut rounded = vec![E::default(); E::rounded_len([columns, depth])];
        let rows = E::rows(level, weight, [columns, depth], depth, &mut rounded);
        packed.sizes.pack_transposed(rows, &mut packed.panels);
        packed
    }

    /// The matrix `[depth, columns]`, and a bias, for one call.
    pub(crate) fn matrix(
        level: Level,
        values: &[f32],
        sizes: [usize; 2],
        bias: Option<&[f32]>,
    ) -> Self {
        let (stride, sizes) = (sizes[1], PanelSizes::new(level, sizes));
        let mut packed = Self::unpacked(level, sizes, bias, Aligned::passing(sizes.len::<E>()));
        packed.sizes.pack(level, values, stride, &mut packed.panels);
        packed
    }

    /// A weight whose panels are still to be written.
    fn unpacked(level: Level, sizes: PanelSizes, bias: Option<&[f32]>, panels: Aligned<E>) -> Self {
        let mut bias = bias.map_or_else(Vec::new, <[f32]>::to_vec);
        assert!(bias.is_empty() || bias.len() == sizes.columns, "product: the bias does not fit");
        bias.resize(bias.len().next_multiple_of(sizes.width), 0.0);
        Self { level, sizes, panels, bias }
    }

    /// Columns of the matrix.
    pub(crate) fn columns(&self) -> usize {
        self.sizes.columns
    }

    /// The weight as products take it.
    pub(crate) fn right(&self) -> Right<'_, E> {
        Right { sizes: self.sizes, panels: &self.panels, bias: &self.bias }
    }

    /// Elements of the buffer that [`Self::apply`] needs for so many rows.
    pub(crate) fn rounded_len(&self, rows: usize) -> usize {
        E::rounded_len([rows, self.sizes.depth])
    }

    /// Writes the product of `count` rows, `strides[0]` apart, and the weight, plus its bias, to
    /// `out`, whose rows are `strides[1]` apart.
    pub(crate) fn apply(
        &self,
        rows: &[f32],
        count: usize,
        strides: [usize; 2],
        rounded: &mut [E],
        out: &mut [f32],
    ) {
        let sizes = [count, self.sizes.depth];
        let rows = E::rows(self.level, rows, sizes, strides[0], rounded);
        let product = Product { rows, right: self.right(), start: Start::Bias };
        multiply(self.level, product, out, strides[1]);
    }

    /// The same for rows that follow each other, as those of `out` do.
    pub(crate) fn apply_dense(&self, rows: &[f32], rounded: &mut [E], out: &mut [f32]) {
        self.apply_rows(self.rows(rows, rounded), out);
    }

    /// Rows that follow each other as products take them: for all weights of this depth.
    pub(crate) fn rows<'b>(&self, rows: &'b [f32], rounded: &'b mut [E]) -> Rows<'b, E> {
        let depth = self.sizes.depth;
        E::rows(self.level, rows, [rows.len() / depth, depth], depth, rounded)
    }

    /// Writes the product of such rows and the weight, plus its bias, to rows of `out` that follow each
    /// other.
    pub(crate) fn apply_rows(&self, rows: Rows<'_, E>, out: &mut [f32]) {
        let product = Product { rows, right: self.right(), start: Start::Bias };
        multiply(self.level, product, out, self.sizes.columns);
    }

    /// Adds the product of rows that follow each other and the weight to `out`.
    pub(crate) fn add_dense(&self, rows: &[f32], rounded: &mut [E], out: &mut [f32]) {
        let rows = self.rows(rows, rounded);
        let product = Product { rows, right: self.right(), start: Start::Output };
        multiply(self.level, product, out, self.sizes.columns);
    }
}

/// A left matrix whose rows lie somewhere in a slice, each in `parts` pieces of `part_len`
/// elements, `part_stride` apart. Rows may overlap, as the windows of a convolution do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'a, E> {
    pub(crate) values: &'a [E],
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

impl<'a, E> Rows<'a, E> {
    /// Rows of `len` elements, `stride` apart.
    pub(crate) fn strided(values: &'a [E], [count, len]: [usize; 2], stride: usize) -> Self {
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

    /// Rows of `len` elements that follow each other.
    pub(crate) fn dense(values: &'a [E], sizes: [usize; 2]) -> Self {
        Self::strided(values, sizes, sizes[1])
    }

    /// Where each of `ROWS` rows from `first` on starts; those beyond the first `count` are the
    /// last one again.
    #[inline(always)]
    fn starts<const ROWS: usize>(&self, first: usize, count: usize) -> [usize; ROWS] {
        let (mut line, mut column) = (0, first);
        if first >= self.per_line {
            (line, column) = (first / self.per_line, first % self.per_line);
        }
        let mut starts = [line * self.line_stride + column * self.stride; ROWS];
        if count == ROWS && column + ROWS <= self.per_line {
            for (i, start) in starts.iter_mut().enumerate() {
                *start += i * self.stride;
            }
            return starts;
        }
        for (i, start) in starts.iter_mut().enumerate() {
            *start = line * self.line_stride + column * self.stride;
            if i + 1 < count {
                column += 1;
            }
            if column == self.per_line {
                (line, column) = (line + 1, 0);
            }
        }
        starts
    }
}

/// What a product is added to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start<'a> {
    /// The bias of the right matrix, or nothing if it has none.
    Bias,
    /// A matrix of the output's sizes, and from row to row of it.
    Matrix(&'a [f32], usize),
    /// What the output holds.
    Output,
}

/// A product before it is computed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Product<'a, E> {
    pub(crate) rows: Rows<'a, E>,
    pub(crate) right: Right<'a, E>,
    pub(crate) start: Start<'a>,
}

/// Writes `start + rows · right` to `out`, whose rows are `stride` apart.
///
/// Each level's products hold as many rows of two vectors as its registers take. Bodies, and
/// all that they call, must be `#[inline(always)]`.
pub(crate) fn multiply<E: Element>(
    level: Level,
    product: Product<'_, E>,
    out: &mut [f32],
    stride: usize,
) {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn avx2<E: Element>(product: Product<'_, E>, out: &mut [f32], stride: usize) {
        multiply_body::<E, E::Avx2, 6, 5>(product, out, stride);
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
    fn avx512<E: Element>(product: Product<'_, E>, out: &mut [f32], stride: usize) {
        multiply_body::<E, E::Avx512, 12, 10>(product, out, stride);
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    fn avx512_bf16<E: Element>(product: Product<'_, E>, out: &mut [f32], stride: usize) {
        multiply_body::<E, E::Avx512Bf16, 12, 10>(product, out, stride);
    }
    assert!(level.is_available(), "this processor does not run the level {level}");
    match level {
        // SAFETY: the assertion above proves that this processor has AVX2 and FMA.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2(product, out, stride) },
        // SAFETY: the assertion above proves that this processor has AVX-512 F, BW, DQ and VL,
        // AVX2 and FMA.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => unsafe { avx512(product, out, stride) },
        // SAFETY: the same, and BF16.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512Bf16 => unsafe { avx512_bf16(product, out, stride) },
        #[cfg(target_arch = "x86_64")]
        Level::Amx => match E::pairs(product) {
            // SAFETY: the same, and AMX with bfloat16, which the system lets this process use.
            Some(product) => unsafe { amx::multiply(product, out, stride) },
            // SAFETY: as for the level before.
            None => unsafe { avx512_bf16(product, out, stride) },
        },
        _ => multiply_body::<E, E::Portable, 4, 4>(product, out, stride),
    }
}

/// Tiles of `ROWS` rows, or of `FEWER` where those waste less on the last one.
#[inline(always)]
fn multiply_body<E: Element, S: Step<Element = E>, const ROWS: usize, const FEWER: usize>(
    product: Product<'_, E>,
    out: &mut [f32],
    stride: usize,
) {
    let count = product.rows.count;
    if count.next_multiple_of(FEWER) < count.next_multiple_of(ROWS) {
        tiles_body::<E, S, FEWER>(product, out, stride);
    } else {
        tiles_body::<E, S, ROWS>(product, out, stride);
    }
}

#[inline(always)]
fn tiles_body<E: Element, S: Step<Element = E>, const ROWS: usize>(
    product: Product<'_, E>,
    out: &mut [f32],
    stride: usize,
) {
    let Product { rows, right, .. } = product;
    let (width, depth) = (PANEL_VECTORS * S::Sum::LANES, rows.parts * rows.part_len);
    assert!(
        depth > 0 && E::units(right.sizes.depth) == depth && right.sizes.width == width,
        "product: rows of {depth} elements and a right matrix of {:?}",
        right.sizes
    );
    for (index, panel) in right.panels.chunks_exact(depth * width).enumerate() {
        let (first, columns) = right.sizes.panel_columns(index);
        for row in (0..rows.count).step_by(ROWS) {
            let tile = Tile { row, rows: ROWS.min(rows.count - row), first, columns };
            // The last panel may hold one vector only.
            if columns <= S::Sum::LANES {
                tile_body::<S, ROWS, 1>(&product, panel, tile, out, stride);
            } else {
                tile_body::<S, ROWS, PANEL_VECTORS>(&product, panel, tile, out, stride);
            }
        }
    }
}
