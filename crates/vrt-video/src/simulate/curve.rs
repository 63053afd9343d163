//! The curve of sRGB for many samples: light from stored samples by table.

use std::sync::LazyLock;

use crate::degrade::{from_light, to_light};

/// Steps of the table; between them the curve is taken as straight, which is wrong by less than 10⁻⁷.
const STEPS: usize = 4096;

static TABLE: LazyLock<Vec<f32>> = LazyLock::new(|| {
    let last = to_light(1.0) as f32;
    let inner = (0..=STEPS).map(|at| to_light(at as f64 / STEPS as f64) as f32);
    inner.chain([last]).collect()
});

/// Steps of the table of the other way, whose curve bends more.
const BACK_STEPS: usize = 1 << 16;

static BACK: LazyLock<Vec<f32>> = LazyLock::new(|| {
    let stored = |at: usize| from_light(at as f64 / BACK_STEPS as f64) as f32;
    (0..=BACK_STEPS).chain([BACK_STEPS]).map(stored).collect()
});

/// The stored sample of an amount of light, which is kept in 0…1.
pub(super) fn stored(light: f32) -> f32 {
    let place = light.clamp(0.0, 1.0) * BACK_STEPS as f32;
    let at = place as usize;
    let (low, high) = (BACK[at], BACK[at + 1]);
    low + (high - low) * (place - at as f32)
}

/// The curve to light.
#[derive(Clone, Copy, Debug)]
pub(super) struct Curve(&'static [f32]);

impl Curve {
    pub(super) fn new() -> Self {
        Self(&TABLE)
    }

    /// Light of a stored sample, which is kept in 0…1.
    #[inline]
    pub(super) fn light(self, sample: f32) -> f32 {
        let place = sample.clamp(0.0, 1.0) * STEPS as f32;
        let at = place as usize;
        let (low, high) = (self.0[at], self.0[at + 1]);
        low + (high - low) * (place - at as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_curve() {
        let curve = Curve::new();
        for at in 0..=100_000 {
            let sample = f64::from(at) / 100_000.0;
            let light = f64::from(curve.light(sample as f32));
            assert!((light - to_light(sample)).abs() < 3e-7, "{sample}: {light}");
        }
        assert_eq!([curve.light(-0.5), curve.light(1.5)], [0.0, 1.0]);
    }

    #[test]
    fn and_so_is_the_table_of_the_other_way() {
        for at in 0..=100_000 {
            let light = f64::from(at) / 100_000.0;
            let sample = f64::from(stored(light as f32));
            assert!((sample - from_light(light)).abs() < 3e-6, "{light}: {sample}");
        }
        assert_eq!([stored(-0.5), stored(1.5)], [0.0, 1.0]);
    }
}
