//! When a pixel fires, as a picture.

use vrt_video::Frame;

/// Frames of a line of the plot.
const LINE: usize = 512;

/// Columns of a frame, and rows of a spike.
const WIDTH: usize = 2;
const HEIGHT: usize = 12;

/// Rows between lines.
const GAP: usize = 6;

const PAPER: f32 = 1.0;
const AXIS: f32 = 0.75;
const SPIKE: f32 = 0.0;

/// A raster plot: a bar for every frame in which a pixel fires, 512 frames a line, from left to right
/// and line by line.
///
/// # Panics
///
/// Panics if there is no frame.
pub fn raster(fires: &[bool]) -> Frame {
    assert!(!fires.is_empty(), "no frames make no plot");
    let lines = fires.len().div_ceil(LINE);
    let (width, height) = (LINE.min(fires.len()) * WIDTH, lines * (HEIGHT + GAP) + GAP);
    let mut plot = Frame::filled(width, height, 3, PAPER);
    let mut fill = |rows: std::ops::Range<usize>, columns: std::ops::Range<usize>, value: f32| {
        for row in rows {
            plot.samples_mut()[3 * (row * width + columns.start)..3 * (row * width + columns.end)]
                .fill(value);
        }
    };
    for (line, fires) in fires.chunks(LINE).enumerate() {
        let top = GAP + line * (HEIGHT + GAP);
        fill(top + HEIGHT..top + HEIGHT + 1, 0..fires.len() * WIDTH, AXIS);
        for (frame, _) in fires.iter().enumerate().filter(|(_, fires)| **fires) {
            // One column is left free, so that spikes side by side are told apart.
            fill(top..top + HEIGHT, frame * WIDTH..frame * WIDTH + 1, SPIKE);
        }
    }
    plot
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spike_is_a_bar_in_its_place() {
        let mut fires = vec![false; 600];
        for frame in [0, 5, 511, 512, 599] {
            fires[frame] = true;
        }
        let plot = raster(&fires);
        assert_eq!((plot.width(), plot.height()), (1024, 2 * (HEIGHT + GAP) + GAP));
        let dark = plot.samples().iter().filter(|value| **value == SPIKE).count();
        assert_eq!(dark, 5 * HEIGHT * 3);
        let at = |x: usize, y: usize| plot.samples()[3 * (y * plot.width() + x)];
        assert_eq!([at(10, GAP), at(11, GAP), at(1022, GAP)], [SPIKE, PAPER, SPIKE]);
        let second = GAP + HEIGHT + GAP;
        assert_eq!([at(0, second), at(2 * 87, second)], [SPIKE, SPIKE]);
    }
}
