//! The gradient of the input is a convolution with the turned kernel; that of the weight is the
//! product of what each tap saw with the output's gradient.

use std::borrow::Cow;

use super::forward::{BandSizes, band_rows, convolve};
use super::{Activation, ConvGeometry, Enlarging, Source, winograd};
use crate::element::Element;
use crate::level::{Level, at_every_level};
use crate::outer::{Table, add_outer};
use crate::parallel::{for_each_part, sum_parts, with_scratch, zeros};

/// Tasks that sum the gradient of a weight, each with a copy of its own.
const WEIGHT_PARTS: usize = 8;

/// Values that one task computes.
const TASK_VALUES: usize = 1 << 14;

/// The gradient before an activation, from that behind it and the values there.
pub(super) fn before<'a>(
    activation: Activation,
    out: &[f32],
    grad_out: &'a [f32],
) -> Cow<'a, [f32]> {
    let Activation::LeakyRelu(slope) = activation else { return Cow::Borrowed(grad_out) };
    let mut grad = zeros(grad_out.len());
    let level = Level::current();
    for_each_part(&mut grad, TASK_VALUES, |task, grad| {
        let part = task * TASK_VALUES..task * TASK_VALUES + grad.len();
        unleak(level, &out[part.clone()], &grad_out[part], slope, grad);
    });
    Cow::Owned(grad)
}

at_every_level! {
    fn unleak(out: &[f32], grad_out: &[f32], slope: f32, grad: &mut [f32]) = unleak_body;
}

#[inline(always)]
fn unleak_body<const FUSED: bool>(out: &[f32], grad_out: &[f32], slope: f32, grad: &mut [f32]) {
    for ((grad, grad_out), out) in grad.iter_mut().zip(grad_out).zip(out) {
        *grad = if *out > 0.0 { *grad_out } else { slope * grad_out };
    }
}

pub(super) fn grad_x<E: Element>(
    level: Level,
    g: &ConvGeometry,
    weight: &[f32],
    grad_out: &[f32],
    grad_x: &mut [f32],
) {
    let turned = ConvGeometry {
        batch: g.batch,
        height: g.out_height(),
        width: g.out_width(),
        in_channels: g.out_channels,
        out_channels: g.in_channels,
        kernel: g.kernel,
        padding: [g.kernel[0] - 1 - g.padding[0], g.kernel[1] - 1 - g.padding[1]],
    };
    let source = Source { values: grad_out, channels: turned.in_channels };
    if winograd::pays::<E>(level, &turned) {
        let filters = (winograd::Filters { weight, turned: true }, None);
        winograd::convolve(level, &turned, &[source], filters, Enlarging::NOTHING, grad_x);
        return;
    }
    let matrix = g.weight_sizes().pack_turned(weight);
    let packed = turned.weight_sizes().packed::<E>(level, &matrix, None);
    convolve(level, &turned, &[source], &packed, Enlarging::NOTHING, grad_x);
}

/// Cuts the gradient of the joined input into those of its sources.
pub(super) fn cut(sources: &[Source<'_>], joined: &[f32], pixels: usize) -> Vec<Vec<f32>> {
    let total = joined.len() / pixels.max(1);
    let mut first = 0;
    let mut parts = Vec::with_capacity(sources.len());
    for source in sources {
        let mut part = zeros(source.values.len());
        let channels = source.channels;
        for_each_part(&mut part, TASK_VALUES / channels.max(1) * channels.max(1), |task, part| {
            let start = task * (TASK_VALUES / channels.max(1));
            for (i, pixel) in part.chunks_exact_mut(channels).enumerate() {
                pixel.copy_from_slice(&joined[(start + i) * total + first..][..channels]);
            }
        });
        first += channels;
        parts.push(part);
    }
    parts
}

pub(super) fn grad_weight<E: Element>(
    level: Level,
    g: &ConvGeometry,
    sources: &[Source<'_>],
    grad_out: &[f32],
    grad: &mut [f32],
) {
    let rows = band_rows(g);
    let bands_per_frame = g.out_height().div_ceil(rows);
    let bands = g.batch * bands_per_frame;
    let parts = bands.min(WEIGHT_PARTS);
    let mut packed = vec![0.0; g.weight_len()];
    sum_parts(&mut packed, parts, |part, sum| {
        for band in part * bands / parts..(part + 1) * bands / parts {
            let (frame, row) = (band / bands_per_frame, band % bands_per_frame * rows);
            let sizes = BandSizes::new(g, row, rows.min(g.out_height() - row));
            let frame_grad = &grad_out[frame * g.out_frame_len()..][..g.out_frame_len()];
            add_band::<E>((level, g), &sizes, (frame, sources), frame_grad, sum);
        }
    });
    g.weight_sizes().unpack(&packed, grad);
}

fn add_band<E: Element>(
    (level, g): (Level, &ConvGeometry),
    band: &BandSizes,
    (frame, sources): (usize, &[Source<'_>]),
    grad_out: &[f32],
    sum: &mut [f32],
) {
    let channels = g.out_channels;
    let lens = [band.padded_len(g), band.pixels * channels];
    with_scratch(lens, |[padded, grad]| {
        band.pad_joined::<f32>((level, g), frame, sources, padded);
        // Pixels that span the end of a line are no pixels of the output.
        grad.fill(0.0);
        let row_len = g.out_row_len();
        for row in 0..band.rows {
            let line = &grad_out[(band.row + row) * row_len..][..row_len];
            grad[band.line(row, channels)..][..row_len].copy_from_slice(line);
        }
        let len = g.kernel[1] * g.in_channels * channels;
        for (tap_row, sum) in sum.chunks_exact_mut(len).enumerate() {
            let seen = band.seen(g, padded, tap_row);
            add_outer::<E>(level, [seen, Table::dense(grad, channels)], sum);
        }
    });
}
