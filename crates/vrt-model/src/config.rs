//! What a network is made of: sizes, depths, windows and reach. A configuration that exists is
//! valid.

mod check;
#[cfg(test)]
pub(crate) mod tests;

pub use check::{ConfigError, ConfigProblem};
pub(crate) use check::{MAX_DEPTH, MAX_ENTRIES};

use crate::trail::{self, GATHERED, SAMPLES};

/// Stages that change the size; the last one refines at full size.
pub const SCALED_STAGES: usize = 7;
/// Channels of a colour picture, which flow is estimated on and which come out.
pub const RGB_CHANNELS: usize = 3;
/// Frames that attend to each other in mutual attention.
pub const PAIR: usize = 2;
/// Pixels of a side that a folded network takes as one.
pub(crate) const FOLD: usize = 2;
/// Samples of a frame seen through the warp of one neighbour.
const WARPED_SAMPLES: usize = 4;
/// Pixels of the first stage that an offset may lie from its flow.
const MAX_RESIDUE: f64 = 10.0;
/// Frames are halved three times on the way down.
const SIZE_MULTIPLE: usize = 8;
/// Halvings of the size that each of the seven stages works at.
const HALVINGS: [u32; SCALED_STAGES] = [0, 1, 2, 3, 2, 1, 0];

/// What a network is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// Larger frames.
    SuperResolution,
    /// Sharp frames of the same size.
    Deblurring,
    /// Frames without noise, given its level.
    Denoising,
    /// One new frame between others.
    Interpolation,
}

/// How far alignment looks: the neighbours on each side whose features are brought to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reach {
    /// No alignment and no flow, as in frame interpolation (`pa_frames` 0).
    None,
    /// The direct neighbours (`pa_frames` 2).
    One,
    /// Neighbours up to two frames away (`pa_frames` 4).
    Two,
    /// Neighbours up to three frames away (`pa_frames` 6).
    Three,
}

impl Reach {
    /// The reach over `frames` neighbours on each side, if networks have it.
    pub fn from_frames(frames: usize) -> Option<Self> {
        [Self::None, Self::One, Self::Two, Self::Three].get(frames).copied()
    }

    /// Neighbours on each side.
    pub fn frames(self) -> usize {
        self as usize
    }

    /// The published name of the same: neighbours on both sides, `pa_frames`.
    pub fn pa_frames(self) -> usize {
        2 * self.frames()
    }
}

/// How a stage changes the size of its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resample {
    /// Keeps it.
    Keep,
    /// Halves rows and columns; four times as many channels before the linear layer.
    Down,
    /// Doubles rows and columns; a quarter of the channels before the linear layer.
    Up,
}

/// What a network is asked to be; [`VrtConfig::new`] checks it.
#[derive(Clone, Debug, PartialEq)]
pub struct VrtFields {
    /// Size of the output over that of the input: 1, 2, 3, 4 or 8.
    pub upscale: usize,
    /// Channels of the input without a noise map: 3, or more with spike channels behind RGB.
    pub in_channels: usize,
    /// Whether the input's last channel is a map of the noise level (σ / 255).
    pub noise_map: bool,
    /// Pixels of a side that the network takes as one, their channels side by side: 1 as published,
    /// or 2, which costs a quarter, for an upscaling of 1 or 2.
    pub fold: usize,
    /// Whether a folding network also sees every frame along its motion, and answers what that
    /// weighs, which is for blur: `false` as published.
    pub trails: bool,
    /// Whether a folding network estimates flow at half the size of its places and enlarges it,
    /// for a quarter of that work: `false` as published.
    pub coarse_flow: bool,
    /// Frames, rows and columns of an attention window.
    pub window: [usize; 3],
    /// Blocks of each of the seven stages, then of each entry of stage 8.
    pub depths: Vec<usize>,
    /// Channels, for the same.
    pub embed_dims: Vec<usize>,
    /// Attention heads, for the same.
    pub heads: Vec<usize>,
    /// Entries of `depths` (from 7 on) whose windows hold one frame only.
    pub independent: Vec<usize>,
    /// Neighbours that alignment looks at.
    pub reach: Reach,
    /// Frames that an interpolation network fuses; the window's frames if `None`. Ignored with
    /// alignment.
    pub fused_frames: Option<usize>,
    /// Groups of channels that alignment samples together. Ignored without alignment.
    pub deformable_groups: usize,
    /// Hidden channels of a block's MLP over its channels.
    pub mlp_ratio: f64,
    /// Share of a stage's blocks that attend in pairs of frames, below 1.
    pub mul_attn_ratio: f64,
    /// Chance that the last block's branches are dropped in training; 0 at the first block.
    pub drop_path_rate: f64,
}

