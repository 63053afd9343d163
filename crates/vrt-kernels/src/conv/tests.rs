use proptest::prelude::*;
use vrt_testing::{Random, Tolerance, assert_close};

use super::*;

prop_compose! {
    fn geometries()(kernel in [1_usize..6, 1_usize..8])(
        kernel in Just(kernel),
        padding in [0..kernel[0], 0..kernel[1]],
        batch in 1_usize..3, height in 1_usize..16, width in 1_usize..16,
        in_channels in 1_usize..10, out_channels in 1_usize..10,
    ) -> ConvGeometry {
        // A frame that the kernel fits on.
        let height = height.max(kernel[0].saturating_sub(2 * padding[0]));
        let width = width.max(kernel[1].saturating_sub(2 * padding[1]));
        ConvGeometry { batch, height, width, in_channels, out_channels, kernel, padding }
    }
}

struct Values {
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    grad: Vec<f32>,
}

impl Values {
    fn weights(&self) -> ConvWeights<'_> {
        ConvWeights { weight: &self.weight, bias: Some(&self.bias) }
    }
}

fn values(geometry: &ConvGeometry, seed: u64) -> Values {
    let mut random = Random::new(seed);
    Values {
        x: random.values(geometry.x_len(), 1.0),
        weight: random.values(geometry.weight_len(), 1.0),
        bias: random.values(geometry.out_channels, 1.0),
        grad: random.values(geometry.out_len(), 1.0),
    }
}

fn run(geometry: &ConvGeometry, v: &Values) -> Vec<f32> {
    let mut out = vec![f32::NAN; geometry.out_len()];
    conv2d(geometry, &v.x, v.weights(), &mut out);
    out
}

fn run_backward(geometry: &ConvGeometry, v: &Values) -> [Vec<f32>; 3] {
    let mut grads = [v.x.len(), v.weight.len(), v.bias.len()].map(|len| vec![f32::NAN; len]);
    let [x, weight, bias] = &mut grads;
    let wanted = ConvGradients { x: Some(x), weight: Some(weight), bias: Some(bias) };
    conv2d_backward(geometry, &v.x, &v.weight, &v.grad, wanted);
    grads
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn equals_the_definition(geometry in geometries(), seed: u64) {
        let v = values(&geometry, seed);
        let expected = reference::conv2d(&geometry, &v.x, &v.weight, &v.bias);
        let source = Source { values: &v.x, channels: geometry.in_channels };
        for level in Level::available() {
            let mut out = vec![f32::NAN; geometry.out_len()];
            convolve_at::<f32>(level, &geometry, &[source], v.weights(), Enlarging::NOTHING, &mut out);
            assert_close("output", &out, &expected, Tolerance::all(1e-5));
        }
    }

    #[test]
    fn in_pairs_it_is_the_convolution_of_what_was_rounded(geometry in geometries(), seed: u64) {
        let geometry = ConvGeometry { in_channels: 2 * geometry.in_channels, ..geometry };
        let v = values(&geometry, seed);
        let rounded = |values: &[f32]| -> Vec<f32> {
            values.iter().map(|value| half::bf16::from_f32(*value).to_f32()).collect()
        };
        let (x, weight) = (rounded(&v.x), rounded(&v.weight));
        let expected = reference::conv2d(&geometry, &x, &weight, &v.bias);
        let source = Source { values: &v.x, channels: geometry.in_channels };
        for level in Level::available() {
            let mut out = vec![f32::NAN; geometry.out_len()];
            convolve_at::<Pair>(
                level, &geometry, &[source], v.weights(), Enlarging::NOTHING, &mut out,
            );
            assert_close("output", &out, &expected, Tolerance::all(1e-5));
        }
    }

    #[test]
    fn channels_may_lie_apart_and_an_activation_is_applied(
        geometry in geometries(), seed: u64, slope in 0.0_f32..1.0,
    ) {
        let v = values(&geometry, seed);
        let mut expected = run(&geometry, &v);
        for value in &mut expected {
            *value = value.max(*value * slope);
        }
        let first = geometry.in_channels.div_ceil(2);
        let part = |range: std::ops::Range<usize>| -> Vec<f32> {
            let pixels = v.x.chunks_exact(geometry.in_channels);
            pixels.flat_map(|pixel| &pixel[range.clone()]).copied().collect()
        };
        let parts = [part(0..first), part(first..geometry.in_channels)];
        let sources = [
            Source { values: &parts[0], channels: first },
            Source { values: &parts[1], channels: geometry.in_channels - first },
        ];
        let sources = &sources[..if parts[1].is_empty() { 1 } else { 2 }];
        let mut out = vec![f32::NAN; geometry.out_len()];
        conv2d_joined(&geometry, sources, v.weights(), Activation::LeakyRelu(slope), &mut out);
        prop_assert_eq!(out, expected);
    }

    #[test]
    fn the_gradients_equal_the_definition(geometry in geometries(), seed: u64) {
        let v = values(&geometry, seed);
        let expected = reference::backward(&geometry, &v.x, &v.weight, &v.grad);
        let actual = run_backward(&geometry, &v);
        for ((actual, expected), name) in actual.iter().zip(&expected).zip(["x", "weight", "bias"]) {
            // A sum may cancel to next to nothing: hold it to the size of its terms.
            for (actual, expected) in actual.iter().zip(expected) {
                prop_assert!((actual - expected).abs() < 2e-4, "{name}: {actual}, {expected}");
            }
        }
    }
}

