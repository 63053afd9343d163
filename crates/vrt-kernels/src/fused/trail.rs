//! Pictures along their motion, on tensors; see [`crate::trail`]. Devices that are not
//! [served](super::serves) [compose](crate::composed) it.

use burn::tensor::Tensor;

use super::record::Operation;
use super::serves;
use super::values::{Operand, Values};
use crate::composed;
use crate::tensor::filled;
use crate::trail::{self, Exposures, Trail, Weighing, Weights};

/// By how much pictures `x`, `[n, h, w, c]`, differ from their samples on the way of `motion`,
/// `[n, h, w, 2]`: `[n, h, w, places · c]`.
///
/// # Panics
///
/// Panics if the sizes do not fit each other.
pub fn trails(x: Tensor<4>, motion: Tensor<4>, trail: Trail<'static>) -> Tensor<4> {
    if !serves(&x.device()) {
        return composed::trails(x, motion, &trail);
    }
    let shape = x.dims();
    let [n, h, w, c] = shape;
    let operation = Operation {
        forward: move |inputs: &[Values], _| {
            let [x, motion] = [0, 1].map(|i| inputs[i].get());
            let out = filled([n, h, w, trail.places.len() * c], |out| {
                trail::trails(shape, &trail, x, motion, out);
            });
            (out, ())
        },
        backward: move |inputs: &[Values], (): &(), grad: &[f32], wanted: &[bool]| {
            let inputs = [0, 1].map(|i| inputs[i].get());
            let wanted = [wanted[0], wanted[1]];
            trail::trails_backward(shape, &trail, inputs, grad, wanted).into()
        },
    };
    operation.run(vec![Operand::of(x), Operand::of(motion)])
}

/// How [`gathered`] adds up parts; see [`Exposures`].
#[derive(Clone, Debug)]
pub struct Gathering {
    /// How far each part lies from the middle, in ways from frame to frame: `[exposures, parts]`.
    pub ways: Vec<f32>,
    /// Parts, which are the last channels.
    pub parts: usize,
    /// What each channel has in the picture that stands still, which is taken off.
    pub still: Vec<f32>,
    /// By how much differences are enlarged.
    pub gain: f32,
}

impl Gathering {
    fn exposures(&self) -> Exposures<'_> {
        let Self { ways, parts, still, gain } = self;
        Exposures { ways, parts: *parts, still, gain: *gain }
    }
}

/// By how much the parts of exposures, the last channels of `x`, `[n, h, w, c]`, differ from what
/// stands still once they are added up along `motion`, `[n, h, w, 2]`: `[n, h, w, exposures]`.
///
/// # Panics
///
/// As [`trails`].
pub fn gathered(x: Tensor<4>, motion: Tensor<4>, gathering: &Gathering) -> Tensor<4> {
    if !serves(&x.device()) {
        return composed::gathered(x, motion, &gathering.exposures());
    }
    let shape = x.dims();
    let [n, h, w, _] = shape;
    let kept = gathering.clone();
    let operation = Operation {
        forward: |inputs: &[Values], _| {
            let ([x, motion], exposures) = ([0, 1].map(|i| inputs[i].get()), gathering.exposures());
            let out = filled([n, h, w, exposures.count()], |out| {
                trail::gathered(shape, &exposures, x, motion, out);
            });
            (out, ())
        },
        backward: move |inputs: &[Values], (): &(), grad: &[f32], wanted: &[bool]| {
            let inputs = [0, 1].map(|i| inputs[i].get());
            let wanted = [wanted[0], wanted[1]];
            trail::gathered_backward(shape, &kept.exposures(), inputs, grad, wanted).into()
        },
    };
    operation.run(vec![Operand::of(x), Operand::of(motion)])
}

/// `pictures`, `[n, h, w, 3]`, and what `samples` and `greys` come to by what `answers` weigh them; see
/// [`Weighing`].
///
/// # Panics
///
/// As [`trails`].
pub fn weigh(
    pictures: Tensor<4>,
    answers: Tensor<4>,
    samples: Tensor<4>,
    greys: Option<Tensor<4>>,
    weighing: Weighing,
) -> Tensor<4> {
    fn weights(inputs: &[Values]) -> Weights<'_> {
        let [answers, samples] = [1, 2].map(|i| inputs[i].get());
        Weights { answers, samples, greys: inputs.get(3).map_or(&[], Values::get) }
    }
    if !serves(&pictures.device()) {
        return composed::weigh(pictures, answers, samples, greys, &weighing);
    }
    let shape = pictures.dims();
    let inputs = [pictures, answers, samples].into_iter().chain(greys).map(Operand::of).collect();
    let operation = Operation {
        forward: move |inputs: &[Values], _| {
            let out = filled(shape, |out| {
                trail::weigh(&weighing, inputs[0].get(), &weights(inputs), out);
            });
            (out, ())
        },
        backward: move |inputs: &[Values], (): &(), grad: &[f32], wanted: &[bool]| {
            let asked = std::array::from_fn(|i| wanted.get(1 + i).copied().unwrap_or(false));
            let found = trail::weigh_backward(&weighing, &weights(inputs), grad, asked);
            let pictures = wanted[0].then(|| grad.to_vec());
            std::iter::once(pictures).chain(found).take(inputs.len()).collect()
        },
    };
    operation.run(inputs)
}

#[cfg(test)]
mod tests {
    use super::super::tests::agree;
    use super::*;

    #[test]
    fn samples_are_those_of_warps() {
        const PLACES: [f32; 5] = [0.5, -0.5, 0.0, 3.0, -20.0];
        let trail = Trail { places: &PLACES, gain: 8.0 };
        for (shape, channels) in [([2, 5, 7], 3), ([1, 1, 1], 1), ([1, 40, 9], 5), ([1, 3, 4], 16)]
        {
            let [n, h, w] = shape;
            let shapes = [[n, h, w, channels], [n, h, w, 2]];
            agree("trails", shapes, |[x, motion]| trails(x, motion * 3.0, trail));
        }
    }

    #[test]
    fn parts_are_added_up_as_warps_are() {
        for (shape, parts, others) in [([2, 5, 7], 4, 3), ([1, 1, 1], 1, 3), ([1, 40, 9], 1, 0)] {
            let [n, h, w] = shape;
            let gathering = Gathering {
                ways: (0..3 * parts).map(|at| at as f32 / 4.0 - 1.0).collect(),
                parts,
                still: (0..others + parts).map(|at| [0.5, 0.25, 0.0][at % 3]).collect(),
                gain: 8.0,
            };
            let shapes = [[n, h, w, others + parts], [n, h, w, 2]];
            agree("gathered", shapes, |[x, motion]| gathered(x, motion * 3.0, &gathering));
        }
    }

    #[test]
    fn samples_and_greys_are_weighed() {
        for ([n, h, w], channels, greys) in
            [([2, 5, 7], 3, 2), ([1, 90, 80], 5, 0), ([1, 1, 1], 3, 1)]
        {
            let weighing = Weighing { samples: [4, channels], greys, weights: [8, 2], unit: 0.25 };
            let shape = |channels| [n, h, w, channels];
            let shapes = [shape(3), shape(8), shape(4 * channels)];
            let weighed = |pictures, answers, samples, greys| {
                weigh(pictures, answers, samples, greys, weighing)
            };
            match greys {
                0 => agree("weigh", shapes, |[a, b, c]| weighed(a, b, c, None)),
                _ => {
                    let [a, b, c] = shapes;
                    let all = [a, b, c, shape(greys)];
                    agree("weigh with greys", all, |[a, b, c, d]| weighed(a, b, c, Some(d)));
                }
            }
        }
    }
}
