//! The operations on tensors: a kernel where the device has one, composed of Burn's otherwise.

use burn::backend::{Dispatch, DispatchDevice};
use burn::tensor::{Device, Tensor};

#[cfg(feature = "gpu")]
use crate::backend::StoreOps;
use crate::backend::VideoOps;
use crate::composed;
use crate::conv::{ConvGeometry, Enlarging};
use crate::deform_conv::{DeformGeometry, GuidedGeometry};
use crate::linear::LinearGeometry;
use crate::warp::WarpMode;
use crate::window_attention::WindowGeometry;

/// Whether the kernels for processors serve this device.
pub(crate) fn on_cpu(device: &Device) -> bool {
    match device.as_dispatch() {
        DispatchDevice::Flex(_) => true,
        DispatchDevice::Autodiff(inner) => matches!(**inner, DispatchDevice::Flex(_)),
        #[allow(unreachable_patterns, reason = "other backends are features of Burn")]
        _ => false,
    }
}

/// Whether the operation has a kernel for this device.
fn has_kernel(device: &Device) -> bool {
    match device.as_dispatch() {
        DispatchDevice::Autodiff(inner) => is_served(inner),
        device => is_served(device),
    }
}

fn is_served(device: &DispatchDevice) -> bool {
    match device {
        DispatchDevice::Flex(_) => true,
        #[cfg(feature = "gpu")]
        DispatchDevice::Cube(_) => true,
        #[allow(unreachable_patterns, reason = "other backends are features of Burn")]
        _ => false,
    }
}

/// Samples `x` at each pixel's place plus `flow`, pixel centres at whole numbers.
///
/// # Shapes
///
/// - `x`: `[n, h, w, c]`
/// - `flow`: `[n, h, w, 2]`, along x then y, in pixels
/// - output: `[n, h, w, c]`; for [`WarpMode::Nearest4`] `[n, h, w, 4·c]`
pub fn warp(x: Tensor<4>, flow: Tensor<4>, mode: WarpMode) -> Tensor<4> {
    if !has_kernel(&x.device()) {
        return composed::warp(x, flow, mode);
    }
    let (x, flow) = (x.into_dispatch(), flow.into_dispatch());
    Tensor::from_dispatch(<Dispatch as VideoOps>::warp(x, flow, mode))
}

/// What a deformable convolution reads beside its input.
#[derive(Clone, Debug)]
pub struct Deformation {
    /// `[n, h', w', groups · taps · 2]`: for each group of channels and tap (dy, dx) in pixels.
    pub offset: Tensor<4>,
    /// `[n, h', w', groups · taps]`: factor on each sample.
    pub mask: Tensor<4>,
    /// Groups of input channels that are sampled together.
    pub groups: usize,
}

/// Modulated deformable convolution (arXiv:1811.11168) of stride 1; outside `x` is zero.
///
/// # Shapes
///
/// - `x`: `[n, h, w, c]`
/// - `weight`: `[out, c / g, kh, kw]`; with `g > 1` a grouped convolution
/// - `bias`: `[out]`
/// - output: `[n, h', w', out]`, `h' = h + 2·padding − kh + 1`
///
/// # Panics
///
/// Panics if the sizes do not fit each other.
pub fn deform_conv(
    x: Tensor<4>,
    deformation: Deformation,
    weight: Tensor<4>,
    bias: Tensor<1>,
    padding: [usize; 2],
) -> Tensor<4> {
    let geometry = deform_geometry(&x, &weight, deformation.groups, padding);
    let Deformation { offset, mask, .. } = deformation;
    if !has_kernel(&x.device()) {
        return composed::deform_conv(x, offset, mask, weight, bias, &geometry);
    }
    Tensor::from_dispatch(<Dispatch as VideoOps>::deform_conv(
        x.into_dispatch(),
        offset.into_dispatch(),
        mask.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        geometry,
    ))
}

/// What guides a deformable convolution around flows; see [`Guide`](crate::deform_conv::Guide).
#[derive(Clone, Debug)]
pub struct Guidance {
    /// `[n, h, w, 3 · taps · groups]`
    pub answers: Tensor<4>,
    /// `[n, h, w, 2]` each, nearest first.
    pub flows: Vec<Tensor<4>>,
    /// Pixels that an offset may lie from its flow.
    pub max_offset: f32,
    /// Groups of input channels that are sampled together.
    pub groups: usize,
}

