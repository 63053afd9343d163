use proptest::prelude::*;
use vrt_testing::Random;

use super::*;

/// Sizes and shift of one axis: `[map, window, full window, shift]`.
fn axis(window: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = [usize; 4]> {
    (window, 1_usize..4, 0_usize..2, 0_usize..4).prop_map(|(window, windows, more, shift)| {
        // A window over the whole axis is never shifted in the network; here it may be.
        [window * windows, window, window + more, shift % window]
    })
}

fn geometry_of(axes: [[usize; 4]; 3], batch: usize, heads: usize, depth: usize) -> WindowGeometry {
    let part = |index: usize| axes.map(|axis| axis[index]);
    WindowGeometry {
        batch,
        map: part(0),
        window: part(1),
        full_window: part(2),
        shift: part(3),
        heads,
        channels: heads * depth,
    }
}

prop_compose! {
    fn self_geometries()(
        axes in [axis(1..=3), axis(1..=4), axis(1..=4)],
        batch in 1_usize..3, heads in 1_usize..4, depth in 1_usize..6,
    ) -> WindowGeometry {
        geometry_of(axes, batch, heads, depth)
    }
}

prop_compose! {
    fn mutual_geometries()(
        axes in [axis(2..=2), axis(1..=4), axis(1..=4)],
        batch in 1_usize..3, heads in 1_usize..4, depth in 1_usize..6,
    ) -> WindowGeometry {
        geometry_of(axes, batch, heads, depth)
    }
}

struct Values {
    qkv: Vec<f32>,
    table: Vec<f32>,
    grad: Vec<f32>,
}

impl Values {
    fn new(geometry: &WindowGeometry, seed: u64) -> Self {
        let mut random = Random::new(seed);
        Self {
            qkv: random.values(geometry.qkv_len(), 1.5),
            table: random.values(geometry.table_len(), 1.5),
            grad: random.values(geometry.out_len(), 1.0),
        }
    }

    fn kind(&self, mutual: bool) -> Attention<'_> {
        if mutual { Attention::Mutual } else { Attention::SelfBiased { table: &self.table } }
    }
}

fn run(level: Level, geometry: &WindowGeometry, kind: Attention<'_>, qkv: &[f32]) -> Vec<f32> {
    let mut out = vec![f32::NAN; geometry.out_len()];
    forward_at(level, geometry, kind, qkv, &mut out);
    out
}

/// Gradients of qkv and, for self attention, of the table.
fn run_backward(
    level: Level,
    geometry: &WindowGeometry,
    kind: Attention<'_>,
    v: &Values,
) -> [Vec<f32>; 2] {
    let mut qkv = vec![f32::NAN; v.qkv.len()];
    let mut table = vec![f32::NAN; v.table.len()];
    let wanted = WindowGradients {
        qkv: Some(&mut qkv),
        table: matches!(kind, Attention::SelfBiased { .. }).then_some(table.as_mut_slice()),
    };
    backward_at(level, geometry, kind, [&v.qkv, &v.grad], wanted);
    [qkv, table]
}

fn exact(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| f64::from(*value)).collect()
}

fn check_forward(geometry: &WindowGeometry, mutual: bool, seed: u64) -> Result<(), TestCaseError> {
    let v = Values::new(geometry, seed);
    let kind = v.kind(mutual);
    let table = reference::table(kind);
    let expected = reference::window_attention(geometry, table.as_deref(), &exact(&v.qkv));
    for level in Level::available() {
        for (actual, expected) in run(level, geometry, kind, &v.qkv).iter().zip(&expected) {
            prop_assert!((f64::from(*actual) - expected).abs() < 5e-6, "{level}");
        }
    }
    Ok(())
}

