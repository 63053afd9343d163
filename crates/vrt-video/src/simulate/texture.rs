//! A picture that is looked up between its pixels.

use super::camera::Homography;
use crate::Frame;
use crate::degrade::taps;

/// A picture with coverage: red, green and blue as stored, and how much of what is behind is hidden.
#[derive(Clone, Debug)]
pub(super) struct Texture {
    width: usize,
    height: usize,
    pixels: Vec<[f32; 4]>,
}

impl Texture {
    /// `picture` (R, G, B) shrunk to `size`, all of it covered.
    pub(super) fn shrunk(picture: &Frame, size: (usize, usize)) -> Self {
        let small = shrink(picture, size);
        let pixels = small.samples().chunks_exact(3).map(|rgb| [rgb[0], rgb[1], rgb[2], 1.0]);
        Self { width: size.0, height: size.1, pixels: pixels.collect() }
    }

    /// Width and height.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    /// How much there is to see: the mean distance between neighbours, of samples as stored.
    pub(super) fn detail(&self) -> f32 {
        let apart =
            |a: &[f32; 4], b: &[f32; 4]| (0..3).map(|at| (a[at] - b[at]).abs()).sum::<f32>();
        let along = self.pixels.chunks_exact(self.width).flat_map(|row| row.windows(2));
        let along = along.map(|pair| f64::from(apart(&pair[0], &pair[1]))).sum::<f64>();
        let down = self.pixels.iter().zip(&self.pixels[self.width..]);
        let down = down.map(|(above, below)| f64::from(apart(above, below))).sum::<f64>();
        ((along + down) / self.pixels.len() as f64) as f32
    }

    /// Gives every pixel the coverage that `coverage` has for its column and row.
    pub(super) fn cover(&mut self, coverage: impl Fn([f64; 2]) -> f32) {
        for (at, pixel) in self.pixels.iter_mut().enumerate() {
            pixel[3] = coverage([(at % self.width) as f64, (at / self.width) as f64]);
        }
    }

    /// The row of a frame at `y` from its middle, beginning at `x`, that is seen through `view`:
    /// cubic convolution without any smoothing. Beyond an edge lies its last pixel.
    pub(super) fn look(&self, view: &Homography, [x, y]: [f64; 2], row: &mut [[f32; 4]]) {
        for (step, pixel) in row.iter_mut().enumerate() {
            let [u, v] = view.apply([x + step as f64, y]);
            *pixel = self.between([u, v]);
        }
    }

    /// The pixel at a place between the whole columns and rows.
    #[inline]
    fn between(&self, [x, y]: [f64; 2]) -> [f32; 4] {
        let (column, row) = (x.floor(), y.floor());
        let (across, down) = (weights((x - column) as f32), weights((y - row) as f32));
        let (column, row) = (column as isize - 1, row as isize - 1);
        let inside = column >= 0
            && row >= 0
            && column as usize + 4 <= self.width
            && row as usize + 4 <= self.height;
        let mut sum = [0.0f32; 4];
        for (tap, weight) in down.iter().enumerate() {
            let four: [[f32; 4]; 4] = if inside {
                let start = (row as usize + tap) * self.width + column as usize;
                std::array::from_fn(|tap| self.pixels[start + tap])
            } else {
                let y = clamp(row + tap as isize, self.height);
                std::array::from_fn(|tap| {
                    self.pixels[y * self.width + clamp(column + tap as isize, self.width)]
                })
            };
            for channel in 0..4 {
                let line: f32 = (0..4).map(|tap| across[tap] * four[tap][channel]).sum();
                sum[channel] += weight * line;
            }
        }
        sum
    }
}

/// `picture` (R, G, B) shrunk to `size` by cubic convolution whose kernel is as wide as the shrinking
/// asks. One thread does it: clips are made side by side.
pub(super) fn shrink(picture: &Frame, size: (usize, usize)) -> Frame {
    let taps = |from: usize, to: usize| taps(from, to, to as f64 / from as f64);
    let (columns, rows) = (taps(picture.width(), size.0), taps(picture.height(), size.1));
    let stride = picture.width() * 3;
    let (mut line, mut samples) = (vec![0.0f32; stride], Vec::with_capacity(size.0 * size.1 * 3));
    for row in &rows {
        line.fill(0.0);
        for &(at, weight) in row {
            let source = &picture.samples()[at * stride..][..stride];
            for (sum, sample) in line.iter_mut().zip(source) {
                *sum += weight as f32 * sample;
            }
        }
        for taps in &columns {
            let mut pixel = [0.0f32; 3];
            for &(at, weight) in taps {
                for channel in 0..3 {
                    pixel[channel] += weight as f32 * line[3 * at + channel];
                }
            }
            samples.extend(pixel);
        }
    }
    Frame::new(size.0, size.1, 3, samples)
}

fn clamp(place: isize, side: usize) -> usize {
    place.clamp(0, side as isize - 1) as usize
}

/// Weights of the pixels at −1, 0, 1 and 2 for a place `at` behind 0, in 0…1.
#[inline]
fn weights(at: f32) -> [f32; 4] {
    let (square, cube) = (at * at, at * at * at);
    [
        -0.5 * cube + square - 0.5 * at,
        1.5 * cube - 2.5 * square + 1.0,
        -1.5 * cube + 2.0 * square + 0.5 * at,
        0.5 * cube - 0.5 * square,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::degrade::cubic;

    #[test]
    fn weights_are_those_of_the_kernel() {
        for at in 0..=64 {
            let at = f64::from(at) / 64.0;
            let expected = [1.0 + at, at, 1.0 - at, 2.0 - at].map(|x| cubic(x) as f32);
            for (found, expected) in weights(at as f32).iter().zip(expected) {
                assert!((found - expected).abs() < 1e-6, "{at}");
            }
        }
    }

    #[test]
    fn whole_places_are_pixels_and_edges_go_on() {
        let samples = (0..8 * 6 * 3).map(|at| at as f32 / 144.0).collect();
        let picture = Frame::new(8, 6, 3, samples);
        let texture = Texture::shrunk(&picture, (8, 6));
        for (x, y) in [(0, 0), (7, 5), (3, 2)] {
            let pixel = texture.between([x as f64, y as f64]);
            let expected = &picture.samples()[3 * (8 * y + x)..][..3];
            assert!(pixel.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6));
            assert!((pixel[3] - 1.0).abs() < 1e-6);
        }
        let (corner, beyond) = (texture.between([7.0, 5.0]), texture.between([90.5, 31.25]));
        assert!(corner.iter().zip(beyond).all(|(a, b)| (a - b).abs() < 1e-6));
    }
}
