//! Columns of some pixels at a time, then one product per weight group.

use super::columns::{Layout, Pixels, gather};
use super::guided::{GuidedPixels, decode};
use super::{DeformGeometry, Hints, Places};
use crate::conv::conv2d_in_strips;
use crate::element::Element;
use crate::level::Level;
use crate::parallel::{SharedOutput, for_each_band, with_kept, with_scratch};
use crate::product::Packed;

/// Output pixels whose columns are made at a time: they stay in the second-level cache.
pub(super) const BLOCK_PIXELS: usize = 96;

pub(super) fn convolve<E: Element>(
    level: Level,
    g: &DeformGeometry,
    (x, places): (&[f32], Places<'_>),
    layer: [&[f32]; 2],
    out: &mut [f32],
) {
    let sampler = Sampler::<E>::new(level, g, x, layer);
    for_each_band(out, [g.out_frame_pixels(), g.out_channels], BLOCK_PIXELS, |block| {
        let first = block.frame * g.out_frame_pixels() + block.row;
        let count = block.values.len() / g.out_channels;
        let samples = count * g.samples();
        let place = [block.frame, block.row];
        match places {
            Places::Given { offset, mask } => {
                let start = first * g.samples();
                let places = [&offset[2 * start..][..2 * samples], &mask[start..][..samples]];
                sampler.convolve(place, places, block.values);
            }
            Places::Guided(guide) => {
                sampler.convolve_guided(place, guide.of_pixels(first..first + count), block.values);
            }
        }
    });
}

/// The same at places that the last offset convolution answers, in pieces of its output.
pub(super) fn convolve_answering<E: Element>(
    level: Level,
    g: &DeformGeometry,
    x: &[f32],
    hints: &Hints<'_>,
    layer: [&[f32]; 2],
    out: &mut [f32],
) {
    let sampler = Sampler::<E>::new(level, g, x, layer);
    let (out, width) = (SharedOutput::new(out), g.out_width());
    let answered = hints.convolution.out_channels;
    conv2d_in_strips(hints.convolution, hints.seen, hints.weights, |strip, answers| {
        // Pixels that lie one behind the other in the frame: whole rows do.
        let run = if strip.columns == width { strip.rows * width } else { strip.columns };
        for (index, answers) in answers.chunks_exact(run * answered).enumerate() {
            let start = (strip.row + index) * width + strip.column;
            for (part, answers) in answers.chunks(BLOCK_PIXELS * answered).enumerate() {
                let pixel = start + part * BLOCK_PIXELS;
                let (first, count) =
                    (strip.frame * g.out_frame_pixels() + pixel, answers.len() / answered);
                let flows = (hints.flows, hints.max_offset);
                let pixels = GuidedPixels::new(answers, flows, first..first + count);
                with_scratch([count * g.out_channels], |[values]| {
                    sampler.convolve_guided([strip.frame, pixel], pixels, values);
                    // SAFETY: every place is given to this function once, and is in one run and in
                    // one part of it.
                    unsafe { out.write(first * g.out_channels, values) };
                });
            }
        }
    });
}

/// A convolution whose places are not known yet.
struct Sampler<'a, E> {
    level: Level,
    g: &'a DeformGeometry,
    x: &'a [f32],
    layout: Layout,
    groups: Vec<Packed<E>>,
}

impl<'a, E: Element> Sampler<'a, E> {
    fn new(level: Level, g: &'a DeformGeometry, x: &'a [f32], [weight, bias]: [&[f32]; 2]) -> Self {
        Self { level, g, x, layout: Layout::new(g), groups: pack(level, g, weight, bias) }
    }

    /// Writes the outputs of pixels of a frame from the one `first` on.
    fn convolve(&self, place: [usize; 2], places: [&[f32]; 2], out: &mut [f32]) {
        with_scratch([self.columns_len(out)], |[columns]| self.fill(place, places, columns, out));
    }

    /// Values that these outputs see.
    fn columns_len(&self, out: &[f32]) -> usize {
        out.len() / self.g.out_channels * self.g.column_len()
    }

    /// The same by way of `columns`, of the length that [`Self::columns_len`] says.
    fn fill(
        &self,
        [frame, first]: [usize; 2],
        places: [&[f32]; 2],
        columns: &mut [f32],
        out: &mut [f32],
    ) {
        let g = self.g;
        let frame = &self.x[frame * g.frame_len()..][..g.frame_len()];
        gather(self.level, Pixels::of_frame(g, &self.layout, frame, places, first), columns);
        multiply_groups(g, columns, &self.groups, out);
    }

    /// The same at places around flows.
    fn convolve_guided(&self, place: [usize; 2], pixels: GuidedPixels<'_>, out: &mut [f32]) {
        let samples = out.len() / self.g.out_channels * self.g.samples();
        // All buffers in one call: with columns in a nested one this took an eighth longer.
        with_scratch([self.columns_len(out), 3 * samples], |[columns, decoded]| {
            let (offset, mask) = decoded.split_at_mut(2 * samples);
            decode(self.level, pixels, offset, mask);
            self.fill(place, [offset, mask], columns, out);
        });
    }
}

/// The weight and bias of each group.
fn pack<E: Element>(
    level: Level,
    g: &DeformGeometry,
    weight: &[f32],
    bias: &[f32],
) -> Vec<Packed<E>> {
    let sizes = g.weight_sizes();
    let matrices = sizes.pack(weight);
    let groups = matrices.chunks_exact(sizes.group_len()).zip(bias.chunks_exact(sizes.outputs));
    groups.map(|(matrix, bias)| sizes.packed(level, matrix, Some(bias))).collect()
}

/// `out = columns · weight + bias`, group by group.
fn multiply_groups<E: Element>(
    g: &DeformGeometry,
    columns: &[f32],
    groups: &[Packed<E>],
    out: &mut [f32],
) {
    let sizes = g.weight_sizes();
    let seen = sizes.taps * sizes.inputs;
    let count = out.len() / g.out_channels;
    let strides = [g.column_len(), g.out_channels];
    for (group, weight) in groups.iter().enumerate() {
        with_kept(E::kept(), [weight.rounded_len(count)], |[rounded]| {
            let out = &mut out[group * sizes.outputs..];
            weight.apply(&columns[group * seen..], count, strides, rounded, out);
        });
    }
}
