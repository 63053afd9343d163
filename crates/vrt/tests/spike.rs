//! Streams of spike cameras, as a person handles them.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

mod support;

use std::path::Path;

use serde_json::Value;
use support::vrt;
use tempfile::{TempDir, tempdir};
use vrt_spike::{Geometry, Packed, SensorOptions, SpikeSensor};
use vrt_video::{PictureChannels, read_picture};

const WIDTH: usize = 48;
const HEIGHT: usize = 32;
const FRAMES: usize = 64;

fn ramp() -> Vec<f32> {
    (0..WIDTH * HEIGHT).map(|i| (i % WIDTH) as f32 / WIDTH as f32).collect()
}

/// A folder with a stream of a ramp from left to right.
fn with_stream() -> TempDir {
    let g = Geometry::new(WIDTH, HEIGHT).unwrap();
    let mut sensor = SpikeSensor::new(g, SensorOptions::default());
    let frames = (0..FRAMES).flat_map(|_| sensor.look(&ramp()).bytes().to_vec());
    let folder = tempdir().unwrap();
    let packed = Packed::new(g, frames.collect());
    std::fs::write(folder.path().join("a.dat"), packed.bytes()).unwrap();
    folder
}

/// Runs `vrt spike` with paths below `folder`.
fn spike(folder: &TempDir, arguments: &[&str]) -> support::Ran {
    let paths: Vec<String> = arguments
        .iter()
        .map(|argument| match argument.strip_prefix('@') {
            Some(name) => folder.path().join(name).to_str().unwrap().to_owned(),
            None => (*argument).to_owned(),
        })
        .collect();
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    vrt(&[&["spike"], paths.as_slice()].concat())
}

fn picture(path: &Path) -> Vec<f32> {
    let found = read_picture(path, PictureChannels::Grey).unwrap();
    assert_eq!((found.width(), found.height()), (WIDTH, HEIGHT));
    found.into_samples()
}

#[test]
fn a_stream_is_told_by_its_side_file_and_shown() {
    let folder = with_stream();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("config.yaml"), "spike_w: 48\nspike_h: 32\n").unwrap();
    let said = spike(&folder, &["info", "@a.dat", "--json"]).succeeded();
    let json: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((json["frames"].as_u64(), json["width"].as_u64()), (Some(64), Some(48)));
    let rate = json["rate"].as_f64().unwrap();
    assert!((rate - 0.245).abs() < 0.01, "{rate}");
    let text = spike(&folder, &["info", "@a.dat"]).succeeded();
    assert!(text.contains("64 of 48×32"), "{text}");

    for (method, off) in [("mean", 0.035), ("tfp", 0.05), ("tfi", 0.34)] {
        let name = format!("{method}.png");
        let to = format!("@{name}");
        spike(&folder, &["convert", "@a.dat", "-o", &to, "--method", method]).succeeded();
        let apart = picture(&at(&name)).into_iter().zip(ramp()).map(|(a, b)| (a - b).abs());
        let most = apart.fold(0.0, f32::max);
        assert!(most <= off, "{method}: {most}");
    }
    let args = ["convert", "@a.dat", "-o", "@many/", "--every", "20", "--method", "tfp"];
    spike(&folder, &args).succeeded();
    assert_eq!(std::fs::read_dir(at("many")).unwrap().count(), 4);
    spike(&folder, &["raster", "@a.dat", "-o", "@r.png", "--pixel", "47,0"]).succeeded();
    assert!(at("r.png").exists());
    spike(&folder, &["play", "@a.dat", "-o", "@p.y4m", "--every", "8"]).succeeded();
    let head = std::fs::read(at("p.y4m")).unwrap();
    assert!(head.starts_with(b"YUV4MPEG2 W48 H32 F25:1"));
}

#[test]
fn spikes_go_into_arrays_and_come_back_to_the_bit() {
    let folder = with_stream();
    let spikes = ["--method", "spikes"];
    let to_array = ["convert", "@a.dat", "-o", "@a.npy", "--size", "48x32"];
    spike(&folder, &[&to_array[..], &spikes].concat()).succeeded();
    spike(&folder, &[&["convert", "@a.npy", "-o", "@b.dat"][..], &spikes].concat()).succeeded();
    let read = |name: &str| std::fs::read(folder.path().join(name)).unwrap();
    assert_eq!(read("a.dat"), read("b.dat"));
    // Nothing is replaced unasked.
    let again = spike(&folder, &[&["convert", "@a.npy", "-o", "@b.dat"][..], &spikes].concat());
    let said = again.failed();
    assert!(said.contains("b.dat exists"), "{said}");
}

#[test]
fn what_cannot_be_is_told_with_what_to_do() {
    let folder = with_stream();
    let size = ["--size", "48x32"];
    let cases: [(&[&str], i32, &str); 9] = [
        (&["info", "@a.dat"], 2, "--size"),
        (&["info", "@a.dat", "--size", "50x32"], 1, "no whole number of frames of 50×32"),
        (&["info", "@a.dat", "--camera", "best"], 2, "400x250"),
        (&["info", "@none.dat", "--size", "48x32"], 1, "none.dat"),
        (&["convert", "@a.dat", "-o", "@x.png", size[0], size[1], "--at", "64"], 1, "from 0 to 63"),
        (&["convert", "@a.dat", "-o", "@x.png", size[0], size[1], "--at", "all"], 1, "one frame"),
        (
            &["convert", "@a.dat", "-o", "@x", size[0], size[1], "--at", "all", "--method", "mean"],
            2,
            "choose tfp or tfi",
        ),
        (
            &["convert", "@a.dat", "-o", "@x.png", size[0], size[1], "--method", "spikes"],
            2,
            ".dat or .npy",
        ),
        (&["raster", "@a.dat", "-o", "@x.png", size[0], size[1], "--pixel", "48,0"], 2, "48,0"),
    ];
    for (arguments, code, message) in cases {
        let ran = spike(&folder, arguments);
        assert_eq!(ran.code, code, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(message), "{message} is not in: {}", ran.stderr);
        assert!(!folder.path().join("x.png").exists(), "{arguments:?} left something");
    }
}
