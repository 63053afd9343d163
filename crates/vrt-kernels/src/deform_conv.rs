//! Modulated deformable convolution (arXiv:1811.11168) of stride 1.
//!
//! For an output pixel `(y, x)`, a tap `t` of the kernel at `(i, j)` and a group `g` of input
//! channels, `(dy, dx)` is `offset[…, g, t]` and `m` is `mask[…, g, t]`. The tap sees
//! `m · x(y + i − py + dy, x + j − px + dx)`, bilinear between pixels, where each of the four
//! neighbours contributes zero where it lies outside the map. What the taps see is multiplied by
//! the weight and summed, plus the bias.
//!
//! There are two partitions of the input channels: offset groups share their samples, weight
//! groups make a grouped convolution. One may cut the other.

use crate::conv::{ConvGeometry, ConvWeights, out_size};
use crate::element::Pair;
use crate::level::Level;
use crate::parallel::zeros;
use crate::precision::Precision;
use crate::weights::{WeightSizes, bias_gradient};

mod backward;
mod columns;
mod forward;
mod guided;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

pub use guided::Guide;

/// The sizes of a deformable convolution of stride 1.
///
/// # Shapes
///
/// - `x`: `[batch, height, width, in_channels]`
/// - `offset`: `[batch, out_height, out_width, offset_groups, taps, 2]`, dy then dx, in pixels
/// - `mask`: `[batch, out_height, out_width, offset_groups, taps]`
/// - `weight`: `[out_channels, in_channels / weight_groups, kernel[0], kernel[1]]`
/// - `bias`: `[out_channels]`
/// - output: `[batch, out_height, out_width, out_channels]`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeformGeometry {
    /// Frames.
    pub batch: usize,
    /// Rows of a frame of the input.
    pub height: usize,
    /// Columns of a frame of the input.
    pub width: usize,
    /// Values of an input pixel; a multiple of both numbers of groups.
    pub in_channels: usize,
    /// Values of an output pixel; a multiple of `weight_groups`.
    pub out_channels: usize,
    /// Groups of the convolution: outputs of a group see its inputs only.
    pub weight_groups: usize,
    /// Groups of input channels that share their samples.
    pub offset_groups: usize,
    /// Rows and columns of the kernel.
    pub kernel: [usize; 2],
    /// Rows of zeros above and below, columns of zeros left and right.
    pub padding: [usize; 2],
}

/// The sizes of a deformable convolution at places around flows, on tensors; see [`Guide`], whose
/// flows are one tensor here: `[flows, batch, height, width, 2]`.
#[cfg(feature = "burn")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GuidedGeometry {
    /// Of the convolution.
    pub deform: DeformGeometry,
    /// Neighbours.
    pub flows: usize,
    /// Pixels that an offset may lie from its flow.
    pub max_offset: f32,
}

impl DeformGeometry {
    /// Taps of the kernel.
    pub fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

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

    /// Values of the offset field: (dy, dx) per tap, per group, per output pixel.
    ///
    /// # Panics
    ///
    /// Panics if the kernel is larger than the padded frame.
    pub fn offset_len(&self) -> usize {
        2 * self.mask_len()
    }

    /// Values of the mask: one per tap, per group, per output pixel.
    ///
    /// # Panics
    ///
    /// Panics if the kernel is larger than the padded frame.
    pub fn mask_len(&self) -> usize {
        self.pixels() * self.samples()
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
        self.pixels() * self.out_channels
    }

    /// Places that one output pixel reads.
    fn samples(&self) -> usize {
        self.offset_groups * self.taps()
    }

    /// Values that one output pixel sees.
    fn column_len(&self) -> usize {
        self.taps() * self.in_channels
    }

    fn pixels(&self) -> usize {
        self.batch * self.out_frame_pixels()
    }

    fn out_frame_pixels(&self) -> usize {
        self.out_height() * self.out_width()
    }

    fn frame_len(&self) -> usize {
        self.height * self.width * self.in_channels
    }

