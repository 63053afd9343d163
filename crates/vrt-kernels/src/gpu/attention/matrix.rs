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
    fn to_logits(&self) -> Block {
        let side = |lines| Side { stride: self.row(), by_lines: true, lines };
        let (left, right) = (side(QUERIES / PLANES), side(self.keys));
        Block { units: self.units, left, right, inputs: self.depth }
    }

    /// Weights with values.
    fn to_found(&self) -> Block {
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
    let (depth, side, heads) = comptime!((kind.depth, kind.side(), kind.heads));
    let (wide, keys) = comptime!((shape.depth, shape.keys));
    let blocks = comptime!(side.div_ceil(QUERIES));
    let window = CUBE_POS / comptime!(blocks * kind.sides() * heads);
    if window >= map.windows {
        terminate!();
    }
    let head = CUBE_POS / comptime!(blocks * kind.sides()) % heads;
    let first = CUBE_POS / blocks % comptime!(kind.sides()) * side;
    let own = CUBE_POS % blocks * QUERIES;
    let (unit, cube) = (usize::cast_from(UNIT_POS), usize::cast_from(CUBE_DIM));

    let row = comptime!(shape.row());
    let mut queries = Shared::<[E]>::new_aligned_slice(comptime!(QUERIES * row), 32usize);
    let mut key = Shared::<[E]>::new_aligned_slice(comptime!(keys * row), 32usize);
    let mut value = Shared::<[E]>::new_aligned_slice(comptime!(keys * row), 32usize);
    let of_weights = comptime!(shape.weights());
    let mut weights = Shared::<[E]>::new_aligned_slice(comptime!(QUERIES * of_weights), 32usize);
    let of_logits = comptime!(shape.logits());
    let mut logits = Shared::<[f32]>::new_aligned_slice(comptime!(QUERIES * of_logits), 32usize);
    let of_found = comptime!(shape.found());
    let mut found = Shared::<[f32]>::new_aligned_slice(comptime!(QUERIES * of_found), 32usize);
    let mut largest = Shared::<[f32]>::new_slice(QUERIES);
    let mut shrink = Shared::<[f32]>::new_slice(QUERIES);
    let mut asking_tokens = Tokens::new(QUERIES);
    let mut asked = Tokens::new(keys);

    for i in range_stepped(unit, QUERIES, cube) {
        let number = asking(first + min(own + i, comptime!(side - 1)), kind);
        asking_tokens.put(i, number, window, map, kind);
        largest[i] = LEAST;
    }
    for i in range_stepped(unit, comptime!(QUERIES * of_found), cube) {
        found[i] = 0.0f32;
    }
    sync_cube();
    for i in range_stepped(unit, comptime!(QUERIES * wide), cube) {
        let (line, channel) = (i / wide, i % wide);
        let mut asks = 0.0f32;
        if channel < depth {
            let at = usize::cast_from(asking_tokens.places[line]);
            asks = qkv[at * comptime!(3 * heads * depth) + head * depth + channel] * scale(kind);
        }
        queries[line * row + channel] = rounded::<E>(asks, comptime!(shape.units.format));
    }

    let part = plane() * comptime!(QUERIES / PLANES);
    for start in range_stepped(0, side, keys) {
        for i in range_stepped(unit, keys, cube) {
            let number = first + min(start + i, comptime!(side - 1));
            asked.put(i, number, window, map, kind);
        }
        sync_cube();
        for i in range_stepped(unit, comptime!(keys * wide), cube) {
            let (line, channel) = (i / wide, i % wide);
            let mut answer = 0.0f32;
            let mut says = select(channel == depth, 1.0f32, 0.0f32);
            if channel < depth {
                let at = usize::cast_from(asked.places[line]) * comptime!(3 * heads * depth);
                answer = qkv[at + comptime!(heads * depth) + head * depth + channel];
                says = qkv[at + comptime!(2 * heads * depth) + head * depth + channel];
            }
            key[line * row + channel] = rounded::<E>(answer, comptime!(shape.units.format));
            value[line * row + channel] = rounded::<E>(says, comptime!(shape.units.format));
        }
        sync_cube();
        if plane() < PLANES {
            let block = comptime!(shape.to_logits());
            let mut sums = no_sums(block);
            add_products(&mut sums, &queries, &key, part, 0usize, block);
            store_sums(&sums, &mut logits, part * of_logits, of_logits, block);
        }
        sync_cube();
        for i in range_stepped(unit, comptime!(QUERIES * keys), cube) {
            let (line, k) = (i / keys, i % keys);
            let codes = (asking_tokens.codes[line], asked.codes[k]);
            let regions = (asking_tokens.regions[line], asked.regions[k]);
            let at = line * of_logits + k;
            let logit = logits[at] + added_by_table(table, head, codes, regions, kind);
            logits[at] = select(start + k < side, logit, LEAST);
        }
        sync_cube();
        for line in range_stepped(unit, QUERIES, cube) {
            let before = largest[line];
            let mut most = before;
            for k in 0..keys {
                most = max(most, logits[line * of_logits + k]);
            }
            largest[line] = most;
            shrink[line] = (before - most).exp();
        }
        sync_cube();
        for i in range_stepped(unit, comptime!(QUERIES * keys), cube) {
            let (line, k) = (i / keys, i % keys);
            let weight = (logits[line * of_logits + k] - largest[line]).exp();
            weights[line * of_weights + k] = rounded::<E>(weight, comptime!(shape.units.format));
        }
        for i in range_stepped(unit, comptime!(QUERIES * wide), cube) {
            let (line, channel) = (i / wide, i % wide);
            found[line * of_found + channel] *= shrink[line];
        }
        sync_cube();
        if plane() < PLANES {
            let block = comptime!(shape.to_found());
            let mut sums = load_sums(&found, part * of_found, of_found, block);
            add_products(&mut sums, &weights, &value, part, 0usize, block);
            store_sums(&sums, &mut found, part * of_found, of_found, block);
        }
        sync_cube();
    }
    for i in range_stepped(unit, comptime!(QUERIES * depth), cube) {
        let (line, channel) = (i / depth, i % depth);
        if own + line < side {
            let at = token(first + own + line, window, map, kind).at;
            let sum = found[line * of_found + depth];
            out[at * comptime!(heads * depth) + head * depth + channel] =
                found[line * of_found + channel] / sum;
        }
    }
}