prop_compose! {
    /// Of what tiles are made for, with tiles that are cut at two edges.
    fn tiled()(kernel in [3_usize..9, 3_usize..9])(
        kernel in Just(kernel),
        padding in [0..kernel[0], 0..kernel[1]],
        batch in 1_usize..3, height in 8_usize..20, width in 8_usize..20,
        in_channels in 1_usize..40, out_channels in prop_oneof![16_usize..40, 128_usize..150],
    ) -> ConvGeometry {
        ConvGeometry { batch, height, width, in_channels, out_channels, kernel, padding }
    }
}

/// Sums of products whose size is that of `geometry` differ by so much, tile by tile or not.
fn rounding(geometry: &ConvGeometry) -> f32 {
    1e-5 + 4e-7 * (geometry.weight_len() / geometry.out_channels) as f32
}

fn assert_near(found: &[f32], expected: &[f32], bound: f32) {
    assert_eq!(found.len(), expected.len());
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= bound, "{at}: {found}, not {expected}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn tiles_are_the_convolution(geometry in tiled(), seed: u64) {
        let v = values(&geometry, seed);
        let expected = reference::conv2d(&geometry, &v.x, &v.weight, &v.bias);
        let source = Source { values: &v.x, channels: geometry.in_channels };
        let filters = winograd::Filters { weight: &v.weight, turned: false };
        for level in Level::available() {
            let mut out = vec![f32::NAN; geometry.out_len()];
            let layer = (filters, Some(&*v.bias));
            winograd::convolve(level, &geometry, &[source], layer, Enlarging::NOTHING, &mut out);
            assert_near(&out, &expected, rounding(&geometry));
            let mut strips = vec![f32::NAN; geometry.out_len()];
            let shared = crate::parallel::SharedOutput::new(&mut strips);
            winograd::in_strips(level, &geometry, source, layer, |strip, values| {
                let rows = values.chunks_exact(strip.columns * geometry.out_channels);
                for (y, row) in rows.enumerate() {
                    let line = strip.frame * geometry.out_height() + strip.row + y;
                    let at = line * geometry.out_width() + strip.column;
                    // SAFETY: strips do not overlap.
                    unsafe { shared.write(at * geometry.out_channels, row) };
                }
            });
            prop_assert_eq!(&strips, &out, "strips hold the same");
        }
    }

    #[test]
    fn tiles_carry_gradients_back(geometry in tiled(), seed: u64) {
        // Turned, the inputs are what a vector must hold.
        let (in_channels, out_channels) = (geometry.out_channels, geometry.in_channels);
        let geometry = ConvGeometry { in_channels, out_channels, ..geometry };
        let v = values(&geometry, seed);
        let [expected, ..] = reference::backward(&geometry, &v.x, &v.weight, &v.grad);
        let [rows, columns] = [0, 1].map(|i| geometry.kernel[i] - 1 - geometry.padding[i]);
        let turned = ConvGeometry {
            height: geometry.out_height(),
            width: geometry.out_width(),
            in_channels: out_channels,
            out_channels: in_channels,
            padding: [rows, columns],
            ..geometry
        };
        let source = Source { values: &v.grad, channels: out_channels };
        let filters = (winograd::Filters { weight: &v.weight, turned: true }, None);
        for level in Level::available() {
            let mut out = vec![f32::NAN; v.x.len()];
            winograd::convolve(level, &turned, &[source], filters, Enlarging::NOTHING, &mut out);
            assert_near(&out, &expected, rounding(&turned));
        }
    }
}

