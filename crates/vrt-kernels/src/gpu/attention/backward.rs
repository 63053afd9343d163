//! The gradients: those of queries by a unit for each query, those of keys and values by a unit for
//! each key, that of the table by a unit for each pair of a query and a key.

use cubecl::prelude::*;

use super::super::sum::Sum;
use super::forward::{
    LEAST, Share, Tile, add_row, asking, find, product, query, row, scale, share,
};
use super::window::{
    Attention, Map, added, added_by_table, copy_bias, mask_region, table_row, token,
};

/// Queries, and keys, of a cube of pairs.
pub(super) const PAIRS: usize = 16;

/// Where the two sums of a query lie: log Σ exp(logit), and gradient · output.
#[cube]
pub(super) fn sums_at(
    number: usize,
    window: usize,
    head: usize,
    #[comptime] kind: Attention,
) -> usize {
    ((window * comptime!(kind.heads) + head) * comptime!(kind.tokens()) + number) * 2
}

/// The gradients of the queries, and the sums that the other two need.
#[cube(launch_unchecked)]
pub(super) fn of_queries(
    qkv: &[f32],
    table: &[f32],
    grad: &[f32],
    grads: &mut [f32],
    sums: &mut [f32],
    map: &Map,
    #[comptime] kind: Attention,
) {
    let share = share(kind);
    if share.window >= map.windows {
        terminate!();
    }
    let (depth, side) = comptime!((kind.depth, kind.side()));
    let mut copy = Shared::<[f32]>::new_slice(comptime!(kind.copied()));
    copy_bias(table, &mut copy, share.head, kind);
    let mut tile = Tile::new(kind);
    let query = query(qkv, &share, map, kind);
    let found = find(&query, qkv, table, &copy, &mut tile, &share, map, kind);
    let own = share.first + min(share.own, comptime!(side - 1));
    let at = token(own, share.window, map, kind).at;
    let grad = row(grad, at * comptime!(kind.heads * depth) + share.head * depth, 1.0f32, depth);
    let log_sum = found.largest + found.sum.ln();
    let mut mean = 0.0f32;
    #[unroll]
    for channel in 0..depth {
        mean += grad[channel] * found.values[channel] / found.sum;
    }
    let mut of_query = Array::<f32>::new(depth);
    for start in range_stepped(0, side, comptime!(kind.tile)) {
        sync_cube();
        tile.read(qkv, &share, start, map, kind);
        sync_cube();
        for i in 0..min(comptime!(kind.tile), side - start) {
            let logit = product(&query.channels, &tile.keys, i, depth)
                + added(
                    table,
                    &copy,
                    share.head,
                    (query.code, tile.codes[i]),
                    (query.region, tile.regions[i]),
                    kind,
                );
            let weight = (logit - log_sum).exp();
            let slope = weight * (product(&grad, &tile.values, i, depth) - mean);
            add_row(&mut of_query, slope, &tile.keys, i, depth);
        }
    }
    if share.own < side {
        let place = sums_at(own, share.window, share.head, kind);
        sums[place] = log_sum;
        sums[place + 1] = mean;
        let asks = token(asking(own, kind), share.window, map, kind).at;
        let start = asks * comptime!(3 * kind.heads * depth) + share.head * depth;
        #[unroll]
        for channel in 0..depth {
            grads[start + channel] = of_query[channel] * scale(kind);
        }
    }
}

/// Queries of some tokens, the gradients of what they found, and their sums.
#[derive(CubeType)]
struct Queries {
    channels: Shared<[f32]>,
    grads: Shared<[f32]>,
    sums: Shared<[f32]>,
    codes: Shared<[u32]>,
    regions: Shared<[u32]>,
}

#[cube]
impl Queries {
    fn new(#[comptime] len: usize, #[comptime] kind: Attention) -> Queries {
        Queries {
            channels: Shared::new_slice(comptime!(len * kind.depth)),
            grads: Shared::new_slice(comptime!(len * kind.depth)),
            sums: Shared::new_slice(comptime!(2 * len)),
            codes: Shared::new_slice(len),
            regions: Shared::new_slice(len),
        }
    }

    /// Reads what belongs to the `len` tokens of the output from `start` of a side on; all units
    /// of a cube together.
    fn read(
        &mut self,
        qkv: &[f32],
        grad: &[f32],
        sums: &[f32],
        share: &Share,
        start: usize,
        map: &Map,
        #[comptime] len: usize,
        #[comptime] kind: Attention,
    ) {
        let (depth, side) = comptime!((kind.depth, kind.side()));
        let (unit, units) = (usize::cast_from(UNIT_POS), usize::cast_from(CUBE_DIM));
        for i in range_stepped(unit, comptime!(len * depth), units) {
            let number = share.first + min(start + i / depth, comptime!(side - 1));
            let channel = share.head * depth + i % depth;
            let asks = token(asking(number, kind), share.window, map, kind).at;
            let at = token(number, share.window, map, kind).at;
            self.channels[i] =
                qkv[asks * comptime!(3 * kind.heads * depth) + channel] * scale(kind);
            self.grads[i] = grad[at * comptime!(kind.heads * depth) + channel];
        }
        for i in range_stepped(unit, len, units) {
            let number = share.first + min(start + i, comptime!(side - 1));
            let asks = asking(number, kind);
            let place = sums_at(number, share.window, share.head, kind);
            self.sums[2 * i] = sums[place];
            self.sums[2 * i + 1] = sums[place + 1];
            self.codes[i] = token(asks, share.window, map, kind).code;
            self.regions[i] = mask_region(asks, share.window, map, kind);
        }
    }
}

