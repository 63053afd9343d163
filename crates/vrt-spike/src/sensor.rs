//! A spike camera that is made of arithmetic: pixels gather light and fire.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::geometry::Geometry;
use crate::packed::Packed;

/// What is left in a pixel that has fired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reset {
    /// What it had above the threshold.
    #[default]
    Subtract,
    /// Nothing.
    Zero,
}

/// What a camera is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SensorOptions {
    /// Light that makes a pixel fire; white adds 1 in a frame.
    pub threshold: f32,
    /// What is left behind.
    pub reset: Reset,
    /// What darkness adds in a frame: on average this, evenly from 0 to twice of it.
    pub dark: f32,
    /// What settles all that is drawn.
    pub seed: u64,
}

impl Default for SensorOptions {
    /// As published: a threshold of 2, and a pixel keeps what it had above it.
    fn default() -> Self {
        Self { threshold: 2.0, reset: Reset::Subtract, dark: 0.0, seed: 0 }
    }
}

/// A camera; its pixels begin with a charge of any size below the threshold.
#[derive(Clone, Debug)]
pub struct SpikeSensor {
    geometry: Geometry,
    options: SensorOptions,
    charges: Vec<f32>,
    frames: u64,
}

impl SpikeSensor {
    /// A camera whose frames lie as `geometry` says.
    ///
    /// # Panics
    ///
    /// Panics if the threshold is not above 0, or `dark` below 0.
    pub fn new(geometry: Geometry, options: SensorOptions) -> Self {
        let SensorOptions { threshold, dark, seed, .. } = options;
        assert!(threshold > 0.0 && threshold.is_finite(), "a threshold of {threshold}");
        assert!(dark >= 0.0 && dark.is_finite(), "darkness adds {dark}");
        let mut random = generator(seed, 0);
        let charges = (0..geometry.pixels()).map(|_| threshold * random.random::<f32>()).collect();
        Self { geometry, options, charges, frames: 0 }
    }

    /// Frames so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Looks at light for one frame: a value a pixel, row by row from the top, 0 black … 1 white.
    ///
    /// # Panics
    ///
    /// Panics if there are more or fewer values than pixels.
    pub fn look(&mut self, light: &[f32]) -> Packed {
        assert_eq!(light.len(), self.charges.len(), "light for {}", self.geometry);
        self.frames += 1;
        let SensorOptions { threshold, reset, dark, seed } = self.options;
        let mut random = (dark > 0.0).then(|| generator(seed, self.frames));
        let fired = self.charges.iter_mut().zip(light).map(|(charge, light)| {
            *charge += light.max(0.0);
            if let Some(random) = &mut random {
                *charge += 2.0 * dark * random.random::<f32>();
            }
            let fires = *charge >= threshold;
            match reset {
                _ if !fires => {}
                Reset::Subtract => *charge -= threshold,
                Reset::Zero => *charge = 0.0,
            }
            u8::from(fires)
        });
        let fired: Vec<u8> = fired.collect();
        Packed::of_values(self.geometry, &fired)
    }
}

/// What is drawn in a frame does not depend on how often others were asked for.
fn generator(seed: u64, frame: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&frame.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}