/// [`deform_conv`] at places around flows, from the raw answers of the offset layers (section 3.3
/// of the paper): `offset = max_offset · tanh(answer) + flow`, `mask = sigmoid(answer)`.
///
/// # Shapes
///
/// As [`deform_conv`], whose output is as large as `x` here.
///
/// # Panics
///
/// Panics if the sizes do not fit each other, or there is no flow.
pub fn deform_conv_guided(
    x: Tensor<4>,
    guidance: Guidance,
    weight: Tensor<4>,
    bias: Tensor<1>,
    padding: [usize; 2],
) -> Tensor<4> {
    if !has_kernel(&x.device()) {
        return composed::deform_conv_guided(x, guidance, weight, bias, padding);
    }
    let Guidance { answers, flows, max_offset, groups } = guidance;
    let deform = deform_geometry(&x, &weight, groups, padding);
    let geometry = GuidedGeometry { deform, flows: flows.len(), max_offset };
    let flows = Tensor::stack::<5>(flows, 0);
    Tensor::from_dispatch(<Dispatch as VideoOps>::deform_conv_guided(
        x.into_dispatch(),
        answers.into_dispatch(),
        flows.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        geometry,
    ))
}

fn deform_geometry(
    x: &Tensor<4>,
    weight: &Tensor<4>,
    offset_groups: usize,
    padding: [usize; 2],
) -> DeformGeometry {
    let [batch, height, width, in_channels] = x.dims();
    let [out_channels, per_group, kh, kw] = weight.dims();
    DeformGeometry {
        batch,
        height,
        width,
        in_channels,
        out_channels,
        weight_groups: in_channels / per_group,
        offset_groups,
        kernel: [kh, kw],
        padding,
    }
}

/// Convolution of stride 1; outside `x` is zero.
///
/// # Shapes
///
/// - `x`: `[n, h, w, c]`
/// - `weight`: `[out, c, kh, kw]`
/// - `bias`: `[out]`
/// - output: `[n, h', w', out]`, `h' = h + 2·padding − kh + 1`
///
/// # Panics
///
/// Panics if the sizes do not fit each other.
pub fn conv2d(x: Tensor<4>, weight: Tensor<4>, bias: Tensor<1>, padding: [usize; 2]) -> Tensor<4> {
    if !has_kernel(&x.device()) {
        return composed::conv2d(x, weight, bias, padding);
    }
    let geometry = conv_geometry(&x, &weight, padding);
    Tensor::from_dispatch(<Dispatch as VideoOps>::conv2d_channels_last(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        geometry,
    ))
}

/// [`conv2d`], then a leaky ReLU and a pixel shuffle; see [`Enlarging`].
///
/// # Shapes
///
/// As [`conv2d`], but for the output: `[n, r·h', r·w', out / r²]`, with the factor `r`.
///
/// # Panics
///
/// Panics if the sizes do not fit each other, or `r²` does not divide the outputs.
pub fn conv2d_enlarging(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    padding: [usize; 2],
    enlarging: Enlarging,
) -> Tensor<4> {
    let outputs = weight.dims()[0];
    let parts = enlarging.factor.pow(2);
    assert!(
        parts > 0 && outputs.is_multiple_of(parts),
        "conv2d: {outputs} outputs are not those of {parts} pixels"
    );
    #[cfg(feature = "gpu")]
    if changes_as_it_stores(&x.device()) {
        let geometry = conv_geometry(&x, &weight, padding);
        return Tensor::from_dispatch(<Dispatch as StoreOps>::conv2d_enlarging(
            x.into_dispatch(),
            weight.into_dispatch(),
            bias.into_dispatch(),
            geometry,
            enlarging,
        ));
    }
    composed::enlarged(conv2d(x, weight, bias, padding), enlarging)
}

/// Whether products do more on their way to memory: on GPUs, where no gradient is wanted.
#[cfg(feature = "gpu")]
fn changes_as_it_stores(device: &Device) -> bool {
    matches!(device.as_dispatch(), DispatchDevice::Cube(_))
}

fn conv_geometry(x: &Tensor<4>, weight: &Tensor<4>, padding: [usize; 2]) -> ConvGeometry {
    let [batch, height, width, in_channels] = x.dims();
    let [out_channels, _, kh, kw] = weight.dims();
    let kernel = [kh, kw];
    ConvGeometry { batch, height, width, in_channels, out_channels, kernel, padding }
}

/// Linear layer.
///
/// # Shapes
///
/// - `x`: `[rows, inputs]`
/// - `weight`: `[outputs, inputs]`
/// - `bias`: `[outputs]`
/// - output: `[rows, outputs]`
///
/// # Panics
///
/// Panics if the sizes do not fit each other.
pub fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    if !has_kernel(&x.device()) {
        return composed::linear(x, weight, bias);
    }
    let geometry = linear_geometry(&x, &weight);
    Tensor::from_dispatch(<Dispatch as VideoOps>::linear_published(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        geometry,
    ))
}

fn linear_geometry(x: &Tensor<2>, weight: &Tensor<2>) -> LinearGeometry {
    let ([rows, inputs], [outputs, _]) = (x.dims(), weight.dims());
    LinearGeometry { rows, inputs, outputs }
}

