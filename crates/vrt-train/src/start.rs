//! The weights that training starts with: drawn, then taken from files where there are some.

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use vrt_model::checkpoint::{CheckpointError, Which, account};
use vrt_model::{Checkpoint, Named, Vrt};

use crate::ema::Ema;
use crate::parameters::Parameters;
use crate::recipe::{Recipe, Slow};

/// A network before its first step.
#[derive(Debug)]
pub struct Started {
    /// The network and the names of its parameters.
    pub named: Named,
    /// The average of weights, if one is kept.
    pub ema: Option<Ema>,
    /// What a person should know about where weights came from.
    pub messages: Vec<String>,
}

/// Draws the weights of a recipe and reads those that files give.
///
/// # Errors
///
/// If a file cannot be read, or one that has to fit exactly does not.
pub fn start(recipe: &Recipe, device: &Device) -> Result<Started, CheckpointError> {
    let mut named = Vrt::with_seed(&recipe.network, recipe.train.seed, device);
    let keeps = &recipe.keeps_attention;
    named.network = named.network.keeping_attention(|entry| keeps[entry]);
    // Which group a parameter is in does not matter here.
    let parameters = Parameters::of(&named, &Slow::default());
    let mut messages = Vec::new();
    let start = &recipe.start;
    let mut flow = Checkpoint::default();
    if let Some(path) = &start.flow {
        flow.merge_flow(Checkpoint::open(path)?)?;
        named.network = replaced(&parameters, named.network, &values(&parameters, &flow)?);
    } else if named.names.iter().any(|(_, name)| name.starts_with("spynet."))
        && start.weights.is_none()
    {
        let text = "SpyNet begins with random weights, which rarely learn to see motion: give \
                    netG.spynet_path";
        messages.push(text.to_owned());
    }
    if let Some(path) = &start.weights {
        let mut file = open(path, Which::Params)?;
        if !file.has_flow() && start.flow.is_some() {
            file.merge_flow(flow)?;
        }
        if start.strict {
            account(&recipe.network, &file)?;
        }
        let values = values(&parameters, &file)?;
        messages.push(taken(&values, &file));
        named.network = replaced(&parameters, named.network, &values);
    }
    let ema = ema(recipe, &parameters, &named.network, &mut messages)?;
    Ok(Started { named, ema, messages })
}

/// The average: of `pretrained_netE`, and of the weights themselves where that has nothing.
fn ema(
    recipe: &Recipe,
    parameters: &Parameters,
    network: &Vrt,
    messages: &mut Vec<String>,
) -> Result<Option<Ema>, CheckpointError> {
    let decay = recipe.train.ema_decay;
    if decay == 0.0 {
        return Ok(None);
    }
    let mut network = network.clone();
    if let Some(path) = &recipe.start.averaged {
        let file = open(path, Which::Averaged)?;
        if recipe.start.averaged_strict {
            account(&recipe.network, &file)?;
        }
        let values = values(parameters, &file)?;
        messages.push(taken(&values, &file));
        network = replaced(parameters, network, &values);
    }
    Ok(Some(Ema::new(decay, parameters.values(&network))))
}

/// The weights of one kind, else whatever there are.
fn open(path: &std::path::Path, which: Which) -> Result<Checkpoint, CheckpointError> {
    Checkpoint::open_which(path, which).or_else(|_| Checkpoint::open(path))
}

/// The values that a file has for parameters of the same name and shape, by place.
fn values(
    parameters: &Parameters,
    file: &Checkpoint,
) -> Result<BTreeMap<usize, Vec<f32>>, CheckpointError> {
    let mut found = BTreeMap::new();
    for (place, parameter) in parameters.list().iter().enumerate() {
        let stored = file.tensors().get(&parameter.name);
        if stored.is_some_and(|stored| stored.shape() == parameter.shape) {
            found.insert(place, file.read(&parameter.name)?);
        }
    }
    Ok(found)
}

fn taken(values: &BTreeMap<usize, Vec<f32>>, file: &Checkpoint) -> String {
    let (taken, all) = (values.len(), file.tensors().len());
    format!("{taken} tensors of {:?} fit and are taken, of {all} in the file", file.path())
}

/// The network with these values in place of its own.
fn replaced(parameters: &Parameters, network: Vrt, values: &BTreeMap<usize, Vec<f32>>) -> Vrt {
    parameters.map(network, &mut |place, old| match values.get(&place) {
        None => old,
        Some(values) => {
            let data = TensorData::new(values.clone(), [values.len()]);
            Tensor::from_data(data, &old.device())
        }
    })
}
