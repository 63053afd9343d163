//! One scale of the network: resample, attend in pairs, attend in clips, align (section 3.1).

use burn::module::Module;
use burn::tensor::Tensor;

use crate::align::{Align, AlignShape};
use crate::block::{Group, GroupShape};
use crate::config::Resample;
use crate::flow::Flows;
use crate::layers::{Linear, Norm};
use crate::mlp::GatedMlp;
use crate::parameters::Builder;
use crate::pass::Pass;
use crate::resample::{depth_to_space, space_to_depth};

/// Sizes of a stage.
#[derive(Clone, Debug)]
pub(crate) struct StageShape {
    pub(crate) resample: Resample,
    /// Channels of the input.
    pub(crate) inputs: usize,
    /// Blocks in pairs of frames, with mutual attention.
    pub(crate) pairs: GroupShape,
    /// Blocks in clips.
    pub(crate) clips: GroupShape,
    /// `None` where frames are not aligned.
    pub(crate) align: Option<AlignShape>,
    /// Halvings of the input's size that it works at.
    pub(crate) halvings: usize,
}

/// Norm and linear layer around a change of size.
#[derive(Module, Debug)]
struct Reshape {
    norm: Norm,
    linear: Option<Linear>,
    #[module(skip)]
    kind: Resample,
}

impl Reshape {
    fn new(b: &mut Builder<'_>, kind: Resample, inputs: usize, outputs: usize) -> Self {
        let normed = match kind {
            Resample::Keep => inputs,
            Resample::Down => 4 * inputs,
            Resample::Up => inputs / 4,
        };
        let linear = kind != Resample::Keep;
        Self {
            norm: Norm::new(b, "reshape.1", normed),
            linear: linear.then(|| Linear::new(b, "reshape.2", normed, outputs)),
            kind,
        }
    }

    fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        let x = match self.kind {
            Resample::Keep => x,
            Resample::Down => space_to_depth(x),
            Resample::Up => depth_to_space(x),
        };
        match &self.linear {
            Some(linear) => linear.forward_normed(&self.norm, x),
            None => self.norm.forward(x),
        }
    }
}

/// Brings neighbours' features to each frame and fuses them with its own.
#[derive(Module, Debug)]
struct AlignAndFuse {
    pa_deform: Align,
    pa_fuse: GatedMlp,
}

/// One scale of the network.
#[derive(Module, Debug)]
pub(crate) struct Stage {
    reshape: Reshape,
    residual_group1: Group,
    linear1: Linear,
    residual_group2: Group,
    linear2: Linear,
    align: Option<AlignAndFuse>,
    #[module(skip)]
    halvings: usize,
}

impl Stage {
    /// A stage whose parameters' names start at the builder's place.
    pub(crate) fn new(b: &mut Builder<'_>, shape: &StageShape) -> Self {
        let channels = shape.clips.attention.channels;
        Self {
            reshape: Reshape::new(b, shape.resample, shape.inputs, channels),
            residual_group1: b.part("residual_group1", |b| Group::new(b, &shape.pairs)),
            linear1: Linear::new(b, "linear1", channels, channels),
            residual_group2: b.part("residual_group2", |b| Group::new(b, &shape.clips)),
            linear2: Linear::new(b, "linear2", channels, channels),
            align: shape.align.map(|shape| AlignAndFuse {
                pa_deform: b.part("pa_deform", |b| Align::new(b, shape)),
                pa_fuse: GatedMlp::new(b, "pa_fuse", [3 * channels, 3 * channels, channels]),
            }),
            halvings: shape.halvings,
        }
    }

    /// Whether training keeps what attention finds for the backward pass.
    pub(crate) fn keep_attention(&mut self, keep: bool) {
        self.residual_group1.keep_attention(keep);
        self.residual_group2.keep_attention(keep);
    }

    /// Halvings of the input's size that it works at.
    pub(crate) fn halvings(&self) -> usize {
        self.halvings
    }

    /// # Shapes
    ///
    /// - `x`: `[b, d, h, w, inputs]`
    /// - `flows`: in pixels of this stage's scale
    /// - output: `[b, d, h', w', channels]`
    pub(crate) fn forward(
        &self,
        x: Tensor<5>,
        flows: Option<&Flows>,
        pass: &mut Pass<'_>,
    ) -> Tensor<5> {
        let x = self.reshape.forward(x);
        let x = self.linear1.forward_onto(self.residual_group1.forward(x.clone(), pass), x);
        let x = self.linear2.forward_onto(self.residual_group2.forward(x.clone(), pass), x);
        match (&self.align, flows) {
            (Some(align), Some(flows)) => {
                if let Some(offsets) = pass.offsets() {
                    offsets.begin_stage(self.halvings);
                }
                let [later, earlier] = align.pa_deform.forward(&x, flows, pass);
                align.pa_fuse.forward_joined(vec![x, later, earlier])
            }
            _ => x,
        }
    }
}