/// Sizes for which convolutions choose tiles by themselves.
const CHOSEN: ConvGeometry = ConvGeometry {
    batch: 2,
    height: 30,
    width: 27,
    in_channels: 34,
    out_channels: 132,
    kernel: [3, 3],
    padding: [1, 1],
};

#[test]
fn tiles_are_chosen_joined_activated_and_enlarged() {
    assert!(winograd::pays::<f32>(Level::current(), &CHOSEN));
    assert!(!winograd::pays::<f32>(Level::current(), &ConvGeometry { kernel: [1, 3], ..CHOSEN }));
    let v = values(&CHOSEN, 3);
    let parts = [32, 2].map(|channels| {
        let pixels = v.x.chunks_exact(CHOSEN.in_channels);
        let range = if channels == 32 { 0..32 } else { 32..34 };
        pixels.flat_map(|pixel| &pixel[range.clone()]).copied().collect::<Vec<f32>>()
    });
    let sources =
        [Source { values: &parts[0], channels: 32 }, Source { values: &parts[1], channels: 2 }];
    let mut expected = reference::conv2d(&CHOSEN, &v.x, &v.weight, &v.bias);
    expected.iter_mut().for_each(|value| *value = value.max(0.1 * *value));
    let mut out = vec![f32::NAN; CHOSEN.out_len()];
    conv2d_joined(&CHOSEN, &sources, v.weights(), Activation::LeakyRelu(0.1), &mut out);
    assert_near(&out, &expected, rounding(&CHOSEN));
    let enlarging = Enlarging { factor: 2, slope: 0.1 };
    let mut enlarged = vec![f32::NAN; CHOSEN.out_len()];
    conv2d_enlarging(&CHOSEN, &v.x, v.weights(), enlarging, &mut enlarged);
    assert_eq!(places(&CHOSEN, 2, &enlarged), out, "the same values at other places");
}

#[test]
fn many_bands_and_many_frames_equal_the_definition() {
    let geometry = ConvGeometry {
        batch: 3,
        height: 37,
        width: 70,
        in_channels: 5,
        out_channels: 3,
        kernel: [3, 3],
        padding: [1, 1],
    };
    let v = values(&geometry, 5);
    let expected = reference::conv2d(&geometry, &v.x, &v.weight, &v.bias);
    assert_close("output", &run(&geometry, &v), &expected, Tolerance::all(1e-5));
    let expected = reference::backward(&geometry, &v.x, &v.weight, &v.grad);
    for (actual, expected) in run_backward(&geometry, &v).iter().zip(&expected) {
        assert_close("gradient", actual, expected, Tolerance::all(1e-4));
    }
}

#[test]
fn no_bias_is_a_bias_of_zero() {
    let geometry = ConvGeometry {
        batch: 1,
        height: 4,
        width: 5,
        in_channels: 2,
        out_channels: 3,
        kernel: [3, 3],
        padding: [1, 1],
    };
    let v = Values { bias: vec![0.0; 3], ..values(&geometry, 2) };
    let mut out = vec![f32::NAN; geometry.out_len()];
    conv2d(&geometry, &v.x, ConvWeights { bias: None, ..v.weights() }, &mut out);
    assert_eq!(out, run(&geometry, &v));
}

#[test]
fn the_gradient_does_not_depend_on_the_number_of_threads() {
    let geometry = ConvGeometry {
        batch: 2,
        height: 30,
        width: 100,
        in_channels: 6,
        out_channels: 7,
        kernel: [3, 3],
        padding: [1, 1],
    };
    let v = values(&geometry, 3);
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| (run(&geometry, &v), run_backward(&geometry, &v)))
    };
    assert_eq!(on(1), on(7));
}

