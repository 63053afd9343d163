//! From a path to what reads or writes it.

use std::io;
use std::path::{Path, PathBuf};

use crate::sink::folder::FolderSinkOptions;
use crate::source::folder::is_picture;
use crate::{
    BitDepth, FfmpegSink, FfmpegSource, FolderSink, FolderSource, FrameSink, FrameSource,
    PictureChannels, PictureSink, Programs, Ratio, StreamInfo, TimedFrame, VideoError, Y4mChroma,
    Y4mDepth, Y4mOptions, Y4mSink, Y4mSinkOptions, Y4mSource,
};

/// The name that stands for standard input or output.
const PIPE: &str = "-";

/// How an input is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenOptions {
    /// Stop after this many frames.
    pub frames: Option<u64>,
    /// Samples per pixel that pictures in files and folders are read as.
    pub channels: PictureChannels,
    /// What YUV4MPEG2 streams do not say.
    pub y4m: Y4mOptions,
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
    /// Chroma of YUV4MPEG2 streams.
    pub y4m_chroma: Y4mChroma,
    /// Bits per sample of YUV4MPEG2 streams.
    pub y4m_depth: Y4mDepth,
    /// Arguments of ffmpeg's encoder in place of the default ones, for example `["-c:v", "ffv1",
    /// "-pix_fmt", "yuv444p10le"]`; filters and other files have no place in them. Without
    /// `-pix_fmt`, 4:2:0 of 8 or 10 bits is encoded.
    pub codec_arguments: Option<Vec<String>>,
    /// The file whose sound, subtitles, chapters and tags a video file is to carry.
    pub copy_from: Option<PathBuf>,
    /// Frames per second of a video whose stream states none; 25 if this is `None`, too.
    pub frame_rate: Option<Ratio>,
    /// Where ffmpeg and ffprobe are.
    pub programs: Programs,
}

/// Opens `input` by what it is: a folder of pictures, one picture, a YUV4MPEG2 stream (`.y4m`, or
/// `-` for standard input), or a video that ffmpeg reads.
///
/// # Errors
///
/// Says what is wrong with the folder or file, and which frame; see [`FolderSource::open`],
/// [`Y4mSource::open`] and [`FfmpegSource::open`].
pub fn open(input: &Path, options: &OpenOptions) -> Result<Box<dyn FrameSource>, VideoError> {
    let frames = options.frames;
    if input == Path::new(PIPE) {
        return Ok(limited(Y4mSource::new(io::stdin(), input, options.y4m)?, frames));
    }
    if input.is_dir() {
        return Ok(limited(FolderSource::open(input, options.channels)?, frames));
    }
    if is_picture(input) {
        return Ok(limited(FolderSource::single(input, options.channels)?, frames));
    }
    if has_extension(input, "y4m") {
        return Ok(limited(Y4mSource::open(input, options.y4m)?, frames));
    }
    Ok(Box::new(FfmpegSource::open(input, frames, &options.programs)?))
}

/// Begins `output` by its name: a path without extension, one that ends in a separator, or a folder
/// takes pictures, `.png` one picture, `.y4m` (or `-` for standard output) a YUV4MPEG2 stream, and anything else is a video
/// that ffmpeg writes.
///
/// # Errors
///
/// Says why the output cannot be begun; see [`FolderSink::create`], [`Y4mSink::create`] and
/// [`FfmpegSink::create`].
pub fn create(
    output: &Path,
    info: &StreamInfo,
    options: &SinkOptions,
) -> Result<Box<dyn FrameSink>, VideoError> {
    let SinkOptions { bit_depth, overwrite, y4m_chroma, y4m_depth, .. } = *options;
    let y4m = Y4mSinkOptions { chroma: y4m_chroma, depth: y4m_depth, overwrite };
    if output == Path::new(PIPE) {
        return Ok(Box::new(Y4mSink::new(io::stdout(), output, &rated(info, options), y4m)?));
    }
    if output.is_dir() || output.extension().is_none() || ends_in_separator(output) {
        let folder = FolderSinkOptions { bit_depth, overwrite };
        return Ok(Box::new(FolderSink::create(output, folder)?));
    }
    if has_extension(output, "png") {
        return Ok(Box::new(PictureSink::create(output, info.frames, bit_depth, overwrite)?));
    }
    if has_extension(output, "y4m") {
        return Ok(Box::new(Y4mSink::create(output, &rated(info, options), y4m)?));
    }
    Ok(Box::new(FfmpegSink::create(output, info, options)?))
}

