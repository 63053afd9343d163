//! Blur and downsampling, the degradation called BD.

use rayon::prelude::*;

use crate::Frame;

/// Standard deviation of the blur, in pixels.
const SIGMA: f64 = 1.6;

/// Pixels on each side of the middle that the blur reaches.
const REACH: usize = 6;

/// Every so many pixels one is kept, in both directions, beginning with the first.
const STEP: usize = 4;

/// Blurs by a Gaussian of σ 1.6 cut to 13×13 pixels, and keeps every fourth pixel in both
/// directions, beginning with the first: a picture of a quarter of the sides, rounded up.
///
/// Pixels beyond an edge are those before it, mirrored without the edge itself.
pub fn blur_down(frame: &Frame) -> Frame {
    let kernel = gaussian();
    let (width, height, channels) = (frame.width(), frame.height(), frame.channels());
    let stride = width * channels;
    let samples = (0..height.div_ceil(STEP))
        .into_par_iter()
        .flat_map_iter(|row| {
            let mut line = vec![0.0f64; stride];
            for (tap, weight) in kernel.iter().enumerate() {
                let y = reflected(STEP * row + tap, height);
                let source = &frame.samples()[y * stride..][..stride];
                for (sum, sample) in line.iter_mut().zip(source) {
                    *sum += weight * f64::from(*sample);
                }
            }
            (0..width.div_ceil(STEP)).flat_map(move |column| {
                let line = line.clone();
                (0..channels).map(move |channel| {
                    let terms = kernel.iter().enumerate().map(|(tap, weight)| {
                        weight * line[reflected(STEP * column + tap, width) * channels + channel]
                    });
                    terms.sum::<f64>() as f32
                })
            })
        })
        .collect();
    Frame::new(width.div_ceil(STEP), height.div_ceil(STEP), channels, samples)
}

/// Weights of the blur along one direction, which sum to 1.
fn gaussian() -> [f64; 2 * REACH + 1] {
    let weights: [f64; 2 * REACH + 1] = std::array::from_fn(|tap| {
        let distance = tap as f64 - REACH as f64;
        (-distance * distance / (2.0 * SIGMA * SIGMA)).exp()
    });
    let sum: f64 = weights.iter().sum();
    weights.map(|weight| weight / sum)
}

/// The pixel that stands for the one `REACH` before `place`, with edges mirrored but not repeated:
/// `… 2 1 | 0 1 … n−1 | n−2 …`.
fn reflected(place: usize, pixels: usize) -> usize {
    if pixels == 1 {
        return 0;
    }
    let period = 2 * (pixels - 1);
    // A multiple of the period keeps the difference above zero.
    let place = (place + period * REACH - REACH) % period;
    place.min(period - place)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_dot_becomes_the_kernel_at_every_fourth_pixel() {
        let mut frame = Frame::filled(40, 32, 1, 0.0);
        let (x, y) = (17, 14);
        frame.samples_mut()[y * 40 + x] = 1.0;
        let blurred = blur_down(&frame);
        assert_eq!((blurred.width(), blurred.height()), (10, 8));
        let sum: f64 = (-6i32..=6).map(|d| (-f64::from(d * d) / 5.12).exp()).sum();
        for (at, sample) in blurred.samples().iter().enumerate() {
            let (dx, dy) = (4 * (at % 10) as i32 - x as i32, 4 * (at / 10) as i32 - y as i32);
            let inside = dx.abs() <= 6 && dy.abs() <= 6;
            let weight = (-f64::from(dx * dx + dy * dy) / 5.12).exp() / (sum * sum);
            let expected = if inside { weight } else { 0.0 };
            assert!((f64::from(*sample) - expected).abs() < 1e-7, "{at}: {sample} {expected}");
        }
    }

    #[test]
    fn edges_are_reflected_without_themselves() {
        let places: Vec<_> = (0..12).map(|place| reflected(place, 4)).collect();
        assert_eq!(places, [0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1]);
        assert_eq!(reflected(REACH, 4), 0);
        assert_eq!((0..20).map(|place| reflected(place, 1)).max(), Some(0));
        assert!((0..40).all(|place| reflected(place, 2) == place % 2));
    }

    proptest! {
        #[test]
        fn one_value_stays_one_value(value in 0f32..1.0, width in 1usize..20, height in 1usize..20) {
            let blurred = blur_down(&Frame::filled(width, height, 3, value));
            prop_assert_eq!(blurred.width(), width.div_ceil(4));
            prop_assert!(blurred.samples().iter().all(|sample| (sample - value).abs() < 1e-6));
        }

        #[test]
        fn ramps_stay_ramps_inside(slope in -0.02f32..0.02) {
            let samples = (0..8 * 48).map(|at| 0.5 + slope * (at % 48 - 24) as f32).collect();
            let blurred = blur_down(&Frame::new(48, 8, 1, samples));
            for column in 2..10 {
                let expected = 0.5 + slope * (4.0 * column as f32 - 24.0);
                prop_assert!((blurred.samples()[column] - expected).abs() < 1e-6);
            }
        }
    }
}
