//! Bands of rows as products.

use super::{Activation, ConvGeometry, Source};
use crate::level::Level;
use crate::matmul::Matrix;
use crate::parallel::{for_each_band, with_scratch};
use crate::product::{Packed, Product, Rows, Start, multiply};

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
    /// The band's pixels, and those that span the end of a padded line.
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
        self.pad_joined(g, 0, &[Source { values: frame, channels: g.in_channels }], padded);
    }

    /// The same for frame `frame` of sources whose channels are joined on the way.
    fn pad_joined(
        &self,
        g: &ConvGeometry,
        frame: usize,
        sources: &[Source<'_>],
        padded: &mut [f32],
    ) {
        let margin = g.padding[1] * g.in_channels;
        let row_len = g.width * g.in_channels;
        let lines = padded.chunks_exact_mut(self.padded_width * g.in_channels);
        for (i, line) in lines.enumerate() {
            let row = (self.row + i).checked_sub(g.padding[0]).filter(|row| *row < g.height);
            let Some(row) = row else {
                line.fill(0.0);
                continue;
            };
            line[..margin].fill(0.0);
            line[margin + row_len..].fill(0.0);
            let inside = &mut line[margin..margin + row_len];
            join_row(frame * g.height + row, g.width, sources, inside);
        }
    }

    /// What each output pixel of the band sees.
    fn rows<'a>(&self, g: &ConvGeometry, padded: &'a [f32]) -> Rows<'a> {
        let line = self.padded_width * g.in_channels;
        Rows {
            values: padded,
            count: self.rows * g.out_width(),
            per_line: g.out_width(),
            line_stride: line,
            stride: g.in_channels,
            parts: g.kernel[0],
            part_len: g.kernel[1] * g.in_channels,
            part_stride: line,
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

/// Copies row `row`, counted over all frames, of all sources to `out`, pixel by pixel.
fn join_row(row: usize, width: usize, sources: &[Source<'_>], out: &mut [f32]) {
    if let [Source { values, .. }] = sources {
        out.copy_from_slice(&values[row * out.len()..][..out.len()]);
        return;
    }
    let total = out.len() / width;
    let mut first = 0;
    for Source { values, channels } in sources {
        let pixels = values[row * width * channels..].chunks_exact(*channels);
        for (out, pixel) in out.chunks_exact_mut(total).zip(pixels) {
            out[first..first + channels].copy_from_slice(pixel);
        }
        first += channels;
    }
}

/// Output rows of a band.
pub(super) fn band_rows(g: &ConvGeometry) -> usize {
    (BAND_PIXELS / (g.width + 2 * g.padding[1])).clamp(1, g.out_height())
}

/// The convolution with a packed weight; the input's channels are those of all `sources`.
pub(super) fn convolve(
    level: Level,
    g: &ConvGeometry,
    sources: &[Source<'_>],
    weight: &Packed,
    activation: Activation,
    out: &mut [f32],
) {
    let sizes = [g.out_height(), g.out_row_len()];
    for_each_band(out, sizes, band_rows(g), |part| {
        let band = BandSizes::new(g, part.row, part.values.len() / sizes[1]);
        with_scratch([band.padded_len(g)], |[padded]| {
            band.pad_joined(g, part.frame, sources, padded);
            let product =
                Product { rows: band.rows(g, padded), right: weight.right(), start: Start::Bias };
            multiply(level, product, part.values, g.out_channels);
        });
        activation.apply(level, part.values);
    });
}
