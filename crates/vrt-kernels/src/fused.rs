//! Operations on tensors that do at once what several of [`ops`](crate::ops) do, on processors, with
//! gradients where a tensor wants them: for restoring and for training. Other devices compose the
//! same of `ops`.
//!
//! A caller asks [`serves`] first, but for those that say that they compose themselves.

use std::borrow::Cow;
use std::cell::Cell;

use burn::tensor::{Device, Tensor};

use crate::conv::{self, Activation, ConvGeometry, ConvValues, ConvWeights, Enlarging, Source};
use crate::conv::{JoinedGradients, conv2d_joined, conv2d_joined_backward};
use crate::deform_conv::{DeformGeometry, Guide, Hints, deform_conv_answering};
use crate::deform_conv::{deform_conv_guided, deform_conv_guided_backward};
use crate::mlp::MlpWeights;
use crate::ops::on_cpu;
use crate::parallel;
use crate::scope::with_value;
use crate::tensor::filled;
use crate::tokens::{self, Projection};

mod arranged;
mod block;
mod join;
mod means;
mod panels;
mod record;
mod resample;
mod select;
mod sum;
#[cfg(test)]
mod tests;
mod trail;
mod values;

pub use arranged::{arranged, zeros};
pub use block::{Block, block};
pub use join::join;
pub use means::means;
pub use panels::Panels;
pub use resample::resample;
pub use select::select;
pub use sum::sum;
pub use trail::{Gathering, gathered, trails, weigh};

use record::{Found, Operation};
use values::{Operand, Values, affine};

thread_local! {
    static LEFT_OUT: Cell<bool> = const { Cell::new(false) };
}

/// Whether these operations run on tensors of this device.
pub fn serves(device: &Device) -> bool {
    on_cpu(device) && !LEFT_OUT.get()
}

/// Calls `work`, in which [`serves`] says no on this thread: what is composed instead is what these
/// operations are held to.
pub fn without<T>(work: impl FnOnce() -> T) -> T {
    with_value(&LEFT_OUT, true, work)
}

/// Whether all values of a tensor are zero.
///
/// # Panics
///
/// Panics if the tensor is not on a processor, or not of `f32`.
pub fn is_zero<const D: usize>(tensor: &Tensor<D>) -> bool {
    Operand::of(tensor.clone()).values().get().iter().all(|value| *value == 0.0)
}

/// Weight and bias of a linear layer, `[outputs, inputs]` and `[outputs]`.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The weight.
    pub weight: Tensor<2>,
    /// The bias.
    pub bias: Tensor<1>,
    /// Where the weight is kept packed, in a [`Panels::scope`].
    pub panels: Panels,
}

/// Weight and bias of a layer norm.
#[derive(Clone, Debug)]
pub struct Norm {
    /// The weight.
    pub weight: Tensor<1>,
    /// The bias.
    pub bias: Tensor<1>,
}

/// The layers of a gated MLP; see [`MlpWeights`].
#[derive(Clone, Debug)]
pub struct Mlp {
    /// What is gated.
    pub fc11: Layer,
    /// What it is multiplied with.
    pub fc12: Layer,
    /// Hidden values to outputs.
    pub fc2: Layer,
}

impl Layer {
    fn operands(&self) -> [Operand; 2] {
        Operand::layer(self.weight.clone(), self.bias.clone(), &self.panels)
    }
}

impl Norm {
    fn operands(&self) -> [Operand; 2] {
        [Operand::of(self.weight.clone()), Operand::of(self.bias.clone())]
    }
}

impl Mlp {
    fn operands(&self) -> impl Iterator<Item = Operand> {
        [&self.fc11, &self.fc12, &self.fc2].into_iter().flat_map(Layer::operands)
    }
}

/// The layers of an MLP at the front of a list.
fn mlp_weights(values: &[Values]) -> MlpWeights<'_> {
    let [fc11, fc12, fc2] = [0, 2, 4].map(|i| affine(&values[i..]));
    MlpWeights { fc11, fc12, fc2 }
}

