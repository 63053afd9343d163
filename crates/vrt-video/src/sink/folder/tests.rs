use proptest::prelude::*;
use tempfile::tempdir;

use super::*;
use crate::{Frame, FrameSource, PictureChannels, read_picture};

fn timed(frame: Frame, name: Option<&str>) -> TimedFrame {
    TimedFrame { frame, seconds: None, name: name.map(str::to_owned) }
}

fn sixteen() -> FolderSinkOptions {
    FolderSinkOptions { bit_depth: BitDepth::Sixteen, overwrite: false }
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<_> = entries.map(|entry| name(entry).into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn frames_are_named_by_the_source_or_numbered() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("new/out");
    let mut sink = Box::new(FolderSink::create(&path, FolderSinkOptions::default()).unwrap());
    let grey = Frame::filled(4, 3, 3, 0.5);
    for name in [Some("first"), None, Some("../escape"), Some("a.b")] {
        sink.write(&timed(grey.clone(), name)).unwrap();
    }
    let written = sink.finish().unwrap();
    assert_eq!((written.path.as_deref(), written.frames), (Some(path.as_path()), 4));
    assert_eq!(files(&path), ["00000001.png", "00000002.png", "a.b.png", "first.png"]);
}

#[test]
fn a_folder_with_files_is_refused_unless_overwriting_is_asked_for() {
    let folder = tempdir().unwrap();
    let other = folder.path().join("keep.txt");
    std::fs::write(&other, "keep").unwrap();
    let refused = FolderSink::create(folder.path(), FolderSinkOptions::default());
    assert!(matches!(refused, Err(VideoError::NotEmpty { .. })));

    let options = FolderSinkOptions { overwrite: true, ..FolderSinkOptions::default() };
    for value in [0.0, 1.0] {
        let mut sink = FolderSink::create(folder.path(), options).unwrap();
        sink.write(&timed(Frame::filled(2, 2, 3, value), Some("a"))).unwrap();
    }
    assert_eq!(files(folder.path()), ["a.png", "keep.txt"]);
    let back = read_picture(&folder.path().join("a.png"), PictureChannels::Rgb).unwrap();
    assert_eq!(back, Frame::filled(2, 2, 3, 1.0));
    assert_eq!(std::fs::read_to_string(other).unwrap(), "keep");
}

#[test]
fn a_name_that_comes_twice_is_not_overwritten() {
    let folder = tempdir().unwrap();
    let mut sink = FolderSink::create(folder.path(), FolderSinkOptions::default()).unwrap();
    sink.write(&timed(Frame::filled(2, 2, 3, 0.0), Some("a"))).unwrap();
    let again = sink.write(&timed(Frame::filled(2, 2, 3, 1.0), Some("a")));
    assert!(matches!(again, Err(VideoError::Exists { .. })));
    let back = read_picture(&folder.path().join("a.png"), PictureChannels::Rgb).unwrap();
    assert_eq!(back, Frame::filled(2, 2, 3, 0.0));
}

#[test]
fn a_file_in_the_way_is_an_error() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "x").unwrap();
    let refused = FolderSink::create(&path, FolderSinkOptions::default());
    assert!(matches!(refused, Err(VideoError::Create { .. })));
}

/// A Linux folder that takes no file from anybody.
#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_takes_no_file_is_refused_at_once() {
    let options = FolderSinkOptions { overwrite: true, ..FolderSinkOptions::default() };
    let refused = FolderSink::create(Path::new("/proc/self"), options);
    assert!(matches!(refused, Err(VideoError::Create { .. })), "{refused:?}");
    let picture = Path::new("/proc/self/a.png");
    let refused = crate::PictureSink::create(picture, Some(1), BitDepth::Eight, false);
    assert!(matches!(refused, Err(VideoError::Create { .. })), "{refused:?}");
}

#[test]
fn a_folder_that_takes_nothing_is_an_error_with_the_frame() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("out");
    let mut sink = FolderSink::create(&path, FolderSinkOptions::default()).unwrap();
    sink.write(&timed(Frame::filled(2, 2, 3, 0.0), None)).unwrap();
    // Gone is what a test can arrange for every user; read-only does not stop root.
    std::fs::remove_dir_all(&path).unwrap();
    let error = sink.write(&timed(Frame::filled(2, 2, 3, 0.0), None)).unwrap_err();
    assert!(matches!(error, VideoError::Write { frame: 1, .. }), "{error}");
}

/// A Linux device on which every write fails as on a full disk.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_no_partial_file() {
    let folder = tempdir().unwrap();
    let mut sink = FolderSink::create(folder.path(), FolderSinkOptions::default()).unwrap();
    sink.write(&timed(Frame::filled(2, 2, 3, 0.0), Some("a"))).unwrap();
    std::os::unix::fs::symlink("/dev/full", folder.path().join(".b.png.part")).unwrap();
    let error = sink.write(&timed(Frame::filled(2, 2, 3, 0.0), Some("b"))).unwrap_err();
    assert!(matches!(error, VideoError::Write { frame: 1, .. }), "{error}");
    assert!(error.to_string().contains("the 1 frames before it are whole"), "{error}");
    assert_eq!(files(folder.path()), ["a.png"]);
}

#[test]
fn other_channels_are_an_error() {
    let folder = tempdir().unwrap();
    let mut sink = FolderSink::create(folder.path(), FolderSinkOptions::default()).unwrap();
    let refused = sink.write(&timed(Frame::filled(2, 2, 4, 0.0), None));
    assert!(matches!(refused, Err(VideoError::FrameShape { frame: 0, .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn sixteen_bits_come_back_exactly(
        codes in prop::collection::vec(any::<u16>(), 5 * 7 * 3), channels in prop::sample::select(vec![1usize, 3]),
    ) {
        let folder = tempdir().unwrap();
        let samples = codes[..5 * 7 * channels].iter().map(|&code| f32::from(code) / 65535.0);
        let frame = Frame::new(5, 7, channels, samples.collect());
        let mut sink = FolderSink::create(folder.path(), sixteen()).unwrap();
        sink.write(&timed(frame.clone(), None)).unwrap();
        let read = if channels == 1 { PictureChannels::Grey } else { PictureChannels::Rgb };
        let mut source = crate::FolderSource::open(folder.path(), read).unwrap();
        prop_assert_eq!(source.info().bit_depth, 16);
        prop_assert_eq!(source.next_frame().unwrap().unwrap().frame, frame);
    }

    #[test]
    fn eight_bits_round_half_to_even(samples in prop::collection::vec(-0.2f32..1.2, 12)) {
        let folder = tempdir().unwrap();
        let path = folder.path().join("a.png");
        crate::write_picture(&path, &Frame::new(2, 2, 3, samples.clone()), BitDepth::Eight, false)
            .unwrap();
        let back = read_picture(&path, PictureChannels::Rgb).unwrap();
        for (sample, back) in samples.iter().zip(back.samples()) {
            let code = (f64::from(sample.clamp(0.0, 1.0)) * 255.0).round_ties_even();
            // The product is rounded to f32 before it is rounded to a code.
            prop_assert!((f64::from(*back) * 255.0 - code).abs() < 1e-4 || (f64::from(*sample) * 255.0).fract() > 0.499);
        }
    }
}
