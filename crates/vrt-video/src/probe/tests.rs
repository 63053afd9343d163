use super::*;
use crate::ffmpeg::testing::{folder, make, no_programs, turn};
use crate::{Matrix, Primaries, Range, Transfer};

const CLIP: &str = "-f lavfi -i testsrc2=s=64x48:r=10:d=1";

fn ask_about(path: &Path) -> Probe {
    probe(path, &Programs::default()).unwrap()
}

#[test]
fn a_plain_clip() {
    let Some(dir) = folder() else { return };
    let input = format!("{CLIP} -f lavfi -i sine=d=1 -c:v mpeg4 -metadata:s:v:0 language=fin");
    let path = make(&input, &dir.path().join("plain.mp4"));
    let probe = ask_about(&path);
    let video = &probe.video;
    assert_eq!((video.width, video.height, video.rotation), (64, 48, 0));
    assert_eq!(video.frame_rate, FrameRate::Constant(Ratio { numerator: 10, denominator: 1 }));
    assert_eq!((video.frames, video.bit_depth), (Some(10), 8));
    assert_eq!(video.language.as_deref(), Some("fin"));
    assert_eq!((probe.audio.len(), probe.subtitles.len(), probe.chapters), (1, 0, 0));
    assert!((probe.duration.unwrap() - 1.0).abs() < 0.1);
}

#[test]
fn colours_depth_and_shape_are_read() {
    let Some(dir) = folder() else { return };
    let input = format!(
        "{CLIP} -vf format=yuv420p10le,setsar=16/11,setparams=range=pc:colorspace=bt470bg:color_primaries=bt470bg:\
         color_trc=smpte170m -c:v libx265 -x265-params log-level=error"
    );
    let video = ask_about(&make(&input, &dir.path().join("colour.mkv"))).video;
    assert_eq!(video.bit_depth, 10);
    assert_eq!(video.sample_aspect, Some(Ratio { numerator: 16, denominator: 11 }));
    let color = ColorDescription {
        matrix: Some(Matrix::Bt601),
        range: Some(Range::Full),
        primaries: Some(Primaries("bt470bg".to_owned())),
        transfer: Some(Transfer::Sdr("smpte170m".to_owned())),
    };
    assert_eq!(video.color, color);
}

#[test]
fn turned_clips_are_measured_as_shown() {
    let Some(dir) = folder() else { return };
    let input = format!("{CLIP} -vf setsar=2/1 -c:v mpeg4");
    for (quarters, rotation, size) in
        [(0, 0, (64, 48)), (1, 90, (48, 64)), (2, 180, (64, 48)), (3, 270, (48, 64))]
    {
        let path = make(&input, &dir.path().join("turned.mp4"));
        turn(&path, quarters);
        let video = ask_about(&path).video;
        assert_eq!((video.rotation, (video.width, video.height)), (rotation, size));
        let lying = rotation % 180 == 90;
        let (numerator, denominator) = if lying { (1, 2) } else { (2, 1) };
        assert_eq!(video.sample_aspect, Some(Ratio { numerator, denominator }));
    }
}

#[test]
fn rates_of_every_kind() {
    let Some(dir) = folder() else { return };
    let clip = |rate: &str| format!("-f lavfi -i testsrc2=s=64x48:r={rate}:d=3 -c:v mpeg4");
    for (name, rate, expected) in [
        ("ntsc.mp4", "30000/1001", (30000, 1001)),
        // Matroska rounds times to milliseconds.
        ("film.mkv", "24000/1001", (24000, 1001)),
        ("film.avi", "24000/1001", (24000, 1001)),
        ("fast.mkv", "60", (60, 1)),
    ] {
        let path = make(&clip(rate), &dir.path().join(name));
        let (numerator, denominator) = expected;
        let rate = FrameRate::Constant(Ratio { numerator, denominator });
        assert_eq!(ask_about(&path).video.frame_rate, rate, "{name}");
    }
    let uneven = "-vf setpts=N+gt(N\\,40)*3 -fps_mode passthrough";
    for name in ["uneven.mp4", "uneven.mkv"] {
        let path = make(&format!("{} {uneven}", clip("25")), &dir.path().join(name));
        let rate = ask_about(&path).video.frame_rate;
        assert!(matches!(rate, FrameRate::Variable(_)), "{name}: {rate:?}");
    }
}

#[test]
fn one_gap_makes_the_rate_variable_wherever_it_is() {
    let Some(dir) = folder() else { return };
    // Two seconds are missing at 26 of 60.
    let gap = "-f lavfi -i testsrc2=s=16x16:r=25:d=58 -vf setpts=N+gt(N\\,650)*50 \
               -fps_mode passthrough -enc_time_base 1:25 -c:v mpeg4";
    for name in ["gap.mkv", "gap.mp4", "gap.ts"] {
        let video = ask_about(&make(gap, &dir.path().join(name))).video;
        assert!(matches!(video.frame_rate, FrameRate::Variable(_)), "{name}: {video:?}");
        let last = video.last_shown.unwrap();
        assert!((last - 59.96).abs() < 0.002, "{name}: {last}");
    }
}

#[test]
fn a_second_picture_and_a_cover_are_other_streams() {
    let Some(dir) = folder() else { return };
    let two = format!("{CLIP} -f lavfi -i testsrc=s=32x32:r=10:d=1 -map 0 -map 1 -c:v mpeg4");
    let probe = ask_about(&make(&two, &dir.path().join("two.mkv")));
    assert_eq!((probe.video.index, probe.others.len()), (0, 1));
    assert_eq!((probe.others[0].index, probe.others[0].kind.as_str()), (1, "video"));
}

#[test]
fn what_is_no_video_says_so() {
    let Some(dir) = folder() else { return };
    let text = dir.path().join("text.mp4");
    std::fs::write(&text, "Dear diary, today no frames.\n".repeat(100)).unwrap();
    let empty = dir.path().join("empty.mp4");
    std::fs::write(&empty, "").unwrap();
    let sound = make("-f lavfi -i sine=d=1", &dir.path().join("sound.mp4"));
    let text_file = dir.path().join("notes.txt");
    std::fs::write(&text_file, "no frames here either\n".repeat(100)).unwrap();
    for (path, word) in
        [(&text, "Invalid data"), (&empty, "empty"), (&sound, "audio"), (&text_file, "text file")]
    {
        let error = probe(path, &Programs::default()).unwrap_err();
        assert!(matches!(error, VideoError::Ffmpeg(FfmpegError::NotVideo { .. })), "{error}");
        let said = error.to_string();
        assert!(said.contains(word), "{said}");
        assert!(said.contains(&*path.file_name().unwrap().to_string_lossy()), "{said}");
    }
    let missing = probe(&dir.path().join("missing.mp4"), &Programs::default());
    assert!(matches!(missing, Err(VideoError::Read { .. })));
}

#[test]
fn a_missing_ffprobe_is_advice() {
    let error = probe(&std::env::current_exe().unwrap(), &no_programs()).unwrap_err();
    assert!(matches!(error, VideoError::Ffmpeg(FfmpegError::Missing { .. })), "{error}");
    assert!(error.to_string().contains("brew install ffmpeg"), "{error}");
}
