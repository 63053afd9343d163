//! The attention of one window, all of it in the core's own cache.
//!
//! Keys go down the rows of the logits and queries side by side, a panel of them at a time: the
//! exponentials are the right matrix of the next product as they lie.

use std::f32::consts::LOG2_E;

use super::bias::BiasPlanes;
use super::down::{Logits, Probability};
use super::{Attention, Direction, WindowGeometry};
use crate::element::Element;
use crate::level::Level;
use crate::parallel::{with_kept, with_scratch};
use crate::product::{PanelSizes, Product, Right, Rows, Start, multiply};

/// What all windows of an attention share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads<'a> {
    pub(crate) level: Level,
    pub(crate) geometry: &'a WindowGeometry,
    pub(crate) attention: Attention<'a>,
    /// Where there is one.
    pub(crate) bias: Option<&'a BiasPlanes>,
}

/// Where a head's results go: its columns of rows `stride` apart.
#[derive(Debug)]
pub(crate) struct Columns<'a> {
    pub(crate) values: &'a mut [f32],
    pub(crate) stride: usize,
}

/// What one head of a window has to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Task<'a> {
    pub(super) head: usize,
    pub(super) direction: Direction,
    /// `[tokens, 3 · channels]`
    pub(super) qkv: &'a [f32],
    pub(super) regions: Option<&'a [u8]>,
}

/// What the queries of a head ask.
#[derive(Clone, Copy, Debug)]
struct Asked<'a, E> {
    /// `[keys, channels]`
    keys: Rows<'a, E>,
    /// `[channels, keys]`
    values: Rows<'a, E>,
}

/// Buffers of a head.
struct Held<'a, E> {
    /// Queries of a frame, rounded.
    rounded: &'a mut [E],
    /// The same in panels.
    queries: &'a mut [E],
    probabilities: &'a mut [E],
}

impl Heads<'_> {
    /// The factor on the queries that [`Self::attend`] takes: logits are in powers of two.
    pub(crate) fn scale(geometry: &WindowGeometry) -> f32 {
        geometry.scale() * LOG2_E
    }

    /// Writes a window's attention, `[tokens, channels]` in the first columns of `out`.
    ///
    /// `qkv` is `[tokens, 3 · channels]` with the queries multiplied by [`Self::scale`], `regions`
    /// is one number a token or `None` where all are of one region. Products are those of `E`.
    pub(crate) fn attend<E: Probability>(
        &self,
        qkv: &[f32],
        regions: Option<&[u8]>,
        out: &mut Columns<'_>,
    ) {
        for direction in self.attention.directions(self.geometry.tokens()) {
            for head in 0..self.geometry.heads {
                self.attend_head::<E>(Task { head, direction, qkv, regions }, out);
            }
        }
    }

    /// The queries of a frame, side by side.
    pub(super) fn query_sizes(&self) -> PanelSizes {
        let g = self.geometry;
        PanelSizes::new(self.level, [g.head_channels(), g.plane()])
    }

    fn attend_head<E: Probability>(&self, task: Task<'_>, out: &mut Columns<'_>) {
        let g = self.geometry;
        let (channels, stride, len) = (g.head_channels(), 3 * g.channels, task.direction.len);
        let sizes = self.query_sizes();
        let lens = [
            E::rounded_len([len, channels]),
            channels * E::units(len) + channels,
            E::rounded_len([g.plane(), channels]),
            sizes.len::<E>(),
            E::len(len, sizes.width()),
        ];
        with_kept(E::kept(), lens, |[keys, values, rounded, queries, probabilities]| {
            let asked = &task.qkv[task.direction.key * stride + task.head * channels..];
            let keys = E::rows(self.level, &asked[g.channels..], [len, channels], stride, keys);
            let values = self.turned(&asked[2 * g.channels..], len, values);
            let asked = Asked { keys, values };
            let mut held = Held { rounded, queries, probabilities };
            for frame in 0..len / g.plane() {
                self.answer(task, asked, frame, &mut held, out);
            }
        });
    }

    /// The values of a head, `[keys, channels]` in rows of `qkv`, as `[channels, keys]`.
    pub(super) fn turned<'a, E: Element>(
        &self,
        values: &[f32],
        len: usize,
        buffer: &'a mut [E],
    ) -> Rows<'a, E> {
        let (channels, stride) = (self.geometry.head_channels(), 3 * self.geometry.channels);
        let units = E::units(len);
        let (turned, line) = buffer.split_at_mut(channels * units);
        for unit in 0..units {
            let first = unit * E::TERMS;
            let rows = E::TERMS.min(len - first);
            E::write_across(self.level, &values[first * stride..], rows, stride, line);
            for (element, row) in line.iter().zip(turned.chunks_exact_mut(units)) {
                row[unit] = *element;
            }
        }
        Rows::dense(turned, [channels, units])
    }

    /// What the queries of a frame find.
    fn answer<E: Probability>(
        &self,
        task: Task<'_>,
        asked: Asked<'_, E>,
        frame: usize,
        held: &mut Held<'_, E>,
        out: &mut Columns<'_>,
    ) {
        let g = self.geometry;
        let (channels, stride, first) = (g.head_channels(), 3 * g.channels, frame * g.plane());
        let queries = &task.qkv[(task.direction.query + first) * stride + task.head * channels..];
        let sizes = [g.plane(), channels];
        let rows = E::rows(self.level, queries, sizes, stride, held.rounded);
        let sizes = self.query_sizes();
        sizes.pack_transposed(rows, held.queries);
        let panels = held.queries[..sizes.len::<E>()].chunks_exact(sizes.panel_len::<E>());
        for (index, panels) in panels.enumerate() {
            let queries = Right { sizes: sizes.panel(index), panels, bias: &[] };
            let first = index * sizes.width();
            let buffer = &mut *held.probabilities;
            self.answer_panel(task, asked, [frame, first], (queries, buffer), out);
        }
    }

    /// What a panel of queries finds, of a frame and from some place of it on.
    fn answer_panel<E: Probability>(
        &self,
        Task { head, direction, regions, .. }: Task<'_>,
        asked: Asked<'_, E>,
        [frame, first]: [usize; 2],
        (queries, buffer): (Right<'_, E>, &mut [E]),
        out: &mut Columns<'_>,
    ) {
        let (g, level, len) = (self.geometry, self.level, direction.len);
        let (channels, width, count) =
            (g.head_channels(), queries.sizes.width(), queries.sizes.columns());
        let token = frame * g.plane() + first;
        let start = self.bias.map_or(Start::Bias, |bias| bias.start(head, frame, first));
        with_scratch([len * width, channels * width, width], |[logits, found, scales]| {
            multiply(level, Product { rows: asked.keys, right: queries, start }, logits, width);
            // Mutual attention takes the first frame's regions for both frames.
            let regions = regions.map(|all| [&all[token..token + count], &all[..len]]);
            let logits = Logits { values: logits, width, regions };
            let panels = E::of(level, logits, scales, buffer);
            let sizes = PanelSizes::new(level, [len, count]);
            let right = Right { sizes, panels, bias: &[] };
            let product = Product { rows: asked.values, right, start: Start::Bias };
            multiply(level, product, found, width);
            let rows = &mut out.values[(direction.out + token) * out.stride + head * channels..];
            for (query, scale) in scales[..count].iter().enumerate() {
                let row = &mut rows[query * out.stride..][..channels];
                for (channel, value) in row.iter_mut().enumerate() {
                    *value = found[channel * width + query] * scale;
                }
            }
        });
    }
}