/// Gradients that are wanted.
fn wanted(found: impl IntoIterator<Item = Vec<f32>>, wanted: &[bool]) -> Found {
    found.into_iter().zip(wanted).map(|(found, wanted)| wanted.then_some(found)).collect()
}

/// A linear layer and what stands around it; see [`project`].
#[derive(Clone, Debug)]
pub struct Around<const D: usize> {
    /// A norm before it.
    pub norm: Option<Norm>,
    /// What is added to its output.
    pub residual: Option<Tensor<D>>,
}

/// `residual + layer(norm(x))` on the last axis.
///
/// # Panics
///
/// Panics if the sizes do not fit each other, or the device is not [served](serves).
pub fn project<const D: usize>(x: Tensor<D>, layer: &Layer, around: Around<D>) -> Tensor<D> {
    let mut shape = x.dims();
    shape[D - 1] = layer.bias.dims()[0];
    let (has_norm, has_residual) = (around.norm.is_some(), around.residual.is_some());
    let mut inputs = vec![Operand::of(x)];
    inputs.extend(layer.operands());
    inputs.extend(around.norm.iter().flat_map(Norm::operands));
    inputs.extend(around.residual.map(Operand::of));
    let projection = move |inputs: &[Values], with_residual: bool| {
        let residual = (has_residual && with_residual).then(|| inputs.len() - 1);
        (has_norm.then_some(3), residual)
    };
    let operation = Operation {
        forward: move |inputs: &[Values], _| {
            let (norm, residual) = projection(inputs, true);
            let projection = Projection {
                norm: norm.map(|at| affine(&inputs[at..])),
                layer: affine(&inputs[1..]),
                residual: residual.map(|at| inputs[at].get()),
            };
            (filled(shape, |out| tokens::project(&projection, inputs[0].get(), out)), ())
        },
        backward: move |inputs: &[Values], (): &(), grad: &[f32], asked: &[bool]| {
            let (norm, _) = projection(inputs, false);
            let projection = Projection {
                norm: norm.map(|at| affine(&inputs[at..])),
                layer: affine(&inputs[1..]),
                residual: None,
            };
            let found = tokens::project_backward(&projection, inputs[0].get(), grad);
            let mut grads = vec![found.x];
            grads.extend(found.layer);
            if has_norm {
                grads.extend(found.norm);
            }
            if has_residual {
                grads.push(grad.to_vec());
            }
            wanted(grads, asked)
        },
    };
    operation.run(inputs)
}

/// Layer norm of the last axis.
///
/// # Panics
///
/// As [`project`].
pub fn norm<const D: usize>(x: Tensor<D>, weights: &Norm) -> Tensor<D> {
    let shape = x.dims();
    let mut inputs = vec![Operand::of(x)];
    inputs.extend(weights.operands());
    let operation = Operation {
        forward: move |inputs: &[Values], _| {
            let weights = affine(&inputs[1..]);
            (filled(shape, |out| tokens::norm(weights, inputs[0].get(), out)), ())
        },
        backward: |inputs: &[Values], (): &(), grad: &[f32], asked: &[bool]| {
            wanted(tokens::norm_backward(affine(&inputs[1..]), inputs[0].get(), grad), asked)
        },
    };
    operation.run(inputs)
}

/// Inputs whose channels are seen as one input's.
fn sources<'a>(inputs: &'a [Values], channels: &[usize]) -> Vec<Source<'a>> {
    let parts = inputs.iter().zip(channels);
    parts.map(|(values, channels)| Source { values: values.get(), channels: *channels }).collect()
}

fn channels<const D: usize>(parts: &[Tensor<D>]) -> Vec<usize> {
    parts.iter().map(|part| part.dims()[D - 1]).collect()
}

