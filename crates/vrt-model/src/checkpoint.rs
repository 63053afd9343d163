//! Weights on disk: `.pth` and `.safetensors`, read without running anything in them.
//!
//! Opening reads names and shapes only; values are read tensor by tensor, when asked for, so a
//! file's claims are held to a configuration before memory is taken. The kind of file is told by
//! its content, not its name.

mod account;
mod element;
mod error;
mod pickle;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use account::{Account, Misshaped, account};
pub use element::Element;
pub use error::CheckpointError;
pub use write::{Existing, Floats, Stored};

use crate::config::VrtConfig;
use crate::inventory::TensorSpec;
use crate::option_file;
use crate::recognise::{RecogniseError, Shapes, recognise};
use read::Source;

/// Key of the metadata that holds the configuration, as in an option file's `netG`.
const CONFIG_KEY: &str = "config";
/// What names of the flow network start with inside VRT.
const FLOW: &str = "spynet.";

/// Which weights of a file that holds several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Which {
    /// The averaged ones (`params_ema`), else `params`, `state_dict`, or the file itself.
    #[default]
    Best,
    /// The averaged ones, `params_ema`.
    Averaged,
    /// Those of the last step, `params`.
    Params,
}

/// A tensor of a checkpoint, whose values are read when asked for.
#[derive(Clone, Debug)]
pub struct StoredTensor {
    element: Element,
    shape: Vec<usize>,
    source: Source,
}

impl StoredTensor {
    /// Sizes, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// How its values are stored.
    pub fn element(&self) -> Element {
        self.element
    }

    /// How many values it has; `None` if they cannot be counted.
    pub fn values(&self) -> Option<usize> {
        count(&self.shape)
    }
}

/// The product of sizes; `None` if it is out of range. Nothing is nothing, whatever the other
/// sizes are.
fn count(shape: &[usize]) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size))
}

