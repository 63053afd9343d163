//! Gradients of queries, keys, values and the table. A task takes one head of a run of windows, so
//! that the table's gradient has few partial sums and one order of summation.

use std::ops::Range;

use rayon::prelude::*;

use super::forward::{Gathered, Plan, Task};
use super::softmax::{logit_gradients, scale_rows};
use super::{Attention, Direction, WindowGeometry, WindowGradients};
use crate::level::Level;
use crate::matmul::{Found, Matrix, MatrixMut, matmul};
use crate::parallel::{SharedOutput, with_flush_to_zero, with_scratch};

/// Runs of windows that the work is cut into.
const RUNS: usize = 16;

pub(super) fn gradients(
    level: Level,
    g: &WindowGeometry,
    attention: Attention<'_>,
    [qkv, grad_out]: [&[f32]; 2],
    wanted: WindowGradients<'_>,
) {
    let windows = g.batch * g.windows();
    let runs = windows.min(RUNS);
    let rows = if wanted.table.is_some() { g.table_rows() } else { 0 };
    let mut unwanted = Vec::new();
    let grad_qkv = wanted.qkv.unwrap_or_else(|| {
        unwanted.resize(qkv.len(), 0.0);
        &mut unwanted
    });
    let plan = Plan::new(level, g, attention, qkv);
    let backward = Backward { plan: &plan, grad_out, output: SharedOutput::new(grad_qkv) };
    // `[runs, heads, rows]`
    let mut tables = vec![0.0; runs * g.heads * rows];
    let mut parts = tables.chunks_mut(rows.max(1));
    let tasks: Vec<&mut [f32]> =
        (0..runs * g.heads).map(|_| parts.next().unwrap_or_default()).collect();
    tasks.into_par_iter().enumerate().for_each(|(index, table)| {
        let (run, head) = (index / g.heads, index % g.heads);
        let run = run * windows / runs..(run + 1) * windows / runs;
        with_flush_to_zero(|| backward.add_windows(run, head, table));
    });
    if let Some(grad_table) = wanted.table {
        grad_table.fill(0.0);
        for (index, table) in tables.chunks_exact(rows).enumerate() {
            let head = index % g.heads;
            let column = grad_table[head..].iter_mut().step_by(g.heads);
            column.zip(table).for_each(|(sum, value)| *sum += value);
        }
    }
}

struct Backward<'a> {
    plan: &'a Plan<'a>,
    grad_out: &'a [f32],
    output: SharedOutput<'a>,
}

/// Gradients of the queries, keys and values of one head of one window, each
/// `[tokens, channels]`, and that of the output.
struct WindowValues<'a> {
    grads: [&'a mut [f32]; 3],
    grad_out: &'a mut [f32],
}