/// The gated MLP of the last axis, which is that of all `parts`, one behind the other.
///
/// # Panics
///
/// Panics if there is no part, the sizes do not fit each other, or the device is not
/// [served](serves).
pub fn gated_mlp<const D: usize>(parts: Vec<Tensor<D>>, mlp: &Mlp) -> Tensor<D> {
    let mut shape = parts[0].dims();
    shape[D - 1] = mlp.fc2.bias.dims()[0];
    let (channels, count) = (channels(&parts), parts.len());
    let mut inputs: Vec<Operand> = parts.into_iter().map(Operand::of).collect();
    inputs.extend(mlp.operands());
    let seen = channels.clone();
    let operation = Operation {
        forward: move |inputs: &[Values], _| {
            let (sources, weights) = (sources(inputs, &seen), mlp_weights(&inputs[count..]));
            (filled(shape, |out| tokens::gated_mlp(&sources, &weights, out)), ())
        },
        backward: move |inputs: &[Values], (): &(), grad: &[f32], asked: &[bool]| {
            let (sources, weights) = (sources(inputs, &channels), mlp_weights(&inputs[count..]));
            let (parts, layers) = tokens::gated_mlp_backward(&sources, &weights, grad);
            wanted(parts.into_iter().chain(layers), asked)
        },
    };
    operation.run(inputs)
}

/// A convolution's parameters, `[out, in, kh, kw]` and `[out]`, and its zeros around.
#[derive(Clone, Debug)]
pub struct Conv {
    /// The weight.
    pub weight: Tensor<4>,
    /// The bias.
    pub bias: Tensor<1>,
    /// Rows above and below, columns left and right.
    pub padding: [usize; 2],
}

impl Conv {
    /// Of an input `[n, h, w, c]`.
    fn geometry(&self, [batch, height, width, in_channels]: [usize; 4]) -> ConvGeometry {
        let [out_channels, _, kh, kw] = self.weight.dims();
        let (kernel, padding) = ([kh, kw], self.padding);
        ConvGeometry { batch, height, width, in_channels, out_channels, kernel, padding }
    }
}

/// Convolution of stride 1 of an input whose channels are those of all `parts`, `[n, h, w, ·]`,
/// and what is done to its values.
///
/// # Panics
///
/// As [`gated_mlp`].
pub fn conv2d(parts: Vec<Tensor<4>>, conv: &Conv, activation: Activation) -> Tensor<4> {
    let [batch, height, width, _] = parts[0].dims();
    let (channels, count) = (channels(&parts), parts.len());
    let geometry = conv.geometry([batch, height, width, channels.iter().sum()]);
    let shape = [batch, geometry.out_height(), geometry.out_width(), geometry.out_channels];
    let mut inputs: Vec<Operand> = parts.into_iter().map(Operand::of).collect();
    inputs.extend([Operand::of(conv.weight.clone()), Operand::of(conv.bias.clone())]);
    let seen = channels.clone();
    let operation = Operation {
        forward: move |inputs: &[Values], _| {
            let (weight, bias) = (inputs[count].get(), Some(inputs[count + 1].get()));
            let (sources, weights) = (sources(inputs, &seen), ConvWeights { weight, bias });
            let out = filled(shape, |out| {
                conv2d_joined(&geometry, &sources, weights, activation, out);
            });
            (out.clone(), Values::new(out))
        },
        backward: move |inputs: &[Values], out: &Values, grad: &[f32], asked: &[bool]| {
            let (sources, weight) = (sources(inputs, &channels), inputs[count].get());
            let values = ConvValues { sources: &sources, weight, out: out.get(), grad };
            conv_gradients(asked, |needed| {
                conv2d_joined_backward(&geometry, values, activation, needed)
            })
        },
    };
    operation.run(inputs)
}

