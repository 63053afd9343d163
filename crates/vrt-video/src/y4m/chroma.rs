//! Chroma planes between their own size and the picture's.

use rayon::prelude::*;

/// How chroma samples lie along rows or columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Axis {
    /// One per luma sample.
    Full,
    /// One per two luma samples, at the place of the first of them.
    HalfFirst,
    /// One per two luma samples, midway between them.
    HalfMiddle,
    /// One per four luma samples, at the place of the first of them.
    QuarterFirst,
}

impl Axis {
    fn factor(self) -> usize {
        match self {
            Self::Full => 1,
            Self::HalfFirst | Self::HalfMiddle => 2,
            Self::QuarterFirst => 4,
        }
    }

    /// Chroma samples along `luma` luma samples.
    pub(crate) fn len(self, luma: usize) -> usize {
        luma.div_ceil(self.factor())
    }

    /// Where luma sample `index` lies, in units of chroma samples.
    fn place(self, index: usize) -> f32 {
        let offset = if self == Self::HalfMiddle { 0.25 } else { 0.0 };
        index as f32 / self.factor() as f32 - offset
    }

    /// For each of `luma` samples: the two nearest chroma samples and the weight of the second.
    fn taps(self, luma: usize) -> Vec<(usize, usize, f32)> {
        let last = self.len(luma) - 1;
        let tap = |index| {
            let place = self.place(index).clamp(0.0, last as f32);
            let first = place.floor();
            (first as usize, (first as usize + 1).min(last), place - first)
        };
        (0..luma).map(tap).collect()
    }

    /// Weights of the luma samples around the first one of a chroma sample, and where they begin.
    ///
    /// They are the tent of bilinear interpolation over the samples between two chroma samples.
    fn kernel(self) -> (isize, &'static [f32]) {
        match self {
            Self::Full => (0, &[1.0]),
            Self::HalfMiddle => (0, &[0.5, 0.5]),
            Self::HalfFirst => (-1, &[0.25, 0.5, 0.25]),
            Self::QuarterFirst => (-3, &[0.0625, 0.125, 0.1875, 0.25, 0.1875, 0.125, 0.0625]),
        }
    }

    /// The luma samples, within 0…`luma`, that make chroma sample `index`, with their weights.
    fn sources(self, luma: usize, index: usize) -> impl Iterator<Item = (usize, f32)> {
        let (begin, weights) = self.kernel();
        let base = (index * self.factor()) as isize + begin;
        weights.iter().enumerate().map(move |(step, &weight)| {
            let place = base + step as isize;
            (place.clamp(0, luma as isize - 1) as usize, weight)
        })
    }
}

/// Samples of one kind, row after row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plane {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) samples: Vec<f32>,
}

/// A chroma plane brought to `width`×`height` by bilinear interpolation; edges are repeated.
pub(crate) fn stretch(plane: Plane, (columns, rows): (Axis, Axis), size: (usize, usize)) -> Plane {
    if (columns, rows) == (Axis::Full, Axis::Full) {
        return plane;
    }
    let (width, height) = size;
    let (column_taps, row_taps) = (columns.taps(width), rows.taps(height));
    let mut samples = vec![0.0; width * height];
    samples.par_chunks_exact_mut(width).zip(&row_taps).for_each(|(row, &(first, second, part))| {
        let at = |row: usize| &plane.samples[row * plane.width..][..plane.width];
        let mix = |a: f32, b: f32, part: f32| a + (b - a) * part;
        let above_below = at(first).iter().zip(at(second));
        let blended: Vec<f32> = above_below.map(|(&a, &b)| mix(a, b, part)).collect();
        for (sample, &(left, right, part)) in row.iter_mut().zip(&column_taps) {
            *sample = mix(blended[left], blended[right], part);
        }
    });
    Plane { width, height, samples }
}

/// A chroma plane brought from the picture's size to its own; edges are repeated.
pub(crate) fn shrink(plane: Plane, (columns, rows): (Axis, Axis)) -> Plane {
    if (columns, rows) == (Axis::Full, Axis::Full) {
        return plane;
    }
    let (width, height) = (columns.len(plane.width), rows.len(plane.height));
    let mut samples = vec![0.0; width * height];
    samples.par_chunks_exact_mut(width).enumerate().for_each(|(index, row)| {
        let mut blended = vec![0.0; plane.width];
        for (source, weight) in rows.sources(plane.height, index) {
            let source = &plane.samples[source * plane.width..][..plane.width];
            blended.iter_mut().zip(source).for_each(|(sum, sample)| *sum += weight * sample);
        }
        for (column, sample) in row.iter_mut().enumerate() {
            let sources = columns.sources(plane.width, column);
            *sample = sources.map(|(source, weight)| weight * blended[source]).sum();
        }
    });
    Plane { width, height, samples }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AXES: [Axis; 4] = [Axis::Full, Axis::HalfFirst, Axis::HalfMiddle, Axis::QuarterFirst];

    fn ramp(width: usize, height: usize) -> Plane {
        let samples = (0..width * height).map(|at| (at % width + 2 * (at / width)) as f32);
        Plane { width, height, samples: samples.collect() }
    }

    #[test]
    fn a_row_is_stretched_as_the_siting_says() {
        let row = |axis, samples: Vec<f32>, width| {
            let plane = Plane { width: samples.len(), height: 1, samples };
            stretch(plane, (axis, Axis::Full), (width, 1)).samples
        };
        assert_eq!(row(Axis::HalfFirst, vec![0., 4., 8.], 6), [0., 2., 4., 6., 8., 8.]);
        assert_eq!(row(Axis::HalfMiddle, vec![0., 4., 8.], 6), [0., 1., 3., 5., 7., 8.]);
        assert_eq!(row(Axis::HalfMiddle, vec![0., 4., 8.], 5), [0., 1., 3., 5., 7.]);
        assert_eq!(row(Axis::QuarterFirst, vec![0., 4.], 6), [0., 1., 2., 3., 4., 4.]);
    }

    proptest! {
        #[test]
        fn one_colour_stays(
            columns in prop::sample::select(&AXES), rows in prop::sample::select(&AXES),
            width in 1usize..12, height in 1usize..12,
        ) {
            let plane = Plane { width, height, samples: vec![0.5; width * height] };
            let small = shrink(plane.clone(), (columns, rows));
            prop_assert_eq!((small.width, small.height), (columns.len(width), rows.len(height)));
            let back = stretch(small, (columns, rows), (width, height));
            for sample in &back.samples {
                prop_assert!((sample - 0.5).abs() < 1e-6);
            }
            prop_assert_eq!((back.width, back.height), (width, height));
        }

        /// Shrinking and stretching agree on where chroma lies: a ramp is where it was.
        #[test]
        fn a_ramp_does_not_move(
            columns in prop::sample::select(&AXES), rows in prop::sample::select(&AXES),
        ) {
            let plane = ramp(32, 24);
            let small = shrink(plane.clone(), (columns, rows));
            let back = stretch(small, (columns, rows), (32, 24));
            // Repeated edges bend the ramp near the borders only.
            for row in 8..16 {
                for column in 8..24 {
                    let at = row * 32 + column;
                    prop_assert!((back.samples[at] - plane.samples[at]).abs() < 1e-4);
                }
            }
        }
    }
}
