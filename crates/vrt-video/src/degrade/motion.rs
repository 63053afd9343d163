//! Motion blur: what a longer exposure would have seen.

use crate::Frame;

/// What samples are added up as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Light {
    /// As they are stored, by the curve of the camera: how most published sets were made.
    #[default]
    Gamma,
    /// As amounts of light, by the curve of sRGB: what an exposure adds up.
    Linear,
}

/// The mean of `frames`, which are of one size.
///
/// # Panics
///
/// Panics if there is no frame, or one of another size.
pub fn average(frames: &[&Frame], light: Light) -> Frame {
    let Some(first) = frames.first() else { panic!("average: no frame") };
    let mut sums = vec![0.0f64; first.samples().len()];
    for frame in frames {
        assert_eq!(
            (frame.width(), frame.height(), frame.channels()),
            (first.width(), first.height(), first.channels()),
            "average: frames of one size"
        );
        for (sum, sample) in sums.iter_mut().zip(frame.samples()) {
            *sum += match light {
                Light::Gamma => f64::from(*sample),
                Light::Linear => to_light(f64::from(*sample)),
            };
        }
    }
    let count = frames.len() as f64;
    let samples = sums.into_iter().map(|sum| match light {
        Light::Gamma => (sum / count) as f32,
        Light::Linear => from_light(sum / count) as f32,
    });
    Frame::new(first.width(), first.height(), first.channels(), samples.collect())
}

/// Light of a stored sample (IEC 61966-2-1); samples below 0 are odd to those above.
pub(crate) fn to_light(sample: f64) -> f64 {
    let size = sample.abs();
    let light = if size <= 0.040_45 { size / 12.92 } else { ((size + 0.055) / 1.055).powf(2.4) };
    light.copysign(sample)
}

/// The stored sample of an amount of light.
pub(crate) fn from_light(light: f64) -> f64 {
    let size = light.abs();
    let sample =
        if size <= 0.003_130_8 { 12.92 * size } else { 1.055 * size.powf(1.0 / 2.4) - 0.055 };
    sample.copysign(light)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn grey(value: f32) -> Frame {
        Frame::filled(3, 2, 3, value)
    }

    fn mean(values: &[f32], light: Light) -> f32 {
        let frames: Vec<Frame> = values.iter().map(|value| grey(*value)).collect();
        let averaged = average(&frames.iter().collect::<Vec<_>>(), light);
        assert!(averaged.samples().iter().all(|sample| *sample == averaged.samples()[0]));
        averaged.samples()[0]
    }

    #[test]
    fn known_means() {
        assert_eq!(mean(&[0.0, 1.0], Light::Gamma), 0.5);
        // Half of white's light is stored as code 187.516 of 255.
        assert!((mean(&[0.0, 1.0], Light::Linear) * 255.0 - 187.516).abs() < 1e-3);
        assert!((to_light(0.5) - 0.214_041).abs() < 1e-6);
        assert!((to_light(10.0 / 255.0) - 0.003_035).abs() < 1e-6);
    }

    #[test]
    #[should_panic(expected = "average: no frame")]
    fn no_frame_has_no_mean() {
        average(&[], Light::Gamma);
    }

    proptest! {
        #[test]
        fn means_lie_between_and_light_is_brighter(values in prop::collection::vec(0f32..1.0, 1..9)) {
            let most = values.iter().copied().fold(0.0, f32::max);
            let least = values.iter().copied().fold(1.0, f32::min);
            let (gamma, linear) = (mean(&values, Light::Gamma), mean(&values, Light::Linear));
            for value in [gamma, linear] {
                prop_assert!(value >= least - 1e-6 && value <= most + 1e-6);
            }
            // The curve to light is convex.
            prop_assert!(linear >= gamma - 1e-6);
        }

        #[test]
        fn curves_are_each_others_inverse(sample in -0.2f64..1.2) {
            prop_assert!((from_light(to_light(sample)) - sample).abs() < 1e-7);
        }
    }
}
