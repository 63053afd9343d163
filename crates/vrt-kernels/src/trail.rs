//! Pictures along their motion: samples of them on the way that each pixel goes, what those of the
//! parts of an exposure add up to, and what both come to when they are weighed.
//!
//! `motion` is `[batch, height, width, 2]`, along x then y: the pixels that a place moves by from
//! frame to frame. Places outside a picture are moved to the nearest one on it
//! ([`WarpMode::BilinearBorder`]).

use crate::bilinear::{Corners, blend};
use crate::level::{Level, at_every_level};
use crate::parallel::{for_each_part, zeros};
use crate::sum::{add_scaled, scaled};
use crate::warp::{WarpGeometry, WarpMode, onto_map, warp_backward};

mod gather;
mod weigh;

pub use gather::{Exposures, gathered, gathered_backward};
pub use weigh::{Weighing, Weights, weigh, weigh_backward};

/// Samples on the way of every pixel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trail<'a> {
    /// How far they lie from their pixel, in ways from frame to frame.
    pub places: &'a [f32],
    /// By how much differences are enlarged.
    pub gain: f32,
}

/// The sizes of pictures that move.
pub(crate) fn moving([batch, height, width, channels]: [usize; 4]) -> WarpGeometry {
    WarpGeometry { batch, height, width, channels, mode: WarpMode::BilinearBorder }
}

/// By how much pictures `x`, `[batch, height, width, channels]`, differ from their samples:
/// `[batch, height, width, places · channels]`, place by place.
///
/// # Panics
///
/// Panics if the lengths of slices do not fit `shape`, that of `x`.
pub fn trails(shape: [usize; 4], trail: &Trail<'_>, x: &[f32], motion: &[f32], out: &mut [f32]) {
    let g = moving(shape);
    g.check(x.len(), motion.len(), x.len());
    assert_eq!(out.len(), trail.places.len() * x.len(), "trails: {} places", trail.places.len());
    let level = Level::current();
    let row_len = trail.places.len() * g.width * g.channels;
    for_each_part(out, row_len, |index, out| {
        let (frame, row) = g.source(x, index);
        trail_row(level, &g, trail, (frame, row), g.flow_row(motion, index), out);
    });
}

at_every_level! {
    /// A row of the output, of this frame and row.
    fn trail_row(
        g: &WarpGeometry,
        trail: &Trail<'_>,
        at: (&[f32], usize),
        motion: &[f32],
        out: &mut [f32],
    ) = trail_row_body;
}

#[inline(always)]
fn trail_row_body<const FUSED: bool>(
    g: &WarpGeometry,
    trail: &Trail<'_>,
    (frame, row): (&[f32], usize),
    motion: &[f32],
    out: &mut [f32],
) {
    let (motion, _) = motion.as_chunks::<2>();
    let pixels = frame[row * g.width * g.channels..].chunks_exact(g.channels);
    let outs = out.chunks_exact_mut(trail.places.len() * g.channels);
    for (column, ((motion, pixel), out)) in motion.iter().zip(pixels).zip(outs).enumerate() {
        for (place, out) in trail.places.iter().zip(out.chunks_exact_mut(g.channels)) {
            sample::<FUSED>(g, frame, way([column, row], *motion, *place), 0, out);
            for (out, value) in out.iter_mut().zip(pixel) {
                *out = (value - *out) * trail.gain;
            }
        }
    }
}

/// The place that lies so much of its way from a pixel.
#[inline(always)]
fn way([column, row]: [usize; 2], [x, y]: [f32; 2], share: f32) -> [f32; 2] {
    [column as f32 + x * share, row as f32 + y * share]
}

/// The values at a place, from a channel on.
#[inline(always)]
fn sample<const FUSED: bool>(
    g: &WarpGeometry,
    frame: &[f32],
    place: [f32; 2],
    channel: usize,
    out: &mut [f32],
) {
    let [x, y] = onto_map(g, place);
    let Some(corners) = Corners::around(x, y, [g.height, g.width]) else {
        // No place on the map is far outside.
        return out.fill(0.0);
    };
    let values = corners.values(frame, [g.width, g.channels], channel, out.len());
    blend::<FUSED>(out, values, corners.weights());
}

/// The gradients of [`trails`]' `x` and motion, where they are wanted, from that of its output.
///
/// # Panics
///
/// As [`trails`].
pub fn trails_backward(
    shape: [usize; 4],
    trail: &Trail<'_>,
    [x, motion]: [&[f32]; 2],
    grad: &[f32],
    wanted: [bool; 2],
) -> [Option<Vec<f32>>; 2] {
    let g = moving(shape);
    g.check(x.len(), motion.len(), x.len());
    assert_eq!(grad.len(), trail.places.len() * x.len(), "trails: {} places", trail.places.len());
    let stride = trail.places.len() * g.channels;
    let mut found = Gradients::new(x, motion, wanted);
    for (index, place) in trail.places.iter().enumerate() {
        // Of what is taken off.
        let mut grad_sample = zeros(x.len());
        pick(grad, [stride, index * g.channels, g.channels], -trail.gain, &mut grad_sample);
        let way = scaled(motion, *place);
        let [of_x, of_way] = found.sizes().map(|len| len.map(zeros));
        let [of_x, of_way] = warp_gradients(&g, [x, &way], &grad_sample, [of_x, of_way]);
        if let (Some(sum), Some(of_x)) = (&mut found.x, of_x) {
            add_scaled(sum, 1.0, &of_x);
            add_scaled(sum, -1.0, &grad_sample);
        }
        found.add_way(*place, of_way);
    }
    [found.x, found.motion]
}

/// Sums of the gradients of pictures and their motion.
struct Gradients {
    x: Option<Vec<f32>>,
    motion: Option<Vec<f32>>,
}

impl Gradients {
    fn new(x: &[f32], motion: &[f32], [of_x, of_motion]: [bool; 2]) -> Self {
        let sum = |wanted: bool, len: usize| wanted.then(|| zeros(len));
        Self { x: sum(of_x, x.len()), motion: sum(of_motion, motion.len()) }
    }

    /// Values of those that are wanted.
    fn sizes(&self) -> [Option<usize>; 2] {
        [&self.x, &self.motion].map(|sum| sum.as_ref().map(Vec::len))
    }

    /// Adds the gradient of a way that is so much of the motion.
    fn add_way(&mut self, share: f32, of_way: Option<Vec<f32>>) {
        if let (Some(sum), Some(of_way)) = (&mut self.motion, of_way) {
            add_scaled(sum, share, &of_way);
        }
    }
}

/// Those of a warp, in the room that there is for them.
fn warp_gradients(
    g: &WarpGeometry,
    [x, way]: [&[f32]; 2],
    grad: &[f32],
    [mut of_x, mut of_way]: [Option<Vec<f32>>; 2],
) -> [Option<Vec<f32>>; 2] {
    warp_backward(g, x, way, grad, of_x.as_deref_mut(), of_way.as_deref_mut());
    [of_x, of_way]
}

/// Writes `factor ·` the `count` channels from `first` on, of `stride` in a pixel, to `out`.
fn pick(values: &[f32], [stride, first, count]: [usize; 3], factor: f32, out: &mut [f32]) {
    const PIXELS: usize = 1 << 12;
    for_each_part(out, PIXELS * count, |task, out| {
        let values = values[task * PIXELS * stride..].chunks_exact(stride);
        for (out, values) in out.chunks_exact_mut(count).zip(values) {
            for (out, value) in out.iter_mut().zip(&values[first..]) {
                *out = factor * value;
            }
        }
    });
}
