//! Flow-guided deformable alignment: neighbours' features brought to a frame (section 3.3).

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use vrt_kernels::conv::Activation;
use vrt_kernels::fused::{self, Answers};
use vrt_kernels::{WarpMode, ops};

use crate::flow::Flows;
use crate::layers::{Conv, ConvShape, clips, frames};
use crate::parameters::{Builder, Initial};
use crate::pass::Pass;

/// Kernel of the deformable convolution, along each axis.
const KERNEL: usize = 3;
const TAPS: usize = KERNEL * KERNEL;
const NEGATIVE_SLOPE: f32 = 0.1;

/// Sizes of an alignment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AlignShape {
    /// Channels of a frame's features.
    pub(crate) channels: usize,
    /// Neighbours on each side.
    pub(crate) reach: usize,
    /// Groups of channels that are sampled together.
    pub(crate) groups: usize,
    /// Pixels an offset may lie from its flow.
    pub(crate) max_offset: f64,
}

/// Deformable convolution over the neighbours' features, at places around their flows.
#[derive(Module, Debug)]
pub(crate) struct Align {
    weight: Param<Tensor<4>>,
    bias: Param<Tensor<1>>,
    offset_convs: Vec<Conv>,
    #[module(skip)]
    shape: AlignShape,
}

/// What one side's neighbours offer to a frame, nearest first, each `[n, h, w, ·]`.
pub(crate) struct Neighbours {
    /// Features.
    pub(crate) features: Vec<Tensor<4>>,
    /// The same, warped to the frame.
    pub(crate) warped: Vec<Tensor<4>>,
    /// Flow from the frame to the neighbour, along x then y.
    pub(crate) flows: Vec<Tensor<4>>,
}

impl Align {
    pub(crate) fn new(b: &mut Builder<'_>, shape: AlignShape) -> Self {
        let AlignShape { channels, reach, groups, .. } = shape;
        let weight = [channels, channels, KERNEL, KERNEL];
        let conv = |inputs, outputs| ConvShape { inputs, outputs, kernel: KERNEL };
        let inputs = channels * (1 + reach) + 2 * reach;
        Self {
            weight: b.tensor("weight", weight, Initial::FanIn(channels * TAPS)),
            bias: b.tensor("bias", [channels], Initial::Zero),
            offset_convs: vec![
                Conv::new(b, "conv_offset.0", conv(inputs, channels)),
                Conv::new(b, "conv_offset.2", conv(channels, channels)),
                Conv::new(b, "conv_offset.4", conv(channels, channels)),
                Conv::zero(b, "conv_offset.6", conv(channels, 3 * TAPS * groups)),
            ],
            shape,
        }
    }

    /// What the later and the earlier neighbours say about every frame of `x` `[b, d, h, w, c]`;
    /// zero for the frame that ends the clip on that side.
    pub(crate) fn forward(
        &self,
        x: &Tensor<5>,
        flows: &Flows,
        pass: &mut Pass<'_>,
    ) -> [Tensor<5>; 2] {
        let [b, d, h, w, c] = x.dims();
        let nothing = fused::zeros([b, 1, h, w, c], &x.device());
        let later = self.side(x, &flows.later, Side::Later, pass);
        let earlier = self.side(x, &flows.earlier, Side::Earlier, pass);
        debug_assert_eq!(later.dims()[1] + 1, d);
        [fused::join(vec![later, nothing.clone()], 1), fused::join(vec![nothing, earlier], 1)]
    }

    /// The same for one side, for the `d − 1` frames that have a neighbour there.
    fn side(
        &self,
        x: &Tensor<5>,
        flows: &[Tensor<5>],
        side: Side,
        pass: &mut Pass<'_>,
    ) -> Tensor<5> {
        let fields = x.dims()[1] - 1;
        let current = x.clone().narrow(1, usize::from(side == Side::Earlier), fields);
        let mut neighbours =
            Neighbours { features: Vec::new(), warped: Vec::new(), flows: Vec::new() };
        for k in 0..self.shape.reach {
            let (features, flow) = neighbour(x, flows.get(k), k, side);
            let (features, flow) = (frames(features), frames(flow));
            let warped = ops::warp(features.clone(), flow.clone(), WarpMode::BilinearZeros);
            neighbours.features.push(features);
            neighbours.warped.push(warped);
            neighbours.flows.push(flow);
        }
        clips(self.fuse(neighbours, frames(current), pass), fields)
    }

    /// What the offset convolutions make of all they see, but for the last one's work.
    fn answers(&self, seen: Vec<Tensor<4>>) -> Answers {
        let (last, others) = self.last_offset_conv();
        if let Some(nothing) = last.nothing(&seen[0]) {
            return Answers::Given(nothing);
        }
        let mut hidden = others.iter().fold(seen, |seen, conv| {
            vec![conv.forward_joined(seen, Activation::LeakyRelu(NEGATIVE_SLOPE))]
        });
        Answers::Of(hidden.remove(0), Box::new(last.parameters()))
    }

