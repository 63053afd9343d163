//! Bands of rows as products.

use super::ConvGeometry;
use crate::matmul::{Found, Matrix, MatrixMut, matmul};
use crate::parallel::{for_each_band, with_scratch};
use crate::weights::add_bias;

/// Output pixels that one product should have: enough that preparing the weight does not count.
const BAND_PIXELS: usize = 512;

/// A band of output rows of one frame and what it needs of the input.
#[derive(Clone, Copy, Debug)]
pub(super) struct BandSizes {
    /// First output row in the frame.
    pub(super) row: usize,
    /// Output rows.
    pub(super) rows: usize,
    /// Columns of the padded input.
    padded_width: usize,
    /// Rows of the product: the band's pixels, and those that span the end of a padded line.
    pub(super) pixels: usize,
}

impl BandSizes {
    pub(super) fn new(g: &ConvGeometry, row: usize, rows: usize) -> Self {
        let padded_width = g.width + 2 * g.padding[1];
        Self { row, rows, padded_width, pixels: (rows - 1) * padded_width + g.out_width() }
    }

    /// Values of the padded input.
    pub(super) fn padded_len(&self, g: &ConvGeometry) -> usize {
        (self.rows + g.kernel[0] - 1) * self.padded_width * g.in_channels
    }

    /// Copies the rows that the band sees, and zeros around them, to `padded`.
    pub(super) fn pad(&self, g: &ConvGeometry, frame: &[f32], padded: &mut [f32]) {
        let margin = g.padding[1] * g.in_channels;
        let row_len = g.width * g.in_channels;
        let lines = padded.chunks_exact_mut(self.padded_width * g.in_channels);
        for (i, line) in lines.enumerate() {
            match (self.row + i).checked_sub(g.padding[0]).filter(|row| *row < g.height) {
                Some(row) => {
                    line[..margin].fill(0.0);
                    line[margin..margin + row_len]
                        .copy_from_slice(&frame[row * row_len..][..row_len]);
                    line[margin + row_len..].fill(0.0);
                }
                None => line.fill(0.0),
            }
        }
    }

    /// What row `tap_row` of the kernel sees from each pixel: `[pixels, kernel[1] · in_channels]`.
    pub(super) fn seen<'a>(
        &self,
        g: &ConvGeometry,
        padded: &'a [f32],
        tap_row: usize,
    ) -> Matrix<'a> {
        let first = tap_row * self.padded_width * g.in_channels;
        let columns = g.kernel[1] * g.in_channels;
        Matrix::new(&padded[first..], [self.pixels, columns], g.in_channels)
    }

    /// Where the output row `row` of the band is among the product's `pixels` of `channels`.
    pub(super) fn line(&self, row: usize, channels: usize) -> usize {
        row * self.padded_width * channels
    }
}

/// Output rows of a band.
pub(super) fn band_rows(g: &ConvGeometry) -> usize {
    (BAND_PIXELS / (g.width + 2 * g.padding[1])).clamp(1, g.out_height())
}

/// The convolution with a packed weight.
pub(super) fn convolve(
    g: &ConvGeometry,
    x: &[f32],
    packed: &[f32],
    bias: Option<&[f32]>,
    out: &mut [f32],
) {
    let sizes = [g.out_height(), g.out_row_len()];
    for_each_band(out, sizes, band_rows(g), |part| {
        let frame = &x[part.frame * g.frame_len()..][..g.frame_len()];
        let band = BandSizes::new(g, part.row, part.values.len() / sizes[1]);
        let channels = g.out_channels;
        let lens = [band.padded_len(g), band.pixels * channels];
        with_scratch(lens, |[padded, product]| {
            band.pad(g, frame, padded);
            multiply(g, &band, padded, packed, product);
            for (row, out) in part.values.chunks_exact_mut(sizes[1]).enumerate() {
                out.copy_from_slice(&product[band.line(row, channels)..][..sizes[1]]);
                if let Some(bias) = bias {
                    add_bias(out, bias);
                }
            }
        });
    });
}

/// `product = Σ over rows of the kernel`.
fn multiply(
    g: &ConvGeometry,
    band: &BandSizes,
    padded: &[f32],
    packed: &[f32],
    product: &mut [f32],
) {
    let sizes = [g.kernel[1] * g.in_channels, g.out_channels];
    for tap_row in 0..g.kernel[0] {
        let found = if tap_row == 0 { Found::Replaced } else { Found::AddedTo };
        let weight = &packed[tap_row * sizes[0] * sizes[1]..];
        let product = MatrixMut::dense(product, [band.pixels, g.out_channels]);
        matmul(product, found, band.seen(g, padded, tap_row), Matrix::dense(weight, sizes));
    }
}
