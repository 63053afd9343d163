//! `vrt eval`, as a person runs it.

mod support;
#[path = "support/weights.rs"]
mod weights;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use support::vrt;
use tempfile::{TempDir, tempdir};
use vrt_testing::{Fixture, Golden};
use vrt_video::{BitDepth, Frame, Scores, SsimKind, score, write_picture};
use weights::weights_file;

const WIDTH: usize = 24;
const HEIGHT: usize = 20;

/// Clips of the set that is scored, and their frames.
const CLIPS: [(&str, usize); 2] = [("first", 3), ("second", 2)];

/// Scores of that set, computed with NumPy from the definitions in `f64`, windows summed directly.
mod expected {
    /// PSNR, SSIM, PSNR-Y, SSIM-Y of the frames of the first clip.
    pub(crate) const FIRST: [[f64; 4]; 3] = [
        [45.149249951579, 0.995910899388, 50.311369495000, 0.997895893712],
        [45.150768198341, 0.996103654492, 50.322136328415, 0.997924084774],
        [45.161410813061, 0.996290210959, 50.312132476692, 0.997943483263],
    ];
    /// The mean of the second clip.
    pub(crate) const SECOND_MEAN: [f64; 4] =
        [41.18079320268785, 0.9920188349961951, 44.441238305032904, 0.994456594491614];
    /// The mean over clips.
    pub(crate) const SET: [f64; 4] =
        [43.167301428507415, 0.994060211638137, 47.37822553586768, 0.9961888742038794];
    /// The mean over frames, SSIM with a window over rows, columns and channels.
    pub(crate) const ALL_FRAMES: [f64; 4] =
        [43.564603073671336, 0.9991773215414929, 47.96562298203463, 0.9965353301463324];
}

/// A frame of the truth, as codes stated by whole-number arithmetic.
fn truth_code(frame: usize, x: usize, y: usize, c: usize) -> usize {
    (7 * x + 5 * y + 40 * c + 9 * frame + (x * y) % 11) % 256
}

/// The same with an error of a few codes.
fn restored_code(clip: usize, frame: usize, x: usize, y: usize, c: usize) -> usize {
    let error = (3 * x + 2 * y + c + frame) % (5 + 2 * clip);
    (truth_code(frame, x, y, c) + error).saturating_sub(2).min(255)
}

fn write_codes(path: &Path, code: impl Fn(usize, usize, usize) -> usize) {
    let at = |i: usize| code(i / 3 % WIDTH, i / 3 / WIDTH, i % 3) as f32 / 255.0;
    let frame = Frame::new(WIDTH, HEIGHT, 3, (0..3 * WIDTH * HEIGHT).map(at).collect());
    fs::create_dir_all(path.parent().expect("a folder")).expect("the folder is made");
    write_picture(path, &frame, BitDepth::Eight, false).expect("the frame is written");
}

/// Folders `truth` and `restored` with the set of the expected scores.
fn set() -> TempDir {
    let root = tempdir().expect("a folder for the test");
    for (clip, (name, frames)) in CLIPS.into_iter().enumerate() {
        for frame in 0..frames {
            let path =
                |tree: &str| root.path().join(tree).join(name).join(format!("{frame:03}.png"));
            write_codes(&path("truth"), |x, y, c| truth_code(frame, x, y, c));
            write_codes(&path("restored"), |x, y, c| restored_code(clip, frame, x, y, c));
        }
    }
    root
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths here are UTF-8")
}

fn score_folders(root: &TempDir, more: &[&str]) -> String {
    let [truth, restored] = ["truth", "restored"].map(|tree| root.path().join(tree));
    let arguments = ["eval", "--gt", text(&truth), "--restored", text(&restored)];
    vrt(&[&arguments[..], more].concat()).succeeded()
}

fn json(said: &str) -> Value {
    serde_json::from_str(said).expect("one JSON document")
}

/// The four scores of a JSON object.
fn scores(value: &Value) -> [f64; 4] {
    ["psnr", "ssim", "psnr_y", "ssim_y"].map(|key| value[key].as_f64().expect("four numbers"))
}

