//! How much memory a training step takes: what the backward pass needs is kept until it comes.

use super::memory::{FIXED, VALUE, flows};
use super::{FLOW_LEVELS, FLOW_MULTIPLE, SIDES, Size};
use crate::config::{RGB_CHANNELS, Resample, StageConfig, VrtConfig};
use crate::inventory::{FLOW_WIDTHS, HEAD_WIDTH, TensorSpec, upsample_steps};

/// Values that an optimiser like Adam holds for each weight: the weight, its gradient, two means.
const PER_WEIGHT: u128 = 4;
/// Values of weights that are in memory twice for a while, packed for products or just read: one in
/// so many.
const PACKED_SHARE: u128 = 4;
/// Bytes that backward passes hold for a while: answers of an alignment, places and their gradients.
const TRANSIENT: u64 = 48 << 20;

/// What a training step computes.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// Frames, rows and columns of a clip.
    pub size: [usize; 3],
    /// Clips that go through the network at a time.
    pub clips: usize,
    /// For each entry of `depths`, whether what attention found is kept.
    pub keeps: &'a [bool],
    /// Whether weights are averaged.
    pub averages: bool,
}

/// Bytes that one training step needs at its peak on a processor, all parameters trained: the
/// program, weights with gradients, means and averages, and what is kept for the backward pass. A
/// prediction, for planning crops and batches; saturates where no machine follows.
pub fn step_bytes(config: &VrtConfig, step: Step<'_>) -> u64 {
    let size = Size::inside(config, step.size);
    let weights = config.tensors().iter().map(|spec| TensorSpec::len(spec) as u128).sum::<u128>();
    let per_weight = PER_WEIGHT + u128::from(step.averages);
    let weights = weights * per_weight + weights / PACKED_SHARE;
    let values = kept(config, size, step.keeps).saturating_mul(step.clips as u128);
    let bytes = values.saturating_add(weights).saturating_mul(VALUE);
    u64::try_from(bytes).unwrap_or(u64::MAX).saturating_add(FIXED + TRANSIENT)
}

/// Values of one clip that the backward pass needs.
fn kept(config: &VrtConfig, size: Size, keeps: &[bool]) -> u128 {
    let keeps = |entry: usize| keeps.get(entry).copied().unwrap_or(false);
    let pixels = size.pixels();
    // The clip twice, what the first convolution sees and makes, and what is seen along motion before
    // it is folded.
    let trails = config.folded(config.trail_channels());
    let clip = 2 * config.folded(config.input_channels()) + config.first_conv_inputs() + trails;
    let clip = clip + config.first_channels();
    let mut values = clip as u128 * pixels + flowing(config, size);
    for stage in config.stages() {
        values += in_stage(config, &stage, size, keeps(stage.index));
        if (4..=6).contains(&stage.index) {
            // The sum with an earlier stage's output.
            values += stage.channels as u128 * size.halved(stage.halvings).pixels();
        }
    }
    let [_, channels] = config.widen();
    let mut maps = 1;
    for (i, entry) in config.refine().enumerate() {
        let found = if keeps(config.stages().count() + i) { entry.blocks } else { 0 };
        maps += entry.blocks + 1 + found;
    }
    values + (maps * channels + config.first_channels()) as u128 * pixels + head(config, size)
}

/// Flows, and what SpyNet's convolutions see and make at every level, for both sides.
fn flowing(config: &VrtConfig, size: Size) -> u128 {
    if config.reach().frames() == 0 {
        return 0;
    }
    let [h, w] = [size.height, size.width].map(|n| n.next_multiple_of(FLOW_MULTIPLE));
    let fields = (SIDES * (size.frames - 1)) as u128;
    let widths = FLOW_WIDTHS.iter().sum::<usize>() + 2 * RGB_CHANNELS;
    let levels = u32::from(config.coarse_flow())..FLOW_LEVELS as u32;
    let levels = levels.map(|level| (h >> level) as u128 * (w >> level) as u128);
    flows(config, size) + fields * widths as u128 * levels.sum::<u128>()
}

/// Maps of a stage that are kept.
fn in_stage(config: &VrtConfig, stage: &StageConfig, size: Size, keeps: bool) -> u128 {
    let input = match stage.resample {
        Resample::Keep => 0,
        Resample::Down => stage.inputs as u128 * size.halved(stage.halvings - 1).pixels(),
        Resample::Up => stage.inputs as u128 * size.halved(stage.halvings + 1).pixels(),
    };
    let size = size.halved(stage.halvings);
    let channels = stage.channels as u128;
    // What blocks and the two layers behind them make, and the input of the first.
    let mut maps = stage.pair_blocks + stage.clip_blocks + 3;
    if keeps {
        maps += 2 * stage.pair_blocks + stage.clip_blocks;
    }
    input + (maps as u128 * channels + aligning(config, stage.channels)) * size.pixels()
}

/// Values of a pixel that aligning and fusing keep.
fn aligning(config: &VrtConfig, channels: usize) -> u128 {
    let reach = config.reach().frames();
    if reach == 0 {
        return 0;
    }
    let joined = if reach > 1 { 2 * reach * channels } else { 0 };
    // Warped neighbours, three layers before the answers, and what comes of them, twice: alone
    // and completed to all frames. The answers are made again.
    let side = joined + reach * channels + 3 * channels + 2 * channels;
    (SIDES * side + channels) as u128
}

/// Values of the head that are kept.
fn head(config: &VrtConfig, size: Size) -> u128 {
    let (first, out) = (config.first_channels() as u128, config.last_outputs() as u128);
    let pixels = size.pixels();
    if let Some(inputs) = config.fuse_inputs() {
        let one = Size { frames: 1, ..size }.pixels();
        return first * pixels + (inputs + 2 * HEAD_WIDTH) as u128 * one;
    }
    // Output, truth and what the loss makes of their difference.
    let mut values = first * pixels;
    let mut larger = pixels;
    if config.upsamples() {
        let (factor, times) = upsample_steps(config.upscale());
        values += HEAD_WIDTH as u128 * larger;
        for _ in 0..times {
            larger *= (factor * factor) as u128;
            values += 2 * HEAD_WIDTH as u128 * larger;
        }
        values += HEAD_WIDTH as u128 * larger;
    }
    values + 5 * out * larger
}
