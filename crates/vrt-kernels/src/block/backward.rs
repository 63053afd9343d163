//! The gradients of an attention block, window by window: what is in between is computed again from
//! the block's input, while the window is in the core's own cache.

use super::{Block, BlockGeometry, Input, Plan, Window};
use super::{add, gather, keep_inside, scatter, spread};
use crate::element::Pair;
use crate::level::Level;
use crate::mlp::{MlpBuffers, MlpSums, PackedMlpBackward};
use crate::norm::{NormSums, add_gradients, normalise};
use crate::outer::LayerSums;
use crate::parallel::{SharedOutput, sum_parts, with_kept, with_scratch};
use crate::precision::Precision;
use crate::product::Packed;
use crate::window_attention::{BiasLayout, Columns, Found, Probability, Sinks};

/// Runs of windows that the work is cut into, each with sums of its own.
const RUNS: usize = 16;

/// What the gradients of a block are computed from.
#[derive(Clone, Copy, Debug)]
pub struct BlockValues<'a> {
    /// The input.
    pub x: &'a [f32],
    /// What attention found, as [`Block::forward`] wrote it; empty to find it again.
    pub found: &'a [f32],
    /// The gradient of the output.
    pub grad: &'a [f32],
}

impl BlockGeometry {
    /// Values of each parameter, in the order that [`Block::backward`] gives gradients in.
    pub fn parameters(&self, mutual: bool) -> Vec<usize> {
        let (c, hidden, attended) = (self.windows.channels, self.hidden, self.attended(mutual));
        let mut lens = vec![c, c, 3 * c * c, 3 * c, self.windows.table_len()];
        lens.extend([attended * c, c, c, c]);
        lens.extend([hidden * c, hidden, hidden * c, hidden, c * hidden, c]);
        if mutual {
            lens.extend([3 * c * c, 3 * c]);
        }
        lens
    }
}

impl Block<'_> {
    /// Writes the gradient of the input to `grad_x` and gives those of the parameters: weight and
    /// bias of norm1 and of qkv_self, the table, weight and bias of proj, norm2, fc11, fc12 and
    /// fc2, and of the queries, keys and values of mutual attention where there is one.
    ///
    /// The result does not depend on the number of threads. Products are those of
    /// [`Precision::current`].
    ///
    /// # Panics
    ///
    /// Panics if a slice does not have the length that the geometry says.
    pub fn backward(&self, values: BlockValues<'_>, grad_x: &mut [f32]) -> Vec<Vec<f32>> {
        let level = Level::current();
        match Precision::current() {
            Precision::F32 | Precision::F16 => self.backward_at::<f32>(level, values, grad_x),
            Precision::Bf16 => self.backward_at::<Pair>(level, values, grad_x),
        }
    }

    pub(super) fn backward_at<E: Probability>(
        &self,
        level: Level,
        values: BlockValues<'_>,
        grad_x: &mut [f32],
    ) -> Vec<Vec<f32>> {
        self.check(grad_x.len());
        let lens = [values.x.len(), values.grad.len()];
        assert_eq!(lens, [grad_x.len(); 2], "block: values and gradients differ in size");
        self.check_found(values.found.len());
        let backward = Backward::<E>::new(level, *self);
        let output = SharedOutput::new(grad_x);
        let windows = self.windows();
        let runs = windows.clamp(1, RUNS);
        let mut sums = vec![0.0; backward.lens.iter().sum()];
        let layout = BiasLayout::new(&self.geometry.windows);
        sum_parts(&mut sums, runs, |run, sum| {
            let mut sums = Sums::of(sum, &backward.lens);
            // The bias's gradient is large beside its table's: only the latter meets other runs'.
            with_scratch([layout.len()], |[bias]| {
                bias.fill(0.0);
                for window in run * windows / runs..(run + 1) * windows / runs {
                    backward.window(window, values, &output, (&mut sums, &mut *bias));
                }
                layout.fold(&self.geometry.windows, bias, sums.table);
            });
        });
        let mut rest = &sums[..];
        let of_parameter = |len: &usize| {
            let (own, behind) = rest.split_at(*len);
            rest = behind;
            own.to_vec()
        };
        backward.lens.iter().map(of_parameter).collect()
    }
}

