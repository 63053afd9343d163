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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::tests::valid_fields;

    proptest! {
        #[test]
        fn drop_path_rates_grow_linearly_in_the_order_of_the_network(
            fields in valid_fields(),
            rate in 0.0_f64..0.9,
        ) {
            let config = VrtConfig::new(fields).expect("valid");
            let config = config.with_drop_path_rate(rate).expect("valid");
            let shapes = Shapes::of(&config);
            let mut found: Vec<f32> = Vec::new();
            for stage in &shapes.stages {
                found.extend(&stage.pairs.drop_path);
                found.extend(&stage.clips.drop_path);
            }
            for group in &shapes.refine {
                found.extend(&group.drop_path);
            }
            let blocks: usize = config.fields().depths.iter().sum();
            prop_assert_eq!(found.len(), blocks);
            for (i, found) in found.into_iter().enumerate() {
                let expected = rate * i as f64 / (blocks - 1) as f64;
                prop_assert!((f64::from(found) - expected).abs() < 1e-6, "{i}: {found} {expected}");
            }
        }
    }
}
