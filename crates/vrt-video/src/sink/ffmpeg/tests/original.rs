//! Sound, subtitles, chapters and tags.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::ffmpeg::testing::{entries, folder, make, shown_at};

/// One second with sound, subtitles, chapters and tags.
fn rich_clip(dir: &TempDir, name: &str, sound: &str) -> PathBuf {
    let texts = dir.path().join("texts.srt");
    std::fs::write(&texts, "1\n00:00:00,200 --> 00:00:00,800\nHello\n").unwrap();
    let tags = dir.path().join("tags.txt");
    let chapters = "[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=500\ntitle=First\n\
                    [CHAPTER]\nTIMEBASE=1/1000\nSTART=500\nEND=1000\ntitle=Second\n";
    std::fs::write(&tags, format!(";FFMETADATA1\ntitle=A film\n{chapters}")).unwrap();
    let input = format!(
        "-f lavfi -i testsrc2=s=64x48:r=10:d=1 -f lavfi -i sine=d=1 -i {} -i {} -map 0 -map 1 \
         -map 2 -map_metadata 3 -c:v libx264 -c:s srt -c:a {sound} -metadata:s:v:0 language=fin \
         -metadata:s:a:0 language=swe",
        texts.display(),
        tags.display()
    );
    make(&input, &dir.path().join(name))
}

#[test]
fn everything_else_of_the_original_is_carried_over() {
    let Some(dir) = folder() else { return };
    let original = rich_clip(&dir, "original.mkv", "aac");
    for (name, subtitles) in [("a.mkv", "subrip"), ("a.mp4", "mov_text")] {
        let options = SinkOptions { copy_from: Some(original.clone()), ..SinkOptions::default() };
        let path = dir.path().join(name);
        let written = write(&path, &info(64, 48), &options, 10);
        let got = probe(&path, &Programs::default()).unwrap();
        let codecs = |streams: &[crate::OtherStream]| -> Vec<String> {
            streams.iter().map(|stream| stream.codec.clone()).collect()
        };
        assert_eq!(codecs(&got.audio), ["aac"], "{name}");
        assert_eq!(codecs(&got.subtitles), [subtitles], "{name}");
        assert_eq!(got.chapters, 2, "{name}");
        assert_eq!(got.video.language.as_deref(), Some("fin"), "{name}");
        assert_eq!(entries("-show_entries format_tags=title", &path), ["A film"], "{name}");
        assert_eq!(shown_at(&path).len(), 10, "{name}");
        let converted = written.warnings.iter().any(|warning| warning.contains("mov_text"));
        assert_eq!(converted, subtitles == "mov_text", "{:?}", written.warnings);
        let sound = "-select_streams a -show_entries packet=size";
        assert_eq!(entries(sound, &path), entries(sound, &original), "{name}: copied as it is");
    }
}

#[test]
fn sound_ends_with_the_last_frame() {
    let Some(dir) = folder() else { return };
    let original = rich_clip(&dir, "original.mkv", "aac");
    let options = SinkOptions { copy_from: Some(original), ..SinkOptions::default() };
    for name in ["short.mp4", "short.mkv"] {
        let path = dir.path().join(name);
        write(&path, &info(64, 48), &options, 4);
        let sound = entries("-select_streams a -show_entries packet=pts_time", &path);
        let last: f64 = sound.last().unwrap().parse().unwrap();
        let shown = shown_at(&path);
        assert_eq!(shown.len(), 4, "{name}");
        // A packet of AAC lasts 23 ms.
        let last = last - shown[0];
        assert!((0.37..0.4).contains(&last), "{name}: sound up to {last}");
    }
}

#[test]
fn a_doubled_rate_keeps_the_length_and_the_sound() {
    let Some(dir) = folder() else { return };
    let original = rich_clip(&dir, "original.mkv", "aac");
    let packets = entries("-select_streams a -show_entries packet=size", &original).len();
    let options = SinkOptions { copy_from: Some(original), ..SinkOptions::default() };
    let rate = FrameRate::Constant(Ratio { numerator: 20, denominator: 1 });
    let path = dir.path().join("double.mp4");
    write(&path, &StreamInfo { frame_rate: Some(rate), ..info(64, 48) }, &options, 19);
    assert_eq!(read(&path).0.frame_rate, Some(rate));
    assert_eq!(entries("-select_streams a -show_entries packet=size", &path).len(), packets);
}

#[test]
fn pictures_and_sound_stay_together() {
    let Some(dir) = folder() else { return };
    let sound = make("-f lavfi -i sine=d=2 -c:a aac", &dir.path().join("sound.mkv"));
    let input = format!(
        "-itsoffset 0.5 -f lavfi -i testsrc2=s=64x48:r=10:d=1 -i {} -c:v libx264 -c:a copy",
        sound.display()
    );
    let original = make(&input, &dir.path().join("late.mkv"));
    let times = |path: &Path| {
        let sound = entries("-select_streams a -show_entries packet=pts_time", path);
        shown_at(path)[0] - sound[0].parse::<f64>().unwrap()
    };
    let expected = times(&original);
    assert!(expected > 0.4, "{expected}");
    for name in ["a.mkv", "a.mp4"] {
        let options = SinkOptions { copy_from: Some(original.clone()), ..SinkOptions::default() };
        let path = dir.path().join(name);
        write(&path, &info(64, 48), &options, 10);
        let got = times(&path);
        // MP4 starts sound with its priming, one packet of 23 ms early.
        assert!((got - expected).abs() < 0.024, "{name}: {got}, not {expected}");
    }
}

