//! Streams exchanged with ffmpeg, where it is installed.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{
    ColorDescription, Frame, FrameRate, FrameSink, FrameSource, Matrix, Ratio, StreamInfo,
    TimedFrame, Y4mChroma, Y4mDepth, Y4mOptions, Y4mSink, Y4mSinkOptions, Y4mSource,
};

const WIDTH: usize = 48;
const HEIGHT: usize = 34;

/// What ffmpeg makes of `input` with these arguments; `None` where it is not installed.
fn ffmpeg(arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error"]).args(arguments);
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = spawned else {
        eprintln!("skipped: ffmpeg is not installed");
        return None;
    };
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    writer.join().unwrap().unwrap();
    Some(output.stdout)
}

/// Smooth colour, so that every way of resampling chroma gives nearly the same.
fn smooth() -> Frame {
    let value = |at: usize| {
        let (channel, x, y) = (at % 3, at / 3 % WIDTH, at / 3 / WIDTH);
        let terms = [x as f32, y as f32, (x + y) as f32 / 2.0];
        0.2 + 0.5 * terms[channel] / WIDTH as f32
    };
    Frame::new(WIDTH, HEIGHT, 3, (0..WIDTH * HEIGHT * 3).map(value).collect())
}

fn bytes(frame: &Frame) -> Vec<u8> {
    frame.samples().iter().map(|sample| (sample * 255.0).round() as u8).collect()
}

fn assert_near(actual: &[u8], expected: &[u8], label: &str) {
    assert_eq!(actual.len(), expected.len(), "{label}");
    let worst = actual.iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    // A code of rounding on either side, chroma weighted up to 2, and bicubic against bilinear.
    assert!(worst <= 4, "{label}: {worst} codes apart");
}

#[test]
fn what_ffmpeg_writes_is_read() {
    let rgb = bytes(&smooth());
    let size = format!("{WIDTH}x{HEIGHT}");
    for format in [
        "yuv420p",
        "yuv422p",
        "yuv444p",
        "yuv411p",
        "yuv420p10le",
        "yuv422p12le",
        "yuv444p14le",
        "yuv444p16le",
        "gray",
        "gray16le",
    ] {
        let input =
            ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", &size, "-r", "24000/1001", "-i", "-"];
        let output = [
            "-sws_flags",
            "accurate_rnd+full_chroma_int+bicubic",
            "-pix_fmt",
            format,
            "-strict",
            "-1",
            "-f",
            "yuv4mpegpipe",
            "-",
        ];
        let arguments = [&input[..], &output[..]].concat();
        let Some(stream) = ffmpeg(&arguments, &rgb.repeat(2)) else {
            return;
        };
        let mut source =
            Y4mSource::new(&stream[..], Path::new(format), Y4mOptions::default()).unwrap();
        let rate = Ratio { numerator: 24000, denominator: 1001 };
        assert_eq!(source.info().frame_rate, Some(FrameRate::Constant(rate)));
        for _ in 0..2 {
            let frame = source.next_frame().unwrap().unwrap().frame;
            if !format.starts_with("gray") {
                assert_near(&bytes(&frame), &rgb, format);
            }
        }
        assert!(source.next_frame().unwrap().is_none(), "{format}");
    }
}

#[test]
fn what_is_written_ffmpeg_reads() {
    let frame = smooth();
    let info = StreamInfo {
        width: WIDTH,
        height: HEIGHT,
        frame_rate: None,
        frames: None,
        sample_aspect: None,
        color: ColorDescription { matrix: Some(Matrix::Bt601), ..ColorDescription::default() },
        bit_depth: 8,
    };
    for chroma in [Y4mChroma::Half, Y4mChroma::Full] {
        for depth in [Y4mDepth::Eight, Y4mDepth::Ten, Y4mDepth::Twelve, Y4mDepth::Sixteen] {
            let label = format!("{chroma:?} {depth:?}");
            let options = Y4mSinkOptions { chroma, depth, overwrite: false };
            let mut stream = Vec::new();
            let mut sink =
                Box::new(Y4mSink::new(&mut stream, Path::new("memory"), &info, options).unwrap());
            for _ in 0..2 {
                let timed = TimedFrame { frame: frame.clone(), seconds: None, name: None };
                sink.write(&timed).unwrap();
            }
            sink.finish().unwrap();
            let flags = "accurate_rnd+full_chroma_int+full_chroma_inp+bicubic";
            let arguments =
                ["-i", "-", "-sws_flags", flags, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"];
            let Some(rgb) = ffmpeg(&arguments, &stream) else {
                return;
            };
            assert_near(&rgb, &bytes(&frame).repeat(2), &label);
        }
    }
}
