//! Places around a flow, as the offset convolutions of the network answer them (section 3.3).

use std::ops::Range;

use rayon::prelude::*;

use crate::exponential::exp;
use crate::level::{Level, at_every_level, mul_add};
use crate::parallel::{for_each_part, with_flush_to_zero, zeros};

use super::{
    DeformGeometry, DeformGradients, DeformInputs, GuideGradients, GuidedGradients, backward_at,
};

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

impl<'a> GuidedPixels<'a> {
    /// From what the pixels `range`, counted over all frames, are answered, and the flows of all.
    pub(super) fn new(
        answers: &'a [f32],
        (of_all, max_offset): (&[&'a [f32]], f32),
        range: Range<usize>,
    ) -> Self {
        let mut flows: [&[f32]; MOST_FLOWS] = [&[]; MOST_FLOWS];
        for (part, flow) in flows.iter_mut().zip(of_all) {
            *part = &flow[2 * range.start..2 * range.end];
        }
        Self { answers, flows, count: of_all.len(), max_offset }
    }
}

impl<'a> Guide<'a> {
    /// Values that one pixel is answered.
    pub(super) fn answers_len(samples: usize) -> usize {
        3 * samples
    }

    /// The guide of the pixels `range`, counted over all frames.
    pub(super) fn of_pixels(&self, range: Range<usize>) -> GuidedPixels<'a> {
        let pixels = self.flows[0].len() / 2;
        let len = self.answers.len() / pixels;
        let answers = &self.answers[len * range.start..len * range.end];
        GuidedPixels::new(answers, (self.flows, self.max_offset), range)
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

/// The gradients of some offsets and masks.
#[derive(Clone, Copy, Debug)]
struct PlaceGradients<'a> {
    offset: &'a [f32],
    mask: &'a [f32],
}

/// Frames whose gradients are computed at a time.
pub(super) struct Strip<'a> {
    pub(super) level: Level,
    /// Of these frames.
    pub(super) geometry: &'a DeformGeometry,
    /// Of all frames.
    pub(super) guide: Guide<'a>,
    /// Those of these frames, counted over all.
    pub(super) pixels: Range<usize>,
    pub(super) weight: &'a [f32],
}

/// Values of answers that one task computes the gradient of.
const TASK_ANSWERS: usize = 1 << 14;

impl Strip<'_> {
    /// Writes the gradients of the frames' values, `map` among those of all frames, and adds those of
    /// the weight and bias.
    pub(super) fn gradients(
        &self,
        x: &[f32],
        grad_out: &[f32],
        map: Range<usize>,
        found: &mut GuidedGradients,
    ) {
        let (g, samples) = (self.geometry, self.geometry.samples());
        let (mut offset, mut mask) = (zeros(g.offset_len()), zeros(g.mask_len()));
        self.decode(samples, [&mut offset, &mut mask]);
        let of_places = found.guide.is_some();
        let [mut grad_offset, mut grad_mask] = [g.offset_len(), g.mask_len()]
            .map(|len| if of_places { zeros(len) } else { Vec::new() });
        let (mut weight, mut bias) = (vec![0.0; self.weight.len()], vec![0.0; g.out_channels]);
        let wanted = DeformGradients {
            x: Some(&mut found.x[map]),
            offset: of_places.then_some(&mut grad_offset),
            mask: of_places.then_some(&mut grad_mask),
            weight: Some(&mut weight),
            bias: Some(&mut bias),
        };
        let inputs = DeformInputs { x, offset: &offset, mask: &mask, weight: self.weight };
        backward_at(self.level, g, inputs, grad_out, wanted);
        add(&mut found.weight, &weight);
        add(&mut found.bias, &bias);
        if let Some(guide) = &mut found.guide {
            self.of_guide(PlaceGradients { offset: &grad_offset, mask: &grad_mask }, guide);
        }
    }

