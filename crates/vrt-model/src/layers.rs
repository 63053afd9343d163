//! The small parts every other part is made of, with weights in their published layouts.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use vrt_kernels::conv::{Activation, Enlarging};
use vrt_kernels::{fused, ops};

use crate::parameters::{Builder, Initial};

/// `y = x·Wᵀ + b` on the last axis; weight `[out, in]`.
#[derive(Module, Debug)]
pub(crate) struct Linear {
    weight: Param<Tensor<2>>,
    bias: Param<Tensor<1>>,
    #[module(skip)]
    panels: fused::Panels,
}

impl Linear {
    pub(crate) fn new(
        builder: &mut Builder<'_>,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> Self {
        builder.part(name, |b| Self {
            weight: b.tensor("weight", [outputs, inputs], Initial::FanIn(inputs)),
            bias: b.tensor("bias", [outputs], Initial::FanIn(inputs)),
            panels: fused::Panels::default(),
        })
    }

    /// The parameters, as fused operations take them.
    pub(crate) fn layer(&self) -> fused::Layer {
        let panels = self.panels.share();
        fused::Layer { weight: self.weight.val(), bias: self.bias.val(), panels }
    }

    /// Values of an input token.
    pub(crate) fn inputs(&self) -> usize {
        self.weight.val().dims()[1]
    }

    /// `residual + layer(x)`
    pub(crate) fn forward_onto<const D: usize>(
        &self,
        x: Tensor<D>,
        residual: Tensor<D>,
    ) -> Tensor<D> {
        if fused::serves(&x.device()) {
            let around = fused::Around { norm: None, residual: Some(residual) };
            return fused::project(x, &self.layer(), around);
        }
        let shape = residual.dims();
        let (x, residual) = (rows(x), rows(residual));
        ops::linear_onto(x, self.weight.val(), self.bias.val(), residual).reshape(shape)
    }

    /// `layer(norm(x))`
    pub(crate) fn forward_normed<const D: usize>(&self, norm: &Norm, x: Tensor<D>) -> Tensor<D> {
        if fused::serves(&x.device()) {
            let around = fused::Around { norm: Some(norm.weights()), residual: None };
            return fused::project(x, &self.layer(), around);
        }
        self.forward(norm.forward(x))
    }

    pub(crate) fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let mut shape = x.dims();
        let y = ops::linear(rows(x), self.weight.val(), self.bias.val());
        [_, shape[D - 1]] = y.dims();
        y.reshape(shape)
    }
}

/// Normalisation of the last axis.
#[derive(Module, Debug)]
pub(crate) struct Norm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
}

impl Norm {
    pub(crate) fn new(builder: &mut Builder<'_>, name: &str, channels: usize) -> Self {
        builder.part(name, |b| Self {
            weight: b.tensor("weight", [channels], Initial::One),
            bias: b.tensor("bias", [channels], Initial::Zero),
        })
    }

    /// The parameters, as fused operations take them.
    pub(crate) fn weights(&self) -> fused::Norm {
        fused::Norm { weight: self.weight.val(), bias: self.bias.val() }
    }

    pub(crate) fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        if fused::serves(&x.device()) {
            return fused::norm(x, &self.weights());
        }
        let shape = x.dims();
        ops::norm(rows(x), self.weight.val(), self.bias.val()).reshape(shape)
    }
}

/// All but the last axis as one.
pub(crate) fn rows<const D: usize>(x: Tensor<D>) -> Tensor<2> {
    let shape = x.dims();
    x.reshape([shape[..D - 1].iter().product::<usize>(), shape[D - 1]])
}

/// Convolution of each frame, stride 1, zeros around, same size; weight `[out, in, k, k]`.
#[derive(Module, Debug)]
pub(crate) struct Conv {
    weight: Param<Tensor<4>>,
    bias: Param<Tensor<1>>,
}

/// The same with the weight published as `[out, in, 1, k, k]`.
#[derive(Module, Debug)]
pub(crate) struct FrameConv {
    weight: Param<Tensor<5>>,
    bias: Param<Tensor<1>>,
}

/// Sizes of a convolution.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConvShape {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) kernel: usize,
}

impl ConvShape {
    fn fan_in(self) -> Initial {
        Initial::FanIn(self.inputs * self.kernel * self.kernel)
    }
}

impl Conv {
    pub(crate) fn new(builder: &mut Builder<'_>, name: &str, shape: ConvShape) -> Self {
        Self::initially(builder, name, shape, shape.fan_in())
    }

    /// A convolution that starts as all zeros.
    pub(crate) fn zero(builder: &mut Builder<'_>, name: &str, shape: ConvShape) -> Self {
        Self::initially(builder, name, shape, Initial::Zero)
    }

    fn initially(b: &mut Builder<'_>, name: &str, shape: ConvShape, initial: Initial) -> Self {
        let ConvShape { inputs, outputs, kernel } = shape;
        b.part(name, |b| Self {
            weight: b.tensor("weight", [outputs, inputs, kernel, kernel], initial),
            bias: b.tensor("bias", [outputs], initial),
        })
    }

    /// The convolution of all `parts`, one's channels behind the other's, and an activation:
    /// `[n, h, w, ·]` → `[n, h, w, out]`
    pub(crate) fn forward_joined(
        &self,
        parts: Vec<Tensor<4>>,
        activation: Activation,
    ) -> Tensor<4> {
        let fused::Conv { weight, bias, padding } = self.parameters();
        convolve(parts, weight, bias, padding, activation)
    }

