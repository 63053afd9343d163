//! Flags about the network, shared by the commands that take weights.

use std::path::PathBuf;

use clap::Args;
use vrt::models::Weights;
use vrt::weights::{Architecture, WeightsError, settle};
use vrt_model::VrtConfig;
use vrt_model::checkpoint::Checkpoint;
use vrt_model::presets::{Preset, UnknownPreset};

/// What is known about weights beside their file.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct NetworkOptions {
    /// Option file whose section netG states the architecture [default: recognised from the
    /// weights]
    #[arg(long, value_name = "FILE.json", conflicts_with = "preset")]
    pub(crate) options: Option<PathBuf>,
    /// Published network whose architecture this is, such as 006
    #[arg(long, value_name = "NAME", value_parser = preset)]
    pub(crate) preset: Option<&'static Preset>,
    /// SpyNet's weights, for checkpoints that leave them out
    #[arg(long, value_name = "FILE")]
    pub(crate) flow: Option<PathBuf>,
}

fn preset(name: &str) -> Result<&'static Preset, UnknownPreset> {
    Preset::parse(name)
}

impl NetworkOptions {
    /// Opens weights, and SpyNet's along with them.
    pub(crate) fn open(&self, weights: &Weights) -> Result<Checkpoint, WeightsError> {
        weights.open(self.flow.as_deref())
    }

    /// Whether the network is stated.
    pub(crate) fn is_stated(&self) -> bool {
        self.options.is_some() || self.preset.is_some()
    }

    /// The network that is stated, if any.
    pub(crate) fn stated(&self) -> Result<Option<VrtConfig>, WeightsError> {
        self.architecture().stated()
    }

    /// Opens weights and settles which network they are of.
    pub(crate) fn load(&self, weights: &Weights) -> Result<(VrtConfig, Checkpoint), WeightsError> {
        settle(self.open(weights)?, &self.architecture())
    }

    fn architecture(&self) -> Architecture {
        match (&self.options, self.preset) {
            (Some(path), _) => Architecture::OptionFile(path.clone()),
            (None, Some(preset)) => Architecture::Preset(preset),
            (None, None) => Architecture::Recognised,
        }
    }
}
