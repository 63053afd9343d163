//! Every operation on every GPU against the same operation on the processor, with gradients.

use burn::tensor::{Device, Tensor, TensorData};
use vrt_testing::{Random, Tolerance, assert_close};

use crate::conv::Enlarging;
use crate::ops;
use crate::precision::Precision;
use crate::warp::WarpMode;
use crate::window_attention::WindowGeometry;

/// Values and gradients of sums of up to some thousands of products.
const NEAR: Tolerance = Tolerance::all(1e-4);

/// An input: its shape, and the largest value of what is drawn.
type Input<'a> = (&'a [usize], f32);

/// The output of `operation` on a device and the gradients of all inputs.
fn run(
    device: &Device,
    inputs: &[Input<'_>],
    operation: &dyn Fn(&[Tensor<1>]) -> Tensor<1>,
) -> Vec<Vec<f32>> {
    let mut random = Random::new(7);
    let mut draw = |len: usize, scale: f32| {
        let data = TensorData::new(random.values(len, scale), [len]);
        Tensor::<1>::from_data(data, &device.clone().autodiff())
    };
    let inputs: Vec<_> = inputs
        .iter()
        .map(|(shape, scale)| draw(shape.iter().product(), *scale).require_grad())
        .collect();
    let out = operation(&inputs);
    let probe = draw(out.dims()[0], 1.0);
    let grads = (out.clone() * probe).sum().backward();
    let values = |tensor: Tensor<1>| tensor.into_data().try_to_vec().expect("f32 values");
    let gradients = inputs.iter().map(|input| values(input.grad(&grads).expect("a gradient")));
    std::iter::once(values(out)).chain(gradients).collect()
}

/// Holds every GPU to the processor, in every precision that it has.
fn agree(name: &str, inputs: &[Input<'_>], operation: impl Fn(&[Tensor<1>]) -> Tensor<1>) {
    agree_in(crate::precisions, name, inputs, operation);
}

/// The same in `f32` alone.
fn agree_exactly(name: &str, inputs: &[Input<'_>], operation: impl Fn(&[Tensor<1>]) -> Tensor<1>) {
    agree_in(|_| vec![Precision::F32], name, inputs, operation);
}

fn agree_in(
    precisions: impl Fn(&Device) -> Vec<Precision>,
    name: &str,
    inputs: &[Input<'_>],
    operation: impl Fn(&[Tensor<1>]) -> Tensor<1>,
) {
    let expected = run(&Device::flex(), inputs, &operation);
    for device in super::all() {
        for precision in precisions(&device) {
            let found = precision.scope(|| run(&device, inputs, &operation));
            for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let part = if i == 0 { "output".to_owned() } else { format!("gradient {i}") };
                let name = format!("{name}, {part}, {precision}, {device:?}");
                match unit_of(precision) {
                    Some(unit) => assert_near(&name, found, expected, 3.0 * unit),
                    None => assert_close(&name, found, expected, NEAR),
                }
            }
        }
    }
}

/// The largest relative error of rounding a number; none where nothing is rounded.
fn unit_of(precision: Precision) -> Option<f32> {
    match precision {
        Precision::F32 => None,
        Precision::Bf16 => Some(2f32.powi(-8)),
        Precision::F16 => Some(2f32.powi(-11)),
    }
}

fn norm(values: impl Iterator<Item = f32>) -> f32 {
    values.map(|value| value * value).sum::<f32>().sqrt()
}

/// Holds all values together to the expected ones.
fn assert_near(name: &str, found: &[f32], expected: &[f32], most: f32) {
    assert_eq!(found.len(), expected.len(), "{name}");
    let distance = norm(found.iter().zip(expected).map(|(found, expected)| found - expected));
    let size = norm(expected.iter().copied());
    let allowed = most * size;
    assert!(distance <= allowed, "{name}: they differ by {distance:e}, {allowed:e} is allowed");
    // No value lies far from where rounding would put it. Tables have rows that no pair looks up.
    let there = expected.iter().filter(|value| **value != 0.0).count();
    let usual = size / (there.max(1) as f32).sqrt();
    let largest = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(largest <= 8.0 * most * usual, "{name}: a value is off by {largest:e} of {usual:e}");
}

#[test]
fn matrix_units_round_what_they_multiply() {
    let [rows, inputs, outputs] = [150, 70, 90];
    let shapes: [Input<'_>; 3] =
        [(&[rows, inputs], 1.0), (&[outputs, inputs], 1.0), (&[outputs], 1.0)];
    let project = |given: &[Tensor<1>]| {
        let x = given[0].clone().reshape([rows, inputs]);
        flat(ops::linear(x, given[1].clone().reshape([outputs, inputs]), given[2].clone()))
    };
    for device in super::all() {
        let exact = run(&device, &shapes, &project);
        for precision in crate::precisions(&device) {
            let found = precision.scope(|| run(&device, &shapes, &project));
            // The output and the gradient of the input: further ones are summed in any order.
            for part in 0..2 {
                let rounded = found[part] != exact[part];
                assert_eq!(rounded, precision != Precision::F32, "{precision}, {device:?}");
            }
        }
    }
}

fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let len: usize = tensor.dims().iter().product();
    tensor.reshape([len])
}

#[test]
fn warps() {
    for mode in [WarpMode::BilinearZeros, WarpMode::BilinearBorder, WarpMode::Nearest4] {
        for [n, h, w, c] in [[2, 5, 7, 3], [1, 1, 1, 8], [3, 9, 4, 20]] {
            let inputs: [Input<'_>; 2] = [(&[n, h, w, c], 1.0), (&[n, h, w, 2], 4.0)];
            agree_exactly(&format!("{mode:?} {n}×{h}×{w}×{c}"), &inputs, |inputs| {
                let x = inputs[0].clone().reshape([n, h, w, c]);
                let flow = inputs[1].clone().reshape([n, h, w, 2]);
                flat(ops::warp(x, flow, mode))
            });
        }
    }
}

/// Windows: whole, shifted, shrunken, of one frame, of more tokens than a cube has units, of heads
/// with sizes that no vector divides, of a table too large to be copied.
fn geometries() -> Vec<WindowGeometry> {
    let geometry = |map, window, full_window, shift, [heads, channels]: [usize; 2]| {
        WindowGeometry { batch: 2, map, window, full_window, shift, heads, channels }
    };
    vec![
        geometry([2, 4, 6], [2, 2, 3], [2, 2, 3], [0, 0, 0], [2, 10]),
        geometry([4, 4, 6], [2, 2, 3], [2, 2, 3], [1, 1, 1], [3, 12]),
        geometry([2, 8, 8], [2, 4, 4], [6, 8, 8], [0, 2, 2], [1, 20]),
        geometry([6, 16, 8], [6, 8, 8], [6, 8, 8], [0, 4, 0], [2, 40]),
        geometry([2, 5, 5], [1, 5, 5], [1, 8, 8], [0, 0, 0], [1, 7]),
        geometry([2, 4, 4], [2, 4, 4], [8, 20, 20], [0, 0, 0], [2, 6]),
    ]
}

/// Those that attention in a geometry is held to the processor's in. In 16 bits that are one that is
/// rolled, of fewer tokens than a cube owns, and one of more: software takes its time to make kernels.
fn precisions_for(geometry: &WindowGeometry) -> impl Fn(&Device) -> Vec<Precision> {
    let every = geometry.shift == [1; 3] || geometry.tokens() > 128;
    move |device| if every { crate::precisions(device) } else { vec![Precision::F32] }
}

#[test]
fn attends_in_windows() {
    for geometry in geometries() {
        let [d, h, w] = geometry.map;
        let (batch, channels, heads) = (geometry.batch, geometry.channels, geometry.heads);
        let table = [geometry.table_rows(), heads];
        let inputs: [Input<'_>; 2] = [(&[batch, d, h, w, 3 * channels], 2.0), (&table, 1.0)];
        agree_in(precisions_for(&geometry), &format!("{geometry:?}"), &inputs, |inputs| {
            let qkv = inputs[0].clone().reshape([batch, d, h, w, 3 * channels]);
            flat(ops::window_attention(qkv, inputs[1].clone().reshape(table), geometry))
        });
    }
}

#[test]
fn attends_between_frames() {
    for geometry in geometries().into_iter().filter(|geometry| geometry.window[0] == 2) {
        let [d, h, w] = geometry.map;
        let qkv = [geometry.batch, d, h, w, 3 * geometry.channels];
        let name = format!("{geometry:?}");
        agree_in(precisions_for(&geometry), &name, &[(&qkv, 2.0)], |inputs| {
            flat(ops::mutual_attention(inputs[0].clone().reshape(qkv), geometry))
        });
    }
}

#[test]
fn inputs_may_be_views() {
    let inputs: [Input<'_>; 2] = [(&[5, 7, 2, 3], 1.0), (&[2, 5, 2, 7], 3.0)];
    agree_exactly("permuted", &inputs, |given| {
        let x = given[0].clone().reshape([5, 7, 2, 3]).permute([2, 0, 1, 3]);
        let flow = given[1].clone().reshape([2, 5, 2, 7]).permute([0, 1, 3, 2]);
        flat(ops::warp(x, flow, WarpMode::BilinearZeros))
    });
}

#[test]
fn projects() {
    for [rows, inputs, outputs] in [[1, 1, 1], [7, 5, 3], [70, 65, 130], [300, 20, 64]] {
        let shapes: [Input<'_>; 3] =
            [(&[rows, inputs], 1.0), (&[outputs, inputs], 1.0), (&[outputs], 1.0)];
        agree(&format!("{rows}×{inputs} to {outputs}"), &shapes, |given| {
            let x = given[0].clone().reshape([rows, inputs]);
            let weight = given[1].clone().reshape([outputs, inputs]);
            flat(ops::linear(x, weight, given[2].clone()))
        });
    }
}

#[test]
fn normalises() {
    for [rows, channels] in [[1, 7], [9, 5], [300, 40], [600, 33]] {
        let shapes: [Input<'_>; 3] =
            [(&[rows, channels], 2.0), (&[channels], 1.0), (&[channels], 1.0)];
        agree_exactly(&format!("{rows}×{channels}"), &shapes, |given| {
            let x = given[0].clone().reshape([rows, channels]);
            flat(ops::norm(x, given[1].clone(), given[2].clone()))
        });
    }
}

#[test]
fn gates() {
    for shape in [[1, 1], [33, 17]] {
        agree_exactly(&format!("{shape:?}"), &[(&shape, 4.0), (&shape, 1.0)], |given| {
            let [gate, x] = [0, 1].map(|i| given[i].clone().reshape(shape));
            flat(ops::gated(gate, x))
        });
    }
}

#[test]
fn convolves() {
    for ([n, h, w, c], outputs, kernel, padding) in [
        ([1, 1, 1, 1], 1, [1, 1], [0, 0]),
        ([2, 5, 7, 3], 4, [3, 3], [1, 1]),
        ([1, 9, 8, 20], 70, [3, 3], [1, 1]),
        ([1, 12, 9, 8], 5, [7, 7], [3, 3]),
        ([2, 6, 8, 2], 3, [3, 5], [0, 2]),
    ] {
        let weight = [outputs, c, kernel[0], kernel[1]];
        let shapes: [Input<'_>; 3] = [(&[n, h, w, c], 1.0), (&weight, 0.5), (&[outputs], 1.0)];
        agree(&format!("{n}×{h}×{w}×{c}, {weight:?}, {padding:?}"), &shapes, |given| {
            let x = given[0].clone().reshape([n, h, w, c]);
            flat(ops::conv2d(x, given[1].clone().reshape(weight), given[2].clone(), padding))
        });
    }
}

/// What is done on the way to memory is done without gradients alone: with them it is composed, of
/// what other tests check. Holds it to the processor's, in every precision.
fn agree_as_stored(
    name: &str,
    inputs: &[Input<'_>],
    operation: impl Fn(&[Tensor<1>]) -> Tensor<1>,
) {
    let run = |device: &Device| {
        let mut random = Random::new(3);
        let mut draw = |(shape, scale): &Input<'_>| {
            let len = shape.iter().product();
            Tensor::<1>::from_data(TensorData::new(random.values(len, *scale), [len]), device)
        };
        let inputs: Vec<_> = inputs.iter().map(&mut draw).collect();
        operation(&inputs).into_data().try_to_vec::<f32>().expect("f32 values")
    };
    let expected = run(&Device::flex());
    for device in super::all() {
        for precision in crate::precisions(&device) {
            let found = precision.scope(|| run(&device));
            let name = format!("{name}, {precision}, {device:?}");
            match unit_of(precision) {
                Some(unit) => assert_near(&name, &found, &expected, 3.0 * unit),
                None => assert_close(&name, &found, &expected, NEAR),
            }
        }
    }
}

#[test]
fn convolves_and_enlarges() {
    for ([n, h, w, c], outputs, factor, slope) in [
        ([2, 5, 7, 3], 8, 2, 0.1),
        ([1, 9, 4, 20], 63, 3, 1.0),
        ([3, 2, 3, 4], 5, 1, 0.2),
        ([1, 4, 4, 3], 6, 1, 0.0),
    ] {
        let weight = [outputs, c, 3, 3];
        let shapes: [Input<'_>; 3] = [(&[n, h, w, c], 1.0), (&weight, 1.0), (&[outputs], 1.0)];
        agree_as_stored(&format!("{n}×{h}×{w}×{c} to {outputs} by {factor}"), &shapes, |given| {
            let x = given[0].clone().reshape([n, h, w, c]);
            let (weight, bias) = (given[1].clone().reshape(weight), given[2].clone());
            let enlarging = Enlarging { factor, slope };
            let y = ops::conv2d_enlarging(x, weight, bias, [1, 1], enlarging);
            assert_eq!(y.dims(), [n, h * factor, w * factor, outputs / (factor * factor)]);
            flat(y)
        });
    }
}

#[test]
fn adds_to_residuals_as_it_projects() {
    for [rows, inputs, outputs] in [[1, 1, 1], [70, 65, 130], [300, 20, 64]] {
        let shapes: [Input<'_>; 4] = [
            (&[rows, inputs], 1.0),
            (&[outputs, inputs], 1.0),
            (&[outputs], 1.0),
            (&[rows, outputs], 1.0),
        ];
        agree_as_stored(&format!("{rows}×{inputs} onto {outputs}"), &shapes, |given| {
            let x = given[0].clone().reshape([rows, inputs]);
            let weight = given[1].clone().reshape([outputs, inputs]);
            let residual = given[3].clone().reshape([rows, outputs]);
            flat(ops::linear_onto(x, weight, given[2].clone(), residual))
        });
    }
}

#[test]
fn gates_as_it_projects() {
    for [rows, inputs, outputs] in [[1, 1, 1], [70, 65, 33], [150, 20, 64], [9, 7, 101]] {
        let (x, weight, bias) = ([rows, inputs], [outputs, inputs], [outputs]);
        let shapes: [Input<'_>; 5] =
            [(&x, 1.0), (&weight, 0.4), (&bias, 1.0), (&weight, 0.4), (&bias, 1.0)];
        agree_as_stored(&format!("{rows}×{inputs} gated, {outputs}"), &shapes, |given| {
            let layer = |at: usize| (given[at].clone().reshape(weight), given[at + 1].clone());
            flat(ops::linear_gated(given[0].clone().reshape(x), layer(1), layer(3)))
        });
    }
}

#[test]
fn convolves_at_places() {
    for ([n, h, w, c], outputs, weight_groups, groups) in
        [([2, 5, 6, 4], 4, 1, 2), ([1, 7, 5, 12], 6, 3, 6), ([1, 3, 3, 24], 24, 2, 3)]
    {
        let weight = [outputs, c / weight_groups, 3, 3];
        let offset = [n, h, w, groups * 9 * 2];
        let mask = [n, h, w, groups * 9];
        let shapes: [Input<'_>; 5] =
            [(&[n, h, w, c], 1.0), (&offset, 3.0), (&mask, 1.0), (&weight, 0.5), (&[outputs], 1.0)];
        agree(&format!("{n}×{h}×{w}×{c}, {weight:?}, {groups} groups"), &shapes, |given| {
            let deformation = ops::Deformation {
                offset: given[1].clone().reshape(offset),
                mask: given[2].clone().reshape(mask),
                groups,
            };
            let x = given[0].clone().reshape([n, h, w, c]);
            let weight = given[3].clone().reshape(weight);
            flat(ops::deform_conv(x, deformation, weight, given[4].clone(), [1, 1]))
        });
    }
}

#[test]
fn convolves_around_flows() {
    for ([n, h, w, c], reach, groups) in [([2, 5, 6, 8], 1, 4), ([1, 7, 5, 12], 3, 6)] {
        let (weight, answers) = ([c, c / reach, 3, 3], [n, h, w, groups * 27]);
        let mut shapes: Vec<Input<'_>> = vec![(&weight, 0.5), (&answers, 1.0)];
        let (x, bias, flow) = ([n, h, w, c], [c], [n, h, w, 2]);
        shapes.extend([(&x[..], 1.0), (&bias[..], 1.0)]);
        shapes.extend(std::iter::repeat_n((&flow[..], 2.0), reach));
        agree(&format!("{n}×{h}×{w}×{c}, reach {reach}"), &shapes, |given| {
            let flows = given[4..].iter().map(|given| given.clone().reshape(flow)).collect();
            let answers = given[1].clone().reshape(answers);
            let guidance = ops::Guidance { answers, flows, max_offset: 3.0, groups };
            let (x, weight) = (given[2].clone().reshape(x), given[0].clone().reshape(weight));
            flat(ops::deform_conv_guided(x, guidance, weight, given[3].clone(), [1, 1]))
        });
    }
}

#[test]
fn a_panic_while_looking_is_nothing_found() {
    assert_eq!(super::quietly(|| panic!("no driver")), None::<()>);
    assert_eq!(super::quietly(|| 7), Some(7));
}

#[test]
fn devices_say_what_they_are_and_multiply() {
    for device in super::all() {
        let description = super::describe(&device).expect("a GPU");
        assert!(!description.name.is_empty());
        assert!(super::multiplies(&device), "{description:?}");
    }
    assert_eq!(super::describe(&Device::flex()), None);
}
