//! Sums of scaled tensors.

use burn::tensor::Tensor;

use super::record::Operation;
use super::serves;
use super::values::{Operand, Values};
use crate::sum::{self, scaled};
use crate::tensor::filled;

/// `Σ factor · term` of tensors of one shape, at least one; of Burn's operations on devices that are
/// not [served](serves).
///
/// # Panics
///
/// Panics if there is no term, or they differ in shape.
pub fn sum<const D: usize, const N: usize>(terms: [(Tensor<D>, f32); N]) -> Tensor<D> {
    const { assert!(N > 0, "a sum of something") };
    let shape = terms[0].0.dims();
    assert!(terms.iter().all(|(term, _)| term.dims() == shape), "sum: terms of several shapes");
    if !serves(&terms[0].0.device()) {
        let scaled = terms.into_iter().map(|(term, factor)| match factor {
            1.0 => term,
            factor => term * factor,
        });
        return scaled.reduce(|sum, term| sum + term).unwrap_or_else(|| unreachable!("a term"));
    }
    let factors = terms.each_ref().map(|(_, factor)| *factor);
    let operation = Operation {
        forward: move |inputs: &[Values], _| {
            let terms: [_; N] = std::array::from_fn(|i| (inputs[i].get(), factors[i]));
            (filled(shape, |out| sum::sum(&terms, out)), ())
        },
        backward: move |_: &[Values], (): &(), grad: &[f32], wanted: &[bool]| {
            let all = factors.iter().zip(wanted);
            all.map(|(factor, wanted)| wanted.then(|| scaled(grad, *factor))).collect()
        },
    };
    operation.run(terms.into_iter().map(|(term, _)| Operand::of(term)).collect())
}

#[cfg(test)]
mod tests {
    use super::super::tests::agree;
    use super::*;

    #[test]
    fn it_is_what_is_composed() {
        for shape in [[1, 2, 3, 1], [2, 100, 99, 3]] {
            agree("one term", [shape], |[a]| sum([(a, -2.0)]));
            agree("two terms", [shape; 2], |[a, b]| sum([(a, 1.0), (b, 0.5)]));
            agree("three terms", [shape; 3], |[a, b, c]| sum([(a, -1.0), (b, 1.0), (c, 3.0)]));
        }
    }
}
