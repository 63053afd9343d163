mod failures;
mod original;

use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::ffmpeg::testing::{entries, folder, read_all, shown_at};
use crate::{
    ColorDescription, FfmpegSource, Frame, FrameSource, Matrix, Primaries, Range, Transfer,
};

const TENTH: Ratio = Ratio { numerator: 10, denominator: 1 };

fn info(width: usize, height: usize) -> StreamInfo {
    StreamInfo {
        width,
        height,
        frame_rate: Some(FrameRate::Constant(TENTH)),
        frames: None,
        sample_aspect: None,
        color: ColorDescription::default(),
        bit_depth: 8,
    }
}

/// A smooth picture that moves.
fn picture(width: usize, height: usize, index: usize) -> Frame {
    let samples = (0..width * height).flat_map(|place| {
        let (x, y) = ((place % width) as f32, (place / width) as f32);
        let t = index as f32;
        [(x + t) / 9.0, (y - t) / 7.0, (x + y) / 11.0].map(|phase| 0.5 + 0.4 * phase.sin())
    });
    Frame::new(width, height, 3, samples.collect())
}

fn timed(frame: Frame, seconds: Option<f64>) -> TimedFrame {
    TimedFrame { frame, seconds, name: None }
}

fn sink(path: &Path, info: &StreamInfo, options: &SinkOptions) -> Box<FfmpegSink> {
    Box::new(FfmpegSink::create(path, info, options).unwrap())
}

/// Writes `count` moving pictures and finishes the file.
fn write(path: &Path, info: &StreamInfo, options: &SinkOptions, count: usize) -> Written {
    let mut sink = sink(path, info, options);
    for index in 0..count {
        sink.write(&timed(picture(info.width, info.height, index), None)).unwrap();
    }
    sink.finish().unwrap()
}

fn read(path: &Path) -> (StreamInfo, Vec<TimedFrame>) {
    let mut source = FfmpegSource::open(path, None, &Programs::default()).unwrap();
    let info = source.info().clone();
    (info, read_all(&mut source).unwrap())
}

fn psnr(a: &Frame, b: &Frame) -> f64 {
    let pairs = a.samples().iter().zip(b.samples());
    let sum: f64 = pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum();
    10.0 * (a.samples().len() as f64 / sum).log10()
}

fn assert_alike(frames: &[TimedFrame], least: f64, what: &str) {
    for (index, frame) in frames.iter().enumerate() {
        let frame = &frame.frame;
        let expected = picture(frame.width(), frame.height(), index);
        let got = psnr(frame, &expected);
        assert!(got > least, "{what}, frame {index}: {got} dB");
    }
}

fn names(dir: &TempDir) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn every_kind_of_file_comes_back() {
    let Some(dir) = folder() else { return };
    for name in ["a.mp4", "a.mov", "a.mkv", "a.webm", "a.avi", "a.ts", "a.nut", "a.flv"] {
        let path = dir.path().join(name);
        let written = write(&path, &info(64, 48), &SinkOptions::default(), 10);
        assert_eq!((written.path.as_ref(), written.frames), (Some(&path), 10));
        assert_eq!(written.warnings, Vec::<String>::new(), "{name}");
        let (info, frames) = read(&path);
        assert_eq!(info.frame_rate, Some(FrameRate::Constant(TENTH)), "{name}");
        assert_eq!(frames.len(), 10, "{name}");
        assert_alike(&frames, 36.0, name);
    }
    assert_eq!(names(&dir).len(), 8, "nothing but the files is left: {:?}", names(&dir));
}

#[test]
fn odd_sizes_are_kept() {
    let Some(dir) = folder() else { return };
    let combinations =
        [("a.mp4", 8, 63, 47), ("b.mp4", 8, 64, 47), ("a.mkv", 10, 17, 32), ("a.webm", 8, 63, 47)];
    for (name, bit_depth, width, height) in combinations {
        let path = dir.path().join(name);
        let info = StreamInfo { bit_depth, ..info(width, height) };
        write(&path, &info, &SinkOptions::default(), 3);
        let (got, frames) = read(&path);
        assert_eq!((got.width, got.height, frames.len()), (width, height, 3), "{name}");
        assert_alike(&frames, 34.0, name);
    }
}

