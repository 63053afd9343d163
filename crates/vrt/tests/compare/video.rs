//! Comparisons as videos.

use std::process::Command;

use vrt_video::{Frame, FrameRate, Programs, Ratio, open, probe};

use crate::{Bench, carphone, frames_of, text};

/// Rows above small clips, where names stand.
const BAND: usize = 16;

/// Columns between clips.
const GAP: usize = 2;

fn pixel(frame: &Frame, x: usize, y: usize) -> &[f32] {
    let at = 3 * (y * frame.width() + x);
    &frame.samples()[at..at + 3]
}

/// The mean difference between `whole`, from (`left`, `top`) on, and `columns` of `part`.
fn difference(
    whole: &Frame,
    (left, top): (usize, usize),
    part: &Frame,
    columns: std::ops::Range<usize>,
) -> f32 {
    let count = columns.len() * part.height() * 3;
    let places = columns.flat_map(|x| (0..part.height()).map(move |y| (x, y)));
    let differences = places.flat_map(|(x, y)| {
        let pair = pixel(whole, left + x, top + y).iter().zip(pixel(part, x, y));
        pair.map(|(a, b)| (a - b).abs())
    });
    differences.sum::<f32>() / count as f32
}

#[test]
fn folders_of_clips_side_by_side_are_exact() {
    let bench = Bench::new();
    for (name, seed) in [("a", 1), ("b", 2), ("truth", 3)] {
        bench.folder_of(name, 3, (40, 24), seed);
    }
    bench.compare(&["a", "b", "--truth", "truth", "-o", "out"]).succeeded();
    let made = frames_of(&bench.path("out"));
    assert_eq!(made.len(), 3);
    let clips = ["a", "b", "truth"].map(|name| frames_of(&bench.path(name)));
    for (number, frame) in made.iter().enumerate() {
        assert_eq!((frame.width(), frame.height()), (3 * 40 + 2 * GAP, 24 + BAND));
        for (place, clip) in clips.iter().enumerate() {
            let corner = (place * (40 + GAP), BAND);
            assert_eq!(difference(frame, corner, &clip[number], 0..40), 0.0, "{number} {place}");
        }
    }
}

#[test]
fn a_wipe_goes_across_a_real_clip() {
    let Some([distorted, pristine]) = carphone() else { return };
    let bench = Bench::new();
    let (bad, good) = (text(&distorted), text(&pristine));
    bench.compare(&[bad, good, "-o", "wipe.mp4", "--layout", "wipe"]).succeeded();
    let (a, b) = (frames_of(&distorted), frames_of(&pristine));
    let made = frames_of(&bench.path("wipe.mp4"));
    assert_eq!((made.len(), made[0].width(), made[0].height()), (120, 176, 144 + BAND));
    for (number, line) in [(0, 0usize), (30, 44), (60, 89), (119, 176)] {
        let frame = &made[number];
        for (clip, other, columns) in [
            (&a[number], &b[number], 0..line.saturating_sub(4)),
            (&b[number], &a[number], (line + 4).min(176)..176),
        ] {
            if columns.is_empty() {
                continue;
            }
            let own = difference(frame, (0, BAND), clip, columns.clone());
            let others = difference(frame, (0, BAND), other, columns.clone());
            assert!(own < 0.02 && 2.0 * own < others, "{number} {columns:?}: {own} {others}");
        }
    }
    let rate = |path| open(path, &Default::default()).unwrap().info().frame_rate;
    assert_eq!(rate(&bench.path("wipe.mp4")), rate(&distorted));
}

#[test]
fn a_video_keeps_the_rate_and_sound_of_the_first_clip() {
    if Command::new("ffmpeg").arg("-version").output().is_err() {
        eprintln!("SKIPPED: ffmpeg is not on this machine");
        return;
    }
    let bench = Bench::new();
    let film = |name: &str, sound: bool, size: &str| {
        let mut command = Command::new("ffmpeg");
        let pictures = format!("testsrc2=s={size}:r=24:d=1");
        command.args(["-v", "error", "-f", "lavfi", "-i", &pictures]);
        if sound {
            command.args(["-f", "lavfi", "-i", "sine=f=440:d=1", "-c:a", "aac"]);
        }
        command.args(["-c:v", "libx264", "-pix_fmt", "yuv420p"]);
        assert!(command.arg(bench.path(name)).status().unwrap().success());
    };
    film("loud.mp4", true, "64x48");
    film("still.mp4", false, "32x24");
    bench.compare(&["loud.mp4", "still.mp4", "-o", "out.mp4"]).succeeded();
    let made = probe(&bench.path("out.mp4"), &Programs::default()).unwrap();
    assert_eq!((made.video.width, made.video.height), (2 * 64 + GAP, 48 + BAND));
    assert_eq!(made.audio.len(), 1);
    let rate = Ratio { numerator: 24, denominator: 1 };
    let info = open(&bench.path("out.mp4"), &Default::default()).unwrap().info().clone();
    assert_eq!(info.frame_rate, Some(FrameRate::Constant(rate)));
    assert_eq!(frames_of(&bench.path("out.mp4")).len(), 24);
}
