//! The attention of one window, all of it in the core's own cache.

use super::softmax::{Added, exponentials, scale_rows};
use super::{Attention, Direction, WindowGeometry};
use crate::level::Level;
use crate::product::{PanelSizes, Product, Right, Rows, Start, multiply};

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
struct Asked<'a> {
    keys: Right<'a>,
    values: Right<'a>,
}

/// Where a head's results go: its columns of rows `stride` apart.
#[derive(Debug)]
pub(crate) struct Columns<'a> {
    pub(crate) values: &'a mut [f32],
    pub(crate) stride: usize,
}

impl Heads<'_> {
    /// Values of the buffer that [`Self::attend`] needs.
    pub(crate) fn scratch_len(&self) -> usize {
        let tokens = self.geometry.tokens();
        let [keys, values] = self.panels(tokens);
        keys.len() + values.len() + QUERY_ROWS * (tokens + 1)
    }

    /// Sizes of the keys and values of `len` tokens.
    fn panels(&self, len: usize) -> [PanelSizes; 2] {
        let channels = self.geometry.head_channels();
        [[channels, len], [len, channels]].map(|sizes| PanelSizes::new(self.level, sizes))
    }

    /// Writes a window's attention, `[tokens, channels]` in the first columns of `out`.
    ///
    /// `qkv` is `[tokens, 3 · channels]` with the queries scaled, `regions` is one number a token
    /// or `None` where all are of one region.
    pub(crate) fn attend(
        &self,
        qkv: &[f32],
        regions: Option<&[u8]>,
        scratch: &mut [f32],
        out: &mut Columns<'_>,
    ) {
        for direction in self.attention.directions(self.geometry.tokens()) {
            for head in 0..self.geometry.heads {
                self.attend_head(head, direction, (qkv, regions), scratch, out);
            }
        }
    }

    fn attend_head(
        &self,
        head: usize,
        direction: Direction,
        (qkv, regions): (&[f32], Option<&[u8]>),
        scratch: &mut [f32],
        out: &mut Columns<'_>,
    ) {
        let g = self.geometry;
        let (channels, stride, len) = (g.head_channels(), 3 * g.channels, direction.len);
        let [key_sizes, value_sizes] = self.panels(len);
        let (keys, rest) = scratch.split_at_mut(key_sizes.len());
        let (values, rest) = rest.split_at_mut(value_sizes.len());
        let (logits, rest) = rest.split_at_mut(QUERY_ROWS * len);
        let asked = direction.key * stride + head * channels;
        key_sizes.pack_transposed(&qkv[asked + g.channels..], stride, keys);
        value_sizes.pack(&qkv[asked + 2 * g.channels..], stride, values);
        let asked = Asked {
            keys: Right { sizes: key_sizes, panels: keys, bias: &[] },
            values: Right { sizes: value_sizes, panels: values, bias: &[] },
        };
        for first in (0..len).step_by(QUERY_ROWS) {
            let count = QUERY_ROWS.min(len - first);
            let queries = &qkv[(direction.query + first) * stride + head * channels..];
            let queries = Rows::strided(queries, [count, channels], stride);
            let bias = self.bias.map(|bias| &bias[(head * len + first) * len..][..count * len]);
            // Mutual attention takes the first frame's regions for both frames.
            let regions = regions.map(|all| [&all[first..first + count], &all[..len]]);
            let (logits, scales) = (&mut logits[..count * len], &mut rest[..count]);
            let start = bias.map_or(Start::Bias, Start::Matrix);
            multiply(self.level, Product { rows: queries, right: asked.keys, start }, logits, len);
            exponentials(self.level, logits, Added { bias: None, regions }, scales);
            let at = (direction.out + first) * out.stride + head * channels;
            let out_rows = &mut out.values[at..];
            let rows = Rows::dense(logits, [count, len]);
            let product = Product { rows, right: asked.values, start: Start::Bias };
            multiply(self.level, product, out_rows, out.stride);
            scale_rows(self.level, out_rows, [out.stride, channels], scales);
        }
    }
}
