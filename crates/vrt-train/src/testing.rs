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

/// An option file for that network without drop path, with a batch of so many samples.
pub(crate) fn small_options(batch: &str) -> String {
    let network = small_network().with_drop_path_rate(0.0).expect("a valid rate");
    let net_g = vrt_model::option_file::to_json(&network);
    format!(
        r#"{{
            "task": "small",
            "datasets": {{ "train": {{
                "dataset_type": "FixedBatch",
                "batch_file": "batch.safetensors",
                "dataloader_batch_size": {batch}
            }} }},
            "netG": {net_g},
            "train": {{
                "G_lossfn_type": "charbonnier",
                "G_optimizer_lr": 1e-3,
                "total_iter": 4,
                "G_scheduler_type": "MultiStepLR",
                "G_scheduler_milestones": []
            }}
        }}"#
    )
}
