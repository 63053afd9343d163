//! The gradients: logits are multiplied anew; what a query summed in the output's softmax says what
//! each weight was.

use cubecl::prelude::*;

use super::found::find;
use super::{
    LEAST, Memory, OWN, PLANES, Part, Shape, Share, asked, memory, met_tokens, own_tokens, read,
    share,
};
use crate::gpu::attention::backward::sums_at;
use crate::gpu::attention::forward::scale;
use crate::gpu::attention::window::{Attention, Map, added_by_table, table_row};
use crate::gpu::sum::Sum;
use crate::gpu::units::{Sums, add_products, no_sums, plane, rounded, store_sums};

/// The gradients of what a head's tokens found.
#[cube]
fn slopes(head: usize, #[comptime] kind: Attention) -> Part {
    Part {
        width: comptime!(kind.heads * kind.depth).runtime(),
        start: head * comptime!(kind.depth),
        factor: 1.0f32.runtime(),
        behind: 0.0f32.runtime(),
    }
}

/// Products of the tokens of a cube with those that they meet: logits, and of gradients with values.
#[cube]
fn multiply<E: Float>(memory: &mut Memory<E>, #[comptime] shape: Shape) {
    let (block, stride) = comptime!((shape.logits_block(), shape.logits()));
    let part = plane() * comptime!(OWN / PLANES);
    if plane() < PLANES {
        let mut logits = no_sums(block);
        add_products(&mut logits, &memory.own, &memory.met, part, 0usize, block);
        store_sums(&logits, &mut memory.logits, part * stride, stride, block);
        let mut found = no_sums(block);
        add_products(&mut found, &memory.own_more, &memory.met_more, part, 0usize, block);
        store_sums(&found, &mut memory.found, part * stride, stride, block);
    }
}

/// Token `own` of a cube's, and token `met` of those that it meets from `start` of the side on.
#[derive(CubeType, Clone, Copy)]
struct Pair {
    own: usize,
    met: usize,
    start: usize,
}

/// The weight of a pair, and the gradient of its logit.
#[cube]
fn weight<E: Float>(
    memory: &Memory<E>,
    table: &[f32],
    head: usize,
    pair: &Pair,
    #[comptime] own_queries: bool,
    #[comptime] kind: Attention,
    #[comptime] shape: Shape,
) -> (f32, f32) {
    let (own, met) = (pair.own, pair.met);
    let (own_code, met_code) = (memory.own_tokens.codes[own], memory.met_tokens.codes[met]);
    let regions = (memory.own_tokens.regions[own], memory.met_tokens.regions[met]);
    let mut codes = (own_code, met_code);
    let mut query = own;
    if comptime!(!own_queries) {
        codes = (met_code, own_code);
        query = met;
    }
    let at = own * comptime!(shape.logits()) + met;
    let logit = memory.logits[at] + added_by_table(table, head, codes, regions, kind);
    let logit = select(pair.start + met < comptime!(kind.side()), logit, LEAST);
    let weight = (logit - memory.largest[query]).exp();
    (weight, weight * (memory.found[at] - memory.shrink[query]))
}

/// Puts what was summed for each of a cube's tokens in its memory.
#[cube]
fn gather<E: Float>(memory: &mut Memory<E>, sums: &Sums, #[comptime] shape: Shape) {
    let (block, stride) = comptime!((shape.found_block(), shape.found()));
    sync_cube();
    if plane() < PLANES {
        let start = plane() * comptime!(OWN / PLANES) * stride;
        store_sums(sums, &mut memory.found, start, stride, block);
    }
    sync_cube();
}

/// Writes it at the tokens' places, as part 0, 1 or 2 of a head's.
#[cube]
fn write<E: Float>(
    grads: &mut [f32],
    memory: &Memory<E>,
    share: &Share,
    factor: f32,
    #[comptime] part: usize,
    #[comptime] kind: Attention,
    #[comptime] shape: Shape,
) {
    let (depth, heads) = comptime!((kind.depth, kind.heads));
    let (unit, cube) = (usize::cast_from(UNIT_POS), usize::cast_from(CUBE_DIM));
    for i in range_stepped(unit, comptime!(OWN * depth), cube) {
        let (line, channel) = (i / depth, i % depth);
        if share.own + line < comptime!(kind.side()) {
            let place = usize::cast_from(memory.own_tokens.places[line]);
            let start = place * comptime!(3 * heads * depth) + comptime!(part * heads * depth);
            grads[start + share.head * depth + channel] =
                memory.found[line * comptime!(shape.found()) + channel] * factor;
        }
    }
}

