//! How much memory a forward pass takes, from the activations that live at its fullest moments.

use super::Size;
use crate::config::{Resample, StageConfig, VrtConfig};
use crate::inventory::{HEAD_WIDTH, KERNEL, TensorSpec, offset_inputs, upsample_steps};

/// Bytes of one value.
const VALUE: u128 = size_of::<f32>() as u128;
/// Taps of a deformable kernel.
const TAPS: usize = KERNEL * KERNEL;
/// Row and column.
const AXES: usize = 2;

/// Bytes that one forward pass over a clip of `[frames, rows, columns]` needs at its peak:
/// weights, what is kept from part to part, and the fullest part. A prediction, for planning
/// tiles; saturates where no machine follows.
pub fn peak_bytes(config: &VrtConfig, size: [usize; 3]) -> u64 {
    let size = Size::of(config.padded(size));
    let weights = config.tensors().iter().map(|spec| TensorSpec::len(spec) as u128).sum::<u128>();
    let first = config.first_channels();
    let mut peak = head(config, size);
    // Kept for all of the body: the clip, what the first convolution made, flows, and the
    // outputs of the first stages until their mirror images have added them.
    let pictures = (config.input_channels() + config.out_channels() + first) as u128;
    let mut kept = pictures * size.pixels() + flows(config, size);
    let stages: Vec<_> = config.stages().collect();
    let output =
        |stage: &StageConfig| stage.channels as u128 * size.halved(stage.halvings).pixels();
    for stage in &stages {
        peak = peak.max(kept + stage_values(config, stage, size));
        match stage.index {
            0..=2 => kept += output(stage),
            4..=6 => kept -= output(&stages[6 - stage.index]),
            _ => {}
        }
    }
    let [_, channels] = config.widen();
    for entry in config.refine() {
        let values = block(config, channels, size, entry.window, false);
        peak = peak.max(kept + channels as u128 * size.pixels() + values);
    }
    u64::try_from((weights + peak) * VALUE).unwrap_or(u64::MAX)
}

/// Values of all flows at four scales, both ways, to every neighbour within reach.
fn flows(config: &VrtConfig, size: Size) -> u128 {
    let fields = 2 * AXES * config.reach().frames();
    (0..4).map(|halvings| fields as u128 * size.halved(halvings).pixels()).sum()
}

/// Values alive in a stage at its fullest, its input included.
fn stage_values(config: &VrtConfig, stage: &StageConfig, size: Size) -> u128 {
    let input = match stage.resample {
        Resample::Keep => size,
        Resample::Down => size.halved(stage.halvings - 1),
        Resample::Up => size.halved(stage.halvings + 1),
    };
    // Rearranged and normalised beside the input itself.
    let resampled = 3 * stage.inputs as u128 * input.pixels();
    let size = size.halved(stage.halvings);
    let channels = stage.channels;
    // A group's input waits for its output.
    let waiting = channels as u128 * size.pixels();
    let pairs = block(config, channels, size, config.pair_window(), true);
    let clips = block(config, channels, size, config.window(), false);
    let group = waiting + pairs.max(clips);
    resampled.max(group).max(alignment(config, channels, size))
}

/// Values alive in an attention block: input, and the fuller of attention and MLP.
fn block(
    config: &VrtConfig,
    channels: usize,
    size: Size,
    window: [usize; 3],
    mutual: bool,
) -> u128 {
    let windows = size.windows(window);
    // Normalised input, queries, keys and values, and the result; mutual attention keeps its
    // result while self attention does the same, then both are put together.
    let attention = if mutual { 1 + 1 + 3 + 2 } else { 1 + 3 + 1 };
    let attention = (attention * channels) as u128 * windows.tokens;
    // Normalised input, both halves of the gate, and their product.
    let mlp = (channels + 3 * config.mlp_hidden(channels)) as u128 * windows.inside;
    channels as u128 * windows.inside + attention.max(mlp)
}

/// Values alive while one side's neighbours are aligned and while they are fused.
fn alignment(config: &VrtConfig, channels: usize, size: Size) -> u128 {
    let (reach, groups) = (config.reach().frames(), config.deformable_groups());
    if reach == 0 {
        return 0;
    }
    let neighbours = (reach * (channels + AXES)) as u128;
    let seen = (offset_inputs(channels, reach) + channels) as u128;
    // The last convolution's answer, offsets, flows added to them, and masks.
    let offsets = (TAPS * groups * (AXES + 1 + AXES + AXES + 1)) as u128;
    // The frame's features and the other side's result wait.
    let waiting = 2 * channels as u128;
    let aligning = waiting + neighbours + seen.max(offsets + channels as u128);
    // Features of three, both halves of the gate and their product.
    let fusing = (3 * channels + 3 * 3 * channels) as u128;
    aligning.max(fusing) * size.pixels()
}

/// Values alive in the head.
fn head(config: &VrtConfig, size: Size) -> u128 {
    let first = config.first_channels() as u128;
    let pixels = size.pixels();
    if config.upscale() == 1 {
        return (2 * first + config.out_channels() as u128) * pixels;
    }
    let (factor, times) = upsample_steps(config.upscale());
    let larger = (factor * factor) as u128;
    let before_last = pixels * larger.pow(times as u32 - 1);
    // Each step: what goes in, what the convolution makes and the same shuffled.
    let step = HEAD_WIDTH as u128 * before_last * (1 + 2 * larger);
    let output = (HEAD_WIDTH * 2 + 2 * config.out_channels()) as u128 * before_last * larger;
    step.max(output) + first * pixels
}
