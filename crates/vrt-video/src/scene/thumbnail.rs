//! Small pictures that cuts are looked for in.

use rayon::prelude::*;

use crate::Frame;

/// Pixels of the longer side, at most.
const LONGEST: usize = 64;

/// Rows and columns of a block.
pub(super) const BLOCK: usize = 8;

/// A small picture: averages of square areas.
#[derive(Clone, Debug)]
pub(super) struct Thumbnail {
    pub(super) width: usize,
    pub(super) height: usize,
    /// BT.601 luma in 0…1.
    pub(super) luma: Vec<f32>,
    colour: Vec<[f32; 3]>,
    /// Of the frame.
    size: (usize, usize),
    structure: f64,
}

impl Thumbnail {
    pub(super) fn new(frame: &Frame) -> Self {
        let side = frame.width().max(frame.height()).div_ceil(LONGEST);
        let small = |pixels: usize| (pixels / side).max(1);
        let (width, height) = (small(frame.width()), small(frame.height()));
        let mut colour = vec![[0.0; 3]; width * height];
        colour.par_iter_mut().enumerate().for_each(|(at, pixel)| {
            *pixel = average(frame, (at % width) * side, (at / width) * side, side);
        });
        let luma =
            colour.iter().map(|[red, green, blue]| 0.299 * red + 0.587 * green + 0.114 * blue);
        let luma: Vec<f32> = luma.collect();
        let size = (frame.width(), frame.height());
        let mut thumbnail = Self { width, height, luma, colour, size, structure: 0.0 };
        let deviations: Vec<f64> = thumbnail.places().map(|at| thumbnail.deviation(at)).collect();
        thumbnail.structure = deviations.iter().sum::<f64>() / deviations.len().max(1) as f64;
        thumbnail
    }

    /// Whether `other` comes from a frame of the same size.
    pub(super) fn is_alike(&self, other: &Self) -> bool {
        self.size == other.size
    }

    /// Mean distance of luma from its block's mean, over all blocks.
    pub(super) fn structure(&self) -> f64 {
        self.structure
    }

    /// Mean luma.
    pub(super) fn mean(&self) -> f32 {
        self.luma.iter().sum::<f32>() / self.luma.len() as f32
    }

    /// Mean absolute difference of red, green and blue, place by place.
    pub(super) fn colour_change(&self, other: &Self) -> f32 {
        let pairs = self.colour.iter().flatten().zip(other.colour.iter().flatten());
        pairs.map(|(a, b)| (a - b).abs()).sum::<f32>() / (3 * self.colour.len()) as f32
    }

    /// Column and row at which each whole block begins.
    pub(super) fn places(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let columns = self.width / BLOCK;
        let blocks = columns * (self.height / BLOCK);
        (0..blocks).map(move |at| (at % columns * BLOCK, at / columns * BLOCK))
    }

    /// A block with its mean taken out.
    pub(super) fn block(&self, (column, row): (usize, usize)) -> [[f32; BLOCK]; BLOCK] {
        let sample = |y: usize, x: usize| self.luma[(row + y) * self.width + column + x];
        let mut block: [[f32; BLOCK]; BLOCK] =
            std::array::from_fn(|y| std::array::from_fn(|x| sample(y, x)));
        let mean = block.iter().flatten().sum::<f32>() / (BLOCK * BLOCK) as f32;
        block.iter_mut().flatten().for_each(|sample| *sample -= mean);
        block
    }

    fn deviation(&self, place: (usize, usize)) -> f64 {
        let sum: f32 = self.block(place).iter().flatten().map(|sample| sample.abs()).sum();
        f64::from(sum) / (BLOCK * BLOCK) as f64
    }
}

/// The mean colour of the `side`×`side` pixels from (`left`, `top`), as far as the frame goes.
fn average(frame: &Frame, left: usize, top: usize, side: usize) -> [f32; 3] {
    let (width, channels) = (frame.width(), frame.channels());
    let columns = side.min(width - left);
    let rows = side.min(frame.height() - top);
    let mut sum = [0.0f32; 3];
    for row in top..top + rows {
        let start = (row * width + left) * channels;
        for pixel in frame.samples()[start..][..columns * channels].chunks_exact(channels) {
            for (channel, sum) in sum.iter_mut().enumerate() {
                *sum += pixel[channel.min(channels - 1)];
            }
        }
    }
    sum.map(|sum| sum / (columns * rows) as f32)
}
