//! `vrt data`, as a person runs it.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

mod support;

use std::path::Path;

use serde_json::Value;
use support::vrt;
use tempfile::{TempDir, tempdir};
use vrt_video::{BitDepth, Frame, PictureChannels, read_picture, write_picture};

/// A miniature GoPro download with frames of 16×8 pixels.
fn download() -> TempDir {
    let root = tempdir().unwrap();
    for kind in ["sharp", "blur"] {
        for frame in 47..50 {
            let name = format!("train/GOPR0372_07_00/{kind}/{frame:06}.png");
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let picture = Frame::filled(16, 8, 3, frame as f32 / 255.0);
            write_picture(&path, &picture, BitDepth::Eight, false).unwrap();
        }
    }
    root
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_download_is_prepared_and_checked() {
    let (source, root) = (download(), tempdir().unwrap());
    for lmdb in [false, true] {
        let out = root.path().join(if lmdb { "lmdb" } else { "folders" });
        let mut arguments = vec!["data", "prepare", text(source.path()), text(&out)];
        arguments.extend(["--layout", "gopro"]);
        arguments.extend(lmdb.then_some("--lmdb"));
        let said = vrt(&arguments).succeeded();
        assert!(said.contains("1 clips, 3 frames"), "{said}");
        let again = vrt(&arguments).failed();
        assert!(again.contains("exists already"), "{again}");

        let suffix = if lmdb { ".lmdb" } else { "" };
        let [sharp, blurred] =
            ["train_GT", "train_GT_blurred"].map(|t| out.join(t.to_owned() + suffix));
        let list = out.join("meta_info_train_GT.txt");
        let mut arguments = vec!["--json", "data", "check", "--gt", text(&sharp)];
        arguments.extend(["--lq", text(&blurred), "--meta-info", text(&list)]);
        arguments.extend(lmdb.then_some("--lmdb"));
        let report: Value = serde_json::from_str(&vrt(&arguments).succeeded()).unwrap();
        assert_eq!((&report["pairs"], &report["faults"]), (&3.into(), &0.into()));
    }
    let (sharp, blurred) =
        (root.path().join("folders/train_GT"), root.path().join("folders/train_GT_blurred"));
    let pair = ["data", "check", "--gt", text(&sharp), "--lq", text(&blurred)];
    assert!(vrt(&pair).succeeded().contains("3 pairs of frames, 0 faults"));
    std::fs::write(blurred.join("GOPR0372_07_00/000048.png"), "no picture").unwrap();
    let ran = vrt(&pair);
    assert!(ran.stdout.contains("000048.png") && ran.stdout.contains("1 faults"), "{}", ran.stdout);
    assert!(ran.failed().contains("1 of 3 pairs"));
}

#[test]
fn clips_are_degraded() {
    let (source, out) = (download(), tempdir().unwrap());
    let small = out.path().join("small");
    let said = vrt(&["data", "degrade", text(source.path()), text(&small), "--bicubic", "4"]);
    assert!(said.succeeded().contains("2 clips, 6 frames"));
    let path = small.join("train/GOPR0372_07_00/blur/000049.png");
    let frame = read_picture(&path, PictureChannels::Rgb).unwrap();
    assert_eq!((frame.width(), frame.height()), (4, 2));
    assert!((frame.samples()[0] - 49.0 / 255.0).abs() < 1e-6);

    let sharp = out.path().join("sharp");
    let blurred = out.path().join("blurred");
    let ran = vrt(&[
        "data",
        "degrade",
        text(source.path()),
        text(&blurred),
        "--motion-blur",
        "3",
        "--light",
        "linear",
        "--sharp",
        text(&sharp),
    ]);
    assert!(ran.succeeded().contains("2 clips, 2 frames"));
    assert!(sharp.join("train/GOPR0372_07_00/sharp/00000000.png").exists());

    let filled = vrt(&["data", "degrade", text(source.path()), text(&small), "--blur-down"]);
    assert!(filled.failed().contains("is not empty"));
}

#[test]
fn wrong_flags_are_wrong_usage() {
    let (source, root) = (download(), tempdir().unwrap());
    let out = root.path().join("out");
    for flags in [
        &["--bicubic", "5"][..],
        &[],
        &["--bicubic", "2", "--blur-down"],
        &["--noise", "-1"],
        &["--noise=nan"],
        &["--blur-down", "--seed", "3"],
        &["--motion-blur", "0"],
        &["--bicubic", "2", "--sharp", "sharp"],
        &["--compress", "52"],
    ] {
        let mut arguments = vec!["data", "degrade", text(source.path()), text(&out)];
        arguments.extend(flags);
        assert_eq!(vrt(&arguments).code, 2, "{flags:?}");
        assert!(!out.exists(), "{flags:?}");
    }
}