#[test]
fn rates_are_exact() {
    let Some(dir) = folder() else { return };
    for (numerator, denominator) in [(30000, 1001), (24000, 1001), (50, 1), (60000, 1001)] {
        let rate = FrameRate::Constant(Ratio { numerator, denominator });
        let info = StreamInfo { frame_rate: Some(rate), ..info(32, 32) };
        let path = dir.path().join(format!("{numerator}.mp4"));
        write(&path, &info, &SinkOptions::default(), 30);
        assert_eq!(read(&path).0.frame_rate, Some(rate));
        let step = f64::from(denominator) / f64::from(numerator);
        let times = shown_at(&path);
        assert_eq!(times.len(), 30);
        for (index, time) in times.into_iter().enumerate() {
            assert!((time - index as f64 * step).abs() < 2e-6, "{rate:?} frame {index}: {time}");
        }
    }
}

#[test]
fn uneven_times_are_kept_within_a_millisecond() {
    let Some(dir) = folder() else { return };
    // An irregular walk of 600 frames, 5 to 90 ms apart.
    let mut times = vec![0.0];
    for index in 1..600u32 {
        let step = 0.005 + f64::from(index * index * 7919 % 86) / 1000.0;
        times.push(times[index as usize - 1] + step);
    }
    let rate = FrameRate::Variable(Ratio { numerator: 21, denominator: 1 });
    for (name, bit_depth) in [("a.mp4", 8), ("b.mp4", 10), ("a.mkv", 8)] {
        let info = StreamInfo { frame_rate: Some(rate), bit_depth, ..info(16, 16) };
        let path = dir.path().join(name);
        let mut sink = sink(&path, &info, &SinkOptions::default());
        for (index, &time) in times.iter().enumerate() {
            sink.write(&timed(picture(16, 16, index), Some(time))).unwrap();
        }
        sink.finish().unwrap();
        let shown = shown_at(&path);
        assert_eq!(shown.len(), times.len(), "{name}");
        for (index, (got, expected)) in shown.iter().zip(&times).enumerate() {
            assert!((got - expected).abs() <= 1e-3, "{name} frame {index}: {got}, not {expected}");
        }
        let level = entries("-select_streams v:0 -show_entries stream=level", &path);
        let level: i32 = level[0].parse().unwrap();
        assert!(level <= 30, "{name}: planned for a wrong rate, level {level}");
    }
}

#[test]
fn avi_says_that_it_keeps_no_times() {
    let Some(dir) = folder() else { return };
    let info = StreamInfo { frame_rate: Some(FrameRate::Variable(TENTH)), ..info(16, 16) };
    let written = write(&dir.path().join("a.avi"), &info, &SinkOptions::default(), 5);
    assert!(written.warnings[0].contains("average rate"), "{:?}", written.warnings);
}

#[test]
fn deep_sources_become_ten_bits() {
    let Some(dir) = folder() else { return };
    let path = dir.path().join("deep.mp4");
    let info = StreamInfo { bit_depth: 12, ..info(64, 48) };
    write(&path, &info, &SinkOptions::default(), 5);
    let stream = entries("-show_entries stream=codec_name,codec_tag_string,pix_fmt", &path);
    assert_eq!(stream, ["hevc,hvc1,yuv420p10le"]);
    assert_alike(&read(&path).1, 38.0, "deep");
}

