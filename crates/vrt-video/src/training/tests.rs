//! Tests of training sets on frames whose samples tell where they come from: red is the column of
//! the sharp frame, green its row, blue the frame's number and its clip.

mod bad;
mod check;
mod draws;
mod lmdb;
mod spikes;

use std::fmt::Write as _;
use std::path::Path;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tempfile::TempDir;

use super::*;
use crate::{BitDepth, Frame, write_picture};

/// Columns and rows of sharp frames.
const SIZE: (usize, usize) = (24, 16);

/// Blue of frame 0 of a clip, by the clip's place.
const CLIP_STEP: usize = 40;

/// Clips of a set: name and number of frames.
const CLIPS: [(&str, usize); 3] = [("000", 9), ("deep/001", 7), ("241", 12)];

fn frame(scale: usize, blue: usize) -> Frame {
    let (width, height) = (SIZE.0 / scale, SIZE.1 / scale);
    let mut samples = Vec::new();
    for y in 0..height {
        for x in 0..width {
            samples.extend([x * scale, y * scale, blue].map(|code| code as f32 / 255.0));
        }
    }
    Frame::new(width, height, 3, samples)
}

fn write(path: &Path, frame: &Frame) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    write_picture(path, frame, BitDepth::Eight, false).unwrap();
}

/// Folders `sharp` and `degraded` and a list, with clips that begin at frame 3.
fn recurrent_set(scale: usize) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let mut list = String::new();
    for (place, (clip, frames)) in CLIPS.iter().enumerate() {
        writeln!(list, "{clip} {frames} ({},{},3) 00003", SIZE.1, SIZE.0).unwrap();
        for number in 0..*frames {
            let blue = CLIP_STEP * place + number;
            let name = format!("{clip}/{:05}.png", number + 3);
            write(&root.path().join("sharp").join(&name), &frame(1, blue));
            write(&root.path().join("degraded").join(&name), &frame(scale, blue));
        }
    }
    std::fs::write(root.path().join("list.txt"), list).unwrap();
    root
}

/// Two Vimeo sequences.
fn vimeo_set() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (place, sequence) in ["00001/0001", "00001/0002"].iter().enumerate() {
        for number in 1..=7 {
            let name = format!("{sequence}/im{number}.png");
            let frame = frame(1, CLIP_STEP * place + number);
            write(&root.path().join("sharp").join(&name), &frame);
            write(&root.path().join("degraded").join(&name), &frame);
        }
    }
    std::fs::write(root.path().join("list.txt"), "00001/0001 7 (16,24,3)\n00001/0002\n").unwrap();
    root
}

fn options(root: &Path, kind: SetKind) -> TrainingSetOptions {
    let tree = |name: &str| FrameRoot { path: root.join(name), backend: Backend::Disk };
    TrainingSetOptions {
        kind,
        sharp: tree("sharp"),
        degraded: tree("degraded"),
        spikes: None,
        meta_info: root.join("list.txt"),
        digits: 8,
        extension: "png".to_owned(),
        frames: 4,
        crop: 8,
        scale: 1,
        intervals: vec![1],
        random_reverse: false,
        flip: false,
        rotate: false,
        held_out: HeldOut::None,
        mirror: false,
        repeat_last: false,
        color_jitter: false,
        temporal_scale: 1,
    }
}

fn random(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// Codes of a frame's pixels: red, green, blue.
fn codes(frame: &Frame) -> Vec<[usize; 3]> {
    let code = |sample: f32| (sample * 255.0).round() as usize;
    let pixels = frame.samples().chunks_exact(frame.channels());
    pixels.map(|pixel| [0, 1, 2].map(|channel| code(pixel[channel]))).collect()
}

/// The blue of each frame.
fn blues(frames: &[Frame]) -> Vec<usize> {
    frames.iter().map(|frame| codes(frame)[0][2]).collect()
}
