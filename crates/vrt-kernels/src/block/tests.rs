use proptest::prelude::*;
use vrt_testing::Random;

use super::*;

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
        let affine = |i: usize| Affine { weight: &self.0[2 * i], bias: &self.0[2 * i + 1] };
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

fn check(g: &BlockGeometry, mutual: bool, seed: u64) -> Result<(), TestCaseError> {
    let parameters = Parameters::new(g, mutual, seed);
    let weights = parameters.weights(mutual);
    let values = Random::new(seed ^ 1).values(g.len(), 1.0);
    let expected = reference::block(g, &weights, &values);
    for level in Level::available() {
        let mut actual = values.clone();
        block_at::<f32>(level, g, &weights, Input::Output, &mut actual);
        let mut apart = vec![f32::NAN; values.len()];
        block_at::<f32>(level, g, &weights, Input::Values(&values), &mut apart);
        prop_assert_eq!(&actual, &apart, "in place and not");
        for (at, (actual, expected)) in actual.iter().zip(&expected).enumerate() {
            let close = (f64::from(*actual) - expected).abs() < 5e-5;
            prop_assert!(close, "{level}: value {at} is {actual}, not {expected}");
        }
        // Factors of 8 bits: each product is off by up to 0.4 %.
        let mut rounded = values.clone();
        block_at::<Pair>(level, g, &weights, Input::Output, &mut rounded);
        let error = |(actual, expected): (&f32, &f64)| (f64::from(*actual) - expected).powi(2);
        let errors: f64 = rounded.iter().zip(&expected).map(error).sum();
        let size: f64 = expected.iter().map(|value| value.powi(2)).sum();
        prop_assert!(errors < 1e-4 * size, "{level}: bf16 is off by {}", (errors / size).sqrt());
    }
    Ok(())
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
        pool.install(|| block(&g, &parameters.weights(false), Input::Output, &mut values));
        values
    };
    assert_eq!(run(1), run(3));
}

#[test]
#[should_panic(expected = "the values do not have the sizes")]
fn values_of_another_size_are_refused() {
    let g = geometry([2, 2, 2], [2, 2, 2], false, 1);
    block(&g, &Parameters::new(&g, false, 1).weights(false), Input::Output, &mut [0.0; 7]);
}
