//! Opens bytes as weights and does what a run would do with them.

use vrt_model::checkpoint::{Checkpoint, account};

pub(crate) fn bytes(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("weights");
    std::fs::write(&path, bytes).expect("written");
    let Ok(checkpoint) = Checkpoint::open(&path) else { return };
    for name in checkpoint.tensors().keys() {
        let _ = checkpoint.read(name);
    }
    if let Ok(config) = checkpoint.config() {
        let _ = account(&config, &checkpoint);
    }
}
