//! Whole states of a run on disk, and weights for others.
//!
//! A state is one `.safetensors` file, written aside and renamed: after a crash at any moment the
//! newest file is whole. It holds weights (`weights.NAME`), their average (`average.NAME`), the
//! optimiser's moments (`mean.NAME`, `square.NAME`), and as text the step, the position among the
//! samples, the moments' counts and the resolved options. Chance needs no state: it follows from
//! the seed and the position.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use burn::tensor::{Tensor, TensorData};
use serde_json::json;
use vrt_model::Checkpoint;
use vrt_model::checkpoint::{CheckpointError, Existing};
use vrt_model::config::VrtConfig;

use crate::adam::Moments;
use crate::host::floats;
use crate::parameters::Parameters;
use crate::step::State;

/// Key of the text that makes a file a state, and its version.
const FORM_KEY: &str = "vrt-train";
const FORM: &str = "1";
/// Keys of the rest of the text.
const STEP_KEY: &str = "step";
const POSITION_KEY: &str = "position";
const COUNTS_KEY: &str = "counts";
const OPTIONS_KEY: &str = "options";

/// A state that cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// A file.
    #[error(transparent)]
    File(#[from] CheckpointError),
    /// A folder.
    #[error("{path:?} cannot be used for checkpoints: {source}")]
    Folder {
        /// Which folder or file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no state of this network.
    #[error("{path:?} is no state of this run: {what}")]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The device gave no numbers back.
    #[error("the device gave no weights back: {0}")]
    Device(String),
}

type Tensors = Vec<(String, Vec<usize>, Vec<f32>)>;

/// Flat tensors under the names of parameters, with `prefix` in front.
fn named<'a>(
    parameters: &Parameters,
    prefix: &str,
    values: impl IntoIterator<Item = Option<&'a Tensor<1>>>,
    tensors: &mut Tensors,
) -> Result<(), StateError> {
    for (parameter, value) in parameters.list().iter().zip(values) {
        if let Some(value) = value {
            let name = format!("{prefix}{}", parameter.name);
            let values = floats(value.clone()).map_err(StateError::Device)?;
            tensors.push((name, parameter.shape.clone(), values));
        }
    }
    Ok(())
}

/// Writes a state at `path`, which it replaces.
///
/// # Errors
///
/// If it cannot be written.
pub fn write(
    path: &Path,
    state: &State,
    parameters: &Parameters,
    options: &str,
) -> Result<(), StateError> {
    let mut tensors = Vec::new();
    let weights = parameters.values(&state.network);
    named(parameters, "weights.", weights.iter().map(Some), &mut tensors)?;
    if let Some(ema) = &state.ema {
        named(parameters, "average.", ema.values().iter().map(Some), &mut tensors)?;
    }
    let moments = || state.moments.iter().map(Option::as_ref);
    let means = moments().map(|moments| moments.map(|moments| &moments.mean));
    named(parameters, "mean.", means, &mut tensors)?;
    let squares = moments().map(|moments| moments.map(|moments| &moments.square));
    named(parameters, "square.", squares, &mut tensors)?;
    let counts: BTreeMap<_, _> = parameters
        .list()
        .iter()
        .zip(&state.moments)
        .filter_map(|(parameter, moments)| Some((&parameter.name, moments.as_ref()?.steps)))
        .collect();
    let mut file = Checkpoint::from_values(tensors);
    file.set_metadata(FORM_KEY, FORM.to_owned());
    file.set_metadata(STEP_KEY, state.step.to_string());
    file.set_metadata(POSITION_KEY, state.position.to_string());
    file.set_metadata(COUNTS_KEY, json!(counts).to_string());
    file.set_metadata(OPTIONS_KEY, options.to_owned());
    Ok(file.write_plain_safetensors(path, Existing::Replace)?)
}

