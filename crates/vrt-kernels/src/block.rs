//! A whole attention block, window by window (sections 3.2 and 3.3 of arXiv:2201.12288):
//! `x += attention(norm(x))`, `x += mlp(norm(x))`.
//!
//! A window partition only reorders tokens, and everything in a block but attention is about one
//! token: so all of the block is computed while a window's tokens are in the core's own cache. They
//! are gathered by their places in the shifted map and scattered to the same places; activations
//! cross memory once in and once out.

pub use backward::BlockValues;

use std::cell::Cell;
use std::sync::Arc;

use crate::element::Pair;
use crate::level::{Level, at_every_level};
use crate::mlp::{Affine, MLP_ROWS, MlpWeights, PackedMlp};
use crate::norm::normalise;
use crate::parallel::{Kept, SharedOutput, for_each_index, with_kept, with_scratch};
use crate::precision::Precision;
use crate::product::Packed;
use crate::window_attention::{Attention, BiasPlanes, Columns, Heads, Probability, WindowGeometry};

mod backward;
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

    /// Channels of what attention finds, where it is mutual as well or not.
    pub fn attended(&self, mutual: bool) -> usize {
        self.windows.channels * if mutual { 2 } else { 1 }
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

/// Factors on what attention and the MLP add, for each clip: drop path
/// (arXiv:1603.09382). Empty for ones.
pub type Branches<'a> = &'a [[f32; 2]];

/// Where a block reads.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Where it writes.
    Output,
    /// Elsewhere: as many values as it writes.
    Values(&'a [f32]),
}

/// What a block is made of.
#[derive(Clone, Copy, Debug)]
pub struct Block<'a> {
    /// Its sizes.
    pub geometry: &'a BlockGeometry,
    /// Its parameters.
    pub weights: &'a BlockWeights<'a>,
    /// What it leaves out.
    pub branches: Branches<'a>,
}

impl Block<'_> {
    /// Runs the block on `input`, `[batch, d, h, w, channels]` of [`BlockGeometry::size`], and
    /// writes the same to `out`, in [`Precision::current`].
    ///
    /// What attention found, `[batch, d, h, w, channels]` or twice the channels where it is mutual
    /// as well, goes to `found`, unless that is empty: it spares the backward pass to find it again.
    ///
    /// # Panics
    ///
    /// Panics if a slice does not have the length that the geometry says, or as
    /// [`window_attention`](crate::window_attention::window_attention).
    pub fn forward(&self, input: Input<'_>, out: &mut [f32], found: &mut [f32]) {
        let level = Level::current();
        match Precision::current() {
            Precision::F32 | Precision::F16 => self.forward_at::<f32>(level, input, out, found),
            Precision::Bf16 => self.forward_at::<Pair>(level, input, out, found),
        }
    }

    fn forward_at<E: Probability>(
        &self,
        level: Level,
        input: Input<'_>,
        out: &mut [f32],
        found: &mut [f32],
    ) {
        self.check(out.len());
        if let Input::Values(values) = input {
            assert_eq!(values.len(), out.len(), "block: the input and the output differ in size");
        }
        let plan = Plan::<E>::new(level, *self);
        self.check_found(found.len());
        let out = SharedOutput::new(out);
        let found = (!found.is_empty()).then(|| SharedOutput::new(found));
        for_each_index(self.windows(), |window| {
            plan.with_window(window, |window| plan.run(window, input, (&out, found.as_ref())));
        });
    }

    /// Windows of all clips.
    fn windows(&self) -> usize {
        self.geometry.windows.batch * self.geometry.windows.windows()
    }

    /// Channels of what attention finds.
    fn attended(&self) -> usize {
        self.geometry.attended(self.weights.mutual.is_some())
    }

    fn check(&self, values: usize) {
        self.geometry.check(self.weights, values);
        let clips = self.geometry.windows.batch;
        assert!(
            self.branches.is_empty() || self.branches.len() == clips,
            "block: branches of {} clips, not {clips}",
            self.branches.len()
        );
    }

    fn check_found(&self, values: usize) {
        let len = self.geometry.len() / self.geometry.windows.channels * self.attended();
        assert!(values == 0 || values == len, "block: what attention found has {len} values");
    }
}