fn assert_scores(what: &str, value: &Value, expected: [f64; 4]) {
    for (got, expected) in scores(value).into_iter().zip(expected) {
        assert!((got - expected).abs() < 1e-9, "{what}: {value}, expected {expected}");
    }
}

#[test]
fn scores_are_those_of_the_definitions() {
    let root = set();
    let report = json(&score_folders(&root, &["--json"]));
    assert_eq!(report["protocol"]["name"], "clips");
    assert_eq!(report["frames"], 5);
    assert_scores("set", &report["mean"], expected::SET);
    let [first, second] = [0, 1].map(|clip| &report["clips"][clip]);
    assert_eq!((&first["name"], &second["name"]), (&"first".into(), &"second".into()));
    for (frame, expected) in expected::FIRST.into_iter().enumerate() {
        assert_scores("frame", &first["frames"][frame], expected);
    }
    assert_eq!(first["frames"][2]["name"], "002");
    assert_scores("clip", &second["mean"], expected::SECOND_MEAN);

    let report = json(&score_folders(&root, &["--json", "--protocol", "all-frames"]));
    assert_scores("all frames", &report["mean"], expected::ALL_FRAMES);
}

#[test]
fn the_table_has_frames_clips_and_the_set() {
    let root = set();
    let table = score_folders(&root, &[]);
    let cells = |start: &str| {
        let line = table.lines().find(|line| line.starts_with(start));
        let line = line.unwrap_or_else(|| panic!("no line {start}:\n{table}"));
        line.split_whitespace().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(cells("first/001"), ["45.1508", "0.996104", "50.3221", "0.997924"]);
    assert_eq!(cells("second "), ["2", "41.1808", "0.992019", "44.4412", "0.994457"]);
    let set = ["(clips)", "5", "43.1673", "0.994060", "47.3782", "0.996189"];
    assert_eq!(cells("mean"), set);
    // All columns but the first end at one place in every line.
    let ends: Vec<_> =
        table.lines().filter(|line| !line.starts_with('─')).map(|l| l.chars().count()).collect();
    assert!(ends.iter().all(|end| *end == ends[0]), "{table}");
    let brief = score_folders(&root, &["--brief"]);
    assert!(!brief.contains("first/001") && brief.contains("second"), "{brief}");
}

#[test]
fn one_clip_is_a_set_and_equal_frames_are_infinitely_near() {
    let root = set();
    let clip = root.path().join("truth/first");
    let arguments = ["eval", "--gt", text(&clip), "--restored", text(&clip), "--json"];
    let report = json(&vrt(&arguments).succeeded());
    assert_eq!(report["frames"], 3);
    assert_eq!((&report["mean"]["psnr"], &report["mean"]["ssim"]), (&"inf".into(), &1.0.into()));
    let table = vrt(&arguments[..5]).succeeded();
    assert!(table.contains("inf"), "{table}");
}

#[test]
fn missing_clips_and_frames_are_named() {
    let root = set();
    fs::remove_dir_all(root.path().join("restored/second")).unwrap();
    fs::remove_file(root.path().join("restored/first/001.png")).unwrap();
    let [truth, restored] = ["truth", "restored"].map(|tree| root.path().join(tree));
    let said = vrt(&["eval", "--gt", text(&truth), "--restored", text(&restored)]).failed();
    assert!(said.contains("second") && said.contains("001"), "{said}");
}

#[test]
fn flags_that_do_not_fit_are_wrong_usage() {
    let root = set();
    let truth = root.path().join("truth");
    let with_weights = ["--weights", "none.pth"];
    let cases: [(&[&str], &str); 6] = [
        (&[], "--weights"),
        (&with_weights, "--input"),
        (&[&with_weights[..], &["--protocol", "denoise"]].concat(), "--sigma"),
        (&[&with_weights[..], &["--sigma", "20", "--input", "x"]].concat(), "--input"),
        (&[&with_weights[..], &["--sigma", "-1"]].concat(), "0 to 255"),
        (&["--restored", "x", "--weights", "none.pth"], "cannot be used with"),
    ];
    for (flags, words) in cases {
        let ran = vrt(&[&["eval", "--gt", text(&truth)], flags].concat());
        assert_eq!(ran.code, 2, "{flags:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(words), "{flags:?}: {}", ran.stderr);
    }
}

/// The frames of a golden clip `[1, frames, channels, height, width]`, first three channels.
fn frames(golden: &Golden) -> Vec<Frame> {
    let [1, _, channels, height, width] = golden.shape[..] else { panic!("{:?}", golden.shape) };
    let pixels = height * width;
    let of_frame = |planes: &[f32]| {
        let sample = |i: usize| planes[i % 3 * pixels + i / 3];
        Frame::new(width, height, 3, (0..3 * pixels).map(sample).collect())
    };
    golden.values.chunks_exact(channels * pixels).map(of_frame).collect()
}

fn write_frames(folder: &Path, frames: &[Frame], first: usize) {
    fs::create_dir_all(folder).expect("the folder is made");
    for (index, frame) in frames.iter().enumerate() {
        let path = folder.join(format!("im{}.png", first + index));
        write_picture(&path, frame, BitDepth::Sixteen, false).expect("the frame is written");
    }
}

/// The score of a golden output, which a restored one may differ from by rounding to 8 bits here
/// and there.
fn golden_score(truth: &Frame, output: &Frame) -> Scores {
    score(truth, output, SsimKind::PerChannel).expect("frames of one size")
}

/// A fixture's network, its input as the clip `a`, and a folder for more.
fn network(fixture: &str) -> (TempDir, PathBuf, Fixture) {
    let root = tempdir().expect("a folder for the test");
    let weights = root.path().join("weights.safetensors");
    weights_file(fixture, &weights);
    let golden = Fixture::load(&format!("models/{fixture}"));
    (root, weights, golden)
}

#[test]
fn a_network_is_scored_like_its_golden_output_and_its_saved_frames() {
    let (root, weights, golden) = network("deblur");
    let clip = frames(golden.tensor("in.x"));
    let outputs = frames(golden.tensor("out.y"));
    let [input, saved] = ["input", "saved"].map(|name| root.path().join(name));
    write_frames(&input.join("a"), &clip, 1);
    let arguments = [
        "eval",
        "--gt",
        text(&input),
        "--input",
        text(&input),
        "--weights",
        text(&weights),
        "--tile",
        "0,0",
        "--save",
        text(&saved),
        "--json",
    ];
    let report = json(&vrt(&arguments).succeeded());
    let restored = &report["clips"][0]["frames"];
    assert_eq!(restored.as_array().unwrap().len(), clip.len());
    for (frame, (truth, output)) in clip.iter().zip(&outputs).enumerate() {
        let expected = golden_score(truth, output);
        let got = scores(&restored[frame]);
        assert!((got[0] - expected.psnr).abs() < 0.01, "{got:?}, expected {expected:?}");
        assert!((got[1] - expected.ssim).abs() < 1e-3, "{got:?}, expected {expected:?}");
    }
    let again = ["eval", "--gt", text(&input), "--restored", text(&saved), "--json"];
    assert_eq!(json(&vrt(&again).succeeded()), report);
    let said = vrt(&arguments).failed();
    assert!(said.contains("not empty"), "{said}");
}

#[test]
fn an_interpolated_frame_is_scored_against_the_middle_one() {
    let (root, weights, golden) = network("interpolate");
    let clip = frames(golden.tensor("in.x"));
    let output = &frames(golden.tensor("out.y"))[0];
    let [input, truth] = ["input", "truth"].map(|name| root.path().join(name));
    write_frames(&input.join("00001/0266"), &clip, 1);
    write_frames(&truth.join("00001/0266"), &clip[1..2], 4);
    let arguments = [
        "eval",
        "--gt",
        text(&truth),
        "--input",
        text(&input),
        "--weights",
        text(&weights),
        "--protocol",
        "vimeo-interpolation",
        "--json",
    ];
    let report = json(&vrt(&arguments).succeeded());
    assert_eq!(report["clips"][0]["name"], "00001/0266");
    assert_eq!(report["clips"][0]["frames"][0]["name"], "im4");
    let expected = golden_score(&clip[1], output);
    let got = scores(&report["mean"]);
    assert!((got[0] - expected.psnr).abs() < 0.01, "{got:?}, expected {expected:?}");
    let said = vrt(&arguments[..7]).failed();
    assert!(said.contains("vimeo-interpolation"), "{said}");
}
