//! Changes of size between stages, and of pictures.

use burn::tensor::{Int, Tensor, TensorData};
use vrt_kernels::fused;

/// Where the samples of a resized axis lie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Align {
    /// The outer edges of both axes coincide (`align_corners` false).
    Edges,
    /// The centres of both axes' first and last samples coincide (`align_corners` true).
    Corners,
}

/// Resizes `x` `[n, h, w, c]` bilinearly to `[n, size.0, size.1, c]`.
pub(crate) fn resize_bilinear(x: Tensor<4>, size: [usize; 2], align: Align) -> Tensor<4> {
    let x = resize_axis(x, 1, size[0], align);
    resize_axis(x, 2, size[1], align)
}

fn resize_axis(x: Tensor<4>, axis: usize, size: usize, align: Align) -> Tensor<4> {
    let from = x.dims()[axis];
    if from == size {
        return x;
    }
    let device = x.device();
    let places: Vec<f32> = (0..size).map(|i| place(i, from, size, align)).collect();
    let below: Vec<i64> = places.iter().map(|p| p.floor() as i64).collect();
    let above: Vec<i64> = below.iter().map(|i| (i + 1).min(from as i64 - 1)).collect();
    let share: Vec<f32> = places.iter().map(|p| p - p.floor()).collect();
    let index = |v: Vec<i64>| Tensor::<1, Int>::from_data(TensorData::new(v, [size]), &device);
    let mut shape = [1; 4];
    shape[axis] = size;
    let share = Tensor::<1>::from_data(TensorData::new(share, [size]), &device).reshape(shape);
    let (low, high) = (x.clone().select(axis, index(below)), x.select(axis, index(above)));
    low * (-share.clone() + 1.0) + high * share
}

/// The place on an axis of `from` samples that sample `index` of `to` shows.
fn place(index: usize, from: usize, to: usize, align: Align) -> f32 {
    match align {
        Align::Edges => {
            let scale = from as f32 / to as f32;
            (scale * (index as f32 + 0.5) - 0.5).clamp(0.0, (from - 1) as f32)
        }
        Align::Corners if to == 1 => 0.0,
        Align::Corners => index as f32 * ((from - 1) as f32 / (to - 1) as f32),
    }
}

/// Means of blocks of 2×2 pixels; an odd last row or column is dropped.
pub(crate) fn halve(x: Tensor<4>) -> Tensor<4> {
    let [n, h, w, c] = x.dims();
    let (h, w) = (h / 2, w / 2);
    let x: Tensor<6> = x.slice([0..n, 0..2 * h, 0..2 * w, 0..c]).reshape([n, h, 2, w, 2, c]);
    x.mean_dims(&[2, 4]).reshape([n, h, w, c])
}

/// Repeats the last row and column until the picture has `size`.
pub(crate) fn extend(x: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    let mut x = x;
    for (axis, wanted) in [(1, size[0]), (2, size[1])] {
        let have = x.dims()[axis];
        if have < wanted {
            let last = x.clone().narrow(axis, have - 1, 1).repeat_dim(axis, wanted - have);
            x = Tensor::cat(vec![x, last], axis);
        }
    }
    x
}

/// `[b, d, 2h, 2w, c]` → `[b, d, h, w, 4c]`, channels ordered column in pair, row in pair, channel.
pub(crate) fn space_to_depth(x: Tensor<5>) -> Tensor<5> {
    let [b, d, h, w, c] = x.dims();
    let (h, w) = (h / 2, w / 2);
    let x: Tensor<7> = x.reshape([b * d, h, 2, w, 2, 1, c]);
    fused::arranged(x.permute([0, 1, 3, 4, 2, 5, 6])).reshape([b, d, h, w, 4 * c])
}

/// The inverse of [`space_to_depth`].
pub(crate) fn depth_to_space(x: Tensor<5>) -> Tensor<5> {
    let [b, d, h, w, c] = x.dims();
    let x: Tensor<6> = x.reshape([b * d, h, w, 2, 2, c / 4]);
    fused::arranged(x.permute([0, 1, 4, 2, 3, 5])).reshape([b, d, 2 * h, 2 * w, c / 4])
}

/// Extends `axis` to `size` samples by mirroring its ends, edges not repeated.
pub(crate) fn reflect_to<const D: usize>(x: Tensor<D>, axis: usize, size: usize) -> Tensor<D> {
    reflect_around(x, axis, 0, size)
}

/// Extends `axis` to `size` samples, `before` of them in front, by mirroring, edges not repeated.
pub(crate) fn reflect_around<const D: usize>(
    x: Tensor<D>,
    axis: usize,
    before: usize,
    size: usize,
) -> Tensor<D> {
    let from = x.dims()[axis];
    if from == size {
        return x;
    }
    let index: Vec<i64> =
        (0..size).map(|i| mirror(i as i64 - before as i64, from as i64)).collect();
    let index = Tensor::<1, Int>::from_data(TensorData::new(index, [size]), &x.device());
    x.select(axis, index)
}

/// The sample of an axis of `len` that lies at `index` when the axis is mirrored for ever.
fn mirror(index: i64, len: i64) -> i64 {
    if len == 1 {
        return 0;
    }
    let period = 2 * (len - 1);
    let index = index.rem_euclid(period);
    index.min(period - index)
}
