//! From a file of weights to a network that is ready to run.

use std::path::{Path, PathBuf};

use vrt_model::VrtConfig;
use vrt_model::checkpoint::{Checkpoint, CheckpointError, account};
use vrt_model::option_file::{self, OptionError};
use vrt_model::presets::Preset;
use vrt_model::recognise::RecogniseError;

/// Where the architecture of a network is stated.
#[derive(Clone, Debug, Default)]
pub enum Architecture {
    /// Nowhere: names and shapes of the tensors tell it.
    #[default]
    Recognised,
    /// In the section `netG` of an option file.
    OptionFile(PathBuf),
    /// It is that of a preset.
    Preset(&'static Preset),
}

/// Why weights cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The file of weights, or a tensor in it.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The tensors do not tell a network.
    #[error("{path:?}: {source}")]
    Recognise {
        /// The file of weights.
        path: PathBuf,
        /// Why.
        source: RecogniseError,
    },
    /// The option file cannot be read.
    #[error("the option file {path:?} cannot be read: {source}")]
    ReadOptions {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The option file states no network.
    #[error("the option file {path:?}: {source}")]
    Options {
        /// The file.
        path: PathBuf,
        /// Why.
        source: OptionError,
    },
}

impl Architecture {
    /// The network that is stated, if any.
    ///
    /// # Errors
    ///
    /// If the option file cannot be read or states no network.
    pub fn stated(&self) -> Result<Option<VrtConfig>, WeightsError> {
        match self {
            Self::Recognised => Ok(None),
            Self::OptionFile(path) => read_option_file(path).map(Some),
            Self::Preset(preset) => Ok(Some(preset.config())),
        }
    }
}

/// Opens weights; `flow` is a file of SpyNet's, for checkpoints that leave them out.
///
/// # Errors
///
/// If a file cannot be read or is no checkpoint.
pub fn open_weights(weights: &Path, flow: Option<&Path>) -> Result<Checkpoint, WeightsError> {
    merge_flow(Checkpoint::open(weights)?, flow)
}

/// Puts SpyNet's weights, from a file of their own, to those of a network.
pub(crate) fn merge_flow(
    mut checkpoint: Checkpoint,
    flow: Option<&Path>,
) -> Result<Checkpoint, WeightsError> {
    if let Some(flow) = flow {
        checkpoint.merge_flow(Checkpoint::open(flow)?)?;
    }
    Ok(checkpoint)
}

/// Opens weights and settles which network they are of; every tensor is accounted for.
///
/// # Errors
///
/// If a file cannot be read, is no checkpoint, or is not of the network that is stated.
pub fn load_weights(
    weights: &Path,
    architecture: &Architecture,
    flow: Option<&Path>,
) -> Result<(VrtConfig, Checkpoint), WeightsError> {
    settle(open_weights(weights, flow)?, architecture)
}

/// Settles which network open weights are of; every tensor is accounted for.
///
/// # Errors
///
/// If they are of no network, or not of the one that is stated.
pub fn settle(
    checkpoint: Checkpoint,
    architecture: &Architecture,
) -> Result<(VrtConfig, Checkpoint), WeightsError> {
    let config = match architecture.stated()? {
        Some(config) => config,
        None => checkpoint.config().map_err(|source| WeightsError::Recognise {
            path: checkpoint.path().to_path_buf(),
            source,
        })?,
    };
    account(&config, &checkpoint)?;
    Ok((config, checkpoint))
}

/// The network that an option file states in its section `netG`.
///
/// # Errors
///
/// If the file cannot be read or states no network.
pub fn read_option_file(path: &Path) -> Result<VrtConfig, WeightsError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| WeightsError::ReadOptions { path: path.to_path_buf(), source })?;
    option_file::read(&text)
        .map_err(|source| WeightsError::Options { path: path.to_path_buf(), source })
}
