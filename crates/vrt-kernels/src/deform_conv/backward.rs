//! From the output's gradient to that of the columns by a product, from there to places, masks
//! and the map; the gradient of the weight from the columns, made again.

use rayon::prelude::*;

use super::columns::{Layout, Pixels, gather, sample_gradients, scatter};
use super::forward::BLOCK_PIXELS;
use super::{DeformGeometry, DeformInputs};
use crate::level::Level;
use crate::outer::{Table, add_outer};
use crate::parallel::{
    for_each_band, for_each_part, sum_parts, with_flush_to_zero, with_scratch, zeros,
};
use crate::product::Packed;

/// Values of the columns' gradient that are held at a time (64 MiB).
const HELD_VALUES: usize = 16 << 20;

/// Rows of the map whose gradient one task sums up.
const BAND_ROWS: usize = 8;

/// Tasks that sum the gradient of the weight, each with a copy of its own.
const WEIGHT_PARTS: usize = 16;

/// The gradients of what the samples depend on, where they are wanted.
#[derive(Debug)]
pub(super) struct SampleGradients<'a> {
    pub(super) x: Option<&'a mut [f32]>,
    pub(super) offset: Option<&'a mut [f32]>,
    pub(super) mask: Option<&'a mut [f32]>,
}

/// Some rows of output pixels of one frame, with the gradient of their columns.
struct Strip<'a> {
    level: Level,
    geometry: &'a DeformGeometry,
    layout: &'a Layout,
    inputs: DeformInputs<'a>,
    /// First pixel, counted over all frames.
    first: usize,
    grad_columns: &'a [f32],
}

pub(super) fn grad_samples(
    level: Level,
    g: &DeformGeometry,
    inputs: DeformInputs<'_>,
    grad_out: &[f32],
    mut wanted: SampleGradients<'_>,
) {
    let (packed, sizes) = (g.weight_sizes().pack(inputs.weight), g.weight_sizes());
    let nothing = vec![0.0; sizes.taps * sizes.inputs];
    // Columns down its rows, as a linear layer is published.
    let groups = packed.chunks_exact(sizes.group_len());
    let packed: Vec<Packed<f32>> =
        groups.map(|group| Packed::published(level, group, &nothing, (0, 1.0))).collect();
    let layout = Layout::new(g);
    let frame_pixels = g.out_frame_pixels();
    let row_len = g.out_width() * g.column_len();
    let strip_rows = (HELD_VALUES / row_len.max(1)).clamp(1, g.out_height());
    let strip_pixels = strip_rows * g.out_width();
    let mut held = zeros(strip_rows * row_len);
    if let Some(grad_x) = wanted.x.as_deref_mut() {
        grad_x.fill(0.0);
    }
    for frame in 0..g.batch {
        for start in (0..frame_pixels).step_by(strip_pixels) {
            let count = strip_pixels.min(frame_pixels - start);
            let first = frame * frame_pixels + start;
            let held = &mut held[..count * g.column_len()];
            let grad_out = &grad_out[first * g.out_channels..][..count * g.out_channels];
            grad_of_columns(g, &packed, grad_out, held);
            let grad_columns = &*held;
            let strip = Strip { level, geometry: g, layout: &layout, inputs, first, grad_columns };
            if wanted.offset.is_some() || wanted.mask.is_some() {
                strip.write_sample_gradients(&mut wanted);
            }
            if let Some(grad_x) = wanted.x.as_deref_mut() {
                strip.add_to_map(&mut grad_x[frame * g.frame_len()..][..g.frame_len()]);
            }
        }
    }
}

/// `grad_columns = grad_out · packedᵀ`, group by group.
fn grad_of_columns(
    g: &DeformGeometry,
    groups: &[Packed<f32>],
    grad_out: &[f32],
    grad_columns: &mut [f32],
) {
    let sizes = g.weight_sizes();
    let seen = sizes.taps * sizes.inputs;
    let strides = [g.out_channels, g.column_len()];
    for_each_part(grad_columns, BLOCK_PIXELS * g.column_len(), |block, columns| {
        let count = columns.len() / g.column_len();
        let grad_out = &grad_out[block * BLOCK_PIXELS * g.out_channels..];
        for (group, weight) in groups.iter().enumerate() {
            let grad_out = &grad_out[group * sizes.outputs..];
            weight.apply(grad_out, count, strides, &mut [], &mut columns[group * seen..]);
        }
    });
}

