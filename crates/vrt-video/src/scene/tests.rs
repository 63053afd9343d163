use std::path::PathBuf;
use std::process::{Command, Stdio};

use proptest::prelude::*;

use super::*;
use crate::{ClipNoise, FrameSource, Y4mOptions, Y4mSource};

const WIDTH: usize = 192;
const HEIGHT: usize = 108;

/// A picture with structure of several sizes, another one for each `scene`, seen from (`x`, `y`).
fn view(scene: u32, x: f32, y: f32) -> Frame {
    // Waves whose directions and lengths follow from the scene's number.
    let wave = |index: u32| {
        let bits = (scene * 7 + index).wrapping_mul(2_654_435_761) >> 8;
        let part = |shift: u32| (bits >> shift & 0xff) as f32 / 255.0;
        let length = 6.0 + 40.0 * part(0);
        let angle = std::f32::consts::TAU * part(8);
        (angle.cos() / length, angle.sin() / length, part(16), (0.3 + part(4)) / 4.0)
    };
    let waves: Vec<_> = (0..7).map(wave).collect();
    let value = |column: usize, row: usize| {
        let (u, v) = (column as f32 + x, row as f32 + y);
        let terms = waves.iter().map(|(across, down, phase, weight)| {
            weight * (std::f32::consts::TAU * (across * u + down * v + phase)).sin()
        });
        0.5 + 0.4 * terms.sum::<f32>().clamp(-1.0, 1.0)
    };
    let pixels = (0..WIDTH * HEIGHT).map(|at| value(at % WIDTH, at / WIDTH));
    Frame::new(
        WIDTH,
        HEIGHT,
        3,
        pixels.flat_map(|value| [value, 0.9 * value, 1.0 - value]).collect(),
    )
}

fn map(frame: Frame, change: impl Fn(f32) -> f32) -> Frame {
    let (width, height, channels) = (frame.width(), frame.height(), frame.channels());
    let samples = frame.into_samples().into_iter().map(change).collect();
    Frame::new(width, height, channels, samples)
}

fn cuts(frames: impl IntoIterator<Item = Frame>) -> Vec<usize> {
    let mut detector = SceneDetector::new();
    let found = frames.into_iter().enumerate().map(|(at, frame)| (at, detector.push(&frame)));
    found.filter_map(|(at, cut)| cut.then_some(at)).collect()
}

fn still(scene: u32, frames: usize) -> impl Iterator<Item = Frame> {
    (0..frames).map(move |_| view(scene, 0.0, 0.0))
}

#[test]
fn a_cut_is_found_at_its_frame() {
    for scene in 0..20 {
        let frames = still(scene, 3).chain(still(scene + 1, 4));
        assert_eq!(cuts(frames), [3], "{scene}");
    }
}

#[test]
fn a_cut_between_moving_shots_is_found() {
    let frames = (0..20).map(|t| view(if t < 9 { 5 } else { 6 }, 4.0 * t as f32, 2.0 * t as f32));
    assert_eq!(cuts(frames), [9]);
}

#[test]
fn pans_are_no_cuts_however_fast() {
    for speed in [1.0, 7.0, 20.0, 45.0] {
        for scene in 0..6 {
            let pan = (0..12).map(|t| view(scene, speed * t as f32, -0.3 * speed * t as f32));
            assert!(cuts(pan).is_empty(), "{speed} pixels a frame, scene {scene}");
        }
    }
}

#[test]
fn noise_is_no_cut_and_hides_none() {
    let mut noise = ClipNoise::new(50.0, 1, u64::MAX);
    let frames = still(3, 6).chain(still(4, 6)).map(|mut frame| {
        noise.add(&mut frame);
        frame
    });
    assert_eq!(cuts(frames), [6]);
}

#[test]
fn fades_and_dissolves_are_no_cuts() {
    let to_black = (0..=12).map(|t| map(view(1, 0.0, 0.0), |v| v * (1.0 - t as f32 / 12.0)));
    let from_black = (0..=12).map(|t| map(view(2, 0.0, 0.0), |v| v * t as f32 / 12.0));
    assert!(cuts(to_black.chain(from_black)).is_empty());
    let dissolve = (0..=25).map(|t| {
        let (part, other) = (t as f32 / 25.0, view(2, 0.0, 0.0));
        let mut frame = view(1, 0.0, 0.0);
        let pairs = frame.samples_mut().iter_mut().zip(other.samples());
        pairs.for_each(|(a, b)| *a += part * (b - *a));
        frame
    });
    assert!(cuts(dissolve).is_empty());
}

