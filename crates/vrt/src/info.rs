//! What a network is made of, and what it costs.

use serde::Serialize;
use vrt_model::config::{SCALED_STAGES, Task, VrtConfig};
use vrt_model::cost::{Flops, peak_bytes};
use vrt_model::inventory::{Part, Work};
use vrt_model::presets::Preset;

/// A network, described.
#[derive(Clone, Debug, Serialize)]
pub struct NetworkInfo {
    /// Presets that are this network.
    pub presets: Vec<&'static str>,
    /// What it is for.
    pub task: &'static str,
    /// What it is made of.
    pub architecture: Architecture,
    /// Learnt values of each part.
    pub parts: Vec<PartInfo>,
    /// Learnt values in all.
    pub parameters: u64,
}

/// What a network is made of.
#[derive(Clone, Debug, Serialize)]
pub struct Architecture {
    /// Size of the output over that of the input.
    pub upscale: usize,
    /// Channels of the input in all: RGB, spike channels, noise map.
    pub input_channels: usize,
    /// Channels behind RGB that come from a spike camera.
    pub spike_channels: usize,
    /// Whether the last channel of the input is a map of the noise level.
    pub noise_map: bool,
    /// Pixels of a side that are one place to the network.
    pub fold: usize,
    /// Whether it also sees every frame along its motion.
    pub trails: bool,
    /// Whether flow is estimated at half the size of its places, and enlarged.
    pub coarse_flow: bool,
    /// Frames, rows and columns of an attention window.
    pub window: [usize; 3],
    /// Blocks of each of the seven stages, then of each entry of stage 8.
    pub depths: Vec<usize>,
    /// Channels, for the same.
    pub widths: Vec<usize>,
    /// Attention heads, for the same.
    pub heads: Vec<usize>,
    /// Entries of those whose windows hold one frame only, counted from 0.
    pub independent: Vec<usize>,
    /// Neighbours on each side that alignment looks at; 0 without alignment.
    pub reach: usize,
    /// Groups of channels that alignment samples together; 0 without alignment.
    pub deformable_groups: usize,
    /// Frames that interpolation fuses to one; `None` for other networks.
    pub fused_frames: Option<usize>,
    /// Hidden channels of a block's MLP over its channels.
    pub mlp_ratio: f64,
    /// Share of a stage's blocks that attend in pairs of frames.
    pub mutual_ratio: f64,
}

/// Learnt values of one part of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartInfo {
    /// Its name.
    pub name: String,
    /// Tensors.
    pub tensors: usize,
    /// Values in them.
    pub parameters: u64,
}

/// Frames, rows or columns that costs are stated for at the most.
const MOST: usize = 1 << 20;

/// Costs cannot be stated for a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "costs cannot be stated for {} frames of {}×{}; each is a number from 1 to {MOST}",
    .0.frames, .0.width, .0.height
)]
pub struct ClipTooLarge(pub ClipShape);

/// A clip to state costs for, in input frames and pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ClipShape {
    /// Frames.
    pub frames: usize,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// What restoring one clip in one piece costs.
#[derive(Clone, Debug, Serialize)]
pub struct CostInfo {
    /// The clip.
    pub clip: ClipShape,
    /// Operations by kind, multiplication and addition counted as two.
    pub operations: Vec<OperationInfo>,
    /// Operations in all.
    pub flops: u128,
    /// Operations for one frame of the clip.
    pub flops_per_frame: u128,
    /// Predicted bytes of memory at the most.
    pub memory: u64,
}

/// Operations of one kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OperationInfo {
    /// What they do.
    pub name: &'static str,
    /// How many, for the whole clip.
    pub flops: u128,
    /// Share of all.
    pub share: f64,
}

impl NetworkInfo {
    /// Describes the network of `config`.
    pub fn of(config: &VrtConfig) -> Self {
        let parts = parts(config);
        Self {
            presets: Preset::matching(config).map(|preset| preset.id).collect(),
            task: task_name(config.task()),
            architecture: Architecture::of(config),
            parameters: parts.iter().map(|part| part.parameters).sum(),
            parts,
        }
    }
}

/// The name of a task, as reports have it.
pub fn task_name(task: Task) -> &'static str {
    match task {
        Task::SuperResolution => "super-resolution",
        Task::Deblurring => "deblurring",
        Task::Denoising => "denoising",
        Task::Interpolation => "interpolation",
    }
}

impl Architecture {
    /// Describes the network of `config`.
    pub fn of(config: &VrtConfig) -> Self {
        let fields = config.fields();
        Self {
            upscale: config.upscale(),
            input_channels: config.input_channels(),
            spike_channels: config.spike_channels(),
            noise_map: config.noise_map(),
            fold: config.fold(),
            trails: config.trails(),
            coarse_flow: config.coarse_flow(),
            window: config.window(),
            depths: fields.depths.clone(),
            widths: fields.embed_dims.clone(),
            heads: fields.heads.clone(),
            independent: fields.independent.clone(),
            reach: config.reach().frames(),
            deformable_groups: config.deformable_groups(),
            fused_frames: config.fused_frames(),
            mlp_ratio: fields.mlp_ratio,
            mutual_ratio: fields.mul_attn_ratio,
        }
    }
}