impl Default for VrtFields {
    /// The default network for RGB+spike deblurring.
    fn default() -> Self {
        let entries = |scaled, refining| [vec![scaled; SCALED_STAGES], vec![refining; 6]].concat();
        Self {
            upscale: 1,
            in_channels: RGB_CHANNELS + 1,
            noise_map: false,
            fold: 1,
            trails: false,
            coarse_flow: false,
            window: [6, 8, 8],
            depths: entries(8, 4),
            embed_dims: entries(120, 180),
            heads: entries(6, 6),
            independent: vec![11, 12],
            reach: Reach::One,
            fused_frames: None,
            deformable_groups: 12,
            mlp_ratio: 2.0,
            mul_attn_ratio: 0.75,
            drop_path_rate: 0.2,
        }
    }
}

/// A valid configuration of a network.
#[derive(Clone, Debug, PartialEq)]
pub struct VrtConfig {
    fields: VrtFields,
}

/// Sizes of one of the seven stages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StageConfig {
    /// Place in the network, from 0.
    pub index: usize,
    /// Change of size on the way in.
    pub resample: Resample,
    /// Channels of the input, before the change of size.
    pub inputs: usize,
    /// Channels of the features.
    pub channels: usize,
    /// Attention heads.
    pub heads: usize,
    /// Blocks that attend in pairs of frames.
    pub pair_blocks: usize,
    /// Blocks that attend in whole windows.
    pub clip_blocks: usize,
    /// Halvings of the input's size.
    pub halvings: u32,
    /// Pixels of this stage that an offset may lie from its flow.
    pub max_residue: f64,
}

/// Sizes of one refining entry of stage 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefineConfig {
    /// Place in `depths`, from 7 on.
    pub index: usize,
    /// Channels of the features.
    pub channels: usize,
    /// Attention heads.
    pub heads: usize,
    /// Blocks.
    pub blocks: usize,
    /// Frames, rows and columns of its windows.
    pub window: [usize; 3],
}

impl VrtConfig {
    /// The configuration of these fields.
    ///
    /// Fields without a meaning take the value that says so: `fused_frames` is `None` with
    /// alignment and the count of frames without, `deformable_groups` is 0 without alignment,
    /// and `independent` is sorted, and empty where every window holds one frame anyway.
    ///
    /// # Errors
    ///
    /// Fails with every reason why there is no such network.
    pub fn new(mut fields: VrtFields) -> Result<Self, ConfigError> {
        check::check(&fields)?;
        fields.independent.sort_unstable();
        fields.independent.dedup();
        if fields.window[0] == 1 {
            fields.independent.clear();
        }
        if fields.reach == Reach::None {
            fields.fused_frames = Some(fields.fused_frames.unwrap_or(fields.window[0]));
            fields.deformable_groups = 0;
        } else {
            fields.fused_frames = None;
        }
        Ok(Self { fields })
    }

    /// All fields, to build a variant from.
    pub fn fields(&self) -> &VrtFields {
        &self.fields
    }

    /// What the network is for, as its configuration tells.
    pub fn task(&self) -> Task {
        match &self.fields {
            fields if fields.reach == Reach::None => Task::Interpolation,
            fields if fields.noise_map => Task::Denoising,
            fields if fields.upscale > 1 => Task::SuperResolution,
            _ => Task::Deblurring,
        }
    }

    /// Size of the output over that of the input.
    pub fn upscale(&self) -> usize {
        self.fields.upscale
    }

    /// Channels of the input without a noise map: RGB, then spike channels.
    pub fn in_channels(&self) -> usize {
        self.fields.in_channels
    }

