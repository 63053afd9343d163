//! The sine code that mutual attention adds to the tokens of a window.

use std::f64::consts::TAU;

/// The code of the places of one frame of a window, `[height, width, channels]`: half the
/// channels speak of the row, half of the column (as in arXiv:2005.12872, normalised).
pub(crate) fn sine_code(height: usize, width: usize, channels: usize) -> Vec<f32> {
    let half = channels / 2;
    let mut code = Vec::with_capacity(height * width * channels);
    for row in 0..height {
        for column in 0..width {
            code.extend((0..half).map(|i| wave(row, height, i, half)));
            code.extend((0..channels - half).map(|i| wave(column, width, i, half)));
        }
    }
    code
}

/// Channel `i` of `half` for place `index` of `len`: places count from 1 to a full turn.
fn wave(index: usize, len: usize, i: usize, half: usize) -> f32 {
    let turn = (index + 1) as f64 / (len as f64 + 1e-6) * TAU;
    let angle = turn / 10_000_f64.powf((2 * (i / 2)) as f64 / half as f64);
    let value = if i.is_multiple_of(2) { angle.sin() } else { angle.cos() };
    value as f32
}
