//! The output: a unit for each query.

use cubecl::prelude::*;

use super::window::{Attention, LEAST_TILE, Map, added, copy_bias, mask_region, token};

/// Keys that a unit weighs at once.
const GROUP: usize = LEAST_TILE;

/// Smaller than any logit.
pub(super) const LEAST: f32 = -1e30;

/// What a cube works on: a window, a head, a side and a part of its tokens.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Share {
    pub(super) window: usize,
    pub(super) head: usize,
    /// First token that is asked, or asks in turn.
    pub(super) first: usize,
    /// Token of the side that this unit owns, if it is below the side's tokens.
    pub(super) own: usize,
}

#[cube]
pub(super) fn share(#[comptime] kind: Attention) -> Share {
    let (blocks, sides) = comptime!((kind.blocks(), kind.sides()));
    let block = CUBE_POS % blocks;
    let side = CUBE_POS / blocks % sides;
    Share {
        window: CUBE_POS / comptime!(blocks * sides * kind.heads),
        head: CUBE_POS / comptime!(blocks * sides) % comptime!(kind.heads),
        first: side * comptime!(kind.side()),
        own: block * comptime!(kind.units()) + usize::cast_from(UNIT_POS),
    }
}

/// The token that asks where `number` is the token of the output.
#[cube]
pub(super) fn asking(number: usize, #[comptime] kind: Attention) -> usize {
    if comptime!(kind.mutual) {
        (number + comptime!(kind.side())) % comptime!(kind.tokens())
    } else {
        number
    }
}

/// Keys and values of some tokens, with their codes and regions.
#[derive(CubeType)]
pub(super) struct Tile {
    pub(super) keys: Shared<[f32]>,
    pub(super) values: Shared<[f32]>,
    pub(super) codes: Shared<[u32]>,
    pub(super) regions: Shared<[u32]>,
}

#[cube]
impl Tile {
    pub(super) fn new(#[comptime] kind: Attention) -> Tile {
        Tile {
            keys: Shared::new_slice(comptime!(kind.tile * kind.depth)),
            values: Shared::new_slice(comptime!(kind.tile * kind.depth)),
            codes: Shared::new_slice(comptime!(kind.tile)),
            regions: Shared::new_slice(comptime!(kind.tile)),
        }
    }

    /// Reads keys and values of the tokens from `start` of a side on, zeros behind the last one; all
    /// units of a cube together.
    pub(super) fn read(
        &mut self,
        qkv: &[f32],
        share: &Share,
        start: usize,
        map: &Map,
        #[comptime] kind: Attention,
    ) {
        let (depth, units) = comptime!((kind.depth, kind.units()));
        let unit = usize::cast_from(UNIT_POS);
        for i in range_stepped(unit, comptime!(kind.tile * depth), units) {
            let (number, channel) = (start + i / depth, i % depth);
            let mut key = 0.0f32;
            let mut value = 0.0f32;
            if number < comptime!(kind.side()) {
                let at = token(share.first + number, share.window, map, kind).at;
                let from = at * comptime!(3 * kind.heads * depth) + share.head * depth + channel;
                key = qkv[from + comptime!(kind.heads * depth)];
                value = qkv[from + comptime!(2 * kind.heads * depth)];
            }
            self.keys[i] = key;
            self.values[i] = value;
        }
        for i in range_stepped(unit, comptime!(kind.tile), units) {
            let key = share.first + min(start + i, comptime!(kind.side() - 1));
            self.codes[i] = token(key, share.window, map, kind).code;
            self.regions[i] = mask_region(key, share.window, map, kind);
        }
    }
}

/// A query, or a row of a gradient: the channels of a head.
#[cube]
pub(super) fn row(
    values: &[f32],
    start: usize,
    factor: f32,
    #[comptime] depth: usize,
) -> Array<f32> {
    let mut row = Array::<f32>::new(depth);
    #[unroll]
    for channel in 0..depth {
        row[channel] = values[start + channel] * factor;
    }
    row
}

/// The product of a row with row `at` of a tile.
#[cube]
pub(super) fn product(
    row: &Array<f32>,
    tile: &Shared<[f32]>,
    at: usize,
    #[comptime] depth: usize,
) -> f32 {
    let mut sum = 0.0f32;
    #[unroll]
    for channel in 0..depth {
        sum += row[channel] * tile[at * depth + channel];
    }
    sum
}

