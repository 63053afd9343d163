//! Operations on tensors that do at once what several of [`ops`](crate::ops) do, for restoring on
//! processors. They record no gradient: training, and other devices, compose the same of `ops`.
//!
//! A caller asks [`serves`] first.

use burn::backend::{BackendTensor, DispatchAutodiffContext, DispatchDevice};
use burn::backend::{DispatchTensor, DispatchTensorKind};
use burn::tensor::{Device, Shape, Tensor, TensorData};
use burn_flex::FlexTensor;

use crate::block::{BlockGeometry, BlockWeights, Input, MutualWeights, block as block_slices};
use crate::conv::{Activation, ConvGeometry, ConvWeights, Source, conv2d_joined};
use crate::deform_conv::{DeformGeometry, Guide, deform_conv_guided};
use crate::mlp::{Affine, MlpWeights};
use crate::tokens::{
    Projection, gated_mlp as gated_mlp_slices, norm as norm_slices, project as project_slices,
};

/// Whether these operations run on tensors of this device.
pub fn serves(device: &Device) -> bool {
    matches!(device.as_dispatch(), DispatchDevice::Flex(_))
}

/// Weight and bias of a linear layer, `[outputs, inputs]` and `[outputs]`.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The weight.
    pub weight: Tensor<2>,
    /// The bias.
    pub bias: Tensor<1>,
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

/// The parameters of an attention block; see [`BlockWeights`].
#[derive(Clone, Debug)]
pub struct Block {
    /// Before attention.
    pub norm1: Norm,
    /// Queries, keys and values of self attention.
    pub qkv_self: Layer,
    /// `[(2·Wd−1)·(2·Wh−1)·(2·Ww−1), heads]`
    pub table: Tensor<2>,
    /// Queries, keys and values of mutual attention, and the code of the places of a frame of a
    /// window, `[Wh · Ww, channels]`.
    pub mutual: Option<(Layer, Tensor<2>)>,
    /// What attention found to channels.
    pub proj: Layer,
    /// Before the MLP.
    pub norm2: Norm,
    /// The MLP.
    pub mlp: Mlp,
}

/// A tensor of this process's memory whose values lie one behind the other.
struct Values(FlexTensor);

impl Values {
    fn of<const D: usize>(tensor: Tensor<D>) -> Self {
        let tensor = match tensor.into_dispatch().kind {
            DispatchTensorKind::Flex(BackendTensor::Float(tensor)) => tensor,
            other => panic!("fused operations run on processors without gradients, not {other:?}"),
        };
        let contiguous = tensor.as_slice::<f32>().is_some();
        Self(if contiguous { tensor } else { tensor.to_contiguous() })
    }

    fn get(&self) -> &[f32] {
        self.0.as_slice().unwrap_or_else(|| {
            panic!("the kernels compute in f32, this tensor holds {:?}", self.0.dtype())
        })
    }
}

fn tensor<const D: usize>(values: FlexTensor) -> Tensor<D> {
    let kind = DispatchTensorKind::Flex(BackendTensor::Float(values));
    Tensor::from_dispatch(DispatchTensor { kind, autodiff: DispatchAutodiffContext::Disabled })
}

/// A tensor of `shape` that `fill` writes.
fn filled<const D: usize>(shape: [usize; D], fill: impl FnOnce(&mut [f32])) -> Tensor<D> {
    let mut values = vec![0.0; shape.iter().product()];
    fill(&mut values);
    tensor(FlexTensor::from_data(TensorData::new(values, Shape::new(shape))))
}

/// A weight and a bias in memory.
struct WeightAndBias(Values, Values);

impl WeightAndBias {
    fn layer(Layer { weight, bias }: &Layer) -> Self {
        Self(Values::of(weight.clone()), Values::of(bias.clone()))
    }

    fn norm(Norm { weight, bias }: &Norm) -> Self {
        Self(Values::of(weight.clone()), Values::of(bias.clone()))
    }

    fn get(&self) -> Affine<'_> {
        Affine { weight: self.0.get(), bias: self.1.get() }
    }
}

/// The layers of an MLP in memory.
struct MlpValues([WeightAndBias; 3]);

impl MlpValues {
    fn of(Mlp { fc11, fc12, fc2 }: &Mlp) -> Self {
        Self([fc11, fc12, fc2].map(WeightAndBias::layer))
    }

    fn get(&self) -> MlpWeights<'_> {
        let [fc11, fc12, fc2] = self.0.each_ref().map(WeightAndBias::get);
        MlpWeights { fc11, fc12, fc2 }
    }
}

