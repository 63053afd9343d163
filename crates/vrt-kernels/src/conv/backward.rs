//! The gradient of the input is a convolution with the turned kernel; that of the weight is the
//! product of what each tap saw with the output's gradient.

use super::forward::{BandSizes, band_rows, convolve};
use super::{Activation, ConvGeometry, Source};
use crate::level::Level;
use crate::matmul::{Found, Matrix, MatrixMut, matmul};
use crate::parallel::{sum_parts, with_scratch};

/// Tasks that sum the gradient of a weight, each with a copy of its own.
const WEIGHT_PARTS: usize = 16;

pub(super) fn grad_x(g: &ConvGeometry, weight: &[f32], grad_out: &[f32], grad_x: &mut [f32]) {
    let turned = ConvGeometry {
        batch: g.batch,
        height: g.out_height(),
        width: g.out_width(),
        in_channels: g.out_channels,
        out_channels: g.in_channels,
        kernel: g.kernel,
        padding: [g.kernel[0] - 1 - g.padding[0], g.kernel[1] - 1 - g.padding[1]],
    };
    let matrix = g.weight_sizes().pack_turned(weight);
    let level = Level::current();
    let packed = turned.weight_sizes().packed::<f32>(level, &matrix, None);
    let source = Source { values: grad_out, channels: turned.in_channels };
    convolve(level, &turned, &[source], &packed, Activation::None, grad_x);
}

pub(super) fn grad_weight(g: &ConvGeometry, x: &[f32], grad_out: &[f32], grad: &mut [f32]) {
    let rows = band_rows(g);
    let bands_per_frame = g.out_height().div_ceil(rows);
    let bands = g.batch * bands_per_frame;
    let parts = bands.min(WEIGHT_PARTS);
    let mut packed = vec![0.0; g.weight_len()];
    sum_parts(&mut packed, parts, |part, sum| {
        for band in part * bands / parts..(part + 1) * bands / parts {
            let (frame, row) = (band / bands_per_frame, band % bands_per_frame * rows);
            let sizes = BandSizes::new(g, row, rows.min(g.out_height() - row));
            let frame_in = &x[frame * g.frame_len()..][..g.frame_len()];
            let frame_grad = &grad_out[frame * g.out_frame_len()..][..g.out_frame_len()];
            add_band(g, &sizes, frame_in, frame_grad, sum);
        }
    });
    g.weight_sizes().unpack(&packed, grad);
}

fn add_band(g: &ConvGeometry, band: &BandSizes, frame: &[f32], grad_out: &[f32], sum: &mut [f32]) {
    let channels = g.out_channels;
    let lens = [band.padded_len(g), band.pixels * channels];
    with_scratch(lens, |[padded, grad]| {
        band.pad(g, frame, padded);
        // Pixels that span the end of a line are no pixels of the output.
        grad.fill(0.0);
        let row_len = g.out_row_len();
        for row in 0..band.rows {
            let line = &grad_out[(band.row + row) * row_len..][..row_len];
            grad[band.line(row, channels)..][..row_len].copy_from_slice(line);
        }
        let sizes = [g.kernel[1] * g.in_channels, channels];
        for (tap_row, sum) in sum.chunks_exact_mut(sizes[0] * sizes[1]).enumerate() {
            matmul(
                MatrixMut::dense(sum, sizes),
                Found::AddedTo,
                band.seen(g, padded, tap_row).transposed(),
                Matrix::dense(grad, [band.pixels, channels]),
            );
        }
    });
}
