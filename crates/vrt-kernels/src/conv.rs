//! Convolution of stride 1.
//!
//! `out[b, y, x, o] = bias[o] + Σ_{i, j, c} weight[o, c, i, j] · x[b, y + i − py, x + j − px, c]`,
//! where `x` is zero outside the map.
//!
//! A band of rows is copied with its zero border, channels of several inputs joined on the way. In
//! it the values that a row of the kernel sees from one pixel on follow each other, and those of
//! the next pixel start `in_channels` later: the band is the left matrix of a product as it lies.
//!
//! Where channels and places are many, kernels of three by three taps and more take a fraction of these
//! products instead (`conv/winograd.rs`).

use crate::element::{Element, Pair};
use crate::level::{Level, at_every_level};
use crate::parallel::zeros;
use crate::precision::Precision;
use crate::weights::{WeightSizes, bias_gradient};

use enlarge::places;

mod backward;
mod enlarge;
mod forward;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
mod winograd;

/// The sizes of a convolution of stride 1.
///
/// # Shapes
///
/// - `x`: `[batch, height, width, in_channels]`
/// - `weight`: `[out_channels, in_channels, kernel[0], kernel[1]]`
/// - `bias`: `[out_channels]`
/// - output: `[batch, out_height, out_width, out_channels]`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvGeometry {
    /// Frames.
    pub batch: usize,
    /// Rows of a frame of the input.
    pub height: usize,
    /// Columns of a frame of the input.
    pub width: usize,
    /// Values of an input pixel.
    pub in_channels: usize,
    /// Values of an output pixel.
    pub out_channels: usize,
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Rows of zeros above and below, columns of zeros left and right; each below `kernel`.
    pub padding: [usize; 2],
}

impl ConvGeometry {
    /// Rows of a frame of the output: `height + 2 · padding − kernel + 1`.
    ///
    /// # Panics
    ///
    /// Panics if the kernel is larger than the padded frame.
    pub fn out_height(&self) -> usize {
        out_size(self.height, self.kernel[0], self.padding[0])
    }

    /// Columns of a frame of the output: `width + 2 · padding − kernel + 1`.
    ///
    /// # Panics
    ///
    /// Panics if the kernel is larger than the padded frame.
    pub fn out_width(&self) -> usize {
        out_size(self.width, self.kernel[1], self.padding[1])
    }

    /// Values of the input.
    pub fn x_len(&self) -> usize {
        self.batch * self.frame_len()
    }

    /// Values of the weight.
    pub fn weight_len(&self) -> usize {
        self.weight_sizes().len()
    }

    /// Values of the output.
    ///
    /// # Panics
    ///
    /// Panics if the kernel is larger than the padded frame.
    pub fn out_len(&self) -> usize {
        self.batch * self.out_frame_len()
    }

    fn frame_len(&self) -> usize {
        self.height * self.width * self.in_channels
    }

    fn out_row_len(&self) -> usize {
        self.out_width() * self.out_channels
    }

    fn out_frame_len(&self) -> usize {
        self.out_height() * self.out_row_len()
    }

    fn weight_sizes(&self) -> WeightSizes {
        WeightSizes {
            groups: 1,
            taps: self.kernel[0] * self.kernel[1],
            inputs: self.in_channels,
            outputs: self.out_channels,
        }
    }

    fn check(&self, x: usize, weight: usize, out: usize) {
        assert!(
            self.padding[0] < self.kernel[0] && self.padding[1] < self.kernel[1],
            "conv2d: the padding must be smaller than the kernel: {self:?}"
        );
        assert_eq!(x, self.x_len(), "conv2d: the input does not have the sizes {self:?}");
        assert_eq!(weight, self.weight_len(), "conv2d: the weight does not fit {self:?}");
        assert_eq!(out, self.out_len(), "conv2d: the output does not have the sizes {self:?}");
    }

    fn check_bias(&self, bias: Option<&[f32]>) {
        let len = bias.map_or(self.out_channels, <[f32]>::len);
        assert_eq!(len, self.out_channels, "conv2d: the bias does not fit {self:?}");
    }
}

/// Places of a kernel on a padded line.
pub(crate) fn out_size(size: usize, kernel: usize, padding: usize) -> usize {
    assert!(
        (1..=size + 2 * padding).contains(&kernel),
        "a kernel of {kernel} does not fit a size of {size} with a padding of {padding}"
    );
    size + 2 * padding + 1 - kernel
}

