//! `vrt restore` as a person runs it: real files in, real files out, messages and exit codes.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

mod support;
#[path = "support/weights.rs"]
mod weights;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{Ran, vrt};
use tempfile::TempDir;
use vrt_testing::{Fixture, Golden, Tolerance, assert_close};
use vrt_video::{
    BitDepth, Frame, FrameRate, OpenOptions, PictureChannels, Programs, Ratio, open, probe,
    read_picture, write_picture,
};
use weights::weights_file;

/// One step of 16 bits.
const STEP: f32 = 1.0 / 65535.0;

/// A folder for a test, with the weights of a fixture's network in it.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new(fixture: &str) -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        weights_file(fixture, &bench.path("weights.safetensors"));
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs `vrt restore IN -o OUT` with these weights.
    fn restore(&self, input: &str, output: &str, more: &[&str]) -> Ran {
        Ran::of(&mut self.command(input, output, more))
    }

    fn command(&self, input: &str, output: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vrt"));
        command.current_dir(self.folder.path());
        command.args(["restore", input, "-o", output, "--weights", "weights.safetensors"]);
        command.args(more);
        command
    }

    fn picture(&self, name: &str) -> Frame {
        read_picture(&self.path(name), PictureChannels::Rgb).unwrap()
    }

    /// A folder of `frames` small pictures of 8 bits that move a little.
    fn folder_of(&self, name: &str, frames: usize, size: (usize, usize)) {
        std::fs::create_dir_all(self.path(name)).unwrap();
        for i in 0..frames {
            let (width, height) = size;
            let at = |k: usize| ((k / 3 % width + k / (3 * width) + i) % 40) as f32 / 60.0;
            let frame = Frame::new(width, height, 3, (0..3 * width * height).map(at).collect());
            let path = self.path(&format!("{name}/f{i}.png"));
            write_picture(&path, &frame, BitDepth::Eight, true).unwrap();
        }
    }

    /// A film of `frames` frames of 48×32 with sound, 25 a second.
    fn film(&self, name: &str, frames: usize) {
        let seconds = frames as f64 / 25.0;
        let pictures = format!("testsrc2=s=48x32:r=25:d={seconds}");
        let sound = format!("sine=f=440:d={seconds}");
        let mut command = Command::new("ffmpeg");
        command.args(["-v", "error", "-f", "lavfi", "-i", &pictures, "-f", "lavfi", "-i", &sound]);
        command.args(["-c:v", "libx264", "-crf", "12", "-pix_fmt", "yuv420p", "-c:a", "aac"]);
        assert!(command.arg(self.path(name)).status().unwrap().success());
    }

    fn files(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn ffmpeg_is_here() -> bool {
    let found = Command::new("ffmpeg").arg("-version").stdout(Stdio::null()).status().is_ok();
    if !found {
        eprintln!("SKIPPED: ffmpeg is not on this machine");
    }
    found
}

/// Writes channels `channels` of a golden clip `[1, d, c, h, w]` as 16-bit pictures.
fn write_clip(folder: &Path, clip: &Golden, channels: std::ops::Range<usize>) {
    let [_, frames, planes, height, width] = clip.shape[..] else { panic!("{:?}", clip.shape) };
    std::fs::create_dir(folder).unwrap();
    for i in 0..frames {
        let at = |k: usize| {
            let (pixel, c) = (k / channels.len(), channels.start + k % channels.len());
            clip.values[(i * planes + c) * height * width + pixel]
        };
        let samples = (0..height * width * channels.len()).map(at).collect();
        let frame = Frame::new(width, height, channels.len(), samples);
        let path = folder.join(format!("f{i}.png"));
        write_picture(&path, &frame, BitDepth::Sixteen, false).unwrap();
    }
}

/// What 16-bit pictures may lose beside the network's own tolerance.
fn with_a_step(tolerance: Tolerance, largest: f32) -> Tolerance {
    let Tolerance { each, share, mean } = tolerance;
    Tolerance { each: each + STEP / largest, share, mean: mean + STEP / largest }
}

#[test]
fn sixteen_bit_pictures_meet_the_fixture_and_events_tell_the_way() {
    let bench = Bench::new("deblur");
    let fixture = Fixture::load("models/deblur");
    write_clip(&bench.path("in"), fixture.tensor("in.x"), 0..3);
    let events =
        bench.restore("in", "out", &["--json", "--tile", "0,0", "--precision", "f32"]).succeeded();

    let events: Vec<Value> =
        events.lines().map(|line| serde_json::from_str(line).expect("one object a line")).collect();
    let kinds: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(kinds.first(), Some(&"planned"));
    assert_eq!(kinds.last(), Some(&"done"));
    assert!(kinds[1..kinds.len() - 1].iter().all(|kind| *kind == "progress"), "{kinds:?}");
    assert_eq!(events[0]["tile"], serde_json::json!({ "frames": 0, "size": 0 }));
    assert_eq!(events.last().unwrap()["frames"], 6);

    let golden = fixture.tensor("out.y");
    let [_, frames, _, height, width] = golden.shape[..] else { panic!("{:?}", golden.shape) };
    let mut found = Vec::with_capacity(golden.values.len());
    for i in 0..frames {
        let frame = bench.picture(&format!("out/f{i}.png"));
        assert_eq!((frame.width(), frame.height()), (width, height));
        for c in 0..3 {
            found.extend(frame.samples().iter().skip(c).step_by(3));
        }
    }
    let expected: Vec<_> = golden.values.iter().map(|value| value.clamp(0.0, 1.0)).collect();
    let largest = expected.iter().copied().fold(0.0, f32::max);
    let tolerance = with_a_step(Tolerance::most(0.99, 2e-4).mean(5e-5), largest);
    assert_close("restored pictures", &found, &expected, tolerance);
}

#[test]
fn bf16_restores_nearly_what_f32_does_and_is_told() {
    let bench = Bench::new("deblur");
    bench.folder_of("in", 3, (24, 16));
    let mut pictures = [Vec::new(), Vec::new()];
    for (precision, pictures) in ["f32", "bf16"].into_iter().zip(&mut pictures) {
        let more = ["--json", "--bit-depth", "16", "--precision", precision];
        let events = bench.restore("in", precision, &more).succeeded();
        let planned: Value = serde_json::from_str(events.lines().next().unwrap()).unwrap();
        assert_eq!(planned["precision"], precision);
        for i in 0..3 {
            let picture = bench.picture(&format!("{precision}/f{i}.png"));
            pictures.extend_from_slice(picture.samples());
        }
    }
    let differences = pictures[0].iter().zip(&pictures[1]).map(|(a, b)| f64::from((a - b).abs()));
    let mean = differences.sum::<f64>() / pictures[0].len() as f64;
    assert!(mean > 0.0, "bf16 has changed nothing");
    assert!(mean < 0.01, "bf16 is off by {mean}");
}

#[test]
fn spikes_and_larger_frames_meet_the_fixture() {
    let bench = Bench::new("sr_x2_spike");
    let fixture = Fixture::load("models/sr_x2_spike");
    write_clip(&bench.path("in"), fixture.tensor("in.x"), 0..3);
    write_clip(&bench.path("spike"), fixture.tensor("in.x"), 3..4);
    let more = ["--spike", "spike", "--tile", "0,0", "--no-scene-cuts", "--precision", "f32"];
    bench.restore("in", "out", &more).succeeded();

    // The fixture holds frames 1 and 2, from row 40, and the last 100 columns.
    let golden = fixture.tensor("out.y_crop");
    let [_, frames, _, height, width] = golden.shape[..] else { panic!("{:?}", golden.shape) };
    let mut found = Vec::with_capacity(golden.values.len());
    for i in 0..frames {
        let frame = bench.picture(&format!("out/f{}.png", i + 1));
        for c in 0..3 {
            for row in 40..40 + height {
                for column in frame.width() - width..frame.width() {
                    found.push(frame.samples()[(row * frame.width() + column) * 3 + c]);
                }
            }
        }
    }
    let expected: Vec<_> = golden.values.iter().map(|value| value.clamp(0.0, 1.0)).collect();
    let largest = expected.iter().copied().fold(0.0, f32::max);
    let tolerance = with_a_step(Tolerance::most(0.99, 2e-4).mean(5e-5), largest);
    assert_close("restored pictures", &found, &expected, tolerance);
}

#[test]
fn a_film_stays_a_film_with_its_sound() {
    if !ffmpeg_is_here() {
        return;
    }
    let bench = Bench::new("deblur");
    bench.film("in.mp4", 5);
    let said = bench.restore("in.mp4", "out.mp4", &["--tile", "3,0"]).succeeded();
    assert!(said.starts_with("5 frames in out.mp4"), "{said}");
    let film = probe(&bench.path("out.mp4"), &Programs::default()).unwrap();
    assert_eq!((film.video.width, film.video.height), (48, 32));
    assert_eq!(film.audio.len(), 1, "the sound is kept");
    let mut source = open(&bench.path("out.mp4"), &OpenOptions::default()).unwrap();
    let rate = FrameRate::Constant(Ratio { numerator: 25, denominator: 1 });
    assert_eq!(source.info().frame_rate, Some(rate));
    let mut frames = 0;
    while source.next_frame().unwrap().is_some() {
        frames += 1;
    }
    assert_eq!(frames, 5);

    // A second run does not touch it unless it is told to.
    let before = std::fs::read(bench.path("out.mp4")).unwrap();
    let refused = bench.restore("in.mp4", "out.mp4", &["--frames", "2"]).failed();
    assert!(refused.contains("exists already"), "{refused}");
    assert_eq!(std::fs::read(bench.path("out.mp4")).unwrap(), before);
    let again = bench.restore("in.mp4", "out.mp4", &["--frames", "2", "--overwrite", "--quiet"]);
    assert_eq!(again.stderr, "");
    assert!(again.succeeded().starts_with("2 frames"));
}

#[test]
fn interpolation_doubles_frames_and_rate() {
    let bench = Bench::new("interpolate");
    bench.folder_of("in", 3, (40, 32));
    bench.restore("in", "out", &["--no-scene-cuts"]).succeeded();
    assert_eq!(bench.files("out").len(), 5);
    for i in 0..3 {
        let (kept, original) = (format!("out/{:08}.png", 2 * i), format!("in/f{i}.png"));
        assert_eq!(bench.picture(&kept), bench.picture(&original));
    }
}

#[test]
fn pipes_carry_only_the_video() {
    let bench = Bench::new("deblur");
    let mut stream = b"YUV4MPEG2 W16 H16 F25:1 C444\n".to_vec();
    for _ in 0..2 {
        stream.extend(b"FRAME\n");
        stream.extend([120; 3 * 16 * 16]);
    }
    std::fs::write(bench.path("in.y4m"), &stream).unwrap();
    let mut command = bench.command("-", "-", &[]);
    command.stdin(std::fs::File::open(bench.path("in.y4m")).unwrap());
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("2 frames"), "{stderr}");
    std::fs::write(bench.path("out.y4m"), &output.stdout).unwrap();
    let mut source = open(&bench.path("out.y4m"), &OpenOptions::default()).unwrap();
    assert_eq!((source.info().width, source.info().height), (16, 16));
    assert!((0..2).all(|_| source.next_frame().unwrap().is_some()));
    assert!(source.next_frame().unwrap().is_none());
}

