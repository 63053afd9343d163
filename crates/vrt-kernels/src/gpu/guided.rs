//! Deformable convolution at places around flows: from the raw answers of the offset layers; see
//! [`Guide`](crate::deform_conv::Guide).

use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::deform;
use super::launch::{buffer, each, empty, packed};
use crate::deform_conv::GuidedGeometry;

/// Beyond this tanh is ±1 in `f32`; drivers compute it from an exponential that overflows.
const FAR: f32 = 15.0;

#[cube]
fn tanh(x: f32) -> f32 {
    clamp(x, -FAR, FAR).tanh()
}

#[cube]
fn sigmoid(x: f32) -> f32 {
    1.0f32 / (1.0f32 + (-clamp(x, -80.0f32, 80.0f32)).exp())
}

/// Offsets and masks: a unit for each place.
#[cube(launch_unchecked)]
fn decode(
    answers: &[f32],
    flows: &[f32],
    offset: &mut [f32],
    mask: &mut [f32],
    samples: usize,
    of_flow: usize,
    max_offset: f32,
    count: usize,
) {
    if ABSOLUTE_POS >= count {
        terminate!();
    }
    let (pixel, sample) = (ABSOLUTE_POS / samples, ABSOLUTE_POS % samples);
    let start = pixel * 3 * samples;
    let flow = 2 * (sample / of_flow * (count / samples) + pixel);
    offset[2 * ABSOLUTE_POS] = max_offset * tanh(answers[start + 2 * sample]) + flows[flow + 1];
    offset[2 * ABSOLUTE_POS + 1] = max_offset * tanh(answers[start + 2 * sample + 1]) + flows[flow];
    mask[ABSOLUTE_POS] = sigmoid(answers[start + 2 * samples + sample]);
}

/// The gradient of the answers: a unit for each place.
#[cube(launch_unchecked)]
fn of_answers(
    answers: &[f32],
    of_offset: &[f32],
    of_mask: &[f32],
    out: &mut [f32],
    samples: usize,
    max_offset: f32,
    count: usize,
) {
    if ABSOLUTE_POS >= count {
        terminate!();
    }
    let (pixel, sample) = (ABSOLUTE_POS / samples, ABSOLUTE_POS % samples);
    let start = pixel * 3 * samples;
    #[unroll]
    for axis in 0..2usize {
        let at = start + 2 * sample + axis;
        let share = tanh(answers[at]);
        out[at] = of_offset[2 * ABSOLUTE_POS + axis] * max_offset * (1.0f32 - share * share);
    }
    let at = start + 2 * samples + sample;
    let mask = sigmoid(answers[at]);
    out[at] = of_mask[ABSOLUTE_POS] * mask * (1.0f32 - mask);
}

/// The gradient of the flows: a unit for each pixel of each.
#[cube(launch_unchecked)]
fn of_flows(
    of_offset: &[f32],
    out: &mut [f32],
    samples: usize,
    of_flow: usize,
    pixels: usize,
    count: usize,
) {
    if ABSOLUTE_POS >= count {
        terminate!();
    }
    let (flow, pixel) = (ABSOLUTE_POS / pixels, ABSOLUTE_POS % pixels);
    let start = 2 * (pixel * samples + flow * of_flow);
    let mut along_x = 0.0f32;
    let mut along_y = 0.0f32;
    for sample in 0..of_flow {
        along_y += of_offset[start + 2 * sample];
        along_x += of_offset[start + 2 * sample + 1];
    }
    out[2 * ABSOLUTE_POS] = along_x;
    out[2 * ABSOLUTE_POS + 1] = along_y;
}

/// Places of a pixel, pixels, and places that belong to one flow.
fn sizes(geometry: &GuidedGeometry) -> [usize; 3] {
    let g = &geometry.deform;
    let samples = g.offset_groups * g.taps();
    [samples, g.mask_len() / samples, samples / geometry.flows]
}

/// Offsets and masks as tensors.
fn decoded(answers: &CubeTensor, flows: &CubeTensor, geometry: &GuidedGeometry) -> [CubeTensor; 2] {
    let [samples, pixels, of_flow] = sizes(geometry);
    let count = samples * pixels;
    let [offset, mask] = [2, 1].map(|values| empty(answers, [pixels, values * samples]));
    let (cubes, cube) = each(answers, count);
    // SAFETY: the sizes were checked; a unit below the count has a place of its own.
    unsafe {
        decode::launch_unchecked(
            &answers.client,
            cubes,
            cube,
            buffer(answers),
            buffer(flows),
            buffer(&offset),
            buffer(&mask),
            samples,
            of_flow,
            geometry.max_offset,
            count,
        );
    }
    [offset, mask]
}

