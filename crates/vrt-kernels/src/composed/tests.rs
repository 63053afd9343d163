//! What is composed against the kernels, where no other test does.

use burn::tensor::{Device, Tensor, TensorData};
use vrt_testing::{Random, Tolerance, assert_close};

use super::{conv2d, deform_conv_guided, enlarged, gated, linear, norm};
use crate::conv::Enlarging;
use crate::fused;
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

/// An operation on some inputs, as one of values in a row.
type Operation<'a> = &'a dyn Fn(&[Tensor<2>]) -> Tensor<1>;

/// Holds values and gradients of two operations on drawn inputs to each other.
fn agree(name: &str, shapes: &[[usize; 2]], [a, b]: [Operation<'_>; 2]) {
    let run = |operation: Operation<'_>| {
        let random = &mut Random::new(5);
        let mut draw = |shape| drawn(random, shape, 1.0);
        let inputs: Vec<Tensor<2>> =
            shapes.iter().map(|shape| draw(*shape).autodiff().require_grad()).collect();
        let out = operation(&inputs);
        let weights = drawn(random, out.dims(), 1.0).autodiff();
        let grads = (out.clone() * weights).sum().backward();
        let inputs = inputs.iter().map(|input| input.grad(&grads).expect("a gradient"));
        (out.inner(), inputs.collect::<Vec<_>>())
    };
    let ((a, of_a), (b, of_b)) = (run(a), run(b));
    near(name, a, b);
    for (i, (a, b)) in of_a.into_iter().zip(of_b).enumerate() {
        near(&format!("{name}, gradient {i}"), a, b);
    }
}

fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let len = tensor.dims().iter().product::<usize>();
    tensor.reshape([len])
}

#[test]
fn what_is_done_behind_a_product_is_what_is_composed() {
    let [rows, inputs, outputs] = [9, 6, 5];
    let (x, weight, bias) = ([rows, inputs], [outputs, inputs], [1, outputs]);
    let row = |tensor: &Tensor<2>| flat(tensor.clone());
    agree(
        "onto",
        &[x, weight, bias, [rows, outputs]],
        [
            &|t| {
                let (x, weight, residual) = (t[0].clone(), t[1].clone(), t[3].clone());
                flat(ops::linear_onto(x, weight, row(&t[2]), residual))
            },
            &|t| flat(linear(t[0].clone(), t[1].clone(), row(&t[2])) + t[3].clone()),
        ],
    );
    agree(
        "gated",
        &[x, weight, bias, weight, bias],
        [
            &|t| {
                let layer = |i: usize| (t[i].clone(), row(&t[i + 1]));
                flat(ops::linear_gated(t[0].clone(), layer(1), layer(3)))
            },
            &|t| {
                let layer = |i: usize| linear(t[0].clone(), t[i].clone(), row(&t[i + 1]));
                flat(gated(layer(1), layer(3)))
            },
        ],
    );
}

#[test]
fn what_is_done_behind_a_convolution_is_what_is_composed() {
    for (factor, slope) in [(1, 0.0), (1, 0.1), (2, 0.2), (3, 1.0)] {
        let (of_x, outputs) = ([2, 5, 4, 3], 18 * factor * factor);
        let of_weight = [outputs, 3, 3, 3];
        let parts = |t: &[Tensor<2>]| {
            (t[0].clone().reshape(of_x), t[1].clone().reshape(of_weight), flat(t[2].clone()))
        };
        let enlarging = Enlarging { factor, slope };
        let (shapes, padding) = ([[40, 3], [outputs, 27], [1, outputs]], [1, 1]);
        let composed: Operation<'_> = &|t| {
            let (x, weight, bias) = parts(t);
            flat(enlarged(conv2d(x, weight, bias, padding), enlarging))
        };
        let kernel: Operation<'_> = &|t| {
            let (x, weight, bias) = parts(t);
            flat(ops::conv2d_enlarging(x, weight, bias, padding, enlarging))
        };
        let fused: Operation<'_> = &|t| {
            let (x, weight, bias) = parts(t);
            let conv = fused::Conv { weight, bias, padding };
            flat(fused::conv2d_enlarging(x, &conv, enlarging))
        };
        let name = format!("by {factor}, slope {slope}");
        agree(&name, &shapes, [kernel, composed]);
        agree(&format!("{name}, fused"), &shapes, [fused, composed]);
    }
}