#[test]
fn deep_sources_become_eight_bits_where_a_file_takes_no_more() {
    let Some(dir) = folder() else { return };
    for name in ["a.m4v", "a.3gp", "a.avi"] {
        let path = dir.path().join(name);
        let info = StreamInfo { bit_depth: 10, ..info(64, 48) };
        let written = write(&path, &info, &SinkOptions::default(), 5);
        let stream = entries("-show_entries stream=codec_name,pix_fmt", &path);
        assert_eq!(stream, ["h264,yuv420p"], "{name}");
        assert!(written.warnings[0].contains("8 bits"), "{:?}", written.warnings);
    }
}

#[test]
fn colours_are_tagged_and_kept() {
    let Some(dir) = folder() else { return };
    let combinations = [
        ("a.mp4", 8, Matrix::Bt601, Range::Limited, "bt470bg", "bt709"),
        ("b.mp4", 10, Matrix::Bt601, Range::Full, "smpte170m", "smpte170m"),
        ("a.mkv", 8, Matrix::Bt709, Range::Limited, "bt709", "iec61966-2-1"),
        ("c.mp4", 8, Matrix::Bt709, Range::Full, "bt709", "bt709"),
        ("b.mkv", 10, Matrix::Bt2020, Range::Limited, "bt2020", "bt2020-10"),
        ("a.webm", 8, Matrix::Bt601, Range::Limited, "smpte170m", "smpte170m"),
    ];
    for (name, bit_depth, matrix, range, primaries, transfer) in combinations {
        let color = ColorDescription {
            matrix: Some(matrix),
            range: Some(range),
            primaries: Some(Primaries(primaries.to_owned())),
            transfer: Some(Transfer::Sdr(transfer.to_owned())),
        };
        let info = StreamInfo { color: color.clone(), bit_depth, ..info(64, 48) };
        let path = dir.path().join(name);
        write(&path, &info, &SinkOptions::default(), 3);
        let (got, frames) = read(&path);
        assert_eq!(got.color, color, "{name}");
        assert_alike(&frames, 34.0, name);
    }
}

#[test]
fn unstated_colours_are_stated_by_what_was_used() {
    let Some(dir) = folder() else { return };
    let path = dir.path().join("a.mp4");
    write(&path, &info(64, 48), &SinkOptions::default(), 2);
    let color = read(&path).0.color;
    assert_eq!((color.matrix, color.range), (Some(Matrix::Bt601), Some(Range::Limited)));
    assert_eq!((color.primaries, color.transfer), (None, None));
}

#[test]
fn the_shape_of_pixels_is_kept() {
    let Some(dir) = folder() else { return };
    let aspect = Some(Ratio { numerator: 64, denominator: 45 });
    for name in ["a.mp4", "a.mkv"] {
        let info = StreamInfo { sample_aspect: aspect, ..info(64, 48) };
        let path = dir.path().join(name);
        write(&path, &info, &SinkOptions::default(), 2);
        assert_eq!(read(&path).0.sample_aspect, aspect, "{name}");
    }
}

#[test]
fn own_arguments_can_be_lossless() {
    let Some(dir) = folder() else { return };
    for (format, bound) in [("gbrp16le", 0.51), ("yuv444p16le", 2.0), ("rgb24", 130.0)] {
        let codec_arguments =
            Some(["-c:v", "ffv1", "-pix_fmt", format].map(str::to_owned).to_vec());
        let codec_arguments = if format == "rgb24" {
            Some(["-c:v", "png", "-pix_fmt", format].map(str::to_owned).to_vec())
        } else {
            codec_arguments
        };
        let options = SinkOptions { codec_arguments, ..SinkOptions::default() };
        let path = dir.path().join(format!("{format}.mkv"));
        write(&path, &info(64, 48), &options, 3);
        for (index, frame) in read(&path).1.iter().enumerate() {
            let expected = picture(64, 48, index);
            for (a, b) in frame.frame.samples().iter().zip(expected.samples()) {
                assert!((a - b).abs() * 65535.0 <= bound, "{format} frame {index}: {a} {b}");
            }
        }
    }
}
