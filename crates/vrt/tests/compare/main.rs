//! `vrt compare` as a person runs it: real clips in, videos and pages out, pages in a browser.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

mod browser;
mod page;
#[path = "../support/mod.rs"]
mod support;
mod video;

use std::path::{Path, PathBuf};

use serde_json::Value;
use support::{Ran, vrt};
use tempfile::TempDir;
use vrt_testing::shared_root;
use vrt_video::{
    BitDepth, Frame, FrameRate, OpenOptions, Ratio, SinkOptions, SsimKind, StreamInfo, TimedFrame,
    create, open, write_picture,
};

/// A folder for a test.
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

    /// Runs `vrt compare` in the folder.
    fn compare(&self, arguments: &[&str]) -> Ran {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_vrt"));
        Ran::of(command.current_dir(self.folder.path()).arg("compare").args(arguments))
    }

    /// A folder of pictures that differ by `seed`, frame and place.
    fn folder_of(&self, name: &str, frames: usize, size: (usize, usize), seed: usize) {
        std::fs::create_dir_all(self.path(name)).unwrap();
        for frame in 0..frames {
            let path = self.path(name).join(format!("{frame:03}.png"));
            write_picture(&path, &picture(size, frame, seed), BitDepth::Eight, true).unwrap();
        }
    }

    /// The same as a YUV4MPEG2 stream of this rate.
    fn stream_of(&self, name: &str, frames: usize, size: (usize, usize), rate: u32) {
        let ratio = Ratio { numerator: rate, denominator: 1 };
        let info = StreamInfo {
            width: size.0,
            height: size.1,
            frame_rate: Some(FrameRate::Constant(ratio)),
            frames: None,
            sample_aspect: None,
            color: Default::default(),
            bit_depth: 8,
        };
        let mut sink = create(&self.path(name), &info, &SinkOptions::default()).unwrap();
        for frame in 0..frames {
            let frame = picture(size, frame, 1);
            sink.write(&TimedFrame { frame, seconds: None, name: None }).unwrap();
        }
        sink.finish().unwrap();
    }

    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.unwrap().file_name().into_string().unwrap()
        };
        let mut files: Vec<_> = entries.map(name).collect();
        files.sort();
        files
    }
}

/// Smooth, so that it survives being encoded.
fn picture((width, height): (usize, usize), frame: usize, seed: usize) -> Frame {
    let sample = |at: usize| {
        let (x, y, channel) = (at / 3 % width, at / (3 * width), at % 3);
        let (x, y) = (x as f32 / width as f32, y as f32 / height as f32);
        let phase = (frame * 2 + seed * 5 + channel) as f32 / 4.0;
        0.5 + 0.4 * (2.5 * x + 1.5 * y + phase).sin()
    };
    Frame::new(width, height, 3, (0..3 * width * height).map(sample).collect())
}

/// The same clip distorted and clean, or `None`, with a printed word, where they are not.
fn carphone() -> Option<[PathBuf; 2]> {
    let Some(shared) = shared_root() else {
        eprintln!("SKIPPED: the shared clips are not on this machine");
        return None;
    };
    if std::process::Command::new("ffmpeg").arg("-version").output().is_err() {
        eprintln!("SKIPPED: ffmpeg is not on this machine");
        return None;
    }
    let clip = |name: &str| shared.join("media").join(name).canonicalize().unwrap();
    Some([clip("carphone_distorted.mp4"), clip("carphone_pristine.mp4")])
}

