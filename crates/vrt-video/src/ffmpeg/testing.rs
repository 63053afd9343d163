//! Small clips for tests, made by the real ffmpeg.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::{FrameSource, Programs, TimedFrame, VideoError};

/// A folder for one test, or `None`, with a printed word, where ffmpeg is not installed.
pub(crate) fn folder() -> Option<TempDir> {
    if Command::new("ffmpeg").arg("-version").output().is_err() {
        eprintln!("skipped: ffmpeg is not installed");
        return None;
    }
    Some(tempfile::tempdir().unwrap())
}

/// Runs ffmpeg with `arguments`, cut at spaces, and then `output`.
pub(crate) fn make(arguments: &str, output: &Path) -> PathBuf {
    let made = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y"])
        .args(arguments.split_whitespace())
        .arg(output)
        .output()
        .unwrap();
    assert!(made.status.success(), "{arguments}: {}", String::from_utf8_lossy(&made.stderr));
    output.to_path_buf()
}

/// What ffprobe prints for `entries` of `path`, one line each, sorted as they come.
pub(crate) fn entries(entries: &str, path: &Path) -> Vec<String> {
    let asked = Command::new("ffprobe")
        .args(["-v", "error", "-of", "csv=p=0"])
        .args(entries.split_whitespace())
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&asked.stdout).into_owned();
    text.lines().map(|line| line.trim_end_matches(',').to_owned()).collect()
}

/// Seconds at which the frames of a file are shown.
pub(crate) fn shown_at(path: &Path) -> Vec<f64> {
    let lines = entries("-select_streams v:0 -show_entries packet=pts_time", path);
    let mut times: Vec<f64> = lines.iter().filter_map(|line| line.parse().ok()).collect();
    times.sort_by(f64::total_cmp);
    times
}

/// Tells players of an MP4 file to turn its pictures clockwise by `quarters` of a circle.
///
/// Options that do so differ between versions of ffmpeg; the file format does not.
pub(crate) fn turn(path: &Path, quarters: usize) {
    /// From the name of the track's head to its matrix (ISO 14496-12, version 0).
    const MATRIX: usize = 4 + 40;
    let mut bytes = std::fs::read(path).unwrap();
    let head = bytes.windows(4).position(|window| window == b"tkhd").unwrap();
    let (cosine, sine) = [(1i32, 0i32), (0, 1), (-1, 0), (0, -1)][quarters];
    let matrix = [cosine, sine, 0, -sine, cosine, 0].map(|value| (value << 16).to_be_bytes());
    bytes[head + MATRIX..][..24].copy_from_slice(matrix.as_flattened());
    std::fs::write(path, bytes).unwrap();
}

/// All frames of a source.
pub(crate) fn read_all(source: &mut dyn FrameSource) -> Result<Vec<TimedFrame>, VideoError> {
    let mut frames = Vec::new();
    while let Some(frame) = source.next_frame()? {
        frames.push(frame);
    }
    Ok(frames)
}

/// Programs that are not there.
pub(crate) fn no_programs() -> Programs {
    Programs { ffmpeg: "/no/such/ffmpeg".into(), ffprobe: "/no/such/ffprobe".into() }
}
