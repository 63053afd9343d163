//! What makes frames worse, for pairs to train on.

mod bicubic;
mod blur;
mod compress;
mod motion;
mod set;

#[cfg(test)]
pub(crate) use bicubic::cubic;
pub(crate) use bicubic::taps;
pub use bicubic::{Scale, bicubic};
pub use blur::blur_down;
pub(crate) use compress::compress_on;
pub use compress::{Compressed, compress};
pub use motion::{Light, average};
pub(crate) use motion::{from_light, to_light};
pub use set::{Degradation, DegradedSet, degrade_set};
pub(crate) use set::{each, refuse_filled};
