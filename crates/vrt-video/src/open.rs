//! From a path to what reads or writes it.

use std::path::{Path, PathBuf};

use crate::sink::ffmpeg::FfmpegSink;
use crate::sink::folder::{FolderSink, FolderSinkOptions};
use crate::source::ffmpeg::FfmpegSource;
use crate::source::folder::{FolderSource, is_picture};
use crate::{
    BitDepth, FrameSink, FrameSource, PictureChannels, Programs, Ratio, StreamInfo, TimedFrame,
    VideoError,
};

/// How an input is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Stop after this many frames.
    pub frames: Option<u64>,
    /// Samples per pixel that pictures in files and folders are read as.
    pub channels: PictureChannels,
    /// Where ffmpeg and ffprobe are.
    pub programs: Programs,
}

/// How an output is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkOptions {
    /// Replace what is there.
    pub overwrite: bool,
    /// Bits per sample of pictures.
    pub bit_depth: BitDepth,
    /// Arguments of ffmpeg's encoder in place of the default ones, for example `["-c:v", "ffv1",
    /// "-pix_fmt", "yuv444p10le"]`. Without `-pix_fmt`, 4:2:0 of 8 or 10 bits is encoded.
    pub codec_arguments: Option<Vec<String>>,
    /// The file whose sound, subtitles, chapters and tags a video file is to carry.
    pub copy_from: Option<PathBuf>,
    /// Frames per second of a video whose stream states none; 25 if this is `None`, too.
    pub frame_rate: Option<Ratio>,
    /// Where ffmpeg and ffprobe are.
    pub programs: Programs,
}

/// Opens `input` by what it is: a folder of pictures, one picture, or a video that ffmpeg reads.
///
/// # Errors
///
/// Says what is wrong with the folder or file, and which frame; see [`FolderSource::open`] and
/// [`FfmpegSource::open`].
pub fn open(input: &Path, options: &OpenOptions) -> Result<Box<dyn FrameSource>, VideoError> {
    if input.is_dir() {
        return Ok(limited(FolderSource::open(input, options.channels)?, options.frames));
    }
    if is_picture(input) {
        return Ok(limited(FolderSource::single(input, options.channels)?, options.frames));
    }
    Ok(Box::new(FfmpegSource::open(input, options.frames, &options.programs)?))
}

/// Begins `output` by its name: a path without extension (or a folder) takes pictures, `.png` one
/// picture, and anything else is a video that ffmpeg writes.
///
/// # Errors
///
/// Says why the output cannot be begun; see [`FolderSink::create`] and [`FfmpegSink::create`].
pub fn create(
    output: &Path,
    info: &StreamInfo,
    options: &SinkOptions,
) -> Result<Box<dyn FrameSink>, VideoError> {
    if output.is_dir() || output.extension().is_none() {
        let SinkOptions { bit_depth, overwrite, .. } = *options;
        return Ok(Box::new(FolderSink::create(output, FolderSinkOptions { bit_depth, overwrite })?));
    }
    Ok(Box::new(FfmpegSink::create(output, info, options)?))
}

/// A source that ends after a number of frames.
struct Limited<S> {
    source: S,
    info: StreamInfo,
    left: u64,
}

fn limited<S: FrameSource + 'static>(source: S, frames: Option<u64>) -> Box<dyn FrameSource> {
    let Some(left) = frames else { return Box::new(source) };
    let mut info = source.info().clone();
    info.frames = info.frames.map(|frames| frames.min(left));
    Box::new(Limited { source, info, left })
}

impl<S: FrameSource> FrameSource for Limited<S> {
    fn info(&self) -> &StreamInfo {
        &self.info
    }

    fn next_frame(&mut self) -> Result<Option<TimedFrame>, VideoError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.source.next_frame()
    }
}
