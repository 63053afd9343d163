//! What goes wrong, and what is left then.

use super::*;
use crate::ffmpeg::testing::{folder, no_programs, shown_at};

#[test]
fn a_codec_nobody_chose_and_one_that_is_not_there() {
    let Some(dir) = folder() else { return };
    let target = dir.path().join("a.mpg");
    let error = FfmpegSink::create(&target, &info(64, 48), &SinkOptions::default()).unwrap_err();
    assert!(error.to_string().contains("no default video codec"), "{error}");
    let codec_arguments = Some(vec!["-c:v".to_owned(), "no_such_codec".to_owned()]);
    let options = SinkOptions { codec_arguments, ..SinkOptions::default() };
    let target = dir.path().join("a.mkv");
    let mut sink = sink(&target, &info(64, 48), &options);
    let wrote = (0..1000).try_for_each(|i| sink.write(&timed(picture(64, 48, i), None)));
    let error = wrote.and_then(|()| sink.finish()).unwrap_err();
    assert!(error.to_string().contains("no_such_codec"), "{error}");
    assert_eq!(names(&dir), Vec::<String>::new());
}

#[test]
fn an_existing_file_is_kept_or_replaced_whole() {
    let Some(dir) = folder() else { return };
    let path = dir.path().join("a.mp4");
    std::fs::write(&path, "precious").unwrap();
    let refused = FfmpegSink::create(&path, &info(64, 48), &SinkOptions::default());
    assert!(matches!(refused, Err(VideoError::Exists { .. })));
    let options = SinkOptions { overwrite: true, ..SinkOptions::default() };
    let mut sink = sink(&path, &info(64, 48), &options);
    sink.write(&timed(picture(64, 48, 0), None)).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"precious", "kept until the new one is whole");
    sink.finish().unwrap();
    assert_eq!(read(&path).1.len(), 1);
}

#[test]
fn a_file_that_appears_meanwhile_is_not_lost() {
    let Some(dir) = folder() else { return };
    let path = dir.path().join("a.mkv");
    let mut sink = sink(&path, &info(64, 48), &SinkOptions::default());
    sink.write(&timed(picture(64, 48, 0), None)).unwrap();
    std::fs::write(&path, "precious").unwrap();
    let error = sink.finish().unwrap_err();
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    let VideoError::Create { path: kept, .. } = error else { panic!("{error}") };
    assert_eq!(read(&kept).1.len(), 1, "the new file is kept, too");
}

#[cfg(unix)]
#[test]
fn a_killed_encoder_leaves_what_it_had() {
    let Some(dir) = folder() else { return };
    for (name, bit_depth) in [("a.mp4", 8), ("a.mkv", 8), ("a.webm", 8), ("b.mp4", 10)] {
        let path = dir.path().join(name);
        let info = StreamInfo { bit_depth, ..info(128, 96) };
        let mut sink = sink(&path, &info, &SinkOptions::default());
        for index in 0..60 {
            sink.write(&timed(picture(128, 96, index), None)).unwrap();
        }
        // The pipe holds less than one picture, so the encoder has had 59; what it looks ahead and
        // reorders, and its threads, may hold 18 of them.
        let encoded = sink.encoded.as_ref().unwrap().to_path_buf();
        let begun = std::time::Instant::now();
        while shown_at(&encoded).len() < 42 {
            assert!(begun.elapsed().as_secs() < 60, "{name}: {} frames", shown_at(&encoded).len());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        sink.encoder.child.kill().unwrap();
        let wrote = (60..90).try_for_each(|i| sink.write(&timed(picture(128, 96, i), None)));
        let error = wrote.unwrap_err();
        let VideoError::Ffmpeg(FfmpegError::Encode { frames, reason, kept, .. }) = error else {
            panic!("{error}")
        };
        assert!((60..70).contains(&frames), "{frames}");
        assert!(reason.contains("signal: 9"), "{reason}");
        let Kept::Partial(kept) = kept else { panic!("{name}: nothing was kept") };
        let partial = name.replace('.', ".partial.");
        assert_eq!(kept.file_name().unwrap().to_string_lossy(), partial);
        let survived = shown_at(&kept).len();
        eprintln!("{name}, {bit_depth} bits: {survived} of 60 frames survived");
        assert!(survived >= 42, "{name}: {survived}");
        assert!(!path.exists());
        let again = sink.finish().unwrap_err().to_string();
        assert!(again.contains(&*kept.to_string_lossy()), "{again}");
    }
}

#[test]
fn a_sink_that_is_dropped_leaves_its_frames() {
    let Some(dir) = folder() else { return };
    let path = dir.path().join("a.mp4");
    for _ in 0..2 {
        let mut sink = sink(&path, &info(64, 48), &SinkOptions::default());
        (0..5).for_each(|i| sink.write(&timed(picture(64, 48, i), None)).unwrap());
    }
    assert_eq!(names(&dir), ["a.partial-2.mp4", "a.partial.mp4"]);
    assert_eq!(shown_at(&dir.path().join("a.partial.mp4")).len(), 5);
}

#[test]
fn no_frame_is_no_file() {
    let Some(dir) = folder() else { return };
    let sink = sink(&dir.path().join("a.mp4"), &info(64, 48), &SinkOptions::default());
    let error = sink.finish().unwrap_err();
    assert!(matches!(error, VideoError::Ffmpeg(FfmpegError::NoFrames { .. })), "{error}");
    assert_eq!(names(&dir), Vec::<String>::new());
}

#[test]
fn what_cannot_begin_says_why() {
    let Some(dir) = folder() else { return };
    let nowhere = dir.path().join("no/such/folder/a.mp4");
    let error = FfmpegSink::create(&nowhere, &info(64, 48), &SinkOptions::default()).unwrap_err();
    assert!(matches!(error, VideoError::Create { .. }), "{error}");
    let options = SinkOptions { programs: no_programs(), ..SinkOptions::default() };
    let target = dir.path().join("a.mp4");
    let error = FfmpegSink::create(&target, &info(64, 48), &options).unwrap_err();
    assert!(error.to_string().contains("winget install ffmpeg"), "{error}");
}

#[test]
fn a_frame_of_another_size_is_refused() {
    let Some(dir) = folder() else { return };
    let mut sink = sink(&dir.path().join("a.mp4"), &info(64, 48), &SinkOptions::default());
    sink.write(&timed(picture(64, 48, 0), None)).unwrap();
    let error = sink.write(&timed(picture(48, 64, 1), None)).unwrap_err();
    assert!(error.to_string().contains("frame 1 is 48×64×3"), "{error}");
    assert_eq!(sink.finish().unwrap().frames, 1);
}
