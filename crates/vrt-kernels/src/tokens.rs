//! Layers that see one token at a time, with what stands around them in the network: a norm before,
//! a residual behind, inputs that are joined on the way.

use crate::conv::Source;
use crate::element::{Element, Pair};
use crate::level::Level;
use crate::mlp::{Affine, MLP_ROWS, MlpWeights, PackedMlp};
use crate::norm::normalise;
use crate::parallel::{for_each_part, with_kept, with_scratch};
use crate::precision::Precision;

mod backward;
#[cfg(test)]
mod tests;

pub use backward::{ProjectionGradients, gated_mlp_backward, norm_backward, project_backward};

/// Tokens that one task computes.
const TASK_ROWS: usize = 4 * MLP_ROWS;

/// A linear layer and what stands around it.
#[derive(Clone, Copy, Debug)]
pub struct Projection<'a> {
    /// Weight and bias of a norm before the layer.
    pub norm: Option<Affine<'a>>,
    /// The layer.
    pub layer: Affine<'a>,
    /// What is added to its output, of the output's size.
    pub residual: Option<&'a [f32]>,
}

/// `out = residual + layer(norm(x))` for tokens of `x`, in [`Precision::current`].
///
/// # Panics
///
/// Panics if the sizes do not fit each other.
pub fn project(projection: &Projection<'_>, x: &[f32], out: &mut [f32]) {
    let level = Level::current();
    match Precision::current() {
        Precision::F32 | Precision::F16 => project_at::<f32>(level, projection, x, out),
        Precision::Bf16 => project_at::<Pair>(level, projection, x, out),
    }
}

impl Projection<'_> {
    /// Panics unless the sizes fit; gives the number of tokens.
    fn check(&self, x: &[f32], out: &[f32]) -> usize {
        let Self { norm, layer, residual } = *self;
        let outputs = layer.bias.len();
        assert!(
            outputs > 0 && out.len().is_multiple_of(outputs),
            "project: the output does not fit"
        );
        let rows = out.len() / outputs;
        let inputs = layer.weight.len() / outputs;
        layer.check("project", [inputs, outputs]);
        assert_eq!(x.len(), rows * inputs, "project: {rows} tokens of {inputs} values");
        let fits = |values: &[f32], len: usize| assert_eq!(values.len(), len, "project: a slice");
        residual.inspect(|residual| fits(residual, out.len()));
        norm.inspect(|norm| fits(norm.weight, inputs));
        norm.inspect(|norm| fits(norm.bias, inputs));
        rows
    }
}

fn project_at<E: Element>(level: Level, projection: &Projection<'_>, x: &[f32], out: &mut [f32]) {
    let rows = projection.check(x, out);
    let Projection { norm, layer, residual } = *projection;
    let (inputs, outputs) = (x.len() / rows.max(1), layer.bias.len());
    let packed = layer.packed::<E>(level);
    for_each_part(out, TASK_ROWS * outputs, |task, out| {
        let (rows, first) = (out.len() / outputs, task * TASK_ROWS);
        let x = &x[first * inputs..][..rows * inputs];
        let normal = if norm.is_some() { x.len() } else { 0 };
        with_scratch([normal], |[normal]| {
            let x = match norm {
                Some(norm) => {
                    normalise(level, x, norm.weight, norm.bias, normal);
                    &*normal
                }
                None => x,
            };
            with_kept(E::kept(), [packed.rounded_len(rows)], |[rounded]| {
                packed.apply_dense(x, rounded, out);
            });
        });
        if let Some(residual) = residual {
            let residual = &residual[first * outputs..];
            out.iter_mut().zip(residual).for_each(|(out, value)| *out += value);
        }
    });
}

/// Layer norm of the tokens of `x`, as long as its weight and bias.
///
/// # Panics
///
/// Panics if the sizes do not fit each other.
pub fn norm(weights: Affine<'_>, x: &[f32], out: &mut [f32]) {
    let len = weights.bias.len();
    assert!(
        len > 0 && weights.weight.len() == len && x.len().is_multiple_of(len),
        "norm: {} values for tokens of {len}",
        x.len()
    );
    assert_eq!(x.len(), out.len(), "norm: the input and the output differ in size");
    let level = Level::current();
    for_each_part(out, TASK_ROWS * len, |task, out| {
        let x = &x[task * TASK_ROWS * len..][..out.len()];
        normalise(level, x, weights.weight, weights.bias, out);
    });
}

/// The gated MLP of tokens whose values are those of all `sources`, one behind the other, in
/// [`Precision::current`].
///
/// # Panics
///
/// Panics if the sizes do not fit each other.
pub fn gated_mlp(sources: &[Source<'_>], weights: &MlpWeights<'_>, out: &mut [f32]) {
    let level = Level::current();
    match Precision::current() {
        Precision::F32 | Precision::F16 => gated_mlp_at::<f32>(level, sources, weights, out),
        Precision::Bf16 => gated_mlp_at::<Pair>(level, sources, weights, out),
    }
}

fn gated_mlp_at<E: Element>(
    level: Level,
    sources: &[Source<'_>],
    weights: &MlpWeights<'_>,
    out: &mut [f32],
) {
    let (inputs, _) = check_mlp(sources, weights, out.len());
    let outputs = weights.fc2.bias.len();
    let packed = PackedMlp::<E>::new(level, weights);
    for_each_part(out, MLP_ROWS * outputs, |task, out| {
        let rows = out.len() / outputs;
        let lens = [rows * inputs, packed.scratch_len()];
        with_scratch(lens, |[joined, scratch]| {
            join(sources, task * MLP_ROWS, inputs, joined);
            with_kept(E::kept(), [packed.rounded_len(MLP_ROWS)], |[rounded]| {
                packed.forward(joined, scratch, rounded, out);
            });
        });
    });
}

/// Panics unless the sizes fit an output of so many values; gives the values of an input and the
/// number of tokens.
fn check_mlp(sources: &[Source<'_>], weights: &MlpWeights<'_>, out: usize) -> (usize, usize) {
    let (hidden, outputs) = (weights.fc11.bias.len(), weights.fc2.bias.len());
    let inputs = sources.iter().map(|source| source.channels).sum();
    weights.check("gated_mlp", [inputs, hidden, outputs]);
    let rows = out / outputs;
    for Source { values, channels } in sources {
        assert_eq!(values.len(), rows * channels, "gated_mlp: {rows} tokens of {channels} values");
    }
    (inputs, rows)
}

/// Copies the tokens from `first` on of all sources to `out`, token by token.
fn join(sources: &[Source<'_>], first: usize, inputs: usize, out: &mut [f32]) {
    let mut start = 0;
    for Source { values, channels } in sources {
        let tokens = values[first * channels..].chunks_exact(*channels);
        for (out, token) in out.chunks_exact_mut(inputs).zip(tokens) {
            out[start..start + channels].copy_from_slice(token);
        }
        start += channels;
    }
}
