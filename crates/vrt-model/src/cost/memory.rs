//! How much memory a forward pass takes, from the activations that live at its fullest moments.

use super::{FLOW_MULTIPLE, SIDES, Size};
use crate::config::{RGB_CHANNELS, Resample, StageConfig, VrtConfig};
use crate::inventory::{FLOW_WIDTHS, HEAD_WIDTH, KERNEL, TensorSpec, upsample_steps};

/// Bytes of one value.
pub(super) const VALUE: u128 = size_of::<f32>() as u128;
/// Taps of a deformable kernel.
pub(super) const TAPS: usize = KERNEL * KERNEL;
/// Row and column.
const AXES: usize = 2;

/// Bytes of the program itself and of what threads keep for their tasks.
pub(super) const FIXED: u64 = 90 << 20;
/// Values of weights that are in memory twice for a while when restoring, packed for one call: one in
/// so many.
const PASSING_SHARE: u128 = 8;

/// What an arena has beyond its activations: one in so many.
const ARENA_SHARE: u64 = 8;

/// What a GPU takes beyond a processor's values, as a fraction of them.
const GPU_APART: (u128, u128) = (3, 4);

/// What computes a forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// Answers of offset layers are made a few rows at a time.
    Processor,
    /// They are there all at once.
    Gpu,
}

/// Bytes that one forward pass over a clip of `[frames, rows, columns]` needs at its peak when a
/// processor restores: the program, weights, what is kept from part to part, and the fullest part.
/// A prediction, for planning tiles; saturates where no machine follows.
pub fn peak_bytes(config: &VrtConfig, size: [usize; 3]) -> u64 {
    let weights = bytes(weights(config) + packed(config));
    FIXED.saturating_add(weights).saturating_add(arena_bytes(config, size))
}

/// Bytes of an arena for such a pass: activations that live at its fullest moment, room that is lost
/// between them, and weights that are packed for one call.
pub fn arena_bytes(config: &VrtConfig, size: [usize; 3]) -> u64 {
    let activations = activation_bytes(config, size);
    let passing = bytes(weights(config) / PASSING_SHARE);
    activations.saturating_add(activations / ARENA_SHARE).saturating_add(passing)
}

/// Bytes of the activations at the fullest moment.
fn activation_bytes(config: &VrtConfig, size: [usize; 3]) -> u64 {
    let size = Size::inside(config, size);
    let peak =
        body(config, size, By::Processor).max(behind_body(config, size) + head(config, size));
    bytes(clip(config, size) + peak)
}

fn bytes(values: u128) -> u64 {
    u64::try_from(values.saturating_mul(VALUE)).unwrap_or(u64::MAX)
}

/// [`peak_bytes`] of a GPU's memory. Layers of a block stand beside each other there, where a processor
/// fuses them, and what is free between tensors is lost; pictures are enlarged one by one.
pub fn gpu_peak_bytes(config: &VrtConfig, size: [usize; 3]) -> u64 {
    let size = Size::inside(config, size);
    let one = Size { frames: 1, ..size };
    let enlarged = config.upscale().pow(2) as u128 * config.out_channels() as u128 * size.pixels();
    let first = config.first_channels() as u128 * size.pixels();
    let heading = behind_body(config, size) + first + head(config, one) + 2 * enlarged;
    let made = clip(config, size) + body(config, size, By::Gpu).max(heading);
    let values = weights(config) + made + made * GPU_APART.0 / GPU_APART.1;
    bytes(values)
}

fn weights(config: &VrtConfig) -> u128 {
    config.tensors().iter().map(|spec| TensorSpec::len(spec) as u128).sum()
}

/// What weights of linear layers take that are kept packed: as much as they do in `f32`, half of it in
/// pairs; this is between the two.
fn packed(config: &VrtConfig) -> u128 {
    let tensors = config.tensors();
    let layers =
        tensors.iter().filter(|spec| spec.shape.len() == 2 && spec.name.ends_with("weight"));
    layers.map(|spec| TensorSpec::len(spec) as u128).sum::<u128>() * 3 / 4
}

/// Values of the clip and its padded form.
fn clip(config: &VrtConfig, size: Size) -> u128 {
    2 * config.folded(config.input_channels()) as u128 * size.pixels()
}

/// Values that are kept behind the body, for the head: flows, and differences along motion.
fn behind_body(config: &VrtConfig, size: Size) -> u128 {
    let trails = config.folded(config.trail_channels());
    flows(config, size) + trails as u128 * size.pixels()
}

/// Values alive up to the head at their fullest.
fn body(config: &VrtConfig, size: Size, by: By) -> u128 {
    let mut peak = flowing(config, size).max(neighbours(config, size));
    // Kept for all of the body: what the first convolution made, what the head sees, and the outputs
    // of the first stages until their mirror images have added them.
    let mut kept = config.first_channels() as u128 * size.pixels() + behind_body(config, size);
    let stages: Vec<_> = config.stages().collect();
    let output =
        |stage: &StageConfig| stage.channels as u128 * size.halved(stage.halvings).pixels();
    for stage in &stages {
        peak = peak.max(kept + stage_values(config, stage, size, by));
        match stage.index {
            0..=2 => kept += output(stage),
            4..=6 => kept -= output(&stages[6 - stage.index]),
            _ => {}
        }
    }
    let [_, channels] = config.widen();
    peak.max(kept + IN_GROUP * channels as u128 * size.pixels())
}

