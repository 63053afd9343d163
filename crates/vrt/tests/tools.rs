//! `vrt convert`, `vrt info` and `vrt doctor`, as a person runs them.

mod support;
#[path = "support/weights.rs"]
mod weights;

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;
use support::{Ran, vrt};
use tempfile::tempdir;
use vrt_model::checkpoint::{Checkpoint, Existing};
use vrt_testing::Fixture;
use weights::{checkpoint, weights_file};

/// Names and values of all parameters of a file.
fn values(path: &std::path::Path) -> BTreeMap<String, Vec<f32>> {
    let checkpoint = Checkpoint::open(path).expect("a file of weights");
    let config = checkpoint.config().expect("a network");
    checkpoint.parameters(&config).expect("whole weights")
}

/// An option file that states a fixture's network.
fn option_file_of(fixture: &str) -> String {
    let golden = Fixture::load(&format!("models/{fixture}"));
    let config = golden.metadata("config");
    format!("{{\n  // A tiny network.\n  \"netG\": {config}\n}}\n")
}

#[test]
fn weights_survive_both_forms() {
    let folder = tempdir().unwrap();
    let [first, pth, last] =
        ["a.safetensors", "b.pth", "c.safetensors"].map(|n| folder.path().join(n));
    weights_file("deblur", &first);
    let ran = vrt(&["convert", first.to_str().unwrap(), pth.to_str().unwrap()]);
    let said = ran.succeeded();
    assert!(said.contains("deblurring") && said.contains("constants"), "{said}");
    vrt(&["convert", pth.to_str().unwrap(), last.to_str().unwrap()]).succeeded();
    assert_eq!(values(&first), values(&pth));
    assert_eq!(values(&first), values(&last));
    // Strict loading of the published program also asks for the constants.
    let stored = Checkpoint::open(&pth).unwrap();
    let buffers = stored.config().unwrap().buffers();
    assert!(!buffers.is_empty());
    assert!(buffers.iter().all(|buffer| stored.tensors().contains_key(&buffer.name)));
}

#[test]
fn a_conversion_in_json_states_the_network_and_counts() {
    let folder = tempdir().unwrap();
    let [from, to] = ["a.safetensors", "b.pth"].map(|name| folder.path().join(name));
    weights_file("interpolate", &from);
    let ran = vrt(&["--json", "convert", from.to_str().unwrap(), to.to_str().unwrap()]);
    let json: Value = serde_json::from_str(&ran.succeeded()).unwrap();
    let config = Checkpoint::open(&to).unwrap().config().unwrap();
    let count: usize = config.tensors().iter().map(|spec| spec.len()).sum();
    assert_eq!(json["parameters"], count);
    assert_eq!(json["tensors_written"], config.tensors().len());
    assert_eq!(json["form"], "pth");
    assert_eq!(json["network"]["pa_frames"], 0);
}

#[test]
fn an_existing_file_stays_unless_it_may_be_replaced() {
    let folder = tempdir().unwrap();
    let [from, to] = ["a.safetensors", "b.safetensors"].map(|name| folder.path().join(name));
    weights_file("interpolate", &from);
    fs::write(&to, "mine").unwrap();
    let arguments = ["convert", from.to_str().unwrap(), to.to_str().unwrap(), "--overwrite"];
    let said = vrt(&arguments[..3]).failed();
    assert!(said.contains("b.safetensors") && said.contains("exists"), "{said}");
    assert_eq!(fs::read_to_string(&to).unwrap(), "mine");
    vrt(&arguments).succeeded();
    assert_eq!(values(&from), values(&to));
}

