//! Sizes of the parts of a network, from its configuration.

use crate::align::AlignShape;
use crate::attention::AttentionShape;
use crate::block::GroupShape;
use crate::config::{Reach, StageConfig, VrtConfig};
use crate::layers::ConvShape;
use crate::stage::StageShape;

/// What the constructors of the parts need to know.
pub(crate) struct Shapes {
    pub(crate) conv_first: ConvShape,
    pub(crate) stages: Vec<StageShape>,
    pub(crate) refine: Vec<GroupShape>,
}

impl Shapes {
    pub(crate) fn of(config: &VrtConfig) -> Self {
        let mut rates = config.drop_path_rates().into_iter().map(|rate| rate as f32);
        let mut group = |attention: AttentionShape, blocks: usize| GroupShape {
            attention,
            hidden: config.mlp_hidden(attention.channels),
            drop_path: rates.by_ref().take(blocks).collect(),
        };
        let stages = config.stages().map(|stage| {
            let attention = |window, mutual| AttentionShape {
                channels: stage.channels,
                heads: stage.heads,
                window,
                mutual,
            };
            StageShape {
                resample: stage.resample,
                inputs: stage.inputs,
                pairs: group(attention(config.pair_window(), true), stage.pair_blocks),
                clips: group(attention(config.window(), false), stage.clip_blocks),
                align: align(config, &stage),
                halvings: stage.halvings as usize,
            }
        });
        let stages = stages.collect();
        let refine = config.refine().map(|entry| {
            let (channels, heads) = (entry.channels, entry.heads);
            let attention = AttentionShape { channels, heads, window: entry.window, mutual: false };
            group(attention, entry.blocks)
        });
        let refine = refine.collect();
        let conv_first = ConvShape {
            inputs: config.first_conv_inputs(),
            outputs: config.first_channels(),
            kernel: 3,
        };
        Self { conv_first, stages, refine }
    }
}

fn align(config: &VrtConfig, stage: &StageConfig) -> Option<AlignShape> {
    (config.reach() != Reach::None).then(|| AlignShape {
        channels: stage.channels,
        reach: config.reach().frames(),
        groups: config.deformable_groups(),
        max_offset: stage.max_residue,
    })
}
