//! What makes frames worse, for pairs to train on.

mod bicubic;
mod blur;
mod compress;
mod motion;
mod set;

pub use bicubic::{Scale, bicubic};
pub use blur::blur_down;
pub use compress::{Compressed, compress};
pub use motion::{Light, average};
pub use set::{Degradation, DegradedSet, degrade_set};
