//! Gaussian noise as the denoising protocol adds it.

mod twister;

use twister::Twister;

use crate::Frame;

/// Normal numbers that one block is made of.
pub(crate) const BLOCK: usize = 16;

/// Adds noise to the frames of a clip: σ of 255, neither clipped nor rounded.
///
/// The numbers are those that the published scripts draw for a clip of shape `[frames, channels,
/// height, width]` after `torch.manual_seed(seed)`, on a CPU: a 32-bit Mersenne twister, its
/// uniform numbers paired by Box and Muller in blocks of 16. Logarithm and cosine are taken in `f64`
/// here, so a value may differ from torch's in its last bits; so it may, hardly ever, between two
/// platforms. (For clips of fewer than 16 samples torch has another method, which is not followed.)
/// Every clip begins with its own `ClipNoise`.
#[derive(Clone, Debug)]
pub struct ClipNoise {
    sigma: f32,
    normals: Normals,
}

impl ClipNoise {
    /// Noise of standard deviation `sigma`/255 for a clip of `samples` samples (frames · height ·
    /// width · channels) in all. The published protocol has seed 0.
    pub fn new(sigma: f32, seed: u32, samples: u64) -> Self {
        Self { sigma: sigma / 255.0, normals: Normals::new(seed, samples) }
    }

    /// Adds the noise of the next frame.
    ///
    /// # Panics
    ///
    /// Panics if the clip has fewer samples than were announced.
    pub fn add(&mut self, frame: &mut Frame) {
        let channels = frame.channels();
        let pixels = frame.width() * frame.height();
        let samples = frame.samples_mut();
        // Drawn plane by plane, the order in which the published scripts hold a clip.
        for channel in 0..channels {
            for pixel in 0..pixels {
                samples[pixel * channels + channel] += self.sigma * self.normals.next();
            }
        }
    }
}

/// Standard normal numbers, as many as were announced.
#[derive(Clone, Debug)]
struct Normals {
    twister: Twister,
    total: u64,
    given: u64,
    block: [f32; BLOCK],
}

impl Normals {
    fn new(seed: u32, total: u64) -> Self {
        Self { twister: Twister::new(seed), total, given: 0, block: [0.0; BLOCK] }
    }

    fn next(&mut self) -> f32 {
        assert!(self.given < self.total, "noise: the clip was to have {} samples", self.total);
        let rest = self.total % BLOCK as u64;
        let tail = self.total.saturating_sub(BLOCK as u64);
        let at = if rest != 0 && tail != 0 && self.given >= tail {
            if self.given == tail {
                self.begin_tail(rest);
            }
            self.given - tail
        } else {
            if self.given.is_multiple_of(BLOCK as u64) {
                self.block = block(&mut self.twister);
            }
            self.given % BLOCK as u64
        };
        self.given += 1;
        self.block[at as usize]
    }

    /// The last 16 numbers, where they are no whole block: they are drawn anew, after a number was
    /// drawn for every sample.
    fn begin_tail(&mut self, rest: u64) {
        // All whole blocks are drawn by now, the one that the tail cuts included.
        for _ in 0..rest {
            self.twister.next();
        }
        self.block = block(&mut self.twister);
    }
}

/// 16 normal numbers out of 16 uniform ones.
fn block(twister: &mut Twister) -> [f32; BLOCK] {
    normals(std::array::from_fn(|_| twister.next_uniform()))
}