    fn weight_sizes(&self) -> WeightSizes {
        WeightSizes {
            groups: self.weight_groups,
            taps: self.taps(),
            inputs: self.in_channels / self.weight_groups,
            outputs: self.out_channels / self.weight_groups,
        }
    }

    fn check(&self, inputs: &DeformInputs<'_>, out: usize) {
        self.check_common(inputs.x, inputs.weight, out);
        let (offset, mask) = (self.offset_len(), self.mask_len());
        assert_eq!(inputs.offset.len(), offset, "deform_conv: the offset does not fit {self:?}");
        assert_eq!(inputs.mask.len(), mask, "deform_conv: the mask does not fit {self:?}");
    }

    /// # Panics
    ///
    /// Panics if the channels do not divide into the groups.
    pub(crate) fn check_groups(&self) {
        let groups = [self.weight_groups, self.offset_groups];
        assert!(
            groups.iter().all(|groups| *groups > 0 && self.in_channels.is_multiple_of(*groups))
                && self.out_channels.is_multiple_of(self.weight_groups),
            "deform_conv: the channels do not divide into the groups: {self:?}"
        );
    }

    fn check_common(&self, x: &[f32], weight: &[f32], out: usize) {
        self.check_groups();
        assert_eq!(x.len(), self.x_len(), "deform_conv: the input does not fit {self:?}");
        let len = self.weight_len();
        assert_eq!(weight.len(), len, "deform_conv: the weight does not fit {self:?}");
        assert_eq!(out, self.out_len(), "deform_conv: the output does not fit {self:?}");
    }

    fn check_guide(&self, guide: &Guide<'_>) {
        let answers = self.pixels() * Guide::answers_len(self.samples());
        assert_eq!(guide.answers.len(), answers, "deform_conv: the answers do not fit {self:?}");
        self.check_flows(guide.flows);
    }

    fn check_flows(&self, flows: &[&[f32]]) {
        let count = flows.len();
        assert!(
            (1..=guided::MOST_FLOWS).contains(&count) && self.samples().is_multiple_of(count),
            "deform_conv: {count} flows do not divide {} samples",
            self.samples()
        );
        let len = 2 * self.pixels();
        assert!(
            flows.iter().all(|flow| flow.len() == len),
            "deform_conv: a flow does not fit {self:?}"
        );
    }
}

/// Where the taps of a deformable convolution read.
#[derive(Clone, Copy, Debug)]
enum Places<'a> {
    /// Offsets and masks.
    Given { offset: &'a [f32], mask: &'a [f32] },
    /// What they are made of.
    Guided(Guide<'a>),
}

/// What a deformable convolution reads, beside its bias; see [`DeformGeometry`] for the shapes.
#[derive(Clone, Copy, Debug)]
pub struct DeformInputs<'a> {
    /// The map that is sampled.
    pub x: &'a [f32],
    /// How far each tap is moved, (dy, dx) in pixels. One that is not a number reads zero.
    pub offset: &'a [f32],
    /// The factor on what each tap sees.
    pub mask: &'a [f32],
    /// The weight in its published layout.
    pub weight: &'a [f32],
}

/// Writes the deformable convolution of `inputs`, plus `bias`, to `out`; see the [module](self)
/// for the formula.
///
/// # Panics
///
/// Panics if a slice does not have the length that `geometry` says, the channels do not divide
/// into the groups, or the kernel is larger than the padded frame.
pub fn deform_conv(
    geometry: &DeformGeometry,
    inputs: DeformInputs<'_>,
    bias: &[f32],
    out: &mut [f32],
) {
    geometry.check(&inputs, out.len());
    assert_eq!(
        bias.len(),
        geometry.out_channels,
        "deform_conv: the bias does not fit {geometry:?}"
    );
    let places = Places::Given { offset: inputs.offset, mask: inputs.mask };
    let weights = [inputs.weight, bias];
    forward::convolve::<f32>(Level::current(), geometry, (inputs.x, places), weights, out);
}