fn frames_of(path: &Path) -> Vec<Frame> {
    let mut source = open(path, &OpenOptions::default()).unwrap();
    let mut frames = Vec::new();
    while let Some(frame) = source.next_frame().unwrap() {
        frames.push(frame.frame);
    }
    frames
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn scores_of_a_real_clip_are_those_of_its_frames() {
    let Some([distorted, pristine]) = carphone() else { return };
    let bench = Bench::new();
    let (bad, good) = (text(&distorted), text(&pristine));
    let arguments =
        [bad, good, "--truth", good, "--names", "bad,good", "-o", "look.html", "--json"];
    let ran = bench.compare(&arguments);
    let report: Value = serde_json::from_str(&ran.succeeded()).unwrap();
    assert_eq!((&report["frames"], &report["shown"]), (&120.into(), &24.into()));
    let (truth, output) = (frames_of(&pristine), frames_of(&distorted));
    let pairs = || truth.iter().zip(&output);
    let mean = |scores: Vec<f64>| scores.iter().sum::<f64>() / scores.len() as f64;
    let psnr = mean(pairs().map(|(a, b)| vrt_video::psnr(a, b).unwrap()).collect());
    let kind = SsimKind::PerChannel;
    let ssim = mean(pairs().map(|(a, b)| vrt_video::ssim(a, b, kind).unwrap()).collect());
    let clips = &report["clips"];
    let close = |value: &Value, expected: f64| (value.as_f64().unwrap() - expected).abs() < 1e-9;
    assert!(close(&clips[0]["mean"]["psnr"], psnr), "{} {psnr}", clips[0]["mean"]);
    assert!(close(&clips[0]["mean"]["ssim"], ssim), "{} {ssim}", clips[0]["mean"]);
    assert_eq!(clips[0]["frames"].as_array().unwrap().len(), 120);
    assert_eq!(clips[1]["mean"]["psnr"], "inf");
    assert_eq!(clips[1]["mean"]["ssim"], 1.0);
    let said = bench.compare(&[&arguments[..8], &["--overwrite"]].concat()).succeeded();
    let stated = format!("{psnr:.4}");
    assert!(said.contains(&stated) && said.contains("bad") && said.contains("inf"), "{said}");
    assert!(said.contains("120 frames, 24 of them in look.html"), "{said}");
}

#[test]
fn smaller_clips_of_one_shape_are_taken_and_others_are_not() {
    let bench = Bench::new();
    bench.folder_of("large", 2, (48, 32), 1);
    bench.folder_of("small", 2, (24, 16), 1);
    bench.folder_of("square", 2, (32, 32), 1);
    let arguments = ["small", "large", "--truth", "large", "-o", "out.html"];
    let ran = bench.compare(&arguments);
    let noted = ran.stderr.clone();
    let said = ran.succeeded();
    assert!(noted.contains("small has another size than the truth"), "{noted}");
    assert!(said.contains("24×16") && said.contains("48×32"), "{said}");
    let error = bench.compare(&["large", "square", "-o", "other.html"]).failed();
    assert!(error.contains("48×32") && error.contains("32×32"), "{error}");
    let error = bench.compare(&["large", "small", "--truth", "square", "-o", "other.mp4"]).failed();
    assert!(error.contains("48×32") && error.contains("32×32"), "{error}");
    assert_eq!(bench.files(), ["large", "out.html", "small", "square"]);
}

#[test]
fn common_frames_are_compared_and_other_rates_are_refused() {
    let bench = Bench::new();
    bench.stream_of("long.y4m", 7, (32, 16), 25);
    bench.stream_of("short.y4m", 4, (32, 16), 24);
    bench.stream_of("double.y4m", 8, (32, 16), 50);
    let ran = bench.compare(&["long.y4m", "short.y4m", "-o", "a.html", "--json"]);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["frames"], 4);
    let ended = "short.y4m ended after 4 frames, long.y4m goes on";
    assert!(ran.stderr.contains(ended), "{}", ran.stderr);
    assert!(ran.stderr.contains("24.000"), "{}", ran.stderr);
    let error = bench.compare(&["long.y4m", "double.y4m", "-o", "b.html"]).failed();
    assert!(error.contains("25.000") && error.contains("50.000"), "{error}");
    assert!(!bench.path("b.html").exists());
}

#[test]
fn nothing_is_overwritten_unasked() {
    let bench = Bench::new();
    bench.folder_of("a", 2, (16, 16), 1);
    bench.folder_of("b", 2, (16, 16), 2);
    for output in ["out.html", "out.y4m"] {
        std::fs::write(bench.path(output), "mine").unwrap();
        let error = bench.compare(&["a", "b", "-o", output]).failed();
        assert!(error.contains(output) && error.contains("exists"), "{error}");
        assert_eq!(std::fs::read_to_string(bench.path(output)).unwrap(), "mine");
        bench.compare(&["a", "b", "-o", output, "--overwrite"]).succeeded();
        assert_ne!(std::fs::read(bench.path(output)).unwrap(), b"mine");
    }
    for arguments in [
        &["a", "b", "-o", "a"][..],
        &["out.y4m", "b", "-o", "out.y4m"],
        &["a", "out.y4m", "-o", "out.y4m"],
        &["a", "b", "--truth", "out.y4m", "-o", "out.y4m"],
    ] {
        let error = bench.compare(&[arguments, &["--overwrite"]].concat()).failed();
        assert!(error.contains("one of the clips and the output"), "{error}");
    }
    assert_eq!(bench.files(), ["a", "b", "out.html", "out.y4m"]);
}

