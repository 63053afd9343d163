//! Convolution; see [`conv`](crate::conv).

use burn_cubecl::tensor::CubeTensor;

use super::launch::packed;
use super::product::{Field, Left, Sizes, Source, Store, outer, product, product_into};
use super::shape::{by_inputs, by_taps, reshaped, split, turned};
use crate::conv::{ConvGeometry, Enlarging};

fn sizes(g: &ConvGeometry) -> Sizes {
    let rows = g.batch * g.out_height() * g.out_width();
    let inputs = g.kernel[0] * g.kernel[1] * g.in_channels;
    Sizes { first: 0, rows, outputs: g.out_channels, inputs, groups: 1 }
}

fn left<'a>(g: &ConvGeometry, x: &'a CubeTensor) -> Left<'a> {
    Left { source: Source::Taps, field: Field::of_conv(g), x, places: None }
}

/// See [`ops::conv2d`](crate::ops::conv2d).
pub(crate) fn forward([x, weight, bias]: [CubeTensor; 3], g: &ConvGeometry) -> CubeTensor {
    let [x, weight, bias] = checked([x, weight, bias], g);
    let out = product(left(g, &x), &by_taps(weight), Some(&bias), sizes(g));
    reshaped(out, [g.batch, g.out_height(), g.out_width(), g.out_channels])
}

/// See [`ops::conv2d_enlarging`](crate::ops::conv2d_enlarging).
pub(crate) fn enlarging(
    [x, weight, bias]: [CubeTensor; 3],
    g: &ConvGeometry,
    Enlarging { factor, slope }: Enlarging,
) -> CubeTensor {
    let [x, weight, bias] = checked([x, weight, bias], g);
    let store = Store::Shuffled { factor, slope, width: g.out_width() };
    let out = product_into(left(g, &x), &by_taps(weight), Some(&bias), sizes(g), store);
    let channels = g.out_channels / (factor * factor);
    reshaped(out, [g.batch, factor * g.out_height(), factor * g.out_width(), channels])
}

/// Gradients of the input, the weight and the bias, where they are wanted.
pub(crate) fn backward(
    inputs: [CubeTensor; 3],
    grad: CubeTensor,
    g: &ConvGeometry,
    [of_x, of_weight, of_bias]: [bool; 3],
) -> [Option<CubeTensor>; 3] {
    let ([x, weight, _], grad) = (checked(inputs, g), packed(grad));
    let shape = weight.meta.shape().dims();
    let x_grad = of_x.then(|| input_gradient(weight, &grad, g));
    let layer = (of_weight || of_bias).then(|| split(outer(left(g, &x), &grad, sizes(g))));
    let [weight_grad, bias_grad] = layer.map_or([None, None], |layer| layer.map(Some));
    let weight_grad = weight_grad.filter(|_| of_weight).map(|grad| by_inputs(grad, shape));
    [x_grad, weight_grad, bias_grad.filter(|_| of_bias)]
}

/// The gradient of the output, convolved by the turned weight.
fn input_gradient(weight: CubeTensor, grad: &CubeTensor, g: &ConvGeometry) -> CubeTensor {
    let back = ConvGeometry {
        batch: g.batch,
        height: g.out_height(),
        width: g.out_width(),
        in_channels: g.out_channels,
        out_channels: g.in_channels,
        kernel: g.kernel,
        padding: std::array::from_fn(|axis| g.kernel[axis] - 1 - g.padding[axis]),
    };
    let found = product(left(&back, grad), &turned(weight), None, sizes(&back));
    reshaped(found, [g.batch, g.height, g.width, g.in_channels])
}

fn checked(tensors: [CubeTensor; 3], g: &ConvGeometry) -> [CubeTensor; 3] {
    let fits = g.kernel.iter().zip(g.padding).all(|(kernel, padding)| padding < *kernel);
    assert!(fits, "conv2d: the padding is as large as the kernel: {g:?}");
    let lengths = tensors.each_ref().map(|tensor| tensor.meta.shape().num_elements());
    let expected = [g.x_len(), g.weight_len(), g.out_channels];
    assert_eq!(lengths, expected, "conv2d: the tensors do not have the sizes {g:?}");
    tensors.map(packed)
}
