use proptest::prelude::*;
use vrt_testing::{Random, Tolerance, assert_close};

use super::reference::Exact;
use super::*;
use crate::conv::{Activation, Source, conv2d_joined};
use crate::conv::{ConvGeometry, ConvGradients, ConvWeights, conv2d, conv2d_backward};
use crate::slopes;

prop_compose! {
    fn geometries()(
        kernel in prop::sample::select(vec![[3, 3], [1, 1], [1, 3], [2, 2]]),
        [weight_groups, offset_groups] in
            prop::sample::select(vec![[1, 1], [1, 2], [2, 1], [2, 2], [2, 4], [3, 2], [2, 3]]),
        batch in 1_usize..3, height in 1_usize..9, width in 1_usize..9,
        per_group in 1_usize..4, out_per_group in 1_usize..5,
    ) -> DeformGeometry {
        // With 6 channels, 2 and 3 groups cut each other.
        let common = if weight_groups % offset_groups == 0 {
            weight_groups
        } else if offset_groups % weight_groups == 0 {
            offset_groups
        } else {
            weight_groups * offset_groups
        };
        let in_channels = common * per_group;
        DeformGeometry {
            batch,
            height: height.max(kernel[0]),
            width: width.max(kernel[1]),
            in_channels,
            out_channels: weight_groups * out_per_group,
            weight_groups,
            offset_groups,
            kernel,
            padding: [kernel[0] / 2, kernel[1] / 2],
        }
    }
}

struct Values {
    x: Vec<f32>,
    offset: Vec<f32>,
    mask: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    grad: Vec<f32>,
}

impl Values {
    /// Offsets have fractions away from whole numbers, so that the slope is defined.
    fn new(geometry: &DeformGeometry, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let offset = (0..geometry.offset_len())
            .map(|_| random.below(5) as f32 - 2.0 + random.uniform(0.1, 0.9))
            .collect();
        Self {
            x: random.values(geometry.x_len(), 1.0),
            offset,
            mask: random.values(geometry.mask_len(), 1.0),
            weight: random.values(geometry.weight_len(), 1.0),
            bias: random.values(geometry.out_channels, 1.0),
            grad: random.values(geometry.out_len(), 1.0),
        }
    }

    fn inputs(&self) -> DeformInputs<'_> {
        DeformInputs { x: &self.x, offset: &self.offset, mask: &self.mask, weight: &self.weight }
    }
}

fn run(level: Level, geometry: &DeformGeometry, v: &Values) -> Vec<f32> {
    let mut out = vec![f32::NAN; geometry.out_len()];
    let places = Places::Given { offset: &v.offset, mask: &v.mask };
    forward::convolve::<f32>(level, geometry, (&v.x, places), [&v.weight, &v.bias], &mut out);
    out
}

/// Gradients of x, offset, mask, weight and bias.
fn run_backward(level: Level, geometry: &DeformGeometry, v: &Values) -> [Vec<f32>; 5] {
    let mut grads =
        [&v.x, &v.offset, &v.mask, &v.weight, &v.bias].map(|values| vec![f32::NAN; values.len()]);
    let [x, offset, mask, weight, bias] = grads.each_mut().map(|grad| Some(grad.as_mut_slice()));
    let wanted = DeformGradients { x, offset, mask, weight, bias };
    backward_at(level, geometry, v.inputs(), &v.grad, wanted);
    grads
}

