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
const SLOPE: f64 = 1.080_2;

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
