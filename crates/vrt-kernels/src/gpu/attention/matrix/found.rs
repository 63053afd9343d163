//! The output: the softmax is taken as the keys go by. Values have a column of ones behind their
//! channels, which sums the weights as they are multiplied.

use cubecl::prelude::*;

use super::{
    LEAST, Memory, OWN, PLANES, Shape, Share, asked, memory, met_tokens, own_tokens, read, share,
};
use crate::gpu::attention::window::{Attention, Map, added_by_table, token};
use crate::gpu::units::{add_products, load_sums, no_sums, plane, rounded, store_sums};

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
    let (keys, stride) = comptime!((shape.met, shape.logits()));
    let (unit, cube) = (usize::cast_from(UNIT_POS), usize::cast_from(CUBE_DIM));
    for i in range_stepped(unit, comptime!(OWN * keys), cube) {
        let (line, k) = (i / keys, i % keys);
        let codes = (memory.own_tokens.codes[line], memory.met_tokens.codes[k]);
        let regions = (memory.own_tokens.regions[line], memory.met_tokens.regions[k]);
        let at = line * stride + k;
        let logit = memory.logits[at] + added_by_table(table, share.head, codes, regions, kind);
        memory.logits[at] = select(start + k < comptime!(kind.side()), logit, LEAST);
    }
    sync_cube();
    for line in range_stepped(unit, OWN, cube) {
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
    let (keys, wide) = comptime!((shape.met, shape.depth));
    let (unit, cube) = (usize::cast_from(UNIT_POS), usize::cast_from(CUBE_DIM));
    for i in range_stepped(unit, comptime!(OWN * keys), cube) {
        let (line, k) = (i / keys, i % keys);
        let logit = memory.logits[line * comptime!(shape.logits()) + k];
        let weight = (logit - memory.largest[line]).exp();
        memory.weights[line * comptime!(shape.weights()) + k] =
            rounded::<E>(weight, comptime!(shape.units.format));
    }
    for i in range_stepped(unit, comptime!(OWN * wide), cube) {
        let (line, channel) = (i / wide, i % wide);
        memory.found[line * comptime!(shape.found()) + channel] *= memory.shrink[line];
    }
}

/// What the queries of a cube find, in its memory; `own_tokens` has looked them up.
#[cube]
pub(super) fn find<E: Float>(
    memory: &mut Memory<E>,
    qkv: &[f32],
    table: &[f32],
    share: &Share,
    map: &Map,
    #[comptime] kind: Attention,
    #[comptime] shape: Shape,
) {
    let (met, side) = comptime!((shape.met, kind.side()));
    let (to_logits, to_found) = comptime!((shape.logits_block(), shape.found_block()));
    let (of_logits, of_found) = comptime!((shape.logits(), shape.found()));
    let (unit, cube) = (usize::cast_from(UNIT_POS), usize::cast_from(CUBE_DIM));
    for i in range_stepped(unit, OWN, cube) {
        memory.largest[i] = LEAST;
    }
    for i in range_stepped(unit, comptime!(OWN * shape.sums()), cube) {
        memory.found[i] = 0.0f32;
    }
    let part = plane() * comptime!(OWN / PLANES);
    for start in range_stepped(0, side, met) {
        met_tokens(memory, share, start, map, false, kind, shape);
        sync_cube();
        let places = &memory.met_tokens.places;
        read(&mut memory.met, qkv, places, asked(share.head, 1usize, kind), met, kind, shape);
        let values = asked(share.head, 2usize, kind);
        read(&mut memory.met_more, qkv, places, values, met, kind, shape);
        sync_cube();
        if plane() < PLANES {
            let mut sums = no_sums(to_logits);
            add_products(&mut sums, &memory.own, &memory.met, part, 0usize, to_logits);
            store_sums(&sums, &mut memory.logits, part * of_logits, of_logits, to_logits);
        }
        sync_cube();
        complete(memory, table, share, start, kind, shape);
        sync_cube();
        weigh(memory, shape);
        sync_cube();
        if plane() < PLANES {
            let mut sums = load_sums(&memory.found, part * of_found, of_found, to_found);
            add_products(&mut sums, &memory.weights, &memory.met_more, part, 0usize, to_found);
            store_sums(&sums, &mut memory.found, part * of_found, of_found, to_found);
        }
        sync_cube();
    }
}

/// The output at the tokens of a cube.
#[cube(launch_unchecked)]
pub(in crate::gpu::attention) fn attend<E: Float>(
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
    let of_found = comptime!(shape.found());
    let mut memory = memory::<E>(shape);
    own_tokens(&mut memory, &share, map, true, kind, shape);
    sync_cube();
    let queries = asked(share.head, 0usize, kind);
    read(&mut memory.own, qkv, &memory.own_tokens.places, queries, OWN, kind, shape);
    find(&mut memory, qkv, table, &share, map, kind, shape);
    let (unit, cube) = (usize::cast_from(UNIT_POS), usize::cast_from(CUBE_DIM));
    for i in range_stepped(unit, comptime!(OWN * depth), cube) {
        let (line, channel) = (i / depth, i % depth);
        if share.own + line < side {
            let at = token(share.first + share.own + line, share.window, map, kind).at;
            let sum = memory.found[line * of_found + depth];
            out[at * comptime!(heads * depth) + share.head * depth + channel] =
                memory.found[line * of_found + channel] / sum;
        }
    }
}
