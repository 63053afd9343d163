//! Products of matrices that lie in slices, on one thread.

use gemm::Parallelism;

/// A matrix in a slice; rows may overlap, as the windows of a convolution do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// The matrix whose row `i` starts at `i · row_stride`.
    pub(crate) fn new(values: &'a [f32], [rows, columns]: [usize; 2], row_stride: usize) -> Self {
        check(values.len(), [rows, columns], row_stride);
        Self { values, rows, columns, row_stride, column_stride: 1 }
    }

    /// The matrix whose rows follow each other.
    pub(crate) fn dense(values: &'a [f32], sizes: [usize; 2]) -> Self {
        Self::new(values, sizes, sizes[1])
    }

    /// The matrix with rows and columns exchanged; nothing is copied.
    pub(crate) fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// A matrix that is written, in a slice.
#[derive(Debug)]
pub(crate) struct MatrixMut<'a> {
    values: &'a mut [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
}

impl<'a> MatrixMut<'a> {
    /// The matrix whose row `i` starts at `i · row_stride`, at least `columns`.
    pub(crate) fn new(
        values: &'a mut [f32],
        [rows, columns]: [usize; 2],
        row_stride: usize,
    ) -> Self {
        check(values.len(), [rows, columns], row_stride);
        assert!(row_stride >= columns, "rows of {columns} overlap at a distance of {row_stride}");
        Self { values, rows, columns, row_stride }
    }

    /// The matrix whose rows follow each other.
    pub(crate) fn dense(values: &'a mut [f32], sizes: [usize; 2]) -> Self {
        Self::new(values, sizes, sizes[1])
    }
}

fn check(len: usize, [rows, columns]: [usize; 2], row_stride: usize) {
    if rows * columns > 0 {
        let needed = (rows - 1) * row_stride + columns;
        assert!(needed <= len, "a matrix of {needed} values in a slice of {len}");
    }
}

/// What happens to the values that a product finds in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// They are overwritten, whatever they are.
    Replaced,
    /// The product is added to them.
    AddedTo,
}

/// `out = a · b`, or `out += a · b`.
pub(crate) fn matmul(out: MatrixMut<'_>, found: Found, a: Matrix<'_>, b: Matrix<'_>) {
    assert_eq!(
        (out.rows, out.columns, a.columns),
        (a.rows, b.columns, b.rows),
        "matmul: sizes that do not fit"
    );
    if out.rows * out.columns == 0 {
        return;
    }
    if a.columns == 0 {
        if found == Found::Replaced {
            let rows = out.values.chunks_mut(out.row_stride).take(out.rows);
            rows.for_each(|row| row[..out.columns].fill(0.0));
        }
        return;
    }
    // SAFETY: `Matrix` and `MatrixMut` are made by `new`, which checks that every place they name
    // is in their slice, and transposing names the same places; `out` is borrowed mutably, so it
    // overlaps neither `a` nor `b`, and its own rows do not overlap. Strides of slices fit isize.
    unsafe {
        gemm::gemm(
            out.rows,
            out.columns,
            a.columns,
            out.values.as_mut_ptr(),
            1,
            out.row_stride as isize,
            found == Found::AddedTo,
            a.values.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.values.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vrt_testing::Random;

    use super::*;

    proptest! {
        #[test]
        fn equals_the_sum_of_products(
            m in 1_usize..20, n in 1_usize..20, k in 0_usize..20, gap in 0_usize..4, seed: u64,
            transposed: bool, add: bool,
        ) {
            let mut random = Random::new(seed);
            let a = random.values(m * (k + gap) + k, 1.0);
            let b = random.values(k * n, 1.0);
            let before = random.values(m * (n + gap), 1.0);
            let mut out = before.clone();
            let right = if transposed {
                Matrix::dense(&b, [n, k]).transposed()
            } else {
                Matrix::dense(&b, [k, n])
            };
            let found = if add { Found::AddedTo } else { Found::Replaced };
            let left = Matrix::new(&a, [m, k], k + gap);
            matmul(MatrixMut::new(&mut out, [m, n], n + gap), found, left, right);
            for (at, (out, before)) in out.iter().zip(&before).enumerate() {
                let (i, j) = (at / (n + gap), at % (n + gap));
                let product = |l: usize| {
                    a[i * (k + gap) + l] * if transposed { b[j * k + l] } else { b[l * n + j] }
                };
                let expected = match (j < n, add) {
                    (false, _) => *before,
                    (true, true) => before + (0..k).map(product).sum::<f32>(),
                    (true, false) => (0..k).map(product).sum(),
                };
                prop_assert!((out - expected).abs() <= 1e-5, "({i}, {j})");
            }
        }
    }

    #[test]
    #[should_panic(expected = "a matrix of 6 values in a slice of 5")]
    fn a_slice_that_is_too_short_is_refused() {
        Matrix::dense(&[0.0; 5], [2, 3]);
    }
}
