//! What the built-in networks do to the sample clip, as a person runs them.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::vrt;
use tempfile::{TempDir, tempdir};
use vrt_video::{BitDepth, Frame, write_picture};

/// Frames that are looked at: those that the camera moves fastest in.
const FRAMES: [usize; 2] = [36, 42];

fn sample(name: &str) -> PathBuf {
    vrt_testing::workspace_root().join("samples").join(name)
}

fn ffmpeg(arguments: &[&str]) {
    let ran = Command::new("ffmpeg").args(["-v", "error", "-y"]).args(arguments).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

/// The frames of a sample as pictures of one clip in a folder of their own.
fn frames(folder: &TempDir, name: &str, from: &Path) -> String {
    let root = folder.path().join(name);
    std::fs::create_dir_all(root.join("clip")).unwrap();
    let [first, last] = FRAMES;
    let filter = format!("select='between(n,{first},{})'", last - 1);
    let to = root.join("clip/%08d.png");
    let (from, to) = (from.to_str().unwrap(), to.to_str().unwrap());
    ffmpeg(&["-i", from, "-vf", &filter, "-fps_mode", "passthrough", "-pix_fmt", "rgb24", to]);
    root.to_str().unwrap().to_owned()
}

/// The mean PSNR that `vrt eval` states.
fn psnr(arguments: &[&str]) -> f64 {
    let said = vrt(&[&["eval", "--json", "-q"], arguments].concat()).succeeded();
    let json: Value = serde_json::from_str(&said).unwrap();
    json["mean"]["psnr"].as_f64().unwrap()
}

#[test]
fn noise_is_taken_away() {
    let folder = tempdir().unwrap();
    let truth = frames(&folder, "truth", &sample("handheld-truth.mp4"));
    // 9 dB above a clip with noise of σ 25.
    let found = psnr(&["--gt", &truth, "--weights", "denoise", "--sigma", "25"]);
    assert!(found > 29.2, "{found} dB");
}

#[test]
fn enlarging_is_better_than_cubic_interpolation() {
    let folder = tempdir().unwrap();
    let truth = frames(&folder, "truth", &sample("handheld-truth.mp4"));
    let small = folder.path().join("small").to_str().unwrap().to_owned();
    vrt(&["data", "degrade", &truth, &small, "--bicubic", "2", "-q"]).succeeded();
    let cubic = folder.path().join("cubic/clip");
    std::fs::create_dir_all(&cubic).unwrap();
    let [from, to] = [PathBuf::from(&small).join("clip"), cubic].map(|at| at.join("%08d.png"));
    ffmpeg(&[
        "-i",
        from.to_str().unwrap(),
        "-vf",
        "scale=iw*2:ih*2:flags=bicubic+accurate_rnd+full_chroma_int",
        "-pix_fmt",
        "rgb24",
        to.to_str().unwrap(),
    ]);
    let cubic = folder.path().join("cubic").to_str().unwrap().to_owned();
    let cubic = psnr(&["--gt", &truth, "--restored", &cubic]);
    let found = psnr(&["--gt", &truth, "--input", &small, "--weights", "upscale"]);
    assert!(found > cubic + 0.8, "{found} dB, and {cubic} dB by cubic interpolation");
}

#[test]
fn what_a_shaking_camera_saw_gets_sharper() {
    let folder = tempdir().unwrap();
    let truth = frames(&folder, "truth", &sample("handheld-truth.mp4"));
    let input = frames(&folder, "input", &sample("handheld.mp4"));
    let before = psnr(&["--gt", &truth, "--restored", &input]);
    let after = psnr(&["--gt", &truth, "--input", &input, "--weights", "restore"]);
    assert!(after > before + 0.2, "{before} dB before, {after} dB after");
}

/// A large picture of coloured spots of all sizes.
fn still(path: &Path) {
    const SIDE: (usize, usize) = (1200, 900);
    // Values of a grid of points, and straight lines between them.
    let value = |x: f64, y: f64, seed: u64| {
        let corner = |x: f64, y: f64| {
            let key = (x as u64) ^ ((y as u64) << 20) ^ (seed << 40);
            let mixed = (key ^ (key >> 13)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            (mixed >> 40) as f64 / (1u64 << 24) as f64
        };
        let (left, top) = (x.floor(), y.floor());
        let row = |y| {
            let (a, b) = (corner(left, y), corner(left + 1.0, y));
            a + (x - left) * (b - a)
        };
        row(top) + (y - top) * (row(top + 1.0) - row(top))
    };
    let sample = |i: usize| {
        let (x, y, c) = ((i / 3 % SIDE.0) as f64, (i / 3 / SIDE.0) as f64, i % 3);
        let octaves = [40.0, 20.0, 10.0, 5.0].map(|size| value(x / size, y / size, size as u64));
        let tint = value(x / 90.0, y / 90.0, 7 + c as u64);
        (0.6 * octaves.iter().sum::<f64>() / 4.0 + 0.4 * tint) as f32
    };
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let picture = Frame::new(SIDE.0, SIDE.1, 3, (0..3 * SIDE.0 * SIDE.1).map(sample).collect());
    write_picture(path, &picture, BitDepth::Eight, false).unwrap();
}

#[test]
fn spikes_show_what_moved_while_the_shutter_was_open() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    still(&folder.path().join("stills/a.png"));
    let simulate = ["data", "simulate", &at("stills"), &at("set"), "--part", "all", "--seed", "5"];
    let size = ["--clips", "2", "--frames", "6", "--size", "128x96", "--still-share", "0"];
    let blur = ["--min-blur", "10", "--max-blur", "20", "--noise", "0", "--compress-share", "0"];
    let spikes = ["--spikes", "96", "-q"];
    vrt(&[&simulate[..], &size, &blur, &spikes].concat()).succeeded();
    let [sharp, blurred] = [at("set/GT"), at("set/LQ")];
    let before = psnr(&["--gt", &sharp, "--restored", &blurred]);
    let frames = ["--gt", &sharp, "--input", &blurred, "--weights"];
    let alone = psnr(&[&frames[..], &["deblur"]].concat());
    let spikes = ["deblur-spike", "--spike", &at("set/SPIKE")];
    let with = psnr(&[&frames[..], &spikes].concat());
    assert!(with > alone + 1.0, "{before} dB before, {alone} dB without spikes, {with} dB with");

    // The network is known from the flag.
    let streams = at("set/SPIKE/000000");
    let input = at("set/LQ/000000");
    let ran = vrt(&["restore", &input, "-o", &at("out"), "--spike", &streams]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("deblur-spike"), "{}", ran.stderr);
    let other =
        vrt(&["restore", &input, "-o", &at("no"), "--task", "upscale", "--spike", &streams]);
    assert_eq!(other.code, 2, "{}", other.stderr);
}

#[test]
fn the_command_of_the_first_page_restores_the_sample() {
    let folder = tempdir().unwrap();
    let (from, to) = (sample("handheld.mp4"), folder.path().join("sharp.mp4"));
    let to = to.to_str().unwrap();
    let ran = vrt(&["restore", from.to_str().unwrap(), "-o", to, "--frames", "6"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("less motion blur"), "the network is named: {}", ran.stderr);
    let root = folder.path().join("restored");
    std::fs::create_dir(&root).unwrap();
    ffmpeg(&["-i", to, root.join("%08d.png").to_str().unwrap()]);
    assert_eq!(std::fs::read_dir(root).unwrap().count(), 6);
}

#[test]
fn a_misspelt_network_is_answered_with_the_nearest() {
    let folder = tempdir().unwrap();
    let (from, to) = (sample("handheld.mp4"), folder.path().join("out.mp4"));
    let ends = [from.to_str().unwrap(), "-o", to.to_str().unwrap()];
    let said = vrt(&[&["restore"], &ends[..], &["--weights", "denois"]].concat()).failed();
    assert!(said.contains("did you mean denoise?"), "{said}");
    assert!(!to.exists());
}
