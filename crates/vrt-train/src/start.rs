//! The weights that training starts with: drawn, then taken from files where there are some.

mod inflate;

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use vrt_model::checkpoint::{CheckpointError, Which, account};
use vrt_model::{Checkpoint, Named, Vrt};

use inflate::Narrower;

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
        let narrower = Narrower::of(&recipe.network, &file);
        if start.strict {
            account(narrower.as_ref().map_or(&recipe.network, Narrower::config), &file)?;
        }
        let mut values = values(&parameters, &file)?;
        messages.push(taken(&values, &file));
        if let Some(narrower) = narrower {
            messages.push(narrower.widen(&parameters, &file, &mut values)?);
        }
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
        let narrower = Narrower::of(&recipe.network, &file);
        if recipe.start.averaged_strict {
            account(narrower.as_ref().map_or(&recipe.network, Narrower::config), &file)?;
        }
        let mut values = values(parameters, &file)?;
        messages.push(taken(&values, &file));
        if let Some(narrower) = narrower {
            messages.push(narrower.widen(parameters, &file, &mut values)?);
        }
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use vrt_model::Pass;
    use vrt_model::VrtConfig;
    use vrt_model::checkpoint::Existing;
    use vrt_model::config::VrtFields;
    use vrt_testing::Random;

    use super::*;
    use crate::testing::{small_network, small_options};

    /// Networks of RGB: as published, and one that folds pictures and looks along motion.
    fn networks() -> [VrtFields; 2] {
        let plain = VrtFields { drop_path_rate: 0.0, ..small_network().fields().clone() };
        let folding =
            VrtFields { fold: 2, trails: true, coarse_flow: true, upscale: 1, ..plain.clone() };
        [plain, folding]
    }

    fn answer(network: &Vrt, clip: &[f32], channels: usize, device: &Device) -> Vec<f32> {
        let pixels = clip.chunks_exact(6).flat_map(|pixel| pixel[..channels].to_vec());
        let data = TensorData::new(pixels.collect(), [1, 3, 32, 32, channels]);
        let y = network.forward(Tensor::<5>::from_data(data, device), &mut Pass::Restore);
        y.into_data().try_to_vec().expect("f32 values")
    }

    #[test]
    fn networks_with_spikes_begin_as_those_of_rgb() {
        let (folder, device) = (tempfile::tempdir().expect("a folder"), Device::flex());
        let file = folder.path().join("rgb.safetensors");
        let mut random = Random::new(5);
        let clip: Vec<f32> = (0..3 * 32 * 32 * 6).map(|_| random.uniform(0.0, 1.0)).collect();
        for fields in networks() {
            let config = VrtConfig::new(fields.clone()).expect("a valid network");
            let rgb = Vrt::with_seed(&config, 9, &device);
            let parameters = Parameters::of(&rgb, &Slow::default());
            let values = parameters.values(&rgb.network);
            let tensors = parameters.list().iter().zip(values).map(|(parameter, values)| {
                let values = values.into_data().try_to_vec().expect("f32 values");
                (parameter.name.clone(), parameter.shape.clone(), values)
            });
            let _ = std::fs::remove_file(&file);
            let checkpoint = Checkpoint::from_values(tensors);
            checkpoint.write_plain_safetensors(&file, Existing::Keep).expect("written");

            let wider = VrtConfig::new(VrtFields { in_channels: 6, ..fields }).expect("valid");
            let mut options: serde_json::Value =
                serde_json::from_str(&small_options("1")).expect("JSON");
            options["netG"] = vrt_model::option_file::to_json(&wider);
            options["path"] = serde_json::json!({ "pretrained_netG": file });
            let recipe = Recipe::parse(Path::new("o.json"), &options.to_string(), &[]);
            let started = start(&recipe.expect("valid").recipe, &device).expect("weights fit");
            let said = started.messages.join("\n");
            assert!(
                said.contains("sees 3 channels; weights of further ones, up to 6, begin"),
                "{said}"
            );
            let expected = answer(&rgb.network, &clip, 3, &device);
            let found = answer(&started.named.network, &clip, 6, &device);
            assert_eq!(found.len(), expected.len());
            assert!(found == expected, "the answers differ");
        }
    }

    #[test]
    fn weights_of_other_networks_are_refused_as_before() {
        let (folder, device) = (tempfile::tempdir().expect("a folder"), Device::flex());
        let file = folder.path().join("other.safetensors");
        let values = vec![0.0; 8 * 26 * 9];
        let first = ("conv_first.weight".to_owned(), vec![8, 26, 1, 3, 3], values);
        let checkpoint = Checkpoint::from_values(std::iter::once(first));
        checkpoint.write_plain_safetensors(&file, Existing::Keep).expect("written");
        let mut options: serde_json::Value =
            serde_json::from_str(&small_options("1")).expect("JSON");
        options["path"] = serde_json::json!({ "pretrained_netG": file });
        let recipe = Recipe::parse(Path::new("o.json"), &options.to_string(), &[]);
        assert!(start(&recipe.expect("valid").recipe, &device).is_err());
    }
}