#[test]
fn flashes_are_no_cuts() {
    type Flash = fn(f32) -> f32;
    let flashes: [Flash; 4] =
        [|_| 1.0, |v| (2.0 * v).min(1.0), |v| (v + 0.6).min(1.0), |v| 0.3 * v + 0.7];
    for (index, flash) in flashes.into_iter().enumerate() {
        for length in 1..=3 {
            let frames = (0..12).map(|t| {
                let frame = view(4, 3.0 * t as f32, 0.0);
                if (6..6 + length).contains(&t) { map(frame, flash) } else { frame }
            });
            assert!(cuts(frames).is_empty(), "flash {index} of {length} frames");
        }
    }
}

#[test]
fn flat_shots_are_told_apart_by_colour() {
    let flat = |value: f32| (0..4).map(move |_| Frame::filled(WIDTH, HEIGHT, 3, value));
    assert_eq!(cuts(flat(0.2).chain(flat(0.8)).chain(flat(0.85))), [4]);
    // A title after a picture, and a picture after black.
    assert_eq!(cuts(still(1, 4).chain(flat(0.0))), [4]);
    assert_eq!(cuts(flat(0.0).chain(still(1, 4))), [4]);
}

#[test]
fn another_size_is_a_cut() {
    let sizes = [(40, 30), (40, 30), (30, 40), (30, 40)];
    let frames = sizes.map(|(width, height)| Frame::filled(width, height, 3, 0.5));
    assert_eq!(cuts(frames), [2]);
}

proptest! {
    #[test]
    fn any_size_is_taken(width in 1usize..200, height in 1usize..30, turned: bool, channels in 1usize..5) {
        let (width, height) = if turned { (height, width) } else { (width, height) };
        let mut detector = SceneDetector::new();
        for value in [0.1, 0.1, 0.9, 0.9] {
            let cut = detector.push(&Frame::filled(width, height, channels, value));
            prop_assert!(!cut || value == 0.9);
        }
    }
}

/// The folder of real clips, where it is.
fn media() -> Option<PathBuf> {
    let shared = std::env::var_os("VRT_SHARED")
        .map(PathBuf::from)
        .unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")));
    let media = shared.join("media");
    let ffmpeg = Command::new("ffmpeg").arg("-version").stdout(Stdio::null()).status();
    let there = media.join("bikes.mp4").is_file() && ffmpeg.is_ok_and(|status| status.success());
    if !there {
        eprintln!("skipped: no real clips in {media:?}, or no ffmpeg");
    }
    there.then_some(media)
}

/// Cuts in clips played one after the other, and how many frames each has.
fn cuts_of(media: &std::path::Path, clips: &[&str]) -> (Vec<usize>, Vec<usize>) {
    let mut detector = SceneDetector::new();
    let (mut found, mut lengths, mut at) = (Vec::new(), Vec::new(), 0);
    for clip in clips {
        let mut child = Command::new("ffmpeg")
            .args(["-v", "error", "-i"])
            .arg(media.join(clip))
            .args(["-vf", "scale=320:180", "-pix_fmt", "yuv420p", "-f", "yuv4mpegpipe", "-"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let pipe = child.stdout.take().unwrap();
        let mut source = Y4mSource::new(pipe, clip.as_ref(), Y4mOptions::default()).unwrap();
        let before = at;
        while let Some(timed) = source.next_frame().unwrap() {
            if detector.push(&timed.frame) {
                found.push(at);
            }
            at += 1;
        }
        lengths.push(at - before);
        assert!(child.wait().unwrap().success());
    }
    (found, lengths)
}

/// `bikes.mp4` has five cuts of its own, found by eye.
#[test]
fn real_clips_have_the_cuts_that_a_person_sees() {
    let Some(media) = media() else { return };
    let (found, lengths) = cuts_of(&media, &["bikes.mp4", "bigbuckbunny.mp4"]);
    assert_eq!(lengths, [250, 132]);
    assert_eq!(found, [30, 76, 137, 187, 242, 250]);
    assert!(cuts_of(&media, &["carphone_pristine.mp4"]).0.is_empty());
    assert!(cuts_of(&media, &["carphone_distorted.mp4"]).0.is_empty());
}
