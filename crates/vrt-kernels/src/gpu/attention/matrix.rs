//! Attention by matrix units: planes multiply the tokens that a cube owns with some tokens of their
//! window at a time.
//!
//! What is multiplied is rounded: queries, keys, values, weights, and gradients on their way back.
//! Logits, the softmax and all sums are `f32`.

use cubecl::ir::DeviceProperties;
use cubecl::prelude::*;

use super::forward::{LEAST, asking};
use super::window::{Attention, Map, mask_region, token};
use crate::gpu::units::{Block, Format, LARGEST, MatrixUnits, Side, rounded};
use crate::window_attention::WindowGeometry;

pub(super) mod found;
pub(super) mod gradient;

/// Tokens that a cube owns.
const OWN: usize = 64;
/// Planes of a cube: each has a part of them.
const PLANES: usize = 4;
/// Values behind a line of 16 bits, and of 32.
const GAPS: [usize; 2] = [8, 4];
/// Bytes of memory of a cube that are used at most.
const MEMORY: usize = 48 << 10;

/// What a cube multiplies at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Shape {
    units: MatrixUnits,
    /// Channels of a head and the column of ones, filled up.
    depth: usize,
    /// Tokens that those of a cube meet at a time.
    met: usize,
    /// Whether gradients are found, for which a cube's tokens have more in its memory.
    gradients: bool,
}

impl Shape {
    /// For heads of so many channels; none where they do not fit in a cube's memory.
    pub(super) fn new(
        units: MatrixUnits,
        kind: &Attention,
        properties: &DeviceProperties,
        gradients: bool,
    ) -> Option<Self> {
        let depth = (kind.depth + 1).next_multiple_of(LARGEST);
        let most = MEMORY.min(properties.hardware.max_shared_memory_size);
        let shapes = [32, 16].map(|met| Self { units, depth, met, gradients });
        shapes.into_iter().find(|shape| shape.bytes() <= most)
    }

    fn bytes(&self) -> usize {
        let rows = OWN + self.more() + 2 * self.met;
        let halves = rows * self.row() + OWN * self.weights();
        let singles = OWN * (self.logits() + self.sums() + 5) + self.more() + 3 * self.met;
        2 * halves + 4 * singles
    }

    /// Lines behind those of a cube's tokens.
    fn more(&self) -> usize {
        if self.gradients { OWN } else { 1 }
    }

    /// From a line of queries, keys, values or gradients to the next.
    fn row(&self) -> usize {
        self.depth + GAPS[0]
    }

    /// The same for weights, logits and what was found.
    fn weights(&self) -> usize {
        self.met + GAPS[0]
    }

    fn logits(&self) -> usize {
        self.met + GAPS[1]
    }

    fn found(&self) -> usize {
        self.depth + GAPS[1]
    }

    /// Values of a line that is that of what was found, or of as many sums as logits.
    fn sums(&self) -> usize {
        self.found().max(self.logits())
    }

    /// Own tokens with those that they meet.
    fn logits_block(&self) -> Block {
        let side = |lines| Side { stride: self.row(), by_lines: true, lines };
        let (left, right) = (side(OWN / PLANES), side(self.met));
        Block { units: self.units, left, right, inputs: self.depth }
    }

    /// Weights with what tokens that are met have.
    fn found_block(&self) -> Block {
        let left = Side { stride: self.weights(), by_lines: true, lines: OWN / PLANES };
        let right = Side { stride: self.row(), by_lines: false, lines: self.depth };
        Block { units: self.units, left, right, inputs: self.met }
    }

    pub(super) fn format(&self) -> Format {
        self.units.format
    }

    /// Units of a cube.
    pub(super) fn cube(&self) -> usize {
        PLANES * self.units.plane
    }

    /// Cubes that own every token of every window and head.
    pub(super) fn cubes(&self, kind: &Attention, geometry: &WindowGeometry) -> usize {
        let blocks = kind.side().div_ceil(OWN);
        geometry.batch * geometry.windows() * kind.heads * kind.sides() * blocks
    }

