//! Convolution, composed: one matrix product per tap.

use burn::tensor::Tensor;
use burn::tensor::activation::leaky_relu;

use crate::conv::Enlarging;

/// As [`ops::conv2d`](crate::ops::conv2d).
pub fn conv2d(x: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>, padding: [usize; 2]) -> Tensor<4> {
    let [n, h, w, c_in] = x.dims();
    let [c_out, _, kh, kw] = weight.dims();
    let [ph, pw] = padding;
    let (out_h, out_w) = (h + 2 * ph + 1 - kh, w + 2 * pw + 1 - kw);
    let device = x.device();
    let padded = Tensor::zeros([n, h + 2 * ph, w + 2 * pw, c_in], &device)
        .slice_assign([0..n, ph..ph + h, pw..pw + w, 0..c_in], x);
    let mut out = bias.reshape([1, c_out]).repeat_dim(0, n * out_h * out_w);
    for dy in 0..kh {
        for dx in 0..kw {
            let seen = padded.clone().slice([0..n, dy..dy + out_h, dx..dx + out_w, 0..c_in]);
            let tap = weight.clone().slice([0..c_out, 0..c_in, dy..dy + 1, dx..dx + 1]);
            let product = seen
                .reshape([n * out_h * out_w, c_in])
                .matmul(tap.reshape([c_out, c_in]).transpose());
            out = out + product;
        }
    }
    out.reshape([n, out_h, out_w, c_out])
}

/// What [`ops::conv2d_enlarging`](crate::ops::conv2d_enlarging) does behind the convolution.
pub fn enlarged(x: Tensor<4>, Enlarging { factor, slope }: Enlarging) -> Tensor<4> {
    let [n, h, w, c] = x.dims();
    let c = c / (factor * factor);
    let x = leaky_relu(x, f64::from(slope));
    if factor == 1 {
        return x;
    }
    let x: Tensor<6> = x.reshape([n, h, w, c, factor, factor]);
    x.permute([0, 1, 4, 2, 5, 3]).reshape([n, h * factor, w * factor, c])
}
