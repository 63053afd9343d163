//! The definition, sums in `f64`: what the kernels are held to.

use super::ConvGeometry;

/// Calls `visit(out, x, weight)` with the places of each product of the sum.
pub(super) fn for_each_product(g: &ConvGeometry, mut visit: impl FnMut(usize, usize, usize)) {
    let [kh, kw] = g.kernel;
    for pixel in 0..g.batch * g.out_height() * g.out_width() {
        let (frame, at) = (pixel / (g.out_height() * g.out_width()), pixel % g.out_width());
        let row = pixel / g.out_width() % g.out_height();
        for tap in 0..kh * kw {
            let (y, x) = (row + tap / kw, at + tap % kw);
            let inside = (g.padding[0]..g.padding[0] + g.height).contains(&y)
                && (g.padding[1]..g.padding[1] + g.width).contains(&x);
            if !inside {
                continue;
            }
            let source = (frame * g.height + y - g.padding[0]) * g.width + x - g.padding[1];
            for i in 0..g.in_channels * g.out_channels {
                let (c, o) = (i % g.in_channels, i / g.in_channels);
                let weight = (o * g.in_channels + c) * kh * kw + tap;
                visit(pixel * g.out_channels + o, source * g.in_channels + c, weight);
            }
        }
    }
}

/// As [`conv2d`](super::conv2d).
pub(super) fn conv2d(g: &ConvGeometry, x: &[f32], weight: &[f32], bias: &[f32]) -> Vec<f32> {
    let mut out: Vec<f64> = (0..g.out_len()).map(|i| f64::from(bias[i % g.out_channels])).collect();
    for_each_product(g, |o, i, w| out[o] += f64::from(x[i]) * f64::from(weight[w]));
    out.into_iter().map(|value| value as f32).collect()
}

/// The gradients of the input, the weight and the bias.
pub(super) fn backward(g: &ConvGeometry, x: &[f32], weight: &[f32], grad: &[f32]) -> [Vec<f32>; 3] {
    let mut sums = [x.len(), weight.len(), g.out_channels].map(|len| vec![0.0_f64; len]);
    for_each_product(g, |o, i, w| {
        sums[0][i] += f64::from(grad[o]) * f64::from(weight[w]);
        sums[1][w] += f64::from(grad[o]) * f64::from(x[i]);
    });
    grad.iter().enumerate().for_each(|(i, grad)| sums[2][i % g.out_channels] += f64::from(*grad));
    sums.map(|sum| sum.into_iter().map(|value| value as f32).collect())
}
