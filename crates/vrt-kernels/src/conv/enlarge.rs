//! The pixel shuffle behind a convolution: between places, as it makes them, and pixels.

use super::ConvGeometry;
use crate::parallel::{SharedOutput, for_each_part, zeros};

/// Whole rows of places, each `factor²` pixels of some channels, channel by channel; as rows of pixels.
pub(super) fn shuffle(g: &ConvGeometry, factor: usize, places: &[f32], pixels: &mut [f32]) {
    let (parts, width, of_place) = (factor * factor, g.out_width(), g.out_channels);
    let channels = of_place / parts;
    let rows = pixels.chunks_exact_mut(width * factor * channels);
    for (row, pixels) in rows.enumerate() {
        let line = &places[row / factor * width * of_place..][..width * of_place];
        for (x, pixel) in pixels.chunks_exact_mut(channels).enumerate() {
            let part = row % factor * factor + x % factor;
            let place = &line[x / factor * of_place..][..of_place];
            for (value, from) in pixel.iter_mut().zip(place[part..].iter().step_by(parts)) {
                *value = *from;
            }
        }
    }
}

/// The inverse of [`shuffle`] for a whole map: pixels as the convolution made their places.
pub(super) fn places(g: &ConvGeometry, factor: usize, pixels: &[f32]) -> Vec<f32> {
    let (parts, width) = (factor * factor, g.out_width());
    let channels = g.out_channels / parts;
    let of_row = width * factor * channels;
    let mut places = zeros(pixels.len());
    for_each_part(&mut places, g.out_row_len(), |row, line| {
        let rows = &pixels[row * factor * of_row..][..factor * of_row];
        for (x, place) in line.chunks_exact_mut(g.out_channels).enumerate() {
            for (at, value) in place.iter_mut().enumerate() {
                let (channel, part) = (at / parts, at % parts);
                let pixel = part / factor * of_row + (x * factor + part % factor) * channels;
                *value = rows[pixel + channel];
            }
        }
    });
    places
}

/// Writes some channels of one place, `row` counted over all frames: as they are, or as channels of the
/// pixels that it becomes.
///
/// # Safety
///
/// No other thread writes these channels of this place during the call.
pub(super) unsafe fn put(
    g: &ConvGeometry,
    factor: usize,
    (row, column, values): (usize, usize, &[f32]),
    channel: usize,
    out: &SharedOutput<'_>,
) {
    let width = g.out_width();
    if factor == 1 {
        let at = (row * width + column) * g.out_channels + channel;
        // SAFETY: the caller keeps other threads away.
        unsafe { out.write(at, values) };
        return;
    }
    let parts = factor * factor;
    let of_pixel = g.out_channels / parts;
    for part in 0..parts {
        // The first value that goes to this pixel; every `parts`-th one follows.
        let first = (part + parts - channel % parts) % parts;
        let Some(values) = values.get(first..).filter(|values| !values.is_empty()) else {
            continue;
        };
        let (y, x) = (row * factor + part / factor, column * factor + part % factor);
        let at = (y * width * factor + x) * of_pixel + (channel + first) / parts;
        // SAFETY: the caller keeps other threads away; other places become other pixels.
        unsafe { out.write_every(at, values, parts) };
    }
}
