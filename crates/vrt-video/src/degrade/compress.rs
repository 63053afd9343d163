//! Compression: frames encoded as video and decoded again.

use tempfile::TempDir;

use crate::{
    FfmpegSink, FfmpegSource, Frame, FrameSink, FrameSource, Programs, SinkOptions, StreamInfo,
    TimedFrame, VideoError,
};

/// The greatest constant rate factor of H.264.
pub(crate) const MAX_CRF: u8 = 51;

/// Frames that went through an encoder. The file is removed when this is dropped.
#[derive(Debug)]
pub struct Compressed {
    source: FfmpegSource,
    info: StreamInfo,
    /// Names of the frames that were encoded, in order.
    names: std::vec::IntoIter<Option<String>>,
    // Behind the source, so that the decoder ends before its file goes.
    _folder: TempDir,
}

/// Encodes all frames of `source` as H.264 at the constant rate factor `crf` (0 … 51, the higher
/// the worse), 4:2:0 of 8 bits, and opens the result.
///
/// Frames and their order stay, and so do their names and sizes: an odd side is encoded with its last
/// pixels twice. Memory does not depend on the clip's length;
/// the encoded file lies in the system's folder for temporary files.
///
/// # Errors
///
/// Says which frame cannot be read, that ffmpeg is not installed, or what it says.
pub fn compress(
    source: &mut dyn FrameSource,
    crf: u8,
    programs: &Programs,
) -> Result<Compressed, VideoError> {
    compress_on(source, crf, None, programs)
}

/// [`compress`], with the encoder's number of threads, on which its choices depend, where it is
/// stated.
pub(crate) fn compress_on(
    source: &mut dyn FrameSource,
    crf: u8,
    threads: Option<usize>,
    programs: &Programs,
) -> Result<Compressed, VideoError> {
    let folder = tempfile::Builder::new()
        .prefix("vrt-")
        .tempdir()
        .map_err(|source| VideoError::Create { path: std::env::temp_dir(), source })?;
    let path = folder.path().join("clip.mp4");
    let crf = crf.min(MAX_CRF).to_string();
    let codec = ["-c:v", "libx264", "-crf", &crf, "-pix_fmt", "yuv420p"].map(str::to_owned);
    let threads = threads.into_iter().flat_map(|count| ["-threads".to_owned(), count.to_string()]);
    let options = SinkOptions {
        codec_arguments: Some(codec.into_iter().chain(threads).collect()),
        programs: programs.clone(),
        ..SinkOptions::default()
    };
    let info = source.info().clone();
    let size = (info.width, info.height);
    let even = (size.0.next_multiple_of(2), size.1.next_multiple_of(2));
    let info = StreamInfo { width: even.0, height: even.1, ..info };
    let mut sink = Box::new(FfmpegSink::create(&path, &info, &options)?);
    let mut names = Vec::new();
    while let Some(frame) = source.next_frame()? {
        names.push(frame.name);
        sink.write(&TimedFrame { frame: fitted(frame.frame, even), seconds: None, name: None })?;
    }
    sink.finish()?;
    let source = FfmpegSource::open(&path, None, programs)?;
    let info = StreamInfo { width: size.0, height: size.1, ..source.info().clone() };
    Ok(Compressed { source, info, names: names.into_iter(), _folder: folder })
}

/// `frame` with columns and rows left out behind, or its last ones repeated, until it has `size`.
fn fitted(frame: Frame, (width, height): (usize, usize)) -> Frame {
    let (from_width, from_height) = (frame.width(), frame.height());
    if (width, height) == (from_width, from_height) {
        return frame;
    }
    let channels = frame.channels();
    let mut samples = Vec::with_capacity(width * height * channels);
    for y in 0..height {
        for x in 0..width {
            let at = y.min(from_height - 1) * from_width + x.min(from_width - 1);
            samples.extend_from_slice(&frame.samples()[at * channels..][..channels]);
        }
    }
    Frame::new(width, height, channels, samples)
}

impl FrameSource for Compressed {
    fn info(&self) -> &StreamInfo {
        &self.info
    }

    fn next_frame(&mut self) -> Result<Option<TimedFrame>, VideoError> {
        let Some(frame) = self.source.next_frame()? else { return Ok(None) };
        let name = self.names.next().flatten();
        let frame = fitted(frame.frame, (self.info.width, self.info.height));
        Ok(Some(TimedFrame { frame, seconds: None, name }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffmpeg::testing::{folder, no_programs, read_all};
    use crate::{BitDepth, FolderSink, FolderSinkOptions, FolderSource, PictureChannels, psnr};

    /// Five frames of waves that move, of odd size.
    fn clip(folder: &std::path::Path, side: usize) -> Vec<Frame> {
        let options = FolderSinkOptions { bit_depth: BitDepth::Eight, overwrite: false };
        let mut sink = Box::new(FolderSink::create(folder, options).unwrap());
        let frames: Vec<Frame> = (0..5)
            .map(|time| {
                let samples = (0..side * side).flat_map(|at| {
                    let (x, y) = ((at % side + 2 * time) as f32, (at / side) as f32);
                    let wave = 0.5 + 0.3 * (x * 0.7).sin() * (y * 0.4).cos();
                    let code = (wave * 255.0).round() / 255.0;
                    [code, code, code]
                });
                Frame::new(side, side, 3, samples.collect())
            })
            .collect();
        for (at, frame) in frames.iter().enumerate() {
            let name = Some(format!("{:05}", at + 7));
            sink.write(&TimedFrame { frame: frame.clone(), seconds: None, name }).unwrap();
        }
        sink.finish().unwrap();
        frames
    }

    #[test]
    fn frames_come_back_worse_by_the_factor() {
        let Some(dir) = folder() else { return };
        for side in [64, 51] {
            let path = dir.path().join(side.to_string());
            let frames = clip(&path, side);
            let quality = |crf| {
                let mut source = FolderSource::open(&path, PictureChannels::Rgb).unwrap();
                let mut compressed = compress(&mut source, crf, &Programs::default()).unwrap();
                let found = read_all(&mut compressed).unwrap();
                assert_eq!(found.len(), frames.len());
                let names: Vec<_> = found.iter().filter_map(|frame| frame.name.clone()).collect();
                assert_eq!(names, ["00007", "00008", "00009", "00010", "00011"]);
                let scores = found.iter().zip(&frames).map(|(a, b)| psnr(&a.frame, b).unwrap());
                scores.sum::<f64>() / frames.len() as f64
            };
            let (good, bad) = (quality(10), quality(45));
            assert!(good > 34.0, "{side}: {good}");
            assert!(bad < good - 6.0, "{side}: {bad} {good}");
        }
    }

    #[test]
    fn without_ffmpeg_there_is_advice() {
        let dir = tempfile::tempdir().unwrap();
        clip(dir.path(), 16);
        let mut source = FolderSource::open(dir.path(), PictureChannels::Rgb).unwrap();
        let error = compress(&mut source, 23, &no_programs()).unwrap_err();
        assert!(error.to_string().contains("ffmpeg"), "{error}");
    }
}
