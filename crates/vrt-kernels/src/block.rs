//! A whole attention block, window by window (sections 3.2 and 3.3 of arXiv:2201.12288):
//! `x += attention(norm(x))`, `x += mlp(norm(x))`.
//!
//! A window partition only reorders tokens, and everything in a block but attention is about one
//! token: so all of the block is computed while a window's tokens are in the core's own cache. They
//! are gathered by their places in the shifted map and scattered to the same places; activations
//! cross memory once in and once out.

use crate::element::Pair;
use crate::level::Level;
use crate::mlp::{Affine, MLP_ROWS, MlpWeights, PackedMlp};
use crate::norm::normalise;
use crate::parallel::{SharedOutput, for_each_index, with_kept, with_scratch};
use crate::precision::Precision;
use crate::product::Packed;
use crate::window_attention::{Attention, BiasPlanes, Columns, Heads, Probability, WindowGeometry};

#[cfg(test)]
pub(crate) mod reference;
#[cfg(test)]
mod tests;

/// The sizes of an attention block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockGeometry {
    /// The windows, on the map completed to whole ones.
    pub windows: WindowGeometry,
    /// Frames, rows and columns of the map itself: what completes it takes part in attention as
    /// zeros behind the norm, and is dropped.
    pub size: [usize; 3],
    /// Hidden channels of the MLP.
    pub hidden: usize,
}

/// The parameters of an attention block, as published.
#[derive(Clone, Copy, Debug)]
pub struct BlockWeights<'a> {
    /// Weight and bias of the norm before attention.
    pub norm1: Affine<'a>,
    /// Queries, keys and values of self attention.
    pub qkv_self: Affine<'a>,
    /// `[(2·Wd−1)·(2·Wh−1)·(2·Ww−1), heads]`
    pub table: &'a [f32],
    /// Mutual attention, where the block has it.
    pub mutual: Option<MutualWeights<'a>>,
    /// What attention found, mutual first, to channels.
    pub proj: Affine<'a>,
    /// Weight and bias of the norm before the MLP.
    pub norm2: Affine<'a>,
    /// The MLP.
    pub mlp: MlpWeights<'a>,
}

/// The parameters of mutual attention.
#[derive(Clone, Copy, Debug)]
pub struct MutualWeights<'a> {
    /// Queries, keys and values.
    pub qkv: Affine<'a>,
    /// Code of each place of a frame of a window, `[Wh · Ww, channels]`, added to both frames.
    pub positions: &'a [f32],
}

impl BlockGeometry {
    /// Values of the map.
    pub fn len(&self) -> usize {
        self.windows.batch * self.size.iter().product::<usize>() * self.windows.channels
    }

    /// Whether there is nothing to compute.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn check(&self, weights: &BlockWeights<'_>, values: usize) {
        let WindowGeometry { channels, map, .. } = self.windows;
        self.windows.check(self.windows.qkv_len(), self.windows.out_len());
        assert!(
            self.size.iter().zip(map).all(|(size, map)| *size <= map),
            "block: the map is larger than its windows: {self:?}"
        );
        assert_eq!(values, self.len(), "block: the values do not have the sizes {self:?}");
        let norms = [&weights.norm1, &weights.norm2];
        assert!(
            norms.iter().all(|norm| [norm.weight.len(), norm.bias.len()] == [channels; 2]),
            "block: a norm does not fit {channels} channels"
        );
        weights.qkv_self.check("block", [channels, 3 * channels]);
        Attention::SelfBiased { table: weights.table }.check(&self.windows);
        let mut attended = channels;
        if let Some(mutual) = &weights.mutual {
            Attention::Mutual.check(&self.windows);
            mutual.qkv.check("block", [channels, 3 * channels]);
            let places = self.windows.tokens() / 2;
            assert_eq!(mutual.positions.len(), places * channels, "block: the code of places");
            attended += channels;
        }
        weights.proj.check("block", [attended, channels]);
        weights.mlp.check("block", [channels, self.hidden, channels]);
    }
}

/// Where a block reads.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Where it writes.
    Output,
    /// Elsewhere: as many values as it writes.
    Values(&'a [f32]),
}

/// Runs the block on `input`, `[batch, d, h, w, channels]` of [`BlockGeometry::size`], and writes
/// the same to `out`, in [`Precision::current`].
///
/// # Panics
///
/// Panics if a slice does not have the length that `geometry` says, or as
/// [`window_attention`](crate::window_attention::window_attention).
pub fn block(
    geometry: &BlockGeometry,
    weights: &BlockWeights<'_>,
    input: Input<'_>,
    out: &mut [f32],
) {
    let level = Level::current();
    match Precision::current() {
        Precision::F32 => block_at::<f32>(level, geometry, weights, input, out),
        Precision::Bf16 => block_at::<Pair>(level, geometry, weights, input, out),
    }
}