impl Strip<'_> {
    /// `count` pixels from the strip's pixel `start` on.
    fn pixels(&self, start: usize, count: usize) -> Pixels<'_> {
        let first = self.first + start;
        Pixels::new(self.geometry, self.layout, self.inputs, first..first + count)
    }

    fn columns(&self, start: usize, count: usize) -> &[f32] {
        let len = self.geometry.column_len();
        &self.grad_columns[start * len..][..count * len]
    }

    fn pixel_count(&self) -> usize {
        self.grad_columns.len() / self.geometry.column_len()
    }

    /// Writes the gradients of the strip's offsets and masks.
    fn write_sample_gradients(&self, wanted: &mut SampleGradients<'_>) {
        let samples = self.geometry.samples();
        let count = self.pixel_count();
        let mut grads = zeros(count * samples * 3);
        for_each_part(&mut grads, BLOCK_PIXELS * samples * 3, |block, grads| {
            let (start, count) = (block * BLOCK_PIXELS, grads.len() / (samples * 3));
            let pixels = self.pixels(start, count);
            sample_gradients(self.level, pixels, self.columns(start, count), grads);
        });
        let (grads, _) = grads.as_chunks::<3>();
        let first = self.first * samples;
        if let Some(offset) = wanted.offset.as_deref_mut() {
            let (offset, _) = offset[2 * first..][..2 * count * samples].as_chunks_mut::<2>();
            offset.iter_mut().zip(grads).for_each(|(offset, [y, x, _])| *offset = [*y, *x]);
        }
        if let Some(mask) = wanted.mask.as_deref_mut() {
            let mask = &mut mask[first..][..count * samples];
            mask.iter_mut().zip(grads).for_each(|(mask, [.., value])| *mask = *value);
        }
    }

    /// Adds what the strip's pixels give to the gradient of their frame of the map. Each task owns
    /// a band of the map's rows, so that each value has one order of summation.
    fn add_to_map(&self, grad_x: &mut [f32]) {
        let g = self.geometry;
        let width = g.out_width();
        let rows = self.pixel_count() / width;
        let reach: Vec<_> = (0..rows)
            .into_par_iter()
            .map(|row| with_flush_to_zero(|| self.pixels(row * width, width).reach()))
            .collect();
        let row_len = g.width * g.in_channels;
        for_each_band(grad_x, [g.height, row_len], BAND_ROWS, |band| {
            let band_rows = band.row..band.row + band.values.len() / row_len;
            for (row, reach) in reach.iter().enumerate() {
                if reach.start < band_rows.end && band_rows.start < reach.end {
                    let columns = self.columns(row * width, width);
                    let pixels = self.pixels(row * width, width);
                    scatter(self.level, pixels, columns, band_rows.clone(), band.values);
                }
            }
        });
    }
}

pub(super) fn grad_weight(
    level: Level,
    g: &DeformGeometry,
    inputs: DeformInputs<'_>,
    grad_out: &[f32],
    grad: &mut [f32],
) {
    let layout = Layout::new(g);
    let frame_pixels = g.out_frame_pixels();
    let blocks_per_frame = frame_pixels.div_ceil(BLOCK_PIXELS);
    let blocks = g.batch * blocks_per_frame;
    let parts = blocks.min(WEIGHT_PARTS);
    let mut packed = vec![0.0; g.weight_len()];
    sum_parts(&mut packed, parts, |part, sum| {
        for block in part * blocks / parts..(part + 1) * blocks / parts {
            let start = block % blocks_per_frame * BLOCK_PIXELS;
            let count = BLOCK_PIXELS.min(frame_pixels - start);
            let first = block / blocks_per_frame * frame_pixels + start;
            with_scratch([count * g.column_len()], |[columns]| {
                gather(level, Pixels::new(g, &layout, inputs, first..first + count), columns);
                let grad_out = &grad_out[first * g.out_channels..][..count * g.out_channels];
                add_products((level, g), columns, grad_out, sum);
            });
        }
    });
    g.weight_sizes().unpack(&packed, grad);
}

/// `sum += columnsᵀ · grad_out`, group by group.
fn add_products(
    (level, g): (Level, &DeformGeometry),
    columns: &[f32],
    grad_out: &[f32],
    sum: &mut [f32],
) {
    let sizes = g.weight_sizes();
    let len = sizes.taps * sizes.inputs;
    let rows = grad_out.len() / g.out_channels;
    for (group, sum) in sum.chunks_exact_mut(sizes.group_len()).enumerate() {
        let values = &columns[group * len..];
        let seen = Table { values, rows, len, stride: g.column_len() };
        let values = &grad_out[group * sizes.outputs..];
        let grad = Table { values, rows, len: sizes.outputs, stride: g.out_channels };
        add_outer::<f32>(level, [seen, grad], sum);
    }
}
