//! The definition, value by value in `f64`: what the kernels are held to.

use super::{WarpGeometry, WarpMode};

/// The value of a pixel, zero outside the map.
fn pixel(g: &WarpGeometry, frame: &[f32], x: f64, y: f64, channel: usize) -> f64 {
    let inside = x >= 0.0 && x < g.width as f64 && y >= 0.0 && y < g.height as f64;
    if !inside {
        return 0.0;
    }
    f64::from(frame[(y as usize * g.width + x as usize) * g.channels + channel])
}

/// One channel of the map at `(x, y)`, bilinear, zero outside.
pub(super) fn bilinear(g: &WarpGeometry, frame: &[f32], x: f64, y: f64, channel: usize) -> f64 {
    let (left, top) = (x.floor(), y.floor());
    let (right, bottom) = (x - left, y - top);
    let at = |dx: f64, dy: f64| pixel(g, frame, left + dx, top + dy, channel);
    (1.0 - bottom) * ((1.0 - right) * at(0.0, 0.0) + right * at(1.0, 0.0))
        + bottom * ((1.0 - right) * at(0.0, 1.0) + right * at(1.0, 1.0))
}

/// One channel of the map as `mode` reads it at `(x, y)`.
pub(super) fn read(g: &WarpGeometry, frame: &[f32], x: f64, y: f64, out_channel: usize) -> f64 {
    let channel = out_channel % g.channels;
    match g.mode {
        WarpMode::BilinearZeros => bilinear(g, frame, x, y, channel),
        WarpMode::BilinearBorder => {
            let (x, y) = (x.clamp(0.0, g.width as f64 - 1.0), y.clamp(0.0, g.height as f64 - 1.0));
            bilinear(g, frame, x, y, channel)
        }
        WarpMode::Nearest4 => {
            let part = out_channel / g.channels;
            let x = if part < 2 { x.floor() } else { x.ceil() };
            let y = if part.is_multiple_of(2) { y.floor() } else { y.ceil() };
            pixel(g, frame, x, y, channel)
        }
    }
}

/// As [`warp`](super::warp).
pub(super) fn warp(g: &WarpGeometry, x: &[f32], flow: &[f32], out: &mut [f32]) {
    for (i, out) in out.iter_mut().enumerate() {
        let (at, channel) = (i / g.out_channels(), i % g.out_channels());
        let (column, row) = (at % g.width, at / g.width % g.height);
        let frame = &x[at / (g.width * g.height) * g.frame_len()..][..g.frame_len()];
        let place_x = f64::from(column as f32 + flow[at * 2]);
        let place_y = f64::from(row as f32 + flow[at * 2 + 1]);
        *out = read(g, frame, place_x, place_y, channel) as f32;
    }
}