fn dot(a: &[f64], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * f64::from(*b)).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_level_equals_the_definition(geometry in geometries(), seed: u64) {
        let v = Values::new(&geometry, seed);
        let expected = reference::deform_conv(&geometry, &Exact::from(v.inputs()), &v.bias);
        for level in Level::available() {
            for (actual, expected) in run(level, &geometry, &v).iter().zip(&expected) {
                prop_assert!((f64::from(*actual) - expected).abs() < 1e-5, "{level}");
            }
        }
    }

    #[test]
    fn places_around_flows_equal_their_offsets_and_masks(
        geometry in geometries(), flows in 1_usize..4, max_offset in 0.5_f32..5.0, seed: u64,
    ) {
        // Every flow gets its share of the samples.
        let geometry = DeformGeometry {
            in_channels: flows * geometry.in_channels,
            offset_groups: flows * geometry.offset_groups,
            ..geometry
        };
        let mut random = Random::new(seed);
        let samples = geometry.samples();
        let answers = random.values(geometry.pixels() * 3 * samples, 2.0);
        let fields: Vec<_> =
            (0..flows).map(|_| random.values(2 * geometry.pixels(), 3.0)).collect();
        let mut v = Values::new(&geometry, seed);
        for (pixel, answers) in answers.chunks_exact(3 * samples).enumerate() {
            for (i, answer) in answers[..2 * samples].iter().enumerate() {
                let flow = &fields[i / (2 * samples / flows)];
                // Offsets are (dy, dx), flows are (x, y).
                let along = flow[2 * pixel + 1 - i % 2];
                v.offset[2 * pixel * samples + i] = max_offset * answer.tanh() + along;
            }
            for (i, answer) in answers[2 * samples..].iter().enumerate() {
                v.mask[pixel * samples + i] = 1.0 / (1.0 + (-answer).exp());
            }
        }
        let slices: Vec<&[f32]> = fields.iter().map(Vec::as_slice).collect();
        let guide = Guide { answers: &answers, flows: &slices, max_offset };
        for level in Level::available() {
            let mut out = vec![f32::NAN; geometry.out_len()];
            let places = (v.x.as_slice(), Places::Guided(guide));
            forward::convolve::<f32>(level, &geometry, places, [&v.weight, &v.bias], &mut out);
            // A place is rounded to a few units of its size, and so is what is read there.
            assert_close("output", &out, &run(level, &geometry, &v), Tolerance::all(1e-4));
        }
        let mut out = vec![f32::NAN; geometry.out_len()];
        deform_conv_guided(&geometry, &v.x, guide, [&v.weight, &v.bias], &mut out);
        assert_close("output", &out, &run(Level::current(), &geometry, &v), Tolerance::all(1e-4));
    }

    /// The output is linear in x, mask and weight and, inside a cell, in each offset: along each of
    /// them the difference over a step is the slope, up to rounding in `f64`.
    #[test]
    fn every_gradient_is_the_slope(geometry in geometries(), seed: u64) {
        let v = Values::new(&geometry, seed);
        let exact = Exact::from(v.inputs());
        let mut random = Random::new(seed ^ 1);
        let loss = |exact: &Exact| dot(&reference::deform_conv(&geometry, exact, &v.bias), &v.grad);
        let parts: [fn(&mut Exact) -> &mut Vec<f64>; 4] =
            [|v| &mut v.x, |v| &mut v.offset, |v| &mut v.mask, |v| &mut v.weight];
        for level in Level::available() {
            let grads = run_backward(level, &geometry, &v);
            for (part, grad) in parts.iter().zip(&grads) {
                for _ in 0..4 {
                    let at = random.below(grad.len());
                    let along = |step: f64| {
                        let mut moved = exact.clone();
                        part(&mut moved)[at] += step;
                        loss(&moved)
                    };
                    let slope = (along(1e-3) - along(-1e-3)) / 2e-3;
                    prop_assert!((f64::from(grad[at]) - slope).abs() < 1e-4, "{level}, {at}");
                }
            }
        }
    }

    #[test]
    fn zero_offset_and_unit_mask_are_a_convolution(geometry in geometries(), seed: u64) {
        let geometry = DeformGeometry { weight_groups: 1, ..geometry };
        let mut v = Values::new(&geometry, seed);
        v.offset.fill(0.0);
        v.mask.fill(1.0);
        let DeformGeometry { batch, height, width, in_channels, out_channels, kernel, padding, .. } =
            geometry;
        let conv =
            ConvGeometry { batch, height, width, in_channels, out_channels, kernel, padding };
        let mut expected = vec![f32::NAN; conv.out_len()];
        let weights = ConvWeights { weight: &v.weight, bias: Some(&v.bias) };
        conv2d(&conv, &v.x, weights, &mut expected);
        let level = Level::detect();
        for (actual, expected) in run(level, &geometry, &v).iter().zip(&expected) {
            prop_assert!((actual - expected).abs() < 1e-5);
        }
        let mut expected = [v.x.len(), v.weight.len()].map(|len| vec![f32::NAN; len]);
        let [x, weight] = expected.each_mut().map(|grad| Some(grad.as_mut_slice()));
        let wanted = ConvGradients { x, weight, bias: None };
        conv2d_backward(&conv, &v.x, &v.weight, &v.grad, wanted);
        let [x, _, _, weight, _] = run_backward(level, &geometry, &v);
        for (actual, expected) in [x, weight].concat().iter().zip(&expected.concat()) {
            prop_assert!((actual - expected).abs() < 1e-4);
        }
    }
}