    /// Its parameters, for an operation that convolves, too.
    pub(crate) fn parameters(&self) -> fused::Conv {
        let (weight, bias) = (self.weight.val(), self.bias.val());
        let [_, _, kh, kw] = weight.dims();
        fused::Conv { weight, bias, padding: [kh / 2, kw / 2] }
    }

    /// The zeros that the convolution answers at every place of `like` `[n, h, w, ·]`, if that is
    /// all it can: its weights are zero, and are not being trained. What it sees need not be known
    /// then. Weights are looked at where that is cheap: on the CPU.
    pub(crate) fn nothing(&self, like: &Tensor<4>) -> Option<Tensor<4>> {
        let (weight, bias) = (self.weight.val(), self.bias.val());
        if weight.is_require_grad() || bias.is_require_grad() || !fused::serves(&like.device()) {
            return None;
        }
        let [n, h, w, _] = like.dims();
        let shape = [n, h, w, bias.dims()[0]];
        let zeros = fused::is_zero(&bias) && fused::is_zero(&weight);
        zeros.then(|| fused::zeros(shape, &like.device()))
    }

    /// The same without zeros around: the output is smaller by `kernel − 1`.
    pub(crate) fn forward_inside(&self, x: Tensor<4>) -> Tensor<4> {
        ops::conv2d(x, self.weight.val(), self.bias.val(), [0, 0])
    }
}

/// A convolution of the channels of all `parts`, and an activation.
fn convolve(
    parts: Vec<Tensor<4>>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    padding: [usize; 2],
    activation: Activation,
) -> Tensor<4> {
    if fused::serves(&weight.device()) {
        return fused::conv2d(parts, &fused::Conv { weight, bias, padding }, activation);
    }
    let x = Tensor::cat(parts, 3);
    match activation {
        Activation::None => ops::conv2d(x, weight, bias, padding),
        Activation::LeakyRelu(slope) => {
            let as_large = Enlarging { factor: 1, slope };
            ops::conv2d_enlarging(x, weight, bias, padding, as_large)
        }
    }
}

impl FrameConv {
    pub(crate) fn new(builder: &mut Builder<'_>, name: &str, shape: ConvShape) -> Self {
        Self::initially(builder, name, shape, shape.fan_in())
    }

    /// A convolution that starts as all zeros.
    pub(crate) fn zero(builder: &mut Builder<'_>, name: &str, shape: ConvShape) -> Self {
        Self::initially(builder, name, shape, Initial::Zero)
    }

    /// The first convolution of a network that folds pictures of so many `channels`; see
    /// [`Initial::Sight`].
    pub(crate) fn seeing(
        builder: &mut Builder<'_>,
        name: &str,
        shape: ConvShape,
        channels: usize,
    ) -> Self {
        let ConvShape { inputs, outputs, kernel } = shape;
        builder.part(name, |b| Self {
            weight: b.tensor(
                "weight",
                [outputs, inputs, 1, kernel, kernel],
                Initial::Sight { inputs, channels },
            ),
            bias: b.tensor("bias", [outputs], Initial::Zero),
        })
    }

    fn initially(b: &mut Builder<'_>, name: &str, shape: ConvShape, initial: Initial) -> Self {
        let ConvShape { inputs, outputs, kernel } = shape;
        b.part(name, |b| Self {
            weight: b.tensor("weight", [outputs, inputs, 1, kernel, kernel], initial),
            bias: b.tensor("bias", [outputs], initial),
        })
    }

    /// `[b, d, h, w, in]` → `[b, d, h, w, out]`
    pub(crate) fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        self.forward_joined(vec![x], Activation::None)
    }

    /// The convolution of all `parts`, one's channels behind the other's, and an activation.
    pub(crate) fn forward_joined(
        &self,
        parts: Vec<Tensor<5>>,
        activation: Activation,
    ) -> Tensor<5> {
        let d = parts[0].dims()[1];
        let (weight, padding) = self.of_frames();
        let parts = parts.into_iter().map(frames).collect();
        clips(convolve(parts, weight, self.bias.val(), padding, activation), d)
    }

    /// The convolution of `x`, whose outputs become pixels.
    pub(crate) fn forward_enlarging(&self, x: Tensor<5>, enlarging: Enlarging) -> Tensor<5> {
        let d = x.dims()[1];
        let ((weight, padding), bias, x) = (self.of_frames(), self.bias.val(), frames(x));
        if fused::serves(&x.device()) {
            let conv = fused::Conv { weight, bias, padding };
            return clips(fused::conv2d_enlarging(x, &conv, enlarging), d);
        }
        clips(ops::conv2d_enlarging(x, weight, bias, padding, enlarging), d)
    }

    /// The weight of a frame's convolution, and the padding that keeps its size.
    fn of_frames(&self) -> (Tensor<4>, [usize; 2]) {
        let [outputs, inputs, _, kh, kw] = self.weight.val().dims();
        (self.weight.val().reshape([outputs, inputs, kh, kw]), [kh / 2, kw / 2])
    }
}

/// `[b, d, h, w, c]` → `[b·d, h, w, c]`
pub(crate) fn frames(x: Tensor<5>) -> Tensor<4> {
    let [b, d, h, w, c] = x.dims();
    fused::arranged(x).reshape([b * d, h, w, c])
}

/// `[b·d, h, w, c]` → `[b, d, h, w, c]`
pub(crate) fn clips(x: Tensor<4>, d: usize) -> Tensor<5> {
    let [n, h, w, c] = x.dims();
    x.reshape([n / d, d, h, w, c])
}
