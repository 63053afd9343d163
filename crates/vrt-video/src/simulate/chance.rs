//! Chance, as a function of what it is for: a clip draws the same numbers whatever is drawn beside it.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What is drawn for a clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// What becomes of the sharp frames: exposure, noise, compression.
    Camera,
    /// The layer behind.
    Background,
    /// The layer before it.
    Foreground,
    /// The noise of a frame.
    Noise,
    /// The charges of a spike camera when a frame begins.
    Spikes,
}

/// The generator of one purpose for one clip (and frame). Generators of different seeds, purposes
/// or places have different keys.
pub(super) fn generator(seed: u64, purpose: Purpose, [clip, frame]: [u64; 2]) -> ChaCha8Rng {
    let mut key = [0; 32];
    let words = [seed, purpose as u64, clip, frame];
    for (bytes, word) in key.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// A number from `from` to `to`, all of them alike.
pub(super) fn between(random: &mut ChaCha8Rng, [from, to]: [f64; 2]) -> f64 {
    from + (to - from) * random.random::<f64>()
}

/// A number from `from` to `to`, both above 0, all of its orders of magnitude alike.
pub(super) fn by_order(random: &mut ChaCha8Rng, [from, to]: [f64; 2]) -> f64 {
    between(random, [from.ln(), to.ln()]).exp()
}