/// Several blocks of pixels and bands of rows, in one frame and over frames.
fn large() -> DeformGeometry {
    DeformGeometry {
        batch: 2,
        height: 26,
        width: 31,
        in_channels: 8,
        out_channels: 6,
        weight_groups: 2,
        offset_groups: 4,
        kernel: [3, 3],
        padding: [1, 1],
    }
}

#[test]
fn many_blocks_equal_the_definition() {
    let geometry = large();
    let v = Values::new(&geometry, 4);
    let expected = reference::deform_conv(&geometry, &Exact::from(v.inputs()), &v.bias);
    let expected: Vec<f32> = expected.iter().map(|value| *value as f32).collect();
    let actual = run(Level::detect(), &geometry, &v);
    assert_close("output", &actual, &expected, Tolerance::all(1e-5));
    // The output is linear in x, in the mask and in the weight: ⟨out − bias, g⟩ = ⟨x, grad⟩ for each.
    let grads = run_backward(Level::detect(), &geometry, &v);
    let exact = Exact::from(v.inputs());
    let loss = dot(&reference::deform_conv(&geometry, &exact, &[0.0; 6]), &v.grad);
    let parts = [(&exact.x, &grads[0]), (&exact.mask, &grads[2]), (&exact.weight, &grads[3])];
    for (values, grad) in parts {
        assert!((dot(values, grad) - loss).abs() < 2e-5 * loss.abs().max(100.0), "{loss}");
    }
}

#[test]
fn answers_made_in_strips_are_the_same_answers() {
    // Convolved in bands, and in tiles: rows of them, one row, and parts of a row.
    let sizes = [[26, 31], [9, 100], [5, 141]];
    let kinds = [(6, Precision::F32), (32, Precision::F32), (32, Precision::Bf16)];
    let cases = sizes.into_iter().flat_map(|size| kinds.map(|kind| (size, kind)));
    for ([height, width], (seen_channels, precision)) in cases {
        let geometry = DeformGeometry { batch: 3, height, width, ..large() };
        let mut random = Random::new(8);
        let convolution = ConvGeometry {
            batch: geometry.batch,
            height: geometry.height,
            width: geometry.width,
            in_channels: seen_channels,
            out_channels: 3 * geometry.samples(),
            kernel: [3, 3],
            padding: [1, 1],
        };
        let seen = random.values(convolution.x_len(), 1.0);
        let weight = random.values(convolution.weight_len(), 0.2);
        let bias = random.values(convolution.out_channels, 1.0);
        let weights = ConvWeights { weight: &weight, bias: Some(&bias) };
        let x = random.values(geometry.x_len(), 1.0);
        let flows: [Vec<f32>; 2] =
            [1.0, 3.0].map(|size| random.values(2 * geometry.pixels(), size));
        let flows = flows.each_ref().map(Vec::as_slice);
        let layer = [geometry.weight_len(), geometry.out_channels];
        let layer = layer.map(|len| random.values(len, 1.0));
        let layer = layer.each_ref().map(Vec::as_slice);
        let max_offset = 4.0;
        let [whole, strips] = precision.scope(|| {
            let mut answers = vec![f32::NAN; convolution.out_len()];
            let source = Source { values: &seen, channels: seen_channels };
            conv2d_joined(&convolution, &[source], weights, Activation::None, &mut answers);
            let mut outs = [(); 2].map(|()| vec![f32::NAN; geometry.out_len()]);
            let guide = Guide { answers: &answers, flows: &flows, max_offset };
            deform_conv_guided(&geometry, &x, guide, layer, &mut outs[0]);
            let convolution = &convolution;
            let hints = Hints { seen: &seen, convolution, weights, flows: &flows, max_offset };
            deform_conv_answering(&geometry, &x, &hints, layer, &mut outs[1]);
            outs
        });
        assert_eq!(whole, strips, "{width} columns, {seen_channels} channels, {precision:?}");
    }
}

#[test]
fn the_gradient_does_not_depend_on_the_number_of_threads() {
    let geometry = large();
    let v = Values::new(&geometry, 3);
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let level = Level::detect();
        pool.install(|| (run(level, &geometry, &v), run_backward(level, &geometry, &v)))
    };
    assert_eq!(on(1), on(7));
}

