//! One task per window and head: gather, two products around a softmax, scatter.

use super::softmax::{Added, exponentials, scale_rows};
use super::{Attention, Direction, WindowGeometry};
use crate::level::Level;
use crate::matmul::{Found, Matrix, MatrixMut, matmul};
use crate::parallel::{SharedOutput, for_each_index, for_each_part, with_scratch};

/// What all windows share.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) level: Level,
    pub(super) geometry: &'a WindowGeometry,
    pub(super) attention: Attention<'a>,
    qkv: &'a [f32],
    /// `[heads, tokens, tokens]`
    bias: Option<Vec<f32>>,
    /// `[windows, tokens]`
    regions: Option<Vec<u8>>,
}

/// One head of one window, windows numbered over all clips.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    pub(super) window: usize,
    pub(super) head: usize,
}

/// Queries (scaled), keys and values of one head of one window, each `[tokens, channels]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gathered<'a> {
    pub(super) q: &'a [f32],
    pub(super) k: &'a [f32],
    pub(super) v: &'a [f32],
    channels: usize,
}

impl<'a> Gathered<'a> {
    /// Views three times `[tokens, channels]`.
    pub(super) fn of(values: &'a [f32], g: &WindowGeometry) -> Self {
        let len = g.tokens() * g.head_channels();
        let (q, kv) = values.split_at(len);
        let (k, v) = kv.split_at(len);
        Self { q, k, v, channels: g.head_channels() }
    }

    /// The rows of `values`, one of the three, from token `first` on.
    pub(super) fn rows(&self, values: &'a [f32], first: usize, len: usize) -> Matrix<'a> {
        Matrix::dense(&values[first * self.channels..], [len, self.channels])
    }
}

pub(super) fn attend(
    level: Level,
    geometry: &WindowGeometry,
    attention: Attention<'_>,
    qkv: &[f32],
    out: &mut [f32],
) {
    let plan = Plan::new(level, geometry, attention, qkv);
    let (tokens, channels) = (geometry.tokens(), geometry.head_channels());
    let output = SharedOutput::new(out);
    for_each_index(geometry.batch * geometry.windows() * geometry.heads, |index| {
        let task = Task { window: index / geometry.heads, head: index % geometry.heads };
        let lens = [3 * tokens * channels, tokens * tokens, tokens * channels, tokens];
        with_scratch(lens, |[gathered, logits, out, scales]| {
            plan.gather(task, gathered);
            let gathered = Gathered::of(gathered, geometry);
            for direction in attention.directions(tokens) {
                let len = direction.len;
                let (logits, scales) = (&mut logits[..len * len], &mut scales[..len]);
                plan.exponentials(task, direction, gathered, logits, scales);
                let out = &mut out[direction.out * channels..][..len * channels];
                matmul(
                    MatrixMut::dense(out, [len, channels]),
                    Found::Replaced,
                    Matrix::dense(logits, [len, len]),
                    gathered.rows(gathered.v, direction.key, len),
                );
                scale_rows(level, out, scales);
            }
            plan.scatter(task, out, &output);
        });
    });
}

impl<'a> Plan<'a> {
    pub(super) fn new(
        level: Level,
        geometry: &'a WindowGeometry,
        attention: Attention<'a>,
        qkv: &'a [f32],
    ) -> Self {
        let bias = match attention {
            Attention::SelfBiased { table } => Some(expand_bias(geometry, table)),
            Attention::Mutual => None,
        };
        Self { level, geometry, attention, qkv, bias, regions: geometry.regions() }
    }

    /// Copies what a task needs from the map, queries scaled.
    pub(super) fn gather(&self, task: Task, gathered: &mut [f32]) {
        let g = self.geometry;
        let channels = g.head_channels();
        let (q, kv) = gathered.split_at_mut(g.tokens() * channels);
        let (k, v) = kv.split_at_mut(g.tokens() * channels);
        let rows = q.chunks_exact_mut(channels).zip(k.chunks_exact_mut(channels));
        let rows = rows.zip(v.chunks_exact_mut(channels));
        let scale = g.scale();
        for (place, ((q, k), v)) in g.token_places(task.window).zip(rows) {
            let at = place * 3 * g.channels + task.head * channels;
            let part = |index: usize| &self.qkv[at + index * g.channels..][..channels];
            q.iter_mut().zip(part(0)).for_each(|(q, value)| *q = scale * value);
            k.copy_from_slice(part(1));
            v.copy_from_slice(part(2));
        }
    }

    /// Writes the exponentials of the logits and, for each row, one over their sum.
    pub(super) fn exponentials(
        &self,
        task: Task,
        Direction { query, key, len, .. }: Direction,
        gathered: Gathered<'_>,
        logits: &mut [f32],
        scales: &mut [f32],
    ) {
        matmul(
            MatrixMut::dense(logits, [len, len]),
            Found::Replaced,
            gathered.rows(gathered.q, query, len),
            gathered.rows(gathered.k, key, len).transposed(),
        );
        let bias = self.bias.as_deref().map(|bias| &bias[task.head * len * len..][..len * len]);
        // Mutual attention takes the first frame's regions for both frames.
        let regions = self.regions(task.window).map(|regions| &regions[..len]);
        exponentials(self.level, logits, Added { bias, regions }, scales);
    }

    /// The regions of a window's tokens, `None` where there is only one.
    fn regions(&self, window: usize) -> Option<&[u8]> {
        let (tokens, window) = (self.geometry.tokens(), window % self.geometry.windows());
        let regions = &self.regions.as_deref()?[window * tokens..][..tokens];
        let one = regions.iter().all(|region| *region == regions[0]);
        (!one).then_some(regions)
    }

    fn scatter(&self, task: Task, out: &[f32], output: &SharedOutput<'_>) {
        let g = self.geometry;
        let channels = g.head_channels();
        for (place, row) in g.token_places(task.window).zip(out.chunks_exact(channels)) {
            let at = place * g.channels + task.head * channels;
            // SAFETY: each token is in one window and each head has channels of its own, so no
            // other task writes here.
            unsafe { output.write(at, row) };
        }
    }
}

/// The bias of every pair of tokens, `[heads, tokens, tokens]`.
fn expand_bias(g: &WindowGeometry, table: &[f32]) -> Vec<f32> {
    let (places, centre) = (g.table_places(), g.table_centre());
    let tokens = g.tokens();
    let mut bias = vec![0.0; g.heads * tokens * tokens];
    for_each_part(&mut bias, tokens, |index, row| {
        let (head, query) = (index / tokens, places[index % tokens] + centre);
        for (value, key) in row.iter_mut().zip(&places) {
            *value = table[(query - key) * g.heads + head];
        }
    });
    bias
}
