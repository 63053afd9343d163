//! A folder of pictures as a stream of frames.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::picture::{PictureChannels, decode, read_head};
use crate::{ColorDescription, FrameSource, StreamInfo, TimedFrame, VideoError};

/// Extensions, in lower case, of files that count as frames.
const EXTENSIONS: [&str; 7] = ["png", "jpg", "jpeg", "tif", "tiff", "webp", "bmp"];

/// Frames from picture files, in the natural order of their names.
#[derive(Debug)]
pub struct FolderSource {
    info: StreamInfo,
    files: Vec<PathBuf>,
    next: usize,
    channels: PictureChannels,
}

impl FolderSource {
    /// The pictures in the folder `path`; hidden files, other files and folders are passed over.
    ///
    /// Sizes are compared here, by the heads of the files, so that one wrong picture at the end
    /// does not cost the work before it. Only the frame rate is left open (`None`).
    ///
    /// # Errors
    ///
    /// Says that the folder cannot be read or holds no picture, that two pictures differ in size or
    /// have one name, or that the first one cannot be read. Pictures behind it that cannot be
    /// decoded end the stream when their turn comes.
    pub fn open(path: &Path, channels: PictureChannels) -> Result<Self, VideoError> {
        let files = list_pictures(path)?;
        if files.is_empty() {
            return Err(VideoError::NoPictures { path: path.to_path_buf() });
        }
        Self::from_files(files, channels)
    }

    /// The picture in the file `path` as a clip of one frame.
    ///
    /// # Errors
    ///
    /// Says that the picture cannot be read.
    pub fn single(path: &Path, channels: PictureChannels) -> Result<Self, VideoError> {
        Self::from_files(vec![path.to_path_buf()], channels)
    }

    fn from_files(files: Vec<PathBuf>, channels: PictureChannels) -> Result<Self, VideoError> {
        let head = read_head(&files[0], 0)?;
        check_sizes(&files, head.size)?;
        let info = StreamInfo {
            width: head.size.0,
            height: head.size.1,
            frame_rate: None,
            frames: Some(files.len() as u64),
            sample_aspect: None,
            color: ColorDescription::default(),
            bit_depth: head.bit_depth,
        };
        Ok(Self { info, files, next: 0, channels })
    }
}

impl FrameSource for FolderSource {
    fn info(&self) -> &StreamInfo {
        &self.info
    }

    fn next_frame(&mut self) -> Result<Option<TimedFrame>, VideoError> {
        let Some(path) = self.files.get(self.next) else {
            return Ok(None);
        };
        let index = self.next as u64;
        // After an error the stream is over; only a whole frame moves it on.
        self.next = self.files.len();
        let (frame, _) = decode(path, index, self.channels)?;
        let (first_size, other_size) =
            ((self.info.width, self.info.height), (frame.width(), frame.height()));
        if first_size != other_size {
            let (first, other) = (self.files[0].clone(), path.clone());
            return Err(VideoError::MixedSizes { first, first_size, other, other_size });
        }
        self.next = index as usize + 1;
        Ok(Some(TimedFrame { frame, seconds: None, name: Some(stem(path)) }))
    }
}

/// The first picture whose head states another size; heads that cannot be read are left for later.
fn check_sizes(files: &[PathBuf], first_size: (usize, usize)) -> Result<(), VideoError> {
    let differing = files.par_iter().enumerate().find_map_first(|(index, path)| {
        let size = read_head(path, index as u64).ok()?.size;
        (size != first_size).then(|| (path.clone(), size))
    });
    match differing {
        None => Ok(()),
        Some((other, other_size)) => {
            let first = files[0].clone();
            Err(VideoError::MixedSizes { first, first_size, other, other_size })
        }
    }
}

/// Whether `path` has the extension of a picture that can be read.
pub fn is_picture(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| EXTENSIONS.contains(&extension.to_lowercase().as_str()))
}

/// The picture files in a folder, in the natural order of their names (`frame2` before `frame10`).
///
/// # Errors
///
/// Says that the folder cannot be read, or that two pictures differ only in the extension.
pub fn list_pictures(folder: &Path) -> Result<Vec<PathBuf>, VideoError> {
    let mut files = list(folder, |path| is_picture(path) && path.is_file())?;
    files.sort_by(|a, b| natural_order(&stem(a), &stem(b)).then_with(|| a.cmp(b)));
    let mut stems: HashMap<_, &Path> = HashMap::new();
    for file in &files {
        if let Some(first) = stems.insert(file.file_stem(), file) {
            return Err(VideoError::SameName { first: first.to_path_buf(), second: file.clone() });
        }
    }
    Ok(files)
}

/// The files in a folder with one of these endings (in lower case), in the natural order of their
/// names.
///
/// # Errors
///
/// Says that the folder cannot be read.
pub fn list_files(folder: &Path, endings: &[&str]) -> Result<Vec<PathBuf>, VideoError> {
    let wanted = |path: &Path| {
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        endings.contains(&ending.as_str()) && path.is_file()
    };
    let mut files = list(folder, wanted)?;
    files.sort_by(|a, b| natural_order(&stem(a), &stem(b)).then_with(|| a.cmp(b)));
    Ok(files)
}

/// The name of a file without its extension.
pub(crate) fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// What is in `folder`, not hidden, and `wanted`; in no particular order.
pub(crate) fn list(
    folder: &Path,
    wanted: impl Fn(&Path) -> bool,
) -> Result<Vec<PathBuf>, VideoError> {
    let read = |source| VideoError::Read { path: folder.to_path_buf(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(read)? {
        let entry = entry.map_err(read)?;
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        let path = entry.path();
        if !hidden && wanted(&path) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Text by character, runs of digits by value; names equal up to leading zeros by text.
pub(crate) fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut rest_a, mut rest_b) = (a, b);
    loop {
        let (part_a, tail_a) = first_part(rest_a);
        let (part_b, tail_b) = first_part(rest_b);
        let order = match (part_a, part_b) {
            ("", "") => return a.cmp(b),
            _ if is_number(part_a) && is_number(part_b) => {
                let (value_a, value_b) =
                    (part_a.trim_start_matches('0'), part_b.trim_start_matches('0'));
                // Values of one length compare as their digits do.
                value_a.len().cmp(&value_b.len()).then_with(|| value_a.cmp(value_b))
            }
            _ => part_a.cmp(part_b),
        };
        if order.is_ne() {
            return order;
        }
        (rest_a, rest_b) = (tail_a, tail_b);
    }
}

fn is_number(part: &str) -> bool {
    part.starts_with(|character: char| character.is_ascii_digit())
}

/// The run of digits, or the one other character, that `name` begins with; and what follows.
fn first_part(name: &str) -> (&str, &str) {
    let digits = name.len() - name.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let first = name.chars().next().map_or(0, char::len_utf8);
    name.split_at(digits.max(first))
}

#[cfg(test)]
mod tests;