/// What is done to each value that a convolution makes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Activation {
    /// Nothing.
    #[default]
    None,
    /// Values below zero are multiplied by this slope, at most 1; 0 is ReLU.
    LeakyRelu(f32),
}

impl Activation {
    /// The same, and places stay pixels.
    fn alone(self) -> Enlarging {
        match self {
            Self::None => Enlarging::NOTHING,
            Self::LeakyRelu(slope) => Enlarging { slope, ..Enlarging::NOTHING },
        }
    }
}

impl Enlarging {
    /// Values and places as they are.
    const NOTHING: Self = Self { factor: 1, slope: 1.0 };

    /// The activation.
    fn activation(self) -> Activation {
        if self.slope == 1.0 { Activation::None } else { Activation::LeakyRelu(self.slope) }
    }

    fn activate(self, level: Level, values: &mut [f32]) {
        if self.slope != 1.0 {
            leak(level, values, self.slope);
        }
    }
}

at_every_level! {
    fn leak(values: &mut [f32], slope: f32) = leak_body;
}

#[inline(always)]
fn leak_body<const FUSED: bool>(values: &mut [f32], slope: f32) {
    for value in values {
        *value = if *value < 0.0 { *value * slope } else { *value };
    }
}

/// What a convolution that enlarges does to its outputs: a leaky ReLU, then a pixel shuffle, in which
/// output `c·factor² + i·factor + j` is channel `c` of row `i` and column `j` of its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Enlarging {
    /// Rows, and columns, that a place becomes.
    pub factor: usize,
    /// Factor on values below zero; 1 leaves them.
    pub slope: f32,
}

/// Some of the channels of an input, `[batch, height, width, channels]`.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Its values.
    pub values: &'a [f32],
    /// Values of a pixel.
    pub channels: usize,
}

/// A weight `[out_channels, in_channels, kernel[0], kernel[1]]` and a bias `[out_channels]`.
#[derive(Clone, Copy, Debug)]
pub struct ConvWeights<'a> {
    /// The weight in its published layout.
    pub weight: &'a [f32],
    /// The bias; `None` is zero.
    pub bias: Option<&'a [f32]>,
}

/// Convolves `x` into `out`; see the [module](self) for the formula and [`ConvGeometry`] for the
/// shapes.
///
/// # Panics
///
/// Panics if a slice does not have the length that `geometry` says, the kernel is larger than the
/// padded frame, or the padding not smaller than the kernel.
pub fn conv2d(geometry: &ConvGeometry, x: &[f32], weights: ConvWeights<'_>, out: &mut [f32]) {
    let source = Source { values: x, channels: geometry.in_channels };
    let level = Level::current();
    convolve_at::<f32>(level, geometry, &[source], weights, Enlarging::NOTHING, out);
}

