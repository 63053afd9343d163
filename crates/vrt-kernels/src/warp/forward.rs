//! One row of the output, pixel by pixel, all channels at once.

use super::{WarpGeometry, WarpMode};
use crate::bilinear::{Corners, blend};

/// The body of [`warp_row`](super::warp_row).
#[inline(always)]
pub(super) fn forward_row<const FUSED: bool>(
    geometry: &WarpGeometry,
    frame: &[f32],
    row: usize,
    flow: &[f32],
    out: &mut [f32],
) {
    let (flow, _) = flow.as_chunks::<2>();
    let pixels = out.chunks_exact_mut(geometry.out_channels().max(1));
    for (column, ([fx, fy], out)) in flow.iter().zip(pixels).enumerate() {
        let place = [column as f32 + fx, row as f32 + fy];
        match geometry.mode {
            WarpMode::BilinearZeros => bilinear::<FUSED>(geometry, frame, place, out),
            WarpMode::BilinearBorder => {
                bilinear::<FUSED>(geometry, frame, onto_map(geometry, place), out);
            }
            WarpMode::Nearest4 => nearest4(geometry, frame, place, out),
        }
    }
}

/// The nearest place on the map; a coordinate that is not a number becomes 0.
#[inline(always)]
pub(crate) fn onto_map(geometry: &WarpGeometry, [x, y]: [f32; 2]) -> [f32; 2] {
    let last = |size: usize| size as f32 - 1.0;
    [x.max(0.0).min(last(geometry.width)), y.max(0.0).min(last(geometry.height))]
}

#[inline(always)]
fn bilinear<const FUSED: bool>(
    geometry: &WarpGeometry,
    frame: &[f32],
    [x, y]: [f32; 2],
    out: &mut [f32],
) {
    let channels = geometry.channels;
    match Corners::around(x, y, [geometry.height, geometry.width]) {
        Some(corners) => {
            let values = corners.values(frame, [geometry.width, channels], 0, channels);
            blend::<FUSED>(out, values, corners.weights());
        }
        None => out.fill(0.0),
    }
}

#[inline(always)]
fn nearest4(geometry: &WarpGeometry, frame: &[f32], place: [f32; 2], out: &mut [f32]) {
    let channels = geometry.channels;
    let parts = out.chunks_exact_mut(channels);
    for (pixel, out) in nearest_pixels(geometry, place).into_iter().zip(parts) {
        match pixel {
            Some([row, column]) => {
                let at = (row * geometry.width + column) * channels;
                out.copy_from_slice(&frame[at..at + channels]);
            }
            None => out.fill(0.0),
        }
    }
}

/// Row and column of the four neighbours in the order of the output, `None` outside the map.
#[inline(always)]
pub(super) fn nearest_pixels(geometry: &WarpGeometry, [x, y]: [f32; 2]) -> [Option<[usize; 2]>; 4] {
    let inside =
        |place: f32, size: usize| (place >= 0.0 && place < size as f32).then_some(place as usize);
    let columns = [x.floor(), x.ceil()].map(|x| inside(x, geometry.width));
    let rows = [y.floor(), y.ceil()].map(|y| inside(y, geometry.height));
    let pixel = |column: Option<usize>, row: Option<usize>| Some([row?, column?]);
    [
        pixel(columns[0], rows[0]),
        pixel(columns[0], rows[1]),
        pixel(columns[1], rows[0]),
        pixel(columns[1], rows[1]),
    ]
}
