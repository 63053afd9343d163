//! Pictures along their motion, composed; warps are those of [`ops`](crate::ops).

use burn::tensor::Tensor;

use crate::ops;
use crate::trail::{Exposures, Trail, Weighing};
use crate::warp::WarpMode;

fn sampled(x: Tensor<4>, motion: &Tensor<4>, share: f32) -> Tensor<4> {
    ops::warp(x, motion.clone() * share, WarpMode::BilinearBorder)
}

/// As [`fused::trails`](crate::fused::trails).
pub fn trails(x: Tensor<4>, motion: Tensor<4>, trail: &Trail<'_>) -> Tensor<4> {
    let samples = trail.places.iter().map(|place| {
        let sample = sampled(x.clone(), &motion, *place);
        (x.clone() - sample) * trail.gain
    });
    Tensor::cat(samples.collect(), 3)
}

/// As [`fused::gathered`](crate::fused::gathered).
///
/// # Panics
///
/// Panics if there are no parts, or nothing that stands still.
pub fn gathered(x: Tensor<4>, motion: Tensor<4>, exposures: &Exposures<'_>) -> Tensor<4> {
    let Exposures { ways, parts, still, gain } = *exposures;
    let first = x.dims()[3] - parts;
    let channel = |at: usize| x.clone().narrow(3, at, 1);
    let still = still.iter().enumerate().filter(|(_, part)| **part != 0.0);
    let still = total(still.map(|(at, part)| channel(at) * *part));
    let exposures = ways.chunks_exact(parts).map(|ways| {
        let moved = ways.iter().enumerate();
        let sum = total(moved.map(|(at, way)| sampled(channel(first + at), &motion, *way)));
        (sum / parts as f64 - still.clone()) * gain
    });
    Tensor::cat(exposures.collect(), 3)
}

/// As [`fused::weigh`](crate::fused::weigh).
///
/// # Panics
///
/// Panics if there are no samples.
pub fn weigh(
    pictures: Tensor<4>,
    answers: Tensor<4>,
    samples: Tensor<4>,
    greys: Option<Tensor<4>>,
    weighing: &Weighing,
) -> Tensor<4> {
    let ([count, channels], colours) = (weighing.samples, pictures.dims()[3]);
    let weights =
        |at, count| answers.clone().narrow(3, weighing.weights[1] + at, count) * weighing.unit;
    let weighed = (0..count).map(|at| {
        let sample = samples.clone().narrow(3, at * channels, colours);
        sample * weights(at, 1)
    });
    let greys = greys.map(|greys| {
        let grey = (greys * weights(count, weighing.greys)).sum_dim(3);
        grey.repeat_dim(3, colours)
    });
    pictures + total(weighed.chain(greys))
}

fn total(parts: impl Iterator<Item = Tensor<4>>) -> Tensor<4> {
    parts.reduce(|sum, part| sum + part).expect("something to add up")
}