    /// Writes the gradients of the frames' answers and flows.
    fn of_guide(&self, grads: PlaceGradients<'_>, found: &mut GuideGradients) {
        let samples = self.geometry.samples();
        let answers = 3 * samples * self.pixels.start..3 * samples * self.pixels.end;
        self.answers(samples, grads, &mut found.answers[answers]);
        let parts = found.flows.len();
        for (part, flow) in found.flows.iter_mut().enumerate() {
            let flow = &mut flow[2 * self.pixels.start..2 * self.pixels.end];
            flow_gradient(grads.offset, samples, [part, parts], flow);
        }
    }

    /// Writes the offsets and masks.
    fn decode(&self, samples: usize, [offset, mask]: [&mut [f32]; 2]) {
        const PIXELS: usize = 64;
        let parts = offset.par_chunks_mut(PIXELS * 2 * samples);
        let parts = parts.zip(mask.par_chunks_mut(PIXELS * samples)).enumerate();
        parts.for_each(|(task, (offset, mask))| {
            let first = self.pixels.start + task * PIXELS;
            let pixels = self.guide.of_pixels(first..first + mask.len() / samples);
            with_flush_to_zero(|| decode(self.level, pixels, offset, mask));
        });
    }

    /// Writes the gradients of the answers.
    fn answers(&self, samples: usize, grads: PlaceGradients<'_>, out: &mut [f32]) {
        let answers = &self.guide.answers[3 * samples * self.pixels.start..][..out.len()];
        let pixels = (TASK_ANSWERS / (3 * samples)).max(1);
        for_each_part(out, pixels * 3 * samples, |task, out| {
            let (first, count) = (task * pixels, out.len() / (3 * samples));
            let grads = PlaceGradients {
                offset: &grads.offset[2 * samples * first..][..2 * samples * count],
                mask: &grads.mask[samples * first..][..samples * count],
            };
            let answers = &answers[3 * samples * first..][..out.len()];
            answer_gradients(self.level, answers, grads, (samples, self.guide.max_offset), out);
        });
    }
}

fn add(sum: &mut [f32], values: &[f32]) {
    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
}

at_every_level! {
    /// Writes the gradients of answers from those of the offsets and masks made of them, for pixels
    /// of so many samples.
    fn answer_gradients(
        answers: &[f32],
        grads: PlaceGradients<'_>,
        sizes: (usize, f32),
        out: &mut [f32],
    ) = answer_gradients_body;
}

#[inline(always)]
fn answer_gradients_body<const FUSED: bool>(
    answers: &[f32],
    grads: PlaceGradients<'_>,
    (samples, max_offset): (usize, f32),
    out: &mut [f32],
) {
    let pixels = answers.chunks_exact(3 * samples).zip(out.chunks_exact_mut(3 * samples));
    for (pixel, (answers, out)) in pixels.enumerate() {
        let offsets = &grads.offset[2 * samples * pixel..][..2 * samples];
        let masks = &grads.mask[samples * pixel..][..samples];
        for i in 0..2 * samples {
            let turned = tanh::<FUSED>(answers[i]);
            out[i] = max_offset * mul_add::<FUSED>(-turned, turned, 1.0) * offsets[i];
        }
        for i in 0..samples {
            let mask = sigmoid::<FUSED>(answers[2 * samples + i]);
            out[2 * samples + i] = mul_add::<FUSED>(-mask, mask, mask) * masks[i];
        }
    }
}

/// Writes the gradient of the flow to neighbour `part` of `parts`, (x, y) for each pixel: that of
/// all offsets (dy, dx) that it was added to.
fn flow_gradient(offset: &[f32], samples: usize, [part, parts]: [usize; 2], out: &mut [f32]) {
    let len = 2 * samples / parts;
    let pixels = offset.chunks_exact(2 * samples).zip(out.as_chunks_mut::<2>().0);
    for (offset, out) in pixels {
        let (places, _) = offset[part * len..][..len].as_chunks::<2>();
        *out = places.iter().fold([0.0; 2], |[x, y], [dy, dx]| [x + dx, y + dy]);
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
