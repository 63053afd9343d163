//! The forward pass on a whole map, and what the backward pass computes again.

use super::bias::BiasPlanes;
use super::softmax::{Added, exponentials};
use super::window::{Columns, Heads};
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

/// A task takes a window: gathers it, attends, and scatters what it found.
pub(super) fn attend(
    level: Level,
    geometry: &WindowGeometry,
    attention: Attention<'_>,
    qkv: &[f32],
    out: &mut [f32],
) {
    let bias = attention.planes(geometry);
    let heads = Heads { level, geometry, attention, bias: bias.as_ref() };
    let regions = geometry.regions();
    let (tokens, channels) = (geometry.tokens(), geometry.channels);
    let output = SharedOutput::new(out);
    for_each_index(geometry.batch * geometry.windows(), |window| {
        let lens = [3 * tokens * channels, tokens * channels];
        with_scratch(lens, |[gathered, found]| {
            let places = geometry.token_places(window);
            for (place, row) in places.zip(gathered.chunks_exact_mut(3 * channels)) {
                row.copy_from_slice(&qkv[place * 3 * channels..][..3 * channels]);
                row[..channels].iter_mut().for_each(|query| *query *= Heads::scale(geometry));
            }
            let regions = geometry.window_regions(regions.as_deref(), window);
            let mut columns = Columns { values: found, stride: channels };
            heads.attend::<f32>(gathered, regions, &mut columns);
            let rows = found.chunks_exact(channels);
            for (place, row) in geometry.token_places(window).zip(rows) {
                // SAFETY: each token is in one window, so no other task writes here.
                unsafe { output.write(place * channels, row) };
            }
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
        let (bias, regions) = (attention.bias(geometry), geometry.regions());
        Self { level, geometry, attention, qkv, bias, regions }
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
        let regions = self.geometry.window_regions(self.regions.as_deref(), task.window);
        let regions = regions.map(|regions| [&regions[..len]; 2]);
        exponentials(self.level, logits, Added { bias, regions }, scales);
    }
}

impl Attention<'_> {
    /// The bias as the forward pass takes it.
    pub(crate) fn planes(&self, g: &WindowGeometry) -> Option<BiasPlanes> {
        match self {
            Attention::SelfBiased { table } => Some(BiasPlanes::new(g, table)),
            Attention::Mutual => None,
        }
    }

    /// The bias of every pair of tokens, `[heads, tokens, tokens]`.
    fn bias(&self, g: &WindowGeometry) -> Option<Vec<f32>> {
        match self {
            Attention::SelfBiased { table } => Some(expand_bias(g, table)),
            Attention::Mutual => None,
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
