//! What a recipe amounts to, before anything is computed.

use vrt_model::cost;
use vrt_video::{SetKind, TrainingSet};

use crate::parameters::{Group, group};
use crate::recipe::{Recipe, TrainingData};
use crate::samples::FixedBatch;

/// Parameters of one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupSize {
    /// The group.
    pub group: Group,
    /// Its tensors.
    pub tensors: usize,
    /// Numbers in them.
    pub numbers: usize,
}

/// What a recipe amounts to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Groups with parameters, the normal one first.
    pub groups: Vec<GroupSize>,
    /// Samples of an epoch, or why they cannot be counted.
    pub samples: Result<usize, String>,
    /// Steps of an epoch, the last one in part in the next.
    pub steps_per_epoch: Option<u64>,
    /// Predicted bytes of a step at its peak, on a processor; `None` where the samples are not
    /// known.
    pub step_bytes: Option<u64>,
}

impl Plan {
    /// The plan of a recipe. Only the training set's list and first frames are looked at.
    pub fn of(recipe: &Recipe) -> Self {
        let samples = match &recipe.data.source {
            TrainingData::Fixed { path } => FixedBatch::open(path)
                .map(|batch| crate::samples::Samples::len(&batch))
                .map_err(|error| error.to_string()),
            TrainingData::Videos(options) => TrainingSet::open((**options).clone())
                .map(|set| set.len())
                .map_err(|error| error.to_string()),
        };
        let batch = recipe.data.batch as u64;
        let steps_per_epoch =
            samples.as_ref().ok().map(|samples| (*samples as u64).div_ceil(batch));
        let step_bytes = clip_size(recipe).map(|size| {
            let (clips, keeps) = (recipe.part(), recipe.keeps_attention.as_slice());
            let averages = recipe.train.ema_decay != 0.0;
            cost::step_bytes(&recipe.network, cost::Step { size, clips, keeps, averages })
        });
        Self { groups: groups(recipe), samples, steps_per_epoch, step_bytes }
    }
}

/// Frames, rows and columns of a clip as the network takes it.
fn clip_size(recipe: &Recipe) -> Option<[usize; 3]> {
    match &recipe.data.source {
        TrainingData::Fixed { path } => FixedBatch::open(path).ok().map(|batch| batch.size()),
        TrainingData::Videos(options) => {
            let frames = match options.kind {
                SetKind::Interpolation => recipe.network.fused_frames()?,
                _ if options.mirror => 2 * options.frames,
                _ => options.frames,
            };
            let side = options.crop / options.scale;
            Some([frames, side, side])
        }
    }
}

fn groups(recipe: &Recipe) -> Vec<GroupSize> {
    let mut sizes =
        [Group::Normal, Group::Slow].map(|group| GroupSize { group, tensors: 0, numbers: 0 });
    for spec in recipe.network.tensors() {
        let size = match group(&spec.name, &recipe.train.slow) {
            Group::Normal => &mut sizes[0],
            Group::Slow => &mut sizes[1],
        };
        size.tensors += 1;
        size.numbers += spec.len();
    }
    sizes.into_iter().filter(|size| size.tensors > 0).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::recipe::tests::SAMPLE;

    #[test]
    fn every_parameter_is_counted_once_and_missing_data_is_said() {
        let recipe = Recipe::parse(Path::new("options.json"), SAMPLE, &[]).unwrap().recipe;
        let plan = Plan::of(&recipe);
        let tensors = recipe.network.tensors();
        assert_eq!(plan.groups.len(), 2);
        assert_eq!(plan.groups.iter().map(|size| size.tensors).sum::<usize>(), tensors.len());
        let numbers: usize = tensors.iter().map(|spec| spec.len()).sum();
        assert_eq!(plan.groups.iter().map(|size| size.numbers).sum::<usize>(), numbers);
        assert!(plan.samples.is_err() && plan.steps_per_epoch.is_none());
    }
}
