//! Small changes of colour, alike in all frames of a sample.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::Frame;

/// The most that a factor differs from 1, and hue moves around its circle of length 1.
const MOST: f32 = 0.05;

/// Weights of red, green and blue in grey.
const GREY: [f32; 3] = [0.2989, 0.587, 0.114];

/// One change of colour.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    /// Towards black, by this factor.
    Brightness(f32),
    /// Towards the frame's mean grey, by this factor.
    Contrast(f32),
    /// Towards the pixel's grey, by this factor.
    Saturation(f32),
    /// Around the circle of hues, by this part of it.
    Hue(f32),
}

/// A change of colour: four steps in an order that is drawn, each of which ends in 0…1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Jitter([Step; 4]);

impl Jitter {
    /// Draws order and amounts.
    pub(super) fn draw(random: &mut ChaCha8Rng) -> Self {
        let mut factor = || random.random_range(1.0 - MOST..=1.0 + MOST);
        let mut steps = [
            Step::Brightness(factor()),
            Step::Contrast(factor()),
            Step::Saturation(factor()),
            Step::Hue(random.random_range(-MOST..=MOST)),
        ];
        for last in (1..steps.len()).rev() {
            steps.swap(last, random.random_range(0..=last));
        }
        Self(steps)
    }

    /// Changes a frame of three channels.
    pub(super) fn apply(self, frame: &mut Frame) {
        let pixels = frame.samples_mut().as_chunks_mut::<3>().0;
        for step in self.0 {
            match step {
                Step::Brightness(factor) => blend(pixels, factor, |_| 0.0),
                Step::Saturation(factor) => blend(pixels, factor, grey),
                Step::Contrast(factor) => {
                    let sum: f64 = pixels.iter().map(|pixel| f64::from(grey(*pixel))).sum();
                    let mean = (sum / pixels.len() as f64) as f32;
                    blend(pixels, factor, |_| mean);
                }
                Step::Hue(part) => {
                    for pixel in &mut *pixels {
                        *pixel = turn_hue(*pixel, part);
                    }
                }
            }
        }
    }
}

fn grey(pixel: [f32; 3]) -> f32 {
    GREY[0] * pixel[0] + GREY[1] * pixel[1] + GREY[2] * pixel[2]
}

/// Moves pixels away from what `other` says of them, by a factor.
fn blend(pixels: &mut [[f32; 3]], factor: f32, other: impl Fn([f32; 3]) -> f32) {
    for pixel in pixels {
        let from = other(*pixel);
        *pixel = pixel.map(|sample| (factor * sample + (1.0 - factor) * from).clamp(0.0, 1.0));
    }
}

/// The pixel with its hue moved by a `part` of the circle; greatest and least sample stay.
fn turn_hue([red, green, blue]: [f32; 3], part: f32) -> [f32; 3] {
    let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
    let chroma = most - least;
    if chroma <= 0.0 {
        return [red, green, blue];
    }
    let sixths = if most == red {
        (green - blue) / chroma
    } else if most == green {
        2.0 + (blue - red) / chroma
    } else {
        4.0 + (red - green) / chroma
    };
    let hue = (sixths + 6.0 * part).rem_euclid(6.0);
    // Each channel falls from its own hue (0, 2, 4 sixths) to nothing two sixths away.
    let channel = |own: f32| {
        let away = (hue - own).rem_euclid(6.0);
        let away = away.min(6.0 - away);
        least + chroma * (2.0 - away).clamp(0.0, 1.0)
    };
    [channel(0.0), channel(2.0), channel(4.0)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;

    use super::*;

    proptest! {
        #[test]
        fn a_hue_turned_there_and_back_is_the_same(
            pixel in proptest::array::uniform3(0f32..1.0),
            part in -0.5f32..0.5,
        ) {
            let back = turn_hue(turn_hue(pixel, part), -part);
            for (back, pixel) in back.iter().zip(pixel) {
                prop_assert!((back - pixel).abs() < 1e-5);
            }
        }

        #[test]
        fn a_third_of_the_circle_exchanges_channels(pixel in proptest::array::uniform3(0f32..1.0)) {
            let turned = turn_hue(pixel, 1.0 / 3.0);
            for (turned, pixel) in turned.iter().zip([pixel[2], pixel[0], pixel[1]]) {
                prop_assert!((turned - pixel).abs() < 1e-5);
            }
        }

        #[test]
        fn greys_stay_grey_and_in_range(value in 0f32..1.0, seed: u64) {
            let mut frame = Frame::filled(4, 3, 3, value);
            Jitter::draw(&mut ChaCha8Rng::seed_from_u64(seed)).apply(&mut frame);
            let first = frame.samples()[0];
            // Only brightness moves a grey frame: its mean is itself, and it has no hue.
            prop_assert!((first / value.max(1e-3) - 1.0).abs() < MOST + 1e-2 || value < 1e-2);
            prop_assert!(frame.samples().iter().all(|s| (s - first).abs() < 1e-6));
        }
    }

    #[test]
    fn all_orders_of_steps_come() {
        let mut random = ChaCha8Rng::seed_from_u64(0);
        let orders: std::collections::HashSet<_> = (0..400)
            .map(|_| Jitter::draw(&mut random).0.map(|step| std::mem::discriminant(&step)))
            .collect();
        assert_eq!(orders.len(), 24);
    }
}
