//! The output by matrix units: planes multiply the queries of a cube with some keys of their window
//! at a time, and the weights with the values.
//!
//! Queries, keys, values and weights are rounded; logits, the softmax and its sums are `f32`. The
//! values have a column of ones behind their channels, which sums the weights as they are multiplied.

use cubecl::ir::DeviceProperties;
use cubecl::prelude::*;

use super::forward::{LEAST, asking, scale};
use super::window::{Attention, Map, added_by_table, mask_region, token};
use crate::gpu::units::{
    Block, Format, LARGEST, MatrixUnits, Side, add_products, load_sums, no_sums, plane, rounded,
    store_sums,
};
use crate::window_attention::WindowGeometry;

/// Queries of a cube.
const QUERIES: usize = 64;
/// Planes of a cube: each has a part of the queries.
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
    keys: usize,
}

impl Shape {
    /// For heads of so many channels; none where they do not fit in a cube's memory.
    pub(super) fn new(
        units: MatrixUnits,
        kind: &Attention,
        properties: &DeviceProperties,
    ) -> Option<Self> {
        let depth = (kind.depth + 1).next_multiple_of(LARGEST);
        let most = MEMORY.min(properties.hardware.max_shared_memory_size);
        let shapes = [32, 16].map(|keys| Self { units, depth, keys });
        shapes.into_iter().find(|shape| shape.bytes() <= most)
    }

    fn bytes(&self) -> usize {
        let halves = QUERIES * (self.row() + self.weights()) + 2 * self.keys * self.row();
        let singles = QUERIES * (self.logits() + self.found() + 5) + 3 * self.keys;
        2 * halves + 4 * singles
    }

    /// From a line of queries, keys or values to the next.
    fn row(&self) -> usize {
        self.depth + GAPS[0]
    }

    /// The same for weights, logits and what was found.
    fn weights(&self) -> usize {
        self.keys + GAPS[0]
    }

    fn logits(&self) -> usize {
        self.keys + GAPS[1]
    }

    fn found(&self) -> usize {
        self.depth + GAPS[1]
    }

    /// Queries with keys.
    fn logits_block(&self) -> Block {
        let side = |lines| Side { stride: self.row(), by_lines: true, lines };
        let (left, right) = (side(QUERIES / PLANES), side(self.keys));
        Block { units: self.units, left, right, inputs: self.depth }
    }

    /// Weights with values.
    fn found_block(&self) -> Block {
        let left = Side { stride: self.weights(), by_lines: true, lines: QUERIES / PLANES };
        let right = Side { stride: self.row(), by_lines: false, lines: self.depth };
        Block { units: self.units, left, right, inputs: self.keys }
    }

    pub(super) fn format(&self) -> Format {
        self.units.format
    }

    /// Units of a cube.
    pub(super) fn cube(&self) -> usize {
        PLANES * self.units.plane
    }