impl CostInfo {
    /// What the network of `config` costs for `clip`.
    ///
    /// # Errors
    ///
    /// If the clip has no frame or pixel, or more of them than can be counted.
    pub fn of(config: &VrtConfig, clip: ClipShape) -> Result<Self, ClipTooLarge> {
        let ClipShape { frames, width, height } = clip;
        let sizes = [frames, height, width];
        if sizes.iter().any(|size| !(1..=MOST).contains(size)) {
            return Err(ClipTooLarge(clip));
        }
        let flops = Flops::of(config, sizes);
        let operations = flops.iter().map(|(work, count)| OperationInfo {
            name: work_name(work),
            flops: count,
            share: flops.share(work),
        });
        Ok(Self {
            clip,
            operations: operations.collect(),
            flops: flops.total(),
            flops_per_frame: flops.total() / frames as u128,
            memory: peak_bytes(config, sizes),
        })
    }
}

/// The name of a kind of work, as reports have it.
fn work_name(work: Work) -> &'static str {
    match work {
        Work::Flow => "optical flow",
        Work::Qkv => "queries, keys, values",
        Work::SelfAttention => "self attention",
        Work::MutualAttention => "mutual attention",
        Work::Projection => "projection",
        Work::Mlp => "gated MLP",
        Work::Offsets => "offset convolutions",
        Work::Deform => "deformable convolution",
        Work::Fuse => "fusing MLP",
        Work::Upsample => "upsampling",
        Work::Other => "other",
    }
}

/// Learnt values of each part, in the order of the network.
fn parts(config: &VrtConfig) -> Vec<PartInfo> {
    let mut parts: Vec<(Part, PartInfo)> = Vec::new();
    for spec in config.tensors() {
        let known = parts.iter().position(|(part, _)| *part == spec.part);
        let index = known.unwrap_or_else(|| {
            let name = part_name(spec.part);
            parts.push((spec.part, PartInfo { name, tensors: 0, parameters: 0 }));
            parts.len() - 1
        });
        let info = &mut parts[index].1;
        info.tensors += 1;
        info.parameters += spec.len() as u64;
    }
    parts.into_iter().map(|(_, info)| info).collect()
}

fn part_name(part: Part) -> String {
    const LAST: usize = SCALED_STAGES + 1;
    match part {
        Part::Flow => "optical flow".to_owned(),
        Part::First => "first convolution".to_owned(),
        Part::Stage(LAST) => format!("stage {LAST} (refines)"),
        Part::Stage(stage) => format!("stage {stage}"),
        Part::Output => "output".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up_to_the_published_counts() {
        let published = [("001", 30_676_435), ("006", 18_320_007), ("009", 9_943_387)];
        for (id, count) in published {
            let config = Preset::parse(id).unwrap().config();
            let info = NetworkInfo::of(&config);
            assert_eq!(info.parameters, count, "preset {id}");
            assert_eq!(info.parts.iter().map(|part| part.parameters).sum::<u64>(), count);
            assert!(info.presets.contains(&id));
        }
    }

    #[test]
    fn costs_are_those_of_the_whole_clip_and_shares_add_up() {
        let config = Preset::parse("006").unwrap().config();
        let clip = ClipShape { frames: 6, width: 256, height: 256 };
        let cost = CostInfo::of(&config, clip).unwrap();
        // 8.93 TFLOP were counted on the published program.
        assert!((cost.flops as f64 / 8.93e12 - 1.0).abs() < 0.01, "{}", cost.flops);
        assert_eq!(cost.flops_per_frame, cost.flops / 6);
        let shares: f64 = cost.operations.iter().map(|operation| operation.share).sum();
        assert!((shares - 1.0).abs() < 1e-9);
        let smaller = CostInfo::of(&config, ClipShape { width: 128, ..clip }).unwrap();
        assert!(smaller.memory < cost.memory && smaller.flops < cost.flops);
    }

    #[test]
    fn a_clip_without_end_is_an_error_not_an_overflow() {
        let config = Preset::parse("001").unwrap().config();
        for (frames, width) in [(0, 64), (6, 0), (usize::MAX, 64), (6, MOST + 1)] {
            let clip = ClipShape { frames, width, height: 64 };
            assert_eq!(CostInfo::of(&config, clip).unwrap_err(), ClipTooLarge(clip));
        }
        let most = ClipShape { frames: MOST, width: MOST, height: MOST };
        assert!(CostInfo::of(&config, most).is_ok());
    }

    #[test]
    fn a_network_without_alignment_has_no_flow_part() {
        let parts = |id: &str| NetworkInfo::of(&Preset::parse(id).unwrap().config()).parts;
        let has_flow = |id: &str| parts(id).iter().any(|part| part.name == "optical flow");
        assert!(has_flow("006"));
        assert!(!has_flow("009"));
        assert_eq!(parts("009").len() + 1, parts("006").len());
    }
}
