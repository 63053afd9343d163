//! Streams of spike cameras into pictures, videos, arrays and other streams.

mod raster;

use std::path::{Path, PathBuf};

use vrt_spike::{Geometry, Intensity, Method, NewFile, Packed, SpikeError, SpikeStream};
use vrt_video::{
    BitDepth, ColorDescription, Frame, FrameRate, Programs, Ratio, SinkOptions, StreamInfo,
    TimedFrame, VideoError, create,
};

pub use raster::raster;

/// What is made of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The spikes themselves.
    Spikes,
    /// Pictures.
    Pictures(Method),
}

/// Of which times pictures are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Times {
    /// Of the middle of the stream.
    #[default]
    Middle,
    /// Of one frame.
    At(u64),
    /// Of every so manyth frame, from the first one on.
    Every(u64),
}

/// How a stream is converted.
#[derive(Clone, Debug)]
pub struct ConvertOptions {
    /// What is made of it.
    pub content: Content,
    /// Of which times.
    pub times: Times,
    /// What a pixel that always fires is worth.
    pub ceiling: f32,
    /// Pictures a second of a video.
    pub frame_rate: Ratio,
    /// Bits of a sample of pictures.
    pub bit_depth: BitDepth,
    /// Replace what is there.
    pub overwrite: bool,
    /// Where ffmpeg is.
    pub programs: Programs,
}

/// What a conversion wrote.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Converted {
    /// Frames of the stream.
    pub frames: u64,
    /// Pictures, or frames of spikes.
    pub written: u64,
    /// What could not be kept as it was, for a person.
    pub notes: Vec<String>,
}

/// Why a stream was not converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// The stream.
    #[error(transparent)]
    Spike(#[from] SpikeError),
    /// Pictures or videos.
    #[error(transparent)]
    Video(#[from] VideoError),
    /// A file with this ending holds something else.
    #[error("{path}: {reason}", path = .path.display())]
    Ending {
        /// The output.
        path: PathBuf,
        /// What it takes.
        reason: &'static str,
    },
    /// The mean is that of all times.
    #[error("the mean is one picture of the whole stream: choose tfp or tfi for other times")]
    MeanAt,
}

/// Converts a stream into `to`, by its ending: `.dat` and `.npy` take spikes, `.npy` also pictures as
/// they are, `.png` one picture, a folder many, `.y4m`, `.mp4` and others a video. Tells `on_picture`
/// how many pictures of how many are done.
///
/// # Errors
///
/// Says what is wrong with the stream, the times, or the output; nothing is overwritten unasked.
pub fn convert(
    stream: &mut SpikeStream,
    to: &Path,
    options: &ConvertOptions,
    on_picture: &mut dyn FnMut(u64, u64),
) -> Result<Converted, ConvertError> {
    let ending = to.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let refused = |reason| ConvertError::Ending { path: to.to_path_buf(), reason };
    let (frames, overwrite) = (stream.frames(), options.overwrite);
    let (written, notes) = match (options.content, ending.as_str()) {
        (Content::Spikes, "dat") => (copy(stream, NewFile::create(to, overwrite)?)?, Vec::new()),
        (Content::Spikes, "npy") => {
            let mut file = NewFile::create(to, overwrite)?;
            stream.write_npy(&mut file)?;
            file.finish()?;
            (frames, Vec::new())
        }
        (Content::Spikes, _) => return Err(refused("spikes go into .dat or .npy")),
        (Content::Pictures(_), "dat" | "npz") => {
            return Err(refused("pictures go into .png, .npy, a folder or a video"));
        }
        (Content::Pictures(method), ending) => {
            let times = times(frames, method, options.times)?;
            let count = times.clone().count() as u64;
            let g = stream.geometry();
            let pictures = times.zip(1..).map(|(at, done)| {
                let picture = stream.intensity(method, at, options.ceiling)?;
                on_picture(done, count);
                Ok(picture)
            });
            let notes = if ending == "npy" {
                let mut file = NewFile::create(to, overwrite)?;
                let shape = [count, g.height() as u64, g.width() as u64];
                Intensity::write_npy(pictures, shape, &mut file)?;
                file.finish()?;
                Vec::new()
            } else {
                show(pictures, &info(g, count, options), to, options)?
            };
            (count, notes)
        }
    };
    Ok(Converted { frames, written, notes })
}

/// The times of pictures of a stream of so many frames.
fn times(
    frames: u64,
    method: Method,
    times: Times,
) -> Result<impl Iterator<Item = u64> + Clone, ConvertError> {
    let (range, step) = match (method, times) {
        (_, Times::Middle) => (frames / 2..frames / 2 + 1, 1),
        (Method::Mean, _) => return Err(ConvertError::MeanAt),
        // A frame that is not there is told by the stream.
        (_, Times::At(at)) => (at..at.saturating_add(1), 1),
        (_, Times::Every(step)) => (0..frames, step.max(1)),
    };
    Ok(range.step_by(usize::try_from(step).unwrap_or(usize::MAX)))
}

/// Another stream of the same spikes, as published: the least significant bit first, from the bottom
/// up, without columns that are no pixels, unless bytes would be cut.
fn copy(stream: &mut SpikeStream, mut to: NewFile) -> Result<u64, ConvertError> {
    let g = stream.geometry();
    let published = Geometry::new(g.width(), g.height())
        .or_else(|_| Geometry::stored(g.width(), g.height(), g.width().next_multiple_of(8)));
    let path = || stream.path().to_path_buf();
    let published = published.map_err(|source| SpikeError::Geometry { path: path(), source })?;
    for part in stream.parts(0..stream.frames()) {
        to.write_frames(&Packed::of_values(published, &stream.read(part)?.values()))?;
    }
    to.finish()?;
    Ok(stream.frames())
}

/// Writes pictures into a picture, a folder or a video; returns notes for a person.
fn show(
    pictures: impl Iterator<Item = Result<Intensity, SpikeError>>,
    info: &StreamInfo,
    to: &Path,
    options: &ConvertOptions,
) -> Result<Vec<String>, ConvertError> {
    let mut sink = None;
    for picture in pictures {
        let picture = picture?;
        // Begun with the first picture: a time that is not in the stream leaves nothing.
        let sink = match &mut sink {
            Some(sink) => sink,
            none => none.insert(create(to, info, &sink_options(options))?),
        };
        sink.write(&TimedFrame { frame: colours(&picture), seconds: None, name: None })?;
    }
    let written = sink.map(|sink| sink.finish()).transpose()?;
    Ok(written.map(|written| written.warnings).unwrap_or_default())
}

fn info(g: Geometry, count: u64, options: &ConvertOptions) -> StreamInfo {
    StreamInfo {
        width: g.width(),
        height: g.height(),
        frame_rate: Some(FrameRate::Constant(options.frame_rate)),
        frames: Some(count),
        sample_aspect: None,
        color: ColorDescription::default(),
        bit_depth: 8,
    }
}

fn sink_options(options: &ConvertOptions) -> SinkOptions {
    SinkOptions {
        overwrite: options.overwrite,
        bit_depth: options.bit_depth,
        programs: options.programs.clone(),
        ..SinkOptions::default()
    }
}

/// The grey picture as R, G, B.
fn colours(picture: &Intensity) -> Frame {
    let samples = picture.values().iter().flat_map(|value| [*value; 3]).collect();
    Frame::new(picture.width(), picture.height(), 3, samples)
}