/// See [`ops::deform_conv_guided`](crate::ops::deform_conv_guided).
pub(crate) fn forward(
    [x, answers, flows]: [CubeTensor; 3],
    layer: [CubeTensor; 2],
    geometry: &GuidedGeometry,
) -> CubeTensor {
    let [answers, flows] = checked([answers, flows], geometry);
    let [offset, mask] = decoded(&answers, &flows, geometry);
    deform::forward([x, offset, mask], layer, &geometry.deform)
}

/// Gradients of the input, the answers, the flows, the weight and the bias, where they are wanted.
pub(crate) fn backward(
    [x, answers, flows, weight, bias]: [CubeTensor; 5],
    grad: CubeTensor,
    geometry: &GuidedGeometry,
    [of_x, of_answers, of_flows, of_weight, of_bias]: [bool; 5],
) -> [Option<CubeTensor>; 5] {
    let [answers, flows] = checked([answers, flows], geometry);
    let [offset, mask] = decoded(&answers, &flows, geometry);
    let places = of_answers || of_flows;
    let inputs = [x, offset, mask, weight, bias];
    let wanted = [of_x, places, places, of_weight, of_bias];
    let found = deform::backward(inputs, grad, &geometry.deform, wanted);
    let [of_x, of_offset, of_mask, of_weight, of_bias] = found;
    let (answers_grad, flows_grad) = match (of_offset, of_mask) {
        (Some(of_offset), Some(of_mask)) => (
            of_answers.then(|| answers_gradient(&answers, [&of_offset, &of_mask], geometry)),
            of_flows.then(|| flows_gradient(&flows, &of_offset, geometry)),
        ),
        _ => (None, None),
    };
    [of_x, answers_grad, flows_grad, of_weight, of_bias]
}

fn answers_gradient(
    answers: &CubeTensor,
    [of_offset, of_mask]: [&CubeTensor; 2],
    geometry: &GuidedGeometry,
) -> CubeTensor {
    let [samples, pixels, _] = sizes(geometry);
    let out = empty(answers, answers.meta.shape().clone());
    let (cubes, cube) = each(answers, samples * pixels);
    // SAFETY: as in `decoded`.
    unsafe {
        of_answers::launch_unchecked(
            &answers.client,
            cubes,
            cube,
            buffer(answers),
            buffer(of_offset),
            buffer(of_mask),
            buffer(&out),
            samples,
            geometry.max_offset,
            samples * pixels,
        );
    }
    out
}

fn flows_gradient(
    flows: &CubeTensor,
    of_offset: &CubeTensor,
    geometry: &GuidedGeometry,
) -> CubeTensor {
    let [samples, pixels, of_flow] = sizes(geometry);
    let out = empty(flows, flows.meta.shape().clone());
    let count = pixels * geometry.flows;
    let (cubes, cube) = each(flows, count);
    // SAFETY: the sizes were checked; a unit below the count has a pixel of a flow of its own, and
    // reads the places that belong to it.
    unsafe {
        of_flows::launch_unchecked(
            &flows.client,
            cubes,
            cube,
            buffer(of_offset),
            buffer(&out),
            samples,
            of_flow,
            pixels,
            count,
        );
    }
    out
}

fn checked(guide: [CubeTensor; 2], geometry: &GuidedGeometry) -> [CubeTensor; 2] {
    geometry.deform.check_groups();
    assert!(geometry.flows > 0, "deform_conv: there is no flow to be around");
    let [samples, pixels, of_flow] = sizes(geometry);
    assert_eq!(of_flow * geometry.flows, samples, "deform_conv: flows do not fit {geometry:?}");
    let lengths = guide.each_ref().map(|tensor| tensor.meta.shape().num_elements());
    let expected = [3 * samples * pixels, 2 * geometry.flows * pixels];
    assert_eq!(lengths, expected, "deform_conv: the guide does not fit {geometry:?}");
    guide.map(packed)
}