    /// The same with that done.
    fn answered(&self, answers: Answers) -> Tensor<4> {
        match answers {
            Answers::Given(answers) => answers,
            Answers::Of(hidden, _) => {
                let (last, _) = self.last_offset_conv();
                last.forward_joined(vec![hidden], Activation::None)
            }
        }
    }

    fn last_offset_conv(&self) -> (&Conv, &[Conv]) {
        self.offset_convs.split_last().unwrap_or_else(|| unreachable!("there are four"))
    }

    /// The deformable convolution itself.
    pub(crate) fn fuse(
        &self,
        neighbours: Neighbours,
        current: Tensor<4>,
        pass: &mut Pass<'_>,
    ) -> Tensor<4> {
        let AlignShape { groups, max_offset, .. } = self.shape;
        let [n, h, w, _] = current.dims();
        let Neighbours { features, mut warped, flows } = neighbours;
        warped.push(current);
        warped.extend(flows.iter().cloned());
        let answers = self.answers(warped);
        let offsets = 2 * TAPS * groups;
        let x = fused::join(features, 3);
        if fused::serves(&x.device()) {
            let device = x.device();
            let hear = pass.offsets().map(|listener| {
                move |answers: &[f32]| {
                    listener.hear(answers, ([n, h, w], offsets), (max_offset, &device));
                }
            });
            let guidance =
                fused::Guidance { answers, flows, max_offset: max_offset as f32, groups };
            let padding = [KERNEL / 2; 2];
            let conv = fused::Conv { weight: self.weight.val(), bias: self.bias.val(), padding };
            return fused::deform_conv(x, guidance, &conv, hear);
        }
        let seen = self.answered(answers);
        if let Some(listener) = pass.offsets() {
            listener.add(&seen, offsets, max_offset);
        }
        let max_offset = max_offset as f32;
        let guidance = ops::Guidance { answers: seen, flows, max_offset, groups };
        let padding = [KERNEL / 2; 2];
        ops::deform_conv_guided(x, guidance, self.weight.val(), self.bias.val(), padding)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Later,
    Earlier,
}

/// Features of the neighbour `k + 1` frames away and the flow to it, for the `d − 1` frames that
/// have a nearest neighbour; zero features and zero flow beyond the clip.
fn neighbour(
    x: &Tensor<5>,
    flow: Option<&Tensor<5>>,
    k: usize,
    side: Side,
) -> (Tensor<5>, Tensor<5>) {
    let [b, d, h, w, c] = x.dims();
    let (device, fields) = (x.device(), d - 1);
    let Some(flow) = flow else {
        let zeros = |channels| fused::zeros([b, fields, h, w, channels], &device);
        return (zeros(c), zeros(2));
    };
    let there = fields - k;
    let start = if side == Side::Later { 1 + k } else { 0 };
    let features = x.clone().narrow(1, start, there);
    let fill = |part: Tensor<5>, channels| {
        if k == 0 {
            return part;
        }
        let zeros = fused::zeros([b, k, h, w, channels], &device);
        let parts = match side {
            Side::Later => vec![part, zeros],
            Side::Earlier => vec![zeros, part],
        };
        fused::join(parts, 1)
    };
    (fill(features, c), fill(flow.clone(), 2))
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    const SHAPE: AlignShape = AlignShape { channels: 8, reach: 1, groups: 4, max_offset: 10.0 };

    fn tensor(dims: [usize; 4]) -> Tensor<4> {
        let values: Vec<f32> = (0..dims.iter().product()).map(|i| (i * 7 % 97) as f32).collect();
        Tensor::from_data(TensorData::new(values, dims), &Device::flex())
    }

    fn numbers(tensor: Tensor<4>) -> Vec<f32> {
        tensor.into_data().try_to_vec().expect("floats")
    }

    /// What the offset layers answer, and what convolving for it answers.
    fn answers(align: &Align) -> [Vec<f32>; 2] {
        let seen = [SHAPE.channels, SHAPE.channels, 2].map(|channels| tensor([2, 5, 6, channels]));
        let answers = || align.answered(align.answers(seen.to_vec()));
        [answers(), fused::without(answers)].map(numbers)
    }

    #[test]
    fn offset_layers_that_are_left_out_would_answer_zeros() {
        let device = Device::flex();
        let builder = &mut Builder::drawn(&device, 3);
        let mut align = Align::new(builder, SHAPE);
        let [found, composed] = answers(&align);
        assert_eq!(found, composed);
        let outputs = 3 * TAPS * SHAPE.groups;
        assert_eq!(found, vec![0.0; 2 * 5 * 6 * outputs]);
        let last = ConvShape { inputs: SHAPE.channels, outputs, kernel: KERNEL };
        align.offset_convs[3] = Conv::new(builder, "trained", last);
        let [found, composed] = answers(&align);
        assert!(found.iter().any(|value| *value != 0.0));
        for (found, composed) in found.iter().zip(&composed) {
            assert!((found - composed).abs() <= 1e-4 * composed.abs().max(1.0));
        }
    }
}
