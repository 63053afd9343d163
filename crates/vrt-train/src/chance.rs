//! Chance, as a function of what it is for: a run that goes on draws what it would have drawn.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// What is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The order of samples in an epoch.
    Order,
    /// The crop, flips and noise of a sample.
    Sample,
    /// Which branches are dropped.
    DropPath,
}

/// The generator of one purpose at one place: for example of a sample in an epoch. Generators of
/// different seeds, purposes or places have different keys.
pub fn generator(seed: u64, purpose: Purpose, [epoch, place]: [u64; 2]) -> ChaCha8Rng {
    let mut key = [0; 32];
    let words = [seed, purpose as u64, epoch, place];
    for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::RngExt;

    use super::*;

    #[test]
    fn every_place_has_numbers_of_its_own_and_always_the_same() {
        let mut seen = BTreeSet::new();
        for purpose in [Purpose::Order, Purpose::Sample, Purpose::DropPath] {
            for (seed, epoch, place) in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)] {
                let first = generator(seed, purpose, [epoch, place]).random::<u64>();
                assert_eq!(first, generator(seed, purpose, [epoch, place]).random::<u64>());
                assert!(seen.insert(first), "{purpose:?} {seed} {epoch} {place}");
            }
        }
    }
}
