use proptest::prelude::*;
use tempfile::tempdir;

use super::*;
use crate::{ColorDescription, FrameSource, Y4mOptions, Y4mSource};

fn info(width: usize, height: usize) -> StreamInfo {
    StreamInfo {
        width,
        height,
        frame_rate: Some(FrameRate::Constant(Ratio { numerator: 30000, denominator: 1001 })),
        frames: None,
        sample_aspect: Some(Ratio { numerator: 4, denominator: 3 }),
        color: ColorDescription::default(),
        bit_depth: 8,
    }
}

fn timed(frame: Frame) -> TimedFrame {
    TimedFrame { frame, seconds: None, name: None }
}

fn written(info: &StreamInfo, options: Y4mSinkOptions, frames: &[Frame]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut sink = Box::new(Y4mSink::new(&mut bytes, Path::new("memory"), info, options).unwrap());
    for frame in frames {
        sink.write(&timed(frame.clone())).unwrap();
    }
    assert_eq!(sink.finish().unwrap().frames, frames.len() as u64);
    bytes
}

fn read(bytes: &[u8]) -> Vec<Frame> {
    let mut source = Y4mSource::new(bytes, Path::new("memory"), Y4mOptions::default()).unwrap();
    std::iter::from_fn(|| source.next_frame().unwrap()).map(|timed| timed.frame).collect()
}

fn exact(depth: Y4mDepth) -> Y4mSinkOptions {
    Y4mSinkOptions { chroma: Y4mChroma::Full, depth, overwrite: false }
}

#[test]
fn the_head_states_everything() {
    let mut info = info(3, 2);
    info.color.range = Some(Range::Full);
    let bytes = written(&info, Y4mSinkOptions::default(), &[]);
    assert_eq!(
        String::from_utf8(bytes.clone()).unwrap(),
        "YUV4MPEG2 W3 H2 F30000:1001 Ip A4:3 C420p10 XYSCSS=420P10 XCOLORRANGE=FULL\n"
    );
    let source = Y4mSource::new(&bytes[..], Path::new("memory"), Y4mOptions::default()).unwrap();
    let back = source.info();
    assert_eq!((back.width, back.height, back.bit_depth), (3, 2, 10));
    assert_eq!((back.frame_rate, back.sample_aspect), (info.frame_rate, info.sample_aspect));
    assert_eq!(back.color.range, Some(Range::Full));
}

#[test]
fn white_has_its_codes() {
    let frame = Frame::filled(2, 2, 3, 1.0);
    let eight = Y4mSinkOptions { depth: Y4mDepth::Eight, ..Y4mSinkOptions::default() };
    let bytes = written(&info(2, 2), eight, std::slice::from_ref(&frame));
    assert!(bytes.ends_with(b"FRAME\n\xeb\xeb\xeb\xeb\x80\x80"));
    let bytes = written(&info(2, 2), Y4mSinkOptions::default(), &[frame]);
    assert!(bytes.ends_with(b"FRAME\n\xac\x03\xac\x03\xac\x03\xac\x03\x00\x02\x00\x02"));
}

#[test]
fn a_variable_rate_is_averaged_with_a_warning() {
    let mut info = info(2, 2);
    info.frame_rate = Some(FrameRate::Variable(Ratio { numerator: 24, denominator: 1 }));
    let sink = Box::new(
        Y4mSink::new(Vec::new(), Path::new("m"), &info, Y4mSinkOptions::default()).unwrap(),
    );
    assert_eq!(sink.finish().unwrap().warnings.len(), 1);
}

#[test]
fn an_existing_file_is_kept_until_its_replacement_is_whole() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.y4m");
    std::fs::write(&path, "old").unwrap();
    let refused = Y4mSink::create(&path, &info(2, 2), Y4mSinkOptions::default());
    assert!(matches!(refused, Err(VideoError::Exists { .. })));

    let options = Y4mSinkOptions { overwrite: true, ..Y4mSinkOptions::default() };
    let mut sink = Box::new(Y4mSink::create(&path, &info(2, 2), options).unwrap());
    sink.write(&timed(Frame::filled(2, 2, 3, 0.5))).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    let written = sink.finish().unwrap();
    assert_eq!((written.path.as_deref(), written.frames), (Some(path.as_path()), 1));
    assert_eq!(read(&std::fs::read(&path).unwrap()).len(), 1);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_new_file_holds_whole_frames_at_any_time() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.y4m");
    let mut sink = Y4mSink::create(&path, &info(2, 2), Y4mSinkOptions::default()).unwrap();
    for frames in 1..4 {
        sink.write(&timed(Frame::filled(2, 2, 3, 0.5))).unwrap();
        assert_eq!(read(&std::fs::read(&path).unwrap()).len(), frames);
    }
}