/// Reads a state into one of the same network: every weight has to be there.
///
/// # Errors
///
/// If the file cannot be read, or is of another network or no state at all.
pub fn read(path: &Path, into: State, parameters: &Parameters) -> Result<State, StateError> {
    let file = Checkpoint::open(path)?;
    let form = |what: String| StateError::Form { path: path.to_path_buf(), what };
    let text = |key: &str| {
        let text = file.metadata().get(key);
        text.ok_or_else(|| form(format!("it has no text {key:?}")))
    };
    if text(FORM_KEY)? != FORM {
        let what = format!("its form is {:?}, not {FORM:?}", text(FORM_KEY)?);
        return Err(form(what));
    }
    let number = |key: &str| {
        let number = text(key)?.parse::<u64>();
        number.map_err(|_| form(format!("its {key} is no number")))
    };
    let counts: BTreeMap<String, u64> = serde_json::from_str(text(COUNTS_KEY)?)
        .map_err(|error| form(format!("its counts are none: {error}")))?;
    let stored = Stored { file: &file, parameters, path };
    let mut weights = stored.all("weights.")?;
    let device = device_of(&into, parameters);
    let tensor = |values: Vec<f32>| {
        let len = values.len();
        Tensor::<1>::from_data(TensorData::new(values, [len]), &device)
    };
    let network =
        parameters.map(into.network, &mut |place, _| tensor(std::mem::take(&mut weights[place])));
    let ema = match into.ema {
        None => None,
        Some(ema) => {
            let prefix = if stored.has("average.") { "average." } else { "weights." };
            let values = stored.all(prefix)?.into_iter().map(tensor).collect();
            Some(ema.with_values(values))
        }
    };
    let mut moments = Vec::with_capacity(parameters.list().len());
    for (place, parameter) in parameters.list().iter().enumerate() {
        moments.push(match counts.get(&parameter.name) {
            None => None,
            Some(steps) => {
                let mean = tensor(stored.one("mean.", place)?);
                let square = tensor(stored.one("square.", place)?);
                Some(Moments { mean, square, steps: *steps })
            }
        });
    }
    let (step, position) = (number(STEP_KEY)?, number(POSITION_KEY)?);
    Ok(State { network, moments, ema, step, position, frozen: into.frozen })
}

/// The resolved options that the steps up to a state were made with.
///
/// # Errors
///
/// If the file cannot be read.
pub fn options(path: &Path) -> Result<Option<String>, StateError> {
    Ok(Checkpoint::open(path)?.metadata().get(OPTIONS_KEY).cloned())
}

fn device_of(state: &State, parameters: &Parameters) -> burn::tensor::Device {
    let values = parameters.values(&state.network);
    values.first().map(Tensor::device).unwrap_or_default()
}

/// The tensors of a file by parameter.
struct Stored<'a> {
    file: &'a Checkpoint,
    parameters: &'a Parameters,
    path: &'a Path,
}

impl Stored<'_> {
    fn has(&self, prefix: &str) -> bool {
        self.file.tensors().keys().any(|name| name.starts_with(prefix))
    }

    fn one(&self, prefix: &str, place: usize) -> Result<Vec<f32>, StateError> {
        let parameter = &self.parameters.list()[place];
        let name = format!("{prefix}{}", parameter.name);
        let form = |what: String| StateError::Form { path: self.path.to_path_buf(), what };
        let Some(stored) = self.file.tensors().get(&name) else {
            return Err(form(format!("it has no {name}, which the network of the options has")));
        };
        if stored.shape() != parameter.shape {
            let (got, wanted) = (stored.shape(), &parameter.shape);
            return Err(form(format!("{name} is {got:?} where the options say {wanted:?}")));
        }
        Ok(self.file.read(&name)?)
    }

    fn all(&self, prefix: &str) -> Result<Vec<Vec<f32>>, StateError> {
        (0..self.parameters.list().len()).map(|place| self.one(prefix, place)).collect()
    }
}

/// Writes weights as KAIR loads them.
///
/// # Errors
///
/// If they cannot be written.
pub fn export(
    path: &Path,
    values: &[Tensor<1>],
    parameters: &Parameters,
    config: &VrtConfig,
) -> Result<(), StateError> {
    let mut tensors = Vec::new();
    named(parameters, "", values.iter().map(Some), &mut tensors)?;
    Ok(Checkpoint::from_values(tensors).write_pth(path, config, Existing::Replace)?)
}