/// Is `path` written as a folder: `out.v2/`?
fn ends_in_separator(path: &Path) -> bool {
    let last = path.as_os_str().as_encoded_bytes().last();
    last.is_some_and(|&byte| std::path::is_separator(char::from(byte)))
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

/// `info` with the rate of the options where it states none.
fn rated(info: &StreamInfo, options: &SinkOptions) -> StreamInfo {
    let by_options = options.frame_rate.map(crate::FrameRate::Constant);
    StreamInfo { frame_rate: info.frame_rate.or(by_options), ..info.clone() }
}

/// A source that ends after a number of frames.
struct Limited<S> {
    source: S,
    info: StreamInfo,
    left: u64,
}

fn limited<S: FrameSource + 'static>(source: S, frames: Option<u64>) -> Box<dyn FrameSource> {
    let Some(left) = frames else {
        return Box::new(source);
    };
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

    fn warnings(&self) -> &[String] {
        self.source.warnings()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffmpeg::testing::{folder, make, read_all};
    use crate::{ColorDescription, Frame};

    fn info() -> StreamInfo {
        StreamInfo {
            width: 16,
            height: 16,
            frame_rate: None,
            frames: None,
            sample_aspect: None,
            color: ColorDescription::default(),
            bit_depth: 8,
        }
    }

    fn write(path: &Path, frames: usize, options: &SinkOptions) -> Result<u64, VideoError> {
        let mut sink = create(path, &info(), options)?;
        for index in 0..frames {
            let frame = Frame::filled(16, 16, 3, 0.2 + 0.1 * index as f32);
            sink.write(&TimedFrame { frame, seconds: None, name: None })?;
        }
        Ok(sink.finish()?.frames)
    }

    #[test]
    fn every_kind_of_path_is_written_and_read() {
        let Some(dir) = folder() else { return };
        for (name, frames) in [("pictures", 3), ("one.png", 1), ("stream.y4m", 3), ("film.mkv", 3)]
        {
            let path = dir.path().join(name);
            assert_eq!(write(&path, frames, &SinkOptions::default()).unwrap(), frames as u64);
            for limit in [None, Some(0), Some(2), Some(9)] {
                let options = OpenOptions { frames: limit, ..OpenOptions::default() };
                let mut source = open(&path, &options).unwrap();
                let got = read_all(source.as_mut()).unwrap();
                let expected = limit.unwrap_or(9).min(frames as u64);
                assert_eq!(got.len() as u64, expected, "{name}");
                for (index, frame) in got.iter().enumerate() {
                    let sample = frame.frame.samples()[400];
                    assert!((sample - 0.2 - 0.1 * index as f32).abs() < 0.006, "{name} {sample}");
                }
            }
            let again = write(&path, frames, &SinkOptions::default());
            assert!(again.is_err(), "{name} was overwritten");
            let replace = SinkOptions { overwrite: true, ..SinkOptions::default() };
            assert!(write(&path, frames, &replace).is_ok(), "{name} could not be replaced");
        }
    }

    #[test]
    fn one_picture_takes_one_frame() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("one.png");
        let error = write(&path, 2, &SinkOptions::default()).unwrap_err();
        assert!(matches!(error, VideoError::OnePicture { .. }), "{error}");
        assert!(path.exists(), "the first frame is kept");
    }

    #[test]
    fn one_picture_of_many_frames_is_refused_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("one.png");
        let many = StreamInfo { frames: Some(2), ..info() };
        let refused = create(&path, &many, &SinkOptions::default());
        assert!(matches!(refused, Err(VideoError::OnePicture { .. })));
        let one = StreamInfo { frames: Some(1), ..info() };
        assert!(create(&path, &one, &SinkOptions::default()).is_ok());
    }

    #[test]
    fn a_separator_at_the_end_means_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.v2/");
        assert_eq!(write(&path, 2, &SinkOptions::default()).unwrap(), 2);
        assert!(path.join("00000001.png").exists());
    }

    #[test]
    fn sixteen_bits_and_a_stated_rate_reach_the_file() {
        let Some(dir) = folder() else { return };
        let frame_rate = Some(Ratio { numerator: 12, denominator: 1 });
        let options =
            SinkOptions { bit_depth: BitDepth::Sixteen, frame_rate, ..SinkOptions::default() };
        let picture = dir.path().join("deep.png");
        write(&picture, 1, &options).unwrap();
        assert_eq!(open(&picture, &OpenOptions::default()).unwrap().info().bit_depth, 16);
        for name in ["a.mp4", "a.y4m"] {
            let path = dir.path().join(name);
            write(&path, 4, &options).unwrap();
            let rate = open(&path, &OpenOptions::default()).unwrap().info().frame_rate;
            assert_eq!(rate, frame_rate.map(crate::FrameRate::Constant), "{name}");
        }
    }

    #[test]
    fn a_name_that_looks_like_an_option_is_a_file() {
        let Some(dir) = folder() else { return };
        let made =
            make("-f lavfi -i testsrc2=s=16x16:r=5:d=1 -c:v mpeg4", &dir.path().join("a.mp4"));
        let strange = dir.path().join("-y %d:a,b;[x]'é.mp4");
        std::fs::rename(made, &strange).unwrap();
        let mut source = open(&strange, &OpenOptions::default()).unwrap();
        assert_eq!(read_all(source.as_mut()).unwrap().len(), 5);
        let options = SinkOptions { copy_from: Some(strange), ..SinkOptions::default() };
        let output = dir.path().join("-o %03d:'.mp4");
        assert_eq!(write(&output, 2, &options).unwrap(), 2);
    }
}