fn block_at<E: Probability>(
    level: Level,
    geometry: &BlockGeometry,
    weights: &BlockWeights<'_>,
    input: Input<'_>,
    out: &mut [f32],
) {
    geometry.check(weights, out.len());
    if let Input::Values(values) = input {
        assert_eq!(values.len(), out.len(), "block: the input and the output differ in size");
    }
    let plan = Plan::<E>::new(level, geometry, weights);
    let shared = SharedOutput::new(out);
    let windows = geometry.windows.batch * geometry.windows.windows();
    for_each_index(windows, |window| plan.run(window, input, &shared));
}

/// What all windows share.
#[derive(Debug)]
struct Plan<'a, E> {
    level: Level,
    geometry: &'a BlockGeometry,
    weights: &'a BlockWeights<'a>,
    bias: Option<BiasPlanes>,
    /// `[windows, tokens]`
    regions: Option<Vec<u8>>,
    qkv_self: Packed<E>,
    qkv_mutual: Option<Packed<E>>,
    proj: Packed<E>,
    mlp: PackedMlp<E>,
}

/// Values of a window that a task holds.
struct Held<'a, E> {
    /// Tokens of the map, `[inside, channels]`.
    tokens: &'a mut [f32],
    /// The same behind a norm, with those that complete the map.
    normal: &'a mut [f32],
    /// Queries, keys and values.
    qkv: &'a mut [f32],
    /// What attention found, mutual first.
    attended: &'a mut [f32],
    /// For the MLP.
    scratch: &'a mut [f32],
    /// For products.
    rounded: &'a mut [E],
}

impl<'a, E: Probability> Plan<'a, E> {
    fn new(level: Level, geometry: &'a BlockGeometry, weights: &'a BlockWeights<'a>) -> Self {
        let g = &geometry.windows;
        // The factor on the queries is in the weight that makes them.
        let queries = |layer: &Affine<'_>| layer.packed_scaled(level, g.channels, Heads::scale(g));
        Self {
            level,
            geometry,
            weights,
            bias: Attention::SelfBiased { table: weights.table }.planes(g),
            regions: g.regions(),
            qkv_self: queries(&weights.qkv_self),
            qkv_mutual: weights.mutual.as_ref().map(|mutual| queries(&mutual.qkv)),
            proj: weights.proj.packed(level),
            mlp: PackedMlp::new(level, &weights.mlp),
        }
    }

