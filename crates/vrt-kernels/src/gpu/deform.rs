//! Modulated deformable convolution; see [`deform_conv`](crate::deform_conv).

use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::bilinear::{Corners, around};
use super::launch::{buffer, each, empty, most_values, packed, zeros};
use super::product::{Field, FieldArgs, Left, Sizes, Source, look, outer, product};
use super::shape::{by_inputs, by_taps, reshaped, split, transposed_groups};
use super::sum::{Exchanged, Native, Sum, adds_floats};
use crate::deform_conv::DeformGeometry;

/// Most values of columns' gradients that are in memory at a time: 256 MiB.
const COLUMNS: usize = 1 << 26;

/// What is convolved, and where: input, offsets, masks.
type Inputs = [CubeTensor; 3];

fn sizes(g: &DeformGeometry) -> Sizes {
    let rows = g.batch * g.out_height() * g.out_width();
    let inputs = g.taps() * g.in_channels / g.weight_groups;
    let outputs = g.out_channels / g.weight_groups;
    Sizes { first: 0, rows, outputs, inputs, groups: g.weight_groups }
}

fn left<'a>(g: &DeformGeometry, [x, offset, mask]: &'a Inputs) -> Left<'a> {
    let field = Field::of_deform(g);
    Left { source: Source::Samples, field, x, places: Some([offset, mask]) }
}

/// See [`ops::deform_conv`](crate::ops::deform_conv).
pub(crate) fn forward(
    inputs: [CubeTensor; 3],
    [weight, bias]: [CubeTensor; 2],
    g: &DeformGeometry,
) -> CubeTensor {
    let (inputs, [weight, bias]) = checked(inputs, [weight, bias], g);
    let out = product(left(g, &inputs), &by_taps(weight), Some(&bias), sizes(g));
    reshaped(out, [g.batch, g.out_height(), g.out_width(), g.out_channels])
}

/// Gradients of the input, the offsets, the masks, the weight and the bias, where they are wanted.
pub(crate) fn backward(
    [x, offset, mask, weight, bias]: [CubeTensor; 5],
    grad: CubeTensor,
    g: &DeformGeometry,
    wanted: [bool; 5],
) -> [Option<CubeTensor>; 5] {
    let (inputs, [weight, _]) = checked([x, offset, mask], [weight, bias], g);
    let grad = packed(grad);
    let shape = weight.meta.shape().dims();
    let layer = (wanted[3] || wanted[4]).then(|| split(outer(left(g, &inputs), &grad, sizes(g))));
    let [of_weight, of_bias] = layer.map_or([None, None], |layer| layer.map(Some));
    let [of_x, of_offset, of_mask] = if wanted[..3].contains(&true) {
        of_inputs(&inputs, weight, &grad, g).map(Some)
    } else {
        [None, None, None]
    };
    let of_weight = of_weight.map(|grad| by_inputs(grad, shape));
    let found = [of_x, of_offset, of_mask, of_weight, of_bias];
    let mut wanted = wanted.into_iter();
    found.map(|found| found.filter(|_| wanted.next() == Some(true)))
}

/// Gradients of the input, the offsets and the masks: of some pixels' columns at a time.
fn of_inputs(
    inputs: &Inputs,
    weight: CubeTensor,
    grad: &CubeTensor,
    g: &DeformGeometry,
) -> [CubeTensor; 3] {
    let found = [
        zeros(grad, inputs[0].meta.shape().clone()),
        empty(grad, inputs[1].meta.shape().clone()),
        empty(grad, inputs[2].meta.shape().clone()),
    ];
    let weight = transposed_groups(by_taps(weight), g.weight_groups);
    let all = sizes(g);
    let most = (COLUMNS.min(most_values(grad)) / (all.inputs * all.groups)).max(1);
    for first in (0..all.rows).step_by(most) {
        let rows = most.min(all.rows - first);
        let sizes = Sizes { first, rows, outputs: all.inputs, inputs: all.outputs, ..all };
        let left = Left::grouped(grad, g.out_channels, all.outputs);
        let columns = product(left, &weight, None, sizes);
        add_columns(inputs, &columns, g, [first, rows], &found);
    }
    found
}

/// What the columns of some pixels say of the gradients.
fn add_columns(
    inputs: &Inputs,
    columns: &CubeTensor,
    g: &DeformGeometry,
    [first, rows]: [usize; 2],
    [of_x, of_offset, of_mask]: &[CubeTensor; 3],
) {
    let [x, offset, mask] = inputs;
    let field = Field::of_deform(g);
    let units = rows * g.offset_groups * g.taps();
    let (cubes, cube) = each(x, units);
    // SAFETY: the sizes were checked. A unit below the count has a place of its own of these
    // pixels, reads its own columns and pixels that are moved into the map.
    unsafe {
        of_places::launch_unchecked(
            &x.client,
            cubes,
            cube,
            buffer(x),
            buffer(offset),
            buffer(mask),
            buffer(columns),
            buffer(of_offset),
            buffer(of_mask),
            field.launch(),
            first,
            units,
        );
    }
    let units = rows * g.taps() * g.in_channels;
    let (cubes, cube) = each(x, units);
    let kernel = if adds_floats(x) {
        of_map::launch_unchecked::<Native>
    } else {
        of_map::launch_unchecked::<Exchanged>
    };
    // SAFETY: as before; a unit below the count has a value of the columns, and adds to pixels
    // that are moved into the map.
    unsafe {
        kernel(
            &x.client,
            cubes,
            cube,
            buffer(offset),
            buffer(mask),
            buffer(columns),
            buffer(of_x),
            field.launch(),
            first,
            units,
        );
    }
}

