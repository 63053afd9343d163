//! Streams of spike cameras, as a person handles them.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

mod support;
#[path = "support/weights.rs"]
mod weights;

use std::path::Path;

use serde_json::Value;
use support::vrt;
use tempfile::{TempDir, tempdir};
use vrt_spike::{Geometry, Packed, SensorOptions, SpikeSensor};
use vrt_video::{BitDepth, Frame, PictureChannels, read_picture, write_picture};
use weights::weights_file;

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

/// Runs `vrt` with paths below `folder`.
fn run(folder: &TempDir, arguments: &[&str]) -> support::Ran {
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let paths: Vec<String> = arguments
        .iter()
        .map(|argument| argument.strip_prefix('@').map_or_else(|| (*argument).to_owned(), path))
        .collect();
    vrt(&paths.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A folder with two clips of 9 frames, in which a wave goes to the right over a corner that shines.
fn with_fast_clips() -> TempDir {
    let folder = tempdir().unwrap();
    for clip in ["first", "second"] {
        let root = folder.path().join("fast").join(clip);
        std::fs::create_dir_all(&root).unwrap();
        for frame in 0..9 {
            let at = |i: usize| {
                let (x, y, c) = (i / 3 % WIDTH, i / 3 / WIDTH, i % 3);
                let wave = 0.4 * (x as f32 - 1.5 * frame as f32) + 0.2 * (y + c) as f32;
                0.1 + 0.7 * (x * y) as f32 / (WIDTH * HEIGHT) as f32 + 0.1 * wave.sin()
            };
            let picture = Frame::new(WIDTH, HEIGHT, 3, (0..3 * WIDTH * HEIGHT).map(at).collect());
            let path = root.join(format!("{frame:03}.png"));
            write_picture(&path, &picture, BitDepth::Eight, false).unwrap();
        }
    }
    folder
}

#[test]
fn a_simulated_set_is_checked_scored_and_restored() {
    let folder = with_fast_clips();
    let simulate = ["data", "simulate-spikes", "@fast", "@set", "--part", "test", "--json"];
    let more = ["--frames", "3", "--instants", "8", "--seed", "4"];
    let said = run(&folder, &[&simulate[..], &more].concat()).succeeded();
    let set: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&set["clips"], &set["frames"], &set["spike_frames"]),
        (&2.into(), &6.into(), &24.into())
    );

    let [sharp, blurred] = ["@set/rgb/test/*/sharp", "@set/rgb/test/*/blur"];
    let list = ["--meta-info", "@set/meta_info_test.txt"];
    let check = ["data", "check", "--gt", sharp, "--lq", blurred, "--spike", "@set/spike/test"];
    let said = run(&folder, &[&check[..], &list, &["--spike-method", "mean"]].concat()).succeeded();
    assert!(said.contains("6 pairs of frames, 0 faults"), "{said}");
    let turned = run(&folder, &[&check[..], &list, &["--spike-upright"]].concat());
    assert_eq!(turned.code, 1, "{}", turned.stdout);
    assert!(turned.stdout.contains("change --spike-upright"), "{}", turned.stdout);

    weights_file("deblur_spike", &folder.path().join("w.safetensors"));
    let eval = ["eval", "--gt", sharp, "--input", blurred, "--weights", "@w.safetensors", "--json"];
    let spikes = ["--spike", "@set/spike/test"];
    let whole = ["--tile", "0,0"];
    let said = run(&folder, &[&eval[..], &spikes, &whole].concat()).succeeded();
    let scored: Value = serde_json::from_str(&said).unwrap();

    // The same by `vrt restore`, clip by clip.
    for clip in ["first", "second"] {
        let input = format!("@set/rgb/test/{clip}/blur");
        let streams = format!("@set/spike/test/{clip}/spike");
        let output = format!("@out/{clip}");
        let restore = ["restore", &input, "-o", &output, "--weights", "@w.safetensors"];
        let more = ["--spike", &streams, "--precision", "f32", "--no-scene-cuts"];
        run(&folder, &[&restore[..], &more, &whole].concat()).succeeded();
    }
    let said = run(&folder, &["eval", "--gt", sharp, "--restored", "@out", "--json"]).succeeded();
    let restored: Value = serde_json::from_str(&said).unwrap();
    let psnr = |report: &Value| report["mean"]["psnr"].as_f64().unwrap();
    assert!((psnr(&scored) - psnr(&restored)).abs() < 0.02, "{scored} {restored}");

    // Weights that are asked for by name are those that are taken.
    let named = ["restore", "@set/rgb/test/first/blur", "-o", "@no", "--task", "restore"];
    let streams = ["--spike", "@set/spike/test/first/spike"];
    let ran = run(&folder, &[&named[..], &streams].concat());
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("leave --spike away"), "{}", ran.stderr);
    let file = ["--spike", "@set/spike/test/first/spike/000000.dat"];
    for command in [[&eval[..], &file].concat(), [&check[..6], &list, &file].concat()] {
        let said = run(&folder, &command).failed();
        assert!(said.contains("CLIP/FRAME.dat"), "{said}");
    }
    let ran = run(&folder, &["data", "check", "options.json", "--spike", "@set/spike/test"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);

    // Without its stream a frame is not restored, and nothing before it is.
    std::fs::remove_file(folder.path().join("set/spike/test/second/spike/000002.dat")).unwrap();
    let save = ["--save", "@saved"];
    let said = run(&folder, &[&eval[..], &spikes, &whole, &save].concat()).failed();
    assert!(said.contains("second/000002.dat"), "{said}");
    assert!(!folder.path().join("saved").exists());
    let said = run(&folder, &eval).failed();
    assert!(said.contains("--spike"), "{said}");
}

#[test]
fn sets_that_cannot_be_simulated_are_refused() {
    let folder = with_fast_clips();
    let simulate = ["data", "simulate-spikes", "@fast", "@set"];
    for (flags, code, words) in [
        (&["--frames", "11"][..], 1, "has 9 frames"),
        (&["--frames", "4"], 2, "frames is 4"),
        (&["--frames", "3", "--instants", "0"], 2, "instants is 0"),
        (&["--frames", "3", "--spike-shrink", "9"], 1, "whose sides are 1/9"),
        (&["--frames", "3", "--part", "a/b"], 2, "a folder's name"),
    ] {
        let ran = run(&folder, &[&simulate[..], flags].concat());
        assert_eq!(ran.code, code, "{flags:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(words), "{flags:?}: {}", ran.stderr);
        assert!(!folder.path().join("set").exists(), "{flags:?}");
    }
    // Flags that would change nothing are mistakes.
    let without = ["data", "simulate", "@fast", "@set", "--spike-shrink", "2"];
    let ran = run(&folder, &without);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("--spikes"), "{}", ran.stderr);
    let window = ["restore", "@fast/first", "-o", "@o", "--spike", "@s", "--spike-window", "9"];
    let ran = run(&folder, &window);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("--spike-step"), "{}", ran.stderr);
}
