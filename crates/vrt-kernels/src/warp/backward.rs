//! Gradients of the flow (each pixel on its own) and of the map (gathered by bands of its rows,
//! so that each value has one writer and one order of summation).

use std::ops::Range;

use rayon::prelude::*;

use super::forward::{nearest_pixels, onto_map};
use super::{WarpGeometry, WarpMode};
use crate::bilinear::{Corners, add_scaled, dot_blend};

/// A row of the flow field and of the output's gradient.
#[derive(Clone, Copy, Debug)]
pub(super) struct SourceRow<'a> {
    /// Row in its frame.
    row: usize,
    flow: &'a [f32],
    grad: &'a [f32],
}

impl<'a> SourceRow<'a> {
    /// Row `index`, counted over all frames.
    pub(super) fn of(
        geometry: &WarpGeometry,
        flow: &'a [f32],
        grad_out: &'a [f32],
        index: usize,
    ) -> Self {
        Self {
            row: index % geometry.height,
            flow: geometry.flow_row(flow, index),
            grad: &grad_out[index * geometry.out_row_len()..][..geometry.out_row_len()],
        }
    }

    /// The place that each pixel reads, and the gradient of what it read.
    #[inline(always)]
    fn pixels(self, geometry: &WarpGeometry) -> impl Iterator<Item = ([f32; 2], &'a [f32])> {
        let (flow, _) = self.flow.as_chunks::<2>();
        let grads = self.grad.chunks_exact(geometry.out_channels().max(1));
        flow.iter().zip(grads).enumerate().map(move |(column, ([fx, fy], grad))| {
            ([column as f32 + fx, self.row as f32 + fy], grad)
        })
    }
}

/// The body of [`grad_flow_row`](super::grad_flow_row).
#[inline(always)]
pub(super) fn flow_row<const FUSED: bool>(
    geometry: &WarpGeometry,
    frame: &[f32],
    source: SourceRow<'_>,
    grad_flow: &mut [f32],
) {
    grad_flow.fill(0.0);
    if geometry.mode == WarpMode::Nearest4 {
        return;
    }
    let sizes = [geometry.height, geometry.width];
    let (grad_flow, _) = grad_flow.as_chunks_mut::<2>();
    for ((place, grad), grad_flow) in source.pixels(geometry).zip(grad_flow) {
        let (on_map, moves) = match geometry.mode {
            WarpMode::BilinearBorder => (onto_map(geometry, place), free(geometry, place)),
            _ => (place, [1.0, 1.0]),
        };
        let Some(corners) = Corners::around(on_map[0], on_map[1], sizes) else {
            continue;
        };
        let layout = [geometry.width, geometry.channels];
        let values = corners.values(frame, layout, 0, geometry.channels);
        let slopes = [corners.slopes_x(), corners.slopes_y()];
        let [along_x, along_y] = dot_blend::<FUSED, 2>(grad, values, slopes);
        *grad_flow = [along_x * moves[0], along_y * moves[1]];
    }
}

/// 1 per axis where the place is strictly inside the map, so that moving it changes the value.
#[inline(always)]
fn free(geometry: &WarpGeometry, [x, y]: [f32; 2]) -> [f32; 2] {
    let strictly = |place: f32, size: usize| place > 0.0 && place < size as f32 - 1.0;
    [strictly(x, geometry.width), strictly(y, geometry.height)]
        .map(|free| f32::from(u8::from(free)))
}

/// For each row of all frames, the rows of the map that its pixels may read.
pub(super) fn reached_rows(geometry: &WarpGeometry, flow: &[f32]) -> Vec<Range<usize>> {
    let rows = flow.par_chunks(geometry.flow_row_len().max(1)).enumerate();
    rows.map(|(index, flow)| {
        let row = (index % geometry.height) as f32;
        let (flow, _) = flow.as_chunks::<2>();
        let places = flow.iter().map(|[_, fy]| row + fy);
        let (low, high) = places
            .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), y| (low.min(y), high.max(y)));
        // The border mode moves far places onto the first and the last row. The casts saturate.
        let last = geometry.height - 1;
        let any_nan = flow.iter().any(|[_, fy]| fy.is_nan());
        let first = if any_nan { 0 } else { (low.floor() as usize).min(last) };
        first..(high.ceil() as usize).min(last) + 1
    })
    .collect()
}

/// The body of [`scatter_row`](super::scatter_row).
#[inline(always)]
pub(super) fn scatter<const FUSED: bool>(
    geometry: &WarpGeometry,
    source: SourceRow<'_>,
    rows: Range<usize>,
    grad_x: &mut [f32],
) {
    let sizes = [geometry.height, geometry.width];
    for (place, grad) in source.pixels(geometry) {
        let place = match geometry.mode {
            WarpMode::Nearest4 => {
                let parts = grad.chunks_exact(geometry.channels);
                for (pixel, grad) in nearest_pixels(geometry, place).into_iter().zip(parts) {
                    if let Some(pixel) = pixel {
                        add_pixel::<FUSED>(geometry, (&rows, grad_x), pixel, 1.0, grad);
                    }
                }
                continue;
            }
            WarpMode::BilinearBorder => onto_map(geometry, place),
            WarpMode::BilinearZeros => place,
        };
        if let Some(corners) = Corners::around(place[0], place[1], sizes) {
            let pixels = corners.rows.into_iter().zip(corners.columns);
            for ((row, column), weight) in pixels.zip(corners.weights()) {
                add_pixel::<FUSED>(geometry, (&rows, grad_x), [row, column], weight, grad);
            }
        }
    }
}

/// Adds `weight · grad` to a pixel of the map, if it is in the rows that are summed.
#[inline(always)]
fn add_pixel<const FUSED: bool>(
    geometry: &WarpGeometry,
    (rows, grad_x): (&Range<usize>, &mut [f32]),
    [row, column]: [usize; 2],
    weight: f32,
    grad: &[f32],
) {
    if weight != 0.0 && rows.contains(&row) {
        let at = ((row - rows.start) * geometry.width + column) * geometry.channels;
        add_scaled::<FUSED>(&mut grad_x[at..at + geometry.channels], weight, grad);
    }
}
