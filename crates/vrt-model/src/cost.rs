//! What a network costs: parameters, arithmetic and memory, before anything is run.

mod memory;
#[cfg(test)]
mod tests;
mod training;

use std::collections::BTreeMap;

pub use memory::{arena_bytes, gpu_peak_bytes, peak_bytes};
pub use training::{Step, step_bytes};

use crate::config::{Resample, StageConfig, VrtConfig};
use crate::inventory::{
    FLOW_KERNEL, FLOW_LEVELS, FLOW_WIDTHS, HEAD_WIDTH, KERNEL, LAST_KERNEL, PER_TAP, Part, Work,
    offset_inputs, upsample_steps,
};

/// Sizes of what SpyNet works on are a multiple of this.
const FLOW_MULTIPLE: usize = 32;
/// Sides that features are aligned from.
const SIDES: usize = 2;

/// Parameters of each part of a network, in order; parts without any are left out.
pub fn parameters_by_part(config: &VrtConfig) -> BTreeMap<Part, usize> {
    sum(config.tensors().iter().map(|spec| (spec.part, spec.len())))
}

/// About what each part of a forward pass costs beside the others, in its order: flow (where there
/// is alignment), the seven stages, the entries of stage 8.
pub(crate) fn parts(config: &VrtConfig) -> Vec<f32> {
    const CLIP: Size = Size { frames: 6, height: 64, width: 64 };
    let mut parts = Vec::new();
    let mut part = |work: &dyn Fn(&mut Flops)| {
        let mut flops = Flops::default();
        work(&mut flops);
        parts.push(flops.total() as f32);
    };
    if config.reach().frames() > 0 {
        part(&|flops| flops.flow(config, CLIP));
    }
    for stage in config.stages() {
        part(&|flops| flops.stage(config, &stage, CLIP));
    }
    let [_, channels] = config.widen();
    for entry in config.refine() {
        part(&|flops| {
            for _ in 0..entry.blocks {
                flops.block(config, channels, CLIP.windows(entry.window), false);
            }
        });
    }
    parts
}

/// Parameters by what they work for.
pub fn parameters_by_work(config: &VrtConfig) -> BTreeMap<Work, usize> {
    sum(config.tensors().iter().map(|spec| (spec.work, spec.len())))
}

fn sum<K: Ord>(items: impl Iterator<Item = (K, usize)>) -> BTreeMap<K, usize> {
    let mut sums = BTreeMap::new();
    for (key, count) in items {
        *sums.entry(key).or_default() += count;
    }
    sums
}

/// Floating-point operations of one forward pass, by kind of work.
///
/// Convolutions, linear layers and the products of attention count, a multiplication and an
/// addition as two; padding counts where the network computes it. Norms, activations, softmax,
/// sampling and resizing do not count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flops {
    by_work: BTreeMap<Work, u128>,
}

impl Flops {
    /// Those of one forward pass over a clip of `[frames, rows, columns]`.
    pub fn of(config: &VrtConfig, size: [usize; 3]) -> Self {
        let mut flops = Self::default();
        let size = Size::inside(config, size);
        let first = config.first_channels();
        flops.conv(Work::Other, size.pixels(), [config.first_conv_inputs(), first], KERNEL);
        if config.reach().frames() > 0 {
            flops.flow(config, size);
        }
        for stage in config.stages() {
            flops.stage(config, &stage, size);
        }
        flops.refining(config, size);
        flops.head(config, size);
        flops
    }

    /// All of them.
    pub fn total(&self) -> u128 {
        self.by_work.values().sum()
    }

    /// Those of one kind of work.
    pub fn work(&self, work: Work) -> u128 {
        self.by_work.get(&work).copied().unwrap_or_default()
    }

    /// The share of one kind of work.
    pub fn share(&self, work: Work) -> f64 {
        self.work(work) as f64 / self.total().max(1) as f64
    }

    /// Each kind of work with its operations.
    pub fn iter(&self) -> impl Iterator<Item = (Work, u128)> {
        self.by_work.iter().map(|(work, flops)| (*work, *flops))
    }

    fn add(&mut self, work: Work, products: u128) {
        *self.by_work.entry(work).or_default() += 2 * products;
    }

    fn linear(&mut self, work: Work, tokens: u128, [inputs, outputs]: [usize; 2]) {
        self.add(work, tokens * (inputs * outputs) as u128);
    }

    fn conv(&mut self, work: Work, pixels: u128, channels: [usize; 2], kernel: usize) {
        self.linear(work, pixels * (kernel * kernel) as u128, channels);
    }

    fn gated(&mut self, work: Work, tokens: u128, [inputs, hidden, outputs]: [usize; 3]) {
        self.linear(work, tokens, [inputs, 2 * hidden]);
        self.linear(work, tokens, [hidden, outputs]);
    }

    fn flow(&mut self, config: &VrtConfig, size: Size) {
        let [h, w] = [size.height, size.width].map(|n| n.next_multiple_of(FLOW_MULTIPLE));
        let fields = (SIDES * (size.frames - 1)) as u128;
        for halvings in u32::from(config.coarse_flow())..FLOW_LEVELS as u32 {
            let pixels = fields * (h >> halvings) as u128 * (w >> halvings) as u128;
            for channels in FLOW_WIDTHS.windows(2) {
                self.conv(Work::Flow, pixels, [channels[0], channels[1]], FLOW_KERNEL);
            }
        }
    }

