//! Every tensor of a published checkpoint: name, shape and what it is for, in published order.

mod buffers;
#[cfg(test)]
pub(crate) mod tests;

pub use buffers::{Buffer, BufferValues};

use std::fmt;

use crate::config::{RGB_CHANNELS, Resample, SCALED_STAGES, StageConfig, VrtConfig};

/// Channels before and in the upsampler, and behind the fusion of frames.
pub(crate) const HEAD_WIDTH: usize = 64;
/// Levels of SpyNet's pyramid.
pub(crate) const FLOW_LEVELS: usize = 6;
/// Channels between the convolutions of a level of SpyNet.
pub(crate) const FLOW_WIDTHS: [usize; 6] = [8, 32, 64, 32, 16, 2];
/// Rows and columns of SpyNet's kernels.
pub(crate) const FLOW_KERNEL: usize = 7;
/// Rows and columns of all other kernels but the last of interpolation.
pub(crate) const KERNEL: usize = 3;
/// Rows and columns of the last kernel of interpolation.
pub(crate) const LAST_KERNEL: usize = 7;
/// Row, column and weight of a deformable tap.
pub(crate) const PER_TAP: usize = 3;
/// Entries of the published upsampler's list per factor.
const UPSAMPLE_ENTRIES: usize = 5;

/// Where in the network a tensor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Optical flow.
    Flow,
    /// The first convolution.
    First,
    /// A stage, 1 to 8.
    Stage(usize),
    /// From the last norm to the output.
    Output,
}

/// What kind of work a tensor takes part in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    /// Optical flow.
    Flow,
    /// Queries, keys and values of attention.
    Qkv,
    /// Attention in windows of several frames: products and position tables.
    SelfAttention,
    /// Attention between two frames.
    MutualAttention,
    /// Projection behind attention.
    Projection,
    /// Gated MLP of a block.
    Mlp,
    /// Convolutions that find the offsets of alignment.
    Offsets,
    /// The deformable convolution.
    Deform,
    /// Gated MLP that fuses aligned features.
    Fuse,
    /// Convolutions that enlarge the output.
    Upsample,
    /// First and last convolutions, norms, and linear layers between blocks.
    Other,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flow => f.write_str("optical flow (SpyNet)"),
            Self::First => f.write_str("first convolution"),
            Self::Stage(stage) => write!(f, "stage {stage}"),
            Self::Output => f.write_str("output"),
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flow => "optical flow (SpyNet)",
            Self::Qkv => "blocks: queries, keys, values",
            Self::SelfAttention => "blocks: self attention",
            Self::MutualAttention => "blocks: mutual attention",
            Self::Projection => "blocks: projection",
            Self::Mlp => "blocks: gated MLP",
            Self::Offsets => "alignment: offset convolutions",
            Self::Deform => "alignment: deformable convolution",
            Self::Fuse => "alignment: fusing MLP",
            Self::Upsample => "upsampling",
            Self::Other => "other layers",
        })
    }
}

/// A parameter of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Published name.
    pub name: String,
    /// Sizes, outermost first, in the published layout.
    pub shape: Vec<usize>,
    /// Where it is.
    pub part: Part,
    /// What it works for.
    pub work: Work,
}

impl TensorSpec {
    /// Values of the tensor.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has none, which no parameter of a valid network has.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A constant that published checkpoints hold beside the parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BufferSpec {
    /// Published name.
    pub name: String,
    /// What it holds.
    pub buffer: Buffer,
}

/// A parameter or a constant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Learnt.
    Parameter(TensorSpec),
    /// Fixed.
    Buffer(BufferSpec),
}

