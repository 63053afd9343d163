//! The definition, value by value in `f64`: what the kernels are held to.

use super::{DeformGeometry, DeformInputs};

/// The values of a deformable convolution in `f64`, so that differences of them are slopes.
#[derive(Clone, Debug)]
pub(super) struct Exact {
    pub(super) x: Vec<f64>,
    pub(super) offset: Vec<f64>,
    pub(super) mask: Vec<f64>,
    pub(super) weight: Vec<f64>,
}

impl From<DeformInputs<'_>> for Exact {
    fn from(inputs: DeformInputs<'_>) -> Self {
        let [x, offset, mask, weight] = [inputs.x, inputs.offset, inputs.mask, inputs.weight]
            .map(|values| values.iter().map(|value| f64::from(*value)).collect());
        Self { x, offset, mask, weight }
    }
}

/// One channel of frame `frame` at `(y, x)`, bilinear, zero outside.
fn bilinear(g: &DeformGeometry, map: &[f64], [frame, channel]: [usize; 2], y: f64, x: f64) -> f64 {
    let at = |y: f64, x: f64| {
        let inside = y >= 0.0 && y < g.height as f64 && x >= 0.0 && x < g.width as f64;
        let row = frame * g.height + y as usize;
        if inside { map[(row * g.width + x as usize) * g.in_channels + channel] } else { 0.0 }
    };
    let (top, left) = (y.floor(), x.floor());
    let (down, right) = (y - top, x - left);
    (1.0 - down) * ((1.0 - right) * at(top, left) + right * at(top, left + 1.0))
        + down * ((1.0 - right) * at(top + 1.0, left) + right * at(top + 1.0, left + 1.0))
}

/// One value of the output, without bias.
fn value(g: &DeformGeometry, v: &Exact, index: usize) -> f64 {
    let (pixel, output) = (index / g.out_channels, index % g.out_channels);
    let (frame, at) = (pixel / g.out_frame_pixels(), pixel % g.out_frame_pixels());
    let (row, column) = (at / g.out_width(), at % g.out_width());
    let per_group = g.in_channels / g.weight_groups;
    let weight_group = output / (g.out_channels / g.weight_groups);
    let mut sum = 0.0;
    for i in 0..per_group * g.taps() {
        let (input, tap) = (i / g.taps(), i % g.taps());
        let channel = weight_group * per_group + input;
        let offset_group = channel / (g.in_channels / g.offset_groups);
        let sample = (pixel * g.offset_groups + offset_group) * g.taps() + tap;
        let y = (row + tap / g.kernel[1]) as f64 - g.padding[0] as f64 + v.offset[2 * sample];
        let x =
            (column + tap % g.kernel[1]) as f64 - g.padding[1] as f64 + v.offset[2 * sample + 1];
        let seen = v.mask[sample] * bilinear(g, &v.x, [frame, channel], y, x);
        sum += seen * v.weight[(output * per_group + input) * g.taps() + tap];
    }
    sum
}

/// As [`deform_conv`](super::deform_conv).
pub(super) fn deform_conv(g: &DeformGeometry, v: &Exact, bias: &[f32]) -> Vec<f64> {
    (0..g.out_len()).map(|i| value(g, v, i) + f64::from(bias[i % g.out_channels])).collect()
}