#[test]
#[should_panic(expected = "the padding must be smaller than the kernel")]
fn a_padding_as_large_as_the_kernel_is_refused() {
    let geometry = ConvGeometry {
        batch: 1,
        height: 2,
        width: 2,
        in_channels: 1,
        out_channels: 1,
        kernel: [1, 1],
        padding: [1, 0],
    };
    let weights = ConvWeights { weight: &[0.0], bias: None };
    conv2d(&geometry, &[0.0; 4], weights, &mut [0.0; 8]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn gradients_behind_an_activation_are_those_before_it(
        height in 3_usize..9, width in 3_usize..9, parts in [1_usize..4, 1..4],
        outputs in 1_usize..6, leaky: bool, seed: u64,
    ) {
        let geometry = ConvGeometry {
            batch: 2,
            height,
            width,
            in_channels: parts[0] + parts[1],
            out_channels: outputs,
            kernel: [3, 3],
            padding: [1, 1],
        };
        let mut random = Random::new(seed);
        let pixels = 2 * height * width;
        let sources = parts.map(|channels| random.values(pixels * channels, 1.0));
        let weight = random.values(geometry.weight_len(), 1.0);
        let bias = random.values(outputs, 1.0);
        let grad = random.values(geometry.out_len(), 1.0);
        let joined: Vec<f32> = (0..pixels)
            .flat_map(|pixel| [0, 1].map(|i| &sources[i][pixel * parts[i]..][..parts[i]]))
            .flatten()
            .copied()
            .collect();
        let slope = if leaky { 0.1 } else { 0.0 };
        let activation = Activation::LeakyRelu(slope);
        let weights = ConvWeights { weight: &weight, bias: Some(&bias) };
        let mut out = vec![f32::NAN; geometry.out_len()];
        let given = [0, 1].map(|i| Source { values: &sources[i], channels: parts[i] });
        conv2d_joined(&geometry, &given, weights, activation, &mut out);
        let values = ConvValues { sources: &given, weight: &weight, out: &out, grad: &grad };
        let found = conv2d_joined_backward(&geometry, values, activation, [true; 2]);
        let before: Vec<f32> = grad
            .iter()
            .zip(&out)
            .map(|(grad, out)| if *out > 0.0 { *grad } else { slope * grad })
            .collect();
        let (mut gx, mut gw, mut gb) =
            (vec![f32::NAN; joined.len()], vec![f32::NAN; weight.len()], vec![f32::NAN; outputs]);
        let wanted =
            ConvGradients { x: Some(&mut gx), weight: Some(&mut gw), bias: Some(&mut gb) };
        conv2d_backward(&geometry, &joined, &weight, &before, wanted);
        prop_assert_eq!(found.weight, gw);
        prop_assert_eq!(found.bias, gb);
        let total = parts[0] + parts[1];
        for (i, part) in found.sources.iter().enumerate() {
            let first = if i == 0 { 0 } else { parts[0] };
            let expected: Vec<f32> = gx
                .chunks_exact(total)
                .flat_map(|pixel| pixel[first..first + parts[i]].iter().copied())
                .collect();
            prop_assert_eq!(part, &expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn enlarged_outputs_are_where_their_places_are(
        geometry in geometries(), factor in 1_usize..4, slope in 0.0_f32..1.0, seed: u64,
    ) {
        let parts = factor * factor;
        let geometry = ConvGeometry { out_channels: geometry.out_channels * parts, ..geometry };
        let v = values(&geometry, seed);
        let (width, outputs) = (geometry.out_width(), geometry.out_channels);
        for level in Level::available() {
            let mut plain = vec![f32::NAN; geometry.out_len()];
            let mut enlarged = plain.clone();
            let source = Source { values: &v.x, channels: geometry.in_channels };
            let then = Enlarging { factor, slope };
            level.scope(|| {
                conv2d_joined(&geometry, &[source], v.weights(), Activation::None, &mut plain);
                conv2d_enlarging(&geometry, &v.x, v.weights(), then, &mut enlarged);
            });
            for (at, value) in enlarged.iter().enumerate() {
                let channels = outputs / parts;
                let (pixel, channel) = (at / channels, at % channels);
                let (row, x) = (pixel / (width * factor), pixel % (width * factor));
                let place = row / factor * width + x / factor;
                let part = row % factor * factor + x % factor;
                let from = plain[place * outputs + channel * parts + part];
                prop_assert_eq!(*value, if from < 0.0 { from * slope } else { from }, "{}", level);
            }
            // The gradient takes the same way back.
            for (value, plain) in places(&geometry, factor, &enlarged).iter().zip(&plain) {
                prop_assert_eq!(*value, if *plain < 0.0 { plain * slope } else { *plain });
            }
        }
    }
}
