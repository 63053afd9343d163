//! Weights of the fixtures' tiny networks.

use std::path::Path;

use vrt_model::checkpoint::{Checkpoint, Existing};
use vrt_testing::{Fixture, read_tensors, workspace_root};

/// The weights of a fixture's network, with the real flow network where it has one.
pub(crate) fn checkpoint(fixture: &str) -> Checkpoint {
    let golden = Fixture::load(&format!("models/{fixture}"));
    let tensors = golden.under("param.");
    let tensors = tensors
        .map(|(name, golden)| (name.to_owned(), golden.shape.clone(), golden.values.clone()));
    let mut checkpoint = Checkpoint::from_values(tensors);
    if golden.metadata("config")["pa_frames"] != 0 {
        let flow = read_tensors(&workspace_root().join("weights/spynet.safetensors"));
        let flow = flow.into_iter().map(|(name, golden)| (name, golden.shape, golden.values));
        checkpoint.merge_flow(Checkpoint::from_values(flow)).expect("SpyNet's weights");
    }
    checkpoint
}

/// Writes those weights as `.safetensors`.
pub(crate) fn weights_file(fixture: &str, path: &Path) {
    let checkpoint = checkpoint(fixture);
    let config = checkpoint.config().expect("a fixture is a network");
    checkpoint.write_safetensors(path, &config, Existing::Keep).expect("the weights are written");
}