#[test]
fn an_output_among_pictures_of_a_clip_is_refused() {
    let bench = Bench::new();
    bench.folder_of("a", 2, (16, 16), 1);
    bench.folder_of("b", 1, (16, 16), 2);
    let files = ["a/000.png", "a/001.png", "b/000.png"];
    let bytes = || files.map(|name| std::fs::read(bench.path(name)).unwrap());
    let before = bytes();
    for arguments in [
        &["a/000.png", "b", "-o", "a"][..],
        &["b", "a/000.png", "-o", "a/"],
        &["b", "b", "--truth", "a/001.png", "-o", "a"],
        &["a", "b", "-o", "b/000.png"],
        &["a", "b", "-o", "a/001.png"],
        &["b", "b", "-o", "b/../b/new.png"],
    ] {
        let error = bench.compare(&[arguments, &["--overwrite"]].concat()).failed();
        assert!(error.contains("among pictures of"), "{arguments:?}: {error}");
        assert!(bytes() == before, "{arguments:?}");
    }
    assert!(!bench.path("b/new.png").exists());
    // A page among them replaces none.
    bench.compare(&["a", "b", "-o", "a/look.html"]).succeeded();
    assert!(bytes() == before);
}

#[test]
fn wrong_usage_is_told_before_anything_is_read() {
    for (arguments, words) in [
        (&["a", "-o", "x.html"][..], "two clips"),
        (&["a", "b", "-o", "-"], "standard output"),
        (&["a", "b", "-o", "x.html", "--layout", "wipe"], "--layout is for videos"),
        (&["a", "b", "-o", "x.html", "--fps", "25"], "--fps is for videos"),
        (&["a", "b", "-o", "x.mp4", "--frames", "3"], "--frames is for pages"),
        (&["a", "b", "-o", "x.mp4", "--max-mb", "3"], "--max-mb is for pages"),
        (&["a", "b", "-o", "x", "--lossless"], "--lossless is for pages"),
        (&["a", "b", "c", "-o", "x.mp4", "--layout", "wipe"], "a wipe shows two"),
        (&["a", "b", "-o", "x.mp4", "--names", "one"], "1 names"),
        (&["a", "b", "-o", "x.html", "--frames", "0"], "--frames"),
        (&["a", "b", "-o", "x.html", "--frames", "100001"], "--frames"),
        (&["a", "b", "-o", "x.html", "--max-mb", "0"], "--max-mb"),
        (&["a", "b", "-o", "x.html", "--max-mb", "501"], "--max-mb"),
    ] {
        let ran = vrt(&[&["compare"], arguments].concat());
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(words), "{arguments:?}: {}", ran.stderr);
    }
    let error = vrt(&["compare", "/no/such", "/nor/this", "-o", "/nowhere/x.html"]).failed();
    assert!(error.contains("/nowhere/x.html"), "{error}");
}

#[test]
fn a_clip_that_breaks_off_is_told_and_leaves_whole_frames_but_no_page() {
    let bench = Bench::new();
    bench.folder_of("a", 3, (16, 16), 1);
    bench.folder_of("b", 3, (16, 16), 2);
    let broken = bench.path("b").join("002.png");
    let bytes = std::fs::read(&broken).unwrap();
    std::fs::write(&broken, &bytes[..bytes.len() / 2]).unwrap();
    let error = bench.compare(&["a", "b", "-o", "out.html"]).failed();
    assert!(error.contains("002.png"), "{error}");
    assert_eq!(bench.files(), ["a", "b"]);
    for output in ["out.y4m", "out"] {
        let error = bench.compare(&["a", "b", "-o", output]).failed();
        assert!(error.contains("002.png"), "{error}");
        assert!(error.contains(&format!("2 frames are whole, in \"{output}\"")), "{error}");
        assert_eq!(frames_of(&bench.path(output)).len(), 2, "{output}");
    }
    assert_eq!(bench.files(), ["a", "b", "out", "out.y4m"]);
}
