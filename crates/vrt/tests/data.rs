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

/// Three stills of waves, one of them in a folder of its own.
fn stills() -> TempDir {
    let root = tempdir().unwrap();
    for (at, name) in ["a.png", "b.png", "deep/c.png"].into_iter().enumerate() {
        let path = root.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let pace = 0.2 + 0.1 * at as f32;
        let samples = (0..240 * 200).flat_map(|place| {
            let (x, y) = ((place % 240) as f32, (place / 240) as f32);
            [(x * pace).sin(), (y * pace).cos(), ((x + y) * pace).sin()].map(|v| 0.5 + 0.4 * v)
        });
        let picture = Frame::new(240, 200, 3, samples.collect());
        write_picture(&path, &picture, BitDepth::Eight, false).unwrap();
    }
    root
}

#[test]
fn clips_are_simulated_and_fit_to_train_on() {
    let (source, root) = (stills(), tempdir().unwrap());
    for upscale in ["1", "2"] {
        let out = root.path().join(upscale);
        let mut arguments = vec!["data", "simulate", text(source.path()), text(&out)];
        arguments.extend(["--clips", "3", "--frames", "4", "--size", "48x40"]);
        arguments.extend(["--compress-share", "0", "--upscale", upscale]);
        let said = vrt(&arguments).succeeded();
        assert!(said.contains("3 clips, 12 frames of 3 stills"), "{said}");
        assert!(vrt(&arguments).failed().contains("is not empty"));

        let [sharp, degraded, list] = ["GT", "LQ", "meta_info.txt"].map(|name| out.join(name));
        let mut check = vec!["--json", "data", "check", "--gt", text(&sharp)];
        check.extend(["--lq", text(&degraded), "--meta-info", text(&list), "--scale", upscale]);
        let report: Value = serde_json::from_str(&vrt(&check).succeeded()).unwrap();
        assert_eq!((&report["pairs"], &report["faults"]), (&12.into(), &0.into()));

        let record = std::fs::read_to_string(out.join("simulate.json")).unwrap();
        let record: Value = serde_json::from_str(&record).unwrap();
        assert_eq!(record["stills"], serde_json::json!(["a.png", "b.png", "deep/c.png"]));
        assert_eq!(
            (&record["options"]["width"], &record["options"]["part"]),
            (&48.into(), &"train".into())
        );
        assert_eq!(record["clips"].as_array().unwrap().len(), 3);
    }
}

#[test]
fn what_cannot_be_simulated_is_told() {
    let (source, root) = (stills(), tempdir().unwrap());
    let out = root.path().join("out");
    let with = |flags: &[&str]| {
        let mut arguments = vec!["data", "simulate", text(source.path()), text(&out)];
        arguments.extend(flags);
        vrt(&arguments)
    };
    for flags in [
        &["--clips", "0"][..],
        &["--frames", "0"],
        &["--size", "48"],
        &["--size", "8x48"],
        &["--size", "5000x48"],
        &["--size", "49x48", "--upscale", "2"],
        &["--upscale", "3"],
        &["--max-blur", "0"],
        &["--still-share", "1.1"],
        &["--noise=nan"],
        &["--compress-share=-0.1"],
    ] {
        assert_eq!(with(flags).code, 2, "{flags:?}");
    }
    let small = with(&[]).failed();
    assert!(small.contains("a.png") && small.contains("240×200"), "{small}");
    let few = with(&["--size", "48x40", "--part", "test"]).failed();
    assert!(few.contains("every tenth"), "{few}");
    assert!(!out.exists());
    std::fs::write(source.path().join("deep/d.png"), "no picture").unwrap();
    let broken = with(&["--size", "48x40"]).failed();
    assert!(broken.contains("d.png") && broken.contains("cannot be decoded"), "{broken}");
    let empty = tempdir().unwrap();
    let none = vrt(&["data", "simulate", text(empty.path()), text(&out)]).failed();
    assert!(none.contains("holds no picture"), "{none}");
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
