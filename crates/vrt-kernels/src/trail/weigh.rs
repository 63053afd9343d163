//! What samples come to when every pixel weighs its own.

use crate::parallel::{for_each_part, zeros};

/// Colours of a picture.
const COLOURS: usize = 3;

/// Pixels that one task weighs.
const PIXELS: usize = 1 << 11;

/// How the samples of pixels are weighed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weighing {
    /// Samples of a pixel, and channels of each, of which the first three are weighed.
    pub samples: [usize; 2],
    /// Values of a pixel that are weighed as grey.
    pub greys: usize,
    /// Channels that hold the weights, and the first of them: those of samples, then of greys.
    pub weights: [usize; 2],
    /// What a weight of one is.
    pub unit: f32,
}

/// What is weighed, and by what.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// `[pixels, weights[0]]`
    pub answers: &'a [f32],
    /// `[pixels, samples[0] · samples[1]]`
    pub samples: &'a [f32],
    /// `[pixels, greys]`
    pub greys: &'a [f32],
}

/// Values of a pixel, and what weighs them.
#[derive(Clone, Copy)]
struct Pixel<'a> {
    samples: &'a [f32],
    greys: &'a [f32],
    of_samples: &'a [f32],
    of_greys: &'a [f32],
}

impl Weighing {
    fn check(&self, pictures: usize, values: &Weights<'_>) {
        let pixels = pictures / COLOURS;
        let (samples, weighed) = (self.samples[0] * self.samples[1], self.samples[0] + self.greys);
        assert!(self.samples[1] >= COLOURS, "weigh: samples of {} channels", self.samples[1]);
        assert!(
            self.weights[1] + weighed <= self.weights[0],
            "weigh: {weighed} weights from {} on in {}",
            self.weights[1],
            self.weights[0]
        );
        let lens = [values.answers.len(), values.samples.len(), values.greys.len()];
        let expected = [self.weights[0], samples, self.greys].map(|channels| pixels * channels);
        assert_eq!((lens, pixels * COLOURS), (expected, pictures), "weigh: {self:?}");
    }

    fn pixel<'a>(&self, values: &Weights<'a>, index: usize) -> Pixel<'a> {
        let at = |values: &'a [f32], channels: usize| &values[index * channels..][..channels];
        let [channels, first] = self.weights;
        let weights = &at(values.answers, channels)[first..];
        let (of_samples, of_greys) = weights.split_at(self.samples[0]);
        let samples = at(values.samples, self.samples[0] * self.samples[1]);
        let of_greys = &of_greys[..self.greys];
        Pixel { samples, greys: at(values.greys, self.greys), of_samples, of_greys }
    }
}

/// `pictures`, `[pixels, 3]`, and what their samples come to.
///
/// # Panics
///
/// Panics if the lengths of slices do not fit each other and `weighing`.
pub fn weigh(weighing: &Weighing, pictures: &[f32], values: &Weights<'_>, out: &mut [f32]) {
    weighing.check(pictures.len(), values);
    assert_eq!(pictures.len(), out.len(), "weigh: pictures of another size");
    for_each_part(out, PIXELS * COLOURS, |task, out| {
        let (out, _) = out.as_chunks_mut::<COLOURS>();
        let (pictures, _) = pictures.as_chunks::<COLOURS>();
        for (index, out) in (task * PIXELS..).zip(out) {
            let pixel = weighing.pixel(values, index);
            let mut sum = [0.0; COLOURS];
            let samples = pixel.samples.chunks_exact(weighing.samples[1]);
            for (sample, weight) in samples.zip(pixel.of_samples) {
                for (sum, value) in sum.iter_mut().zip(sample) {
                    *sum += weight * value;
                }
            }
            let greys = pixel.greys.iter().zip(pixel.of_greys);
            let grey: f32 = greys.map(|(grey, weight)| grey * weight).sum();
            for ((out, picture), sum) in out.iter_mut().zip(&pictures[index]).zip(sum) {
                *out = picture + weighing.unit * (sum + grey);
            }
        }
    });
}

/// The gradients of [`weigh`]'s answers, samples and greys, where they are wanted, from that of its
/// output, which is that of its pictures.
///
/// # Panics
///
/// As [`weigh`].
pub fn weigh_backward(
    weighing: &Weighing,
    values: &Weights<'_>,
    grad: &[f32],
    wanted: [bool; 3],
) -> [Option<Vec<f32>>; 3] {
    weighing.check(grad.len(), values);
    let [samples, channels] = weighing.samples;
    let lens = [weighing.weights[0], samples * channels, weighing.greys];
    let of = [Weighing::of_answers, Weighing::of_samples, Weighing::of_greys];
    std::array::from_fn(|i| wanted[i].then(|| weighing.gradient(values, grad, lens[i], of[i])))
}

/// Writes the gradient of a pixel's values from that of its colours.
type Gradient = fn(&Weighing, Pixel<'_>, &[f32; COLOURS], &mut [f32]);

impl Weighing {
    /// The gradient of `len` values in each pixel.
    fn gradient(&self, values: &Weights<'_>, grad: &[f32], len: usize, of: Gradient) -> Vec<f32> {
        let (grad, _) = grad.as_chunks::<COLOURS>();
        let mut found = zeros(grad.len() * len);
        for_each_part(&mut found, PIXELS * len, |task, found| {
            for (index, found) in (task * PIXELS..).zip(found.chunks_exact_mut(len)) {
                of(self, self.pixel(values, index), &grad[index], found);
            }
        });
        found
    }

    fn of_answers(&self, pixel: Pixel<'_>, grad: &[f32; COLOURS], found: &mut [f32]) {
        let [samples, channels] = self.samples;
        let (of_samples, of_greys) = found[self.weights[1]..].split_at_mut(samples);
        for (found, sample) in of_samples.iter_mut().zip(pixel.samples.chunks_exact(channels)) {
            let products = grad.iter().zip(sample).map(|(grad, value)| grad * value);
            *found = self.unit * products.sum::<f32>();
        }
        let total = self.unit * grad.iter().sum::<f32>();
        for (found, grey) in of_greys.iter_mut().zip(pixel.greys) {
            *found = total * grey;
        }
    }

    fn of_samples(&self, pixel: Pixel<'_>, grad: &[f32; COLOURS], found: &mut [f32]) {
        for (found, weight) in found.chunks_exact_mut(self.samples[1]).zip(pixel.of_samples) {
            for (found, grad) in found.iter_mut().zip(grad) {
                *found = self.unit * weight * grad;
            }
        }
    }

    fn of_greys(&self, pixel: Pixel<'_>, grad: &[f32; COLOURS], found: &mut [f32]) {
        let total = self.unit * grad.iter().sum::<f32>();
        for (found, weight) in found.iter_mut().zip(pixel.of_greys) {
            *found = total * weight;
        }
    }
}