/// The gradients of a block's parameters, to be added to.
struct Sums<'a> {
    norm1: NormSums<'a>,
    qkv: LayerSums<'a>,
    table: &'a mut [f32],
    proj: LayerSums<'a>,
    norm2: NormSums<'a>,
    mlp: MlpSums<'a>,
    mutual: LayerSums<'a>,
}

impl<'a> Sums<'a> {
    fn of(mut values: &'a mut [f32], lens: &[usize]) -> Self {
        let mut lens = lens.iter();
        let mut next = || {
            let (own, rest) =
                std::mem::take(&mut values).split_at_mut(lens.next().copied().unwrap_or(0));
            values = rest;
            own
        };
        Self {
            norm1: NormSums { weight: next(), bias: next() },
            qkv: LayerSums { weight: next(), bias: next() },
            table: next(),
            proj: LayerSums { weight: next(), bias: next() },
            norm2: NormSums { weight: next(), bias: next() },
            mlp: MlpSums {
                fc11: LayerSums { weight: next(), bias: next() },
                fc12: LayerSums { weight: next(), bias: next() },
                fc2: LayerSums { weight: next(), bias: next() },
            },
            mutual: LayerSums { weight: next(), bias: next() },
        }
    }
}

/// What all windows share.
struct Backward<'a, E> {
    forward: Plan<'a, E>,
    /// Lengths of the sums.
    lens: Vec<usize>,
    // Weights as the gradients of outputs are multiplied with them.
    qkv_self: Packed<E>,
    qkv_mutual: Option<Packed<E>>,
    proj: Packed<E>,
    mlp: PackedMlpBackward<E>,
}

/// Values of a window that a task holds.
struct Held<'a, E> {
    /// Tokens of the map, `[inside, channels]`.
    tokens: &'a mut [f32],
    /// Behind attention.
    middle: &'a mut [f32],
    /// The gradient of the output, and at last that of the input.
    grad: &'a mut [f32],
    /// Behind a norm, `[tokens, channels]`.
    normal: &'a mut [f32],
    /// The gradient of that.
    grad_normal: &'a mut [f32],
    /// Queries, keys and values of self attention, and of mutual attention.
    qkv: [&'a mut [f32]; 2],
    /// The gradient of one of these.
    grad_qkv: &'a mut [f32],
    /// What attention found, mutual first, `[tokens, attended]`.
    attended: &'a mut [f32],
    /// The same of the map's tokens, where others complete it.
    inside: &'a mut [f32],
    /// The gradient of what attention found.
    grad_attended: &'a mut [f32],
    /// For the MLP.
    hidden: &'a mut [f32],
    /// For products.
    rounded: &'a mut [E],
}

impl<'a, E: Probability> Backward<'a, E> {
    fn new(level: Level, block: Block<'a>) -> Self {
        let (g, weights) = (block.geometry, block.weights);
        let lens = g.parameters(weights.mutual.is_some());
        let (c, attended) = (g.windows.channels, block.attended());
        let matrix = |weight: &[f32], sizes| Packed::matrix(level, weight, sizes, None);
        Self {
            forward: Plan::new(level, block),
            lens,
            qkv_self: matrix(weights.qkv_self.weight, [3 * c, c]),
            qkv_mutual: weights.mutual.as_ref().map(|m| matrix(m.qkv.weight, [3 * c, c])),
            proj: matrix(weights.proj.weight, [c, attended]),
            mlp: PackedMlpBackward::new(level, &weights.mlp),
        }
    }

    fn level(&self) -> Level {
        self.forward.level
    }

    /// Elements of the buffer for products.
    fn rounded_len(&self, tokens: usize) -> usize {
        let of_tokens = [&self.forward.qkv_self, &self.forward.proj, &self.qkv_self, &self.proj];
        let of_tokens = of_tokens.into_iter().map(|packed| packed.rounded_len(tokens));
        of_tokens.fold(self.mlp.rounded_len(), usize::max)
    }

