//! What is said of data and options that are wrong.

use super::*;

/// The message of opening a set with changed options.
fn refused(root: &TempDir, kind: SetKind, change: impl FnOnce(&mut TrainingSetOptions)) -> String {
    let mut options = options(root.path(), kind);
    change(&mut options);
    TrainingSet::open(options).unwrap_err().to_string()
}

#[track_caller]
fn assert_says(message: &str, words: &[&str]) {
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
}

#[test]
fn options_that_cannot_be_are_named() {
    type Change = fn(&mut TrainingSetOptions);
    let root = recurrent_set(1);
    let cases: [(Change, &[&str]); 11] = [
        (|o| o.scale = 0, &["scale is 0"]),
        (|o| o.scale = 3, &["gt_size is 8", "multiples of 3"]),
        (|o| o.crop = 0, &["gt_size is 0"]),
        (|o| o.frames = 0, &["num_frame is 0"]),
        (|o| o.intervals.clear(), &["interval_list is []"]),
        (|o| o.intervals = vec![1, 0], &["interval_list is [1, 0]"]),
        (|o| o.digits = 0, &["filename_tmpl is 0"]),
        (|o| o.extension = ".png".to_owned(), &["filename_ext is \".png\"", "without a dot"]),
        (|o| o.extension = "/../png".to_owned(), &["filename_ext"]),
        (|o| o.temporal_scale = 2, &["temporal_scale is 2", "interval_list"]),
        (|o| (o.mirror, o.repeat_last) = (true, true), &["pad_sequence", "mirror_sequence"]),
    ];
    for (change, words) in cases {
        assert_says(&refused(&root, SetKind::Recurrent, change), words);
    }
    for sigma in [[5.0, 1.0], [-1.0, 5.0], [f32::NAN, 5.0], [0.0, f32::INFINITY]] {
        let message = refused(&root, SetKind::Denoising { sigma }, |_| ());
        assert_says(&message, &["sigma_min and sigma_max"]);
    }
    let message = refused(&root, SetKind::Denoising { sigma: [0.0, 1.0] }, |o| o.scale = 2);
    assert_says(&message, &["scale is 2", "set it to 1"]);
}

#[test]
fn options_of_vimeo_sets_are_held_to_seven_frames() {
    let root = vimeo_set();
    assert_says(&refused(&root, SetKind::Vimeo, |o| o.frames = 8), &["num_frame is 8", "7 frames"]);
    for (frames, temporal_scale) in [(7, 1), (7, 3), (6, 2), (5, 2), (7, 4), (1, 2)] {
        let message = refused(&root, SetKind::Interpolation, |o| {
            (o.frames, o.temporal_scale) = (frames, temporal_scale);
        });
        assert_says(&message, &[&format!("num_frame is {frames}"), "7 and 2"]);
    }
    let message = refused(&root, SetKind::Interpolation, |o| {
        (o.frames, o.temporal_scale, o.repeat_last) = (7, 2, true);
    });
    assert_says(&message, &["pad_sequence", "one frame"]);
}

#[test]
fn lines_that_are_none_are_named() {
    let root = recurrent_set(1);
    let list = root.path().join("list.txt");
    let good = "000 9 (16,24,3) 00003\n\n";
    for (line, words) in [
        ("../000 9", "not a folder below"),
        ("/etc 9", "not a folder below"),
        ("a\\b 9", "not a folder below"),
        ("001 nine", "\"nine\""),
        ("001 -9", "\"-9\""),
        ("001 0", "no frame"),
        ("001 99999999999999999999", "numbers run from"),
        ("001 9 16x24", "no size"),
        ("001 9 (16,24,3) first", "\"first\""),
        ("001 9 (16,24,3) 0 0", "one field too many"),
        ("000 9", "listed already"),
    ] {
        std::fs::write(&list, format!("{good}{line}\n")).unwrap();
        let message = refused(&root, SetKind::Recurrent, |_| ());
        assert_says(&message, &["list.txt", "line 3", words]);
    }
    std::fs::write(&list, [0xff, 0xfe, b'\n']).unwrap();
    assert_says(&refused(&root, SetKind::Recurrent, |_| ()), &["line 1", "not text"]);
    std::fs::write(&list, "a".repeat(5000)).unwrap();
    assert_says(&refused(&root, SetKind::Recurrent, |_| ()), &["line 1", "4096 bytes"]);
    std::fs::write(&list, "\n \n").unwrap();
    assert_says(&refused(&root, SetKind::Recurrent, |_| ()), &["list.txt", "empty"]);
}