/// The same at places around flows: `offset = max_offset · tanh(answer) + flow`,
/// `mask = sigmoid(answer)`, a few pixels at a time; the product in [`Precision::current`].
///
/// # Panics
///
/// As [`deform_conv`], and if the guide does not fit the geometry.
pub fn deform_conv_guided(
    geometry: &DeformGeometry,
    x: &[f32],
    guide: Guide<'_>,
    [weight, bias]: [&[f32]; 2],
    out: &mut [f32],
) {
    geometry.check_common(x, weight, out.len());
    geometry.check_guide(&guide);
    let channels = geometry.out_channels;
    assert_eq!(bias.len(), channels, "deform_conv: the bias does not fit {geometry:?}");
    let (level, places) = (Level::current(), (x, Places::Guided(guide)));
    match Precision::current() {
        Precision::F32 | Precision::F16 => {
            forward::convolve::<f32>(level, geometry, places, [weight, bias], out)
        }
        Precision::Bf16 => forward::convolve::<Pair>(level, geometry, places, [weight, bias], out),
    }
}

/// What guides a deformable convolution before the last offset convolution has answered.
#[derive(Clone, Copy, Debug)]
pub struct Hints<'a> {
    /// What that convolution sees.
    pub seen: &'a [f32],
    /// Its sizes: its output is [`Guide::answers`].
    pub convolution: &'a ConvGeometry,
    /// Its weight and bias.
    pub weights: ConvWeights<'a>,
    /// As [`Guide::flows`].
    pub flows: &'a [&'a [f32]],
    /// As [`Guide::max_offset`].
    pub max_offset: f32,
}

/// The same as [`deform_conv_guided`] with the answers, the largest map of a network, made a few rows
/// at a time where they are used.
///
/// # Panics
///
/// As [`deform_conv_guided`] and [`conv2d`](crate::conv::conv2d).
pub fn deform_conv_answering(
    geometry: &DeformGeometry,
    x: &[f32],
    hints: &Hints<'_>,
    layer: [&[f32]; 2],
    out: &mut [f32],
) {
    geometry.check_common(x, layer[0], out.len());
    geometry.check_flows(hints.flows);
    let answers = hints.convolution;
    assert_eq!(
        [answers.batch, answers.out_height(), answers.out_width(), answers.out_channels],
        [
            geometry.batch,
            geometry.out_height(),
            geometry.out_width(),
            Guide::answers_len(geometry.samples())
        ],
        "deform_conv: the answers do not fit {geometry:?}"
    );
    let channels = geometry.out_channels;
    assert_eq!(layer[1].len(), channels, "deform_conv: the bias does not fit {geometry:?}");
    let level = Level::current();
    match Precision::current() {
        Precision::F32 | Precision::F16 => {
            forward::convolve_answering::<f32>(level, geometry, x, hints, layer, out);
        }
        Precision::Bf16 => {
            forward::convolve_answering::<Pair>(level, geometry, x, hints, layer, out);
        }
    }
}

/// The gradients that a backward pass of [`deform_conv`] is to write, each of the length of what
/// it belongs to; all values are overwritten.
#[derive(Debug, Default)]
pub struct DeformGradients<'a> {
    /// Of the input.
    pub x: Option<&'a mut [f32]>,
    /// Of the offset.
    pub offset: Option<&'a mut [f32]>,
    /// Of the mask.
    pub mask: Option<&'a mut [f32]>,
    /// Of the weight, in its published layout.
    pub weight: Option<&'a mut [f32]>,
    /// Of the bias.
    pub bias: Option<&'a mut [f32]>,
}

impl DeformGradients<'_> {
    fn check(&self, geometry: &DeformGeometry) {
        let wanted = [
            (&self.x, geometry.x_len(), "input"),
            (&self.offset, geometry.offset_len(), "offset"),
            (&self.mask, geometry.mask_len(), "mask"),
            (&self.weight, geometry.weight_len(), "weight"),
            (&self.bias, geometry.out_channels, "bias"),
        ];
        for (slice, len, name) in wanted {
            let actual = slice.as_ref().map_or(len, |slice| slice.len());
            assert_eq!(actual, len, "deform_conv: the {name} and its gradient differ in size");
        }
    }
}