#[test]
fn sound_that_does_not_fit_is_encoded_again_with_a_word() {
    let Some(dir) = folder() else { return };
    let original = rich_clip(&dir, "original.mkv", "aac");
    let options = SinkOptions { copy_from: Some(original), ..SinkOptions::default() };
    let path = dir.path().join("a.webm");
    let written = write(&path, &info(64, 48), &options, 10);
    let warned = written.warnings.iter().any(|warning| warning.contains("encoded again"));
    assert!(warned, "{:?}", written.warnings);
    assert_eq!(probe(&path, &Programs::default()).unwrap().audio[0].codec, "opus");
}

/// Ten frames, the last of them shown for 3.1 s, and 4 s of sound.
fn held_clip(dir: &TempDir) -> PathBuf {
    let input = "-f lavfi -i testsrc2=s=64x48:r=10:d=1 -f lavfi -i sine=d=4 -c:v mpeg4 -c:a aac";
    let even = make(input, &dir.path().join("even.mp4"));
    let hold = "-c copy -bsf:v setts=duration=if(eq(N\\,9)\\,31*DURATION\\,DURATION)";
    make(&format!("-i {} {hold}", even.display()), &dir.path().join("held.mp4"))
}

#[test]
fn sound_goes_on_while_the_last_frame_is_held() {
    let Some(dir) = folder() else { return };
    let original = held_clip(&dir);
    let sound = "-select_streams a -show_entries packet=size";
    let all = entries(sound, &original).len();
    let (source, frames) = read(&original);
    assert!(matches!(source.frame_rate, Some(FrameRate::Variable(_))), "{:?}", source.frame_rate);
    let options = SinkOptions { copy_from: Some(original), ..SinkOptions::default() };
    for (name, count) in [("whole.mp4", 10), ("whole.mkv", 10), ("short.mp4", 9)] {
        let path = dir.path().join(name);
        let mut sink = sink(&path, &source, &options);
        frames[..count].iter().for_each(|frame| sink.write(frame).unwrap());
        sink.finish().unwrap();
        let kept = entries(sound, &path).len();
        // Matroska has no packet that primes the decoder.
        let whole = kept + 1 >= all;
        assert_eq!(whole, count == 10, "{name}: {kept} of {all} packets of sound");
    }
}

#[test]
fn pictures_that_begin_late_stay_with_the_sound() {
    let Some(dir) = folder() else { return };
    let original = rich_clip(&dir, "original.mkv", "aac");
    for (name, rate) in
        [("a.mkv", FrameRate::Constant(TENTH)), ("b.mkv", FrameRate::Variable(TENTH))]
    {
        let options = SinkOptions { copy_from: Some(original.clone()), ..SinkOptions::default() };
        let path = dir.path().join(name);
        let info = StreamInfo { frame_rate: Some(rate), ..info(64, 48) };
        let mut sink = sink(&path, &info, &options);
        for index in 0..7 {
            let seconds = 0.3 + index as f64 / 10.0;
            sink.write(&timed(picture(64, 48, index), Some(seconds))).unwrap();
        }
        sink.finish().unwrap();
        let sound = entries("-select_streams a -show_entries packet=pts_time", &path);
        let late = shown_at(&path)[0] - sound[0].parse::<f64>().unwrap();
        assert!((late - 0.3).abs() < 0.03, "{name}: {late}");
        assert!(sound.len() > 40, "{name}: the sound is whole, {} packets", sound.len());
    }
}

#[test]
fn subtitles_stay_where_only_the_sound_does_not_fit() {
    let Some(dir) = folder() else { return };
    let original = rich_clip(&dir, "original.mkv", "aac");
    let options = SinkOptions { copy_from: Some(original), ..SinkOptions::default() };
    let path = dir.path().join("a.webm");
    let warnings = write(&path, &info(64, 48), &options, 10).warnings;
    let got = probe(&path, &Programs::default()).unwrap();
    assert_eq!(got.subtitles.len(), 1, "{warnings:?}");
    assert_eq!(got.subtitles[0].codec, "webvtt");
    let words = ["encoded again", "converted to webvtt"];
    assert_eq!(warnings.len(), words.len(), "{warnings:?}");
    for (warning, word) in warnings.iter().zip(words) {
        assert!(warning.contains(word) && !warning.contains("left out"), "{warning}");
    }
}

#[test]
fn a_second_picture_is_left_out_with_a_word() {
    let Some(dir) = folder() else { return };
    let input = "-f lavfi -i testsrc2=s=64x48:r=10:d=1 -f lavfi -i testsrc=s=32x32:r=10:d=1 \
                 -map 0 -map 1 -c:v mpeg4";
    let original = make(input, &dir.path().join("two.mkv"));
    let options = SinkOptions { copy_from: Some(original), ..SinkOptions::default() };
    let written = write(&dir.path().join("a.mkv"), &info(64, 48), &options, 10);
    assert_eq!(written.warnings, ["stream 1 (video mpeg4) was left out"]);
}