/// Place of the gradient of what a tap of row `row` sees of a channel.
#[cube]
fn column(row: usize, tap: usize, channel: usize, field: &FieldArgs) -> usize {
    let (group, within) = (channel / field.group_channels, channel % field.group_channels);
    let start = row * field.channels * field.taps + group * field.group_channels * field.taps;
    start + tap * field.group_channels + within
}

/// The pixels around the place of a tap.
#[cube]
fn corners(at: usize, tap: usize, place: usize, offset: &[f32], field: &FieldArgs) -> Corners {
    let look = look(at, tap, field);
    let y = f32::cast_from(look.row) + offset[2 * place];
    let x = f32::cast_from(look.column) + offset[2 * place + 1];
    around(x, y, field.height, field.width)
}

/// The gradients of offsets and masks: a unit for each place.
#[cube(launch_unchecked)]
fn of_places(
    x: &[f32],
    offset: &[f32],
    mask: &[f32],
    columns: &[f32],
    of_offset: &mut [f32],
    of_mask: &mut [f32],
    field: &FieldArgs,
    first: usize,
    count: usize,
) {
    if ABSOLUTE_POS >= count {
        terminate!();
    }
    let groups = field.channels / field.sampled;
    let tap = ABSOLUTE_POS % field.taps;
    let group = ABSOLUTE_POS / field.taps % groups;
    let row = ABSOLUTE_POS / (field.taps * groups);
    let place = first * groups * field.taps + ABSOLUTE_POS;
    let at = first + row;
    let corners = corners(at, tap, place, offset, field);
    let frame = look(at, tap, field).frame;
    let mut value = 0.0f32;
    let mut along_x = 0.0f32;
    let mut along_y = 0.0f32;
    #[unroll]
    for index in 0..4u32 {
        let pixel = corners.pixel(index, field.height, field.width);
        let start = (frame + pixel.at) * field.channels + group * field.sampled;
        let mut sum = 0.0f32;
        for channel in 0..field.sampled {
            let of_column = columns[column(row, tap, group * field.sampled + channel, field)];
            sum += of_column * x[start + channel];
        }
        sum *= pixel.inside;
        let (slope_x, slope_y) = corners.slopes(index);
        value += corners.weight(index) * sum;
        along_x += slope_x * sum;
        along_y += slope_y * sum;
    }
    of_offset[2 * place] = along_y * mask[place];
    of_offset[2 * place + 1] = along_x * mask[place];
    of_mask[place] = value;
}

/// Adds the gradient of the map: a unit for each value of the columns.
#[cube(launch_unchecked)]
fn of_map<S: Sum>(
    offset: &[f32],
    mask: &[f32],
    columns: &[f32],
    out: &[Atomic<S::Cell>],
    field: &FieldArgs,
    first: usize,
    count: usize,
) {
    if ABSOLUTE_POS >= count {
        terminate!();
    }
    let groups = field.channels / field.sampled;
    let channel = ABSOLUTE_POS % field.channels;
    let tap = ABSOLUTE_POS / field.channels % field.taps;
    let row = ABSOLUTE_POS / (field.channels * field.taps);
    let at = first + row;
    let place = (at * groups + channel / field.sampled) * field.taps + tap;
    let corners = corners(at, tap, place, offset, field);
    let frame = look(at, tap, field).frame;
    let slope = columns[column(row, tap, channel, field)] * mask[place];
    #[unroll]
    for index in 0..4u32 {
        let pixel = corners.pixel(index, field.height, field.width);
        let weight = corners.weight(index) * pixel.inside;
        if weight > 0.0f32 {
            S::add(out, (frame + pixel.at) * field.channels + channel, weight * slope);
        }
    }
}

fn checked(
    inputs: Inputs,
    layer: [CubeTensor; 2],
    g: &DeformGeometry,
) -> (Inputs, [CubeTensor; 2]) {
    g.check_groups();
    let len = |tensor: &CubeTensor| tensor.meta.shape().num_elements();
    let expected = [g.x_len(), g.offset_len(), g.mask_len()];
    assert_eq!(inputs.each_ref().map(len), expected, "deform_conv: inputs do not fit {g:?}");
    let expected = [g.weight_len(), g.out_channels];
    assert_eq!(layer.each_ref().map(len), expected, "deform_conv: the layer does not fit {g:?}");
    (inputs.map(packed), layer.map(packed))
}
