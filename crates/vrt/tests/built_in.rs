//! What the built-in networks do to the sample clip, as a person runs them.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::vrt;
use tempfile::{TempDir, tempdir};

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