/// What all windows share.
#[derive(Debug)]
struct Plan<'a, E> {
    level: Level,
    block: Block<'a>,
    bias: Option<BiasPlanes>,
    qkv_self: Arc<Packed<E>>,
    qkv_mutual: Option<Arc<Packed<E>>>,
    proj: Arc<Packed<E>>,
    mlp: PackedMlp<E>,
}

/// A window, numbered over all clips, and where each of its tokens lies, counted over the tokens of
/// all clips; `None` for those that complete the map.
#[derive(Debug)]
struct Window<'a> {
    index: usize,
    places: &'a [Option<usize>],
    /// Tokens of the map.
    inside: usize,
    /// Regions of its tokens, where it has more than one.
    regions: Option<&'a [u8]>,
}

thread_local! {
    /// Places of a window's tokens.
    static PLACES: Kept<Option<usize>> = const { Cell::new(Vec::new()) };
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
    fn new(level: Level, block: Block<'a>) -> Self {
        let (g, weights) = (&block.geometry.windows, block.weights);
        // The factor on the queries is in the weight that makes them.
        let queries = |layer: &Affine<'_>| layer.packed_scaled(level, g.channels, Heads::scale(g));
        Self {
            level,
            block,
            bias: Attention::SelfBiased { table: weights.table }.planes(g),
            qkv_self: queries(&weights.qkv_self),
            qkv_mutual: weights.mutual.as_ref().map(|mutual| queries(&mutual.qkv)),
            proj: weights.proj.packed(level),
            mlp: PackedMlp::new(level, &weights.mlp),
        }
    }

    fn windows(&self) -> &'a WindowGeometry {
        &self.block.geometry.windows
    }

    fn heads(&self, mutual: bool) -> Heads<'_> {
        let attention = match mutual {
            true => Attention::Mutual,
            false => Attention::SelfBiased { table: self.block.weights.table },
        };
        let bias = self.bias.as_ref().filter(|_| !mutual);
        Heads { level: self.level, geometry: self.windows(), attention, bias }
    }

    /// Factors on what attention and the MLP of a window add.
    fn branches(&self, window: &Window<'_>) -> [f32; 2] {
        let clip = window.index / self.windows().windows();
        self.block.branches.get(clip).copied().unwrap_or([1.0; 2])
    }

    /// The block on one window.
    fn run(
        &self,
        window: &Window<'_>,
        input: Input<'_>,
        (out, found): (&SharedOutput<'_>, Option<&SharedOutput<'_>>),
    ) {
        let g = self.windows();
        let (tokens, channels, stride) = (g.tokens(), g.channels, self.block.attended());
        if window.inside == 0 {
            return;
        }
        let rounded = self.qkv_self.rounded_len(tokens).max(self.proj.rounded_len(tokens));
        let rounded = rounded.max(self.mlp.rounded_len(MLP_ROWS));
        let [of_inside, of_all] = [window.inside, tokens].map(|rows| rows * channels);
        let scratch = self.mlp.scratch_len();
        let lens = [of_inside, of_all, 3 * of_all, tokens * stride, scratch];
        with_kept(E::kept(), [rounded], |[rounded]| {
            with_scratch(lens, |[tokens, normal, qkv, attended, scratch]| {
                let mut held = Held { tokens, normal, qkv, attended, scratch, rounded };
                gather(window.places, input, out, (held.tokens, channels));
                let [of_attention, of_mlp] = self.branches(window);
                // Where it is kept it is written, whatever becomes of it.
                if of_attention != 0.0 || found.is_some() {
                    self.attend(window, of_attention, &mut held);
                }
                if let Some(found) = found {
                    let attended = &held.attended[..window.inside * stride];
                    scatter(window.places, (attended, stride), found);
                }
                if of_mlp != 0.0 {
                    self.widen(of_mlp, &mut held);
                }
                scatter(window.places, (held.tokens, channels), out);
            });
        });
    }

    /// Calls `work` with a window.
    fn with_window<T>(&self, index: usize, work: impl FnOnce(&Window<'_>) -> T) -> T {
        let (g, size) = (self.windows(), self.block.geometry.size);
        let clip = index / g.windows();
        with_kept(&PLACES, [g.tokens()], |[places]| {
            let (mut token, mut inside) = (0, 0);
            g.for_tokens(index, |at| {
                let is_inside = at.iter().zip(size).all(|(at, size)| *at < size);
                let place = at.iter().zip(size).fold(clip, |sum, (at, size)| sum * size + at);
                places[token] = is_inside.then_some(place);
                inside += usize::from(is_inside);
                token += 1;
            });
            g.with_regions(index, |regions| work(&Window { index, places, inside, regions }))
        })
    }

    /// `tokens += factor · proj(attention(norm(tokens)))`; what attention found stays, without the
    /// tokens that complete the map.
    fn attend(&self, window: &Window<'_>, factor: f32, held: &mut Held<'_, E>) {
        let stride = self.block.attended();
        self.normalise(window, held.tokens, held.normal);
        let own = &mut held.attended[stride - self.windows().channels..];
        let mut own = Columns { values: own, stride };
        self.qkv_self.apply_dense(held.normal, held.rounded, held.qkv);
        self.heads(false).attend::<E>(held.qkv, window.regions, &mut own);
        if let Some(qkv) = &self.qkv_mutual {
            self.add_positions(held.normal);
            qkv.apply_dense(held.normal, held.rounded, held.qkv);
            let mut found = Columns { values: &mut *held.attended, stride };
            self.heads(true).attend::<E>(held.qkv, window.regions, &mut found);
        }
        keep_inside(window, held.attended, stride);
        let attended = &held.attended[..window.inside * stride];
        self.proj.apply_dense(attended, held.rounded, held.normal);
        add(self.level, held.tokens, factor, held.normal);
    }

    /// Adds the code of each token's place for mutual attention.
    fn add_positions(&self, normal: &mut [f32]) {
        let Some(mutual) = &self.block.weights.mutual else { return };
        for frame in normal.chunks_exact_mut(mutual.positions.len()) {
            add(self.level, frame, 1.0, mutual.positions);
        }
    }

    /// The norm before attention; zeros where a token completes the map.
    fn normalise(&self, window: &Window<'_>, tokens: &[f32], normal: &mut [f32]) {
        let (channels, norm) = (self.windows().channels, &self.block.weights.norm1);
        normalise(self.level, tokens, norm.weight, norm.bias, normal);
        spread(window, normal, channels);
    }

    /// `tokens += factor · mlp(norm(tokens))`
    fn widen(&self, factor: f32, held: &mut Held<'_, E>) {
        let (channels, norm) = (self.windows().channels, &self.block.weights.norm2);
        let found = &mut *held.qkv;
        for tokens in held.tokens.chunks_mut(MLP_ROWS * channels) {
            let normal = &mut held.normal[..tokens.len()];
            normalise(self.level, tokens, norm.weight, norm.bias, normal);
            let found = &mut found[..tokens.len()];
            self.mlp.forward(normal, held.scratch, held.rounded, found);
            add(self.level, tokens, factor, found);
        }
    }
}

/// Moves the rows of the map's tokens to the front.
fn keep_inside(window: &Window<'_>, rows: &mut [f32], stride: usize) {
    if window.inside == window.places.len() {
        return;
    }
    let kept = window.places.iter().enumerate().filter(|(_, place)| place.is_some());
    for (to, (from, _)) in kept.enumerate() {
        rows.copy_within(from * stride..(from + 1) * stride, to * stride);
    }
}

/// The inverse of [`keep_inside`]; rows of tokens that complete the map become zero.
fn spread(window: &Window<'_>, rows: &mut [f32], stride: usize) {
    let mut left = window.inside;
    if left == window.places.len() {
        return;
    }
    // From the end, so that nothing is overwritten before it has moved.
    for (to, place) in window.places.iter().enumerate().rev() {
        let to = to * stride;
        if place.is_some() {
            left -= 1;
            rows.copy_within(left * stride..(left + 1) * stride, to);
        } else {
            rows[to..to + stride].fill(0.0);
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

at_every_level! {
    fn add(sum: &mut [f32], factor: f32, values: &[f32]) = add_body;
}

#[inline(always)]
fn add_body<const FUSED: bool>(sum: &mut [f32], factor: f32, values: &[f32]) {
    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += factor * value);
}