    /// Writes the gradient of a window's tokens and adds those of the parameters.
    fn window(
        &self,
        index: usize,
        values: BlockValues<'_>,
        output: &SharedOutput<'_>,
        sums: (&mut Sums<'_>, &mut [f32]),
    ) {
        self.forward.with_window(index, |window| self.run(window, values, output, sums));
    }

    /// The same, where its tokens are known.
    fn run(
        &self,
        window: &Window<'_>,
        values: BlockValues<'_>,
        output: &SharedOutput<'_>,
        (sums, bias): (&mut Sums<'_>, &mut [f32]),
    ) {
        let plan = &self.forward;
        let (channels, stride) = (plan.windows().channels, plan.block.attended());
        if window.inside == 0 {
            return;
        }
        let tokens = plan.windows().tokens();
        let [of_inside, of_all] = [window.inside, tokens].map(|rows| rows * channels);
        let mutual = if self.qkv_mutual.is_some() { 3 * of_all } else { 0 };
        let cut = if window.inside < tokens { window.inside * stride } else { 0 };
        let lens = [
            [of_inside, of_inside, of_inside],
            [of_all, of_all, 3 * of_all],
            [mutual, 3 * of_all, tokens * stride],
            [cut, tokens * stride, self.mlp.hidden_len()],
        ];
        with_kept(E::kept(), [self.rounded_len(tokens)], |[rounded]| {
            with_scratch::<12, _>(std::array::from_fn(|i| lens[i / 3][i % 3]), |buffers| {
                let [tokens, middle, grad, normal, grad_normal, own, rest @ ..] = buffers;
                let [mutual, grad_qkv, attended, inside, grad_attended, hidden] = rest;
                let qkv = [own, mutual];
                let mut held = Held {
                    tokens,
                    middle,
                    grad,
                    normal,
                    grad_normal,
                    qkv,
                    grad_qkv,
                    attended,
                    inside,
                    grad_attended,
                    hidden,
                    rounded,
                };
                let from = |values| Input::Values(values);
                gather(window.places, from(values.x), output, (held.tokens, channels));
                gather(window.places, from(values.grad), output, (held.grad, channels));
                self.gradients(window, values.found, &mut held, (sums, bias));
                scatter(window.places, (held.grad, channels), output);
            });
        });
    }

    fn gradients(
        &self,
        window: &Window<'_>,
        found: &[f32],
        held: &mut Held<'_, E>,
        (sums, bias): (&mut Sums<'_>, &mut [f32]),
    ) {
        let [of_attention, of_mlp] = self.forward.branches(window);
        held.middle.copy_from_slice(held.tokens);
        if of_attention != 0.0 {
            self.attend_again(window, found, of_attention, held);
        }
        if of_mlp != 0.0 {
            self.mlp(of_mlp, held, sums);
        }
        if of_attention != 0.0 {
            self.attention(window, of_attention, held, (sums, bias));
        }
    }

    /// The forward pass to what lies between attention and the MLP.
    fn attend_again(
        &self,
        window: &Window<'_>,
        found: &[f32],
        factor: f32,
        held: &mut Held<'_, E>,
    ) {
        let plan = &self.forward;
        let stride = plan.block.attended();
        let regions = window.regions;
        plan.normalise(window, held.tokens, held.normal);
        plan.qkv_self.apply_dense(held.normal, held.rounded, held.qkv[0]);
        if let Some(qkv) = &plan.qkv_mutual {
            plan.add_positions(held.normal);
            qkv.apply_dense(held.normal, held.rounded, held.qkv[1]);
        }
        if found.is_empty() {
            let own = &mut held.attended[stride - plan.windows().channels..];
            plan.heads(false).attend::<E>(
                held.qkv[0],
                regions,
                &mut Columns { values: own, stride },
            );
            if plan.qkv_mutual.is_some() {
                let mut mutual = Columns { values: &mut *held.attended, stride };
                plan.heads(true).attend::<E>(held.qkv[1], regions, &mut mutual);
            }
        } else {
            for (place, row) in
                window.places.iter().flatten().zip(held.attended.chunks_exact_mut(stride))
            {
                row.copy_from_slice(&found[place * stride..][..stride]);
            }
            spread(window, held.attended, stride);
        }
        plan.proj.apply_dense(
            inside(window, held.attended, stride, held.inside),
            held.rounded,
            &mut held.grad_normal[..held.middle.len()],
        );
        add(plan.level, held.middle, factor, held.grad_normal);
    }

    /// From the gradient of the output to that of what lies in the middle.
    fn mlp(&self, factor: f32, held: &mut Held<'_, E>, sums: &mut Sums<'_>) {
        let (level, plan) = (self.level(), &self.forward);
        let channels = plan.windows().channels;
        let norm = plan.block.weights.norm2;
        let len = PackedMlpBackward::<E>::ROWS * channels;
        for (middle, grad) in held.middle.chunks(len).zip(held.grad.chunks_mut(len)) {
            // Buffers that attention needs later.
            let normal = &mut held.grad_normal[..middle.len()];
            let grad_normal = &mut held.grad_qkv[..middle.len()];
            let scaled = &mut held.grad_attended[..middle.len()];
            normalise(level, middle, norm.weight, norm.bias, normal);
            for (scaled, grad) in scaled.iter_mut().zip(&*grad) {
                *scaled = factor * grad;
            }
            let buffers = MlpBuffers { hidden: &mut *held.hidden, rounded: &mut *held.rounded };
            self.mlp.rows([normal, scaled], buffers, grad_normal, &mut sums.mlp);
            add_gradients(level, middle, norm.weight, grad_normal, grad, &mut sums.norm2);
        }
    }

    /// From the gradient of what lies in the middle to that of the input.
    fn attention(
        &self,
        window: &Window<'_>,
        factor: f32,
        held: &mut Held<'_, E>,
        (sums, bias): (&mut Sums<'_>, &mut [f32]),
    ) {
        let (level, plan) = (self.level(), &self.forward);
        let (channels, stride) = (plan.windows().channels, plan.block.attended());
        let regions = window.regions;
        let of_inside = held.grad.len();
        let scaled = &mut held.grad_normal[..of_inside];
        for (scaled, grad) in scaled.iter_mut().zip(&*held.grad) {
            *scaled = factor * grad;
        }
        let found = inside(window, held.attended, stride, held.inside);
        sums.proj.add::<E>(level, scaled, found);
        let grad_attended = &mut held.grad_attended[..window.inside * stride];
        self.proj.apply_dense(scaled, held.rounded, grad_attended);
        spread(window, held.grad_attended, stride);

        let found = |from: usize| Found {
            values: &held.attended[from..],
            grad: &held.grad_attended[from..],
            stride,
        };
        if let Some(qkv) = &self.qkv_mutual {
            let mut sinks = Sinks { qkv: &mut *held.grad_qkv, bias: &mut [] };
            plan.heads(true).gradients::<E>(held.qkv[1], regions, found(0), &mut sinks);
            sums.mutual.add::<E>(level, held.grad_qkv, held.normal);
            qkv.apply_dense(held.grad_qkv, held.rounded, held.grad_normal);
            // Without the code of places.
            plan.normalise(window, held.tokens, held.normal);
        }
        let mut sinks = Sinks { qkv: &mut *held.grad_qkv, bias };
        let own = found(stride - channels);
        plan.heads(false).gradients::<E>(held.qkv[0], regions, own, &mut sinks);
        sums.qkv.add::<E>(level, held.grad_qkv, held.normal);
        if self.qkv_mutual.is_some() {
            self.qkv_self.add_dense(held.grad_qkv, held.rounded, held.grad_normal);
        } else {
            self.qkv_self.apply_dense(held.grad_qkv, held.rounded, held.grad_normal);
        }
        keep_inside(window, held.grad_normal, channels);
        let (grad_normal, weight) =
            (&held.grad_normal[..of_inside], plan.block.weights.norm1.weight);
        add_gradients(level, held.tokens, weight, grad_normal, held.grad, &mut sums.norm1);
    }
}

/// The rows of the map's tokens: all of them, or copied to `buffer`.
fn inside<'b>(
    window: &Window<'_>,
    rows: &'b [f32],
    stride: usize,
    buffer: &'b mut [f32],
) -> &'b [f32] {
    if window.inside == window.places.len() {
        return rows;
    }
    let kept = window.places.iter().zip(rows.chunks_exact(stride));
    let kept = kept.filter(|(place, _)| place.is_some());
    for ((_, row), out) in kept.zip(buffer.chunks_exact_mut(stride)) {
        out.copy_from_slice(row);
    }
    buffer
}
