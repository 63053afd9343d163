//! Columns of some pixels at a time, then one product per weight group.

use super::columns::{Layout, Pixels, gather};
use super::guided::decode;
use super::{DeformGeometry, Places};
use crate::element::Element;
use crate::level::Level;
use crate::parallel::{for_each_band, with_kept, with_scratch};
use crate::product::Packed;

/// Output pixels whose columns are made at a time: they stay in the second-level cache.
pub(super) const BLOCK_PIXELS: usize = 96;

pub(super) fn convolve<E: Element>(
    level: Level,
    g: &DeformGeometry,
    (x, places): (&[f32], Places<'_>),
    [weight, bias]: [&[f32]; 2],
    out: &mut [f32],
) {
    let groups: Vec<Packed<E>> = pack(level, g, weight, bias);
    let layout = Layout::new(g);
    for_each_band(out, [g.out_frame_pixels(), g.out_channels], BLOCK_PIXELS, |block| {
        let first = block.frame * g.out_frame_pixels() + block.row;
        let count = block.values.len() / g.out_channels;
        let samples = count * g.samples();
        let decoded = if matches!(places, Places::Guided(_)) { 3 * samples } else { 0 };
        with_scratch([count * g.column_len(), decoded], |[columns, decoded]| {
            let places = match places {
                Places::Given { offset, mask } => {
                    let start = first * g.samples();
                    [&offset[2 * start..][..2 * samples], &mask[start..][..samples]]
                }
                Places::Guided(guide) => {
                    let (offset, mask) = decoded.split_at_mut(2 * samples);
                    decode(level, guide.of_pixels(first..first + count), offset, mask);
                    [&*offset, &*mask]
                }
            };
            let frame = &x[block.frame * g.frame_len()..][..g.frame_len()];
            gather(level, Pixels::of_frame(g, &layout, frame, places, block.row), columns);
            multiply_groups(g, columns, &groups, block.values);
        });
    });
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
