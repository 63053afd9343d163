//! `vrt models` and commands that take names, as a person runs them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;
use vrt::models::builtin;
use vrt_model::checkpoint::{Checkpoint, Existing};
use vrt_model::presets::Preset;

use crate::server::{Server, well};
use crate::support::{Ran, vrt};

const TAG: &str = "\"one\"";
const NAME: &str = "009_VRT_videofi_Vimeo_4frames";

/// Writes a checkpoint of the smallest published network, whose values are all this one.
pub(crate) fn write_009(path: &Path, value: f32) {
    let config = Preset::parse("009").unwrap().config();
    let tensors = config.tensors().into_iter();
    let tensors =
        tensors.map(|spec| (spec.name.clone(), spec.shape.clone(), vec![value; spec.len()]));
    Checkpoint::from_values(tensors).write_pth(path, &config, Existing::Replace).unwrap();
}

/// A folder with a cache in it.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program, in the folder, with nothing of this machine's settings.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vrt"));
        command.current_dir(self.folder.path()).args(arguments).stdin(Stdio::null());
        let proxies = ["all_proxy", "http_proxy", "https_proxy"];
        for name in proxies {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        command.env_remove("XDG_CACHE_HOME").env("VRT_CACHE", self.path("cache"));
        command
    }

    fn vrt(&self, arguments: &[&str]) -> Ran {
        Ran::of(&mut self.command(arguments))
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let said = self.vrt(&[&["--json"], arguments].concat()).succeeded();
        serde_json::from_str(said.lines().last().unwrap()).unwrap()
    }

    fn published(&self) -> Value {
        let all = self.json(&["models"]);
        let published = all["published"].as_array().unwrap().iter();
        published.clone().find(|network| network["id"] == "009").unwrap().clone()
    }
}

#[test]
fn a_published_checkpoint_is_fetched_once_used_by_name_checked_and_removed() {
    let bench = Bench::new();
    write_009(&bench.path("009.pth"), 0.0);
    let bytes = Arc::new(fs::read(bench.path("009.pth")).unwrap());
    let (size, sent) = (bytes.len(), Arc::clone(&bytes));
    let server = Server::start(move |_, request| well(request, &sent, TAG));
    let from = server.at("mirror/");
    let fetch = ["models", "fetch", "009", "--from", &from];

    // The licence comes first.
    let refused = bench.vrt(&fetch);
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    for part in ["CC-BY-NC-4.0", "--accept-licence", "https://creativecommons.org"] {
        assert!(refused.stderr.contains(part), "{part} is not in: {}", refused.stderr);
    }
    assert!(server.asked().is_empty());
    assert_eq!(bench.published()["licence_accepted"], false);
    assert_eq!(bench.published()["path"], Value::Null);

    let done = bench.json(&[&fetch[..], &["--accept-licence"]].concat());
    assert_eq!((&done["event"], &done["was_there"]), (&"done".into(), &false.into()));
    assert_eq!(done["bytes"], size);
    assert_eq!(server.asked()[0].path, format!("/mirror/{NAME}.pth"));
    let path = bench.vrt(&["models", "path", "009"]).succeeded();
    assert_eq!(fs::read(path.trim()).unwrap(), *bytes);
    let listed = bench.published();
    assert_eq!((&listed["sha256"], &listed["bytes"]), (&done["sha256"], &done["bytes"]));
    let about = listed["about_bytes"].as_f64().unwrap();
    assert!((0.98..1.0).contains(&(about / size as f64)), "{about} of {size}");

    // Neither the licence nor the file is asked for again.
    assert_eq!(bench.json(&fetch)["was_there"], true);
    assert_eq!(server.asked().len(), 1);

    let convert = ["convert", NAME, "small.safetensors", "--dtype", "f16"];
    bench.vrt(&convert).succeeded();
    let half = fs::metadata(bench.path("small.safetensors")).unwrap().len() as usize;
    // Without the constants and in 16 bits.
    assert!(half < size / 3, "{half} of {size}");

    bench.vrt(&["models", "check"]).succeeded();
    let mut changed = (*bytes).clone();
    changed[size / 2] ^= 1;
    fs::write(path.trim(), changed).unwrap();
    let said = bench.vrt(&["models", "check", "009"]).failed();
    assert!(said.contains("not as fetched: 009"), "{said}");

    bench.vrt(&["models", "remove", "009"]).succeeded();
    for arguments in [&["models", "path", "009"][..], &["models", "remove", "009"], &convert] {
        let said = bench.vrt(arguments).failed();
        assert!(said.contains("`vrt models fetch 009`"), "{said}");
    }
}

