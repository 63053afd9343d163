//! The parts of an exposure, added up along the way that each pixel goes while it lasts.

use super::{Gradients, moving, pick, sample, warp_gradients, way};
use crate::level::{Level, at_every_level};
use crate::parallel::{for_each_part, zeros};
use crate::sum::scaled;
use crate::warp::WarpGeometry;

/// How the last channels of pictures, each a part of an exposure, are added up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exposures<'a> {
    /// How far each part lies from the middle, in ways from frame to frame: `[exposures, parts]`.
    pub ways: &'a [f32],
    /// Parts, which are the last channels.
    pub parts: usize,
    /// What each channel has in the picture that stands still, which is taken off.
    pub still: &'a [f32],
    /// By how much differences are enlarged.
    pub gain: f32,
}

impl Exposures<'_> {
    /// Channels of the output.
    pub fn count(&self) -> usize {
        self.ways.len() / self.parts.max(1)
    }

    fn check(&self, g: &WarpGeometry, [x, motion, out]: [usize; 3]) {
        g.check(x, motion, x);
        let fit = self.parts > 0 && self.parts <= g.channels && self.still.len() == g.channels;
        assert!(fit, "gathered: {} parts in {} channels", self.parts, g.channels);
        let whole = self.count() > 0 && self.ways.len().is_multiple_of(self.parts);
        assert!(whole, "gathered: {} ways of {} parts", self.ways.len(), self.parts);
        assert_eq!(out * g.channels, self.count() * x, "gathered: {} exposures", self.count());
    }
}

/// By how much the mean of parts along their motion differs from the picture that stands still:
/// `[batch, height, width, exposures]`.
///
/// # Panics
///
/// Panics if the lengths of slices do not fit `shape`, that of `x`.
pub fn gathered(
    shape: [usize; 4],
    exposures: &Exposures<'_>,
    x: &[f32],
    motion: &[f32],
    out: &mut [f32],
) {
    let g = moving(shape);
    exposures.check(&g, [x.len(), motion.len(), out.len()]);
    let level = Level::current();
    for_each_part(out, exposures.count() * g.width, |index, out| {
        let source = g.source(x, index);
        gathered_row(level, &g, exposures, source, g.flow_row(motion, index), out);
    });
}

at_every_level! {
    /// A row of the output, of this frame and row.
    fn gathered_row(
        g: &WarpGeometry,
        exposures: &Exposures<'_>,
        at: (&[f32], usize),
        motion: &[f32],
        out: &mut [f32],
    ) = gathered_row_body;
}

#[inline(always)]
fn gathered_row_body<const FUSED: bool>(
    g: &WarpGeometry,
    exposures: &Exposures<'_>,
    (frame, row): (&[f32], usize),
    motion: &[f32],
    out: &mut [f32],
) {
    let (motion, _) = motion.as_chunks::<2>();
    let pixels = frame[row * g.width * g.channels..].chunks_exact(g.channels);
    let (first, share) = (g.channels - exposures.parts, 1.0 / exposures.parts as f32);
    let outs = out.chunks_exact_mut(exposures.count());
    for (column, ((motion, pixel), out)) in motion.iter().zip(pixels).zip(outs).enumerate() {
        let mut still = 0.0;
        for (value, part) in pixel.iter().zip(exposures.still) {
            still += part * value;
        }
        for (out, ways) in out.iter_mut().zip(exposures.ways.chunks_exact(exposures.parts)) {
            let mut sum = 0.0;
            for (part, share) in ways.iter().enumerate() {
                let mut value = [0.0];
                let place = way([column, row], *motion, *share);
                sample::<FUSED>(g, frame, place, first + part, &mut value);
                sum += value[0];
            }
            *out = (sum * share - still) * exposures.gain;
        }
    }
}

/// The gradients of [`gathered`]'s `x` and motion, where they are wanted, from that of its output.
///
/// # Panics
///
/// As [`gathered`].
pub fn gathered_backward(
    shape: [usize; 4],
    exposures: &Exposures<'_>,
    [x, motion]: [&[f32]; 2],
    grad: &[f32],
    wanted: [bool; 2],
) -> [Option<Vec<f32>>; 2] {
    let g = moving(shape);
    exposures.check(&g, [x.len(), motion.len(), grad.len()]);
    let one = WarpGeometry { channels: 1, ..g };
    let (pixels, first) = (motion.len() / 2, g.channels - exposures.parts);
    let (count, share) = (exposures.count(), exposures.gain / exposures.parts as f32);
    let mut found = Gradients::new(x, motion, wanted);
    let mut part_values = zeros(pixels);
    let mut grad_part = zeros(pixels);
    for (index, share_of_way) in exposures.ways.iter().enumerate() {
        let (exposure, channel) = (index / exposures.parts, first + index % exposures.parts);
        pick(x, [g.channels, channel, 1], 1.0, &mut part_values);
        pick(grad, [count, exposure, 1], share, &mut grad_part);
        let way = scaled(motion, *share_of_way);
        let [of_x, of_way] = wanted;
        let room = [of_x.then(|| zeros(pixels)), of_way.then(|| zeros(2 * pixels))];
        let [of_part, of_way] = warp_gradients(&one, [&part_values, &way], &grad_part, room);
        if let (Some(sum), Some(of_part)) = (&mut found.x, of_part) {
            put(&of_part, [g.channels, channel], sum);
        }
        found.add_way(*share_of_way, of_way);
    }
    if let Some(sum) = &mut found.x {
        take_still_off(exposures, grad, sum);
    }
    [found.x, found.motion]
}

/// Adds a value to one channel of each pixel.
fn put(values: &[f32], [stride, channel]: [usize; 2], sum: &mut [f32]) {
    const PIXELS: usize = 1 << 12;
    for_each_part(sum, PIXELS * stride, |task, sum| {
        for (sum, value) in sum.chunks_exact_mut(stride).zip(&values[task * PIXELS..]) {
            sum[channel] += value;
        }
    });
}

/// The gradient of what stands still.
fn take_still_off(exposures: &Exposures<'_>, grad: &[f32], sum: &mut [f32]) {
    const PIXELS: usize = 1 << 12;
    let (stride, count) = (exposures.still.len(), exposures.count());
    for_each_part(sum, PIXELS * stride, |task, sum| {
        let grads = grad[task * PIXELS * count..].chunks_exact(count);
        for (sum, grad) in sum.chunks_exact_mut(stride).zip(grads) {
            let total = exposures.gain * grad.iter().sum::<f32>();
            for (sum, part) in sum.iter_mut().zip(exposures.still) {
                *sum -= part * total;
            }
        }
    });
}