    /// Cubes that own every pair of tokens of a window, for every head.
    pub(super) fn pair_cubes(&self, kind: &Attention) -> usize {
        kind.heads * kind.tokens().div_ceil(OWN) * kind.tokens().div_ceil(self.met)
    }
}

/// Tokens that are in a cube's memory.
#[derive(CubeType)]
struct Tokens {
    places: Shared<[u32]>,
    codes: Shared<[u32]>,
    regions: Shared<[u32]>,
}

#[cube]
impl Tokens {
    fn new(#[comptime] len: usize) -> Tokens {
        Tokens {
            places: Shared::new_slice(len),
            codes: Shared::new_slice(len),
            regions: Shared::new_slice(len),
        }
    }

    fn put(
        &mut self,
        i: usize,
        number: usize,
        window: usize,
        map: &Map,
        #[comptime] kind: Attention,
    ) {
        let token = token(number, window, map, kind);
        self.places[i] = u32::cast_from(token.at);
        self.codes[i] = token.code;
        self.regions[i] = mask_region(number, window, map, kind);
    }
}

/// What a cube works on: some tokens of a side of a window, for a head.
#[derive(CubeType, Clone, Copy)]
struct Share {
    window: usize,
    head: usize,
    /// First token of the side.
    first: usize,
    /// First token of the cube, from there.
    own: usize,
}

#[cube]
fn share(#[comptime] kind: Attention) -> Share {
    let blocks = comptime!(kind.side().div_ceil(OWN));
    Share {
        window: CUBE_POS / comptime!(blocks * kind.sides() * kind.heads),
        head: CUBE_POS / comptime!(blocks * kind.sides()) % comptime!(kind.heads),
        first: CUBE_POS / blocks % comptime!(kind.sides()) * comptime!(kind.side()),
        own: CUBE_POS % blocks * OWN,
    }
}

/// A cube's own memory. For the output and the gradients of queries, its tokens are queries and meet
/// keys; for those of keys it is the other way round.
#[derive(CubeType)]
struct Memory<E: Float> {
    /// Queries, or keys.
    own: Shared<[E]>,
    /// What goes with them, where gradients are found: gradients of the output, or values.
    own_more: Shared<[E]>,
    met: Shared<[E]>,
    met_more: Shared<[E]>,
    weights: Shared<[E]>,
    logits: Shared<[f32]>,
    /// Σ weight · value, and Σ weight behind it; then products of gradients and values.
    found: Shared<[f32]>,
    /// The largest logit of each query so far; then log Σ exp(logit).
    largest: Shared<[f32]>,
    /// What the last largest logit makes of the sums before; then gradient · output.
    shrink: Shared<[f32]>,
    own_tokens: Tokens,
    met_tokens: Tokens,
    /// Places of the output of queries, where gradients are found: of a cube's own, or, never more, of
    /// those that are met.
    outs: Shared<[u32]>,
}

#[cube]
fn memory<E: Float>(#[comptime] shape: Shape) -> Memory<E> {
    let met = comptime!(shape.met);
    Memory::<E> {
        own: Shared::new_aligned_slice(comptime!(OWN * shape.row()), 32usize),
        own_more: Shared::new_aligned_slice(comptime!(shape.more() * shape.row()), 32usize),
        met: Shared::new_aligned_slice(comptime!(met * shape.row()), 32usize),
        met_more: Shared::new_aligned_slice(comptime!(met * shape.row()), 32usize),
        weights: Shared::new_aligned_slice(comptime!(OWN * shape.weights()), 32usize),
        logits: Shared::new_aligned_slice(comptime!(OWN * shape.logits()), 32usize),
        found: Shared::new_aligned_slice(comptime!(OWN * shape.sums()), 32usize),
        largest: Shared::new_slice(OWN),
        shrink: Shared::new_slice(OWN),
        own_tokens: Tokens::new(OWN),
        met_tokens: Tokens::new(met),
        outs: Shared::new_slice(comptime!(shape.more())),
    }
}