/// Convolves an input whose channels are those of all `sources`, one behind the other, and applies
/// `activation`, in [`Precision::current`]; inputs with an odd number of channels in `f32`. Those that
/// Winograd's filtering makes faster are computed in `f32`, except where pairs are AMX's.
///
/// # Panics
///
/// As [`conv2d`], and if the channels of the sources are not those of the geometry.
pub fn conv2d_joined(
    geometry: &ConvGeometry,
    sources: &[Source<'_>],
    weights: ConvWeights<'_>,
    activation: Activation,
    out: &mut [f32],
) {
    convolve_now(geometry, sources, weights, activation.alone(), out);
}

/// Convolves `x`, and enlarges what that makes to `[batch, factor · out_height, factor · out_width,
/// out_channels / factor²]`, in [`Precision::current`] as [`conv2d_joined`].
///
/// # Panics
///
/// As [`conv2d`], and if `factor²` does not divide the outputs.
pub fn conv2d_enlarging(
    geometry: &ConvGeometry,
    x: &[f32],
    weights: ConvWeights<'_>,
    enlarging: Enlarging,
    out: &mut [f32],
) {
    let (outputs, parts) = (geometry.out_channels, enlarging.factor.pow(2));
    assert!(
        parts > 0 && outputs.is_multiple_of(parts),
        "conv2d: {outputs} outputs are not those of {parts} pixels"
    );
    let source = Source { values: x, channels: geometry.in_channels };
    convolve_now(geometry, &[source], weights, enlarging, out);
}

fn convolve_now(
    geometry: &ConvGeometry,
    sources: &[Source<'_>],
    weights: ConvWeights<'_>,
    then: Enlarging,
    out: &mut [f32],
) {
    let level = Level::current();
    if in_pairs(geometry) {
        convolve_at::<Pair>(level, geometry, sources, weights, then, out);
    } else {
        convolve_at::<f32>(level, geometry, sources, weights, then, out);
    }
}

/// Whether products are of pairs, now.
fn in_pairs(geometry: &ConvGeometry) -> bool {
    Precision::current() == Precision::Bf16 && geometry.in_channels.is_multiple_of(Pair::TERMS)
}

/// A rectangle of one frame's output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Strip {
    pub(crate) frame: usize,
    /// First row.
    pub(crate) row: usize,
    /// First column.
    pub(crate) column: usize,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

/// Convolves an input in [`Precision::current`] as [`conv2d_joined`], and gives each rectangle of the
/// output, `[rows, columns, out_channels]`, to `work` while it is in a cache, in parallel. Every place of
/// the output is in one rectangle, and given once.
///
/// # Panics
///
/// As [`conv2d`].
pub(crate) fn conv2d_in_strips(
    geometry: &ConvGeometry,
    x: &[f32],
    weights: ConvWeights<'_>,
    work: impl Fn(Strip, &[f32]) + Sync,
) {
    let level = Level::current();
    if in_pairs(geometry) {
        in_strips_at::<Pair>(level, geometry, x, weights, work);
    } else {
        in_strips_at::<f32>(level, geometry, x, weights, work);
    }
}

fn in_strips_at<E: Element>(
    level: Level,
    geometry: &ConvGeometry,
    x: &[f32],
    weights: ConvWeights<'_>,
    work: impl Fn(Strip, &[f32]) + Sync,
) {
    geometry.check(x.len(), weights.weight.len(), geometry.out_len());
    geometry.check_bias(weights.bias);
    let source = Source { values: x, channels: geometry.in_channels };
    if winograd::pays::<E>(level, geometry) {
        let filters = (winograd::Filters { weight: weights.weight, turned: false }, weights.bias);
        winograd::in_strips(level, geometry, source, filters, work);
        return;
    }
    let sizes = geometry.weight_sizes();
    let packed = sizes.packed_published::<E>(level, weights.weight, weights.bias);
    forward::in_bands(level, geometry, source, &packed, work);
}

fn convolve_at<E: Element>(
    level: Level,
    geometry: &ConvGeometry,
    sources: &[Source<'_>],
    weights: ConvWeights<'_>,
    then: Enlarging,
    out: &mut [f32],
) {
    let channels: usize = sources.iter().map(|source| source.channels).sum();
    assert_eq!(channels, geometry.in_channels, "conv2d: the sources do not fit {geometry:?}");
    for Source { values, channels } in sources {
        let len = geometry.batch * geometry.height * geometry.width * channels;
        assert_eq!(values.len(), len, "conv2d: a source does not have the sizes {geometry:?}");
    }
    geometry.check(geometry.x_len(), weights.weight.len(), out.len());
    geometry.check_bias(weights.bias);
    if winograd::pays::<E>(level, geometry) {
        let filters = winograd::Filters { weight: weights.weight, turned: false };
        winograd::convolve(level, geometry, sources, (filters, weights.bias), then, out);
        return;
    }
    let sizes = geometry.weight_sizes();
    let packed = sizes.packed_published::<E>(level, weights.weight, weights.bias);
    forward::convolve(level, geometry, sources, &packed, then, out);
}

/// The gradients that a backward pass of [`conv2d`] is to write, each of the length of what it
/// belongs to; all values are overwritten.
#[derive(Debug, Default)]
pub struct ConvGradients<'a> {
    /// Of the input.
    pub x: Option<&'a mut [f32]>,
    /// Of the weight, in its layout.
    pub weight: Option<&'a mut [f32]>,
    /// Of the bias.
    pub bias: Option<&'a mut [f32]>,
}

/// The gradients of [`conv2d`] from `grad_out`, that of the output.
///
/// The result does not depend on the number of threads.
///
/// # Panics
///
/// As [`conv2d`].
pub fn conv2d_backward(
    geometry: &ConvGeometry,
    x: &[f32],
    weight: &[f32],
    grad_out: &[f32],
    wanted: ConvGradients<'_>,
) {
    geometry.check(x.len(), weight.len(), grad_out.len());
    let level = Level::current();
    if let Some(grad_x) = wanted.x {
        assert_eq!(grad_x.len(), x.len(), "conv2d: the input and its gradient differ in size");
        backward::grad_x::<f32>(level, geometry, weight, grad_out, grad_x);
    }
    if let Some(grad) = wanted.weight {
        assert_eq!(grad.len(), weight.len(), "conv2d: the weight and its gradient differ in size");
        let source = Source { values: x, channels: geometry.in_channels };
        backward::grad_weight::<f32>(level, geometry, &[source], grad_out, grad);
    }
    if let Some(grad) = wanted.bias {
        let channels = geometry.out_channels;
        assert_eq!(grad.len(), channels, "conv2d: the gradient of the bias does not fit");
        bias_gradient(grad_out, grad);
    }
}

/// What the gradients of [`conv2d_joined`] are computed from.
#[derive(Clone, Copy, Debug)]
pub struct ConvValues<'a> {
    /// The inputs.
    pub sources: &'a [Source<'a>],
    /// The weight.
    pub weight: &'a [f32],
    /// The output, behind the activation.
    pub out: &'a [f32],
    /// The gradient of the output.
    pub grad: &'a [f32],
}

