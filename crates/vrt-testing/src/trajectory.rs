//! Option files of golden training runs.

use std::path::Path;

use serde_json::{Value, json};

use crate::{Fixture, workspace_root};

/// The option file of a fixture of `training/`, which trains on its `batch` from `weights`.
///
/// # Panics
///
/// Panics if the fixture is no such run.
pub fn trajectory_options(fixture: &Fixture, batch: &Path, weights: &Path) -> Value {
    let mut net_g = fixture.metadata("config").clone();
    net_g["spynet_path"] = json!(workspace_root().join("weights/spynet.safetensors"));
    let mut train = json!({
        "G_lossfn_type": "charbonnier",
        "G_charbonnier_eps": 1e-9,
        "E_decay": fixture.metadata("ema_decay"),
        "G_optimizer_lr": fixture.metadata("lr"),
        "G_optimizer_betas": fixture.metadata("betas"),
        "G_optimizer_clipgrad": fixture.metadata("clip_grad_norm"),
        "fix_iter": fixture.metadata("fix_iter"),
        "fix_lr_mul": fixture.metadata("fix_lr_mul"),
        "fix_keys": fixture.metadata("fix_keys"),
        "total_iter": fixture.metadata("steps"),
    });
    let schedule = match fixture.metadata("scheduler").as_str() {
        Some("MultiStepLR milestones [3,5] gamma 0.5") => json!({
            "G_scheduler_type": "MultiStepLR",
            "G_scheduler_milestones": [3, 5],
            "G_scheduler_gamma": 0.5,
        }),
        Some("CosineAnnealingWarmRestarts T_0=4 T_mult=1 eta_min=1e-7") => json!({
            "G_scheduler_type": "CosineAnnealingWarmRestarts",
            "G_scheduler_periods": 4,
            "G_scheduler_eta_min": 1e-7,
        }),
        other => panic!("a schedule of its own: {other:?}"),
    };
    if let (Some(train), Value::Object(schedule)) = (train.as_object_mut(), schedule) {
        train.extend(schedule);
    }
    json!({
        "task": "trajectory",
        "path": { "pretrained_netG": weights },
        "datasets": { "train": {
            "dataset_type": "FixedBatch",
            "batch_file": batch,
            "dataloader_batch_size": 1,
        } },
        "netG": net_g,
        "train": train,
    })
}
