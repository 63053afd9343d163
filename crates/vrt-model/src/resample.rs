//! Changes of size between stages, and of pictures.

use burn::tensor::Tensor;
use vrt_kernels::fused;
pub(crate) use vrt_kernels::resample::Align;
use vrt_kernels::resample::{Axis, Change};

/// Resizes `x` `[n, h, w, c]` bilinearly to `[n, size.0, size.1, c]`.
pub(crate) fn resize_bilinear(x: Tensor<4>, size: [usize; 2], align: Align) -> Tensor<4> {
    fused::resample(x.clone(), resized(&x, size, align), Change::NONE)
}

/// The axes of pictures that are resized to this many rows and columns.
pub(crate) fn resized(x: &Tensor<4>, size: [usize; 2], align: Align) -> [Axis; 2] {
    let [_, h, w, _] = x.dims();
    [Axis::resized(h, size[0], align), Axis::resized(w, size[1], align)]
}

/// Means of blocks of 2×2 pixels; an odd last row or column is dropped.
pub(crate) fn halve(x: Tensor<4>) -> Tensor<4> {
    let [_, h, w, _] = x.dims();
    fused::resample(x, [Axis::halved(h), Axis::halved(w)], Change::NONE)
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
    fused::select(x, axis, size, |index| mirror(index as i64 - before as i64, from as i64))
}

/// The sample of an axis of `len` that lies at `index` when the axis is mirrored for ever.
fn mirror(index: i64, len: i64) -> usize {
    if len == 1 {
        return 0;
    }
    let period = 2 * (len - 1);
    let index = index.rem_euclid(period);
    index.min(period - index) as usize
}
