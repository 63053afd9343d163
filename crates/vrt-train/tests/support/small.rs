//! A small network and what it is trained on.

use std::path::Path;

use serde_json::{Value, json};
use vrt_model::Checkpoint;
use vrt_model::checkpoint::Existing;
use vrt_testing::Random;

/// Writes clips of random values; those named in `broken` have no number in their truth.
pub(crate) fn write_batch(path: &Path, clips: usize, broken: &[usize]) {
    let shape = [clips, 2, 3, 16, 16];
    let len: usize = shape[1..].iter().product();
    let mut random = Random::new(4);
    let mut values = |broken: &[usize]| {
        let clip = |i| {
            let mut values: Vec<_> = (0..len).map(|_| random.uniform(0.0, 1.0)).collect();
            if broken.contains(&i) {
                values[7] = f32::NAN;
            }
            values
        };
        (0..clips).flat_map(clip).collect::<Vec<_>>()
    };
    let tensors = [("lq", values(&[])), ("gt", values(broken))];
    let tensors = tensors.map(|(name, values)| (name.to_owned(), shape.to_vec(), values));
    let checkpoint = Checkpoint::from_values(tensors);
    checkpoint.write_plain_safetensors(path, Existing::Replace).expect("the folder is there");
}

/// A network of the smallest kind, trained on a batch in its own order.
pub(crate) fn small(batch: &Path, steps: u64) -> Value {
    json!({
        "task": "small",
        "datasets": { "train": {
            "dataset_type": "FixedBatch",
            "batch_file": batch,
            "dataloader_shuffle": false,
            "dataloader_batch_size": 1,
        } },
        "netG": {
            "window_size": [2, 2, 2],
            "depths": [2, 2, 2, 2, 2, 2, 2, 1],
            "embed_dims": [8, 8, 8, 8, 8, 8, 8, 8],
            "num_heads": [2, 2, 2, 2, 2, 2, 2, 2],
            "pa_frames": 2,
            "deformable_groups": 4,
        },
        "train": {
            "G_lossfn_type": "charbonnier",
            "G_optimizer_lr": 4e-4,
            "total_iter": steps,
            "G_scheduler_type": "MultiStepLR",
            "G_scheduler_milestones": [],
        },
    })
}