/// Box and Muller's pairs: 16 normal numbers out of 16 uniform ones in 0…1 without 1.
pub(crate) fn normals(uniform: [f32; BLOCK]) -> [f32; BLOCK] {
    let mut normal = [0.0; BLOCK];
    for pair in 0..BLOCK / 2 {
        // From (0, 1], so that the logarithm is finite.
        let radius = (-2.0 * f64::from(1.0 - uniform[pair]).ln()).sqrt();
        let angle = std::f64::consts::TAU * f64::from(uniform[pair + BLOCK / 2]);
        normal[pair] = (radius * angle.cos()) as f32;
        normal[pair + BLOCK / 2] = (radius * angle.sin()) as f32;
    }
    normal
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drawn(seed: u32, total: u64) -> Vec<f32> {
        let mut numbers = Normals::new(seed, total);
        (0..total).map(|_| numbers.next()).collect()
    }

    fn assert_near(actual: &[f32], expected: &[f32]) {
        for (at, (actual, expected)) in actual.iter().zip(expected).enumerate() {
            assert!((actual - expected).abs() < 6e-5, "{at}: {actual} {expected}");
        }
    }

    /// As PyTorch prints `torch.manual_seed(0); torch.randn(n)` on a CPU: four decimals.
    #[test]
    fn the_numbers_are_those_of_torch() {
        let whole = drawn(0, 32);
        assert_near(
            &whole[..8],
            &[-1.1258, -1.1524, -0.2506, -0.4339, 0.8487, 0.6920, -0.3160, -2.1152],
        );
        assert_near(
            &whole[8..16],
            &[0.3223, -1.2633, 0.3500, 0.3081, 0.1198, 1.2377, 1.1168, -0.2473],
        );
        // 24 numbers are no two blocks: the last 16 are drawn anew.
        let cut = drawn(0, 24);
        assert_near(&cut[..8], &whole[..8]);
        assert_near(
            &cut[8..16],
            &[0.4681, -0.1577, 1.4437, 0.2660, 0.1665, 0.8744, -0.1435, -0.1116],
        );
        assert_near(
            &cut[16..],
            &[0.9318, 1.2590, 2.0050, 0.0537, 0.6181, -0.4128, -0.8411, -2.3160],
        );
    }

    /// Planes of a frame lie behind each other in the sequence, its samples side by side.
    #[test]
    fn noise_is_drawn_plane_by_plane_and_not_clipped() {
        let mut noise = ClipNoise::new(50.0, 0, 2 * 2 * 4 * 3);
        let drawn = drawn(0, 48);
        for start in [0, 24] {
            let mut frame = Frame::filled(4, 2, 3, 1.0);
            noise.add(&mut frame);
            for (at, sample) in frame.samples().iter().enumerate() {
                let (pixel, channel) = (at / 3, at % 3);
                let expected = 1.0 + 50.0 / 255.0 * drawn[start + channel * 8 + pixel];
                assert!((sample - expected).abs() < 1e-6, "{at}");
            }
        }
    }

    #[test]
    fn mean_and_deviation_are_as_asked() {
        let mut frame = Frame::filled(200, 100, 3, 0.5);
        ClipNoise::new(20.0, 7, 60_000).add(&mut frame);
        let errors: Vec<f64> =
            frame.samples().iter().map(|s| (f64::from(*s) - 0.5) * 255.0).collect();
        let mean = errors.iter().sum::<f64>() / 60_000.0;
        let variance = errors.iter().map(|e| e * e).sum::<f64>() / 60_000.0 - mean * mean;
        // Five standard errors of each.
        assert!(mean.abs() < 5.0 * 20.0 / 60_000f64.sqrt(), "{mean}");
        assert!((variance.sqrt() - 20.0).abs() < 5.0 * 20.0 / 120_000f64.sqrt(), "{variance}");
    }

    proptest! {
        #[test]
        fn a_clip_of_any_length_has_finite_noise_that_the_seed_settles(seed: u32, total in 1u64..80) {
            let numbers = drawn(seed, total);
            prop_assert!(numbers.iter().all(|number| number.is_finite()));
            prop_assert_eq!(&numbers, &drawn(seed, total));
            // Up to the tail, longer clips begin alike.
            let alike = (total as usize).saturating_sub(BLOCK);
            prop_assert_eq!(&numbers[..alike], &drawn(seed, 160)[..alike]);
        }
    }
}