    fn stage(&mut self, config: &VrtConfig, stage: &StageConfig, size: Size) {
        let (size, channels) = (size.halved(stage.halvings), stage.channels);
        let tokens = size.pixels();
        match stage.resample {
            Resample::Keep => {}
            Resample::Down => self.linear(Work::Other, tokens, [4 * stage.inputs, channels]),
            Resample::Up => self.linear(Work::Other, tokens, [stage.inputs / 4, channels]),
        }
        let mut blocks = |blocks, window, mutual| {
            for _ in 0..blocks {
                self.block(config, channels, size.windows(window), mutual);
            }
        };
        blocks(stage.pair_blocks, config.pair_window(), true);
        blocks(stage.clip_blocks, config.window(), false);
        self.linear(Work::Other, tokens, [channels, 2 * channels]);
        let reach = config.reach().frames();
        if reach > 0 {
            let outputs = PER_TAP * KERNEL * KERNEL * config.deformable_groups();
            let widths = [offset_inputs(channels, reach), channels, channels, channels, outputs];
            let pixels = (SIDES * (size.frames - 1) * size.height) as u128 * size.width as u128;
            for channels in widths.windows(2) {
                self.conv(Work::Offsets, pixels, [channels[0], channels[1]], KERNEL);
            }
            self.conv(Work::Deform, pixels, [channels, channels], KERNEL);
            self.gated(Work::Fuse, tokens, [3 * channels, 3 * channels, channels]);
        }
    }

    /// One attention block on windows of a feature map.
    fn block(&mut self, config: &VrtConfig, channels: usize, windows: Windows, mutual: bool) {
        let tokens = windows.tokens;
        let keys = windows.window.iter().product::<usize>();
        self.linear(Work::Qkv, tokens, [channels, 3 * channels]);
        self.linear(Work::SelfAttention, tokens, [channels, 2 * keys]);
        let mut attended = channels;
        if mutual {
            self.linear(Work::Qkv, tokens, [channels, 3 * channels]);
            // Each frame of a pair attends to the other one.
            self.linear(Work::MutualAttention, tokens, [channels, keys]);
            attended = 2 * channels;
        }
        self.linear(Work::Projection, tokens, [attended, channels]);
        let sizes = [channels, config.mlp_hidden(channels), channels];
        self.gated(Work::Mlp, windows.inside, sizes);
    }

    fn refining(&mut self, config: &VrtConfig, size: Size) {
        let tokens = size.pixels();
        let [inputs, channels] = config.widen();
        self.linear(Work::Other, tokens, [inputs, channels]);
        for entry in config.refine() {
            for _ in 0..entry.blocks {
                self.block(config, channels, size.windows(entry.window), false);
            }
            self.linear(Work::Other, tokens, [channels, channels]);
        }
        self.linear(Work::Other, tokens, [channels, config.first_channels()]);
    }

    fn head(&mut self, config: &VrtConfig, size: Size) {
        let (first, out) = (config.first_channels(), config.out_channels());
        if let Some(inputs) = config.fuse_inputs() {
            let pixels = Size { frames: 1, ..size }.pixels();
            self.linear(Work::Other, pixels, [inputs, HEAD_WIDTH]);
            self.conv(Work::Other, pixels, [HEAD_WIDTH, out], LAST_KERNEL);
            return;
        }
        let mut pixels = size.pixels();
        if !config.upsamples() {
            self.conv(Work::Other, pixels, [first, config.last_outputs()], KERNEL);
            return;
        }
        self.conv(Work::Upsample, pixels, [first, HEAD_WIDTH], KERNEL);
        let (factor, times) = upsample_steps(config.upscale());
        for _ in 0..times {
            self.conv(Work::Upsample, pixels, [HEAD_WIDTH, HEAD_WIDTH * factor * factor], KERNEL);
            pixels *= (factor * factor) as u128;
        }
        self.conv(Work::Upsample, pixels, [HEAD_WIDTH, HEAD_WIDTH + out], KERNEL);
    }
}

/// Size of a feature map.
#[derive(Clone, Copy, Debug)]
struct Size {
    frames: usize,
    height: usize,
    width: usize,
}

/// A feature map cut into windows.
#[derive(Clone, Copy, Debug)]
struct Windows {
    window: [usize; 3],
    /// Tokens of the map itself.
    inside: u128,
    /// Tokens with those that fill up the last windows.
    tokens: u128,
}

impl Size {
    /// That of the first features for a clip of `[frames, rows, columns]`.
    fn inside(config: &VrtConfig, size: [usize; 3]) -> Self {
        let [frames, height, width] = config.padded(size);
        Self::of([frames, height / config.fold(), width / config.fold()])
    }

    fn of([frames, height, width]: [usize; 3]) -> Self {
        Self { frames, height, width }
    }

    fn halved(self, halvings: u32) -> Self {
        Self { height: self.height >> halvings, width: self.width >> halvings, ..self }
    }

    fn pixels(self) -> u128 {
        [self.frames, self.height, self.width].iter().map(|&n| n as u128).product()
    }

    fn windows(self, window: [usize; 3]) -> Windows {
        let size = [self.frames, self.height, self.width];
        // A window is never larger than the map.
        let window: [usize; 3] = std::array::from_fn(|axis| window[axis].min(size[axis]));
        let filled = size.into_iter().zip(window).map(|(n, window)| n.next_multiple_of(window));
        let tokens = filled.map(|n| n as u128).product();
        Windows { window, inside: self.pixels(), tokens }
    }
}
