//! Streams of spikes as channels of frames.

use std::ops::Range;
use std::path::{Path, PathBuf};

use vrt_spike::SpikeStream;
use vrt_video::Frame;

use super::super::error::{RestoreError, SpikeError};
use super::{Clock, SpikeInput};

/// Endings of streams.
const ENDINGS: [&str; 3] = ["dat", "npy", "npz"];

/// Longest file of times.
const MAX_TIMES: u64 = 1 << 26;

/// The streams in a folder, in the natural order of their names.
pub(super) fn list(folder: &Path) -> Result<Vec<PathBuf>, RestoreError> {
    Ok(vrt_video::list_files(folder, &ENDINGS)?)
}

/// One stream a frame.
pub(super) struct Streams {
    input: SpikeInput,
    channels: usize,
    paths: std::vec::IntoIter<PathBuf>,
    size: (usize, usize),
}

impl Streams {
    /// Opens every stream once, so that one that is broken, short or misnumbered at the end does not
    /// cost the work before it.
    pub(super) fn open(
        input: &SpikeInput,
        paths: Vec<PathBuf>,
        channels: usize,
    ) -> Result<Self, RestoreError> {
        let mut first: Option<(usize, usize, u64)> = None;
        for path in &paths {
            let stream = SpikeStream::find(path, &input.stated)?;
            let g = stream.geometry();
            let found = (g.width(), g.height(), stream.frames());
            let expected = *first.get_or_insert(found);
            if found != expected {
                let (path, first) = (path.clone(), paths[0].clone());
                return Err(SpikeError::Differs { path, found, first, expected }.into());
            }
        }
        misnumbered(&paths)?;
        let (width, height, frames) = first.unwrap_or_default();
        if channels as u64 > frames {
            let path = input.path.clone();
            return Err(SpikeError::Channels { path, channels }.into());
        }
        let size = (width, height);
        Ok(Self { input: input.clone(), channels, paths: paths.into_iter(), size })
    }

    pub(super) fn size(&self) -> (usize, usize) {
        self.size
    }

    /// How many there are.
    pub(super) fn given(&self) -> u64 {
        self.paths.len() as u64
    }

    pub(super) fn next(&mut self) -> Result<Option<Vec<Frame>>, RestoreError> {
        let Some(path) = self.paths.next() else { return Ok(None) };
        let SpikeInput { stated, method, ceiling, .. } = &self.input;
        let mut stream = SpikeStream::find(&path, stated)?;
        let pictures = stream.channels(self.channels, *method, *ceiling)?;
        Ok(Some(pictures.into_iter().map(Frame::from).collect()))
    }
}

/// Numbers at the ends of names go up by one step throughout.
fn misnumbered(paths: &[PathBuf]) -> Result<(), SpikeError> {
    let number = |path: &PathBuf| {
        let stem = path.file_stem()?.to_str()?;
        stem[stem.trim_end_matches(|c: char| c.is_ascii_digit()).len()..].parse::<u64>().ok()
    };
    let numbers: Option<Vec<u64>> = paths.iter().map(number).collect();
    let Some(numbers) = numbers else { return Ok(()) };
    let steps = numbers.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]));
    let usual = steps.clone().next().unwrap_or(1);
    match steps.clone().position(|step| step != usual) {
        None => Ok(()),
        Some(at) => {
            let (before, path) = (paths[at].clone(), paths[at + 1].clone());
            Err(SpikeError::Number { before, path, step: usual })
        }
    }
}

/// One stream of all frames.
pub(super) struct LongStream {
    stream: SpikeStream,
    input: SpikeInput,
    times: Times,
    channels: usize,
    /// Frames that several channels are parts of.
    window: Option<f64>,
    taken: u64,
}

enum Times {
    Steady { first: f64, step: f64 },
    Listed(Vec<f64>),
}

impl Times {
    /// The frame of the stream at which a frame of video was taken, in the middle of its exposure.
    fn of(&self, frame: u64) -> Option<f64> {
        match self {
            Self::Steady { first, step } => Some(first + step * frame as f64),
            Self::Listed(times) => times.get(usize::try_from(frame).ok()?).copied(),
        }
    }
}

impl LongStream {
    /// So many channels of the stream at `input.path`.
    pub(super) fn open(input: &SpikeInput, channels: usize) -> Result<Self, RestoreError> {
        let path = &input.path;
        let Some(clock) = &input.clock else {
            return Err(SpikeError::NoClock { path: path.clone() }.into());
        };
        let window = window(input, channels)?;
        let times = match clock {
            Clock::Steady { first, step } => {
                // Frame n of the stream lasts from n to n + 1.
                let begins = window.map_or(0.0, |window| (window - 1.0) / 2.0);
                Times::Steady { first: first.unwrap_or(begins), step: *step }
            }
            Clock::File(path) => Times::Listed(listed(path)?),
        };
        let stream = SpikeStream::find(path, &input.stated)?;
        Ok(Self { stream, input: input.clone(), times, channels, window, taken: 0 })
    }