    /// Channels of the input in all: RGB, spike channels, noise map.
    pub fn input_channels(&self) -> usize {
        self.fields.in_channels + usize::from(self.fields.noise_map)
    }

    /// Channels behind RGB that come from a spike camera.
    pub fn spike_channels(&self) -> usize {
        self.fields.in_channels - RGB_CHANNELS
    }

    /// Channels of the output.
    pub fn out_channels(&self) -> usize {
        RGB_CHANNELS
    }

    /// Whether the input's last channel is a map of the noise level.
    pub fn noise_map(&self) -> bool {
        self.fields.noise_map
    }

    /// Pixels of a side that the network takes as one.
    pub fn fold(&self) -> usize {
        self.fields.fold
    }

    /// Whether it also sees every frame along its motion.
    pub fn trails(&self) -> bool {
        self.fields.trails
    }

    /// Whether flow is estimated at half the size of its places, and enlarged.
    pub fn coarse_flow(&self) -> bool {
        self.fields.coarse_flow
    }

    /// Channels of spikes gathered along motion.
    pub(crate) fn gathered(&self) -> usize {
        if self.fields.trails && self.spike_channels() > 0 { GATHERED } else { 0 }
    }

    /// Channels of all that is seen along motion, for each pixel.
    pub(crate) fn trail_channels(&self) -> usize {
        if self.fields.trails { trail::CHANNELS + self.gathered() } else { 0 }
    }

    /// Channels that as many channels of pictures have inside the network.
    pub(crate) fn folded(&self, channels: usize) -> usize {
        channels * self.fields.fold * self.fields.fold
    }

    /// Whether two rows and two columns are one place to the network.
    pub(crate) fn folds(&self) -> bool {
        self.fields.fold > 1
    }

    /// Whether layers behind the body enlarge its features; else the last convolution makes all
    /// pixels of a place.
    pub(crate) fn upsamples(&self) -> bool {
        self.fields.upscale > 1 && !self.folds()
    }

    /// Channels that the last convolution makes: pictures, and what samples along motion weigh.
    pub(crate) fn last_outputs(&self) -> usize {
        let side = if self.folds() { self.fields.fold * self.fields.upscale } else { 1 };
        let weights = if self.fields.trails { self.folded(SAMPLES + self.gathered()) } else { 0 };
        self.out_channels() * side * side + weights
    }

    /// Frames, rows and columns of an attention window.
    pub fn window(&self) -> [usize; 3] {
        self.fields.window
    }

    /// Frames, rows and columns of a window of mutual attention.
    pub fn pair_window(&self) -> [usize; 3] {
        let [_, h, w] = self.fields.window;
        [PAIR, h, w]
    }

    /// Neighbours that alignment looks at.
    pub fn reach(&self) -> Reach {
        self.fields.reach
    }

    /// Groups of channels that alignment samples together; 0 without alignment.
    pub fn deformable_groups(&self) -> usize {
        self.fields.deformable_groups
    }

    /// Frames of an input clip that an interpolation network fuses to one; `None` for others.
    pub fn fused_frames(&self) -> Option<usize> {
        self.fields.fused_frames
    }

    /// Hidden channels of a block's MLP over its channels.
    pub fn mlp_ratio(&self) -> f64 {
        self.fields.mlp_ratio
    }

    /// Hidden channels of the MLP of a block with `channels`.
    pub fn mlp_hidden(&self, channels: usize) -> usize {
        scaled(channels, self.fields.mlp_ratio)
    }

    /// Chance that the last block's branches are dropped in training.
    pub fn drop_path_rate(&self) -> f64 {
        self.fields.drop_path_rate
    }

    /// The same network with another drop path rate.
    ///
    /// # Errors
    ///
    /// Fails if `rate` is not a share below 1.
    pub fn with_drop_path_rate(&self, rate: f64) -> Result<Self, ConfigError> {
        Self::new(VrtFields { drop_path_rate: rate, ..self.fields.clone() })
    }

    /// Whether both are one network, whatever their drop path rates.
    pub fn same_network(&self, other: &Self) -> bool {
        let drop_path_rate = self.fields.drop_path_rate;
        self.fields == VrtFields { drop_path_rate, ..other.fields.clone() }
    }

