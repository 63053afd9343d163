//! A YUV4MPEG2 stream as the place where frames go.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::error::shape_of;
use crate::picture::partial_name;
use crate::sink::partial_names;
use crate::y4m::{Axis, Plane, shrink};
use crate::ycbcr::Codes;
use crate::{
    Frame, FrameRate, FrameSink, Matrix, Range, Ratio, StreamInfo, TimedFrame, VideoError, Written,
};

/// The rate that is written where the source has none (a folder of pictures).
const DEFAULT_RATE: Ratio = Ratio { numerator: 25, denominator: 1 };

/// Chroma planes of a written stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Y4mChroma {
    /// Half the columns and rows, chroma at the left (`420mpeg2`): what every player takes.
    #[default]
    Half,
    /// As many as luma (`444`).
    Full,
}

/// Bits per sample of a written stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Y4mDepth {
    /// One byte a sample.
    Eight,
    /// Encoders and players take it, and gradients do not band.
    #[default]
    Ten,
    /// For material that is graded.
    Twelve,
    /// For exact exchange; encoders mostly do not take it.
    Sixteen,
}

impl Y4mDepth {
    fn bits(self) -> u8 {
        match self {
            Self::Eight => 8,
            Self::Ten => 10,
            Self::Twelve => 12,
            Self::Sixteen => 16,
        }
    }
}

/// How a YUV4MPEG2 stream is written; the default is `420p10`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Y4mSinkOptions {
    /// Of the chroma planes.
    pub chroma: Y4mChroma,
    /// Of every sample.
    pub depth: Y4mDepth,
    /// A file of the same name may be replaced.
    pub overwrite: bool,
}

/// Writes a YUV4MPEG2 stream to a file, standard output, or any other writer.
///
/// The range is that of the stream's description, else limited. The format has no place for a
/// matrix, so the one that readers take is written, whatever the description says: BT.709 above 576
/// rows, else BT.601. It has one frame rate: of a variable one the average is written and a warning
/// returned.
#[derive(Debug)]
pub struct Y4mSink<W: Write> {
    writer: BufWriter<W>,
    target: Target,
    size: (usize, usize),
    options: Y4mSinkOptions,
    codes: Codes,
    bytes: Vec<u8>,
    frames: u64,
    warnings: Vec<String>,
}

/// Where the stream's bytes are, and where they go when it is whole.
#[derive(Clone, Debug)]
struct Target {
    /// What errors call it.
    path: PathBuf,
    is_file: bool,
    /// Written under this name so far, because `path` is a file that is to be replaced.
    partial: Option<PathBuf>,
}

impl Y4mSink<File> {
    /// Begins the file `path`.
    ///
    /// A new file grows in place: whatever happens, the frames in it are whole up to the last one.
    /// A file that is replaced stays until [`FrameSink::finish`]; if a frame cannot be written, those
    /// before it are left as `NAME.partial.y4m`, which the error states.
    ///
    /// # Errors
    ///
    /// Says that the file exists and may not be overwritten, or that it cannot be written.
    pub fn create(
        path: &Path,
        info: &StreamInfo,
        options: Y4mSinkOptions,
    ) -> Result<Self, VideoError> {
        let failed = |source| VideoError::Create { path: path.to_path_buf(), source };
        let mut target = Target { path: path.to_path_buf(), is_file: true, partial: None };
        let mut open = OpenOptions::new();
        open.write(true);
        let file = match std::fs::metadata(path) {
            // A named pipe or a device is no work that could be lost.
            Ok(there) if !there.is_file() => open.open(path),
            Ok(_) if !options.overwrite => {
                return Err(VideoError::Exists { path: path.to_path_buf() });
            }
            Ok(_) => {
                let partial = partial_name(path);
                let file = open.create(true).truncate(true).open(&partial);
                target.partial = Some(partial);
                file
            }
            Err(_) => open.create_new(true).open(path),
        };
        Self::begin(file.map_err(failed)?, target, info, options)
    }
}

impl<W: Write> Y4mSink<W> {
    /// Begins a stream on `writer`, for example standard output; `path` is what errors call it.
    ///
    /// # Errors
    ///
    /// Says that the first line cannot be written.
    pub fn new(
        writer: W,
        path: &Path,
        info: &StreamInfo,
        options: Y4mSinkOptions,
    ) -> Result<Self, VideoError> {
        let target = Target { path: path.to_path_buf(), is_file: false, partial: None };
        Self::begin(writer, target, info, options)
    }

    fn begin(
        writer: W,
        target: Target,
        info: &StreamInfo,
        options: Y4mSinkOptions,
    ) -> Result<Self, VideoError> {
        let range = info.color.range.unwrap_or(Range::Limited);
        let codes = Codes::new(Matrix::for_height(info.height), range, options.depth.bits());
        let mut warnings = Vec::new();
        let rate = match info.frame_rate {
            None => DEFAULT_RATE,
            Some(FrameRate::Constant(rate)) => rate,
            Some(FrameRate::Variable(rate)) => {
                warnings.push(format!(
                    "YUV4MPEG2 has one frame rate: the times of frames were not kept, the average \
                     of {}/{} frames per second was written",
                    rate.numerator, rate.denominator
                ));
                rate
            }
        };
        let size = (info.width, info.height);
        let mut writer = BufWriter::new(writer);
        writer
            .write_all(head(info, rate, range, options).as_bytes())
            .map_err(|source| VideoError::Create { path: target.path.clone(), source })?;
        Ok(Self { writer, target, size, options, codes, bytes: Vec::new(), frames: 0, warnings })
    }

