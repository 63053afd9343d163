//! A YUV4MPEG2 stream as a stream of frames.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::y4m::{Axis, Header, Plane, Sampling, stretch};
use crate::ycbcr::Codes;
use crate::{
    ColorDescription, Frame, FrameRate, FrameSource, Matrix, Range, StreamInfo, TimedFrame,
    VideoError,
};

/// Bytes that a line of the stream may have.
const MAX_LINE_BYTES: u64 = 4096;

/// The line before each frame begins with this.
const FRAME: &[u8] = b"FRAME";

/// What a YUV4MPEG2 stream does not say about its codes, or says wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Y4mOptions {
    /// Between RGB and `YCbCr`; by default BT.709 above 576 rows, else BT.601 (as for `Rgb`, which
    /// this format cannot hold).
    pub matrix: Option<Matrix>,
    /// Of the codes; by default as the stream states, else limited.
    pub range: Option<Range>,
}

/// Frames from a YUV4MPEG2 stream: a file, standard input, or any other reader.
///
/// Every size of chroma plane is brought to the picture's by bilinear interpolation, with chroma
/// where the stream's colour space says it lies.
#[derive(Debug)]
pub struct Y4mSource<R> {
    reader: BufReader<R>,
    path: PathBuf,
    info: StreamInfo,
    header: Header,
    codes: Codes,
    bytes: Vec<u8>,
    frame_bytes: usize,
    frames: u64,
    over: bool,
}

impl Y4mSource<File> {
    /// The stream in the file `path`.
    ///
    /// # Errors
    ///
    /// Says that the file cannot be read, or what is wrong with its first line.
    pub fn open(path: &Path, options: Y4mOptions) -> Result<Self, VideoError> {
        let file = File::open(path)
            .map_err(|source| VideoError::Read { path: path.to_path_buf(), source })?;
        Self::new(file, path, options)
    }
}

impl<R: Read> Y4mSource<R> {
    /// The stream that `reader` gives; `path` is what errors call it.
    ///
    /// # Errors
    ///
    /// Says that nothing can be read, or what is wrong with the first line.
    pub fn new(reader: R, path: &Path, options: Y4mOptions) -> Result<Self, VideoError> {
        let mut reader = BufReader::new(reader);
        let path = path.to_path_buf();
        let wrong = |reason| VideoError::Y4mHeader { path: path.clone(), reason };
        let line = read_line(&mut reader)
            .map_err(|source| VideoError::Read { path: path.clone(), source })?;
        let Line::Whole(line) = line else {
            return Err(wrong("its first line has no end".to_owned()));
        };
        let header = Header::parse(&String::from_utf8_lossy(&line)).map_err(wrong)?;
        let frame_bytes = header.frame_bytes().map_err(wrong)?;
        let matrix = options.matrix.filter(|matrix| *matrix != Matrix::Rgb);
        let range = options.range.or(header.range);
        let codes = Codes::new(
            matrix.unwrap_or(Matrix::for_height(header.height)),
            range.unwrap_or(Range::Limited),
            header.bit_depth,
        );
        let info = StreamInfo {
            width: header.width,
            height: header.height,
            frame_rate: header.frame_rate.map(FrameRate::Constant),
            frames: None,
            sample_aspect: header.sample_aspect.filter(|a| a.numerator != a.denominator),
            color: ColorDescription { matrix, range, ..ColorDescription::default() },
            bit_depth: header.bit_depth,
        };
        let (bytes, frames, over) = (Vec::new(), 0, false);
        Ok(Self { reader, path, info, header, codes, bytes, frame_bytes, frames, over })
    }

    fn failed(&self, reason: impl std::fmt::Display) -> VideoError {
        let (path, frame) = (self.path.clone(), self.frames);
        VideoError::Y4mFrame { path, frame, reason: reason.to_string() }
    }