#[test]
fn wrong_usage_is_told_from_failure() {
    let bench = Bench::new("deblur");
    bench.folder_of("in", 1, (16, 16));
    for (more, message) in [
        (&["--tile", "12"][..], "FRAMES,SIZE"),
        (&["--tile", "2,64", "--overlap", "2,20"], "overlap by at most 1"),
        (&["--memory", "much"], "4G"),
        (&["--tiling", "smooth"], "seamless"),
        (&["--device", "gpu"], "cuda[:n]"),
        (&["--device", "cuda,vulkan"], "different kinds"),
        (&["--device", "cpu,cpu"], "one device"),
        (&["--preset", "0006"], "no preset"),
        (&["--preset", "006", "--options", "x.json"], "cannot be used with"),
        (&["--sigma", "20"], "--sigma"),
        (&["--spike", "in"], "--spike"),
        (&["--frames", "0"], "--frames"),
        (&["--bit-depth", "10"], "8, 16"),
        (&["--nonsense"], "--nonsense"),
    ] {
        let ran = bench.restore("in", "out", more);
        assert_eq!(ran.code, 2, "{more:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(message), "{more:?}: {}", ran.stderr);
        assert_eq!(ran.stdout, "", "{more:?}");
    }
    let both = bench.restore("in", "-", &["--json"]);
    assert_eq!(both.code, 2, "{}", both.stderr);
    assert!(!bench.path("out").exists());
    assert_eq!(vrt(&[]).code, 2);
    assert!(vrt(&["--version"]).succeeded().starts_with("vrt 0"));
}

#[test]
fn what_this_machine_cannot_do_is_said() {
    let bench = Bench::new("deblur");
    bench.folder_of("in", 1, (16, 16));
    for (more, message) in [
        (&["--precision", "f16"][..], "the processor multiplies in"),
        (&["--memory", "1M"][..], "the smallest tile"),
        (&["--memory", "1M", "--tile", "0,0"], "--memory allows 1"),
        #[cfg(not(feature = "cuda"))]
        (&["--device", "cuda:1"], "--features cuda"),
    ] {
        let said = bench.restore("in", "out", more).failed();
        assert!(said.contains(message), "{more:?}: {said}");
    }
    assert!(!bench.path("out").exists());
}

#[test]
fn weights_that_are_none_are_refused() {
    let bench = Bench::new("deblur");
    bench.folder_of("in", 1, (16, 16));
    let weights = bench.path("weights.safetensors");
    let whole = std::fs::read(&weights).unwrap();
    let system = b"cos\nsystem\n(S'touch owned'\ntR.";
    for (content, message) in [
        (&whole[..whole.len() / 2], "weights.safetensors"),
        (b"hello, I am a text", "not a checkpoint"),
        (b"", "weights.safetensors"),
        (system, "nothing in it was run"),
    ] {
        std::fs::write(&weights, content).unwrap();
        let said = bench.restore("in", "out", &[]).failed();
        assert!(said.contains(message), "{said}");
        assert!(!said.contains("panicked"), "{said}");
    }
    assert!(!bench.path("owned").exists());
    std::fs::copy(vrt_testing::workspace_root().join("weights/spynet.safetensors"), &weights)
        .unwrap();
    let said = bench.restore("in", "out", &[]).failed();
    assert!(said.contains("not the weights of a VRT network"), "{said}");
    assert!(!bench.path("out").exists());
}

#[test]
fn inputs_that_are_no_video_are_refused() {
    let bench = Bench::new("deblur");
    std::fs::create_dir(bench.path("empty")).unwrap();
    bench.folder_of("mixed", 2, (16, 16));
    let other = Frame::filled(24, 16, 3, 0.5);
    write_picture(&bench.path("mixed/f9.png"), &other, BitDepth::Eight, true).unwrap();
    std::fs::write(bench.path("text.mp4"), "I am no film").unwrap();
    let mut cases = vec![
        ("empty", "holds no picture"),
        ("mixed", "differ in size"),
        ("missing.mp4", "missing.mp4"),
        ("missing", "missing"),
    ];
    if ffmpeg_is_here() {
        cases.push(("text.mp4", "not a video"));
    }
    for (input, message) in cases {
        let said = bench.restore(input, "out.mp4", &[]).failed();
        assert!(said.contains(message), "{input}: {said}");
        assert!(!bench.path("out.mp4").exists());
    }
}

#[test]
fn a_frame_that_cannot_be_decoded_leaves_the_frames_before_it() {
    let bench = Bench::new("deblur");
    bench.folder_of("in", 5, (16, 16));
    let whole = std::fs::read(bench.path("in/f3.png")).unwrap();
    std::fs::write(bench.path("in/f3.png"), &whole[..whole.len() / 2]).unwrap();
    let said = bench.restore("in", "out", &["--tile", "2,0"]).failed();
    assert!(said.contains("f3.png") && said.contains("3 restored frames are whole"), "{said}");
    assert_eq!(bench.files("out"), ["f0.png", "f1.png", "f2.png"]);
}

#[test]
fn outputs_that_cannot_be_written_are_said_before_the_work() {
    let bench = Bench::new("deblur");
    bench.folder_of("in", 2, (16, 16));
    std::fs::write(bench.path("file"), "mine").unwrap();
    // Writing under /proc fails for every user.
    for output in ["file/out", "/proc/vrt-out", "nowhere/out.y4m"] {
        let ran = bench.restore("in", output, &[]);
        let said = ran.failed();
        assert!(said.contains("cannot be written"), "{output}: {said}");
        assert!(!said.contains("restoring"), "{output}: {said}");
    }
    let said = bench.restore("in", "./in", &["--overwrite"]).failed();
    assert!(said.contains("is the input and the output"), "{said}");
    assert_eq!(std::fs::read(bench.path("file")).unwrap(), b"mine");
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io::{BufRead, BufReader};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_full_disk_ends_the_run_with_a_message() {
        let bench = Bench::new("deblur");
        bench.folder_of("in", 2, (16, 16));
        let mut command = bench.command("in", "-", &[]);
        command.stdout(std::fs::File::options().write(true).open("/dev/full").unwrap());
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("No space left"), "{said}");
    }

    /// A folder with a program `ffmpeg` that behaves as `script` says; `$REAL` is the true one.
    fn impostor(bench: &Bench, script: &str) -> std::ffi::OsString {
        let path = std::env::var_os("PATH").unwrap();
        let real = std::env::split_paths(&path).map(|folder| folder.join("ffmpeg"));
        let real = real.into_iter().find(|file| file.is_file()).unwrap();
        let folder = bench.path("bin");
        std::fs::create_dir(&folder).unwrap();
        let text = format!("#!/bin/sh\nREAL='{}'\n{script}\n", real.display());
        std::fs::write(folder.join("ffmpeg"), text).unwrap();
        let executable = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.join("ffmpeg"), executable).unwrap();
        std::env::join_paths(std::iter::once(folder).chain(std::env::split_paths(&path))).unwrap()
    }

    /// Frames of 48×32 that a decoder sends as 16-bit RGB.
    const FRAME_BYTES: usize = 48 * 32 * 6;

    #[test]
    fn a_decoder_that_is_killed_leaves_the_frames_before_it() {
        if !ffmpeg_is_here() {
            return;
        }
        let bench = Bench::new("deblur");
        bench.film("in.mp4", 6);
        let bytes = 3 * FRAME_BYTES + 1000;
        let script = format!(
            "case \"$*\" in\n  *pipe:1) \"$REAL\" \"$@\" | head -c {bytes}; kill -9 $$;;\n  \
             *) exec \"$REAL\" \"$@\";;\nesac"
        );
        let mut command = bench.command("in.mp4", "out.mp4", &["--tile", "2,0"]);
        let said = Ran::of(command.env("PATH", impostor(&bench, &script))).failed();
        assert!(said.contains("after 3 whole frames"), "{said}");
        assert!(said.contains("3 restored frames are whole"), "{said}");
        let mut source = open(&bench.path("out.mp4"), &OpenOptions::default()).unwrap();
        assert!((0..3).all(|_| source.next_frame().unwrap().is_some()));
        assert!(source.next_frame().unwrap().is_none());
    }

    #[test]
    fn an_encoder_that_is_killed_ends_the_run() {
        if !ffmpeg_is_here() {
            return;
        }
        let bench = Bench::new("deblur");
        bench.folder_of("in", 6, (48, 32));
        let script = "case \"$*\" in\n  *pipe:0*) head -c 20000 > /dev/null; kill -9 $$;;\n  \
                      *) exec \"$REAL\" \"$@\";;\nesac";
        let mut command = bench.command("in", "out.mp4", &["--tile", "2,0"]);
        let said = Ran::of(command.env("PATH", impostor(&bench, script))).failed();
        assert!(said.contains("could not be encoded"), "{said}");
        assert!(!bench.path("out.mp4").exists());
    }

    #[test]
    fn a_missing_ffmpeg_is_said_with_the_way_to_install_it() {
        let bench = Bench::new("deblur");
        std::fs::write(bench.path("in.mp4"), "whatever").unwrap();
        let mut command = bench.command("in.mp4", "out", &[]);
        let said = Ran::of(command.env("PATH", "/nonexistent")).failed();
        assert!(said.contains("apt install ffmpeg"), "{said}");
    }

    #[test]
    fn ctrl_c_leaves_whole_frames_and_says_how_many() {
        let bench = Bench::new("deblur");
        bench.folder_of("in", 200, (16, 16));
        let mut command = bench.command("in", "out", &["--json", "--tile", "2,0"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let progress = lines.find(|line| {
            let event: Value = serde_json::from_str(line.as_ref().unwrap()).unwrap();
            event["frames"].as_u64() > Some(0)
        });
        assert!(progress.is_some(), "frames are restored");
        let id = child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
        let last = lines.last().unwrap().unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8(output.stderr).unwrap();
        let frames = bench.files("out").len();
        assert!(frames > 0 && frames < 200, "{frames} frames");
        let frames = if frames == 1 { "1 frame".to_owned() } else { format!("{frames} frames") };
        assert!(said.contains(&format!("stopped: {frames} whole")), "{said}");
        let last: Value = serde_json::from_str(&last).unwrap();
        assert_eq!(last["event"], "failed");
        for name in bench.files("out") {
            assert_eq!(bench.picture(&format!("out/{name}")).width(), 16);
        }
    }
}
