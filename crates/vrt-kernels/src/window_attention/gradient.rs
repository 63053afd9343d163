//! The gradients of one window's attention, all of it in the core's own cache.
//!
//! As in the forward pass keys go down the rows and queries lie side by side, a panel of them at a
//! time. Probabilities are computed again. With `p` the probabilities, `o` what a query found and
//! `∂` gradients: `∂v = pᵀ·∂o`, `∂logit = p ∘ (∂o·vᵀ − ∂o·o)`, `∂q = ∂logit·k`, `∂k = ∂logitᵀ·q`.

use std::f32::consts::LN_2;

use super::Direction;
use super::bias::BiasLayout;
use super::down::{Logits, Probability};
use super::window::{Heads, Task};
use crate::level::at_every_level;
use crate::parallel::{with_kept, with_scratch};
use crate::product::{PanelSizes, Product, Right, Rows, Start, multiply};

/// What a window's attention found and the gradient of that, `[tokens, channels]` in the first
/// columns of rows `stride` apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) grad: &'a [f32],
    pub(crate) stride: usize,
}

/// What the gradients of a window are written or added to.
#[derive(Debug)]
pub(crate) struct Sinks<'a> {
    /// `[tokens, 3 · channels]`, overwritten: that of queries before they were scaled.
    pub(crate) qkv: &'a mut [f32],
    /// As [`BiasLayout`] says, added to; empty where there is no bias or its gradient is not
    /// wanted.
    pub(crate) bias: &'a mut [f32],
}

/// A head of a window and where its results go.
struct Head<'a, 'b> {
    task: Task<'a>,
    found: Found<'a>,
    layout: Option<&'a BiasLayout>,
    sinks: &'b mut Sinks<'a>,
}

/// Left matrices that all panels of a head share.
#[derive(Clone, Copy)]
struct Asked<'a, E> {
    /// `[keys, channels]`
    keys: Rows<'a, E>,
    /// `[keys, channels]`
    values: Rows<'a, E>,
    /// `[channels, keys]`
    turned: Rows<'a, E>,
}

/// Elements that a panel of queries needs.
struct Elements<'a, E> {
    /// Rows of queries or of their gradients.
    rounded: &'a mut [E],
    /// A panel of queries side by side, then of the gradients of what they found.
    across: &'a mut [E],
    /// The same with queries down the rows.
    down: &'a mut [E],
    /// A matrix `[keys, width]` as rows, then as a panel.
    square: &'a mut [E],
}

/// Values that a panel of queries needs.
struct Values<'a> {
    /// `[keys, width]`: logits, then their exponentials.
    logits: &'a mut [f32],
    /// `[keys, width]`: gradients of the logits.
    slopes: &'a mut [f32],
    /// One over the sum of a query's exponentials.
    scales: &'a mut [f32],
    /// What a query's slopes start from.
    starts: &'a mut [f32],
    /// `[width, padded]`: queries, or the gradients of what they found.
    rows: &'a mut [f32],
    /// `[channels, width]`
    turned: &'a mut [f32],
    /// `[keys, padded]`
    grad_keys: &'a mut [f32],
    /// `[keys, padded]`
    grad_values: &'a mut [f32],
}

/// A panel of queries: of a frame, from some place of it on.
#[derive(Clone, Copy)]
struct Panel {
    frame: usize,
    first: usize,
    /// Queries.
    count: usize,
    width: usize,
}