/// Maps of a group's width that live at its end: its input, what its blocks made of it, and the
/// sum of both.
const IN_GROUP: u128 = 3;

/// Values of all flows at four scales, both ways, to every neighbour within reach.
pub(super) fn flows(config: &VrtConfig, size: Size) -> u128 {
    let fields = 2 * AXES * config.reach().frames();
    (0..4).map(|halvings| fields as u128 * size.halved(halvings).pixels()).sum()
}

/// Values alive while flow is estimated, a pair of frames at a time, in sizes that halve five times: the
/// pyramids of all frames, what the widest convolution reads and makes, and all flows so far.
fn flowing(config: &VrtConfig, size: Size) -> u128 {
    if config.reach().frames() == 0 {
        return 0;
    }
    let [h, w] = [size.height, size.width].map(|n| n.next_multiple_of(FLOW_MULTIPLE) as u128);
    let widest = FLOW_WIDTHS.windows(2).map(|pair| pair[0] + pair[1]).max().unwrap_or(0);
    // A pyramid is a third larger than its finest level.
    let pyramids = size.frames * RGB_CHANNELS * 4 / 3 + FLOW_WIDTHS[0];
    let halvings = u32::from(config.coarse_flow());
    let convolved = widest as u128 * (h >> halvings) * (w >> halvings);
    convolved + pyramids as u128 * h * w + flows(config, size)
}

/// Values alive in the first convolution: frames beside their neighbours and what they are along their
/// motion, folded and as the head sees it, and what it makes.
fn neighbours(config: &VrtConfig, size: Size) -> u128 {
    let seen = config.first_conv_inputs() + config.first_channels();
    behind_body(config, size) + seen as u128 * size.pixels()
}

/// Values alive in a stage at its fullest, its input included.
fn stage_values(config: &VrtConfig, stage: &StageConfig, size: Size, by: By) -> u128 {
    let input = match stage.resample {
        Resample::Keep => size,
        Resample::Down => size.halved(stage.halvings - 1),
        Resample::Up => size.halved(stage.halvings + 1),
    };
    // Rearranged beside the input itself, and the output.
    let size = size.halved(stage.halvings);
    let channels = stage.channels as u128;
    let resampled = 2 * stage.inputs as u128 * input.pixels() + channels * size.pixels();
    let group = IN_GROUP * channels * size.pixels();
    resampled.max(group).max(alignment(config, stage.channels, size, by))
}

/// Values alive while one side's neighbours are aligned and while they are fused.
fn alignment(config: &VrtConfig, channels: usize, size: Size, by: By) -> u128 {
    let (reach, groups) = (config.reach().frames(), config.deformable_groups());
    if reach == 0 {
        return 0;
    }
    // Of several neighbours features and flows are joined; of one they are read where they lie.
    let joined = if reach > 1 { 2 * reach * channels } else { 0 };
    let warped = reach * channels;
    // What the last offset layer sees, or what it answers.
    let asked = match by {
        By::Processor => channels,
        By::Gpu => TAPS * groups * (AXES + 1),
    };
    // The frame's features and the other side's result wait.
    let waiting = 2 * channels;
    let convolving = joined + warped + 2 * channels;
    let sampling = joined + channels + asked;
    // Features of three, one of them copied to close the gap at its end, and the result.
    let fusing = (1 + SIDES + 1 + 1) * channels;
    (waiting + convolving.max(sampling)).max(fusing) as u128 * size.pixels()
}

/// Values alive in the head.
fn head(config: &VrtConfig, size: Size) -> u128 {
    let first = config.first_channels() as u128;
    let pixels = size.pixels();
    if let Some(inputs) = config.fuse_inputs() {
        let one = Size { frames: 1, ..size }.pixels();
        return first * pixels + (inputs + 3 * HEAD_WIDTH) as u128 * one;
    }
    if !config.upsamples() {
        // What the convolution makes, the same as pictures, and the input enlarged.
        let copies = if config.upscale() > 1 { 3 } else { 2 };
        return (first + copies * config.last_outputs() as u128) * pixels;
    }
    let (factor, times) = upsample_steps(config.upscale());
    let larger = (factor * factor) as u128;
    let before_last = pixels * larger.pow(times as u32 - 1);
    // The last step is the fullest: what the convolution makes, the same shuffled, and what the
    // next one makes of it.
    let step = HEAD_WIDTH as u128 * before_last * 2 * larger;
    let output = (HEAD_WIDTH * 2 + 2 * config.out_channels()) as u128 * before_last * larger;
    step.max(output) + first * pixels
}