/// The gradients of [`deform_conv`] from `grad_out`, that of the output.
///
/// The result does not depend on the number of threads.
///
/// # Panics
///
/// As [`deform_conv`].
pub fn deform_conv_backward(
    geometry: &DeformGeometry,
    inputs: DeformInputs<'_>,
    grad_out: &[f32],
    wanted: DeformGradients<'_>,
) {
    backward_at(Level::current(), geometry, inputs, grad_out, wanted);
}

fn backward_at(
    level: Level,
    geometry: &DeformGeometry,
    inputs: DeformInputs<'_>,
    grad_out: &[f32],
    wanted: DeformGradients<'_>,
) {
    geometry.check(&inputs, grad_out.len());
    wanted.check(geometry);
    let DeformGradients { x, offset, mask, weight, bias } = wanted;
    if x.is_some() || offset.is_some() || mask.is_some() {
        let samples = backward::SampleGradients { x, offset, mask };
        backward::grad_samples(level, geometry, inputs, grad_out, samples);
    }
    if let Some(grad) = weight {
        backward::grad_weight(level, geometry, inputs, grad_out, grad);
    }
    if let Some(grad) = bias {
        bias_gradient(grad_out, grad);
    }
}

/// The gradients of [`deform_conv_guided`].
#[derive(Clone, Debug)]
pub struct GuidedGradients {
    /// Of the input.
    pub x: Vec<f32>,
    /// Of what decides where is sampled, if that was asked for.
    pub guide: Option<GuideGradients>,
    /// Of the weight, in its published layout.
    pub weight: Vec<f32>,
    /// Of the bias.
    pub bias: Vec<f32>,
}

/// The gradients of a [`Guide`].
#[derive(Clone, Debug)]
pub struct GuideGradients {
    /// Of the answers.
    pub answers: Vec<f32>,
    /// Of each flow.
    pub flows: Vec<Vec<f32>>,
}

/// Pixels whose places and their gradients are held at a time.
const HELD_PIXELS: usize = 1 << 12;

/// The gradients of [`deform_conv_guided`] from `grad_out`, that of the output, and with `of_guide`
/// those of the guide too. Places and masks are made again; products are those of `f32`.
///
/// The result does not depend on the number of threads.
///
/// # Panics
///
/// As [`deform_conv_guided`].
pub fn deform_conv_guided_backward(
    geometry: &DeformGeometry,
    x: &[f32],
    guide: Guide<'_>,
    weight: &[f32],
    grad_out: &[f32],
    of_guide: bool,
) -> GuidedGradients {
    geometry.check_common(x, weight, grad_out.len());
    geometry.check_guide(&guide);
    let level = Level::current();
    let mut found = GuidedGradients {
        x: zeros(x.len()),
        guide: of_guide.then(|| GuideGradients {
            answers: zeros(guide.answers.len()),
            flows: guide.flows.iter().map(|flow| vec![0.0; flow.len()]).collect(),
        }),
        weight: vec![0.0; weight.len()],
        bias: vec![0.0; geometry.out_channels],
    };
    // Places, masks and their gradients are large beside all else: some frames at a time.
    let frames = (HELD_PIXELS / geometry.out_frame_pixels().max(1)).max(1);
    for first in (0..geometry.batch).step_by(frames) {
        let batch = frames.min(geometry.batch - first);
        let part = DeformGeometry { batch, ..*geometry };
        let pixels =
            first * geometry.out_frame_pixels()..(first + batch) * geometry.out_frame_pixels();
        let strip = guided::Strip { level, geometry: &part, guide, pixels: pixels.clone(), weight };
        let map = first * geometry.frame_len()..(first + batch) * geometry.frame_len();
        let channels = geometry.out_channels;
        let grad_out = &grad_out[pixels.start * channels..pixels.end * channels];
        strip.gradients(&x[map.clone()], grad_out, map, &mut found);
    }
    found
}
