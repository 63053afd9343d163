//! The programs that read and write video files.

use std::path::Path;
use std::process::{Command, Stdio};

use serde::Serialize;
use vrt_video::{FfmpegError, Programs};

/// Encoders that outputs use, and what each is for.
const ENCODERS: [(&str, &str); 3] = [
    ("libx264", "H.264 in .mp4, .mkv, .mov"),
    ("libx265", "HEVC, 10 bits, in the same"),
    ("libvpx-vp9", "VP9 in .webm"),
];

/// What is known of ffmpeg.
#[derive(Clone, Debug, Serialize)]
pub struct FfmpegReport {
    /// The program that decodes and encodes.
    pub ffmpeg: ProgramReport,
    /// The program that describes files.
    pub ffprobe: ProgramReport,
    /// Encoders that outputs use.
    pub encoders: Vec<EncoderReport>,
}

/// One program.
#[derive(Clone, Debug, Serialize)]
pub struct ProgramReport {
    /// Its version; `None` if it does not run.
    pub version: Option<String>,
    /// Why it does not run, and what to do.
    pub problem: Option<String>,
}

/// One encoder.
#[derive(Clone, Debug, Serialize)]
pub struct EncoderReport {
    /// ffmpeg's name for it.
    pub name: &'static str,
    /// What it is used for.
    pub purpose: &'static str,
    /// Whether the installed ffmpeg has it.
    pub found: bool,
}

pub(super) fn examine(programs: &Programs) -> FfmpegReport {
    let known = run(&programs.ffmpeg, &["-hide_banner", "-encoders"]).unwrap_or_default();
    let encoders = ENCODERS.iter().map(|&(name, purpose)| EncoderReport {
        name,
        purpose,
        found: lists_encoder(&known, name),
    });
    FfmpegReport {
        ffmpeg: program(&programs.ffmpeg),
        ffprobe: program(&programs.ffprobe),
        encoders: encoders.collect(),
    }
}

fn program(path: &Path) -> ProgramReport {
    match run(path, &["-version"]) {
        Ok(text) => ProgramReport { version: Some(version(&text)), problem: None },
        Err(error) => ProgramReport { version: None, problem: Some(error.to_string()) },
    }
}

/// What the program prints.
fn run(program: &Path, arguments: &[&str]) -> Result<String, FfmpegError> {
    let output =
        Command::new(program).args(arguments).stdin(Stdio::null()).output().map_err(|source| {
            match source.kind() {
                std::io::ErrorKind::NotFound => FfmpegError::Missing { program: program.into() },
                _ => FfmpegError::Run { program: program.into(), source },
            }
        })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let reason = format!("{}: {}", output.status, said.lines().last().unwrap_or_default());
    Err(FfmpegError::Run { program: program.into(), source: std::io::Error::other(reason) })
}

/// The word behind `version` in the first line; the whole line where there is none.
fn version(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut words = line.split_whitespace();
    let version = words.find(|&word| word == "version").and_then(|_| words.next());
    version.unwrap_or(line).to_owned()
}

/// Whether a line of ffmpeg's list (` V....D libx264   H.264 / …`) has this name.
fn lists_encoder(list: &str, name: &str) -> bool {
    list.lines().any(|line| line.split_whitespace().nth(1) == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_one_word() {
        let text = "ffmpeg version 5.1.9-0+deb12u1 Copyright (c) 2000-2026\nbuilt with gcc 12";
        assert_eq!(version(text), "5.1.9-0+deb12u1");
        assert_eq!(version("something else\nmore"), "something else");
        assert_eq!(version(""), "");
    }

    #[test]
    fn encoders_are_found_by_their_whole_name() {
        let list = "Encoders:\n V....D libx264rgb    H.264 RGB\n V....D libvpx-vp9  VP9\n";
        assert!(lists_encoder(list, "libvpx-vp9"));
        assert!(!lists_encoder(list, "libx264"));
        assert!(!lists_encoder("", "libx264"));
    }
}
