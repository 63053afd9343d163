use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;
use vrt_testing::{Fixture, Random};

use super::pickle::Pickle;
use super::*;
use crate::config::{Reach, VrtFields};
use crate::inventory::tests::golden_config;
use crate::inventory::{BufferValues, Entry};
use crate::presets::Preset;

mod bad;
mod bytes;
mod forms;

/// A small interpolation network: it has no flow, whose parameters are many.
fn small() -> VrtConfig {
    let fields = VrtFields {
        in_channels: 3,
        window: [2, 2, 2],
        depths: vec![2; 8],
        embed_dims: vec![4; 8],
        heads: vec![2; 8],
        independent: vec![7],
        reach: Reach::None,
        ..VrtFields::default()
    };
    VrtConfig::new(fields).expect("valid")
}

/// A network's checkpoint with values that tell the tensors apart.
fn filled(config: &VrtConfig) -> Checkpoint {
    let mut random = Random::new(7);
    Checkpoint::from_values(config.tensors().into_iter().map(|spec| {
        let values = (0..spec.len()).map(|_| random.uniform(-1.0, 1.0)).collect();
        (spec.name, spec.shape, values)
    }))
}

fn all_values(checkpoint: &Checkpoint) -> BTreeMap<String, Vec<f32>> {
    let read = |name: &String| (name.clone(), checkpoint.read(name).expect("readable"));
    checkpoint.tensors().keys().map(read).collect()
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

#[test]
fn both_forms_give_back_what_was_written() {
    let folder = folder();
    let config = small().with_drop_path_rate(0.4).expect("valid");
    let mut weights = filled(&config);
    weights.set_metadata("note", "kept".to_owned());
    let (pth, plain) = (folder.path().join("a.pth"), folder.path().join("a.safetensors"));
    weights.write_pth(&pth, &config, Existing::Keep).expect("written");
    let torch = Checkpoint::open(&pth).expect("readable");
    assert_eq!(torch.parameters(&config).expect("whole"), all_values(&weights));
    assert_eq!(torch.tensors().len(), config.entries().len());
    assert!(torch.config().expect("recognised").same_network(&config));

    torch.write_safetensors(&plain, &config, Existing::Keep).expect("written");
    let converted = Checkpoint::open(&plain).expect("readable");
    assert_eq!(all_values(&converted), all_values(&weights));
    assert_eq!(converted.config().expect("recognised"), config);

    weights.write_safetensors(&plain, &config, Existing::Replace).expect("written");
    let direct = Checkpoint::open(&plain).expect("readable");
    assert_eq!(direct.metadata()["note"], "kept");
    let left: Vec<_> = fs::read_dir(folder.path()).expect("a folder").collect();
    assert_eq!(left.len(), 2, "nothing is left aside: {left:?}");
}

#[test]
fn written_files_are_safetensors_to_others_too() {
    let folder = folder();
    let path = folder.path().join("a.safetensors");
    let (config, weights) = (small(), filled(&small()));
    weights.write_safetensors(&path, &config, Existing::Keep).expect("written");
    let bytes = fs::read(path).expect("a file");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("a safetensors file");
    assert_eq!(file.len(), config.tensors().len());
}

#[test]
fn a_file_that_is_there_is_kept_unless_replacing_is_asked_for() {
    let folder = folder();
    let path = folder.path().join("a.pth");
    fs::write(&path, "precious").expect("written");
    let (config, weights) = (small(), filled(&small()));
    let error = weights.write_pth(&path, &config, Existing::Keep).expect_err("it is there");
    assert!(matches!(error, CheckpointError::Exists { .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).expect("text"), "precious");
    weights.write_pth(&path, &config, Existing::Replace).expect("written");
    Checkpoint::open(&path).expect("readable");
}

#[test]
fn a_failed_write_leaves_what_was_there() {
    let folder = folder();
    let nowhere = folder.path().join("missing/a.pth");
    let (config, weights) = (small(), filled(&small()));
    let error = weights.write_pth(&nowhere, &config, Existing::Keep).expect_err("no folder");
    assert!(matches!(error, CheckpointError::Write { .. }), "{error}");
    let path = folder.path().join("a.safetensors");
    fs::write(&path, "precious").expect("written");
    let other = Preset::all()[8].config();
    let error = weights.write_safetensors(&path, &other, Existing::Replace);
    assert!(matches!(error, Err(CheckpointError::Account { .. })), "{error:?}");
    assert_eq!(fs::read_to_string(&path).expect("text"), "precious");
}

#[test]
fn every_difference_is_listed() {
    let config = small();
    let mut weights = filled(&config);
    let taken = weights.tensors.remove("norm.weight").expect("a tensor");
    weights.tensors.insert("norm.wait".to_owned(), taken);
    weights.tensors.get_mut("norm.bias").expect("a tensor").shape = vec![2, 2];
    weights.tensors.get_mut("conv_last.bias").expect("a tensor").element = Element::I64;
    let error = account(&config, &weights).expect_err("four differences");
    let CheckpointError::Account { account, .. } = &error else { panic!("{error}") };
    assert_eq!(account.missing, ["norm.weight"]);
    assert_eq!(account.unknown, ["norm.wait"]);
    let misshaped: Vec<_> = account.misshaped.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(misshaped, ["conv_last.bias", "norm.bias"]);
    let text = error.to_string();
    for name in ["norm.weight", "norm.wait", "norm.bias", "conv_last.bias", "64-bit integers"] {
        assert!(text.contains(name), "{name} is not in: {text}");
    }
}

#[test]
fn flow_comes_from_a_file_of_its_own() {
    let config = VrtFields { reach: Reach::One, deformable_groups: 2, ..small().fields().clone() };
    let config = VrtConfig::new(config).expect("valid");
    let mut weights = filled(&config);
    weights.tensors.retain(|name, _| !name.starts_with(FLOW));
    assert!(!weights.has_flow());
    let error = account(&config, &weights).expect_err("no flow").to_string();
    assert!(error.contains("only SpyNet is missing") && error.contains("--flow"), "{error}");
    let path = vrt_testing::workspace_root().join("weights/spynet.safetensors");
    let flow = Checkpoint::open(&path).expect("SpyNet is part of the repository");
    weights.merge_flow(flow.clone()).expect("a flow network");
    account(&config, &weights).expect("whole");
    let name = "basic_module.3.basic_module.4.weight";
    let merged = weights.read(&format!("{FLOW}{name}")).expect("readable");
    assert_eq!(merged, flow.read(name).expect("readable"));
    // Its names may be those inside VRT as well.
    let again = weights.clone();
    weights.merge_flow(again).expect("a flow network");
    let error = weights.merge_flow(filled(&small())).expect_err("no flow in it");
    assert!(matches!(error, CheckpointError::NoFlow { .. }), "{error}");
}

#[test]
fn a_flow_network_is_the_same_in_both_forms() {
    let shared = vrt_testing::shared_root().map(|root| root.join("weights/spynet.pth"));
    let Some(path) = shared.filter(|path| path.exists()) else {
        eprintln!("SKIPPED: weights/spynet.pth is not on this machine");
        return;
    };
    let plain = vrt_testing::workspace_root().join("weights/spynet.safetensors");
    let [torch, plain] = [path, plain].map(|path| {
        let mut weights = Checkpoint::default();
        weights.merge_flow(Checkpoint::open(&path).expect("readable")).expect("a flow network");
        all_values(&weights)
    });
    assert_eq!(torch, plain);
}

#[test]
fn the_golden_pth_is_the_golden_network() {
    let Some(path) = vrt_testing::fixture_root("models/deblur.pth") else {
        eprintln!("SKIPPED: models/deblur.pth is not on this machine");
        return;
    };
    let fixture = Fixture::load("models/deblur");
    let config = golden_config(&fixture);
    let weights = Checkpoint::open(&path).expect("readable");
    assert!(weights.config().expect("recognised").same_network(&config));
    assert_eq!(weights.tensors().len(), 819);
    let names: Vec<_> = weights.tensors().keys().cloned().collect();
    let mut listed: Vec<_> = config.entries().into_iter().map(name_of).collect();
    listed.sort_unstable();
    assert_eq!(names, listed);
    let parameters = weights.parameters(&config).expect("whole");
    for (name, golden) in fixture.under("param.") {
        assert_eq!(parameters[name], golden.values, "{name}");
    }
    let flow = vrt_testing::workspace_root().join("weights/spynet.safetensors");
    for (name, values) in all_values(&Checkpoint::open(&flow).expect("readable")) {
        assert_eq!(weights.read(&format!("{FLOW}{name}")).expect("readable"), values, "{name}");
    }
}

#[test]
fn constants_are_those_of_the_golden_pth() {
    let Some(path) = vrt_testing::fixture_root("models/deblur.pth") else {
        eprintln!("SKIPPED: models/deblur.pth is not on this machine");
        return;
    };
    let config = golden_config(&Fixture::load("models/deblur"));
    let reader = pytorch_reader::PytorchReader::with_top_level_key(&path, "params");
    let reader = reader.expect("readable");
    for spec in config.buffers() {
        let stored = reader.get(&spec.name).expect("a buffer");
        assert_eq!(stored.shape(), spec.buffer.shape(), "{}", spec.name);
        let bytes = stored.read().expect("readable");
        match spec.buffer.values() {
            BufferValues::I64(values) => {
                let stored = bytes.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b));
                assert!(stored.eq(values), "{}", spec.name);
            }
            BufferValues::F32(values) => {
                let stored = Element::F32.floats(&bytes).expect("floats");
                // The published code is computed in 32 bits: a few roundings of up to 2π.
                let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 8.0 * f32::EPSILON;
                assert!(stored.iter().zip(&values).all(near), "{}", spec.name);
            }
        }
    }
}

fn name_of(entry: Entry) -> String {
    match entry {
        Entry::Parameter(spec) => spec.name,
        Entry::Buffer(spec) => spec.name,
    }
}