    /// Chance of each block to be dropped, growing linearly over all blocks of the network.
    pub fn drop_path_rates(&self) -> Vec<f64> {
        let blocks = self.fields.depths.iter().sum::<usize>();
        let last = blocks.saturating_sub(1).max(1) as f64;
        (0..blocks).map(|i| self.fields.drop_path_rate * i as f64 / last).collect()
    }

    /// Channels that the first convolution sees: each frame with two warped neighbours and the
    /// noise map, or the frame alone without alignment.
    pub fn first_conv_inputs(&self) -> usize {
        match self.fields.reach {
            Reach::None => self.fields.in_channels,
            _ => {
                let trails = self.folded(self.trail_channels());
                let seen = self.views() * self.fields.in_channels + trails;
                seen + usize::from(self.fields.noise_map)
            }
        }
    }

    /// Views of a frame that the first convolution sees all channels of: the frame itself and warped
    /// samples of its neighbours, those of every pixel that is folded.
    pub fn views(&self) -> usize {
        match self.fields.reach {
            Reach::None => 1,
            _ => self.folded(1 + PAIR * WARPED_SAMPLES),
        }
    }

    /// Channels of stage 1, which the first convolution makes.
    pub fn first_channels(&self) -> usize {
        self.fields.embed_dims[0]
    }

    /// Channels of all frames that an interpolation network fuses; `None` for others.
    pub fn fuse_inputs(&self) -> Option<usize> {
        self.fields.fused_frames.map(|frames| frames * self.first_channels())
    }

    /// The seven stages.
    pub fn stages(&self) -> impl ExactSizeIterator<Item = StageConfig> + '_ {
        let fields = &self.fields;
        (0..SCALED_STAGES).map(|index| {
            let pair_blocks = scaled(fields.depths[index], fields.mul_attn_ratio);
            StageConfig {
                index,
                resample: match index {
                    0 => Resample::Keep,
                    1..4 => Resample::Down,
                    _ => Resample::Up,
                },
                inputs: fields.embed_dims[index.saturating_sub(1)],
                channels: fields.embed_dims[index],
                heads: fields.heads[index],
                pair_blocks,
                clip_blocks: fields.depths[index] - pair_blocks,
                halvings: HALVINGS[index],
                max_residue: MAX_RESIDUE / f64::from(1_u32 << HALVINGS[index]),
            }
        })
    }

    /// Channels into and out of the first part of stage 8.
    pub fn widen(&self) -> [usize; 2] {
        [self.fields.embed_dims[SCALED_STAGES - 1], self.fields.embed_dims[SCALED_STAGES]]
    }

    /// The refining entries of stage 8.
    pub fn refine(&self) -> impl ExactSizeIterator<Item = RefineConfig> + '_ {
        let fields = &self.fields;
        let [_, h, w] = fields.window;
        (SCALED_STAGES..fields.depths.len()).map(move |index| RefineConfig {
            index,
            channels: fields.embed_dims[index],
            heads: fields.heads[index],
            blocks: fields.depths[index],
            window: if fields.independent.contains(&index) { [1, h, w] } else { fields.window },
        })
    }

    /// The number that rows and columns of what the network computes on are a multiple of.
    pub fn size_multiple(&self) -> usize {
        SIZE_MULTIPLE * self.fields.fold
    }

    /// The size `[frames, rows, columns]` that a clip of this size is padded to: multiples of
    /// [`size_multiple`](Self::size_multiple), and large enough for one whole window of mutual attention at the smallest scale.
    pub fn padded(&self, [d, h, w]: [usize; 3]) -> [usize; 3] {
        let [_, wh, ww] = self.fields.window;
        let multiple = self.size_multiple();
        let padded =
            |size: usize, window: usize| size.max(multiple * window).next_multiple_of(multiple);
        [d.max(PAIR), padded(h, wh), padded(w, ww)]
    }
}

impl TryFrom<VrtFields> for VrtConfig {
    type Error = ConfigError;

    fn try_from(fields: VrtFields) -> Result<Self, ConfigError> {
        Self::new(fields)
    }
}

/// `⌊size · ratio⌋`, as the published network rounds.
fn scaled(size: usize, ratio: f64) -> usize {
    (size as f64 * ratio) as usize
}