/// The gradients of the keys and the values.
#[cube(launch_unchecked)]
pub(super) fn of_keys(
    qkv: &[f32],
    table: &[f32],
    grad: &[f32],
    sums: &[f32],
    grads: &mut [f32],
    map: &Map,
    #[comptime] kind: Attention,
) {
    let share = share(kind);
    if share.window >= map.windows {
        terminate!();
    }
    let (depth, side) = comptime!((kind.depth, kind.side()));
    let mut copy = Shared::<[f32]>::new_slice(comptime!(kind.copied()));
    copy_bias(table, &mut copy, share.head, kind);
    let mut queries = Queries::new(kind.tile, kind);
    let number = share.first + min(share.own, comptime!(side - 1));
    let own = token(number, share.window, map, kind);
    let region = mask_region(number, share.window, map, kind);
    let start = own.at * comptime!(3 * kind.heads * depth) + share.head * depth;
    let key = row(qkv, start + comptime!(kind.heads * depth), 1.0f32, depth);
    let value = row(qkv, start + comptime!(2 * kind.heads * depth), 1.0f32, depth);
    let mut of_key = Array::<f32>::new(depth);
    let mut of_value = Array::<f32>::new(depth);
    for first in range_stepped(0, side, comptime!(kind.tile)) {
        sync_cube();
        queries.read(qkv, grad, sums, &share, first, map, kind.tile, kind);
        sync_cube();
        for i in 0..min(comptime!(kind.tile), side - first) {
            let logit = product(&key, &queries.channels, i, depth)
                + added(
                    table,
                    &copy,
                    share.head,
                    (queries.codes[i], own.code),
                    (queries.regions[i], region),
                    kind,
                );
            let weight = (logit - queries.sums[2 * i]).exp();
            let found = product(&value, &queries.grads, i, depth);
            let slope = weight * (found - queries.sums[2 * i + 1]);
            add_row(&mut of_value, weight, &queries.grads, i, depth);
            add_row(&mut of_key, slope, &queries.channels, i, depth);
        }
    }
    if share.own < side {
        #[unroll]
        for channel in 0..depth {
            grads[start + comptime!(kind.heads * depth) + channel] = of_key[channel];
            grads[start + comptime!(2 * kind.heads * depth) + channel] = of_value[channel];
        }
    }
}

/// Adds the gradient of the table: each unit sums its pair over all windows first.
#[cube(launch_unchecked)]
pub(super) fn of_table<S: Sum>(
    qkv: &[f32],
    table: &[f32],
    grad: &[f32],
    sums: &[f32],
    out: &[Atomic<S::Cell>],
    map: &Map,
    windows: usize,
    #[comptime] kind: Attention,
) {
    let (depth, tokens) = comptime!((kind.depth, kind.tokens()));
    let blocks = comptime!(tokens.div_ceil(PAIRS));
    let head = CUBE_POS / comptime!(blocks * blocks);
    if head >= comptime!(kind.heads) {
        terminate!();
    }
    let first_query = CUBE_POS / blocks % blocks * PAIRS;
    let first_key = CUBE_POS % blocks * PAIRS;
    let unit = usize::cast_from(UNIT_POS);
    let (i, j) = (unit / PAIRS, unit % PAIRS);
    let mut queries = Queries::new(PAIRS, kind);
    let mut keys = Shared::<[f32]>::new_slice(comptime!(PAIRS * depth));
    let mut values = Shared::<[f32]>::new_slice(comptime!(PAIRS * depth));
    let mut regions = Shared::<[u32]>::new_slice(PAIRS);
    let there = first_query + i < tokens && first_key + j < tokens;
    let code = token(min(first_key + j, tokens - 1), 0, map, kind).code;
    let mut total = 0.0f32;
    for window in 0..windows {
        let share = Share { window, head, first: 0, own: 0 };
        sync_cube();
        queries.read(qkv, grad, sums, &share, first_query, map, PAIRS, kind);
        for at in range_stepped(unit, comptime!(PAIRS * depth), comptime!(PAIRS * PAIRS)) {
            let number = min(first_key + at / depth, tokens - 1);
            let key = token(number, window, map, kind).at;
            let from = key * comptime!(3 * kind.heads * depth) + head * depth + at % depth;
            keys[at] = qkv[from + comptime!(kind.heads * depth)];
            values[at] = qkv[from + comptime!(2 * kind.heads * depth)];
        }
        if unit < PAIRS {
            regions[unit] = mask_region(min(first_key + unit, tokens - 1), window, map, kind);
        }
        sync_cube();
        let mut logit = select(there, 0.0f32, LEAST);
        let mut found = 0.0f32;
        if there {
            let codes = (queries.codes[i], code);
            logit += added_by_table(table, head, codes, (queries.regions[i], regions[j]), kind);
            for channel in 0..depth {
                logit += queries.channels[i * depth + channel] * keys[j * depth + channel];
                found += queries.grads[i * depth + channel] * values[j * depth + channel];
            }
        }
        let weight = (logit - queries.sums[2 * i]).exp();
        total += weight * (found - queries.sums[2 * i + 1]);
    }
    if there {
        let row = table_row((queries.codes[i], code), kind);
        S::add(out, row * comptime!(kind.heads) + head, total);
    }
}