#[test]
fn an_offset_that_is_no_number_reads_zero() {
    let geometry = large();
    for value in [f32::NAN, f32::INFINITY, -f32::INFINITY, f32::MAX] {
        let mut v = Values::new(&geometry, 3);
        v.offset.fill(value);
        for (out, bias) in run(Level::detect(), &geometry, &v).iter().zip(v.bias.iter().cycle()) {
            assert_eq!(out, bias, "{value}");
        }
        let [x, offset, mask, ..] = run_backward(Level::detect(), &geometry, &v);
        assert!([x, offset, mask].concat().iter().all(|grad| *grad == 0.0), "{value}");
    }
}

#[test]
fn a_gradient_that_is_not_wanted_is_not_written() {
    let geometry = large();
    let v = Values::new(&geometry, 6);
    let mut mask = vec![f32::NAN; geometry.mask_len()];
    let wanted = DeformGradients { mask: Some(&mut mask), ..DeformGradients::default() };
    deform_conv_backward(&geometry, v.inputs(), &v.grad, wanted);
    assert_eq!(mask, run_backward(Level::current(), &geometry, &v)[2]);
}

#[test]
#[should_panic(expected = "the channels do not divide into the groups")]
fn groups_that_do_not_divide_the_channels_are_refused() {
    let geometry = DeformGeometry { offset_groups: 3, ..large() };
    let v = Values::new(&large(), 1);
    deform_conv(&geometry, v.inputs(), &v.bias, &mut vec![0.0; geometry.out_len()]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn gradients_at_guided_places_are_slopes(
        batch in 1_usize..3, height in 3_usize..6, width in 3_usize..6, reach in 1_usize..3,
        seed: u64,
    ) {
        let geometry = DeformGeometry {
            batch,
            height,
            width,
            in_channels: 4,
            out_channels: 3,
            weight_groups: 1,
            offset_groups: 2,
            kernel: [3, 3],
            padding: [1, 1],
        };
        let (mut random, pixels) = (Random::new(seed), batch * height * width);
        let samples = geometry.samples();
        // Halves of pixels, and less than a half from there: the bilinear function has a slope.
        let mut flow = || {
            (0..2 * pixels).map(|_| random.below(4) as f32 - 1.5).collect::<Vec<f32>>()
        };
        let flows: Vec<_> = (0..reach).map(|_| flow()).collect();
        let lens = [geometry.x_len(), 3 * samples * pixels, geometry.weight_len(), 3];
        let mut values: Vec<Vec<f32>> =
            lens.iter().map(|len| random.values(*len, 1.0)).collect();
        values.extend(flows);
        let probe = random.values(geometry.out_len(), 1.0);
        let max_offset = 0.4;
        let function = |values: &[Vec<f32>]| {
            let exact = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
            let answers = exact(&values[1]);
            let (mut offset, mut mask) = (vec![], vec![]);
            for (pixel, answers) in answers.chunks_exact(3 * samples).enumerate() {
                for (at, answer) in answers[..2 * samples].iter().enumerate() {
                    // (dy, dx), and flows along x then y.
                    let flow = &values[4 + at * reach / (2 * samples)];
                    let moved = f64::from(flow[2 * pixel + 1 - at % 2]);
                    offset.push(f64::from(max_offset) * answer.tanh() + moved);
                }
                mask.extend(answers[2 * samples..].iter().map(|a| 1.0 / (1.0 + (-a).exp())));
            }
            let places = Exact { x: exact(&values[0]), offset, mask, weight: exact(&values[2]) };
            slopes::weighted(&reference::deform_conv(&geometry, &places, &values[3]), &probe)
        };
        let flows: Vec<&[f32]> = values[4..].iter().map(Vec::as_slice).collect();
        let guide = Guide { answers: &values[1], flows: &flows, max_offset };
        let [found, less] = [true, false].map(|of_guide| {
            let (x, weight) = (&values[0], &values[2]);
            deform_conv_guided_backward(&geometry, x, guide, weight, &probe, of_guide)
        });
        prop_assert!(less.guide.is_none());
        prop_assert_eq!((&less.x, &less.weight, &less.bias), (&found.x, &found.weight, &found.bias));
        let places = found.guide.expect("asked for");
        let mut grads = vec![found.x, places.answers, found.weight, found.bias];
        grads.extend(places.flows);
        slopes::check(&values, &grads, seed, function)?;
    }
}
