//! Bicubic resizing as MATLAB's `imresize` computes it, which published sets were made with.

use rayon::prelude::*;

use crate::Frame;

/// By how much the sides of a picture change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Sides are multiplied by this.
    Up(usize),
    /// Sides are divided by this, and what is left over makes one pixel more.
    Down(usize),
}

impl Scale {
    /// The side that one of `pixels` becomes.
    pub fn side(self, pixels: usize) -> usize {
        match self {
            Self::Up(factor) => pixels * factor,
            Self::Down(factor) => pixels.div_ceil(factor),
        }
    }

    fn factor(self) -> f64 {
        match self {
            Self::Up(factor) => factor as f64,
            Self::Down(factor) => 1.0 / factor as f64,
        }
    }
}

/// Resizes a picture by cubic convolution (Keys 1981, a = −½); when it shrinks, the kernel is
/// widened by the factor, which keeps finer detail from aliasing.
///
/// Pixels beyond an edge are those before it, mirrored. Rows are resized before columns, in `f64`,
/// neither clipped nor rounded.
///
/// # Panics
///
/// Panics if the factor is 0.
pub fn bicubic(frame: &Frame, scale: Scale) -> Frame {
    assert!(scale.factor() > 0.0 && scale.factor().is_finite(), "bicubic: {scale:?}");
    let (width, height, channels) = (frame.width(), frame.height(), frame.channels());
    let of = |pixels| taps(pixels, scale.side(pixels), scale.factor());
    let (columns, rows) = (of(width), of(height));
    // Down the columns of the picture first: every row of the result is a sum of rows.
    let stride = width * channels;
    let tall: Vec<f64> = rows
        .par_iter()
        .flat_map_iter(|taps| {
            let mut row = vec![0.0; stride];
            for &(at, weight) in taps {
                let source = &frame.samples()[at * stride..][..stride];
                for (sum, sample) in row.iter_mut().zip(source) {
                    *sum += weight * f64::from(*sample);
                }
            }
            row
        })
        .collect();
    let samples = tall
        .par_chunks(stride)
        .flat_map_iter(|row| {
            columns.iter().flat_map(move |taps| {
                (0..channels).map(move |channel| {
                    let terms =
                        taps.iter().map(|&(at, weight)| weight * row[at * channels + channel]);
                    terms.sum::<f64>() as f32
                })
            })
        })
        .collect();
    Frame::new(columns.len(), rows.len(), channels, samples)
}

/// For each of the `side` pixels that `pixels` become when multiplied by `factor`, the pixels it is
/// made of, and their weights, which sum to 1.
pub(crate) fn taps(pixels: usize, side: usize, factor: f64) -> Vec<Vec<(usize, f64)>> {
    // The kernel is stretched, never squeezed.
    let stretch = factor.min(1.0);
    let reach = 2.0 / stretch;
    (0..side)
        .map(|at| {
            let center = (at as f64 + 0.5) / factor - 0.5;
            let first = (center - reach).floor() as i64;
            let last = (center + reach).ceil() as i64;
            let mut taps: Vec<(usize, f64)> = (first..=last)
                .map(|place| (mirrored(place, pixels), cubic((center - place as f64) * stretch)))
                .filter(|(_, weight)| *weight != 0.0)
                .collect();
            let sum: f64 = taps.iter().map(|(_, weight)| weight).sum();
            taps.iter_mut().for_each(|(_, weight)| *weight /= sum);
            taps
        })
        .collect()
}

/// The pixel that stands for one at `place`, with edges mirrored and themselves included:
/// `… 1 0 | 0 1 2 … n−1 | n−1 n−2 …`.
fn mirrored(place: i64, pixels: usize) -> usize {
    let period = 2 * pixels as i64;
    let place = place.rem_euclid(period) as usize;
    place.min(2 * pixels - 1 - place)
}