/// The tensors of one set of weights.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    path: PathBuf,
    tensors: BTreeMap<String, StoredTensor>,
    metadata: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Opens a file; [`Which::Best`] of what it holds.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::open_which`].
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        Self::open_which(path, Which::Best)
    }

    /// Opens a file. A `module.` in front of names is taken off.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, is no checkpoint or damaged, claims more values than it
    /// can hold, or does not have these weights.
    pub fn open_which(path: &Path, which: Which) -> Result<Self, CheckpointError> {
        read::open(path, which)
    }

    /// Opens the bytes of a `.safetensors` file that is in memory, held to the same checks as one
    /// on disk. Errors name `path`, which no file needs to have.
    ///
    /// # Errors
    ///
    /// Fails if the bytes are no `.safetensors` file or a damaged one.
    pub fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self, CheckpointError> {
        read::open_bytes(path, Arc::from(bytes))
    }

    /// A checkpoint of values in memory.
    ///
    /// # Panics
    ///
    /// Panics if a tensor's values are not as many as its shape says.
    pub fn from_values(tensors: impl IntoIterator<Item = (String, Vec<usize>, Vec<f32>)>) -> Self {
        let stored = tensors.into_iter().map(|(name, shape, values)| {
            let len = shape.iter().product::<usize>();
            assert_eq!(values.len(), len, "values of {name}, whose shape is {shape:?}");
            let source = Source::Memory(Arc::from(values));
            (name, StoredTensor { element: Element::F32, shape, source })
        });
        Self { tensors: stored.collect(), ..Self::default() }
    }

    /// Where it was read from; empty for values in memory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its tensors by name.
    pub fn tensors(&self) -> &BTreeMap<String, StoredTensor> {
        &self.tensors
    }

    /// Text that a `.safetensors` file holds beside its tensors; written again with them.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Adds or replaces one entry of that text.
    pub fn set_metadata(&mut self, key: &str, text: String) {
        self.metadata.insert(key.to_owned(), text);
    }

    /// Names and shapes.
    pub fn shapes(&self) -> Shapes {
        self.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shape.clone())).collect()
    }

    /// The network these weights are of, told from names and shapes. What these do not tell, such
    /// as windows that are not square, a coarse flow or the drop path rate, is as the metadata
    /// states it, if the network stated there has the same tensors, else as published.
    ///
    /// # Errors
    ///
    /// Fails if they are of no VRT network.
    pub fn config(&self) -> Result<VrtConfig, RecogniseError> {
        let stated = self.metadata.get(CONFIG_KEY);
        let stated = stated.and_then(|text| option_file::from_json(text).ok());
        match recognise(&self.shapes()) {
            Ok(found) => {
                let tensors = found.tensors();
                Ok(stated.filter(|stated| stated.tensors() == tensors).unwrap_or(found))
            }
            Err(error) => stated.filter(|stated| account(stated, self).is_ok()).ok_or(error),
        }
    }

    /// Whether the flow network's weights are among these.
    pub fn has_flow(&self) -> bool {
        self.tensors.keys().any(|name| name.starts_with(FLOW))
    }

    /// Takes the flow network from a file of its own, whose names may start with `spynet.` or
    /// not. Flow weights that are here already are replaced.
    ///
    /// # Errors
    ///
    /// Fails if `flow` holds no flow network.
    pub fn merge_flow(&mut self, flow: Self) -> Result<(), CheckpointError> {
        let bare =
            |name: &str| name.starts_with("basic_module.") || ["mean", "std"].contains(&name);
        let named = flow.tensors.into_iter().filter_map(|(name, tensor)| {
            let full = if bare(&name) { format!("{FLOW}{name}") } else { name };
            full.starts_with(FLOW).then_some((full, tensor))
        });
        let named: BTreeMap<_, _> = named.collect();
        if !named.keys().any(|name| name.starts_with("spynet.basic_module.")) {
            return Err(CheckpointError::NoFlow { path: flow.path });
        }
        self.tensors.retain(|name, _| !name.starts_with(FLOW));
        self.tensors.extend(named);
        Ok(())
    }

    /// The values of one tensor, row-major, whatever they are stored as.
    ///
    /// # Errors
    ///
    /// Fails if there is no such tensor, if it holds no floats, or if it cannot be read.
    pub fn read(&self, name: &str) -> Result<Vec<f32>, CheckpointError> {
        let path = || self.path.clone();
        let Some(tensor) = self.tensors.get(name) else {
            return Err(CheckpointError::NoTensor { path: path(), name: name.to_owned() });
        };
        if !tensor.element.is_float() {
            let (name, element) = (name.to_owned(), tensor.element);
            return Err(CheckpointError::NotFloats { path: path(), name, element });
        }
        tensor.source.read(tensor).map_err(|source| self.unreadable(name, source))
    }

    fn unreadable(&self, name: &str, source: io::Error) -> CheckpointError {
        CheckpointError::Values { path: self.path.clone(), name: name.to_owned(), source }
    }

    /// All parameters of `config` by name, once every tensor is accounted for.
    ///
    /// # Errors
    ///
    /// Fails with everything that is missing, unknown or does not fit, or if values cannot be
    /// read.
    pub fn parameters(
        &self,
        config: &VrtConfig,
    ) -> Result<BTreeMap<String, Vec<f32>>, CheckpointError> {
        account(config, self)?;
        let read = |spec: TensorSpec| self.read(&spec.name).map(|values| (spec.name, values));
        config.tensors().into_iter().map(read).collect()
    }

    /// Writes the parameters of `config` as `.safetensors`, with the configuration and this
    /// checkpoint's metadata as text. Values are stored as 32-bit floats.
    ///
    /// The file appears at `path` only when it is whole.
    ///
    /// # Errors
    ///
    /// Fails if tensors do not fit `config`, cannot be read or written, or if the file exists
    /// and must be kept.
    pub fn write_safetensors(
        &self,
        path: &Path,
        config: &VrtConfig,
        existing: Existing,
    ) -> Result<(), CheckpointError> {
        self.write_safetensors_as(path, config, Stored::default(), existing)
    }

    /// As [`Checkpoint::write_safetensors`], with what and how `stored` says.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::write_safetensors`], and if a value is too large for its floats.
    pub fn write_safetensors_as(
        &self,
        path: &Path,
        config: &VrtConfig,
        stored: Stored,
        existing: Existing,
    ) -> Result<(), CheckpointError> {
        write::safetensors(self, path, config, stored, existing)
    }

    /// Writes a `.pth` file in the published form: `{"params": {name: tensor}}` with the
    /// constants that strict loading asks for. Values are stored as 32-bit floats.
    ///
    /// The file appears at `path` only when it is whole.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::write_safetensors`].
    pub fn write_pth(
        &self,
        path: &Path,
        config: &VrtConfig,
        existing: Existing,
    ) -> Result<(), CheckpointError> {
        write::pth(self, path, config, existing)
    }

    /// Writes every tensor under its name as `.safetensors`, whatever network it is of. Floats
    /// are stored as 32-bit ones, other values as they are; this checkpoint's metadata goes
    /// along.
    ///
    /// # Errors
    ///
    /// Fails if a tensor holds values that the form has no name for or cannot be read, the file
    /// cannot be written, or it exists and must be kept.
    pub fn write_plain_safetensors(
        &self,
        path: &Path,
        existing: Existing,
    ) -> Result<(), CheckpointError> {
        write::plain_safetensors(self, path, existing)
    }

    /// Writes every tensor under its name as `.pth`, `{"params": {name: tensor}}`, whatever
    /// network it is of. Floats are stored as 32-bit ones, other values as they are.
    ///
    /// # Errors
    ///
    /// As [`Checkpoint::write_plain_safetensors`]; also if a tensor has more values than the form
    /// can count.
    pub fn write_plain_pth(&self, path: &Path, existing: Existing) -> Result<(), CheckpointError> {
        write::plain_pth(self, path, existing)
    }
}
