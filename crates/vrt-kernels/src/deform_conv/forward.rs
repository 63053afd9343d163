//! Columns of a few hundred pixels at a time, then one product per weight group.

use super::columns::{Layout, Pixels, gather};
use super::{DeformGeometry, DeformInputs};
use crate::level::Level;
use crate::matmul::{Found, Matrix, MatrixMut, matmul};
use crate::parallel::{for_each_band, with_scratch};
use crate::weights::add_bias;

/// Output pixels whose columns are made at a time: they stay in the second-level cache.
pub(super) const BLOCK_PIXELS: usize = 256;

pub(super) fn convolve(
    level: Level,
    g: &DeformGeometry,
    inputs: DeformInputs<'_>,
    bias: &[f32],
    out: &mut [f32],
) {
    let packed = g.weight_sizes().pack(inputs.weight);
    let layout = Layout::new(g);
    for_each_band(out, [g.out_frame_pixels(), g.out_channels], BLOCK_PIXELS, |block| {
        let first = block.frame * g.out_frame_pixels() + block.row;
        let count = block.values.len() / g.out_channels;
        with_scratch([count * g.column_len()], |[columns]| {
            gather(level, Pixels::new(g, &layout, inputs, first..first + count), columns);
            multiply(g, columns, &packed, block.values);
        });
        add_bias(block.values, bias);
    });
}

/// `out = columns · packed`, group by group.
fn multiply(g: &DeformGeometry, columns: &[f32], packed: &[f32], out: &mut [f32]) {
    let sizes = g.weight_sizes();
    let seen = sizes.taps * sizes.inputs;
    let count = out.len() / g.out_channels;
    for (group, weight) in packed.chunks_exact(sizes.group_len()).enumerate() {
        matmul(
            MatrixMut::new(
                &mut out[group * sizes.outputs..],
                [count, sizes.outputs],
                g.out_channels,
            ),
            Found::Replaced,
            Matrix::new(&columns[group * seen..], [count, seen], g.column_len()),
            Matrix::dense(weight, [seen, sizes.outputs]),
        );
    }
}
