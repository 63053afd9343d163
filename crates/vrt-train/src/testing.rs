//! What tests of several modules use.

use vrt_model::VrtConfig;
use vrt_model::config::{Reach, VrtFields};

/// The smallest network there is with every kind of part.
pub(crate) fn small_network() -> VrtConfig {
    VrtConfig::new(VrtFields {
        in_channels: 3,
        window: [2, 2, 2],
        depths: vec![2, 2, 2, 2, 2, 2, 2, 1],
        embed_dims: vec![8; 8],
        heads: vec![2; 8],
        independent: vec![],
        reach: Reach::One,
        deformable_groups: 4,
        drop_path_rate: 0.1,
        ..VrtFields::default()
    })
    .expect("a valid network")
}
