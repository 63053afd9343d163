//! The definition, token by token in `f64`: what the kernels are held to.

use super::{Attention, MASKED, WindowGeometry};

/// Frame, row and column of token `index` of a map or a window.
fn split(index: usize, sizes: [usize; 3]) -> [usize; 3] {
    [index / sizes[2] / sizes[1], index / sizes[2] % sizes[1], index % sizes[2]]
}

fn join(place: [usize; 3], sizes: [usize; 3]) -> usize {
    (place[0] * sizes[1] + place[1]) * sizes[2] + place[2]
}

/// The region of a place of the rolled map, a number per axis.
fn region(g: &WindowGeometry, rolled: [usize; 3]) -> [u8; 3] {
    std::array::from_fn(|axis| {
        let from_end = g.map[axis] - rolled[axis];
        match g.shift[axis] {
            0 => 0,
            shift if from_end <= shift => 2,
            _ if from_end <= g.window[axis] => 1,
            _ => 0,
        }
    })
}

/// A token's window, its number in the window and its region.
fn locate(g: &WindowGeometry, place: usize) -> ([usize; 3], usize, [u8; 3]) {
    let place = split(place, g.map);
    let rolled: [usize; 3] = std::array::from_fn(|i| (place[i] + g.map[i] - g.shift[i]) % g.map[i]);
    let window = std::array::from_fn(|i| rolled[i] / g.window[i]);
    let within = std::array::from_fn(|i| rolled[i] % g.window[i]);
    (window, join(within, g.window), region(g, rolled))
}

/// The logit that the bias and the mask add from `query` to `key`, both (number in the window,
/// region).
fn added(
    g: &WindowGeometry,
    table: Option<&[f64]>,
    head: usize,
    query: (usize, [u8; 3]),
    key: (usize, [u8; 3]),
) -> f64 {
    let mask = if query.1 == key.1 { 0.0 } else { f64::from(MASKED) };
    let Some(table) = table else {
        return mask;
    };
    let (q, k) = (split(query.0, g.full_window), split(key.0, g.full_window));
    let distance: [usize; 3] = std::array::from_fn(|i| q[i] + g.full_window[i] - 1 - k[i]);
    let row = join(distance, g.full_window.map(|size| 2 * size - 1));
    table[row * g.heads + head] + mask
}

/// As [`window_attention`](super::window_attention); `table` is `None` for mutual attention.
pub(crate) fn window_attention(g: &WindowGeometry, table: Option<&[f64]>, qkv: &[f64]) -> Vec<f64> {
    let (map_tokens, depth) = (g.map.iter().product::<usize>(), g.channels / g.heads);
    let half = g.tokens() / 2;
    let tokens: Vec<_> = (0..map_tokens).map(|place| locate(g, place)).collect();
    let value = |token: usize, part: usize, head: usize, channel: usize| {
        qkv[(token * 3 + part) * g.channels + head * depth + channel]
    };
    let find = |window: [usize; 3], number: usize| {
        tokens.iter().position(|token| token.0 == window && token.1 == number).unwrap()
    };
    let mut out = vec![0.0; g.out_len()];
    for index in 0..g.batch * map_tokens * g.heads {
        let (head, token) = (index % g.heads, index / g.heads);
        let (clip, place) = (token / map_tokens * map_tokens, token % map_tokens);
        let (window, number, _) = tokens[place];
        // Mutual: the other frame's token at the same place asks, and asks this frame. Its mask
        // is that of the first frame.
        let other = if number < half { number + half } else { number.wrapping_sub(half) };
        let asking = if table.is_some() { place } else { find(window, other) };
        let keys: Vec<usize> = (0..map_tokens)
            .filter(|key| tokens[*key].0 == window)
            .filter(|key| table.is_some() || (tokens[*key].1 < half) == (number < half))
            .collect();
        let as_first = |place: usize| match table {
            Some(_) => (tokens[place].1, tokens[place].2),
            None => (tokens[place].1, tokens[find(window, tokens[place].1 % half)].2),
        };
        let logits = keys.iter().map(|key| {
            let product: f64 = (0..depth)
                .map(|c| value(clip + asking, 0, head, c) * value(clip + key, 1, head, c))
                .sum();
            product / (depth as f64).sqrt()
                + added(g, table, head, as_first(asking), as_first(*key))
        });
        let weights: Vec<f64> = logits.map(f64::exp).collect();
        let sum: f64 = weights.iter().sum();
        for channel in 0..depth {
            let found = keys.iter().zip(&weights);
            let found: f64 =
                found.map(|(key, weight)| weight * value(clip + key, 2, head, channel)).sum();
            out[token * g.channels + head * depth + channel] = found / sum;
        }
    }
    out
}

/// The table of self attention in `f64`.
pub(super) fn table(attention: Attention<'_>) -> Option<Vec<f64>> {
    match attention {
        Attention::SelfBiased { table } => Some(table.iter().map(|v| f64::from(*v)).collect()),
        Attention::Mutual => None,
    }
}
