//! A block by its definition, on whole maps, in `f64`.

use super::{Block, BlockGeometry};
use crate::mlp::{Affine, MlpWeights};
use crate::norm::EPSILON;
use crate::window_attention::reference::window_attention;

pub(crate) fn block(block: &Block<'_>, values: &[f32]) -> Vec<f64> {
    let (g, weights) = (block.geometry, block.weights);
    let values: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
    let normal = pad(g, &norm(&weights.norm1, &values));
    let table: Vec<f64> = weights.table.iter().map(|value| f64::from(*value)).collect();
    let qkv = linear(&weights.qkv_self, &normal);
    let own = window_attention(&g.windows, Some(&table), &qkv);
    let attended = match &weights.mutual {
        None => own,
        Some(mutual) => {
            let placed = with_positions(g, mutual.positions, normal);
            let found = window_attention(&g.windows, None, &linear(&mutual.qkv, &placed));
            join([&found, &own], g.windows.channels)
        }
    };
    let attended = crop(g, &linear(&weights.proj, &attended));
    let values = sum(&values, &scaled(block, 0, attended));
    let widened = mlp(&weights.mlp, &norm(&weights.norm2, &values));
    sum(&values, &scaled(block, 1, widened))
}

/// What a branch adds, times its factor for each clip.
fn scaled(block: &Block<'_>, branch: usize, mut values: Vec<f64>) -> Vec<f64> {
    let clip = values.len() / block.geometry.windows.batch;
    for (values, factors) in values.chunks_exact_mut(clip).zip(block.branches) {
        values.iter_mut().for_each(|value| *value *= f64::from(factors[branch]));
    }
    values
}

pub(crate) fn mlp(MlpWeights { fc11, fc12, fc2 }: &MlpWeights<'_>, x: &[f64]) -> Vec<f64> {
    let (gates, values) = (linear(fc11, x), linear(fc12, x));
    let gated: Vec<f64> =
        gates.iter().zip(values).map(|(gate, value)| gelu(*gate) * value).collect();
    linear(fc2, &gated)
}

fn sum(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

pub(crate) fn norm(Affine { weight, bias, .. }: &Affine<'_>, x: &[f64]) -> Vec<f64> {
    let len = weight.len();
    let rows = x.chunks_exact(len).flat_map(|row| {
        let mean = row.iter().sum::<f64>() / len as f64;
        let variance = row.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / len as f64;
        let deviation = (variance + f64::from(EPSILON)).sqrt();
        (0..len)
            .map(move |i| (row[i] - mean) / deviation * f64::from(weight[i]) + f64::from(bias[i]))
    });
    rows.collect()
}

pub(crate) fn linear(Affine { weight, bias, .. }: &Affine<'_>, x: &[f64]) -> Vec<f64> {
    let inputs = weight.len() / bias.len();
    let output = |row: &[f64], o: usize| {
        let products = row.iter().zip(&weight[o * inputs..]).map(|(x, w)| x * f64::from(*w));
        products.sum::<f64>() + f64::from(bias[o])
    };
    x.chunks_exact(inputs)
        .flat_map(|row| (0..bias.len()).map(|o| output(row, o)).collect::<Vec<_>>())
        .collect()
}

/// `x · Φ(x)`, Φ by Simpson's rule on the density.
fn gelu(x: f64) -> f64 {
    const STEPS: usize = 200;
    let density = |t: f64| (-0.5 * t * t).exp() / std::f64::consts::TAU.sqrt();
    let step = x / STEPS as f64;
    let inner = (1..STEPS).map(|i| [2.0, 4.0][i % 2] * density(i as f64 * step)).sum::<f64>();
    x * (0.5 + (density(0.0) + inner + density(x)) * step / 3.0)
}

/// Copies the tokens that both maps have, at their places.
fn resize(from: [usize; 3], to: [usize; 3], channels: usize, values: &[f64]) -> Vec<f64> {
    let clip: usize = from.iter().product::<usize>() * channels;
    let place = |[_, h, w]: [usize; 3], [i, j, k]: [usize; 3]| ((i * h + j) * w + k) * channels;
    let mut out = Vec::new();
    for values in values.chunks_exact(clip) {
        for index in 0..to.iter().product::<usize>() {
            let at = [index / (to[1] * to[2]), index / to[2] % to[1], index % to[2]];
            let inside = at.iter().zip(from).all(|(at, size)| *at < size);
            match inside {
                true => out.extend(&values[place(from, at)..][..channels]),
                false => out.extend(std::iter::repeat_n(0.0, channels)),
            }
        }
    }
    out
}

fn pad(g: &BlockGeometry, values: &[f64]) -> Vec<f64> {
    resize(g.size, g.windows.map, g.windows.channels, values)
}

fn crop(g: &BlockGeometry, values: &[f64]) -> Vec<f64> {
    resize(g.windows.map, g.size, g.windows.channels, values)
}

/// Adds each place's code where the place lies in the map that is not rolled.
fn with_positions(g: &BlockGeometry, positions: &[f32], mut values: Vec<f64>) -> Vec<f64> {
    let (w, channels) = (&g.windows, g.windows.channels);
    let [_, height, width] = w.map;
    for (token, values) in values.chunks_exact_mut(channels).enumerate() {
        let rolled = |at: usize, axis: usize| {
            (at + w.map[axis] - w.shift[axis]) % w.map[axis] % w.window[axis]
        };
        let (row, column) = (rolled(token / width % height, 1), rolled(token % width, 2));
        let code = &positions[(row * w.window[2] + column) * channels..][..channels];
        values.iter_mut().zip(code).for_each(|(value, code)| *value += f64::from(*code));
    }
    values
}

fn join(parts: [&[f64]; 2], channels: usize) -> Vec<f64> {
    let [a, b] = parts.map(|part| part.chunks_exact(channels));
    a.zip(b).flat_map(|(a, b)| a.iter().chain(b).copied()).collect()
}