impl Heads<'_> {
    /// Channels of a head, completed to whole vectors: rows of that many are written without cuts.
    fn padded(&self) -> usize {
        self.geometry.head_channels().next_multiple_of(self.query_sizes().width() / 2)
    }

    /// Writes the gradients of a window's queries, keys and values and adds that of the bias.
    ///
    /// `qkv` and `regions` are as [`Self::attend`] takes them. Products are those of `E`.
    pub(crate) fn gradients<E: Probability>(
        &self,
        qkv: &[f32],
        regions: Option<&[u8]>,
        found: Found<'_>,
        sinks: &mut Sinks<'_>,
    ) {
        let layout = self.bias.map(|bias| bias.layout()).filter(|_| !sinks.bias.is_empty());
        for direction in self.attention.directions(self.geometry.tokens()) {
            for head in 0..self.geometry.heads {
                let task = Task { head, direction, qkv, regions };
                let sinks = &mut Sinks { qkv: &mut *sinks.qkv, bias: &mut *sinks.bias };
                self.head_gradients::<E>(Head { task, found, layout, sinks });
            }
        }
    }

    fn head_gradients<E: Probability>(&self, mut head: Head<'_, '_>) {
        let (g, level, task) = (self.geometry, self.level, head.task);
        let (channels, stride, len) = (g.head_channels(), 3 * g.channels, task.direction.len);
        let width = self.query_sizes().width();
        let rows = E::rounded_len([len, channels]);
        let lens = [
            rows,
            rows,
            channels * E::units(len) + channels,
            E::rounded_len([width, channels]),
            PanelSizes::new(level, [channels, width]).len::<E>(),
            PanelSizes::new(level, [width, self.padded()]).len::<E>(),
            E::rounded_len([len, width]).max(E::len(len, width)),
        ];
        with_kept(E::kept(), lens, |[keys, values, turned, rounded, across, down, square]| {
            let asked = &task.qkv[task.direction.key * stride + task.head * channels..];
            let asked = Asked {
                keys: E::rows(level, &asked[g.channels..], [len, channels], stride, keys),
                values: E::rows(level, &asked[2 * g.channels..], [len, channels], stride, values),
                turned: self.turned(&asked[g.channels..], len, turned),
            };
            let mut elements = Elements { rounded, across, down, square };
            self.all_panels(&mut head, asked, &mut elements);
        });
    }

    /// All panels of a head, and what they add up to for its keys.
    fn all_panels<E: Probability>(
        &self,
        head: &mut Head<'_, '_>,
        asked: Asked<'_, E>,
        elements: &mut Elements<'_, E>,
    ) {
        let (g, padded, len) = (self.geometry, self.padded(), head.task.direction.len);
        let width = self.query_sizes().width();
        let turned = g.head_channels() * width;
        let square = len * width;
        let lens =
            [square, square, width, width, width * padded, turned, len * padded, len * padded];
        with_scratch(lens, |buffers| {
            let [logits, slopes, scales, starts, rows, turned, grad_keys, grad_values] = buffers;
            let mut values =
                Values { logits, slopes, scales, starts, rows, turned, grad_keys, grad_values };
            for frame in 0..len / g.plane() {
                for first in (0..g.plane()).step_by(width) {
                    let count = width.min(g.plane() - first);
                    let panel = Panel { frame, first, count, width };
                    self.panel_gradients(head, asked, panel, (elements, &mut values));
                }
            }
            self.write_keys(head, &values);
        });
    }

    /// Rows `[width, padded]` side by side, `[channels, width]`.
    fn across<'e, E: Probability>(
        &self,
        rows: &[f32],
        rounded: &mut [E],
        across: &'e mut [E],
    ) -> Right<'e, E> {
        let (channels, width) = (self.geometry.head_channels(), self.query_sizes().width());
        let sizes = PanelSizes::new(self.level, [channels, width]);
        let rows = E::rows(self.level, rows, [width, channels], self.padded(), rounded);
        sizes.pack_transposed(rows, across);
        Right { sizes, panels: across, bias: &[] }
    }

    fn panel_gradients<E: Probability>(
        &self,
        head: &mut Head<'_, '_>,
        asked: Asked<'_, E>,
        panel: Panel,
        (elements, values): (&mut Elements<'_, E>, &mut Values<'_>),
    ) {
        let (g, level, width) = (self.geometry, self.level, panel.width);
        let (padded, len) = (self.padded(), head.task.direction.len);
        let token = panel.frame * g.plane() + panel.first;
        let start = if token == 0 { Start::Bias } else { Start::Output };

        self.copy_queries(head.task, panel, values.rows);
        self.probabilities(head.task, asked.keys, panel, (elements, values));
        let sizes = PanelSizes::new(level, [width, padded]);

        // Now, while the queries are at hand: their product waits for the slopes.
        sizes.pack(level, values.rows, padded, elements.down);
        self.copy_found(head.found, head.task, panel, values);
        let grads = Right {
            bias: values.starts,
            ..self.across(values.rows, elements.rounded, elements.across)
        };
        let product = Product { rows: asked.values, right: grads, start: Start::Bias };
        multiply(level, product, values.slopes, width);
        slope(level, values.logits, values.slopes, (panel.width, panel.count));

        let square = [len, width];
        let rows = E::rows(level, values.slopes, square, width, &mut *elements.square);
        let right = Right { sizes, panels: &*elements.down, bias: &[] };
        multiply(level, Product { rows, right, start }, values.grad_keys, padded);

        sizes.pack(level, values.rows, padded, elements.down);
        let rows = E::rows(level, values.logits, square, width, &mut *elements.square);
        let right = Right { sizes, panels: &*elements.down, bias: &[] };
        multiply(level, Product { rows, right, start }, values.grad_values, padded);

        let panels = E::panel(level, values.slopes, square, &mut *elements.square);
        let right = Right { sizes: PanelSizes::new(level, square), panels, bias: &[] };
        let product = Product { rows: asked.turned, right, start: Start::Bias };
        multiply(level, product, values.turned, width);
        self.write_queries(head, panel, values.turned);

        if let Some(layout) = head.layout {
            let at = layout.at(head.task.head, panel.frame, panel.first);
            let bias = &mut head.sinks.bias[at..];
            add_rows(level, values.slopes, bias, (width, panel.count, layout.plane()));
        }
    }

    /// The queries of a panel, `[width, padded]`, zeros beyond the last one.
    fn copy_queries(&self, task: Task<'_>, panel: Panel, rows: &mut [f32]) {
        let g = self.geometry;
        let (channels, stride) = (g.head_channels(), 3 * g.channels);
        let token = panel.frame * g.plane() + panel.first;
        let queries = &task.qkv[(task.direction.query + token) * stride + task.head * channels..];
        rows.fill(0.0);
        for (query, row) in rows.chunks_exact_mut(self.padded()).take(panel.count).enumerate() {
            row[..channels].copy_from_slice(&queries[query * stride..][..channels]);
        }
    }

    /// The exponentials of a panel's logits, and one over their sums.
    fn probabilities<E: Probability>(
        &self,
        task: Task<'_>,
        keys: Rows<'_, E>,
        panel: Panel,
        (elements, values): (&mut Elements<'_, E>, &mut Values<'_>),
    ) {
        let (g, level, width) = (self.geometry, self.level, panel.width);
        let sizes = PanelSizes::new(level, [g.head_channels(), panel.count]);
        let right = Right { sizes, ..self.across(values.rows, elements.rounded, elements.across) };
        let start = self.bias.map_or(Start::Bias, |b| b.start(task.head, panel.frame, panel.first));
        multiply(level, Product { rows: keys, right, start }, values.logits, width);
        let token = panel.frame * g.plane() + panel.first;
        // Mutual attention takes the first frame's regions for both frames.
        let regions =
            task.regions.map(|all| [&all[token..token + panel.count], &all[..task.direction.len]]);
        let logits = Logits { values: &mut *values.logits, width, regions };
        f32::of(level, logits, values.scales, &mut []);
    }

    /// The gradients of what the queries of a panel found, over their sums of exponentials, and what
    /// the slopes of each query start from.
    fn copy_found(&self, found: Found<'_>, task: Task<'_>, panel: Panel, values: &mut Values<'_>) {
        let g = self.geometry;
        let channels = g.head_channels();
        let Direction { out, .. } = task.direction;
        let token = out + panel.frame * g.plane() + panel.first;
        let at = token * found.stride + task.head * channels;
        values.starts.fill(0.0);
        values.rows.fill(0.0);
        let rows = values.rows.chunks_exact_mut(self.padded());
        for (query, row) in rows.take(panel.count).enumerate() {
            let at = at + query * found.stride;
            let (own, grad) = (&found.values[at..][..channels], &found.grad[at..][..channels]);
            let (scale, mut start) = (values.scales[query], 0.0);
            for c in 0..channels {
                row[c] = scale * grad[c];
                start -= row[c] * own[c];
            }
            values.starts[query] = start;
        }
    }

    /// `turned`: `[channels, width]`
    fn write_queries(&self, head: &mut Head<'_, '_>, panel: Panel, turned: &[f32]) {
        let g = self.geometry;
        let (channels, stride, scale) = (g.head_channels(), 3 * g.channels, g.scale());
        let Task { direction, head: index, .. } = head.task;
        let token = direction.query + panel.frame * g.plane() + panel.first;
        let rows = &mut head.sinks.qkv[token * stride + index * channels..];
        for query in 0..panel.count {
            let row = &mut rows[query * stride..][..channels];
            for (channel, value) in row.iter_mut().enumerate() {
                *value = scale * turned[channel * panel.width + query];
            }
        }
    }

    fn write_keys(&self, head: &mut Head<'_, '_>, values: &Values<'_>) {
        let g = self.geometry;
        let (channels, stride) = (g.head_channels(), 3 * g.channels);
        let Task { direction, head: index, .. } = head.task;
        for key in 0..direction.len {
            let at = (direction.key + key) * stride + g.channels + index * channels;
            let (keys, rest) = head.sinks.qkv[at..].split_at_mut(g.channels);
            let from = key * self.padded()..key * self.padded() + channels;
            // The queries that they met are in powers of two.
            for (out, value) in keys.iter_mut().zip(&values.grad_keys[from.clone()]) {
                *out = LN_2 * value;
            }
            rest[..channels].copy_from_slice(&values.grad_values[from]);
        }
    }
}