#[test]
fn weights_of_another_network_are_listed_and_copied_only_when_asked() {
    let folder = tempdir().unwrap();
    let [from, pth, back] =
        ["a.safetensors", "b.pth", "c.safetensors"].map(|n| folder.path().join(n));
    let tensors =
        (0..30).map(|i| (format!("layer{i}.weight"), vec![2, i + 1], vec![0.5; 2 * i + 2]));
    Checkpoint::from_values(tensors).write_plain_safetensors(&from, Existing::Keep).unwrap();
    let arguments = ["convert", from.to_str().unwrap(), pth.to_str().unwrap(), "--as-is"];
    let said = vrt(&arguments[..3]).failed();
    for i in 0..30 {
        assert!(said.contains(&format!("layer{i}.weight [2, {}]", i + 1)), "{said}");
    }
    assert!(!pth.exists());
    vrt(&arguments).succeeded();
    vrt(&["convert", pth.to_str().unwrap(), back.to_str().unwrap(), "--as-is"]).succeeded();
    let (from, back) = (Checkpoint::open(&from).unwrap(), Checkpoint::open(&back).unwrap());
    assert_eq!(from.shapes(), back.shapes());
    for name in from.shapes().keys() {
        assert_eq!(from.read(name).unwrap(), back.read(name).unwrap(), "{name}");
    }
}

#[test]
fn networks_can_share_a_flow_network() {
    let folder = tempdir().unwrap();
    let [from, alone, pth, whole] =
        ["a.safetensors", "alone.safetensors", "b.pth", "c.safetensors"]
            .map(|name| folder.path().join(name).to_str().unwrap().to_owned());
    weights_file("deblur", from.as_ref());
    vrt(&["convert", &from, &alone, "--without-flow"]).succeeded();
    let stored = Checkpoint::open(alone.as_ref()).unwrap();
    assert!(!stored.has_flow());
    let said = vrt(&["convert", &alone, &whole]).failed();
    assert!(said.contains("only SpyNet is missing") && said.contains("--flow"), "{said}");
    vrt(&["convert", &alone, &whole, "--flow", &from]).succeeded();
    assert_eq!(values(from.as_ref()), values(whole.as_ref()));
    // Strict loading of the published program asks for it.
    let said = vrt(&["convert", &from, &pth, "--without-flow"]).failed();
    assert!(said.contains("b.pth") && said.contains("without flow"), "{said}");
}

#[test]
fn missing_tensors_are_an_error_that_names_each() {
    let folder = tempdir().unwrap();
    let [from, to] = ["a.safetensors", "b.pth"].map(|name| folder.path().join(name));
    let gone = ["stage3.linear2.bias", "stage8.1.linear.bias", "norm.bias"];
    let whole = checkpoint("interpolate");
    let kept = whole.shapes().into_iter().filter(|(name, _)| !gone.contains(&name.as_str()));
    let kept = kept.map(|(name, shape)| {
        let values = whole.read(&name).unwrap();
        (name, shape, values)
    });
    Checkpoint::from_values(kept).write_plain_safetensors(&from, Existing::Keep).unwrap();
    let said = vrt(&["convert", from.to_str().unwrap(), to.to_str().unwrap()]).failed();
    assert!(gone.iter().all(|name| said.contains(name)), "{said}");
    assert!(!to.exists());
}

#[test]
fn an_output_of_no_known_form_is_an_error_before_anything_is_read() {
    let said = vrt(&["convert", "/no/such/weights.pth", "weights.onnx"]).failed();
    assert!(said.contains(".safetensors") && said.contains("weights.onnx"), "{said}");
}

#[test]
fn a_stated_network_takes_the_place_of_recognition() {
    let folder = tempdir().unwrap();
    let [from, to, options, other] =
        ["a.safetensors", "b.pth", "a.json", "other.json"].map(|name| folder.path().join(name));
    weights_file("interpolate", &from);
    fs::write(&options, option_file_of("interpolate")).unwrap();
    fs::write(&other, option_file_of("deblur")).unwrap();
    let run = |options: &std::path::Path| {
        vrt(&[
            "convert",
            from.to_str().unwrap(),
            to.to_str().unwrap(),
            "--options",
            options.to_str().unwrap(),
        ])
    };
    let said = run(&other).failed();
    assert!(said.contains("missing") && said.contains("spynet"), "{said}");
    run(&options).succeeded();
}

