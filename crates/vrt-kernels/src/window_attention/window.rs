//! The attention of one window, all of it in the core's own cache.

use super::softmax::{Added, exponentials, scale_rows};
use super::{Attention, Direction, WindowGeometry};
use crate::element::Element;
use crate::level::Level;
use crate::parallel::{with_kept, with_scratch};
use crate::product::{PanelSizes, Product, Right, Start, multiply};

/// Queries whose logits are held at a time: whole tiles of every level's products.
const QUERY_ROWS: usize = 48;

/// What all windows of an attention share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads<'a> {
    pub(crate) level: Level,
    pub(crate) geometry: &'a WindowGeometry,
    pub(crate) attention: Attention<'a>,
    /// `[heads, tokens, tokens]`, where there is one.
    pub(crate) bias: Option<&'a [f32]>,
}

/// Keys, or values, of one head as products take them.
#[derive(Clone, Copy, Debug)]
struct Asked<'a, E> {
    keys: Right<'a, E>,
    values: Right<'a, E>,
}

/// Where a head's results go: its columns of rows `stride` apart.
#[derive(Debug)]
pub(crate) struct Columns<'a> {
    pub(crate) values: &'a mut [f32],
    pub(crate) stride: usize,
}

/// What one head of a window has to do.
#[derive(Clone, Copy, Debug)]
struct Task<'a> {
    head: usize,
    direction: Direction,
    /// `[tokens, 3 · channels]`
    qkv: &'a [f32],
    regions: Option<&'a [u8]>,
}

impl Heads<'_> {
    /// Writes a window's attention, `[tokens, channels]` in the first columns of `out`.
    ///
    /// `qkv` is `[tokens, 3 · channels]` with the queries scaled, `regions` is one number a token
    /// or `None` where all are of one region. Products are those of the element `E`.
    pub(crate) fn attend<E: Element>(
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

    fn attend_head<E: Element>(&self, task: Task<'_>, out: &mut Columns<'_>) {
        let g = self.geometry;
        let (channels, stride, len) = (g.head_channels(), 3 * g.channels, task.direction.len);
        let [key_sizes, value_sizes] =
            [[channels, len], [len, channels]].map(|sizes| PanelSizes::new(self.level, sizes));
        // The same buffer holds the keys, then queries, then probabilities, rounded.
        let rounded = E::rounded_len([len, channels]).max(E::rounded_len([QUERY_ROWS, len]));
        let lens = [key_sizes.len::<E>(), value_sizes.len::<E>(), rounded];
        with_kept(E::kept(), lens, |[keys, values, rounded]| {
            let asked = &task.qkv[task.direction.key * stride + task.head * channels..];
            let (level, sizes) = (self.level, [len, channels]);
            let rows = E::rows(level, &asked[g.channels..], sizes, stride, rounded);
            key_sizes.pack_transposed(rows, keys);
            value_sizes.pack(level, &asked[2 * g.channels..], stride, values);
            let asked = Asked {
                keys: Right { sizes: key_sizes, panels: keys, bias: &[] },
                values: Right { sizes: value_sizes, panels: values, bias: &[] },
            };
            for first in (0..len).step_by(QUERY_ROWS) {
                self.answer(task, asked, first, rounded, out);
            }
        });
    }

    /// What some queries of a head find, from `first` on.
    fn answer<E: Element>(
        &self,
        Task { head, direction, qkv, regions }: Task<'_>,
        asked: Asked<'_, E>,
        first: usize,
        rounded: &mut [E],
        out: &mut Columns<'_>,
    ) {
        let (g, level, len) = (self.geometry, self.level, direction.len);
        let (channels, stride) = (g.head_channels(), 3 * g.channels);
        let count = QUERY_ROWS.min(len - first);
        with_scratch([count * len, count], |[logits, scales]| {
            let queries = &qkv[(direction.query + first) * stride + head * channels..];
            let bias = self.bias.map(|bias| &bias[(head * len + first) * len..][..count * len]);
            let start = bias.map_or(Start::Bias, Start::Matrix);
            let rows = E::rows(level, queries, [count, channels], stride, rounded);
            multiply(level, Product { rows, right: asked.keys, start }, logits, len);
            // Mutual attention takes the first frame's regions for both frames.
            let regions = regions.map(|all| [&all[first..first + count], &all[..len]]);
            exponentials(level, logits, Added { bias: None, regions }, scales);
            let at = (direction.out + first) * out.stride + head * channels;
            let out_rows = &mut out.values[at..];
            let rows = E::rows(level, logits, [count, len], len, rounded);
            let product = Product { rows, right: asked.values, start: Start::Bias };
            multiply(level, product, out_rows, out.stride);
            scale_rows(level, out_rows, [out.stride, channels], scales);
        });
    }
}
