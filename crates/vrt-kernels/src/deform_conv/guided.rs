//! Places around a flow, as the offset convolutions of the network answer them (section 3.3).

use std::ops::Range;

use crate::exponential::exp;
use crate::level::{at_every_level, mul_add};

/// What the offset convolutions answered, and the flows that it corrects.
#[derive(Clone, Copy, Debug)]
pub struct Guide<'a> {
    /// `[batch, height, width, 3 · taps · groups]`: two thirds are the offsets before tanh, dy and
    /// dx by turns, the last third is the mask before the sigmoid.
    pub answers: &'a [f32],
    /// Flow to each neighbour, nearest first, each `[batch, height, width, 2]`, along x then y, in
    /// pixels. Offsets are cut into as many equal parts, part `j` is added to flow `j`.
    pub flows: &'a [&'a [f32]],
    /// Pixels that an offset may lie from its flow.
    pub max_offset: f32,
}

/// Most neighbours on one side.
pub(super) const MOST_FLOWS: usize = 8;

/// The guide of some pixels.
#[derive(Clone, Copy, Debug)]
pub(super) struct GuidedPixels<'a> {
    answers: &'a [f32],
    flows: [&'a [f32]; MOST_FLOWS],
    count: usize,
    max_offset: f32,
}

impl<'a> Guide<'a> {
    /// Values that one pixel is answered.
    pub(super) fn answers_len(samples: usize) -> usize {
        3 * samples
    }

    /// The guide of the pixels `range`, counted over all frames.
    pub(super) fn of_pixels(&self, range: Range<usize>) -> GuidedPixels<'a> {
        let mut flows: [&[f32]; MOST_FLOWS] = [&[]; MOST_FLOWS];
        for (part, flow) in flows.iter_mut().zip(self.flows) {
            *part = &flow[2 * range.start..2 * range.end];
        }
        let pixels = self.flows[0].len() / 2;
        let len = self.answers.len() / pixels;
        GuidedPixels {
            answers: &self.answers[len * range.start..len * range.end],
            flows,
            count: self.flows.len(),
            max_offset: self.max_offset,
        }
    }
}

at_every_level! {
    /// Writes the offsets (dy, dx) and masks of the pixels.
    pub(super) fn decode(
        pixels: GuidedPixels<'_>,
        offset: &mut [f32],
        mask: &mut [f32],
    ) = decode_body;
}

#[inline(always)]
fn decode_body<const FUSED: bool>(pixels: GuidedPixels<'_>, offset: &mut [f32], mask: &mut [f32]) {
    let count = pixels.flows[0].len() / 2;
    let samples = mask.len() / count;
    let answers = pixels.answers.chunks_exact(3 * samples);
    let places = offset.chunks_exact_mut(2 * samples).zip(mask.chunks_exact_mut(samples));
    for (pixel, (answers, (offset, mask))) in answers.zip(places).enumerate() {
        let (offsets, masks) = answers.split_at(2 * samples);
        for (offset, answer) in offset.iter_mut().zip(offsets) {
            *offset = pixels.max_offset * tanh::<FUSED>(*answer);
        }
        let parts = offset.chunks_exact_mut(2 * samples / pixels.count);
        for (part, flow) in parts.zip(&pixels.flows) {
            let [dx, dy] = [flow[2 * pixel], flow[2 * pixel + 1]];
            for place in part.as_chunks_mut::<2>().0 {
                place[0] += dy;
                place[1] += dx;
            }
        }
        for (mask, answer) in mask.iter_mut().zip(masks) {
            *mask = sigmoid::<FUSED>(*answer);
        }
    }
}

/// `(1 − e) / (1 + e)` with `e = exp(−2 |x|)`, and the sign of `x`.
#[inline(always)]
fn tanh<const FUSED: bool>(x: f32) -> f32 {
    let e = exp::<FUSED>(-2.0 * x.abs());
    ((1.0 - e) / (1.0 + e)).copysign(x)
}

#[inline(always)]
fn sigmoid<const FUSED: bool>(x: f32) -> f32 {
    let e = exp::<FUSED>(-x.abs());
    let above = 1.0 / (1.0 + e);
    // The other side of ½ is the rest to 1.
    let below = mul_add::<FUSED>(-1.0, above, 1.0);
    if x < 0.0 { below } else { above }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_curves_are_those_of_the_library() {
        for i in -4000..=4000 {
            let x = i as f32 * 0.005;
            let (t, s) = (x.tanh(), 1.0 / (1.0 + (-f64::from(x)).exp()));
            for (tanh, sigmoid) in
                [(tanh::<true>(x), sigmoid::<true>(x)), (tanh::<false>(x), sigmoid::<false>(x))]
            {
                assert!((tanh - t).abs() < 3e-7, "tanh({x}) is {tanh}");
                assert!((f64::from(sigmoid) - s).abs() < 3e-7, "sigmoid({x}) is {sigmoid}");
            }
        }
        assert!(tanh::<true>(f32::NAN).is_nan());
    }
}
