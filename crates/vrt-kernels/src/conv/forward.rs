//! Bands of rows as products.

use super::enlarge::shuffle;
use super::{ConvGeometry, Enlarging, Source, Strip};
use crate::element::Element;
use crate::level::Level;
use crate::outer::Table;
use crate::parallel::{for_each_band, for_each_index, with_kept, with_scratch};
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

    /// Values of a line of the padded input.
    fn line_len(&self, g: &ConvGeometry) -> usize {
        self.padded_width * g.in_channels
    }

    /// Copies the rows that the band sees of a frame, and zeros around them, to `padded` as
    /// elements; the channels of all sources are joined on the way.
    pub(super) fn pad_joined<E: Element>(
        &self,
        (level, g): (Level, &ConvGeometry),
        frame: usize,
        sources: &[Source<'_>],
        padded: &mut [E],
    ) {
        let len = self.line_len(g);
        with_scratch([len], |[line]| {
            for (i, out) in padded.chunks_exact_mut(E::units(len)).enumerate() {
                self.pad_line(g, [frame, i], sources, line);
                E::write(level, line, out);
            }
        });
    }

    /// One line of the padded input, counted from the band's first.
    fn pad_line(
        &self,
        g: &ConvGeometry,
        [frame, index]: [usize; 2],
        sources: &[Source<'_>],
        line: &mut [f32],
    ) {
        let (margin, len) = (g.padding[1] * g.in_channels, g.width * g.in_channels);
        let row = (self.row + index).checked_sub(g.padding[0]).filter(|row| *row < g.height);
        let Some(row) = row else {
            line.fill(0.0);
            return;
        };
        line[..margin].fill(0.0);
        line[margin + len..].fill(0.0);
        join_row(frame * g.height + row, g.width, sources, &mut line[margin..margin + len]);
    }

    /// What each output pixel of the band sees.
    fn rows<'a, E: Element>(&self, g: &ConvGeometry, padded: &'a [E]) -> Rows<'a, E> {
        let line = self.line_len(g) / E::TERMS;
        Rows {
            values: padded,
            count: self.rows * g.out_width(),
            per_line: g.out_width(),
            line_stride: line,
            stride: g.in_channels / E::TERMS,
            parts: g.kernel[0],
            part_len: g.kernel[1] * g.in_channels / E::TERMS,
            part_stride: line,
        }
    }

    /// What row `tap_row` of the kernel sees from each pixel: `[pixels, kernel[1] · in_channels]`.
    pub(super) fn seen<'a>(
        &self,
        g: &ConvGeometry,
        padded: &'a [f32],
        tap_row: usize,
    ) -> Table<'a> {
        Table {
            values: &padded[tap_row * self.padded_width * g.in_channels..],
            rows: self.pixels,
            len: g.kernel[1] * g.in_channels,
            stride: g.in_channels,
        }
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

/// The convolution with a packed weight; each band is given to `work` when it is made, once.
pub(super) fn in_bands<E: Element>(
    level: Level,
    g: &ConvGeometry,
    source: Source<'_>,
    weight: &Packed<E>,
    work: impl Fn(Strip, &[f32]) + Sync,
) {
    assert!(g.in_channels.is_multiple_of(E::TERMS), "conv2d: pairs of channels: {g:?}");
    let rows = band_rows(g);
    let bands = g.out_height().div_ceil(rows);
    for_each_index(g.batch * bands, |index| {
        let (frame, row) = (index / bands, index % bands * rows);
        let band = BandSizes::new(g, row, rows.min(g.out_height() - row));
        with_kept(E::kept(), [band.padded_len(g) / E::TERMS], |[padded]| {
            band.pad_joined((level, g), frame, &[source], padded);
            let product =
                Product { rows: band.rows(g, padded), right: weight.right(), start: Start::Bias };
            with_scratch([band.rows * g.out_row_len()], |[values]| {
                multiply(level, product, values, g.out_channels);
                let columns = g.out_width();
                work(Strip { frame, row, column: 0, rows: band.rows, columns }, values);
            });
        });
    });
}

/// The convolution with a packed weight and what comes behind it; the input's channels are those of
/// all `sources`, and a multiple of an element's terms.
pub(super) fn convolve<E: Element>(
    level: Level,
    g: &ConvGeometry,
    sources: &[Source<'_>],
    weight: &Packed<E>,
    then: Enlarging,
    out: &mut [f32],
) {
    assert!(g.in_channels.is_multiple_of(E::TERMS), "conv2d: pairs of channels: {g:?}");
    let sizes = [g.out_height(), g.out_row_len()];
    for_each_band(out, sizes, band_rows(g), |part| {
        let band = BandSizes::new(g, part.row, part.values.len() / sizes[1]);
        with_kept(E::kept(), [band.padded_len(g) / E::TERMS], |[padded]| {
            band.pad_joined((level, g), part.frame, sources, padded);
            let product =
                Product { rows: band.rows(g, padded), right: weight.right(), start: Start::Bias };
            if then.factor == 1 {
                multiply(level, product, part.values, g.out_channels);
                then.activate(level, part.values);
                return;
            }
            // A band of places is a band of pixels, of as many values.
            with_scratch([part.values.len()], |[places]| {
                multiply(level, product, places, g.out_channels);
                then.activate(level, places);
                shuffle(g, then.factor, places, part.values);
            });
        });
    });
}
