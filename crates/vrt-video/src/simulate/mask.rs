//! Shapes of what stands before a picture.

use std::f64::consts::TAU;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::chance::{between, by_order};

/// Waves of an outline: of 2, 3, … cycles.
const WAVES: usize = 5;

/// Some shapes with soft edges, which hide what is behind them.
#[derive(Clone, Debug)]
pub(super) struct Mask(Vec<Shape>);

/// A round outline with waves in it.
#[derive(Clone, Copy, Debug)]
struct Shape {
    middle: [f64; 2],
    radius: f64,
    /// Height by radius, and phase.
    waves: [(f64, f64); WAVES],
    /// Half the width of the soft edge, in pixels.
    feather: f64,
}

impl Mask {
    /// One to three shapes whose middles `place` makes of places in a frame of `size`, seen from its
    /// middle.
    pub(super) fn draw(
        random: &mut ChaCha8Rng,
        size: (usize, usize),
        place: impl Fn([f64; 2]) -> [f64; 2],
    ) -> Self {
        let (width, height) = (size.0 as f64, size.1 as f64);
        let count = random.random_range(1..=3);
        let shapes = (0..count).map(|_| {
            let [x, y] = [width, height].map(|side| between(random, [-0.45, 0.45]) * side);
            Shape {
                middle: place([x, y]),
                radius: by_order(random, [0.1, 0.45]) * width.min(height),
                waves: std::array::from_fn(|wave| {
                    let most = 0.6 / (wave + 2) as f64;
                    (between(random, [0.0, most]), between(random, [0.0, TAU]))
                }),
                feather: by_order(random, [0.75, 2.5]),
            }
        });
        Self(shapes.collect())
    }

    /// How much is hidden at a place, 0…1.
    pub(super) fn coverage(&self, place: [f64; 2]) -> f32 {
        self.0.iter().map(|shape| shape.coverage(place)).fold(0.0, f32::max)
    }
}

impl Shape {
    fn coverage(&self, [x, y]: [f64; 2]) -> f32 {
        let [x, y] = [x - self.middle[0], y - self.middle[1]];
        let distance = x.hypot(y);
        let longest: f64 = 1.0 + self.waves.iter().map(|(height, _)| height).sum::<f64>();
        if distance > self.radius * longest + self.feather {
            return 0.0;
        }
        let angle = y.atan2(x);
        let waves = self
            .waves
            .iter()
            .enumerate()
            .map(|(wave, (height, phase))| height * ((wave + 2) as f64 * angle + phase).cos());
        // An outline never runs through its own middle.
        let outline = self.radius * (1.0 + waves.sum::<f64>()).max(0.15);
        let depth = ((outline - distance) / self.feather).clamp(-1.0, 1.0) / 2.0 + 0.5;
        (depth * depth * (3.0 - 2.0 * depth)) as f32
    }
}