/// Which of what tokens have is read: they lie `width` values apart.
#[derive(CubeType, Clone, Copy)]
struct Part {
    width: usize,
    /// First channel of the head.
    start: usize,
    factor: f32,
    /// What stands behind the channels.
    behind: f32,
}

/// Part 0, 1, 2 of what a head's tokens ask: queries, keys or values.
#[cube]
fn asked(head: usize, #[comptime] part: usize, #[comptime] kind: Attention) -> Part {
    let of_heads = comptime!(kind.heads * kind.depth);
    let factor = comptime!(if part == 0 { (kind.depth as f32).sqrt().recip() } else { 1.0 });
    Part {
        width: comptime!(3 * of_heads).runtime(),
        start: head * comptime!(kind.depth) + comptime!(part * of_heads),
        factor: factor.runtime(),
        behind: comptime!(if part == 2 { 1.0f32 } else { 0.0f32 }).runtime(),
    }
}

/// Reads what tokens at `len` places have, rounded; all units of a cube together.
#[cube]
fn read<E: Float>(
    to: &mut Shared<[E]>,
    from: &[f32],
    places: &Shared<[u32]>,
    part: Part,
    #[comptime] len: usize,
    #[comptime] kind: Attention,
    #[comptime] shape: Shape,
) {
    let (depth, wide) = comptime!((kind.depth, shape.depth));
    let (unit, cube) = (usize::cast_from(UNIT_POS), usize::cast_from(CUBE_DIM));
    for i in range_stepped(unit, comptime!(len * wide), cube) {
        let (line, channel) = (i / wide, i % wide);
        let mut value = select(channel == depth, part.behind, 0.0f32);
        if channel < depth {
            let at = usize::cast_from(places[line]) * part.width + part.start + channel;
            value = from[at] * part.factor;
        }
        to[line * comptime!(shape.row()) + channel] =
            rounded::<E>(value, comptime!(shape.units.format));
    }
}

/// Looks up the tokens that a cube owns: queries of tokens of the output, or keys.
#[cube]
fn own_tokens<E: Float>(
    memory: &mut Memory<E>,
    share: &Share,
    map: &Map,
    #[comptime] are_queries: bool,
    #[comptime] kind: Attention,
    #[comptime] shape: Shape,
) {
    let (unit, cube) = (usize::cast_from(UNIT_POS), usize::cast_from(CUBE_DIM));
    for i in range_stepped(unit, OWN, cube) {
        let number = share.first + min(share.own + i, comptime!(kind.side() - 1));
        if comptime!(are_queries) {
            memory.own_tokens.put(i, asking(number, kind), share.window, map, kind);
            if comptime!(shape.gradients) {
                memory.outs[i] = u32::cast_from(token(number, share.window, map, kind).at);
            }
        } else {
            memory.own_tokens.put(i, number, share.window, map, kind);
        }
    }
}

/// The same for those that they meet, from `start` of the side on; behind its last one, its last
/// one.
#[cube]
fn met_tokens<E: Float>(
    memory: &mut Memory<E>,
    share: &Share,
    start: usize,
    map: &Map,
    #[comptime] are_queries: bool,
    #[comptime] kind: Attention,
    #[comptime] shape: Shape,
) {
    let (unit, cube) = (usize::cast_from(UNIT_POS), usize::cast_from(CUBE_DIM));
    for i in range_stepped(unit, comptime!(shape.met), cube) {
        let number = share.first + min(start + i, comptime!(kind.side() - 1));
        if comptime!(are_queries) {
            memory.met_tokens.put(i, asking(number, kind), share.window, map, kind);
            memory.outs[i] = u32::cast_from(token(number, share.window, map, kind).at);
        } else {
            memory.met_tokens.put(i, number, share.window, map, kind);
        }
    }
}
