//! What a forward pass is for.

use burn::tensor::{Tensor, TensorData};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// Whether a forward pass restores or trains.
#[derive(Debug)]
pub enum Pass<'a> {
    /// Every block takes part.
    Restore,
    /// Branches of blocks are dropped at random (drop path); the generator decides which.
    Train(&'a mut ChaCha8Rng),
}

impl Pass<'_> {
    /// Drops the branch of each sample with probability `rate`, scaling those that stay so that
    /// the mean is kept.
    pub(crate) fn drop_path(&mut self, branch: Tensor<5>, rate: f32) -> Tensor<5> {
        let Self::Train(random) = self else { return branch };
        if rate <= 0.0 {
            return branch;
        }
        let [samples, ..] = branch.dims();
        let keep = 1.0 - rate;
        let factors: Vec<f32> = (0..samples)
            .map(|_| if random.random::<f32>() < keep { keep.recip() } else { 0.0 })
            .collect();
        let factors = TensorData::new(factors, [samples, 1, 1, 1, 1]);
        branch.clone() * Tensor::<5>::from_data(factors, &branch.device())
    }
}