#[test]
fn info_states_exact_counts_of_a_preset() {
    let said = vrt(&["info", "006"]).succeeded();
    for words in ["18,320,007", "optical flow", "stage 8", "120 120 120 120", "reach 1, 16 groups"]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
    let json = vrt(&["info", "002", "--json"]).succeeded();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["parameters"], 35_134_783);
    assert_eq!(json["architecture"]["reach"], 3);
    assert_eq!(json["architecture"]["window"], serde_json::json!([8, 8, 8]));
    assert_eq!(json["cost"], Value::Null);
}

#[test]
fn info_states_what_a_clip_costs() {
    let arguments = ["info", "006", "--size", "6,256x256"];
    let said = vrt(&arguments).succeeded();
    assert!(said.contains("6 frames of 256×256") && said.contains("TFLOP"), "{said}");
    let json = vrt(&[&arguments[..], &["--json"]].concat()).succeeded();
    let json: Value = serde_json::from_str(&json).unwrap();
    let flops = json["cost"]["flops"].as_f64().unwrap();
    // Counted on the published program: 8.93 TFLOP.
    assert!((flops / 8.93e12 - 1.0).abs() < 0.01, "{flops}");
    let kinds = json["cost"]["operations"].as_array().unwrap();
    let sum: f64 = kinds.iter().map(|kind| kind["flops"].as_f64().unwrap()).sum();
    assert!((sum / flops - 1.0).abs() < 1e-12);
    assert!(json["cost"]["memory"].as_u64().unwrap() > 1 << 30);
}

#[test]
fn info_recognises_the_network_of_weights() {
    let folder = tempdir().unwrap();
    for name in ["deblur", "interpolate", "sr_x2_spike"] {
        let weights = folder.path().join(format!("{name}.safetensors"));
        weights_file(name, &weights);
        let json = vrt(&["info", weights.to_str().unwrap(), "--json"]).succeeded();
        let json: Value = serde_json::from_str(&json).unwrap();
        let fixture = Fixture::load(&format!("models/{name}"));
        let stated = fixture.metadata("config");
        let known = [
            ("depths", "depths"),
            ("widths", "embed_dims"),
            ("heads", "num_heads"),
            ("window", "window_size"),
            ("independent", "indep_reconsts"),
            ("upscale", "upscale"),
        ];
        for (ours, published) in known {
            assert_eq!(json["architecture"][ours], stated[published], "{name}: {ours}");
        }
        let reach = json["architecture"]["reach"].as_u64().unwrap();
        assert_eq!(Some(2 * reach), stated["pa_frames"].as_u64(), "{name}");
        let channels = stated["in_chans"].as_u64().unwrap_or(3);
        assert_eq!(json["architecture"]["spike_channels"], channels - 3, "{name}");
    }
}

