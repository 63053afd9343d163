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
            messages.extend(narrower.widen(&parameters, &file, &mut values)?);
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
            messages.extend(narrower.widen(parameters, &file, &mut values)?);
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

    /// Networks that see fewer channels: as published, and ones that fold pictures and look along
    /// motion, at either size, with a map of noise, and with a spike channel already.
    fn networks() -> [VrtFields; 5] {
        let plain = VrtFields { drop_path_rate: 0.0, ..small_network().fields().clone() };
        let folding = VrtFields { fold: 2, trails: true, coarse_flow: true, ..plain.clone() };
        let noisy = VrtFields { noise_map: true, ..folding.clone() };
        let larger = VrtFields { upscale: 2, ..folding.clone() };
        let spikes = VrtFields { in_channels: 4, ..plain.clone() };
        [plain, folding, noisy, larger, spikes]
    }

    /// What a network answers of a clip with 7 values a pixel: channels, and the map of noise.
    fn answer(network: &Vrt, clip: &[f32], device: &Device) -> Vec<f32> {
        let config = network.config();
        let seen = |pixel: &[f32]| {
            let noise = config.noise_map().then_some(pixel[6]);
            pixel[..config.in_channels()].iter().copied().chain(noise).collect::<Vec<_>>()
        };
        let pixels = clip.chunks_exact(7).flat_map(seen).collect();
        let data = TensorData::new(pixels, [1, 3, 32, 32, config.input_channels()]);
        let y = network.forward(Tensor::<5>::from_data(data, device), &mut Pass::Restore);
        y.into_data().try_to_vec().expect("f32 values")
    }

    /// A network whose weights `file` holds.
    fn saved(fields: VrtFields, file: &Path, random: &mut Random, device: &Device) -> Vrt {
        let config = VrtConfig::new(fields).expect("a valid network");
        let named = Vrt::with_seed(&config, 9, device);
        let parameters = Parameters::of(&named, &Slow::default());
        // The last convolution of folding networks begins with zeros, whatever the others see.
        let network = parameters.map(named.network, &mut |place, old| {
            if !parameters.list()[place].name.starts_with("conv_last") {
                return old;
            }
            let len = old.dims()[0];
            let drawn = (0..len).map(|_| random.uniform(-0.5, 0.5)).collect();
            Tensor::from_data(TensorData::new(drawn, [len]), device)
        });
        let tensors =
            parameters.list().iter().zip(parameters.values(&network)).map(|(parameter, values)| {
                let values = values.into_data().try_to_vec().expect("f32 values");
                (parameter.name.clone(), parameter.shape.clone(), values)
            });
        let checkpoint = Checkpoint::from_values(tensors);
        checkpoint.write_plain_safetensors(file, Existing::Replace).expect("written");
        network
    }

    /// Begins a network that sees 6 channels with what `file` holds.
    fn begun(fields: VrtFields, file: &Path, device: &Device) -> Result<Started, CheckpointError> {
        let wider = VrtConfig::new(VrtFields { in_channels: 6, ..fields }).expect("valid");
        let mut options: serde_json::Value =
            serde_json::from_str(&small_options("1")).expect("JSON");
        options["netG"] = vrt_model::option_file::to_json(&wider);
        options["path"] = serde_json::json!({ "pretrained_netG": file });
        let recipe = Recipe::parse(Path::new("o.json"), &options.to_string(), &[]);
        start(&recipe.expect("valid").recipe, device)
    }

    #[test]
    fn networks_with_spikes_begin_as_those_of_rgb() {
        let (folder, device) = (tempfile::tempdir().expect("a folder"), Device::flex());
        let file = folder.path().join("rgb.safetensors");
        let mut random = Random::new(5);
        let clip: Vec<f32> = (0..3 * 32 * 32 * 7).map(|_| random.uniform(0.0, 1.0)).collect();
        for fields in networks() {
            let narrow = saved(fields.clone(), &file, &mut random, &device);
            let started = begun(fields, &file, &device).expect("weights fit");
            let said = started.messages.join("\n");
            assert!(said.contains("further ones, up to 6, begin"), "{said}");
            let expected = answer(&narrow, &clip, &device);
            let found = answer(&started.named.network, &clip, &device);
            assert_eq!(found.len(), expected.len());
            assert!(found == expected, "the answers differ");
            let pictures = answer(&started.named.network, &vec![0.5; clip.len()], &device);
            assert_ne!(pictures, found, "the network answers nothing");
        }
    }

    #[test]
    fn what_is_known_of_spikes_along_motion_is_not_taken_for_other_parts() {
        let (folder, device) = (tempfile::tempdir().expect("a folder"), Device::flex());
        let file = folder.path().join("spike.safetensors");
        let [_, folding, ..] = networks();
        let fields = VrtFields { in_channels: 4, ..folding };
        saved(fields.clone(), &file, &mut Random::new(5), &device);
        let Err(error) = begun(fields, &file, &device) else { panic!("weights are taken") };
        assert!(error.to_string().contains("conv_first.weight"), "{error}");
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