impl VrtConfig {
    /// Every parameter, in the order of published checkpoints.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let parameter = |entry| match entry {
            Entry::Parameter(spec) => Some(spec),
            Entry::Buffer(_) => None,
        };
        self.entries().into_iter().filter_map(parameter).collect()
    }

    /// Every constant that published checkpoints hold, in their order.
    pub fn buffers(&self) -> Vec<BufferSpec> {
        let buffer = |entry| match entry {
            Entry::Parameter(_) => None,
            Entry::Buffer(spec) => Some(spec),
        };
        self.entries().into_iter().filter_map(buffer).collect()
    }

    /// Bytes of all values in a published checkpoint, parameters and constants. Its index and the
    /// gaps between values come on top: less than one part in a hundred.
    pub fn published_bytes(&self) -> u64 {
        let bytes = self.entries().into_iter().map(|entry| match entry {
            Entry::Parameter(spec) => size_of::<f32>() * spec.len(),
            Entry::Buffer(spec) => spec.buffer.bytes(),
        });
        bytes.map(|bytes| bytes as u64).sum()
    }

    /// Parameters and constants, in the order of published checkpoints.
    pub fn entries(&self) -> Vec<Entry> {
        let mut list = List { path: String::new(), part: Part::First, entries: Vec::new() };
        let first = self.first_channels();
        list.conv3d("conv_first", [self.first_conv_inputs(), first], Work::Other);
        if self.fused_frames().is_none() {
            list.part = Part::Flow;
            list.within("spynet", spynet);
        }
        for stage in self.stages() {
            list.part = Part::Stage(stage.index + 1);
            let name = format!("stage{}", stage.index + 1);
            list.within(&name, |list| self.list_stage(list, &stage));
        }
        list.part = Part::Stage(SCALED_STAGES + 1);
        list.within("stage8", |list| self.list_refining(list));
        list.part = Part::Output;
        let [_, refined] = self.widen();
        list.norm("norm", refined);
        list.linear("conv_after_body", [refined, first], Work::Other);
        self.list_head(&mut list);
        list.entries
    }

    fn list_stage(&self, list: &mut List, stage: &StageConfig) {
        let channels = stage.channels;
        let resampled = match stage.resample {
            Resample::Keep => channels,
            Resample::Down => 4 * stage.inputs,
            Resample::Up => stage.inputs / 4,
        };
        list.norm("reshape.1", resampled);
        if stage.resample != Resample::Keep {
            list.linear("reshape.2", [resampled, channels], Work::Other);
        }
        let hidden = self.mlp_hidden(channels);
        let block = |window, mutual| Block { channels, hidden, heads: stage.heads, window, mutual };
        let pairs = block(self.pair_window(), true);
        list.within("residual_group1", |list| pairs.list(list, stage.pair_blocks));
        list.linear("linear1", [channels, channels], Work::Other);
        let clips = block(self.window(), false);
        list.within("residual_group2", |list| clips.list(list, stage.clip_blocks));
        list.linear("linear2", [channels, channels], Work::Other);
        let reach = self.reach().frames();
        if reach > 0 {
            let outputs = PER_TAP * KERNEL * KERNEL * self.deformable_groups();
            list.within("pa_deform", |list| alignment(list, channels, reach, outputs));
            let wide = 3 * channels;
            list.within("pa_fuse", |list| gated(list, [wide, wide, channels], Work::Fuse));
        }
    }

    fn list_refining(&self, list: &mut List) {
        let [inputs, channels] = self.widen();
        list.norm("0.1", inputs);
        list.linear("0.2", [inputs, channels], Work::Other);
        let hidden = self.mlp_hidden(channels);
        for (i, entry) in self.refine().enumerate() {
            let (heads, window) = (entry.heads, entry.window);
            let block = Block { channels, hidden, heads, window, mutual: false };
            list.within(&(i + 1).to_string(), |list| {
                list.within("residual_group", |list| block.list(list, entry.blocks));
                list.linear("linear", [channels, channels], Work::Other);
            });
        }
    }

    fn list_head(&self, list: &mut List) {
        let (first, out) = (self.first_channels(), self.out_channels());
        if let Some(inputs) = self.fuse_inputs() {
            list.conv2d("linear_fuse", [inputs, HEAD_WIDTH], 1, Work::Other);
            list.conv2d("conv_last", [HEAD_WIDTH, out], LAST_KERNEL, Work::Other);
            return;
        }
        if !self.upsamples() {
            list.conv3d("conv_last", [first, self.last_outputs()], Work::Other);
            return;
        }
        list.conv3d("conv_before_upsample.0", [first, HEAD_WIDTH], Work::Upsample);
        let (factor, times) = upsample_steps(self.upscale());
        for step in 0..times {
            let name = format!("upsample.{}", UPSAMPLE_ENTRIES * step);
            list.conv3d(&name, [HEAD_WIDTH, HEAD_WIDTH * factor * factor], Work::Upsample);
        }
        let name = format!("upsample.{}", UPSAMPLE_ENTRIES * times);
        list.conv3d(&name, [HEAD_WIDTH, HEAD_WIDTH], Work::Upsample);
        list.conv3d("conv_last", [HEAD_WIDTH, out], Work::Upsample);
    }
}

/// The factor of one step of the upsampler, and how many steps there are.
pub(crate) fn upsample_steps(upscale: usize) -> (usize, usize) {
    match upscale {
        3 => (3, 1),
        _ => (2, upscale.trailing_zeros() as usize),
    }
}

/// Sizes of an attention block.
#[derive(Clone, Copy, Debug)]
struct Block {
    channels: usize,
    hidden: usize,
    heads: usize,
    window: [usize; 3],
    mutual: bool,
}