#[test]
fn lists_of_windows_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("list.txt");
    std::fs::write(&path, "\u{feff}a 5 (2,3,3) 007\r\nb 6\r\n").unwrap();
    let list = ClipList::read(&path).unwrap();
    let [a, b] = list.clips() else { panic!("{list:?}") };
    assert_eq!((a.frames, a.size, a.first, a.digits), (Some(5), Some((2, 3)), 7, Some(3)));
    assert_eq!((b.frames, b.size, b.first, b.digits), (Some(6), None, 0, None));
}

#[test]
fn nothing_left_to_train_on_is_an_error() {
    let root = recurrent_set(1);
    std::fs::write(root.path().join("list.txt"), "000 9 (16,24,3) 00003\n").unwrap();
    let message = refused(&root, SetKind::Recurrent, |o| o.held_out = HeldOut::Reds4);
    assert_says(&message, &["list.txt", "held out"]);
}

#[test]
fn short_clips_are_named() {
    let message = refused(&recurrent_set(1), SetKind::Recurrent, |o| o.intervals = vec![1, 2, 3]);
    assert_says(&message, &["000", "9 frames", "4 frames at interval 3 span 10", "interval_list"]);
}

#[test]
fn trees_and_frames_that_are_missing_are_named() {
    let root = recurrent_set(1);
    let message = refused(&root, SetKind::Recurrent, |o| o.sharp.path = "/no/such/tree".into());
    assert_says(&message, &["/no/such/tree", "cannot be read"]);
    let message = refused(&root, SetKind::Recurrent, |o| o.extension = "jpg".to_owned());
    assert_says(&message, &["sharp", "000/00003.jpg", "filename_ext"]);

    let set = TrainingSet::open(options(root.path(), SetKind::Recurrent)).unwrap();
    std::fs::remove_file(root.path().join("degraded/deep/001/00004.png")).unwrap();
    let message = set.sample(9, &mut random(0)).unwrap_err().to_string();
    assert_says(&message, &["degraded", "deep/001/00004.png"]);
}

#[test]
fn clips_that_are_not_there_or_too_short_are_named_before_one_is_drawn() {
    for (lost, names) in [
        ("degraded/deep/001", ["degraded", "deep/001/00003.png"]),
        ("sharp/deep/001/00009.png", ["sharp", "deep/001/00009.png"]),
    ] {
        let root = recurrent_set(1);
        let lost = root.path().join(lost);
        match lost.is_dir() {
            true => std::fs::remove_dir_all(&lost).unwrap(),
            false => std::fs::remove_file(&lost).unwrap(),
        }
        assert_says(&refused(&root, SetKind::Recurrent, |_| ()), &names);
    }
}

#[test]
fn frames_that_cannot_be_decoded_are_named() {
    let root = recurrent_set(1);
    let path = root.path().join("sharp/000/00003.png");
    let whole = std::fs::read(&path).unwrap();
    for bytes in [&whole[..whole.len() / 2], b"not a picture", b""] {
        std::fs::write(&path, bytes).unwrap();
        let message = refused(&root, SetKind::Recurrent, |_| ());
        assert_says(&message, &["sharp", "000/00003.png", "decoded"]);
    }
}

#[test]
fn sizes_that_do_not_fit_are_named() {
    let root = recurrent_set(1);
    let message = refused(&root, SetKind::Recurrent, |o| o.scale = 2);
    assert_says(&message, &["000/00003.png", "24×16", "scale is 2", "correct scale"]);
    let message = refused(&root, SetKind::Recurrent, |o| o.crop = 20);
    assert_says(&message, &["24×16", "20×20", "gt_size"]);

    let set = TrainingSet::open(options(root.path(), SetKind::Recurrent)).unwrap();
    let path = root.path().join("sharp/000/00005.png");
    std::fs::remove_file(&path).unwrap();
    write(&path, &frame(2, 0));
    let message = set.sample(0, &mut random(0)).unwrap_err().to_string();
    assert_says(&message, &["000/00005.png", "12×8", "24×16 was expected"]);
}
