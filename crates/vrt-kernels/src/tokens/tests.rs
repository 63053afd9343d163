use proptest::prelude::*;
use vrt_testing::Random;

use super::backward::{gated_mlp_at as mlp_gradients, project_at as project_gradients};
use super::*;
use crate::block::reference;
use crate::slopes;

/// Random layers, each weight and bias.
fn layers(sizes: &[[usize; 2]], seed: u64) -> Vec<[Vec<f32>; 2]> {
    let mut random = Random::new(seed);
    let layer = |[inputs, outputs]: &[usize; 2]| {
        [random.values(inputs * outputs, 0.5), random.values(*outputs, 0.5)]
    };
    sizes.iter().map(layer).collect()
}

fn affine(layer: &[Vec<f32>; 2]) -> Affine<'_> {
    Affine::new(&layer[0], &layer[1])
}

fn exact(values: &[f32]) -> Vec<f64> {
    values.iter().map(|value| f64::from(*value)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_projection_is_norm_layer_and_residual(
        rows in 0_usize..300, inputs in 1_usize..30, outputs in 1_usize..30,
        with_norm: bool, with_residual: bool, seed: u64,
    ) {
        let parts = layers(&[[inputs, outputs], [1, inputs]], seed);
        let mut random = Random::new(seed ^ 1);
        let (x, residual) = (random.values(rows * inputs, 1.0), random.values(rows * outputs, 1.0));
        let projection = Projection {
            norm: with_norm.then(|| affine(&parts[1])),
            layer: affine(&parts[0]),
            residual: with_residual.then_some(residual.as_slice()),
        };
        let seen = match &projection.norm {
            Some(norm) => reference::norm(norm, &exact(&x)),
            None => exact(&x),
        };
        let expected = reference::linear(&projection.layer, &seen);
        for level in Level::available() {
            let mut out = vec![f32::NAN; rows * outputs];
            project_at::<f32>(level, &projection, &x, &mut out);
            for (at, (out, expected)) in out.iter().zip(&expected).enumerate() {
                let residual = if with_residual { f64::from(residual[at]) } else { 0.0 };
                // One input: whatever it is, its norm is the bias, up to what the mean is rounded.
                prop_assert!((f64::from(*out) - expected - residual).abs() < 1e-4, "{level}");
            }
        }
    }

    #[test]
    fn a_gated_mlp_sees_all_its_sources(
        rows in 1_usize..150, parts in proptest::collection::vec(1_usize..12, 1..4),
        hidden in 1_usize..20, outputs in 1_usize..20, seed: u64,
    ) {
        let inputs = parts.iter().sum();
        let weights = layers(&[[inputs, hidden], [inputs, hidden], [hidden, outputs]], seed);
        let weights = MlpWeights {
            fc11: affine(&weights[0]),
            fc12: affine(&weights[1]),
            fc2: affine(&weights[2]),
        };
        let mut random = Random::new(seed ^ 1);
        let values: Vec<_> =
            parts.iter().map(|channels| random.values(rows * channels, 1.0)).collect();
        let sources: Vec<_> = values
            .iter()
            .zip(&parts)
            .map(|(values, channels)| Source { values, channels: *channels })
            .collect();
        let joined: Vec<f64> = (0..rows)
            .flat_map(|row| sources.iter().map(move |source| (row, source)))
            .flat_map(|(row, Source { values, channels })| {
                exact(&values[row * channels..][..*channels])
            })
            .collect();
        let expected = reference::mlp(&weights, &joined);
        for level in Level::available() {
            let mut out = vec![f32::NAN; rows * outputs];
            gated_mlp_at::<f32>(level, &sources, &weights, &mut out);
            for (out, expected) in out.iter().zip(&expected) {
                prop_assert!((f64::from(*out) - expected).abs() < 2e-5, "{level}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn gradients_of_a_projection_are_slopes(
        rows in 1_usize..250, inputs in 2_usize..20, outputs in 1_usize..20,
        with_norm: bool, seed: u64,
    ) {
        let mut random = Random::new(seed);
        let lens =
            [rows * inputs, inputs * outputs, outputs, inputs, inputs, rows * outputs];
        let all = lens.map(|len| random.values(len, 1.0));
        let probe = all[5].clone();
        let values = &all[..if with_norm { 5 } else { 3 }];
        let function = |values: &[Vec<f32>]| {
            let layer = Affine::new(&values[1], &values[2]);
            let seen = match values.get(3..5) {
                Some([weight, bias]) => {
                    reference::norm(&Affine::new(weight, bias), &exact(&values[0]))
                }
                _ => exact(&values[0]),
            };
            slopes::weighted(&reference::linear(&layer, &seen), &probe)
        };
        let projection = Projection {
            norm: with_norm.then(|| Affine::new(&all[3], &all[4])),
            layer: Affine::new(&all[1], &all[2]),
            residual: None,
        };
        for level in Level::available() {
            let found = project_gradients::<f32>(level, &projection, &all[0], &probe);
            let mut grads = vec![found.x];
            grads.extend(found.layer);
            if with_norm {
                grads.extend(found.norm);
            }
            slopes::check(values, &grads, seed, function)?;
        }
    }

    #[test]
    fn gradients_of_a_gated_mlp_are_slopes(
        rows in 1_usize..150, parts in [1_usize..12, 1..12],
        hidden in 1_usize..20, outputs in 1_usize..20, seed: u64,
    ) {
        let mut random = Random::new(seed);
        let inputs = parts[0] + parts[1];
        let lens = [rows * parts[0], rows * parts[1], inputs * hidden, hidden, inputs * hidden];
        let more = [hidden, hidden * outputs, outputs, rows * outputs];
        let mut values: Vec<_> =
            lens.into_iter().chain(more).map(|len| random.values(len, 1.0)).collect();
        let probe = values.pop().expect("the last");
        let weights = |values: &'_ [Vec<f32>]| -> [[Vec<f32>; 2]; 3] {
            [2, 4, 6].map(|i| [values[i].clone(), values[i + 1].clone()])
        };
        let function = |values: &[Vec<f32>]| {
            let layers = weights(values);
            let [fc11, fc12, fc2] = layers.each_ref().map(affine);
            let joined: Vec<f64> = (0..rows)
                .flat_map(|row| [0, 1].map(|i| exact(&values[i][row * parts[i]..][..parts[i]])))
                .flatten()
                .collect();
            let out = reference::mlp(&MlpWeights { fc11, fc12, fc2 }, &joined);
            slopes::weighted(&out, &probe)
        };
        let layers = weights(&values);
        let [fc11, fc12, fc2] = layers.each_ref().map(affine);
        let sources = [0, 1].map(|i| Source { values: &values[i], channels: parts[i] });
        for level in Level::available() {
            let weights = MlpWeights { fc11, fc12, fc2 };
            let (mut grads, layers) = mlp_gradients::<f32>(level, &sources, &weights, &probe);
            grads.extend(layers);
            slopes::check(&values, &grads, seed, function)?;
        }
    }

    #[test]
    fn gradients_of_a_norm_are_slopes(rows in 1_usize..250, len in 2_usize..20, seed: u64) {
        let mut random = Random::new(seed);
        let values = [rows * len, len, len].map(|len| random.values(len, 1.0));
        let probe = random.values(rows * len, 1.0);
        let norm = Affine::new(&values[1], &values[2]);
        let grads = norm_backward(norm, &values[0], &probe);
        slopes::check(&values, &grads, seed, |values| {
            let norm = Affine::new(&values[1], &values[2]);
            slopes::weighted(&reference::norm(&norm, &exact(&values[0])), &probe)
        })?;
    }
}

#[test]
fn a_norm_of_many_tokens_is_that_of_each() {
    let weights = layers(&[[1, 7]], 1);
    let x = Random::new(2).values(500 * 7, 1.0);
    let mut out = vec![f32::NAN; x.len()];
    norm(affine(&weights[0]), &x, &mut out);
    let expected = reference::norm(&affine(&weights[0]), &exact(&x));
    assert!(out.iter().zip(expected).all(|(out, e)| (f64::from(*out) - e).abs() < 1e-5));
}