/// Makes sums of what the queries of a cube found: log Σ exp(logit), and gradient · output.
#[cube]
fn sum_up<E: Float>(
    memory: &mut Memory<E>,
    sums: &mut [f32],
    share: &Share,
    #[comptime] kind: Attention,
    #[comptime] shape: Shape,
) {
    let (depth, of_found, of_row) = comptime!((kind.depth, shape.found(), shape.row()));
    let (unit, cube) = (usize::cast_from(UNIT_POS), usize::cast_from(CUBE_DIM));
    for line in range_stepped(unit, OWN, cube) {
        let sum = memory.found[line * of_found + depth];
        let mut along = 0.0f32;
        for channel in 0..depth {
            along += f32::cast_from(memory.own_more[line * of_row + channel])
                * memory.found[line * of_found + channel];
        }
        let log_sum = memory.largest[line] + sum.ln();
        memory.largest[line] = log_sum;
        memory.shrink[line] = along / sum;
        if share.own + line < comptime!(kind.side()) {
            let place = sums_at(share.first + share.own + line, share.window, share.head, kind);
            sums[place] = log_sum;
            sums[place + 1] = along / sum;
        }
    }
}

/// The gradients of the queries, and the sums that the other two need.
#[cube(launch_unchecked)]
pub(in crate::gpu::attention) fn of_queries<E: Float>(
    qkv: &[f32],
    table: &[f32],
    grad: &[f32],
    grads: &mut [f32],
    sums: &mut [f32],
    map: &Map,
    #[comptime] kind: Attention,
    #[comptime] shape: Shape,
) {
    let share = share(kind);
    if share.window >= map.windows {
        terminate!();
    }
    let (met, format) = comptime!((shape.met, shape.units.format));
    let mut memory = memory::<E>(shape);
    own_tokens(&mut memory, &share, map, true, kind, shape);
    sync_cube();
    let queries = asked(share.head, 0usize, kind);
    read(&mut memory.own, qkv, &memory.own_tokens.places, queries, OWN, kind, shape);
    read(&mut memory.own_more, grad, &memory.outs, slopes(share.head, kind), OWN, kind, shape);
    find(&mut memory, qkv, table, &share, map, kind, shape);
    sum_up(&mut memory, sums, &share, kind, shape);
    let block = comptime!(shape.found_block());
    let part = plane() * comptime!(OWN / PLANES);
    let (unit, cube) = (usize::cast_from(UNIT_POS), usize::cast_from(CUBE_DIM));
    let mut of_queries = no_sums(block);
    for start in range_stepped(0, comptime!(kind.side()), met) {
        sync_cube();
        met_tokens(&mut memory, &share, start, map, false, kind, shape);
        sync_cube();
        let places = &memory.met_tokens.places;
        read(&mut memory.met, qkv, places, asked(share.head, 1usize, kind), met, kind, shape);
        let values = asked(share.head, 2usize, kind);
        read(&mut memory.met_more, qkv, places, values, met, kind, shape);
        sync_cube();
        multiply(&mut memory, shape);
        sync_cube();
        for i in range_stepped(unit, comptime!(OWN * met), cube) {
            let pair = Pair { own: i / met, met: i % met, start };
            let (_, slope) = weight(&memory, table, share.head, &pair, true, kind, shape);
            let at = pair.own * comptime!(shape.weights()) + pair.met;
            memory.weights[at] = rounded::<E>(slope, format);
        }
        sync_cube();
        if plane() < PLANES {
            add_products(&mut of_queries, &memory.weights, &memory.met, part, 0usize, block);
        }
    }
    gather(&mut memory, &of_queries, shape);
    write(grads, &memory, &share, scale(kind), 0usize, kind, shape);
}

/// Reads queries that are met, the gradients of what they found, and their sums.
#[cube]
fn meet_queries<E: Float>(
    memory: &mut Memory<E>,
    qkv: &[f32],
    grad: &[f32],
    sums: &[f32],
    share: &Share,
    start: usize,
    map: &Map,
    #[comptime] kind: Attention,
    #[comptime] shape: Shape,
) {
    let met = comptime!(shape.met);
    met_tokens(memory, share, start, map, true, kind, shape);
    sync_cube();
    let places = &memory.met_tokens.places;
    read(&mut memory.met, qkv, places, asked(share.head, 0usize, kind), met, kind, shape);
    let found = slopes(share.head, kind);
    read(&mut memory.met_more, grad, &memory.outs, found, met, kind, shape);
    let (unit, cube) = (usize::cast_from(UNIT_POS), usize::cast_from(CUBE_DIM));
    for i in range_stepped(unit, met, cube) {
        let number = share.first + min(start + i, comptime!(kind.side() - 1));
        let place = sums_at(number, share.window, share.head, kind);
        memory.largest[i] = sums[place];
        memory.shrink[i] = sums[place + 1];
    }
}