/// A Linux device on which every write fails as on a full disk.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_with_the_frame() {
    let path = Path::new("/dev/full");
    let mut sink = Y4mSink::create(path, &info(2, 2), Y4mSinkOptions::default()).unwrap();
    let error = sink.write(&timed(Frame::filled(2, 2, 3, 0.5))).unwrap_err();
    assert!(matches!(error, VideoError::Write { frame: 0, .. }), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_replacement_that_does_not_fit_is_kept_beside_the_old_file() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.y4m");
    std::fs::write(&path, "old").unwrap();
    std::fs::write(folder.path().join("a.partial.y4m"), "other").unwrap();
    std::os::unix::fs::symlink("/dev/full", folder.path().join(".a.y4m.part")).unwrap();
    let options = Y4mSinkOptions { overwrite: true, ..Y4mSinkOptions::default() };
    let mut sink = Y4mSink::create(&path, &info(2, 2), options).unwrap();
    let kept = folder.path().join("a.partial-2.y4m");
    for _ in 0..2 {
        let error = sink.write(&timed(Frame::filled(2, 2, 3, 0.5))).unwrap_err();
        assert!(error.to_string().contains("a.partial-2.y4m"), "{error}");
        assert!(kept.symlink_metadata().is_ok());
    }
    assert!(folder.path().join(".a.y4m.part").symlink_metadata().is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    assert_eq!(std::fs::read(folder.path().join("a.partial.y4m")).unwrap(), b"other");
}

#[test]
fn a_frame_of_another_size_is_an_error() {
    let mut sink =
        Y4mSink::new(Vec::new(), Path::new("m"), &info(2, 2), Y4mSinkOptions::default()).unwrap();
    for frame in [Frame::filled(3, 2, 3, 0.5), Frame::filled(2, 2, 4, 0.5)] {
        let refused = sink.write(&timed(frame));
        assert!(matches!(refused, Err(VideoError::FrameShape { frame: 0, .. })));
    }
}

#[test]
fn smooth_colour_survives_half_chroma() {
    let (width, height) = (33, 19);
    let sample = |at: usize| {
        let (column, row) = ((at / 3) % width, at / 3 / width);
        0.2 + 0.015 * [column, row, width - column][at % 3] as f32
    };
    let frame = Frame::new(width, height, 3, (0..3 * width * height).map(sample).collect());
    let options = Y4mSinkOptions { depth: Y4mDepth::Sixteen, ..Y4mSinkOptions::default() };
    let back = &read(&written(&info(width, height), options, std::slice::from_ref(&frame)))[0];
    for (at, (sample, back)) in frame.samples().iter().zip(back.samples()).enumerate() {
        let (column, row) = ((at / 3) % width, at / 3 / width);
        let inside = (2..width - 2).contains(&column) && (2..height - 2).contains(&row);
        // A ramp of chroma is kept; at the borders its repeated edge is flat.
        let bound = if inside { 1e-4 } else { 0.03 };
        assert!((sample - back).abs() < bound, "{column},{row}: {sample} {back}");
    }
}

proptest! {
    #[test]
    fn codes_come_back_within_one(
        samples in prop::collection::vec(0f32..=1.0, 5 * 3 * 3),
        full: bool,
        matrix in prop::sample::select(vec![Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020]),
    ) {
        let mut info = info(5, 3);
        info.color.range = Some(if full { Range::Full } else { Range::Limited });
        // Readers do not learn of it, so it is not to matter.
        info.color.matrix = Some(matrix);
        let first = written(&info, exact(Y4mDepth::Sixteen), &[Frame::new(5, 3, 3, samples.clone())]);
        let options = Y4mOptions::default();
        let mut source = Y4mSource::new(&first[..], Path::new("memory"), options).unwrap();
        let frame = source.next_frame().unwrap().unwrap().frame;
        // Half a code of Y and of each C, C with a weight up to 2·(1 − 0.0593).
        for (sample, back) in samples.iter().zip(frame.samples()) {
            prop_assert!((sample - back).abs() <= 2.5 / 56064.0, "{sample} {back}");
        }
        let second = written(&info, exact(Y4mDepth::Sixteen), &[frame]);
        prop_assert_eq!(first.len(), second.len());
        let words = |bytes: &[u8]| -> Vec<u16> {
            let planes = &bytes[bytes.len() - 5 * 3 * 6..];
            planes.as_chunks().0.iter().map(|&word| u16::from_le_bytes(word)).collect()
        };
        for (first, second) in words(&first).iter().zip(words(&second)) {
            prop_assert!(first.abs_diff(second) <= 1, "{first} {second}");
        }
    }

    #[test]
    fn every_size_and_form_comes_back(
        width in 1usize..9, height in 1usize..9,
        chroma in prop::sample::select(vec![Y4mChroma::Half, Y4mChroma::Full]),
        depth in prop::sample::select(vec![
            Y4mDepth::Eight, Y4mDepth::Ten, Y4mDepth::Twelve, Y4mDepth::Sixteen,
        ]),
        value in 0f32..=1.0, channels in prop::sample::select(vec![1usize, 3]),
    ) {
        let options = Y4mSinkOptions { chroma, depth, overwrite: false };
        let frame = Frame::filled(width, height, channels, value);
        let back = read(&written(&info(width, height), options, &[frame.clone(), frame]));
        prop_assert_eq!(back.len(), 2);
        for sample in back[1].samples() {
            prop_assert!((sample - value).abs() <= 0.51 / 219.0);
        }
    }
}