/// The gradients of [`conv2d_joined`].
#[derive(Clone, Debug)]
pub struct JoinedGradients {
    /// Of each source; empty where none is wanted.
    pub sources: Vec<Vec<f32>>,
    /// Of the weight; empty where it is not wanted.
    pub weight: Vec<f32>,
    /// Of the bias; empty where it is not wanted.
    pub bias: Vec<f32>,
}

/// The gradients of [`conv2d_joined`], in [`Precision::current`]: of the sources, and of weight and
/// bias, where they are wanted.
///
/// The result does not depend on the number of threads.
///
/// # Panics
///
/// As [`conv2d_joined`].
pub fn conv2d_joined_backward(
    geometry: &ConvGeometry,
    values: ConvValues<'_>,
    activation: Activation,
    [of_sources, of_weights]: [bool; 2],
) -> JoinedGradients {
    let ConvValues { sources, weight, out, grad } = values;
    geometry.check(geometry.x_len(), weight.len(), grad.len());
    assert_eq!(out.len(), grad.len(), "conv2d: the output and its gradient differ in size");
    let level = Level::current();
    let before = backward::before(activation, out, grad);
    let (mut of_weight, mut bias) = (Vec::new(), Vec::new());
    let rounded = Precision::current() == Precision::Bf16;
    if of_weights {
        bias.resize(geometry.out_channels, 0.0);
        of_weight.resize(weight.len(), 0.0);
        bias_gradient(&before, &mut bias);
        match rounded {
            true => {
                backward::grad_weight::<Pair>(level, geometry, sources, &before, &mut of_weight)
            }
            false => {
                backward::grad_weight::<f32>(level, geometry, sources, &before, &mut of_weight)
            }
        }
    }
    let mut found = Vec::new();
    if of_sources {
        let mut joined = zeros(geometry.x_len());
        if rounded && geometry.out_channels.is_multiple_of(Pair::TERMS) {
            backward::grad_x::<Pair>(level, geometry, weight, &before, &mut joined);
        } else {
            backward::grad_x::<f32>(level, geometry, weight, &before, &mut joined);
        }
        found = match sources {
            [_] => vec![joined],
            _ => backward::cut(sources, &joined, geometry.batch * geometry.height * geometry.width),
        };
    }
    JoinedGradients { sources: found, weight: of_weight, bias }
}

/// The gradients of [`conv2d_enlarging`], of whose output and its gradient `values` are; see
/// [`conv2d_joined_backward`].
///
/// # Panics
///
/// As [`conv2d_enlarging`].
pub fn conv2d_enlarging_backward(
    geometry: &ConvGeometry,
    values: ConvValues<'_>,
    enlarging: Enlarging,
    wanted: [bool; 2],
) -> JoinedGradients {
    let [out, grad] =
        [values.out, values.grad].map(|pixels| places(geometry, enlarging.factor, pixels));
    let values = ConvValues { out: &out, grad: &grad, ..values };
    conv2d_joined_backward(geometry, values, enlarging.activation(), wanted)
}