/// The gradients of the keys and the values.
#[cube(launch_unchecked)]
pub(in crate::gpu::attention) fn of_keys<E: Float>(
    qkv: &[f32],
    table: &[f32],
    grad: &[f32],
    sums: &[f32],
    grads: &mut [f32],
    map: &Map,
    #[comptime] kind: Attention,
    #[comptime] shape: Shape,
) {
    let share = share(kind);
    if share.window >= map.windows {
        terminate!();
    }
    let (met, format) = comptime!((shape.met, shape.units.format));
    let mut memory = memory::<E>(shape);
    own_tokens(&mut memory, &share, map, false, kind, shape);
    sync_cube();
    let places = &memory.own_tokens.places;
    read(&mut memory.own, qkv, places, asked(share.head, 1usize, kind), OWN, kind, shape);
    read(&mut memory.own_more, qkv, places, asked(share.head, 2usize, kind), OWN, kind, shape);
    let block = comptime!(shape.found_block());
    let part = plane() * comptime!(OWN / PLANES);
    let (unit, cube) = (usize::cast_from(UNIT_POS), usize::cast_from(CUBE_DIM));
    let mut of_keys = no_sums(block);
    let mut of_values = no_sums(block);
    for start in range_stepped(0, comptime!(kind.side()), met) {
        sync_cube();
        meet_queries(&mut memory, qkv, grad, sums, &share, start, map, kind, shape);
        sync_cube();
        multiply(&mut memory, shape);
        sync_cube();
        for i in range_stepped(unit, comptime!(OWN * met), cube) {
            let pair = Pair { own: i / met, met: i % met, start };
            let (weight, slope) = weight(&memory, table, share.head, &pair, false, kind, shape);
            memory.logits[pair.own * comptime!(shape.logits()) + pair.met] = slope;
            let at = pair.own * comptime!(shape.weights()) + pair.met;
            memory.weights[at] = rounded::<E>(weight, format);
        }
        sync_cube();
        if plane() < PLANES {
            add_products(&mut of_values, &memory.weights, &memory.met_more, part, 0usize, block);
        }
        sync_cube();
        for i in range_stepped(unit, comptime!(OWN * met), cube) {
            let slope = memory.logits[i / met * comptime!(shape.logits()) + i % met];
            memory.weights[i / met * comptime!(shape.weights()) + i % met] =
                rounded::<E>(slope, format);
        }
        sync_cube();
        if plane() < PLANES {
            add_products(&mut of_keys, &memory.weights, &memory.met, part, 0usize, block);
        }
    }
    gather(&mut memory, &of_keys, shape);
    write(grads, &memory, &share, 1.0f32.runtime(), 1usize, kind, shape);
    gather(&mut memory, &of_values, shape);
    write(grads, &memory, &share, 1.0f32.runtime(), 2usize, kind, shape);
}

/// Adds the gradient of the table: a cube sums its pairs of queries and keys over a part of the
/// windows first.
#[cube(launch_unchecked)]
pub(in crate::gpu::attention) fn of_table<E: Float, S: Sum>(
    qkv: &[f32],
    table: &[f32],
    grad: &[f32],
    sums: &[f32],
    out: &[Atomic<S::Cell>],
    map: &Map,
    of_part: usize,
    #[comptime] kind: Attention,
    #[comptime] shape: Shape,
) {
    let (met, tokens) = comptime!((shape.met, kind.tokens()));
    let across = comptime!(tokens.div_ceil(met));
    let down = comptime!(tokens.div_ceil(OWN));
    let head = CUBE_POS / comptime!(across * down) % comptime!(kind.heads);
    let first_window = CUBE_POS / comptime!(across * down * kind.heads) * of_part;
    if first_window >= map.windows {
        terminate!();
    }
    let own = CUBE_POS / across % down * OWN;
    let start = CUBE_POS % across * met;
    let (unit, cube) = (usize::cast_from(UNIT_POS), comptime!(shape.cube()));
    let each = comptime!((OWN * met).div_ceil(cube));
    let mut totals = Array::<f32>::new(each);
    let mut memory = memory::<E>(shape);
    for window in first_window..min(first_window + of_part, map.windows) {
        let share = Share { window, head, first: 0, own };
        sync_cube();
        own_tokens(&mut memory, &share, map, true, kind, shape);
        met_tokens(&mut memory, &share, start, map, false, kind, shape);
        sync_cube();
        let queries = asked(head, 0usize, kind);
        read(&mut memory.own, qkv, &memory.own_tokens.places, queries, OWN, kind, shape);
        read(&mut memory.own_more, grad, &memory.outs, slopes(head, kind), OWN, kind, shape);
        let places = &memory.met_tokens.places;
        read(&mut memory.met, qkv, places, asked(head, 1usize, kind), met, kind, shape);
        read(&mut memory.met_more, qkv, places, asked(head, 2usize, kind), met, kind, shape);
        for i in range_stepped(unit, OWN, cube) {
            let place = sums_at(min(own + i, comptime!(tokens - 1)), window, head, kind);
            memory.largest[i] = sums[place];
            memory.shrink[i] = sums[place + 1];
        }
        sync_cube();
        multiply(&mut memory, shape);
        sync_cube();
        for n in 0..each {
            let i = unit + n * cube;
            if i < comptime!(OWN * met) {
                let pair = Pair { own: i / met, met: i % met, start };
                let (_, slope) = weight(&memory, table, head, &pair, true, kind, shape);
                totals[n] += slope;
            }
        }
    }
    for n in 0..each {
        let i = unit + n * cube;
        let (query, key) = (own + i / met, start + i % met);
        if i < comptime!(OWN * met) && query < tokens && key < tokens {
            let codes = (memory.own_tokens.codes[i / met], memory.met_tokens.codes[i % met]);
            S::add(out, table_row(codes, kind) * comptime!(kind.heads) + head, totals[n]);
        }
    }
}