#[test]
fn what_is_not_the_checkpoint_is_not_kept() {
    let bench = Bench::new();
    let server = Server::start(|_, request| well(request, b"<html>sign in</html>", TAG));
    let from = server.at("file");
    let fetch = ["models", "fetch", "009", "--from", &from, "--accept-licence"];
    let said = bench.vrt(&fetch).failed();
    assert!(said.contains("web page") && said.contains(&from), "{said}");
    let said = bench.vrt(&[&fetch[..], &["--sha256", &"0".repeat(64)]].concat()).failed();
    assert!(said.contains("SHA-256"), "{said}");
    let left = fs::read_dir(bench.path("cache/weights")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [format!("{NAME}.pth.lock").as_str()]);
}

#[test]
fn a_check_tells_of_every_file_and_names_all_that_are_wrong() {
    let bench = Bench::new();
    let weights = bench.path("cache/weights");
    fs::create_dir_all(&weights).unwrap();
    for name in ["006_VRT_videodeblurring_GoPro", "008_VRT_videodenoising_DAVIS"] {
        fs::write(weights.join(format!("{name}.pth")), "<html>sign in</html>").unwrap();
    }
    write_009(&weights.join(format!("{NAME}.pth")), 0.0);
    let ran = bench.vrt(&["--json", "models", "check", "006", "001", "008", "009"]);
    // The last line is that of the failure.
    let told: Vec<Value> =
        ran.stdout.lines().take(4).map(|line| serde_json::from_str(line).unwrap()).collect();
    let states: Vec<_> = told.iter().map(|told| told["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["broken", "absent", "broken", "recorded"]);
    for (told, file) in [(&told[0], "006_VRT"), (&told[2], "008_VRT")] {
        assert!(told["error"].as_str().unwrap().contains(file), "{told}");
    }
    let said = ran.failed();
    assert!(said.contains("not as fetched: 006, 008;"), "{said}");
    assert!(said.contains(": 001; `vrt models fetch`"), "{said}");

    let ran = bench.vrt(&["models", "check"]);
    for part in ["006_VRT", "008_VRT", "broken", "009_VRT", "as it came"] {
        assert!(ran.stdout.contains(part), "{part} is not in: {}", ran.stdout);
    }
    let said = ran.failed();
    assert!(said.contains("006, 008") && !said.contains("009"), "{said}");
}

#[test]
fn a_cache_that_cannot_be_written_is_named_with_what_to_do() {
    let bench = Bench::new();
    fs::write(bench.path("cache"), "a file").unwrap();
    let fetch = ["models", "fetch", "009", "--from", "http://127.0.0.1/", "--accept-licence"];
    let mut said = vec![bench.vrt(&fetch).failed()];
    // Elsewhere, what is below a file is only absent.
    if cfg!(unix) {
        said.push(bench.vrt(&["models", "remove", "009"]).failed());
    }
    for said in said {
        assert!(said.contains(bench.path("cache").to_str().unwrap()), "{said}");
        assert!(said.contains("choose a folder with --cache"), "{said}");
    }
}

#[test]
fn wrong_usage_of_names_is_told_with_what_is_meant() {
    let bench = Bench::new();
    for (arguments, part) in [
        (&["models", "fetch", "06"][..], "did you mean 006?"),
        (&["models", "fetch", "deblur-spike"], "no published network"),
        (&["models", "fetch"], "<NAME>"),
        (&["models", "fetch", "009", "--sha256", "12"], "64 hexadecimal"),
        (&["models", "fetch", "009", "--from", "x", "--accept-licence"], "https://"),
        (&["models", "path", "x"], "vrt models"),
        (&["restore", "in", "-o", "out", "--task", "denoise", "--weights", "x"], "cannot be used"),
        (&["restore", "in", "-o", "out", "--task", "deblur"], "restore, denoise, upscale"),
    ] {
        let ran = bench.vrt(arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(part), "{arguments:?}: {}", ran.stderr);
    }
    for (arguments, part) in [
        (&["restore", "in", "-o", "out", "--weights", "006"][..], "`vrt models fetch 006`"),
        (&["eval", "--gt", "x", "--input", "x", "--weights", "006"], "`vrt models fetch 006`"),
        (&["convert", "006_VRT_videodeblurring_GoPr", "a.pth"], "did you mean 006_VRT"),
        (&["restore", "in", "-o", "out", "--weights", "mine.pth"], "there is no file mine.pth"),
    ] {
        let said = bench.vrt(arguments).failed();
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
    assert!(!bench.path("cache/weights").exists());
    assert!(vrt(&["models", "--help"]).succeeded().contains("VRT_CACHE"));
}

#[test]
fn the_cache_is_where_the_flag_the_variable_or_the_system_says() {
    let bench = Bench::new();
    let folder = |command: &mut Command| {
        let all: Value = serde_json::from_str(&Ran::of(command).succeeded()).unwrap();
        PathBuf::from(all["cache"].as_str().unwrap())
    };
    let list = ["--json", "models"];
    assert_eq!(folder(&mut bench.command(&list)), bench.path("cache"));
    let flag = ["--json", "models", "--cache", "elsewhere"];
    assert_eq!(folder(&mut bench.command(&flag)), Path::new("elsewhere"));
    let mut command = bench.command(&list);
    command.env("VRT_CACHE", "").env("XDG_CACHE_HOME", bench.path("xdg"));
    if cfg!(not(windows)) {
        assert_eq!(folder(&mut command), bench.path("xdg/vrt"));
    }
    // What is listed is all nine, with what a person has to know before fetching.
    let text = bench.vrt(&["models"]).succeeded();
    for preset in &Preset::all()[..9] {
        assert!(text.contains(preset.name), "{}: {text}", preset.name);
    }
    for part in ["CC-BY-NC-4.0", "https://github.com/JingyunLiang/VRT", "about", "MiB"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    assert!(!bench.path("cache").exists(), "listing makes no folders");
}

#[test]
fn restoring_without_weights_takes_what_is_built_in_or_says_that_nothing_is() {
    let bench = Bench::new();
    fs::create_dir(bench.path("in")).unwrap();
    for task in ["restore", "denoise", "upscale"] {
        let ran = bench.vrt(&["restore", "in", "-o", "out", "--task", task]);
        let built_in = builtin::all().iter().find(|network| network.name == task);
        match built_in {
            None => {
                let said = ran.failed();
                assert!(said.contains(task) && said.contains("name a file"), "{said}");
            }
            Some(_) if task == "denoise" => {
                assert_eq!(ran.code, 2, "{}", ran.stderr);
                assert!(ran.stderr.contains("--sigma"), "{}", ran.stderr);
            }
            // The folder is empty: the network was found and opened.
            Some(network) => {
                let said = ran.failed();
                assert!(said.contains(network.about) && said.contains("in"), "{said}");
            }
        }
    }
    let ran = bench.vrt(&["restore", "in", "-o", "out"]).failed();
    let task = bench.vrt(&["restore", "in", "-o", "out", "--task", "restore"]).failed();
    assert_eq!(ran, task, "restore is what is done where nothing is said");
}