    fn axes(&self) -> (Axis, Axis) {
        match self.options.chroma {
            Y4mChroma::Half => (Axis::HalfFirst, Axis::HalfMiddle),
            Y4mChroma::Full => (Axis::Full, Axis::Full),
        }
    }

    fn write_failed(&mut self, source: io::Error) -> VideoError {
        self.target.keep_partial();
        VideoError::Write { path: self.target.path.clone(), frame: self.frames, source }
    }

    /// Fills `bytes` with the frame's planes.
    fn encode(&mut self, frame: &Frame) {
        let (width, height) = self.size;
        let codes = self.codes;
        let pixels = frame.samples().par_chunks_exact(frame.channels()).with_min_len(width);
        let ycbcr: Vec<[f32; 3]> = pixels
            .map(|pixel| match pixel {
                [red, green, blue] => codes.to_codes([*red, *green, *blue]),
                _ => codes.to_codes([pixel[0]; 3]),
            })
            .collect();
        self.bytes.clear();
        for index in 0..3 {
            let samples = ycbcr.iter().map(|pixel| pixel[index]).collect();
            let plane = Plane { width, height, samples };
            let plane = if index == 0 { plane } else { shrink(plane, self.axes()) };
            self.put(&plane.samples);
        }
    }

    fn put(&mut self, samples: &[f32]) {
        if self.options.depth == Y4mDepth::Eight {
            self.bytes.extend(samples.iter().map(|&code| whole_code(code, 255.0) as u8));
        } else {
            let top = f32::from(u16::MAX >> (16 - self.options.depth.bits()));
            let words = samples.iter().map(|&code| whole_code(code, top));
            self.bytes.extend(words.flat_map(u16::to_le_bytes));
        }
    }
}

impl<W: Write + Send> FrameSink for Y4mSink<W> {
    fn write(&mut self, frame: &TimedFrame) -> Result<(), VideoError> {
        let frame = &frame.frame;
        let fits = (frame.width(), frame.height()) == self.size;
        if !fits || !matches!(frame.channels(), 1 | 3) {
            return Err(VideoError::FrameShape {
                path: self.target.path.clone(),
                frame: self.frames,
                got: shape_of(frame),
                expected: format!("{}×{}×3 (or ×1)", self.size.0, self.size.1),
            });
        }
        self.encode(frame);
        let written = self.writer.write_all(b"FRAME\n");
        // Flushed so that a reader on the other end of a pipe has the frame, and a full disk is
        // found out at the frame that did not fit.
        let written = written.and_then(|()| self.writer.write_all(&self.bytes));
        let written = written.and_then(|()| self.writer.flush());
        written.map_err(|source| self.write_failed(source))?;
        self.frames += 1;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Written, VideoError> {
        if let Err(source) = self.writer.flush() {
            return Err(self.write_failed(source));
        }
        let Self { writer, target, frames, warnings, .. } = *self;
        drop(writer);
        if let Some(partial) = &target.partial {
            std::fs::rename(partial, &target.path)
                .map_err(|source| VideoError::Create { path: target.path.clone(), source })?;
        }
        Ok(Written { path: target.is_file.then_some(target.path), frames, warnings })
    }
}

impl Target {
    /// Gives frames that were to replace a file a visible name beside it, which is `path` then.
    fn keep_partial(&mut self) {
        let Some(partial) = self.partial.take() else {
            return;
        };
        let mut free = partial_names(&self.path).filter(|name| name.symlink_metadata().is_err());
        let kept = free.next().filter(|name| std::fs::rename(&partial, name).is_ok());
        self.path = kept.unwrap_or(partial);
    }
}

fn whole_code(code: f32, top: f32) -> u16 {
    code.round_ties_even().clamp(0.0, top) as u16
}

/// The first line.
fn head(info: &StreamInfo, rate: Ratio, range: Range, options: Y4mSinkOptions) -> String {
    let aspect = info.sample_aspect.unwrap_or(Ratio { numerator: 1, denominator: 1 });
    let colour_space = match (options.chroma, options.depth) {
        (Y4mChroma::Half, Y4mDepth::Eight) => "420mpeg2".to_owned(),
        (Y4mChroma::Full, Y4mDepth::Eight) => "444".to_owned(),
        // Older versions of ffmpeg read the depth from the second tag.
        (Y4mChroma::Half, depth) => format!("420p{0} XYSCSS=420P{0}", depth.bits()),
        (Y4mChroma::Full, depth) => format!("444p{0} XYSCSS=444P{0}", depth.bits()),
    };
    let range = match range {
        Range::Limited => "LIMITED",
        Range::Full => "FULL",
    };
    format!(
        "YUV4MPEG2 W{} H{} F{}:{} Ip A{}:{} C{colour_space} XCOLORRANGE={range}\n",
        info.width,
        info.height,
        rate.numerator,
        rate.denominator,
        aspect.numerator,
        aspect.denominator,
    )
}

#[cfg(test)]
mod tests;