/// An attention block: `x += attention(norm(x))`, `x += mlp(norm(x))`; see [`crate::block`].
///
/// # Panics
///
/// Panics if the sizes of `x`, `[b, d, h, w, c]`, and of the parameters are not those of
/// `geometry`, or the device is not [served](serves).
pub fn block(x: Tensor<5>, parameters: &Block, geometry: &BlockGeometry) -> Tensor<5> {
    let [norm1, norm2] = [&parameters.norm1, &parameters.norm2].map(WeightAndBias::norm);
    let [qkv, proj] = [&parameters.qkv_self, &parameters.proj].map(WeightAndBias::layer);
    let table = Values::of(parameters.table.clone());
    let mlp = MlpValues::of(&parameters.mlp);
    let mutual = parameters.mutual.as_ref();
    let mutual = mutual.map(|(qkv, code)| (WeightAndBias::layer(qkv), Values::of(code.clone())));
    let weights = BlockWeights {
        norm1: norm1.get(),
        qkv_self: qkv.get(),
        table: table.get(),
        mutual: mutual
            .as_ref()
            .map(|(qkv, code)| MutualWeights { qkv: qkv.get(), positions: code.get() }),
        proj: proj.get(),
        norm2: norm2.get(),
        mlp: mlp.get(),
    };
    let shape = x.dims();
    let x = Values::of(x);
    // In place, unless somebody else holds the values, or they are part of something larger.
    if x.0.is_unique() && x.0.storage::<f32>().len() == geometry.len() {
        let mut x = x.0;
        block_slices(geometry, &weights, Input::Output, x.storage_mut());
        return tensor(x);
    }
    filled(shape, |out| block_slices(geometry, &weights, Input::Values(x.get()), out))
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
    let (layer, norm) =
        (WeightAndBias::layer(layer), around.norm.as_ref().map(WeightAndBias::norm));
    let (x, residual) = (Values::of(x), around.residual.map(Values::of));
    let projection = Projection {
        norm: norm.as_ref().map(WeightAndBias::get),
        layer: layer.get(),
        residual: residual.as_ref().map(Values::get),
    };
    filled(shape, |out| project_slices(&projection, x.get(), out))
}

/// Layer norm of the last axis.
///
/// # Panics
///
/// As [`project`].
pub fn norm<const D: usize>(x: Tensor<D>, weights: &Norm) -> Tensor<D> {
    let (shape, weights, x) = (x.dims(), WeightAndBias::norm(weights), Values::of(x));
    filled(shape, |out| norm_slices(weights.get(), x.get(), out))
}

/// Inputs whose channels are seen as one input's.
struct Joined(Vec<(Values, usize)>);

impl Joined {
    fn of<const D: usize>(parts: Vec<Tensor<D>>) -> Self {
        let part = |part: Tensor<D>| {
            let channels = part.dims()[D - 1];
            (Values::of(part), channels)
        };
        Self(parts.into_iter().map(part).collect())
    }

    fn channels(&self) -> usize {
        self.0.iter().map(|(_, channels)| channels).sum()
    }

    fn sources(&self) -> Vec<Source<'_>> {
        let parts = self.0.iter();
        parts
            .map(|(values, channels)| Source { values: values.get(), channels: *channels })
            .collect()
    }
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
    let (joined, mlp) = (Joined::of(parts), MlpValues::of(mlp));
    filled(shape, |out| gated_mlp_slices(&joined.sources(), &mlp.get(), out))
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

/// Convolution of stride 1 of an input whose channels are those of all `parts`, `[n, h, w, ·]`,
/// and what is done to its values.
///
/// # Panics
///
/// As [`gated_mlp`].
pub fn conv2d(parts: Vec<Tensor<4>>, conv: &Conv, activation: Activation) -> Tensor<4> {
    let [batch, height, width, _] = parts[0].dims();
    let [out_channels, _, kh, kw] = conv.weight.dims();
    let joined = Joined::of(parts);
    let geometry = ConvGeometry {
        batch,
        height,
        width,
        in_channels: joined.channels(),
        out_channels,
        kernel: [kh, kw],
        padding: conv.padding,
    };
    let (weight, bias) = (Values::of(conv.weight.clone()), Values::of(conv.bias.clone()));
    let weights = ConvWeights { weight: weight.get(), bias: Some(bias.get()) };
    let shape = [batch, geometry.out_height(), geometry.out_width(), out_channels];
    filled(shape, |out| conv2d_joined(&geometry, &joined.sources(), weights, activation, out))
}

/// What guides a deformable convolution; see [`Guide`].
#[derive(Clone, Debug)]
pub struct Guidance {
    /// `[n, h, w, 3 · taps · groups]`
    pub answers: Tensor<4>,
    /// `[n, h, w, 2]` each, nearest first.
    pub flows: Vec<Tensor<4>>,
    /// Pixels that an offset may lie from its flow.
    pub max_offset: f32,
    /// Groups of channels that are sampled together.
    pub groups: usize,
}

/// Deformable convolution of `x`, `[n, h, w, c]`, at places around flows, of the size of `x`.
///
/// # Panics
///
/// As [`gated_mlp`].
pub fn deform_conv(x: Tensor<4>, guidance: Guidance, conv: &Conv) -> Tensor<4> {
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
    let (x, answers) = (Values::of(x), Values::of(guidance.answers));
    let flows: Vec<_> = guidance.flows.into_iter().map(Values::of).collect();
    let flows: Vec<&[f32]> = flows.iter().map(Values::get).collect();
    let guide = Guide { answers: answers.get(), flows: &flows, max_offset: guidance.max_offset };
    let (weight, bias) = (Values::of(conv.weight.clone()), Values::of(conv.bias.clone()));
    let weights = [weight.get(), bias.get()];
    let shape = [batch, geometry.out_height(), geometry.out_width(), out_channels];
    filled(shape, |out| deform_conv_guided(&geometry, x.get(), guide, weights, out))
}
