use proptest::prelude::*;
use vrt_testing::Random;

use super::*;
use crate::slopes;

/// Size of one axis of the map, its window, the full window, and the shift.
fn axis(size: usize, full: usize, shifted: bool) -> [usize; 4] {
    let window = full.min(size);
    [size, window, full, if shifted && size > full { full / 2 } else { 0 }]
}

/// The geometry that the network takes for a map of `size`.
fn geometry(size: [usize; 3], full: [usize; 3], shifted: bool, batch: usize) -> BlockGeometry {
    let axes: [[usize; 4]; 3] = std::array::from_fn(|i| axis(size[i], full[i], shifted));
    let windows = WindowGeometry {
        batch,
        map: axes.map(|[size, window, ..]| size.next_multiple_of(window)),
        window: axes.map(|axis| axis[1]),
        full_window: full,
        shift: axes.map(|axis| axis[3]),
        heads: 2,
        channels: 6,
    };
    BlockGeometry { windows, size, hidden: 10 }
}

/// Random parameters of a block.
struct Parameters(Vec<Vec<f32>>);

impl Parameters {
    fn new(g: &BlockGeometry, mutual: bool, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let c = g.windows.channels;
        let attended = if mutual { 2 * c } else { c };
        let places = g.windows.tokens() / g.windows.window[0];
        let lens = [
            [c, c],
            [3 * c * c, 3 * c],
            [g.windows.table_len(), places * c],
            [3 * c * c, 3 * c],
            [attended * c, c],
            [c, c],
            [g.hidden * c, g.hidden],
            [g.hidden * c, g.hidden],
            [c * g.hidden, c],
        ];
        Self(lens.as_flattened().iter().map(|len| random.values(*len, 0.8)).collect())
    }

    fn weights(&self, mutual: bool) -> BlockWeights<'_> {
        let affine = |i: usize| Affine::new(&self.0[2 * i], &self.0[2 * i + 1]);
        BlockWeights {
            norm1: affine(0),
            qkv_self: affine(1),
            table: &self.0[4],
            mutual: mutual.then(|| MutualWeights { qkv: affine(3), positions: &self.0[5] }),
            proj: affine(4),
            norm2: affine(5),
            mlp: MlpWeights { fc11: affine(6), fc12: affine(7), fc2: affine(8) },
        }
    }
}

/// None, or what drop path might draw.
fn branches(g: &BlockGeometry, seed: u64) -> Vec<[f32; 2]> {
    let clip = |clip: usize| {
        let drawn = (seed as usize).wrapping_add(clip) % 4;
        [[1.25, 1.25], [0.0, 1.25], [1.25, 0.0], [0.0, 0.0]][drawn]
    };
    let clips = if seed.is_multiple_of(3) { 0 } else { g.windows.batch };
    (0..clips).map(clip).collect()
}

fn check(g: &BlockGeometry, mutual: bool, seed: u64) -> Result<(), TestCaseError> {
    let parameters = Parameters::new(g, mutual, seed);
    let weights = parameters.weights(mutual);
    let values = Random::new(seed ^ 1).values(g.len(), 1.0);
    let branches = branches(g, seed);
    let block = Block { geometry: g, weights: &weights, branches: &branches };
    let expected = reference::block(&block, &values);
    for level in Level::available() {
        let mut actual = values.clone();
        block.forward_at::<f32>(level, Input::Output, &mut actual, &mut []);
        let mut apart = vec![f32::NAN; values.len()];
        block.forward_at::<f32>(level, Input::Values(&values), &mut apart, &mut []);
        prop_assert_eq!(&actual, &apart, "in place and not");
        for (at, (actual, expected)) in actual.iter().zip(&expected).enumerate() {
            let close = (f64::from(*actual) - expected).abs() < 5e-5;
            prop_assert!(close, "{level}: value {at} is {actual}, not {expected}");
        }
        // Factors of 8 bits: each product is off by up to 0.4 %.
        let mut rounded = values.clone();
        block.forward_at::<Pair>(level, Input::Output, &mut rounded, &mut []);
        let error = |(actual, expected): (&f32, &f64)| (f64::from(*actual) - expected).powi(2);
        let errors: f64 = rounded.iter().zip(&expected).map(error).sum();
        let size: f64 = expected.iter().map(|value| value.powi(2)).sum();
        prop_assert!(errors < 1e-4 * size, "{level}: bf16 is off by {}", (errors / size).sqrt());
    }
    Ok(())
}

/// The parameters in the order of their gradients.
const ORDER: [usize; 17] = [0, 1, 2, 3, 4, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 6, 7];

