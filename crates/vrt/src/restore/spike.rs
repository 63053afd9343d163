//! The spike channels of frames: from images, from streams of one a frame, or from one long stream.

mod streams;

use std::path::PathBuf;

use vrt_spike::{CEILING, Method, Stated};
use vrt_video::{
    FolderSource, Frame, FrameSource, PictureChannels, Registration, fits_frames, place_grey,
};

use super::error::{RestoreError, SpikeError};
use streams::{LongStream, Streams};

/// Where spike channels come from, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct SpikeInput {
    /// A folder of grey images or of streams, one a frame in the order of their names, or one stream
    /// of all frames.
    pub path: PathBuf,
    /// What is known about streams beside their files.
    pub stated: Stated,
    /// How a stream becomes one channel. Several channels are means of as many equal parts of a
    /// frame's stream, or of one of all frames around a frame's time.
    pub method: Method,
    /// What a pixel that always fires is worth; the same for all streams.
    pub ceiling: f32,
    /// Where pixels of frames are on these pictures; without it both show the same, edge to edge.
    pub align: Option<Registration>,
    /// When frames were taken, in the time of one stream of all of them.
    pub clock: Option<Clock>,
    /// Frames of that stream that several channels are parts of, around a frame's time; without it,
    /// those of a steady step.
    pub window: Option<u64>,
}

impl SpikeInput {
    /// Spikes at `path`, read as published.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            stated: Stated::default(),
            method: Method::PLAYBACK,
            ceiling: CEILING,
            align: None,
            clock: None,
            window: None,
        }
    }
}

/// When frames of video were taken, in frames of a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum Clock {
    /// The first one at `first`, and the others every `step` frames of the stream.
    Steady {
        /// Frames of the stream before the first frame of video; without it none for one channel,
        /// and for several those that the stream begins with the first window by.
        first: Option<f64>,
        /// Frames of the stream from one frame of video to the next.
        step: f64,
    },
    /// As a file says: a frame of the stream for every frame of video, one a line.
    File(PathBuf),
}

/// Spike channels, read along with the frames.
pub(super) struct SpikeChannels {
    path: PathBuf,
    source: Source,
    /// Frames that there are channels for; `None` if the clock goes on for ever.
    given: Option<u64>,
    taken: u64,
    /// Width and height of the frames.
    size: (usize, usize),
    align: Option<Registration>,
}

enum Source {
    Images(FolderSource),
    Streams(Streams),
    Long(LongStream),
}

impl Source {
    fn open(input: &SpikeInput, channels: usize) -> Result<Self, RestoreError> {
        let path = &input.path;
        if !path.is_dir() {
            return Ok(Self::Long(LongStream::open(input, channels)?));
        }
        if input.clock.is_some() || input.window.is_some() {
            return Err(SpikeError::Clock { path: path.clone() }.into());
        }
        let streams = streams::list(path)?;
        if !streams.is_empty() {
            return Ok(Self::Streams(Streams::open(input, streams, channels)?));
        }
        if channels != 1 {
            return Err(SpikeError::Channels { path: path.clone(), channels }.into());
        }
        Ok(Self::Images(FolderSource::open(path, PictureChannels::Grey)?))
    }
}

impl SpikeChannels {
    /// So many channels for frames of this width and height.
    pub(super) fn open(
        input: &SpikeInput,
        channels: usize,
        size: (usize, usize),
    ) -> Result<Self, RestoreError> {
        let path = input.path.clone();
        if !path.exists() {
            return Err(SpikeError::Nothing { path }.into());
        }
        let source = Source::open(input, channels)?;
        let (spike, given) = match &source {
            Source::Images(images) => {
                ((images.info().width, images.info().height), images.info().frames)
            }
            Source::Streams(streams) => (streams.size(), Some(streams.given())),
            Source::Long(stream) => (stream.size(), stream.given()),
        };
        let align = input.align.clone();
        if !fits_frames(align.as_ref(), spike, size).map_err(SpikeError::from)? {
            return Err(SpikeError::Aspect { path, spike, frame: size }.into());
        }
        Ok(Self { path, source, given, taken: 0, size, align })
    }

    /// Frames that there are channels for; `None` if times go on for ever.
    pub(super) fn given(&self) -> Option<u64> {
        self.given
    }

    /// Whether there are pictures for so many frames, as far as is known beforehand; whether there
    /// are more, if `all` frames are restored.
    pub(super) fn expect(&self, frames: u64, all: bool) -> Result<(), RestoreError> {
        let path = self.path.clone();
        match (self.given, &self.source) {
            (Some(given), _) if given < frames => Err(SpikeError::TooFew { path, given }.into()),
            (Some(given), _) if given > frames && all => {
                Err(SpikeError::TooMany { path, given, frames }.into())
            }
            (_, Source::Long(stream)) => stream.reaches(frames),
            _ => Ok(()),
        }
    }

    /// The channels of the next frame, in the size of the frames.
    pub(super) fn next(&mut self) -> Result<Vec<Frame>, RestoreError> {
        let found = match &mut self.source {
            Source::Images(source) => source.next_frame()?.map(|image| vec![image.frame]),
            Source::Streams(streams) => streams.next()?,
            Source::Long(stream) => stream.next()?,
        };
        let Some(pictures) = found else {
            let (path, given) = (self.path.clone(), self.taken);
            return Err(SpikeError::TooFew { path, given }.into());
        };
        self.taken += 1;
        let (align, size) = (self.align.as_ref(), self.size);
        let placed = pictures.into_iter().map(|it| place_grey(it, align, size));
        Ok(placed.collect::<Result<_, _>>().map_err(SpikeError::from)?)
    }

    /// The video is over: so must be what belongs to it.
    pub(super) fn finish(&self) -> Result<(), RestoreError> {
        match self.source {
            // A camera may go on when the other one has stopped.
            Source::Long(_) => Ok(()),
            _ => self.expect(self.taken, true),
        }
    }
}
