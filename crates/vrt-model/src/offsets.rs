//! How far the offset layers of alignment ask to go.

use burn::tensor::{Device, Tensor};

/// What the offset layers ask for in a forward pass, stage by stage.
///
/// An answer `a` of an offset layer moves a sample `m · tanh(a)` pixels away from its flow. What is
/// looked at is `m · |a|`, the distance without its bound: where answers leave the bound behind,
/// tanh has no gradient left that would bring them back. Values are taken from the answers as they
/// are; nothing is computed again, and no gradient flows.
#[derive(Debug, Default)]
pub struct Offsets {
    stages: Vec<Stage>,
}

/// What one stage asks for.
#[derive(Debug)]
struct Stage {
    /// Pixels of the first stage that one of its pixels is wide.
    pixel: f64,
    /// Mean distances in its own pixels, one for each frame and side.
    means: Vec<Tensor<1>>,
}

impl Offsets {
    /// Begins the next stage, which works at so many halvings of the clip's size.
    pub(crate) fn begin_stage(&mut self, halvings: usize) {
        self.stages.push(Stage { pixel: 2_f64.powi(halvings as i32), means: Vec::new() });
    }

    /// Takes the first `count` of each pixel's answers `[n, h, w, ·]`, whose bound is `max_offset`.
    pub(crate) fn add(&mut self, answers: &Tensor<4>, count: usize, max_offset: f64) {
        let Some(stage) = self.stages.last_mut() else { return };
        let answers = answers.clone().inner().narrow(3, 0, count);
        // Frame by frame: a copy of all answers would be as large as the largest map there is.
        let frames = (0..answers.dims()[0]).map(|frame| answers.clone().narrow(0, frame, 1));
        stage.means.extend(frames.map(|frame| frame.abs().mean() * max_offset));
    }

    /// The same of answers in memory, of frames of this size.
    pub(crate) fn hear(
        &mut self,
        answers: &[f32],
        ([frames, height, width], count): ([usize; 3], usize),
        (max_offset, device): (f64, &Device),
    ) {
        let Some(stage) = self.stages.last_mut() else { return };
        let (frame, pixels) = (answers.len() / frames, height * width);
        let means = answers.chunks_exact(frame).map(|answers| {
            let asked = answers.chunks_exact(frame / pixels).map(|pixel| &pixel[..count]);
            let sum: f64 = asked
                .map(|asked| f64::from(asked.iter().map(|answer| answer.abs()).sum::<f32>()))
                .sum();
            let mean = max_offset * sum / (pixels * count) as f64;
            Tensor::from_data([mean as f32], &device.clone().inner())
        });
        stage.means.extend(means);
    }

    /// The mean distance of each stage that aligns, in pixels of the first stage (two of a
    /// picture's where the network folds them), stage by stage.
    pub fn means(self) -> Vec<Tensor<1>> {
        let stages = self.stages.into_iter().filter(|stage| !stage.means.is_empty());
        stages.map(|stage| Tensor::cat(stage.means, 0).mean() * stage.pixel).collect()
    }
}

#[cfg(test)]
mod tests {
    use burn::module::{Module, ModuleMapper, Param};
    use burn::tensor::{Device, TensorData};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use vrt_kernels::fused;

    use super::*;
    use crate::config::{Reach, VrtFields};
    use crate::{Pass, Vrt, VrtConfig};

    #[test]
    fn listening_changes_no_bit_and_restoring_has_no_listener() {
        let fields = VrtFields {
            in_channels: 3,
            window: [2, 2, 2],
            depths: vec![2, 2, 2, 2, 2, 2, 2, 1],
            embed_dims: vec![8; 8],
            heads: vec![2; 8],
            independent: vec![],
            reach: Reach::One,
            deformable_groups: 4,
            drop_path_rate: 0.0,
            ..VrtFields::default()
        };
        let config = VrtConfig::new(fields).expect("valid");
        let device = Device::flex();
        let network = Vrt::with_seed(&config, 3, &device).network;
        let values: Vec<f32> = (0..2 * 16 * 16 * 3).map(|i| (i % 97) as f32 / 97.0).collect();
        let clip = Tensor::<5>::from_data(TensorData::new(values, [1, 2, 16, 16, 3]), &device);
        let run = |pass: &mut Pass<'_>| -> Vec<f32> {
            network.forward(clip.clone(), pass).into_data().try_to_vec().expect("floats")
        };
        let mut random = [ChaCha8Rng::seed_from_u64(0)];
        let mut offsets = Offsets::default();
        let restored = run(&mut Pass::Restore);
        assert_eq!(run(&mut Pass::Train { random: &mut random, offsets: None }), restored);
        let mut listening = Pass::Train { random: &mut random, offsets: Some(&mut offsets) };
        assert_eq!(run(&mut listening), restored);
        assert!(Pass::Restore.offsets().is_none());

        // Offset layers start at zero: these have been trained a little.
        let trained = network.map(&mut Trained);
        let listen = |trained: &Vrt| {
            let (mut random, mut offsets) = ([ChaCha8Rng::seed_from_u64(0)], Offsets::default());
            let mut pass = Pass::Train { random: &mut random, offsets: Some(&mut offsets) };
            drop(trained.forward(clip.clone(), &mut pass));
            offsets.means().into_iter().map(Tensor::into_scalar).collect::<Vec<f32>>()
        };
        let (heard, composed) = (listen(&trained), fused::without(|| listen(&trained)));
        assert_eq!((heard.len(), composed.len()), (7, 7));
        for (heard, composed) in heard.iter().zip(&composed) {
            assert!(
                *heard > 0.1 && (heard - composed).abs() < 1e-3 * composed,
                "{heard} {composed}"
            );
        }
    }

    /// Adds to all values.
    struct Trained;

    impl ModuleMapper for Trained {
        fn map_float<const D: usize>(&mut self, values: Param<Tensor<D>>) -> Param<Tensor<D>> {
            values.map(|values| values + 0.01)
        }
    }

    #[test]
    fn a_stage_is_the_mean_of_its_offsets_without_their_masks_in_pixels_of_the_clip() {
        // Two frames of one pixel: two offsets and a mask each.
        let values: Vec<f32> = vec![1.0, -3.0, 100.0, -0.5, 0.5, -100.0];
        let answers =
            Tensor::<4>::from_data(TensorData::new(values, [2, 1, 1, 3]), &Device::flex());
        let mut offsets = Offsets::default();
        offsets.begin_stage(0);
        offsets.add(&answers, 2, 10.0);
        offsets.begin_stage(2);
        offsets.add(&answers, 2, 2.5);
        offsets.add(&(answers * 3.0), 2, 2.5);
        let means: Vec<f32> =
            offsets.means().into_iter().map(|mean| mean.into_scalar::<f32>()).collect();
        assert_eq!(means, [12.5, 25.0]);
    }

    #[test]
    fn stages_without_alignment_ask_for_nothing() {
        let mut offsets = Offsets::default();
        assert!(Offsets::default().means().is_empty());
        offsets.begin_stage(1);
        assert!(offsets.means().is_empty());
    }
}
