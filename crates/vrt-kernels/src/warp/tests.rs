use proptest::prelude::*;
use vrt_testing::{Fixture, Golden, Random, Tolerance, assert_close};

use super::*;

const MODES: [WarpMode; 3] =
    [WarpMode::BilinearZeros, WarpMode::BilinearBorder, WarpMode::Nearest4];

prop_compose! {
    fn geometries()(
        batch in 1_usize..3, height in 1_usize..20, width in 1_usize..20,
        channels in 1_usize..20, mode in prop::sample::select(&MODES[..]),
    ) -> WarpGeometry {
        WarpGeometry { batch, height, width, channels, mode }
    }
}

/// Flows whose fractions stay away from whole numbers, so that the slope is defined.
fn smooth_flow(random: &mut Random, geometry: &WarpGeometry) -> Vec<f32> {
    let value = |random: &mut Random| random.below(9) as f32 - 4.0 + random.uniform(0.1, 0.9);
    (0..geometry.flow_len()).map(|_| value(random)).collect()
}

fn run(level: Level, geometry: &WarpGeometry, x: &[f32], flow: &[f32]) -> Vec<f32> {
    let mut out = vec![f32::NAN; geometry.out_len()];
    warp_at(level, geometry, x, flow, &mut out);
    out
}

fn run_backward(
    level: Level,
    geometry: &WarpGeometry,
    x: &[f32],
    flow: &[f32],
    grad: &[f32],
) -> [Vec<f32>; 2] {
    let mut grad_x = vec![f32::NAN; x.len()];
    let mut grad_flow = vec![f32::NAN; flow.len()];
    grad_x_at(level, geometry, flow, grad, &mut grad_x);
    grad_flow_at(level, geometry, x, flow, grad, &mut grad_flow);
    [grad_x, grad_flow]
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

proptest! {
    #[test]
    fn every_level_equals_the_definition(geometry in geometries(), seed: u64) {
        let mut random = Random::new(seed);
        let x = random.values(geometry.x_len(), 1.0);
        let flow = random.values(geometry.flow_len(), 6.0);
        let mut expected = vec![0.0; geometry.out_len()];
        reference::warp(&geometry, &x, &flow, &mut expected);
        for level in Level::available() {
            let actual = run(level, &geometry, &x, &flow);
            for (actual, expected) in actual.iter().zip(&expected) {
                // Values are at most 1, weights sum to 1: a handful of roundings of at most 1.
                prop_assert!((actual - expected).abs() <= 8.0 * f32::EPSILON, "{level}");
            }
        }
    }

    #[test]
    fn zero_flow_is_the_identity(geometry in geometries(), seed: u64) {
        let x = Random::new(seed).values(geometry.x_len(), 1.0);
        let out = run(Level::detect(), &geometry, &x, &vec![0.0; geometry.flow_len()]);
        for (out, x) in out.chunks(geometry.out_channels()).zip(x.chunks(geometry.channels)) {
            for out in out.chunks(geometry.channels) {
                prop_assert_eq!(out, x);
            }
        }
    }

    #[test]
    fn a_whole_pixel_flow_is_a_shift(
        geometry in geometries(), seed: u64, dx in -3_i32..4, dy in -3_i32..4,
    ) {
        let geometry = WarpGeometry { mode: WarpMode::BilinearZeros, ..geometry };
        let x = Random::new(seed).values(geometry.x_len(), 1.0);
        let flow: Vec<f32> =
            (0..geometry.flow_len()).map(|i| [dx, dy][i % 2] as f32).collect();
        let out = run(Level::detect(), &geometry, &x, &flow);
        let at = |i: usize, by: i32, size: usize| {
            usize::try_from(i as i32 + by).ok().filter(|i| *i < size)
        };
        for (i, out) in out.chunks(geometry.channels).enumerate() {
            let (frame, row) = (i / geometry.width / geometry.height, i / geometry.width);
            let row = at(row % geometry.height, dy, geometry.height);
            let column = at(i % geometry.width, dx, geometry.width);
            match row.zip(column) {
                Some((row, column)) => {
                    let from = (frame * geometry.height + row) * geometry.width + column;
                    prop_assert_eq!(out, &x[from * geometry.channels..][..geometry.channels]);
                }
                None => prop_assert!(out.iter().all(|v| *v == 0.0)),
            }
        }
    }

    /// The warp is linear in the map, so its gradient is the transposed map: ⟨warp x, g⟩ = ⟨x, grad⟩.
    #[test]
    fn the_gradient_of_the_map_is_the_adjoint(geometry in geometries(), seed: u64) {
        let mut random = Random::new(seed);
        let x = random.values(geometry.x_len(), 1.0);
        let grad = random.values(geometry.out_len(), 1.0);
        let flow = random.values(geometry.flow_len(), 6.0);
        for level in Level::available() {
            let out = run(level, &geometry, &x, &flow);
            let [grad_x, _] = run_backward(level, &geometry, &x, &flow, &grad);
            let bound = 1e-6 * geometry.out_len() as f64;
            prop_assert!((dot(&out, &grad) - dot(&x, &grad_x)).abs() <= bound, "{level}");
        }
    }

    /// Inside a cell the value is linear along each axis, so a difference is the slope.
    #[test]
    fn the_gradient_of_the_flow_is_the_slope(geometry in geometries(), seed: u64) {
        let mut random = Random::new(seed);
        let x = random.values(geometry.x_len(), 1.0);
        let grad = random.values(geometry.out_len(), 1.0);
        let flow = smooth_flow(&mut random, &geometry);
        let slope = |at: usize, along: [f64; 2]| {
            let (column, row) = (at % geometry.width, at / geometry.width % geometry.height);
            let frame = at / geometry.width / geometry.height * geometry.frame_len();
            let px = f64::from(column as f32 + flow[at * 2]);
            let py = f64::from(row as f32 + flow[at * 2 + 1]);
            let read = |step: f64, channel: usize| {
                let (x_at, y_at) = (px + step * along[0], py + step * along[1]);
                reference::read(&geometry, &x[frame..][..geometry.frame_len()], x_at, y_at, channel)
            };
            (0..geometry.out_channels())
                .map(|c| {
                    let grad = f64::from(grad[at * geometry.out_channels() + c]);
                    grad * (read(1e-3, c) - read(-1e-3, c)) / 2e-3
                })
                .sum::<f64>()
        };
        for level in Level::available() {
            let [_, grad_flow] = run_backward(level, &geometry, &x, &flow, &grad);
            for (at, [along_x, along_y]) in grad_flow.as_chunks::<2>().0.iter().enumerate() {
                prop_assert!((f64::from(*along_x) - slope(at, [1.0, 0.0])).abs() < 1e-4);
                prop_assert!((f64::from(*along_y) - slope(at, [0.0, 1.0])).abs() < 1e-4);
            }
        }
    }
}

#[test]
fn a_flow_that_is_no_number_reads_nothing_and_does_not_fail() {
    for (mode, value) in MODES.into_iter().flat_map(|mode| {
        [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, -f32::MAX].map(|v| (mode, v))
    }) {
        let geometry = WarpGeometry { batch: 1, height: 3, width: 4, channels: 2, mode };
        let (x, flow) = (vec![1.0; 24], vec![value; 24]);
        let out = run(Level::detect(), &geometry, &x, &flow);
        let expected = f32::from(u8::from(mode == WarpMode::BilinearBorder));
        assert!(out.iter().all(|out| *out == expected), "{mode:?}, {value}: {out:?}");
        let grad = vec![1.0; geometry.out_len()];
        let [grad_x, grad_flow] = run_backward(Level::detect(), &geometry, &x, &flow, &grad);
        assert_eq!(dot(&grad_x, &x), f64::from(expected) * 24.0, "{mode:?}, {value}");
        assert!(grad_flow.iter().all(|grad| *grad == 0.0), "{mode:?}, {value}");
    }
}

#[test]
fn the_gradient_does_not_depend_on_the_number_of_threads() {
    let geometry = WarpGeometry {
        batch: 2,
        height: 40,
        width: 17,
        channels: 5,
        mode: WarpMode::BilinearZeros,
    };
    let mut random = Random::new(3);
    let x = random.values(geometry.x_len(), 1.0);
    let grad = random.values(geometry.out_len(), 1.0);
    let flow = random.values(geometry.flow_len(), 9.0);
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| run_backward(Level::detect(), &geometry, &x, &flow, &grad))
    };
    assert_eq!(on(1), on(7));
}

