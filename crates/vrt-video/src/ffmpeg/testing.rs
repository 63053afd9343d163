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
