//! Modulated deformable convolution, composed: one sampled map and one product per tap.

use burn::tensor::activation::sigmoid;
use burn::tensor::{Int, Tensor};

use super::sample::{Outside, Table};
use crate::deform_conv::DeformGeometry;
use crate::ops::{self, Deformation, Guidance};

/// As [`ops::deform_conv`](crate::ops::deform_conv).
pub fn deform_conv(
    x: Tensor<4>,
    offset: Tensor<4>,
    mask: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    geometry: &DeformGeometry,
) -> Tensor<4> {
    let [n, h, w, c_in] = x.dims();
    let [c_out, per_group, kh, kw] = weight.dims();
    let (groups, taps) = (geometry.offset_groups, kh * kw);
    let [ph, pw] = geometry.padding;
    let (out_h, out_w) = (h + 2 * ph + 1 - kh, w + 2 * pw + 1 - kw);
    let (pixels, samples) = (n * out_h * out_w, n * out_h * out_w * groups);
    let device = x.device();
    let sample = Tensor::<1, Int>::arange(0..samples as i64, &device);
    let pixel = sample.clone() / groups as i64;
    let column = pixel.clone().remainder_scalar(out_w as i64).float();
    let row = (pixel.clone() / out_w as i64).remainder_scalar(out_h as i64).float();
    let table = Table {
        rows: x.reshape([n * h * w * groups, c_in / groups]),
        frame: pixel / (out_h * out_w) as i64 * (h * w) as i64,
        group: sample.remainder_scalar(groups as i64),
        groups,
        height: h,
        width: w,
    };
    let offset = offset.reshape([samples, taps * 2]);
    let mask = mask.reshape([samples, taps]);
    let blocks = c_in / per_group;
    let mut out = bias.reshape([1, c_out]).repeat_dim(0, pixels);
    for tap in 0..taps {
        let (dy, dx) = ((tap / kw) as f64 - ph as f64, (tap % kw) as f64 - pw as f64);
        let part =
            |index: usize| offset.clone().slice([0..samples, index..index + 1]).reshape([samples]);
        let y_at = part(2 * tap) + row.clone() + dy;
        let x_at = part(2 * tap + 1) + column.clone() + dx;
        let seen = table.bilinear(x_at, y_at, Outside::Zeros)
            * mask.clone().slice([0..samples, tap..tap + 1]);
        let seen = seen.reshape([pixels, c_in]);
        let (ty, tx) = (tap / kw, tap % kw);
        let tap_weight = weight.clone().slice([0..c_out, 0..per_group, ty..ty + 1, tx..tx + 1]);
        let tap_weight = tap_weight.reshape([c_out, per_group]);
        let products = (0..blocks)
            .map(|block| {
                let outputs = block * (c_out / blocks)..(block + 1) * (c_out / blocks);
                let inputs = block * per_group..(block + 1) * per_group;
                seen.clone()
                    .slice([0..pixels, inputs])
                    .matmul(tap_weight.clone().slice([outputs, 0..per_group]).transpose())
            })
            .collect();
        out = out + Tensor::cat(products, 1);
    }
    out.reshape([n, out_h, out_w, c_out])
}

/// As [`ops::deform_conv_guided`](crate::ops::deform_conv_guided).
pub fn deform_conv_guided(
    x: Tensor<4>,
    guidance: Guidance,
    weight: Tensor<4>,
    bias: Tensor<1>,
    padding: [usize; 2],
) -> Tensor<4> {
    let Guidance { answers, flows, max_offset, groups } = guidance;
    let [n, h, w, values] = answers.dims();
    let (offsets, reach) = (values / 3 * 2, flows.len());
    let offset = answers.clone().narrow(3, 0, offsets).tanh() * max_offset;
    let mask = sigmoid(answers.narrow(3, offsets, offsets / 2));
    // Part j of the offsets belongs to neighbour j; offsets are (dy, dx), flows are (x, y).
    let flows = flows.into_iter().map(|flow| flow.flip([3]).reshape([n, h, w, 1, 1, 2]));
    let flows: Tensor<6> = Tensor::cat(flows.collect(), 3);
    let offset: Tensor<6> = offset.reshape([n, h, w, reach, offsets / (2 * reach), 2]);
    let offset = (offset + flows).reshape([n, h, w, offsets]);
    ops::deform_conv(x, Deformation { offset, mask, groups }, weight, bias, padding)
}