#[test]
fn info_of_nothing_known_is_answered_with_what_there_is() {
    let said = vrt(&["info", "006_VRT_videodeblurring_GoPr"]).failed();
    assert!(said.contains("did you mean") && said.contains("gopro"), "{said}");
    let ran = vrt(&["info", "006", "--size", "256x256"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("6,256x256"), "{}", ran.stderr);
}

#[test]
fn doctor_reports_this_machine() {
    let said = vrt(&["doctor"]).succeeded();
    for words in ["processor:", "kernels:", "memory:", "device:", "cpu: found", "ffmpeg:"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let json = vrt(&["doctor", "--json", "--threads", "1"]).succeeded();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["processor"]["threads"], 1);
    let levels = json["processor"]["levels"].as_array().unwrap();
    assert!(levels.contains(&json["processor"]["level"]));
    assert!(json["memory"]["usable"].as_u64() < json["memory"]["total"].as_u64());
    assert_eq!(json["devices"][0]["kind"], "cpu");
}

#[test]
fn doctor_ends_well_without_ffmpeg_and_says_how_to_install_it() {
    let nothing = tempdir().unwrap();
    let ran = Ran::of(
        std::process::Command::new(env!("CARGO_BIN_EXE_vrt"))
            .arg("doctor")
            .env("PATH", nothing.path()),
    );
    let said = ran.succeeded();
    assert!(said.contains("apt install ffmpeg"), "{said}");
    assert!(said.contains("folders of pictures"), "{said}");
}

#[test]
#[cfg(not(feature = "cuda"))]
fn doctor_says_why_a_device_cannot_be_used() {
    let said = vrt(&["doctor", "--device", "cuda"]).succeeded();
    assert!(said.contains("cuda:0 cannot be used") && said.contains("--features cuda"), "{said}");
    assert!(!said.contains("will be planned") && !said.contains("cuda:0 will be used"), "{said}");
    let json = vrt(&["doctor", "--device", "cuda", "--json"]).succeeded();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert!(json["device_problem"].as_str().unwrap().contains("--features cuda"));
    assert_eq!(json["planned_for"], Value::Null);
    let json = vrt(&["doctor", "--json"]).succeeded();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["device_problem"], Value::Null);
    assert_eq!(json["planned_for"], json["memory"]["usable"]);
}

/// Writes the tensors of a fixture's network but for one.
fn weights_without(fixture: &str, gone: &str, path: &std::path::Path) {
    let whole = checkpoint(fixture);
    let kept = whole.shapes().into_iter().filter(|(name, _)| name != gone);
    let kept = kept.map(|(name, shape)| {
        let values = whole.read(&name).expect("readable");
        (name, shape, values)
    });
    Checkpoint::from_values(kept).write_plain_safetensors(path, Existing::Keep).expect("written");
}

#[test]
fn info_of_damaged_weights_names_the_file_and_what_is_missing() {
    let folder = tempdir().unwrap();
    for (file, gone) in [
        ("a.safetensors", "stage3.linear2.bias"),
        ("b.safetensors", "stage1.residual_group2.blocks.0.mlp.fc11.weight"),
    ] {
        let path = folder.path().join(file);
        weights_without("interpolate", gone, &path);
        let said = vrt(&["info", path.to_str().unwrap()]).failed();
        assert!(said.contains(gone) && said.contains(file), "{said}");
    }
}

#[test]
fn a_folder_does_not_hide_the_preset_of_its_name() {
    let folder = tempdir().unwrap();
    fs::create_dir(folder.path().join("006")).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_vrt"));
    let said = Ran::of(command.args(["info", "006"]).current_dir(folder.path())).succeeded();
    assert!(said.contains("18,320,007"), "{said}");
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_vrt"));
    command.args(["info", "006"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = command.stdout(writer).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.is_empty(), "{:?}: {said}", output.status);
}

#[test]
fn constants_are_copied_as_they_are() {
    let folder = tempdir().unwrap();
    let [from, pth, plain, back] =
        ["a.safetensors", "b.pth", "c.safetensors", "d.pth"].map(|n| folder.path().join(n));
    weights_file("deblur", &from);
    let convert = |from: &std::path::Path, to: &std::path::Path, more: &[&str]| {
        let paths = [from.to_str().unwrap(), to.to_str().unwrap()];
        vrt(&[&["convert"], &paths[..], more].concat()).succeeded();
    };
    convert(&from, &pth, &[]);
    convert(&pth, &plain, &["--as-is"]);
    convert(&plain, &back, &["--as-is"]);
    let [first, last] = [&pth, &back].map(|path| Checkpoint::open(path).unwrap());
    let kinds = |checkpoint: &Checkpoint| {
        let tensors = checkpoint.tensors().iter();
        tensors.map(|(name, tensor)| (name.clone(), tensor.element())).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&first), kinds(&last));
    assert_eq!(values(first.path()), values(last.path()));
}