fn check_gradients(g: &BlockGeometry, mutual: bool, seed: u64) -> Result<(), TestCaseError> {
    let mut random = Random::new(seed ^ 2);
    let parameters = Parameters::new(g, mutual, seed);
    let (x, probe) = (random.values(g.len(), 1.0), random.values(g.len(), 1.0));
    let branches = branches(g, seed);
    let count = if mutual { 17 } else { 15 };
    let mut values = vec![x.clone()];
    values.extend(ORDER[..count].iter().map(|index| parameters.0[*index].clone()));
    let function = |values: &[Vec<f32>]| {
        let mut moved = Parameters(parameters.0.clone());
        for (index, values) in ORDER.iter().zip(&values[1..]) {
            moved.0[*index].clone_from(values);
        }
        let weights = moved.weights(mutual);
        let block = Block { geometry: g, weights: &weights, branches: &branches };
        slopes::weighted(&reference::block(&block, &values[0]), &probe)
    };
    let weights = parameters.weights(mutual);
    let block = Block { geometry: g, weights: &weights, branches: &branches };
    for level in Level::available() {
        let mut out = vec![0.0; x.len()];
        let mut found = vec![f32::NAN; g.len() / g.windows.channels * g.attended(mutual)];
        block.forward_at::<f32>(level, Input::Values(&x), &mut out, &mut found);
        for found in [&found[..], &[]] {
            let mut grads = vec![vec![f32::NAN; x.len()]];
            let given = BlockValues { x: &x, found, grad: &probe };
            let of_parameters = block.backward_at::<f32>(level, given, &mut grads[0]);
            grads.extend(of_parameters);
            slopes::check(&values, &grads, seed, function)?;
        }
    }
    Ok(())
}

/// Factors of 8 bits: gradients point where those of 24 bits do.
#[test]
fn gradients_of_bf16_are_near() {
    for mutual in [false, true] {
        let g = geometry([2, 8, 9], [2, 4, 4], true, 1);
        let (parameters, mut random) = (Parameters::new(&g, mutual, 3), Random::new(4));
        let weights = parameters.weights(mutual);
        let block = Block { geometry: &g, weights: &weights, branches: &[] };
        let (x, grad) = (random.values(g.len(), 1.0), random.values(g.len(), 1.0));
        let values = BlockValues { x: &x, found: &[], grad: &grad };
        let mut exact = vec![vec![f32::NAN; x.len()]];
        let of_parameters = block.backward_at::<f32>(Level::detect(), values, &mut exact[0]);
        exact.extend(of_parameters);
        for level in Level::available() {
            let mut rounded = vec![vec![f32::NAN; x.len()]];
            let of_parameters = block.backward_at::<Pair>(level, values, &mut rounded[0]);
            rounded.extend(of_parameters);
            for (index, (rounded, exact)) in rounded.iter().zip(&exact).enumerate() {
                let errors: f32 = rounded.iter().zip(exact).map(|(a, b)| (a - b).powi(2)).sum();
                let size: f32 = exact.iter().map(|value| value.powi(2)).sum();
                let off = (errors / size).sqrt();
                assert!(off < 0.02, "{level}: gradient {index} is off by {off}");
                // The bias of fc2 is a sum of gradients as they came.
                let made = off > 1e-5 || index == 15;
                assert!(made, "{level}: gradient {index} was not made in 8 bits");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn gradients_of_clips_are_slopes(
        d in 1_usize..8, h in 1_usize..8, w in 1_usize..8, full in [1_usize..7, 1..5, 1..5],
        shifted: bool, batch in 1_usize..3, seed: u64,
    ) {
        check_gradients(&geometry([d, h, w], full, shifted, batch), false, seed)?;
    }

    #[test]
    fn gradients_of_pairs_are_slopes(
        d in 2_usize..5, h in 1_usize..8, w in 1_usize..8, full in [1_usize..6, 1..6],
        shifted: bool, batch in 1_usize..3, seed: u64,
    ) {
        let full = [2, full[0], full[1]];
        check_gradients(&geometry([d, h, w], full, shifted, batch), true, seed)?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn clips_of_any_size_equal_the_definition(
        d in 1_usize..14, h in 1_usize..12, w in 1_usize..12, full in [1_usize..7, 1..5, 1..5],
        shifted: bool, batch in 1_usize..3, seed: u64,
    ) {
        check(&geometry([d, h, w], full, shifted, batch), false, seed)?;
    }

    #[test]
    fn pairs_of_any_size_equal_the_definition(
        d in 2_usize..6, h in 1_usize..12, w in 1_usize..12, full in [1_usize..6, 1..6],
        shifted: bool, batch in 1_usize..3, seed: u64,
    ) {
        let full = [2, full[0], full[1]];
        check(&geometry([d, h, w], full, shifted, batch), true, seed)?;
    }
}

#[test]
fn the_published_window_equals_the_definition_and_the_number_of_threads_does_not_matter() {
    let g = geometry([6, 16, 8], [6, 8, 8], true, 1);
    check(&g, false, 5).expect("the definition");
    let parameters = Parameters::new(&g, false, 5);
    let values = Random::new(6).values(g.len(), 1.0);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        let mut values = values.clone();
        let weights = parameters.weights(false);
        let block = Block { geometry: &g, weights: &weights, branches: &[] };
        let mut grad_x = vec![f32::NAN; values.len()];
        let before = BlockValues { x: &values.clone(), found: &[], grad: &values.clone() };
        let grads = pool.install(|| block.backward(before, &mut grad_x));
        pool.install(|| block.forward(Input::Output, &mut values, &mut []));
        (values, grad_x, grads)
    };
    assert_eq!(run(1), run(3));
}

#[test]
#[should_panic(expected = "the values do not have the sizes")]
fn values_of_another_size_are_refused() {
    let g = geometry([2, 2, 2], [2, 2, 2], false, 1);
    let parameters = Parameters::new(&g, false, 1);
    let weights = parameters.weights(false);
    let block = Block { geometry: &g, weights: &weights, branches: &[] };
    block.forward(Input::Output, &mut [0.0; 7], &mut []);
}