impl Backward<'_> {
    /// Writes the gradients of one head of the windows `run`; adds that of the bias to `table`,
    /// one value a row, unless it is empty.
    fn add_windows(&self, run: Range<usize>, head: usize, table: &mut [f32]) {
        let g = self.plan.geometry;
        let (tokens, len) = (g.tokens(), g.tokens() * g.head_channels());
        let lens = [7 * len + tokens, tokens * tokens, tokens * tokens, tokens * tokens];
        with_scratch(lens, |[values, probabilities, grads, grad_bias]| {
            grad_bias.fill(0.0);
            for window in run {
                let task = Task { window, head };
                let (gathered, rest) = values.split_at_mut(3 * len);
                let (grad_out, rest) = rest.split_at_mut(len);
                let (grad_qkv, scales) = rest.split_at_mut(3 * len);
                self.plan.gather(task, gathered);
                self.gather_grad(task, grad_out);
                let gathered = Gathered::of(gathered, g);
                let mut parts = grad_qkv.chunks_exact_mut(len);
                let part_grads = std::array::from_fn(|_| parts.next().unwrap_or_default());
                let mut window = WindowValues { grads: part_grads, grad_out };
                for direction in self.plan.attention.directions(tokens) {
                    let square = direction.len * direction.len;
                    let probabilities = &mut probabilities[..square];
                    let scales = &mut scales[..direction.len];
                    self.plan.exponentials(task, direction, gathered, probabilities, scales);
                    scale_rows(self.plan.level, probabilities, scales);
                    let grads = &mut grads[..square];
                    self.one_direction(direction, gathered, &mut window, [probabilities, grads]);
                    add(&mut grad_bias[..square], grads);
                }
                self.scatter(task, grad_qkv);
            }
            if !table.is_empty() {
                fold_bias(g, grad_bias, table);
            }
        });
    }

    /// Writes the gradients of a direction's queries, keys and values, and to the second matrix
    /// that of its logits.
    fn one_direction(
        &self,
        Direction { query, key, out, len }: Direction,
        gathered: Gathered<'_>,
        window: &mut WindowValues<'_>,
        [probabilities, grads]: [&mut [f32]; 2],
    ) {
        let channels = self.plan.geometry.head_channels();
        let sizes = [len, channels];
        let square = [len, len];
        let [grad_q, grad_k, grad_v] = &mut window.grads;
        let grad_out = Matrix::dense(&window.grad_out[out * channels..], sizes);
        matmul(
            MatrixMut::dense(&mut grad_v[key * channels..], sizes),
            Found::Replaced,
            Matrix::dense(probabilities, square).transposed(),
            grad_out,
        );
        matmul(
            MatrixMut::dense(grads, square),
            Found::Replaced,
            grad_out,
            gathered.rows(gathered.v, key, len).transposed(),
        );
        logit_gradients(self.plan.level, probabilities, grads, len);
        let grads = Matrix::dense(grads, square);
        let grad_q = &mut grad_q[query * channels..][..len * channels];
        matmul(
            MatrixMut::dense(grad_q, sizes),
            Found::Replaced,
            grads,
            gathered.rows(gathered.k, key, len),
        );
        let scale = self.plan.geometry.scale();
        grad_q.iter_mut().for_each(|grad| *grad *= scale);
        matmul(
            MatrixMut::dense(&mut grad_k[key * channels..], sizes),
            Found::Replaced,
            grads.transposed(),
            gathered.rows(gathered.q, query, len),
        );
    }

    fn gather_grad(&self, task: Task, grad_out: &mut [f32]) {
        let g = self.plan.geometry;
        let channels = g.head_channels();
        let rows = grad_out.chunks_exact_mut(channels);
        for (place, row) in g.token_places(task.window).zip(rows) {
            let at = place * g.channels + task.head * channels;
            row.copy_from_slice(&self.grad_out[at..at + channels]);
        }
    }

    fn scatter(&self, task: Task, grad_qkv: &[f32]) {
        let g = self.plan.geometry;
        let channels = g.head_channels();
        let parts = grad_qkv.chunks_exact(g.tokens() * channels);
        for (index, part) in parts.take(3).enumerate() {
            let rows = part.chunks_exact(channels);
            for (place, row) in g.token_places(task.window).zip(rows) {
                let at = (place * 3 + index) * g.channels + task.head * channels;
                // SAFETY: each token is in one window, a window is in one run, and each head has
                // channels of its own, so no other task writes here.
                unsafe { self.output.write(at, row) };
            }
        }
    }
}

fn add(sum: &mut [f32], values: &[f32]) {
    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
}

/// Adds the gradient of each pair of tokens, `[tokens, tokens]`, to its row of the table.
fn fold_bias(g: &WindowGeometry, grad_bias: &[f32], table: &mut [f32]) {
    let (places, centre) = (g.table_places(), g.table_centre());
    for (query, grads) in places.iter().zip(grad_bias.chunks_exact(g.tokens())) {
        for (key, grad) in places.iter().zip(grads) {
            table[query + centre - key] += grad;
        }
    }
}