at_every_level! {
    /// Multiplies slopes by exponentials; both become zero beyond the last query.
    fn slope(
        exponentials: &mut [f32],
        slopes: &mut [f32],
        layout: (usize, usize),
    ) = slope_body;
}

#[inline(always)]
fn slope_body<const FUSED: bool>(
    exponentials: &mut [f32],
    slopes: &mut [f32],
    (width, count): (usize, usize),
) {
    let len = exponentials.len();
    let slopes = &mut slopes[..len];
    if count < width {
        let rows = exponentials.chunks_exact_mut(width).zip(slopes.chunks_exact_mut(width));
        for (exponentials, slopes) in rows {
            exponentials[count..].fill(0.0);
            slopes[count..].fill(0.0);
        }
    }
    for i in 0..len {
        slopes[i] *= exponentials[i];
    }
}

at_every_level! {
    /// Adds the first `count` columns of rows of `width` to rows `stride` apart.
    fn add_rows(rows: &[f32], sums: &mut [f32], layout: (usize, usize, usize)) = add_rows_body;
}

#[inline(always)]
fn add_rows_body<const FUSED: bool>(
    rows: &[f32],
    sums: &mut [f32],
    (width, count, stride): (usize, usize, usize),
) {
    for (i, row) in rows.chunks_exact(width).enumerate() {
        let sums = &mut sums[i * stride..][..count];
        let row = &row[..count];
        for j in 0..count {
            sums[j] += row[j];
        }
    }
}
