//! Clip lists: a line for every clip, `clip frames (height,width,channels) first`.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Component, Path, PathBuf};

use super::DataError;

/// Bytes of a line that are read.
const MAX_LINE: u64 = 4096;

/// The most clips of a list; Vimeo-90K has 64,612 to train on.
const MAX_CLIPS: usize = 10_000_000;

/// The most frames of a clip, and the highest first frame.
const MAX_NUMBER: usize = 1_000_000_000;

/// A clip as a list states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClipEntry {
    /// Its folder below the root, with `/` between folders.
    pub name: String,
    /// Its frames; `None` where the list does not tell (Vimeo sequences).
    pub frames: Option<usize>,
    /// Height and width of its sharp frames, where the list tells.
    pub size: Option<(usize, usize)>,
    /// The number of its first frame; 0 where the list does not tell.
    pub first: usize,
    /// Digits of frame names, where the first frame's number shows them by leading zeros.
    pub digits: Option<usize>,
}

/// A clip list as it was read: one or more clips with names of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClipList {
    path: PathBuf,
    clips: Vec<ClipEntry>,
}

impl ClipList {
    /// Reads the list in the file `path`.
    ///
    /// Fields are divided by blanks; those behind the clip's name may be missing, from the last on.
    /// Empty lines are passed over.
    ///
    /// # Errors
    ///
    /// Says that the file cannot be read, which line is none and why, or that there is no clip.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let unreadable = |source| DataError::Read { path: path.to_path_buf(), source };
        let mut reader = BufReader::new(File::open(path).map_err(unreadable)?);
        let (mut clips, mut names) = (Vec::new(), HashSet::new());
        for number in 1.. {
            let wrong = |reason: String| DataError::ListLine {
                path: path.to_path_buf(),
                line: number,
                reason,
            };
            let mut line = Vec::new();
            let mut limited = std::io::Read::take(&mut reader, MAX_LINE);
            if limited.read_until(b'\n', &mut line).map_err(unreadable)? == 0 {
                break;
            }
            if line.len() as u64 == MAX_LINE {
                return Err(wrong(format!("it has {MAX_LINE} bytes or more")));
            }
            let line = str::from_utf8(&line).map_err(|_| wrong("it is not text".to_owned()))?;
            let Some(clip) = parse(line.trim_start_matches('\u{feff}')).map_err(wrong)? else {
                continue;
            };
            if !names.insert(clip.name.clone()) {
                return Err(wrong(format!("the clip {} is listed already", clip.name)));
            }
            clips.push(clip);
            if clips.len() > MAX_CLIPS {
                return Err(wrong(format!("there are more than {MAX_CLIPS} clips")));
            }
        }
        if clips.is_empty() {
            let reason = "the file is empty".to_owned();
            return Err(DataError::NoClips { path: path.to_path_buf(), reason });
        }
        Ok(Self { path: path.to_path_buf(), clips })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its clips, in the order of the file.
    pub fn clips(&self) -> &[ClipEntry] {
        &self.clips
    }

    /// The clips alone.
    pub fn into_clips(self) -> Vec<ClipEntry> {
        self.clips
    }
}

/// The clip of a line, or `None` of a blank one.
fn parse(line: &str) -> Result<Option<ClipEntry>, String> {
    let mut fields = line.split_whitespace();
    let Some(name) = fields.next() else { return Ok(None) };
    check_name(name)?;
    let frames = fields.next().map(|text| number("the number of frames", text)).transpose()?;
    if frames == Some(0) {
        return Err("it has no frame".to_owned());
    }
    let size = fields.next().map(parse_size).transpose()?;
    let first = fields.next();
    if let Some(more) = fields.next() {
        return Err(format!("{more:?} is one field too many"));
    }
    let digits = first.filter(|text| text.len() > 1 && text.starts_with('0')).map(str::len);
    let first = first.map_or(Ok(0), |text| number("the first frame", text))?;
    Ok(Some(ClipEntry { name: name.to_owned(), frames, size, first, digits }))
}

/// Keeps a list from naming what lies outside the root.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if inside && !name.is_empty() && !name.contains('\\') {
        return Ok(());
    }
    Err(format!("{name:?} is not a folder below the root"))
}

fn number(what: &str, text: &str) -> Result<usize, String> {
    let digits = text.len() <= 19 && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits && number <= MAX_NUMBER => Ok(number),
        _ => Err(format!("{what} is {text:?}, and numbers run from 0 to {MAX_NUMBER}")),
    }
}

/// Height and width of `(720,1280,3)`.
fn parse_size(text: &str) -> Result<(usize, usize), String> {
    let inner = text.strip_prefix('(').and_then(|text| text.strip_suffix(')'));
    let fields: Vec<&str> = inner.unwrap_or_default().split(',').collect();
    match fields[..] {
        [height, width] | [height, width, _] => {
            Ok((number("the height", height)?, number("the width", width)?))
        }
        _ => Err(format!("{text:?} is no size")),
    }
}
