//! The gradients of layers that see one token at a time. Runs of tokens have sums of their own, which
//! are added in order, so that results do not depend on the number of threads.

use std::ops::Range;

use super::{Projection, join};
use crate::conv::Source;
use crate::element::{Element, Pair};
use crate::level::Level;
use crate::mlp::{Affine, MlpBuffers, MlpSums, MlpWeights, PackedMlpBackward};
use crate::norm::{NormSums, add_gradients, normalise};
use crate::outer::LayerSums;
use crate::parallel::{SharedOutput, sum_parts, with_kept, with_scratch, zeros};
use crate::precision::Precision;
use crate::product::Packed;

/// Runs of tokens, each with sums of its own.
const RUNS: usize = 16;
/// Tokens that are held at a time: whole tiles of every level's products.
const ROWS: usize = 96;

/// Calls `work` on ranges of at most [`ROWS`] of `rows` tokens and gives the sums that it adds to,
/// one for each of `lens`.
fn sum_rows<const N: usize>(
    rows: usize,
    lens: [usize; N],
    work: impl Fn(Range<usize>, [&mut [f32]; N]) + Sync,
) -> [Vec<f32>; N] {
    let mut sums = vec![0.0; lens.iter().sum()];
    let blocks = rows.div_ceil(ROWS);
    let runs = blocks.min(RUNS);
    sum_parts(&mut sums, runs, |run, sum| {
        for block in run * blocks / runs..(run + 1) * blocks / runs {
            let mut rest = &mut *sum;
            let parts = lens.map(|len| {
                let (part, after) = std::mem::take(&mut rest).split_at_mut(len);
                rest = after;
                part
            });
            work(block * ROWS..rows.min((block + 1) * ROWS), parts);
        }
    });
    let mut rest = &sums[..];
    lens.map(|len| {
        let (part, after) = rest.split_at(len);
        rest = after;
        part.to_vec()
    })
}

/// The gradients of [`project`](super::project): of the input, the layer and the norm; that of the
/// residual is that of the output.
#[derive(Clone, Debug, Default)]
pub struct ProjectionGradients {
    /// Of the input.
    pub x: Vec<f32>,
    /// Of the layer's weight and bias.
    pub layer: [Vec<f32>; 2],
    /// Of the norm's weight and bias; empty where there is none.
    pub norm: [Vec<f32>; 2],
}

/// The gradients of [`project`](super::project) from `grad`, that of the output, in
/// [`Precision::current`].
///
/// # Panics
///
/// Panics if the sizes do not fit each other.
pub fn project_backward(
    projection: &Projection<'_>,
    x: &[f32],
    grad: &[f32],
) -> ProjectionGradients {
    let level = Level::current();
    match Precision::current() {
        Precision::F32 | Precision::F16 => project_at::<f32>(level, projection, x, grad),
        Precision::Bf16 => project_at::<Pair>(level, projection, x, grad),
    }
}

pub(super) fn project_at<E: Element>(
    level: Level,
    projection: &Projection<'_>,
    x: &[f32],
    grad: &[f32],
) -> ProjectionGradients {
    let (layer, rows) = (projection.layer, projection.check(x, grad));
    let (inputs, outputs) = (x.len() / rows.max(1), layer.bias.len());
    let back: Packed<E> = Packed::matrix(level, layer.weight, [outputs, inputs], None);
    let mut grad_x = zeros(x.len());
    let shared = SharedOutput::new(&mut grad_x);
    let of_norm = projection.norm.map_or(0, |norm| norm.weight.len());
    let lens = [layer.weight.len(), outputs, of_norm, of_norm];
    let sums = sum_rows(rows, lens, |range, [weight, bias, norm_weight, norm_bias]| {
        let x = &x[range.start * inputs..range.end * inputs];
        let grad = &grad[range.start * outputs..range.end * outputs];
        let mut sums = LayerSums { weight, bias };
        with_scratch([x.len(), x.len(), x.len()], |[normal, grad_normal, grad_x]| {
            with_kept(E::kept(), [back.rounded_len(range.len())], |[rounded]| {
                back.apply_dense(grad, rounded, grad_normal);
            });
            let grad_x = match projection.norm {
                None => {
                    sums.add::<E>(level, grad, x);
                    &*grad_normal
                }
                Some(norm) => {
                    normalise(level, x, norm.weight, norm.bias, normal);
                    sums.add::<E>(level, grad, normal);
                    let mut sums = NormSums { weight: norm_weight, bias: norm_bias };
                    grad_x.fill(0.0);
                    add_gradients(level, x, norm.weight, grad_normal, grad_x, &mut sums);
                    &*grad_x
                }
            };
            // SAFETY: ranges do not overlap, so no other task writes here.
            unsafe { shared.write(range.start * inputs, grad_x) };
        });
    });
    let [weight, bias, norm_weight, norm_bias] = sums;
    ProjectionGradients { x: grad_x, layer: [weight, bias], norm: [norm_weight, norm_bias] }
}