#[test]
#[should_panic(expected = "the flow does not have the sizes")]
fn a_flow_of_another_size_is_refused() {
    let mode = WarpMode::Nearest4;
    let geometry = WarpGeometry { batch: 1, height: 2, width: 2, channels: 1, mode };
    warp(&geometry, &[0.0; 4], &[0.0; 6], &mut [0.0; 16]);
}

/// `[n, c, h, w]` → `[n, h, w, c]`.
fn channels_last(golden: &Golden) -> Vec<f32> {
    let [n, c, h, w] = golden.shape[..] else { panic!("not a feature map: {:?}", golden.shape) };
    let mut values = Vec::with_capacity(golden.values.len());
    for pixel in 0..n * h * w {
        let (frame, at) = (pixel / (h * w), pixel % (h * w));
        values.extend((0..c).map(|channel| golden.values[(frame * c + channel) * h * w + at]));
    }
    values
}

#[test]
fn equals_the_published_warp() {
    let names = ["bilinear_zeros", "bilinear_border", "nearest4_zeros"];
    for (name, mode) in names.into_iter().zip(MODES) {
        let Some(golden) = Fixture::try_load(&format!("modules/flow_warp_{name}")) else {
            continue;
        };
        let [batch, channels, height, width] = golden.tensor("in.x").shape[..] else {
            panic!("{name}: not a feature map");
        };
        let geometry = WarpGeometry { batch, height, width, channels, mode };
        let x = channels_last(golden.tensor("in.x"));
        let flow = &golden.tensor("in.flow").values;
        let grad = channels_last(golden.tensor("probe.y"));
        let expected_x = channels_last(golden.tensor("grad.in.x"));
        let expected_flow = &golden.tensor("grad.in.flow").values;
        for level in Level::available() {
            let out = run(level, &geometry, &x, flow);
            let [grad_x, grad_flow] = run_backward(level, &geometry, &x, flow, &grad);
            let of = |what: &str| format!("{name}, {level}: {what}");
            let expected = channels_last(golden.tensor("out.y"));
            assert_close(&of("output"), &out, &expected, Tolerance::all(2e-5));
            assert_close(&of("gradient of x"), &grad_x, &expected_x, Tolerance::all(1e-4));
            let expected = expected_flow;
            assert_close(&of("gradient of the flow"), &grad_flow, expected, Tolerance::all(1e-4));
        }
    }
}
