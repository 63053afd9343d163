//! Changes of size on tensors.

use burn::tensor::Tensor;

use super::record::Operation;
use super::serves;
use super::values::{Operand, Values};
use crate::composed;
use crate::parallel::zeros;
use crate::resample::{self, Axis, Change, Resampling};
use crate::tensor::filled;

/// Changes the size of pictures `x`, `[n, h, w, c]`: their rows and columns, then their values. Devices
/// that are not [served](serves) [compose](composed::resample) it.
///
/// # Panics
///
/// Panics if the axes are not those of `x`, or the change is not of its channels.
pub fn resample(x: Tensor<4>, axes: [Axis; 2], change: Change) -> Tensor<4> {
    let [rows, columns] = axes;
    let [batch, height, width, channels] = x.dims();
    assert_eq!([rows.from(), columns.from()], [height, width], "resample: other rows and columns");
    if axes.iter().all(Axis::stays) && change == Change::NONE {
        return x;
    }
    if !serves(&x.device()) {
        return composed::resample(x, axes, change);
    }
    let geometry = Resampling { batch, rows, columns, channels, change };
    let operation = Operation {
        forward: move |inputs: &[Values], _| {
            let shape = [batch, rows.size(), columns.size(), channels];
            (filled(shape, |out| resample::resample(&geometry, inputs[0].get(), out)), ())
        },
        backward: move |inputs: &[Values], (): &(), grad: &[f32], wanted: &[bool]| {
            let gradient = || {
                let mut grad_x = zeros(inputs[0].get().len());
                resample::resample_backward(&geometry, grad, &mut grad_x);
                grad_x
            };
            vec![wanted[0].then(gradient)]
        },
    };
    operation.run(vec![Operand::of(x)])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::agree;
    use super::*;
    use crate::resample::Align;

    fn axis(kind: usize, from: usize, to: usize, more: usize) -> Axis {
        let align = if kind == 0 { Align::Edges } else { Align::Corners };
        let axis = if kind == 2 { Axis::halved(from) } else { Axis::resized(from, to, align) };
        axis.extended(axis.size() + more)
    }

    proptest! {
        #[test]
        fn it_is_what_is_composed(
            (batch, channels, changes) in (1usize..4, 1usize..4, any::<bool>()),
            rows in (0usize..3, 2usize..9, 1usize..12, 0usize..3),
            columns in (0usize..3, 2usize..9, 1usize..12, 0usize..3),
        ) {
            let axes = [rows, columns].map(|(kind, from, to, more)| axis(kind, from, to, more));
            let change = match (changes, channels) {
                (false, _) => Change::NONE,
                (true, 1) => Change::new([0.5], [3.0]),
                (true, 2) => Change::new([0.5, -1.0], [3.0, 0.25]),
                (true, _) => Change::new([0.5, -1.0, 2.0], [3.0, 0.25, 1.0]),
            };
            let shape = [batch, axes[0].from(), axes[1].from(), channels];
            agree("resample", [shape], |[x]| resample(x, axes, change));
        }
    }

    #[test]
    fn large_pictures_are_resampled_by_many_tasks() {
        let axes = [Axis::halved(301), Axis::resized(40, 70, Align::Edges)];
        agree("resample", [[2, 301, 40, 3]], |[x]| resample(x, axes, Change::NONE));
    }
}