    /// Cubes in which every token of every window and head is asked for.
    pub(super) fn cubes(&self, kind: &Attention, geometry: &WindowGeometry) -> usize {
        let blocks = kind.side().div_ceil(QUERIES);
        geometry.batch * geometry.windows() * kind.heads * kind.sides() * blocks
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

/// What a cube works on: some queries of a side of a window, for a head.
#[derive(CubeType, Clone, Copy)]
struct Share {
    window: usize,
    head: usize,
    /// First token of the side.
    first: usize,
    /// First query of the cube, from there.
    own: usize,
}

#[cube]
fn share(#[comptime] kind: Attention) -> Share {
    let blocks = comptime!(kind.side().div_ceil(QUERIES));
    Share {
        window: CUBE_POS / comptime!(blocks * kind.sides() * kind.heads),
        head: CUBE_POS / comptime!(blocks * kind.sides()) % comptime!(kind.heads),
        first: CUBE_POS / blocks % comptime!(kind.sides()) * comptime!(kind.side()),
        own: CUBE_POS % blocks * QUERIES,
    }
}

/// A cube's own memory.
#[derive(CubeType)]
struct Memory<E: Float> {
    queries: Shared<[E]>,
    keys: Shared<[E]>,
    values: Shared<[E]>,
    weights: Shared<[E]>,
    logits: Shared<[f32]>,
    /// Σ weight · value, and Σ weight behind it.
    found: Shared<[f32]>,
    /// The largest logit of each query so far, and what that makes of the sums before.
    largest: Shared<[f32]>,
    shrink: Shared<[f32]>,
    asking: Tokens,
    asked: Tokens,
}

#[cube]
fn memory<E: Float>(#[comptime] shape: Shape) -> Memory<E> {
    let keys = comptime!(shape.keys);
    Memory::<E> {
        queries: Shared::new_aligned_slice(comptime!(QUERIES * shape.row()), 32usize),
        keys: Shared::new_aligned_slice(comptime!(keys * shape.row()), 32usize),
        values: Shared::new_aligned_slice(comptime!(keys * shape.row()), 32usize),
        weights: Shared::new_aligned_slice(comptime!(QUERIES * shape.weights()), 32usize),
        logits: Shared::new_aligned_slice(comptime!(QUERIES * shape.logits()), 32usize),
        found: Shared::new_aligned_slice(comptime!(QUERIES * shape.found()), 32usize),
        largest: Shared::new_slice(QUERIES),
        shrink: Shared::new_slice(QUERIES),
        asking: Tokens::new(QUERIES),
        asked: Tokens::new(keys),
    }
}

/// Reads the queries, and begins with nothing found.
#[cube]
fn begin<E: Float>(
    memory: &mut Memory<E>,
    qkv: &[f32],
    share: &Share,
    map: &Map,
    #[comptime] kind: Attention,
    #[comptime] shape: Shape,
) {
    let (depth, heads, wide) = comptime!((kind.depth, kind.heads, shape.depth));
    let (unit, cube) = (usize::cast_from(UNIT_POS), usize::cast_from(CUBE_DIM));
    for i in range_stepped(unit, QUERIES, cube) {
        let number = share.first + min(share.own + i, comptime!(kind.side() - 1));
        memory.asking.put(i, asking(number, kind), share.window, map, kind);
        memory.largest[i] = LEAST;
    }
    for i in range_stepped(unit, comptime!(QUERIES * shape.found()), cube) {
        memory.found[i] = 0.0f32;
    }
    sync_cube();
    for i in range_stepped(unit, comptime!(QUERIES * wide), cube) {
        let (line, channel) = (i / wide, i % wide);
        let mut asks = 0.0f32;
        if channel < depth {
            let at = usize::cast_from(memory.asking.places[line]) * comptime!(3 * heads * depth);
            asks = qkv[at + share.head * depth + channel] * scale(kind);
        }
        memory.queries[line * comptime!(shape.row()) + channel] =
            rounded::<E>(asks, comptime!(shape.units.format));
    }
}

/// Reads keys and values from `start` of the side on; behind its last one, its last one.
#[cube]
fn read<E: Float>(
    memory: &mut Memory<E>,
    qkv: &[f32],
    share: &Share,
    start: usize,
    map: &Map,
    #[comptime] kind: Attention,
    #[comptime] shape: Shape,
) {
    let (depth, heads, wide) = comptime!((kind.depth, kind.heads, shape.depth));
    let (unit, cube) = (usize::cast_from(UNIT_POS), usize::cast_from(CUBE_DIM));
    for i in range_stepped(unit, comptime!(shape.keys), cube) {
        let number = share.first + min(start + i, comptime!(kind.side() - 1));
        memory.asked.put(i, number, share.window, map, kind);
    }
    sync_cube();
    for i in range_stepped(unit, comptime!(shape.keys * wide), cube) {
        let (line, channel) = (i / wide, i % wide);
        let mut answer = 0.0f32;
        let mut says = select(channel == depth, 1.0f32, 0.0f32);
        if channel < depth {
            let at = usize::cast_from(memory.asked.places[line]) * comptime!(3 * heads * depth)
                + share.head * depth
                + channel;
            answer = qkv[at + comptime!(heads * depth)];
            says = qkv[at + comptime!(2 * heads * depth)];
        }
        let at = line * comptime!(shape.row()) + channel;
        memory.keys[at] = rounded::<E>(answer, comptime!(shape.units.format));
        memory.values[at] = rounded::<E>(says, comptime!(shape.units.format));
    }
}

/// Adds bias and mask to the logits, and finds the largest of each query.
#[cube]
fn complete<E: Float>(
    memory: &mut Memory<E>,
    table: &[f32],
    share: &Share,
    start: usize,
    #[comptime] kind: Attention,
    #[comptime] shape: Shape,
) {
    let (keys, stride) = comptime!((shape.keys, shape.logits()));
    let (unit, cube) = (usize::cast_from(UNIT_POS), usize::cast_from(CUBE_DIM));
    for i in range_stepped(unit, comptime!(QUERIES * keys), cube) {
        let (line, k) = (i / keys, i % keys);
        let codes = (memory.asking.codes[line], memory.asked.codes[k]);
        let regions = (memory.asking.regions[line], memory.asked.regions[k]);
        let at = line * stride + k;
        let logit = memory.logits[at] + added_by_table(table, share.head, codes, regions, kind);
        memory.logits[at] = select(start + k < comptime!(kind.side()), logit, LEAST);
    }
    sync_cube();
    for line in range_stepped(unit, QUERIES, cube) {
        let before = memory.largest[line];
        let mut most = before;
        for k in 0..keys {
            most = max(most, memory.logits[line * stride + k]);
        }
        memory.largest[line] = most;
        memory.shrink[line] = (before - most).exp();
    }
}

/// Makes weights of logits, and measures what was found by the same largest logit.
#[cube]
fn weigh<E: Float>(memory: &mut Memory<E>, #[comptime] shape: Shape) {
    let (keys, wide) = comptime!((shape.keys, shape.depth));
    let (unit, cube) = (usize::cast_from(UNIT_POS), usize::cast_from(CUBE_DIM));
    for i in range_stepped(unit, comptime!(QUERIES * keys), cube) {
        let (line, k) = (i / keys, i % keys);
        let logit = memory.logits[line * comptime!(shape.logits()) + k];
        let weight = (logit - memory.largest[line]).exp();
        memory.weights[line * comptime!(shape.weights()) + k] =
            rounded::<E>(weight, comptime!(shape.units.format));
    }
    for i in range_stepped(unit, comptime!(QUERIES * wide), cube) {
        let (line, channel) = (i / wide, i % wide);
        memory.found[line * comptime!(shape.found()) + channel] *= memory.shrink[line];
    }
}

/// The output at the tokens of a cube.
#[cube(launch_unchecked)]
pub(super) fn attend<E: Float>(
    qkv: &[f32],
    table: &[f32],
    out: &mut [f32],
    map: &Map,
    #[comptime] kind: Attention,
    #[comptime] shape: Shape,
) {
    let share = share(kind);
    if share.window >= map.windows {
        terminate!();
    }
    let (depth, side, heads) = comptime!((kind.depth, kind.side(), kind.heads));
    let (to_logits, to_found) = comptime!((shape.logits_block(), shape.found_block()));
    let (of_logits, of_found) = comptime!((shape.logits(), shape.found()));
    let mut memory = memory::<E>(shape);
    begin(&mut memory, qkv, &share, map, kind, shape);
    let part = plane() * comptime!(QUERIES / PLANES);
    for start in range_stepped(0, side, comptime!(shape.keys)) {
        read(&mut memory, qkv, &share, start, map, kind, shape);
        sync_cube();
        if plane() < PLANES {
            let mut sums = no_sums(to_logits);
            add_products(&mut sums, &memory.queries, &memory.keys, part, 0usize, to_logits);
            store_sums(&sums, &mut memory.logits, part * of_logits, of_logits, to_logits);
        }
        sync_cube();
        complete(&mut memory, table, &share, start, kind, shape);
        sync_cube();
        weigh(&mut memory, shape);
        sync_cube();
        if plane() < PLANES {
            let mut sums = load_sums(&memory.found, part * of_found, of_found, to_found);
            add_products(&mut sums, &memory.weights, &memory.values, part, 0usize, to_found);
            store_sums(&sums, &mut memory.found, part * of_found, of_found, to_found);
        }
        sync_cube();
    }
    let (unit, cube) = (usize::cast_from(UNIT_POS), usize::cast_from(CUBE_DIM));
    for i in range_stepped(unit, comptime!(QUERIES * depth), cube) {
        let (line, channel) = (i / depth, i % depth);
        if share.own + line < side {
            let at = token(share.first + share.own + line, share.window, map, kind).at;
            let sum = memory.found[line * of_found + depth];
            out[at * comptime!(heads * depth) + share.head * depth + channel] =
                memory.found[line * of_found + channel] / sum;
        }
    }
}
