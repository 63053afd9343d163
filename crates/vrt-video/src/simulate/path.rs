//! A number that wanders smoothly in time.

use std::f64::consts::TAU;

use rand_chacha::ChaCha8Rng;

use super::chance::{between, by_order};

/// Waves that a path is the sum of.
const WAVES: usize = 4;

/// Cycles per frame of the slowest wave.
const SLOWEST: f64 = 1.0 / 60.0;

/// A sum of waves, whose speed is about 1 per frame.
#[derive(Clone, Debug)]
pub(super) struct Path([Wave; WAVES]);

#[derive(Clone, Copy, Debug)]
struct Wave {
    height: f64,
    /// Cycles per frame.
    pace: f64,
    phase: f64,
}

impl Path {
    /// A path whose waves have at most `fastest` cycles per frame.
    pub(super) fn draw(random: &mut ChaCha8Rng, fastest: f64) -> Self {
        let mut waves = [(); WAVES].map(|()| {
            let pace = by_order(random, [SLOWEST, fastest]);
            // Waves of one speed: the faster, the smaller, as the hand trembles.
            let height = between(random, [0.2, 1.0]) / (TAU * pace);
            Wave { height, pace, phase: between(random, [0.0, TAU]) }
        });
        let power: f64 = waves.iter().map(|wave| (TAU * wave.pace * wave.height).powi(2)).sum();
        let speed = (power / 2.0).sqrt();
        waves.iter_mut().for_each(|wave| wave.height /= speed);
        Self(waves)
    }

    /// Where it is at the time `time`, in frames.
    pub(super) fn at(&self, time: f64) -> f64 {
        self.0.iter().map(|wave| wave.height * (TAU * wave.pace * time + wave.phase).sin()).sum()
    }
}