impl Block {
    fn list(self, list: &mut List, blocks: usize) {
        for i in 0..blocks {
            list.within(&format!("blocks.{i}"), |list| {
                list.norm("norm1", self.channels);
                list.within("attn", |list| self.attention(list));
                list.norm("norm2", self.channels);
                let sizes = [self.channels, self.hidden, self.channels];
                list.within("mlp", |list| gated(list, sizes, Work::Mlp));
            });
        }
    }

    fn attention(self, list: &mut List) {
        let Self { channels, heads, window, mutual, .. } = self;
        let offsets = window.map(|size| 2 * size - 1).iter().product();
        let table = "relative_position_bias_table";
        list.parameter(table, vec![offsets, heads], Work::SelfAttention);
        list.buffer("relative_position_index", Buffer::RelativeIndex { window });
        let [_, height, width] = window;
        if mutual {
            list.buffer("position_bias", Buffer::SineCode { height, width, channels });
        }
        list.linear("qkv_self", [channels, 3 * channels], Work::Qkv);
        let attended = if mutual { 2 * channels } else { channels };
        list.linear("proj", [attended, channels], Work::Projection);
        if mutual {
            list.linear("qkv_mut", [channels, 3 * channels], Work::Qkv);
        }
    }
}

fn spynet(list: &mut List) {
    list.buffer("mean", Buffer::FlowMean);
    list.buffer("std", Buffer::FlowStd);
    for level in 0..FLOW_LEVELS {
        list.within(&format!("basic_module.{level}.basic_module"), |list| {
            for (i, sizes) in FLOW_WIDTHS.windows(2).enumerate() {
                let name = (2 * i).to_string();
                list.conv2d(&name, [sizes[0], sizes[1]], FLOW_KERNEL, Work::Flow);
            }
        });
    }
}

fn alignment(list: &mut List, channels: usize, reach: usize, outputs: usize) {
    list.parameter("weight", vec![channels, channels, KERNEL, KERNEL], Work::Deform);
    list.parameter("bias", vec![channels], Work::Deform);
    let inputs = offset_inputs(channels, reach);
    let widths = [inputs, channels, channels, channels, outputs];
    for (i, sizes) in widths.windows(2).enumerate() {
        let name = format!("conv_offset.{}", 2 * i);
        list.conv2d(&name, [sizes[0], sizes[1]], KERNEL, Work::Offsets);
    }
}

/// Channels that offsets are found from: warped neighbours, the frame itself, flows.
pub(crate) fn offset_inputs(channels: usize, reach: usize) -> usize {
    (reach + 1) * channels + 2 * reach
}

/// A gated MLP of `[inputs, hidden, outputs]` channels.
fn gated(list: &mut List, [inputs, hidden, outputs]: [usize; 3], work: Work) {
    list.linear("fc11", [inputs, hidden], work);
    list.linear("fc12", [inputs, hidden], work);
    list.linear("fc2", [hidden, outputs], work);
}

/// The entries found so far, and the names of the modules around the next one.
struct List {
    path: String,
    part: Part,
    entries: Vec<Entry>,
}

impl List {
    fn within(&mut self, name: &str, list: impl FnOnce(&mut Self)) {
        let before = self.path.len();
        self.path.push_str(name);
        self.path.push('.');
        list(self);
        self.path.truncate(before);
    }

    fn parameter(&mut self, name: &str, shape: Vec<usize>, work: Work) {
        let name = format!("{}{name}", self.path);
        let part = self.part;
        self.entries.push(Entry::Parameter(TensorSpec { name, shape, part, work }));
    }

    fn buffer(&mut self, name: &str, buffer: Buffer) {
        let name = format!("{}{name}", self.path);
        self.entries.push(Entry::Buffer(BufferSpec { name, buffer }));
    }

    fn norm(&mut self, name: &str, channels: usize) {
        self.weight_and_bias(name, vec![channels], Work::Other);
    }

    fn linear(&mut self, name: &str, [inputs, outputs]: [usize; 2], work: Work) {
        self.weight_and_bias(name, vec![outputs, inputs], work);
    }

    fn conv2d(&mut self, name: &str, sizes: [usize; 2], kernel: usize, work: Work) {
        let [inputs, outputs] = sizes;
        self.weight_and_bias(name, vec![outputs, inputs, kernel, kernel], work);
    }

    fn conv3d(&mut self, name: &str, [inputs, outputs]: [usize; 2], work: Work) {
        self.weight_and_bias(name, vec![outputs, inputs, 1, KERNEL, KERNEL], work);
    }

    fn weight_and_bias(&mut self, name: &str, shape: Vec<usize>, work: Work) {
        let outputs = shape[0];
        self.parameter(&format!("{name}.weight"), shape, work);
        self.parameter(&format!("{name}.bias"), vec![outputs], work);
    }
}

const _: () = assert!(FLOW_WIDTHS[0] == 2 * RGB_CHANNELS + 2, "two pictures and a flow");