/// `residual + linear(x)`; see [`linear`].
///
/// # Shapes
///
/// As [`linear`]; `residual` as its output.
///
/// # Panics
///
/// Panics if the sizes do not fit each other.
pub fn linear_onto(
    x: Tensor<2>,
    weight: Tensor<2>,
    bias: Tensor<1>,
    residual: Tensor<2>,
) -> Tensor<2> {
    #[cfg(feature = "gpu")]
    if changes_as_it_stores(&x.device()) {
        let geometry = linear_geometry(&x, &weight);
        return Tensor::from_dispatch(<Dispatch as StoreOps>::linear_onto(
            x.into_dispatch(),
            weight.into_dispatch(),
            bias.into_dispatch(),
            residual.into_dispatch(),
            geometry,
        ));
    }
    residual + linear(x, weight, bias)
}

/// `GELU(gate(x)) · layer(x)`, of two linear layers' weights and biases; see [`linear`], [`gated`].
///
/// # Shapes
///
/// As [`linear`], both layers of as many outputs.
///
/// # Panics
///
/// Panics if the sizes do not fit each other.
pub fn linear_gated(
    x: Tensor<2>,
    (gate_weight, gate_bias): (Tensor<2>, Tensor<1>),
    (weight, bias): (Tensor<2>, Tensor<1>),
) -> Tensor<2> {
    #[cfg(feature = "gpu")]
    if changes_as_it_stores(&x.device()) {
        let geometry = linear_geometry(&x, &weight);
        return Tensor::from_dispatch(<Dispatch as StoreOps>::linear_gated(
            x.into_dispatch(),
            gate_weight.into_dispatch(),
            gate_bias.into_dispatch(),
            weight.into_dispatch(),
            bias.into_dispatch(),
            geometry,
        ));
    }
    gated(linear(x.clone(), gate_weight, gate_bias), linear(x, weight, bias))
}

/// The gate of a gated MLP, `GELU(gate) · x`, both `[rows, channels]`.
///
/// # Panics
///
/// Panics if the two differ in size.
pub fn gated(gate: Tensor<2>, x: Tensor<2>) -> Tensor<2> {
    if !has_kernel(&x.device()) {
        return composed::gated(gate, x);
    }
    let shape = x.dims();
    let (gate, x) = (gate.into_dispatch(), x.into_dispatch());
    Tensor::from_dispatch(<Dispatch as VideoOps>::gated(gate, x, shape))
}

/// Layer norm of each row, with what the published layers add to the variance.
///
/// # Shapes
///
/// - `x` and output: `[rows, channels]`
/// - `weight`, `bias`: `[channels]`
///
/// # Panics
///
/// Panics if the sizes do not fit each other.
pub fn norm(x: Tensor<2>, weight: Tensor<1>, bias: Tensor<1>) -> Tensor<2> {
    if !has_kernel(&x.device()) {
        return composed::norm(x, weight, bias);
    }
    let shape = x.dims();
    let (x, weight, bias) = (x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
    Tensor::from_dispatch(<Dispatch as VideoOps>::norm(x, weight, bias, shape))
}

/// Attention inside shifted windows with a relative-position bias (section 3.2 of the paper).
///
/// # Shapes
///
/// - `qkv`: `[b, d, h, w, 3·c]`: queries, keys, values; each heads, then channels of a head
/// - `table`: `[(2·Wd−1)·(2·Wh−1)·(2·Ww−1), heads]`
/// - output: `[b, d, h, w, c]`
///
/// # Panics
///
/// Panics if the sizes are not those of `geometry`.
pub fn window_attention(qkv: Tensor<5>, table: Tensor<2>, geometry: WindowGeometry) -> Tensor<5> {
    if !has_kernel(&qkv.device()) {
        return composed::window_attention(qkv, table, &geometry);
    }
    let (qkv, table) = (qkv.into_dispatch(), table.into_dispatch());
    Tensor::from_dispatch(<Dispatch as VideoOps>::window_attention(qkv, table, geometry))
}

/// Attention between the two frames of a window: the first half of a window's output is what the
/// second frame's queries find in the first frame, and the other way round.
///
/// # Shapes
///
/// As [`window_attention`], with windows of two frames.
///
/// # Panics
///
/// Panics if the sizes are not those of `geometry` or a window does not hold two frames.
pub fn mutual_attention(qkv: Tensor<5>, geometry: WindowGeometry) -> Tensor<5> {
    if !has_kernel(&qkv.device()) {
        return composed::mutual_attention(qkv, &geometry);
    }
    Tensor::from_dispatch(<Dispatch as VideoOps>::mutual_attention(qkv.into_dispatch(), geometry))
}