    pub(super) fn size(&self) -> (usize, usize) {
        let g = self.stream.geometry();
        (g.width(), g.height())
    }

    /// Frames that there are times for; `None` if these go on for ever.
    pub(super) fn given(&self) -> Option<u64> {
        match &self.times {
            Times::Steady { .. } => None,
            Times::Listed(times) => Some(times.len() as u64),
        }
    }

    /// Whether the stream goes on until the last of so many frames.
    pub(super) fn reaches(&self, frames: u64) -> Result<(), RestoreError> {
        (0..frames).try_for_each(|frame| self.at(frame).map(drop))
    }

    /// The frame of the stream that belongs to a frame of video.
    fn at(&self, frame: u64) -> Result<Option<u64>, RestoreError> {
        let Some(time) = self.times.of(frame) else { return Ok(None) };
        let frames = self.stream.frames();
        if !(time >= 0.0 && time < frames as f64) {
            let path = self.input.path.clone();
            return Err(SpikeError::Outside { path, frame, time, frames }.into());
        }
        let at = time as u64;
        match self.window {
            Some(window) if !self.parts(at, window).all(|part| part.is_there()) => {
                let path = self.input.path.clone();
                Err(SpikeError::Edge { path, frame, time, window, frames }.into())
            }
            _ => Ok(Some(at)),
        }
    }

    /// The parts of the window around a frame of the stream.
    fn parts(&self, at: u64, window: f64) -> impl Iterator<Item = Part> + use<> {
        let (parts, frames) = (self.channels, self.stream.frames());
        // Frame n of the stream lasts from n to n + 1.
        let start = at as f64 + 0.5 - window / 2.0;
        let edge = move |part: usize| (start + window * part as f64 / parts as f64 + 0.5).floor();
        let within = move |edge: f64| (edge.max(0.0) as u64).min(frames);
        (0..parts).map(move |part| {
            let [from, to] = [part, part + 1].map(edge);
            Part { frames: within(from)..within(to), of: to - from }
        })
    }

    pub(super) fn next(&mut self) -> Result<Option<Vec<Frame>>, RestoreError> {
        let Some(at) = self.at(self.taken)? else { return Ok(None) };
        self.taken += 1;
        let SpikeInput { method, ceiling, .. } = self.input;
        let Some(window) = self.window else {
            return Ok(Some(vec![self.stream.intensity(method, at, ceiling)?.into()]));
        };
        let parts = self.parts(at, window);
        let pictures = parts.map(|part| Ok(self.stream.mean_of(part.frames, ceiling)?.into()));
        Ok(Some(pictures.collect::<Result<_, RestoreError>>()?))
    }
}

/// A part of a window, which keeps its time, whatever of it lies beyond the stream: the network goes
/// by times.
struct Part {
    /// What the stream has of it.
    frames: Range<u64>,
    /// Frames of the whole part.
    of: f64,
}

impl Part {
    /// Whether half of it is there: less is mostly noise.
    fn is_there(&self) -> bool {
        !self.frames.is_empty() && 2.0 * (self.frames.end - self.frames.start) as f64 >= self.of
    }
}

/// Frames that so many channels are parts of, where there is a clock; `None` for one.
fn window(input: &SpikeInput, channels: usize) -> Result<Option<f64>, SpikeError> {
    let path = input.path.clone();
    let window = match (input.window, &input.clock) {
        (None, _) if channels == 1 => return Ok(None),
        (Some(_), _) if channels == 1 => return Err(SpikeError::IdleWindow { path }),
        (Some(window), _) => window as f64,
        (None, Some(Clock::Steady { step, .. })) => *step,
        (None, _) => return Err(SpikeError::NoWindow { path, channels }),
    };
    if window < channels as f64 {
        return Err(SpikeError::Window { path, channels, window });
    }
    Ok(Some(window))
}

/// The times in a file.
fn listed(path: &Path) -> Result<Vec<f64>, SpikeError> {
    let bad = |line, text: String| SpikeError::Times { path: path.to_path_buf(), line, text };
    let io = |source| SpikeError::ReadTimes { path: path.to_path_buf(), source };
    let len = std::fs::metadata(path).map_err(io)?.len();
    if len > MAX_TIMES {
        return Err(bad(0, format!("{len} bytes are too many for it")));
    }
    let text = std::fs::read_to_string(path).map_err(io)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let times = lines.map(|(at, line)| {
        let time = line.trim().parse().ok().filter(|time: &f64| time.is_finite());
        time.ok_or_else(|| bad(at + 1, format!("{:?} is no number", line.trim())))
    });
    times.collect()
}