/// [`conv2d`] of one input, and what enlarges its output; see [`Enlarging`].
///
/// # Shapes
///
/// As [`conv2d`], but for the output: `[n, r·h', r·w', out / r²]`, with the factor `r`.
///
/// # Panics
///
/// As [`conv2d`], and if `r²` does not divide the outputs.
pub fn conv2d_enlarging(x: Tensor<4>, conv: &Conv, enlarging: Enlarging) -> Tensor<4> {
    let (geometry, factor) = (conv.geometry(x.dims()), enlarging.factor);
    let channels = geometry.out_channels / (factor * factor).max(1);
    let size = [geometry.out_height(), geometry.out_width()].map(|size| factor * size);
    let shape = [geometry.batch, size[0], size[1], channels];
    let inputs =
        vec![Operand::of(x), Operand::of(conv.weight.clone()), Operand::of(conv.bias.clone())];
    let operation = Operation {
        forward: move |inputs: &[Values], _| {
            let weights = ConvWeights { weight: inputs[1].get(), bias: Some(inputs[2].get()) };
            let x = inputs[0].get();
            let out = filled(shape, |out| {
                conv::conv2d_enlarging(&geometry, x, weights, enlarging, out);
            });
            (out.clone(), Values::new(out))
        },
        backward: move |inputs: &[Values], out: &Values, grad: &[f32], asked: &[bool]| {
            let source = Source { values: inputs[0].get(), channels: geometry.in_channels };
            let (sources, weight) = (&[source], inputs[1].get());
            let values = ConvValues { sources, weight, out: out.get(), grad };
            conv_gradients(asked, |needed| {
                conv::conv2d_enlarging_backward(&geometry, values, enlarging, needed)
            })
        },
    };
    operation.run(inputs)
}

/// The gradients of a convolution's sources, weight and bias, where they are asked for.
fn conv_gradients(asked: &[bool], backward: impl FnOnce([bool; 2]) -> JoinedGradients) -> Found {
    let count = asked.len() - 2;
    let (of_sources, of_weights) = asked.split_at(count);
    let found = backward([of_sources, of_weights].map(|asked| asked.contains(&true)));
    let mut grads = found.sources;
    grads.resize(count, Vec::new());
    grads.extend([found.weight, found.bias]);
    wanted(grads, asked)
}

/// What guides a deformable convolution; see [`Guide`].
#[derive(Clone, Debug)]
pub struct Guidance {
    /// `[n, h, w, 3 · taps · groups]`
    pub answers: Answers,
    /// `[n, h, w, 2]` each, nearest first.
    pub flows: Vec<Tensor<4>>,
    /// Pixels that an offset may lie from its flow.
    pub max_offset: f32,
    /// Groups of channels that are sampled together.
    pub groups: usize,
}

/// The answers of offset layers.
#[derive(Clone, Debug)]
pub enum Answers {
    /// As they are.
    Given(Tensor<4>),
    /// What a convolution of `[n, h, w, ·]` makes. It is convolved again in the backward pass: kept,
    /// answers would be the largest maps of a training step.
    Of(Tensor<4>, Box<Conv>),
}

impl Answers {
    /// Inputs of an operation, and how the first one is convolved.
    fn operands(self) -> (Vec<Operand>, Option<ConvGeometry>) {
        match self {
            Self::Given(answers) => (vec![Operand::of(answers)], None),
            Self::Of(seen, conv) => {
                let geometry = conv.geometry(seen.dims());
                let Conv { weight, bias, .. } = *conv;
                (vec![Operand::of(seen), Operand::of(weight), Operand::of(bias)], Some(geometry))
            }
        }
    }
}

/// What is convolved for answers, and with what.
fn answering(inputs: &[Values]) -> (&[f32], ConvWeights<'_>) {
    let [weight, bias] = [inputs[1].get(), inputs[2].get()];
    (inputs[0].get(), ConvWeights { weight, bias: Some(bias) })
}

/// The answers that inputs of [`Answers::operands`] stand for.
fn answers<'a>(inputs: &'a [Values], geometry: Option<&ConvGeometry>) -> Cow<'a, [f32]> {
    let Some(geometry) = geometry else { return Cow::Borrowed(inputs[0].get()) };
    let (values, weights) = answering(inputs);
    let source = Source { values, channels: geometry.in_channels };
    let mut answers = parallel::zeros(geometry.out_len());
    conv2d_joined(geometry, &[source], weights, Activation::None, &mut answers);
    Cow::Owned(answers)
}

/// The gradients of these inputs, from that of the answers.
fn answers_backward(
    inputs: &[Values],
    geometry: Option<&ConvGeometry>,
    (answers, grad): (&[f32], Vec<f32>),
    asked: &[bool],
) -> Found {
    let Some(geometry) = geometry else { return wanted([grad], asked) };
    let sources = [Source { values: inputs[0].get(), channels: geometry.in_channels }];
    let weight = inputs[1].get();
    let values = ConvValues { sources: &sources, weight, out: answers, grad: &grad };
    conv_gradients(asked, |needed| {
        conv2d_joined_backward(geometry, values, Activation::None, needed)
    })
}