    fn heads(&self, mutual: bool) -> Heads<'_> {
        let attention = match mutual {
            true => Attention::Mutual,
            false => Attention::SelfBiased { table: self.weights.table },
        };
        let bias = self.bias.as_ref().filter(|_| !mutual);
        Heads { level: self.level, geometry: &self.geometry.windows, attention, bias }
    }

    /// Channels of what attention finds.
    fn attended(&self) -> usize {
        let kinds = if self.qkv_mutual.is_some() { 2 } else { 1 };
        kinds * self.geometry.windows.channels
    }

    /// The block on one window, windows numbered over all clips.
    fn run(&self, window: usize, input: Input<'_>, out: &SharedOutput<'_>) {
        let g = &self.geometry.windows;
        let (tokens, channels) = (g.tokens(), g.channels);
        let places = self.places(window);
        let inside = places.iter().flatten().count();
        if inside == 0 {
            return;
        }
        let rounded = self.qkv_self.rounded_len(tokens).max(self.proj.rounded_len(tokens));
        let rounded = rounded.max(self.mlp.rounded_len());
        let [of_inside, of_all] = [inside, tokens].map(|rows| rows * channels);
        let lens =
            [of_inside, of_all, 3 * of_all, tokens * self.attended(), self.mlp.scratch_len()];
        with_kept(E::kept(), [rounded], |[rounded]| {
            with_scratch(lens, |[tokens, normal, qkv, attended, scratch]| {
                let mut held = Held { tokens, normal, qkv, attended, scratch, rounded };
                gather(&places, input, out, (held.tokens, channels));
                self.attend(window, &places, &mut held);
                self.widen(&mut held);
                scatter(&places, (held.tokens, channels), out);
            });
        });
    }

    /// Where each token of a window lies, counted over the tokens of all clips; `None` for those
    /// that complete the map.
    fn places(&self, window: usize) -> Vec<Option<usize>> {
        let (g, size) = (&self.geometry.windows, self.geometry.size);
        let clip = window / g.windows();
        let place = |token: usize| {
            let at = g.token_place(window, token);
            let inside = at.iter().zip(size).all(|(at, size)| *at < size);
            inside.then(|| at.iter().zip(size).fold(clip, |sum, (at, size)| sum * size + at))
        };
        (0..g.tokens()).map(place).collect()
    }

    /// `tokens += proj(attention(norm(tokens)))`
    fn attend(&self, window: usize, places: &[Option<usize>], held: &mut Held<'_, E>) {
        let g = &self.geometry.windows;
        let (channels, stride) = (g.channels, self.attended());
        self.normalise(places, held);
        let regions = g.window_regions(self.regions.as_deref(), window);
        self.qkv_self.apply_dense(held.normal, held.rounded, held.qkv);
        let mut own = Columns { values: &mut held.attended[stride - channels..], stride };
        self.heads(false).attend::<E>(held.qkv, regions, &mut own);
        if let (Some(qkv), Some(mutual)) = (&self.qkv_mutual, &self.weights.mutual) {
            for frame in held.normal.chunks_exact_mut(mutual.positions.len()) {
                frame.iter_mut().zip(mutual.positions).for_each(|(value, code)| *value += code);
            }
            qkv.apply_dense(held.normal, held.rounded, held.qkv);
            let mut found = Columns { values: &mut *held.attended, stride };
            self.heads(true).attend::<E>(held.qkv, regions, &mut found);
        }
        let inside = held.tokens.len() / channels;
        if inside < places.len() {
            let kept = places.iter().enumerate().filter(|(_, place)| place.is_some());
            for (to, (from, _)) in kept.enumerate() {
                held.attended.copy_within(from * stride..(from + 1) * stride, to * stride);
            }
        }
        self.proj.apply_dense(&held.attended[..inside * stride], held.rounded, held.normal);
        add(held.tokens, held.normal);
    }

    /// The norm before attention; zeros where a token completes the map.
    fn normalise(&self, places: &[Option<usize>], held: &mut Held<'_, E>) {
        let (channels, norm) = (self.geometry.windows.channels, &self.weights.norm1);
        normalise(self.level, held.tokens, norm.weight, norm.bias, held.normal);
        let mut left = held.tokens.len() / channels;
        if left == places.len() {
            return;
        }
        // From the end, so that nothing is overwritten before it has moved.
        for (to, place) in places.iter().enumerate().rev() {
            let to = to * channels;
            if place.is_some() {
                left -= 1;
                held.normal.copy_within(left * channels..(left + 1) * channels, to);
            } else {
                held.normal[to..to + channels].fill(0.0);
            }
        }
    }

    /// `tokens += mlp(norm(tokens))`
    fn widen(&self, held: &mut Held<'_, E>) {
        let (channels, norm) = (self.geometry.windows.channels, &self.weights.norm2);
        let found = &mut *held.qkv;
        for tokens in held.tokens.chunks_mut(MLP_ROWS * channels) {
            let normal = &mut held.normal[..tokens.len()];
            normalise(self.level, tokens, norm.weight, norm.bias, normal);
            let found = &mut found[..tokens.len()];
            self.mlp.forward(normal, held.scratch, held.rounded, found);
            add(tokens, found);
        }
    }
}

/// Copies a window's tokens to `tokens`.
fn gather(
    places: &[Option<usize>],
    input: Input<'_>,
    out: &SharedOutput<'_>,
    (tokens, channels): (&mut [f32], usize),
) {
    for (place, row) in places.iter().flatten().zip(tokens.chunks_exact_mut(channels)) {
        match input {
            Input::Values(values) => row.copy_from_slice(&values[place * channels..][..channels]),
            // SAFETY: each token is in one window, so no other task writes here.
            Input::Output => unsafe { out.read(place * channels, row) },
        }
    }
}

/// Copies a window's tokens back.
fn scatter(places: &[Option<usize>], (tokens, channels): (&[f32], usize), out: &SharedOutput<'_>) {
    for (place, row) in places.iter().flatten().zip(tokens.chunks_exact(channels)) {
        // SAFETY: each token is in one window, so no other task reads or writes here.
        unsafe { out.write(place * channels, row) };
    }
}

fn add(sum: &mut [f32], values: &[f32]) {
    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
}
