//! What is composed against the kernels, where no other test does.

use burn::tensor::{Device, Tensor, TensorData};
use vrt_testing::{Random, Tolerance, assert_close};

use super::{deform_conv_guided, norm};
use crate::ops::{self, Guidance};

fn drawn<const D: usize>(random: &mut Random, shape: [usize; D], scale: f32) -> Tensor<D> {
    let data = TensorData::new(random.values(shape.iter().product(), scale), shape);
    Tensor::from_data(data, &Device::flex())
}

fn near<const D: usize>(name: &str, composed: Tensor<D>, kernel: Tensor<D>) {
    assert_eq!(composed.dims(), kernel.dims(), "{name}");
    let values = |tensor: Tensor<D>| -> Vec<f32> { tensor.into_data().try_to_vec().unwrap() };
    assert_close(name, &values(composed), &values(kernel), Tolerance::all(1e-4));
}

#[test]
fn a_convolution_around_flows_is_that_of_the_kernel() {
    let random = &mut Random::new(3);
    for ([n, h, w, c], reach, groups) in [([2, 5, 6, 8], 1, 4), ([1, 7, 5, 12], 3, 6)] {
        let guidance = Guidance {
            answers: drawn(random, [n, h, w, groups * 27], 1.0),
            flows: (0..reach).map(|_| drawn(random, [n, h, w, 2], 2.0)).collect(),
            max_offset: 3.0,
            groups,
        };
        let x = drawn(random, [n, h, w, c], 1.0);
        let (weight, bias) = (drawn(random, [c, c / reach, 3, 3], 0.5), drawn(random, [c], 1.0));
        let given = || (x.clone(), guidance.clone(), weight.clone(), bias.clone());
        let (a, b, c, d) = given();
        let composed = deform_conv_guided(a, b, c, d, [1, 1]);
        let (a, b, c, d) = given();
        near("guided", composed, ops::deform_conv_guided(a, b, c, d, [1, 1]));
    }
}

#[test]
fn a_norm_is_that_of_the_kernel() {
    let random = &mut Random::new(4);
    let (x, weight, bias) =
        (drawn(random, [9, 30], 2.0), drawn(random, [30], 1.0), drawn(random, [30], 1.0));
    let composed = norm(x.clone(), weight.clone(), bias.clone());
    near("norm", composed, ops::norm(x, weight, bias));
}