/// Places of a deformable convolution's inputs; answers and flows come behind.
const X: usize = 0;
const WEIGHT: usize = 1;
const BIAS: usize = 2;
const GUIDE: usize = 3;

/// Deformable convolution of `x`, `[n, h, w, c]`, at places around flows, of the size of `x`.
/// `on_answers` sees the answers, once; where it is none, those that a convolution makes are never all
/// there at a time.
///
/// # Panics
///
/// As [`gated_mlp`].
pub fn deform_conv(
    x: Tensor<4>,
    guidance: Guidance,
    conv: &Conv,
    on_answers: Option<impl FnOnce(&[f32])>,
) -> Tensor<4> {
    let [batch, height, width, in_channels] = x.dims();
    let [out_channels, per_group, kh, kw] = conv.weight.dims();
    let geometry = DeformGeometry {
        batch,
        height,
        width,
        in_channels,
        out_channels,
        weight_groups: in_channels / per_group,
        offset_groups: guidance.groups,
        kernel: [kh, kw],
        padding: conv.padding,
    };
    let shape = [batch, geometry.out_height(), geometry.out_width(), out_channels];
    let max_offset = guidance.max_offset;
    let (of_answers, convolved) = guidance.answers.operands();
    let flows_at = GUIDE + of_answers.len();
    let mut inputs = vec![Operand::of(x)];
    inputs.extend([Operand::of(conv.weight.clone()), Operand::of(conv.bias.clone())]);
    inputs.extend(of_answers);
    inputs.extend(guidance.flows.into_iter().map(Operand::of));
    let operation = Operation {
        forward: move |inputs: &[Values], _| {
            let flows: Vec<&[f32]> = inputs[flows_at..].iter().map(Values::get).collect();
            let (x, layer) = (inputs[X].get(), [inputs[WEIGHT].get(), inputs[BIAS].get()]);
            let of_answers = &inputs[GUIDE..flows_at];
            if let (Some(convolution), None) = (&convolved, &on_answers) {
                let (seen, weights) = answering(of_answers);
                let hints = Hints { seen, convolution, weights, flows: &flows, max_offset };
                let fill = |out: &mut [f32]| {
                    deform_conv_answering(&geometry, x, &hints, layer, out);
                };
                return (filled(shape, fill), ());
            }
            let answers = answers(of_answers, convolved.as_ref());
            if let Some(on_answers) = on_answers {
                on_answers(&answers);
            }
            let guide = Guide { answers: &answers, flows: &flows, max_offset };
            (filled(shape, |out| deform_conv_guided(&geometry, x, guide, layer, out)), ())
        },
        backward: move |inputs: &[Values], (): &(), grad: &[f32], asked: &[bool]| {
            let flows: Vec<&[f32]> = inputs[flows_at..].iter().map(Values::get).collect();
            let of_answers = &inputs[GUIDE..flows_at];
            let answers = answers(of_answers, convolved.as_ref());
            let guide = Guide { answers: &answers, flows: &flows, max_offset };
            let (x, weight) = (inputs[X].get(), inputs[WEIGHT].get());
            let of_guide = asked[GUIDE..].contains(&true);
            let found = deform_conv_guided_backward(&geometry, x, guide, weight, grad, of_guide);
            let mut grads = wanted([found.x, found.weight, found.bias], &asked[..GUIDE]);
            let Some(guide) = found.guide else {
                grads.resize(inputs.len(), None);
                return grads;
            };
            let asked_answers = &asked[GUIDE..flows_at];
            let both = (&*answers, guide.answers);
            grads.extend(answers_backward(of_answers, convolved.as_ref(), both, asked_answers));
            grads.extend(wanted(guide.flows, &asked[flows_at..]));
            grads
        },
    };
    operation.run(inputs)
}
