//! Attention in shifted windows, composed: roll, partition, products, merge, roll back.

use burn::tensor::{Int, Tensor, TensorData, activation::softmax};

use crate::window_attention::WindowGeometry;

/// What the mask adds between tokens of different regions.
const MASKED: f32 = -100.0;

/// Attention of `q` to `k` and `v`, all `[windows, heads, tokens, channels of a head]`.
///
/// `bias` is `[heads, tokens, tokens]`; `mask` is `[m, tokens, tokens]` where window `i` uses
/// mask `i mod m`. `q` must be scaled already.
pub fn attend(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    bias: Option<Tensor<3>>,
    mask: Option<Tensor<3>>,
) -> Tensor<4> {
    let [windows, heads, n, _] = q.dims();
    let mut logits = q.matmul(k.swap_dims(2, 3));
    if let Some(bias) = bias {
        logits = logits + bias.unsqueeze_dim(0);
    }
    if let Some(mask) = mask {
        let [m, ..] = mask.dims();
        let mask: Tensor<5> = mask.reshape([1, m, 1, n, n]);
        logits =
            (logits.reshape([windows / m, m, heads, n, n]) + mask).reshape([windows, heads, n, n]);
    }
    softmax(logits, 3).matmul(v)
}

/// As [`ops::window_attention`](crate::ops::window_attention).
pub fn window_attention(qkv: Tensor<5>, table: Tensor<2>, geometry: &WindowGeometry) -> Tensor<5> {
    let (windows, n) = (geometry.windows(), geometry.tokens());
    let device = qkv.device();
    let bias = relative_bias(table, geometry);
    let mask = mask(geometry, n, |region| region.to_vec())
        .map(|values| Tensor::from_data(TensorData::new(values, [windows, n, n]), &device));
    let [q, k, v] = split_heads(partition(qkv, geometry), geometry);
    let out = attend(q, k, v, Some(bias), mask);
    merge(out, geometry)
}

/// As [`ops::mutual_attention`](crate::ops::mutual_attention).
pub fn mutual_attention(qkv: Tensor<5>, geometry: &WindowGeometry) -> Tensor<5> {
    let (windows, n) = (geometry.windows(), geometry.tokens());
    let device = qkv.device();
    let half = n / 2;
    let mask = mask(geometry, half, |region| region[..half].to_vec())
        .map(|values| Tensor::from_data(TensorData::new(values, [windows, half, half]), &device));
    let parts = split_heads(partition(qkv, geometry), geometry);
    let [[q1, q2], [k1, k2], [v1, v2]] =
        parts.map(|part| [part.clone().narrow(2, 0, half), part.narrow(2, half, half)]);
    let first = attend(q2, k1, v1, None, mask.clone());
    let second = attend(q1, k2, v2, None, mask);
    merge(Tensor::cat(vec![first, second], 2), geometry)
}

/// The bias between the tokens of a window, `[heads, tokens, tokens]`, from the table
/// `[(2·Wd−1)·(2·Wh−1)·(2·Ww−1), heads]`.
pub fn relative_bias(table: Tensor<2>, geometry: &WindowGeometry) -> Tensor<3> {
    let n = geometry.tokens();
    let index: Vec<i64> = geometry.relative_index().into_iter().map(|i| i as i64).collect();
    let index = TensorData::new(index, [n * n]);
    let index = Tensor::<1, Int>::from_data(index, &table.device());
    table.select(0, index).swap_dims(0, 1).reshape([geometry.heads, n, n])
}

/// The additive mask of every window of one map, `None` where no window has two regions.
fn mask(
    geometry: &WindowGeometry,
    tokens: usize,
    of_window: impl Fn(&[u8]) -> Vec<u8>,
) -> Option<Vec<f32>> {
    let regions = geometry.regions()?;
    let mut values = Vec::with_capacity(geometry.windows() * tokens * tokens);
    for window in regions.chunks_exact(geometry.tokens()) {
        let ids = of_window(window);
        for a in &ids {
            values.extend(ids.iter().map(|b| if a == b { 0.0 } else { MASKED }));
        }
    }
    Some(values)
}

/// The map without what the first `by` places along `axis` hold, which go to its end.
fn roll(x: Tensor<5>, axis: usize, by: usize) -> Tensor<5> {
    let size = x.dims()[axis];
    if by == 0 || by == size {
        return x;
    }
    let (head, tail) = (x.clone().narrow(axis, 0, by), x.narrow(axis, by, size - by));
    Tensor::cat(vec![tail, head], axis)
}

/// `[batch, d, h, w, c]` → `[batch · windows, tokens, c]`, rolled by the shift.
fn partition(x: Tensor<5>, geometry: &WindowGeometry) -> Tensor<3> {
    let [b, d, h, w, c] = x.dims();
    let [wd, wh, ww] = geometry.window;
    let mut x = x;
    for axis in 0..3 {
        x = roll(x, axis + 1, geometry.shift[axis]);
    }
    x.reshape([b, d / wd, wd, h / wh, wh, w / ww, ww, c])
        .permute([0, 1, 3, 5, 2, 4, 6, 7])
        .reshape([b * geometry.windows(), geometry.tokens(), c])
}

/// The inverse of [`partition`], heads side by side.
fn merge(out: Tensor<4>, geometry: &WindowGeometry) -> Tensor<5> {
    let [wd, wh, ww] = geometry.window;
    let [d, h, w] = geometry.map;
    let (b, c) = (geometry.batch, geometry.channels);
    let mut x: Tensor<5> = out
        .swap_dims(1, 2)
        .reshape([b, d / wd, h / wh, w / ww, wd, wh, ww, c])
        .permute([0, 1, 4, 2, 5, 3, 6, 7])
        .reshape([b, d, h, w, c]);
    for axis in 0..3 {
        let back = (geometry.map[axis] - geometry.shift[axis]) % geometry.map[axis];
        x = roll(x, axis + 1, back);
    }
    x
}

/// Queries (scaled), keys and values of `qkv` `[windows, tokens, 3·c]`, each
/// `[windows, heads, tokens, channels of a head]`.
pub fn split_heads(qkv: Tensor<3>, geometry: &WindowGeometry) -> [Tensor<4>; 3] {
    let [windows, n, _] = qkv.dims();
    let (heads, depth) = (geometry.heads, geometry.channels / geometry.heads);
    let qkv = qkv.reshape([windows, n, 3, heads, depth]).permute([2, 0, 3, 1, 4]);
    let part = |i: usize| qkv.clone().narrow(0, i, 1).reshape([windows, heads, n, depth]);
    [part(0) * (depth as f64).powf(-0.5), part(1), part(2)]
}