/// The gradients of [`norm`](super::norm) from `grad`, that of the output: of the input, the weight
/// and the bias.
///
/// # Panics
///
/// Panics if the sizes do not fit each other.
pub fn norm_backward(weights: Affine<'_>, x: &[f32], grad: &[f32]) -> [Vec<f32>; 3] {
    let len = weights.weight.len();
    assert!(len > 0 && x.len().is_multiple_of(len), "norm: {} values", x.len());
    assert_eq!(x.len(), grad.len(), "norm: the input and the gradient differ in size");
    let level = Level::current();
    let mut grad_x = zeros(x.len());
    let shared = SharedOutput::new(&mut grad_x);
    let sums = sum_rows(x.len() / len, [len, len], |range, [weight, bias]| {
        let range = range.start * len..range.end * len;
        let mut sums = NormSums { weight, bias };
        with_scratch([range.len()], |[grad_x]| {
            grad_x.fill(0.0);
            let (x, grad) = (&x[range.clone()], &grad[range.clone()]);
            add_gradients(level, x, weights.weight, grad, grad_x, &mut sums);
            // SAFETY: ranges do not overlap, so no other task writes here.
            unsafe { shared.write(range.start, grad_x) };
        });
    });
    let [weight, bias] = sums;
    [grad_x, weight, bias]
}

/// The gradients of [`gated_mlp`](super::gated_mlp) from `grad`, that of the output, in
/// [`Precision::current`]: of each source, and of weight and bias of fc11, fc12 and fc2.
///
/// # Panics
///
/// Panics if the sizes do not fit each other.
pub fn gated_mlp_backward(
    sources: &[Source<'_>],
    weights: &MlpWeights<'_>,
    grad: &[f32],
) -> (Vec<Vec<f32>>, [Vec<f32>; 6]) {
    let level = Level::current();
    match Precision::current() {
        Precision::F32 | Precision::F16 => gated_mlp_at::<f32>(level, sources, weights, grad),
        Precision::Bf16 => gated_mlp_at::<Pair>(level, sources, weights, grad),
    }
}

pub(super) fn gated_mlp_at<E: Element>(
    level: Level,
    sources: &[Source<'_>],
    weights: &MlpWeights<'_>,
    grad: &[f32],
) -> (Vec<Vec<f32>>, [Vec<f32>; 6]) {
    let (inputs, rows) = super::check_mlp(sources, weights, grad.len());
    let outputs = weights.fc2.bias.len();
    let packed = PackedMlpBackward::<E>::new(level, weights);
    let mut found: Vec<_> = sources.iter().map(|source| zeros(source.values.len())).collect();
    let shared: Vec<_> = found.iter_mut().map(|values| SharedOutput::new(values)).collect();
    let MlpWeights { fc11, fc12, fc2 } = weights;
    let [a, b, c] = [fc11, fc12, fc2].map(|layer| [layer.weight.len(), layer.bias.len()]);
    let lens = [a[0], a[1], b[0], b[1], c[0], c[1]];
    let sums =
        sum_rows(rows, lens, |range, [weight11, bias11, weight12, bias12, weight2, bias2]| {
            let mut sums = MlpSums {
                fc11: LayerSums { weight: weight11, bias: bias11 },
                fc12: LayerSums { weight: weight12, bias: bias12 },
                fc2: LayerSums { weight: weight2, bias: bias2 },
            };
            let len = range.len() * inputs;
            with_scratch([len, len, packed.hidden_len()], |[x, grad_x, hidden]| {
                join(sources, range.start, inputs, x);
                let grad = &grad[range.start * outputs..range.end * outputs];
                with_kept(E::kept(), [packed.rounded_len()], |[rounded]| {
                    packed.rows([x, grad], MlpBuffers { hidden, rounded }, grad_x, &mut sums);
                });
                let mut first = 0;
                for (source, shared) in sources.iter().zip(&shared) {
                    for (token, row) in range.clone().zip(grad_x.chunks_exact(inputs)) {
                        let row = &row[first..first + source.channels];
                        // SAFETY: ranges do not overlap, so no other task writes here.
                        unsafe { shared.write(token * source.channels, row) };
                    }
                    first += source.channels;
                }
            });
        });
    (found, sums)
}
