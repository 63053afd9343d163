//! Golden tensors, tolerances and seeded inputs for the tests of the other crates.

#![forbid(unsafe_code)]

mod close;
mod fixture;
mod random;
mod trajectory;

pub use close::{Tolerance, assert_close, worst};
pub use fixture::{
    Fixture, Golden, NETWORKS, fixture_root, read_tensors, shared_root, workspace_root,
};
pub use random::Random;
pub use trajectory::trajectory_options;
