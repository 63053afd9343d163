//! Runs the program, and makes weights of the fixtures' tiny networks.

use std::path::Path;
use std::process::Command;

use vrt_model::checkpoint::{Checkpoint, Existing};
use vrt_testing::{Fixture, read_tensors, workspace_root};

/// How the program ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// Runs a command to its end.
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().expect("the program starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("the program speaks UTF-8");
        Self {
            code: output.status.code().expect("the program ends by itself"),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// What it said on standard output, once it ended well.
    pub(crate) fn succeeded(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        self.stdout
    }

    /// What it said on standard error, once it failed.
    pub(crate) fn failed(self) -> String {
        assert_eq!(self.code, 1, "{}{}", self.stdout, self.stderr);
        self.stderr
    }
}

/// Runs `vrt` with these arguments.
pub(crate) fn vrt(arguments: &[&str]) -> Ran {
    Ran::of(Command::new(env!("CARGO_BIN_EXE_vrt")).args(arguments))
}

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