    /// Fills `bytes` with the next frame; `false` behind the last one.
    fn read_frame(&mut self) -> Result<bool, VideoError> {
        match read_line(&mut self.reader) {
            Err(error) => return Err(self.failed(error)),
            Ok(Line::End) => return Ok(false),
            Ok(Line::Whole(line))
                if line.starts_with(FRAME)
                    && matches!(line.get(FRAME.len()), None | Some(b' ')) => {}
            Ok(_) => return Err(self.failed("a line that begins with FRAME was expected")),
        }
        self.bytes.clear();
        // Memory is taken as data comes, not as the head promises.
        let got = (&mut self.reader).take(self.frame_bytes as u64).read_to_end(&mut self.bytes);
        match got {
            Err(error) => Err(self.failed(error)),
            Ok(got) if got < self.frame_bytes => Err(self.failed(format!(
                "the stream ends inside a frame ({got} of {} bytes)",
                self.frame_bytes
            ))),
            Ok(_) => Ok(true),
        }
    }

    /// The plane of `width`×`height` samples that begins at sample `start`.
    fn plane(&self, start: usize, width: usize, height: usize) -> Plane {
        let area = start..start + width * height;
        let samples = if self.header.bit_depth == 8 {
            self.bytes[area].iter().map(|&code| f32::from(code)).collect()
        } else {
            let words = &self.bytes.as_chunks::<2>().0[area];
            words.iter().map(|&word| f32::from(u16::from_le_bytes(word))).collect()
        };
        Plane { width, height, samples }
    }

    fn picture(&self) -> Frame {
        let Header { width, height, sampling, .. } = self.header;
        let luma = self.plane(0, width, height).samples;
        let codes = self.codes;
        let mut samples = vec![0.0; 3 * luma.len()];
        let Some((columns, rows)) = chroma_axes(sampling) else {
            let grey = codes.chroma_zero();
            let pixels = samples.par_chunks_exact_mut(3).zip(&luma);
            pixels.for_each(|(rgb, &y)| rgb.copy_from_slice(&codes.to_rgb([y, grey, grey])));
            return Frame::new(width, height, 3, samples);
        };
        let (chroma_width, chroma_height) = (columns.len(width), rows.len(height));
        let chroma = |index: usize| {
            let start = luma.len() + index * chroma_width * chroma_height;
            let plane = self.plane(start, chroma_width, chroma_height);
            stretch(plane, (columns, rows), (width, height)).samples
        };
        let (blue, red) = (chroma(0), chroma(1));
        let pixels = samples.par_chunks_exact_mut(3).zip(&luma).zip(&blue).zip(&red);
        pixels.with_min_len(width).for_each(|(((rgb, &y), &cb), &cr)| {
            rgb.copy_from_slice(&codes.to_rgb([y, cb, cr]));
        });
        Frame::new(width, height, 3, samples)
    }

    /// Seconds from the first frame to the next one.
    fn seconds(&self) -> Option<f64> {
        let rate = self.header.frame_rate?;
        let seconds = self.frames as f64 * f64::from(rate.denominator);
        Some(seconds / f64::from(rate.numerator))
    }
}

impl<R: Read + Send> FrameSource for Y4mSource<R> {
    fn info(&self) -> &StreamInfo {
        &self.info
    }

    fn next_frame(&mut self) -> Result<Option<TimedFrame>, VideoError> {
        if self.over {
            return Ok(None);
        }
        self.over = true;
        if !self.read_frame()? {
            return Ok(None);
        }
        let frame = TimedFrame { frame: self.picture(), seconds: self.seconds(), name: None };
        self.frames += 1;
        self.over = false;
        Ok(Some(frame))
    }
}

/// How chroma is sampled; `None` where there is none.
fn chroma_axes(sampling: Sampling) -> Option<(Axis, Axis)> {
    match sampling {
        Sampling::Mono => None,
        Sampling::Color(columns, rows) => Some((columns, rows)),
        Sampling::ColorAlpha => Some((Axis::Full, Axis::Full)),
    }
}

/// What came before the end of a line, without it.
enum Line {
    /// Nothing: the stream is over.
    End,
    /// A line.
    Whole(Vec<u8>),
    /// More bytes than a line may have, or the end of the stream.
    Cut,
}

fn read_line(reader: &mut impl BufRead) -> std::io::Result<Line> {
    let mut line = Vec::new();
    reader.take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
    Ok(match line.pop() {
        None => Line::End,
        Some(b'\n') => Line::Whole(line),
        Some(_) => Line::Cut,
    })
}

#[cfg(test)]
mod tests;
