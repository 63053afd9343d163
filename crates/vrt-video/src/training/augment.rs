//! Cutting and turning pairs of clips.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::Frame;
use crate::picture::Region;

/// Draws the part of a degraded frame of size `degraded` (width, height) that is `side` rows and
/// columns large.
pub(super) fn draw_region(
    degraded: (usize, usize),
    side: usize,
    random: &mut ChaCha8Rng,
) -> Region {
    let top = random.random_range(0..=degraded.1 - side);
    let left = random.random_range(0..=degraded.0 - side);
    Region { left, top, width: side, height: side }
}

/// The same part of frames that are `scale` times as large.
pub(super) fn scaled(region: Region, scale: usize) -> Region {
    Region {
        left: region.left * scale,
        top: region.top * scale,
        width: region.width * scale,
        height: region.height * scale,
    }
}

/// How a sample is turned: one of the eight symmetries of a square.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    /// Left and right change places.
    pub(super) mirror: bool,
    /// Top and bottom change places.
    pub(super) upside_down: bool,
    /// Rows and columns change places, after the others.
    pub(super) transpose: bool,
}

impl Turn {
    /// Coins for what is asked for.
    pub(super) fn draw(flip: bool, rotate: bool, random: &mut ChaCha8Rng) -> Self {
        Self {
            mirror: flip && random.random_bool(0.5),
            upside_down: rotate && random.random_bool(0.5),
            transpose: rotate && random.random_bool(0.5),
        }
    }

    /// `frame`, turned.
    pub(super) fn apply(self, frame: Frame) -> Frame {
        if self == (Self { mirror: false, upside_down: false, transpose: false }) {
            return frame;
        }
        let (from_width, from_height) = (frame.width(), frame.height());
        let (width, height) =
            if self.transpose { (from_height, from_width) } else { (from_width, from_height) };
        let channels = frame.channels();
        let mut samples = Vec::with_capacity(frame.samples().len());
        for y in 0..height {
            for x in 0..width {
                let (x, y) = if self.transpose { (y, x) } else { (x, y) };
                let x = if self.mirror { from_width - 1 - x } else { x };
                let y = if self.upside_down { from_height - 1 - y } else { y };
                let at = (y * from_width + x) * channels;
                samples.extend_from_slice(&frame.samples()[at..at + channels]);
            }
        }
        Frame::new(width, height, channels, samples)
    }
}