fn check_backward(geometry: &WindowGeometry, mutual: bool, seed: u64) -> Result<(), TestCaseError> {
    let v = Values::new(geometry, seed);
    let kind = v.kind(mutual);
    let mut random = Random::new(seed ^ 1);
    let inputs = [exact(&v.qkv), reference::table(kind).unwrap_or_default()];
    let loss = |[qkv, table]: &[Vec<f64>; 2]| {
        let table = (!mutual).then_some(table.as_slice());
        let out = reference::window_attention(geometry, table, qkv);
        out.iter().zip(&v.grad).map(|(out, grad)| out * f64::from(*grad)).sum::<f64>()
    };
    for level in Level::available() {
        let grads = run_backward(level, geometry, kind, &v);
        for (part, grad) in grads.iter().enumerate().take(2 - usize::from(mutual)) {
            for _ in 0..3 {
                let at = random.below(grad.len());
                let along = |step: f64| {
                    let mut moved = inputs.clone();
                    moved[part][at] += step;
                    loss(&moved)
                };
                let slope = (along(1e-4) - along(-1e-4)) / 2e-4;
                prop_assert!((f64::from(grad[at]) - slope).abs() < 2e-5, "{level}, {part}, {at}");
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn self_attention_equals_the_definition(geometry in self_geometries(), seed: u64) {
        check_forward(&geometry, false, seed)?;
    }

    #[test]
    fn mutual_attention_equals_the_definition(geometry in mutual_geometries(), seed: u64) {
        check_forward(&geometry, true, seed)?;
    }

    #[test]
    fn equal_values_are_their_own_mean(geometry in self_geometries(), seed: u64) {
        let mut v = Values::new(&geometry, seed);
        for token in v.qkv.chunks_exact_mut(3 * geometry.channels) {
            let values = token[2 * geometry.channels..].iter_mut().enumerate();
            values.for_each(|(channel, value)| *value = channel as f32);
        }
        let out = run(Level::detect(), &geometry, v.kind(false), &v.qkv);
        for (i, out) in out.iter().enumerate() {
            let expected = (i % geometry.channels) as f32;
            prop_assert!((out - expected).abs() <= 1e-6 * expected);
        }
    }

    /// What a frame's queries find does not depend on the order of the other frame's tokens.
    #[test]
    fn the_order_of_keys_does_not_matter(
        height in 1_usize..6, width in 1_usize..6, by in 1_usize..25, seed: u64,
    ) {
        let axes = [[2, 2, 2, 0], [height, height, height, 0], [width, width, width, 0]];
        let geometry = geometry_of(axes, 1, 2, 3);
        let mut v = Values::new(&geometry, seed);
        let before = run(Level::detect(), &geometry, Attention::Mutual, &v.qkv);
        let (first_frame, _) = v.qkv.split_at_mut(geometry.qkv_len() / 2);
        let by = by % (height * width) * 3 * geometry.channels;
        first_frame.rotate_left(by);
        let after = run(Level::detect(), &geometry, Attention::Mutual, &v.qkv);
        // The first half is what the second frame's queries find in the first frame.
        for (before, after) in before.iter().zip(&after).take(geometry.out_len() / 2) {
            prop_assert!((before - after).abs() < 1e-6);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn gradients_of_self_attention_are_slopes(geometry in self_geometries(), seed: u64) {
        check_backward(&geometry, false, seed)?;
    }

    #[test]
    fn gradients_of_mutual_attention_are_slopes(geometry in mutual_geometries(), seed: u64) {
        check_backward(&geometry, true, seed)?;
    }
}

/// The window of a real network on a map of several windows.
fn real() -> WindowGeometry {
    geometry_of([[6, 6, 6, 0], [16, 8, 8, 4], [24, 8, 8, 4]], 1, 2, 5)
}

#[test]
fn the_window_of_a_real_network_equals_the_definition() {
    check_forward(&real(), false, 7).unwrap();
    let axes = [[4, 2, 2, 1], [8, 8, 8, 0], [16, 8, 8, 4]];
    check_forward(&geometry_of(axes, 2, 3, 4), true, 8).unwrap();
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let geometry = real();
    let v = Values::new(&geometry, 3);
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let (level, kind) = (Level::detect(), v.kind(false));
        pool.install(|| {
            let out = run(level, &geometry, kind, &v.qkv);
            (out, run_backward(level, &geometry, kind, &v))
        })
    };
    assert_eq!(on(1), on(7));
}

#[test]
fn a_table_alone_gets_its_gradient() {
    let geometry = real();
    let v = Values::new(&geometry, 4);
    let mut table = vec![f32::NAN; v.table.len()];
    let wanted = WindowGradients { qkv: None, table: Some(&mut table) };
    window_attention_backward(&geometry, v.kind(false), &v.qkv, &v.grad, wanted);
    assert_eq!(table, run_backward(Level::current(), &geometry, v.kind(false), &v)[1]);
}

#[test]
fn a_shrunken_window_uses_the_corner_of_the_full_index() {
    let full = geometry_of([[2, 2, 2, 0], [3, 3, 3, 0], [4, 4, 4, 0]], 1, 1, 1);
    let short = geometry_of([[1, 1, 2, 0], [2, 2, 3, 0], [3, 3, 4, 0]], 1, 1, 1);
    let (full_index, n) = (full.relative_index(), full.tokens());
    let corner: Vec<usize> = (0..short.tokens())
        .flat_map(|row| full_index[row * n..][..short.tokens()].to_vec())
        .collect();
    assert_eq!(short.relative_index(), corner);
    // Token 4 of the full window is (0, 1, 0) and token 3 is (0, 0, 3): the distances are 0, 1 and
    // −3, counted from 1, 2 and 3, in a table of 3 × 5 × 7 rows.
    assert_eq!(full_index[4 * n + 3], (5 + 3) * 7);
}

#[test]
fn there_are_regions_only_where_the_map_is_rolled() {
    assert_eq!(geometry_of([[2, 2, 2, 0]; 3], 1, 1, 1).regions(), None);
    let row = geometry_of([[1, 1, 1, 0], [1, 1, 1, 0], [6, 3, 3, 1]], 1, 1, 1);
    assert_eq!(row.regions(), Some(vec![0, 0, 0, 1, 1, 2]));
}

#[test]
#[should_panic(expected = "the window does not divide the map")]
fn a_window_that_does_not_divide_the_map_is_refused() {
    let geometry = geometry_of([[3, 2, 2, 0], [2, 2, 2, 0], [2, 2, 2, 0]], 1, 1, 1);
    window_attention(&geometry, Attention::Mutual, &[0.0; 36], &mut [0.0; 12]);
}

#[test]
#[should_panic(expected = "mutual attention needs windows of two frames")]
fn mutual_attention_of_one_frame_is_refused() {
    let geometry = geometry_of([[1, 1, 1, 0], [2, 2, 2, 0], [2, 2, 2, 0]], 1, 1, 1);
    window_attention(&geometry, Attention::Mutual, &[0.0; 12], &mut [0.0; 4]);
}