/// The kernel of cubic convolution with a = −½.
pub(crate) fn cubic(x: f64) -> f64 {
    let x = x.abs();
    if x <= 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x <= 2.0 {
        ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scales() -> impl Strategy<Value = Scale> {
        prop_oneof![(1usize..5).prop_map(Scale::Up), (1usize..5).prop_map(Scale::Down)]
    }

    fn pictures() -> impl Strategy<Value = Frame> {
        (1usize..14, 1usize..14, 1usize..4).prop_flat_map(|(width, height, channels)| {
            let samples = prop::collection::vec(0f32..1.0, width * height * channels);
            samples.prop_map(move |samples| Frame::new(width, height, channels, samples))
        })
    }

    /// What a row of one channel becomes.
    fn row(samples: &[f32], scale: Scale) -> Vec<f32> {
        let frame = Frame::new(samples.len(), 1, 1, samples.to_vec());
        let resized = bicubic(&frame, scale);
        resized.samples()[..resized.width()].to_vec()
    }

    /// The weights of the pixel `at` of a result, by the pixel of the source.
    fn weights(at: usize, scale: Scale) -> Vec<f64> {
        let mut weights = vec![0.0; 64];
        for (place, weight) in &taps(64, scale.side(64), scale.factor())[at] {
            weights[*place] += weight;
        }
        weights.into_iter().skip_while(|w| *w == 0.0).take_while(|w| *w != 0.0).collect()
    }

    #[test]
    fn weights_are_those_computed_by_hand() {
        let halves = [-3.0, -9.0, 29.0, 111.0, 111.0, 29.0, -9.0, -3.0].map(|w| w / 256.0);
        assert_eq!(weights(16, Scale::Down(2)), halves);
        // k(x/3)/3 at x = −5 … 5; at ±3 the kernel is zero, but for rounding.
        let thirds = [-1.0, -2.0, 0.0, 9.0, 21.0, 27.0, 21.0, 9.0, 0.0, -2.0, -1.0];
        let mut found = vec![0.0; 64];
        for (place, weight) in &taps(64, 22, 1.0 / 3.0)[10] {
            found[*place] += weight;
        }
        for (actual, expected) in found[26..].iter().zip(thirds) {
            assert!((actual - expected / 81.0).abs() < 1e-15, "{found:?}");
        }
        let fourths = [-7.0, -45.0, -75.0, -49.0, 93.0, 399.0, 745.0, 987.0];
        let expected: Vec<f64> =
            fourths.iter().chain(fourths.iter().rev()).map(|w| w / 4096.0).collect();
        assert_eq!(weights(8, Scale::Down(4)), expected);
        // Between pixels, a quarter of the way.
        let up = [-0.0703125, 0.8671875, 0.2265625, -0.0234375];
        assert_eq!(weights(33, Scale::Up(2)), up);
    }

    #[test]
    fn edges_are_mirrored_with_themselves() {
        let places: Vec<_> = (-4..8).map(|place| mirrored(place, 3)).collect();
        assert_eq!(places, [2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0, 1]);
    }

    #[test]
    fn ramps_stay_ramps_inside() {
        let ramp: Vec<f32> = (0..48).map(|x| x as f32 / 64.0).collect();
        for (scale, step) in [
            (Scale::Down(2), 2.0),
            (Scale::Down(3), 3.0),
            (Scale::Down(4), 4.0),
            (Scale::Up(2), 0.5),
            (Scale::Up(3), 1.0 / 3.0),
            (Scale::Up(4), 0.25),
        ] {
            let resized = row(&ramp, scale);
            let margin = resized.len() / 4;
            for (at, value) in resized.iter().enumerate().skip(margin).take(resized.len() / 2) {
                let expected = ((at as f32 + 0.5) * step - 0.5) / 64.0;
                assert!((value - expected).abs() < 1e-6, "{scale:?} {at}: {value} {expected}");
            }
        }
    }

    proptest! {
        #[test]
        fn one_value_stays_one_value(value in 0f32..1.0, scale in scales(), side in 1usize..20) {
            let resized = bicubic(&Frame::filled(side, 21 - side, 2, value), scale);
            prop_assert_eq!(resized.width(), scale.side(side));
            prop_assert_eq!(resized.height(), scale.side(21 - side));
            prop_assert!(resized.samples().iter().all(|sample| (sample - value).abs() < 1e-6));
        }

        #[test]
        fn by_one_nothing_changes(frame in pictures()) {
            prop_assert_eq!(&bicubic(&frame, Scale::Down(1)), &frame);
            prop_assert_eq!(bicubic(&frame, Scale::Up(1)), frame);
        }

        /// A picture that is a column times a row becomes what these become, multiplied.
        #[test]
        fn rows_and_columns_are_independent(
            across in prop::collection::vec(0f32..1.0, 1..12),
            down in prop::collection::vec(0f32..1.0, 1..12),
            scale in scales(),
        ) {
            let samples = down.iter().flat_map(|d| across.iter().map(move |a| a * d)).collect();
            let resized = bicubic(&Frame::new(across.len(), down.len(), 1, samples), scale);
            let (across, down) = (row(&across, scale), row(&down, scale));
            for (at, sample) in resized.samples().iter().enumerate() {
                let expected = across[at % across.len()] * down[at / across.len()];
                prop_assert!((sample - expected).abs() < 1e-5);
            }
        }

        #[test]
        fn mirrored_pictures_become_mirrored(frame in pictures(), scale in scales()) {
            // Sides that are not multiples begin the grid at the left: the mirror image differs.
            prop_assume!(!matches!(scale, Scale::Down(f) if !frame.width().is_multiple_of(f)));
            let mirror = |frame: &Frame| {
                let row = frame.width() * frame.channels();
                let rows = frame.samples().chunks(row);
                let samples = rows.flat_map(|row| {
                    row.chunks(frame.channels()).rev().flatten().copied().collect::<Vec<_>>()
                });
                Frame::new(frame.width(), frame.height(), frame.channels(), samples.collect())
            };
            let (there, back) = (bicubic(&mirror(&frame), scale), mirror(&bicubic(&frame, scale)));
            for (there, back) in there.samples().iter().zip(back.samples()) {
                prop_assert!((there - back).abs() < 1e-6);
            }
        }
    }
}
