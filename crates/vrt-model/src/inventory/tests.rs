use std::collections::BTreeSet;

use proptest::prelude::*;
use vrt_testing::Fixture;

use super::*;
use crate::checkpoint::{Checkpoint, Existing};
use crate::config::tests::valid_fields;
use crate::option_file;
use crate::presets::Preset;

fn count(config: &VrtConfig) -> usize {
    config.tensors().iter().map(TensorSpec::len).sum()
}

#[test]
fn parameter_counts_are_the_published_ones() {
    let published = [
        ("001", 30_676_435),
        ("002", 35_134_783),
        ("003", 32_577_991),
        ("004", 32_577_991),
        ("005", 18_320_007),
        ("006", 18_320_007),
        ("007", 18_320_007),
        ("008", 18_320_871),
        ("009", 9_943_387),
        ("006-spike", 18_327_783),
        ("deblur-spike", 30_286_131),
    ];
    assert_eq!(published.len(), Preset::all().len());
    for (id, parameters) in published {
        let preset = Preset::parse(id).expect("a preset");
        assert_eq!(count(&preset.config()), parameters, "{id}");
    }
}

#[test]
fn checkpoints_have_the_published_number_of_entries() {
    let config = Preset::parse("006").expect("a preset").config();
    assert_eq!(config.entries().len(), 1526);
    let buffers = Preset::all().iter().map(|preset| preset.config().buffers().len());
    // The text counts SpyNet's two with those networks that have flow.
    assert!(buffers.clone().all(|n| (114..=124).contains(&n)), "{:?}", buffers.collect::<Vec<_>>());
}

#[test]
fn a_published_file_is_little_larger_than_its_values() {
    let values = Preset::parse("001").expect("a preset").config().published_bytes();
    let parameters = 4 * 30_676_435;
    // Position tables of 8-byte numbers are a quarter of the file.
    assert!((parameters + 41_000_000..parameters + 44_000_000).contains(&values), "{values}");
    let config = Preset::parse("009").expect("a preset").config();
    let tensors = config.tensors().into_iter();
    let tensors =
        tensors.map(|spec| (spec.name.clone(), spec.shape.clone(), vec![0.0; spec.len()]));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("009.pth");
    let checkpoint = Checkpoint::from_values(tensors);
    checkpoint.write_pth(&path, &config, Existing::Keep).expect("written");
    let held = std::fs::metadata(&path).expect("a file").len();
    let values = config.published_bytes();
    assert!(held > values && held < values / 100 * 101, "{values} bytes in a file of {held}");
}

#[test]
fn names_and_shapes_are_those_of_the_golden_networks() {
    for name in vrt_testing::NETWORKS {
        let Some(fixture) = Fixture::try_load(&format!("models/{name}")) else {
            continue;
        };
        let config = golden_config(&fixture);
        let listed: BTreeSet<_> = config
            .tensors()
            .into_iter()
            .filter(|spec| spec.part != Part::Flow)
            .map(|spec| (spec.name, spec.shape))
            .collect();
        let golden: BTreeSet<_> = golden_parameters(&fixture).collect();
        assert_eq!(listed, golden, "{name}");
    }
}

#[test]
fn spynet_is_listed_as_its_file_holds_it() {
    let path = vrt_testing::workspace_root().join("weights/spynet.safetensors");
    let bytes = std::fs::read(path).expect("SpyNet is part of the repository");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("a safetensors file");
    let held: BTreeSet<_> =
        file.iter().map(|(name, view)| (format!("spynet.{name}"), view.shape().to_vec())).collect();
    let config = Preset::parse("006").expect("a preset").config();
    let flow = config.tensors().into_iter().filter(|spec| spec.part == Part::Flow);
    let buffers = config.buffers().into_iter().filter(|spec| spec.name.starts_with("spynet."));
    let listed: BTreeSet<_> = flow
        .map(|spec| (spec.name, spec.shape))
        .chain(buffers.map(|spec| (spec.name, spec.buffer.shape())))
        .collect();
    assert_eq!(listed, held);
}

proptest! {
    #[test]
    fn names_are_unique_and_no_tensor_is_empty(fields in valid_fields()) {
        let config = VrtConfig::new(fields).expect("valid");
        let (tensors, buffers) = (config.tensors(), config.buffers());
        prop_assert!(tensors.iter().all(|spec| !spec.is_empty()));
        let names = tensors.iter().map(|spec| &spec.name);
        let names: BTreeSet<_> = names.chain(buffers.iter().map(|spec| &spec.name)).collect();
        prop_assert_eq!(names.len(), tensors.len() + buffers.len());
    }

    #[test]
    fn buffers_hold_as_many_values_as_their_shapes(
        window in prop::array::uniform3(1_usize..6),
        channels in 1_usize..5,
    ) {
        let [_, height, width] = window;
        let code = Buffer::SineCode { height, width, channels: 4 * channels };
        for buffer in [Buffer::RelativeIndex { window }, code, Buffer::FlowMean, Buffer::FlowStd] {
            let len = match buffer.values() {
                BufferValues::F32(values) => values.len(),
                BufferValues::I64(values) => values.len(),
            };
            prop_assert_eq!(len, buffer.shape().iter().product::<usize>());
        }
    }

    #[test]
    fn a_relative_index_uses_every_row_and_depends_on_the_difference_only(
        window in prop::array::uniform3(1_usize..6),
    ) {
        let BufferValues::I64(index) = (Buffer::RelativeIndex { window }).values() else {
            unreachable!("an index")
        };
        let rows: BTreeSet<_> = index.iter().copied().collect();
        let expected = window.map(|size| 2 * size as i64 - 1).iter().product();
        prop_assert_eq!(rows, (0..expected).collect());
        // A pair and its mirror lie at the same distance from the middle row.
        let tokens = window.iter().product::<usize>();
        for query in 0..tokens {
            for key in 0..tokens {
                let sum = index[query * tokens + key] + index[key * tokens + query];
                prop_assert_eq!(sum, expected - 1);
            }
        }
    }
}

/// The configuration that a golden network was built with.
pub(crate) fn golden_config(fixture: &Fixture) -> VrtConfig {
    option_file::from_json(&fixture.metadata("config").to_string()).expect("valid")
}

/// Names and shapes of the parameters in a golden file; SpyNet's are not among them.
pub(crate) fn golden_parameters(fixture: &Fixture) -> impl Iterator<Item = (String, Vec<usize>)> {
    fixture.under("param.").map(|(name, tensor)| (name.to_owned(), tensor.shape.clone()))
}
