//! Noise of a sensor: of the light itself, and of reading it out.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::chance::between;
use crate::Frame;
use crate::noise::{BLOCK, normals};

/// Light of middle grey, which is stored as ½.
const GREY: f64 = 0.214_041;

/// Slope of the curve of sRGB there: stored samples by light.
const SLOPE: f64 = 1.080_4;

/// Share of clips without noise.
const CLEAN: f64 = 0.3;

/// Share of the noise of middle grey that the light brings itself.
const SHOT: [f64; 2] = [0.95, 0.999];

/// Noise whose variance grows with the light.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SensorNoise {
    /// Its standard deviation in middle grey as stored, of 255.
    pub deviation: f64,
    /// Share of its variance there that is proportional to light; the rest is everywhere alike.
    pub shot: f64,
}

impl SensorNoise {
    /// Noise of at most the deviation `most`, mild more often than strong, or none.
    pub(super) fn draw(random: &mut ChaCha8Rng, most: f64) -> Option<Self> {
        let (clean, strength) = (random.random::<f64>() < CLEAN, random.random::<f64>());
        let noise = Self { deviation: most * strength * strength, shot: between(random, SHOT) };
        (!clean && noise.deviation > 0.0).then_some(noise)
    }

    /// Adds it to amounts of light.
    pub(super) fn add(self, light: &mut Frame, random: &mut ChaCha8Rng) {
        let grey = (self.deviation / 255.0 / SLOPE).powi(2);
        let (slope, floor) = ((grey * self.shot / GREY) as f32, (grey * (1.0 - self.shot)) as f32);
        for samples in light.samples_mut().chunks_mut(BLOCK) {
            let noise = normals(std::array::from_fn(|_| random.random()));
            for (sample, noise) in samples.iter_mut().zip(noise) {
                *sample += (slope * sample.max(0.0) + floor).sqrt() * noise;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::degrade::from_light;

    const SIDE: usize = 256;

    /// Mean and variance of what is left of flat light.
    fn spread(noise: SensorNoise, light: f32, of: impl Fn(f32) -> f64) -> [f64; 2] {
        let mut frame = Frame::filled(SIDE, SIDE, 3, light);
        noise.add(&mut frame, &mut ChaCha8Rng::seed_from_u64(7));
        let values: Vec<f64> = frame.samples().iter().map(|sample| of(*sample)).collect();
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        [mean, values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count]
    }

    #[test]
    fn middle_grey_as_stored_has_the_deviation_that_is_stated() {
        for shot in SHOT {
            let noise = SensorNoise { deviation: 3.0, shot };
            let stored = |light: f32| 255.0 * from_light(f64::from(light.max(0.0)));
            let [mean, variance] = spread(noise, GREY as f32, stored);
            assert!((mean - 127.5).abs() < 0.1, "{mean}");
            assert!((variance.sqrt() / 3.0 - 1.0).abs() < 0.02, "{}", variance.sqrt());
        }
    }

    #[test]
    fn variance_grows_with_light_from_that_of_reading_out() {
        let noise = SensorNoise { deviation: 4.0, shot: 0.95 };
        let light = |light: f32| f64::from(light);
        let [dark, grey, bright] =
            [0.0, GREY as f32, 0.8].map(|level| spread(noise, level, light)[1]);
        assert!((dark / grey / 0.05 - 1.0).abs() < 0.05, "{dark} of {grey}");
        let expected = 0.05 + 0.95 * 0.8 / GREY;
        assert!((bright / grey / expected - 1.0).abs() < 0.05, "{bright} of {grey}");
    }
}