/// Adds `factor` times row `at` of a tile.
#[cube]
pub(super) fn add_row(
    sums: &mut Array<f32>,
    factor: f32,
    tile: &Shared<[f32]>,
    at: usize,
    #[comptime] depth: usize,
) {
    #[unroll]
    for channel in 0..depth {
        sums[channel] += factor * tile[at * depth + channel];
    }
}

/// A query among the keys of its window: the softmax so far.
#[derive(CubeType)]
pub(super) struct Softmax {
    /// The largest logit.
    pub(super) largest: f32,
    /// Σ exp(logit − largest)
    pub(super) sum: f32,
    /// Σ exp(logit − largest) · value
    pub(super) values: Array<f32>,
}

/// Factor on the queries: 1 / √(channels of a head).
#[cube]
pub(super) fn scale(#[comptime] kind: Attention) -> f32 {
    comptime!((kind.depth as f32).sqrt().recip()).runtime()
}

/// What a unit's query asks with.
#[derive(CubeType)]
pub(super) struct Query {
    pub(super) channels: Array<f32>,
    pub(super) code: u32,
    pub(super) region: u32,
}

/// Everything that a query finds: the softmax over all keys of its side. Called by all units of a
/// cube; those without a query of their own are given any.
#[cube]
pub(super) fn find(
    query: &Query,
    qkv: &[f32],
    table: &[f32],
    copy: &Shared<[f32]>,
    tile: &mut Tile,
    share: &Share,
    map: &Map,
    #[comptime] kind: Attention,
) -> Softmax {
    let depth = comptime!(kind.depth);
    let mut found = Softmax { largest: LEAST, sum: 0.0f32, values: Array::<f32>::new(depth) };
    let mut logits = Array::<f32>::new(GROUP);
    for start in range_stepped(0, comptime!(kind.side()), comptime!(kind.tile)) {
        sync_cube();
        tile.read(qkv, share, start, map, kind);
        sync_cube();
        for group in 0..comptime!(kind.tile / GROUP) {
            let mut largest = found.largest;
            #[unroll]
            for i in 0..GROUP {
                let at = group * GROUP + i;
                let codes = (query.code, tile.codes[at]);
                let regions = (query.region, tile.regions[at]);
                let logit = product(&query.channels, &tile.keys, at, depth)
                    + added(table, copy, share.head, codes, regions, kind);
                let there = start + at < comptime!(kind.side());
                logits[i] = select(there, logit, LEAST);
                largest = max(largest, logits[i]);
            }
            let shrink = (found.largest - largest).exp();
            found.largest = largest;
            found.sum *= shrink;
            #[unroll]
            for channel in 0..depth {
                found.values[channel] *= shrink;
            }
            #[unroll]
            for i in 0..GROUP {
                let weight = (logits[i] - largest).exp();
                found.sum += weight;
                add_row(&mut found.values, weight, &tile.values, group * GROUP + i, depth);
            }
        }
    }
    found
}

/// The query of a token of the output.
#[cube]
pub(super) fn query(qkv: &[f32], share: &Share, map: &Map, #[comptime] kind: Attention) -> Query {
    let own = share.first + min(share.own, comptime!(kind.side() - 1));
    let asks = asking(own, kind);
    let token = token(asks, share.window, map, kind);
    let depth = comptime!(kind.depth);
    let start = token.at * comptime!(3 * kind.heads * depth) + share.head * depth;
    Query {
        channels: row(qkv, start, scale(kind), depth),
        code: token.code,
        region: mask_region(asks, share.window, map, kind),
    }
}

/// The output at each token that a unit owns.
#[cube(launch_unchecked)]
pub(super) fn attend(
    qkv: &[f32],
    table: &[f32],
    out: &mut [f32],
    map: &Map,
    #[comptime] kind: Attention,
) {
    let share = share(kind);
    if share.window >= map.windows {
        terminate!();
    }
    let depth = comptime!(kind.depth);
    let mut copy = Shared::<[f32]>::new_slice(comptime!(kind.copied()));
    copy_bias(table, &mut copy, share.head, kind);
    let mut tile = Tile::new(kind);
    let query = query(qkv, &share, map, kind);
    let found = find(&query, qkv, table, &copy, &mut tile, &share, map, kind);
    if share.own < comptime!(kind.side()) {
        let at = token(share.first + share.own, share.window, map, kind).at;
        let start = at * comptime!(kind.heads * depth) + share.head * depth;
        #[unroll]
        for channel in 0..depth {
            out[start + channel] = found.values[channel] / found.sum;
        }
    }
}
