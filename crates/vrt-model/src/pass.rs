//! What a forward pass is for.

use burn::tensor::{Tensor, TensorData};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::offsets::Offsets;

/// Whether a forward pass restores or trains.
#[derive(Debug)]
pub enum Pass<'a> {
    /// Every block takes part.
    Restore,
    /// Branches of blocks are dropped at random (drop path).
    Train {
        /// One generator for each sample of the batch decides which branches of it are dropped, so
        /// that they do not depend on what else is in the batch.
        random: &'a mut [ChaCha8Rng],
        /// Hears what the offset layers ask for, where somebody wants to know.
        offsets: Option<&'a mut Offsets>,
    },
}

impl Pass<'_> {
    /// Whether branches are dropped at this rate.
    pub(crate) fn drops(&self, rate: f32) -> bool {
        matches!(self, Self::Train { .. }) && rate > 0.0
    }

    /// Drops the branch of each sample with probability `rate`, scaling those that stay so that
    /// the mean is kept.
    pub(crate) fn drop_path(&mut self, branch: Tensor<5>, rate: f32) -> Tensor<5> {
        let Self::Train { random, .. } = self else { return branch };
        if rate <= 0.0 {
            return branch;
        }
        let [samples, ..] = branch.dims();
        assert_eq!(samples, random.len(), "one generator for each sample");
        let factors = TensorData::new(factors(random, rate), [samples, 1, 1, 1, 1]);
        branch.clone() * Tensor::<5>::from_data(factors, &branch.device())
    }

    /// Who hears what offset layers ask for; nobody in restoring.
    pub(crate) fn offsets(&mut self) -> Option<&mut Offsets> {
        match self {
            Self::Restore => None,
            Self::Train { offsets, .. } => offsets.as_deref_mut(),
        }
    }

    /// The factors of two branches at once, for each sample, as two calls of [`Self::drop_path`]
    /// draw them; empty if none is dropped.
    pub(crate) fn branches(&mut self, samples: usize, rate: f32) -> Vec<[f32; 2]> {
        let Self::Train { random, .. } = self else { return Vec::new() };
        if rate <= 0.0 {
            return Vec::new();
        }
        assert_eq!(samples, random.len(), "one generator for each sample");
        let [first, second] = [(); 2].map(|()| factors(random, rate));
        first.into_iter().zip(second).map(|(first, second)| [first, second]).collect()
    }
}

/// What the branch of each sample is multiplied with.
fn factors(random: &mut [ChaCha8Rng], rate: f32) -> Vec<f32> {
    let keep = 1.0 - rate;
    let draw = |random: &mut ChaCha8Rng| random.random::<f32>() < keep;
    random.iter_mut().map(|random| if draw(random) { keep.recip() } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use rand::SeedableRng;

    use super::*;

    const SAMPLES: usize = 400;

    /// A branch whose values tell samples and places apart.
    fn branch() -> (Tensor<5>, Vec<f32>) {
        let values: Vec<f32> = (1..=SAMPLES * 6).map(|i| i as f32).collect();
        let data = TensorData::new(values.clone(), [SAMPLES, 1, 2, 1, 3]);
        (Tensor::from_data(data, &Device::flex()), values)
    }

    fn train(random: &mut [ChaCha8Rng]) -> Pass<'_> {
        Pass::Train { random, offsets: None }
    }

    fn generators() -> Vec<ChaCha8Rng> {
        (0..SAMPLES as u64).map(ChaCha8Rng::seed_from_u64).collect()
    }

    #[test]
    fn both_branches_at_once_are_drawn_as_one_after_the_other() {
        let (branch, _) = branch();
        let factor = |after: Tensor<5>| -> Vec<f32> {
            let before = values(branch.clone());
            values(after).iter().zip(before).step_by(6).map(|(a, b)| a / b).collect()
        };
        let (mut random, mut again) = (generators(), generators());
        let both = train(&mut random).branches(SAMPLES, 0.3);
        let mut pass = train(&mut again);
        let each = [(); 2].map(|()| factor(pass.drop_path(branch.clone(), 0.3)));
        for (i, both) in both.iter().enumerate() {
            assert!((both[0] - each[0][i]).abs() < 1e-5 && (both[1] - each[1][i]).abs() < 1e-5);
        }
        assert!(Pass::Restore.branches(SAMPLES, 0.3).is_empty());
    }

    fn values(tensor: Tensor<5>) -> Vec<f32> {
        tensor.into_data().try_to_vec().expect("floats")
    }

    #[test]
    fn each_sample_is_dropped_whole_or_scaled_so_that_the_mean_is_kept() {
        let (branch, before) = branch();
        for rate in [0.1_f32, 0.5, 0.8] {
            let mut random = generators();
            let after = values(train(&mut random).drop_path(branch.clone(), rate));
            let scale = (1.0 - rate).recip();
            let mut dropped = 0;
            for (after, before) in after.chunks(6).zip(before.chunks(6)) {
                let is_dropped = after.iter().all(|value| *value == 0.0);
                dropped += usize::from(is_dropped);
                let factor = if is_dropped { 0.0 } else { scale };
                let near = |(a, b): (&f32, &f32)| (a - factor * b).abs() <= 1e-6 * b * scale;
                assert!(after.iter().zip(before).all(near), "{after:?} of {before:?}");
            }
            let share = dropped as f32 / SAMPLES as f32;
            let deviation = (rate * (1.0 - rate) / SAMPLES as f32).sqrt();
            assert!((share - rate).abs() < 5.0 * deviation, "{share} of samples at rate {rate}");
        }
    }

    #[test]
    fn nothing_is_dropped_in_restoring_or_at_rate_zero() {
        let (branch, before) = branch();
        assert_eq!(values(Pass::Restore.drop_path(branch.clone(), 0.5)), before);
        let mut random = generators();
        assert_eq!(values(train(&mut random).drop_path(branch, 0.0)), before);
    }
}
