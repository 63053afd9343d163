use std::path::Path;

use super::*;
use crate::Primaries;
use crate::ffmpeg::testing::{folder, make, no_programs, read_all, turn};

const CLIP: &str = "-f lavfi -i testsrc2=s=64x48:r=10:d=1";

fn open(path: &Path) -> FfmpegSource {
    FfmpegSource::open(path, None, &Programs::default()).unwrap()
}

fn refusal(path: &Path) -> FfmpegError {
    match FfmpegSource::open(path, None, &Programs::default()) {
        Err(VideoError::Ffmpeg(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// Mean of one channel over the picture.
fn mean(frame: &Frame, channel: usize) -> f64 {
    let samples = frame.samples().iter().skip(channel).step_by(3);
    samples.map(|&sample| f64::from(sample)).sum::<f64>() / (frame.width() * frame.height()) as f64
}

#[test]
fn all_frames_come_with_their_times() {
    let Some(dir) = folder() else { return };
    let path = make(&format!("{CLIP} -c:v libx264"), &dir.path().join("plain.mp4"));
    let mut source = open(&path);
    assert_eq!((source.info().width, source.info().height), (64, 48));
    assert_eq!(source.info().frames, Some(10));
    let frames = read_all(&mut source).unwrap();
    let seconds: Vec<f64> = frames.iter().map(|frame| frame.seconds.unwrap()).collect();
    let expected: Vec<f64> = (0..10).map(|i| f64::from(i) / 10.0).collect();
    assert_eq!(seconds, expected);
    assert!(source.next_frame().unwrap().is_none());
}

#[test]
fn only_the_first_frames() {
    let Some(dir) = folder() else { return };
    let path = make(&format!("{CLIP} -c:v libx264"), &dir.path().join("plain.mp4"));
    for limit in [0, 3, 10, 99] {
        let mut source = FfmpegSource::open(&path, Some(limit), &Programs::default()).unwrap();
        assert_eq!(source.info().frames, Some(limit.min(10)));
        assert_eq!(read_all(&mut source).unwrap().len() as u64, limit.min(10));
    }
}

/// Pictures of one colour, through every matrix, range, depth and subsampling.
#[test]
fn colours_are_exact_to_the_code() {
    let Some(dir) = folder() else { return };
    let combinations = [
        (("bt709", 0.2126, 0.0722), "tv", "yuv420p", 8),
        (("bt709", 0.2126, 0.0722), "pc", "yuv444p", 8),
        (("smpte170m", 0.299, 0.114), "tv", "yuv422p10le", 10),
        (("smpte170m", 0.299, 0.114), "pc", "yuv420p", 8),
        (("bt2020nc", 0.2627, 0.0593), "tv", "yuv444p12le", 12),
        (("bt2020nc", 0.2627, 0.0593), "pc", "yuv420p10le", 10),
    ];
    for ((matrix, red, blue), range, format, depth) in combinations {
        let step = f64::from(1u32 << (depth - 8));
        // The lowest bits of deep codes are used, too.
        let (y, cb, cr) = (121.0 * step - 1.0, 100.0 * step, 150.0 * step);
        let input = format!(
            "-f lavfi -i nullsrc=s=16x16:r=10:d=0.1,format={format},geq=lum={y}:cb={cb}:cr={cr} \
             -vf setparams=range={range}:colorspace={matrix} -c:v ffv1"
        );
        let path = make(&input, &dir.path().join("flat.mkv"));
        let frame = open(&path).next_frame().unwrap().unwrap().frame;
        let (low, luma, chroma) = match range {
            "tv" => (16.0 * step, 219.0 * step, 224.0 * step),
            _ => (0.0, 256.0 * step - 1.0, 256.0 * step - 1.0),
        };
        let y = (y - low) / luma;
        let (cb, cr) = ((cb - 128.0 * step) / chroma, (cr - 128.0 * step) / chroma);
        let (r, b) = (y + 2.0 * (1.0 - red) * cr, y + 2.0 * (1.0 - blue) * cb);
        let g = (y - red * r - blue * b) / (1.0 - red - blue);
        for (channel, expected) in [r, g, b].into_iter().enumerate() {
            let got = mean(&frame, channel);
            assert!(
                (got - expected).abs() < 1e-6,
                "{matrix} {range} {format} channel {channel}: {got} is not {expected}"
            );
        }
    }
}

#[test]
fn rgb_and_grey_are_exact() {
    let Some(dir) = folder() else { return };
    for (format, depth) in
        [("gbrp", 8u32), ("bgr0", 8), ("gbrp10le", 10), ("gray", 8), ("gray16le", 16)]
    {
        let top = f64::from((1u32 << depth) - 1);
        let (r, g, b) = (top.min(200.0), 33.0, 77.0);
        let paint = if format.starts_with("gray") {
            format!("lum={r}")
        } else {
            format!("r={r}:g={g}:b={b}")
        };
        let planar = if format == "bgr0" { "gbrp" } else { format };
        let input = format!(
            "-f lavfi -i nullsrc=s=16x16:r=10:d=0.2,format={planar},geq={paint} \
             -c:v ffv1 -pix_fmt {format}"
        );
        let path = make(&input, &dir.path().join("flat.mkv"));
        let frame = open(&path).next_frame().unwrap().unwrap().frame;
        let grey = format.starts_with("gray");
        let expected = if grey { [r; 3] } else { [r, g, b] };
        for (channel, expected) in expected.into_iter().enumerate() {
            let got = mean(&frame, channel) * top;
            // Sixteen bits on the pipe are finer than a hundredth of a 10-bit code.
            let bound = if depth == 16 { 1e-2 } else { 0.02 };
            assert!((got - expected).abs() < bound, "{format} {channel}: {got} is not {expected}");
        }
    }
}

#[test]
fn the_size_decides_where_no_matrix_is_stated() {
    let Some(dir) = folder() else { return };
    for (height, red) in [(576, 0.299), (578, 0.2126)] {
        let input = format!(
            "-f lavfi -i nullsrc=s=16x{height}:r=10:d=0.1,format=yuv444p,geq=lum=120:cb=128:cr=150 \
             -c:v ffv1"
        );
        let path = make(&input, &dir.path().join("flat.mkv"));
        let mut source = open(&path);
        assert_eq!(source.info().color.matrix, None);
        let frame = source.next_frame().unwrap().unwrap().frame;
        let expected = 104.0 / 219.0 + 2.0 * (1.0 - red) * 22.0 / 224.0;
        assert!((mean(&frame, 0) - expected).abs() < 1e-6, "{height}");
    }
}

#[test]
fn chroma_lies_where_the_file_says() {
    let Some(dir) = folder() else { return };
    // Chroma rises by one code a luma column, so a shift of half a column is half a code.
    let ramp = "-f lavfi -i nullsrc=s=64x16:r=10:d=0.1,format=yuv420p,geq=lum=120:cb=60+2*X:cr=128";
    let path = make(&format!("{ramp} -c:v ffv1"), &dir.path().join("left.mkv"));
    let frame = open(&path).next_frame().unwrap().unwrap().frame;
    // Column 20 holds chroma sample 10, of code 80.
    let blue = frame.samples()[(5 * 64 + 20) * 3 + 2];
    let expected = 104.0 / 219.0 + 2.0 * (1.0 - 0.114) * (80.0 - 128.0) / 224.0;
    assert!((blue - expected).abs() < 1e-3, "{blue} is not {expected}");
}

#[test]
fn turned_clips_are_turned() {
    let Some(dir) = folder() else { return };
    // The left half is white, so a quarter clockwise puts white on top.
    let clip = "-f lavfi -i nullsrc=s=64x32:r=10:d=0.2,format=yuv420p,\
                geq=lum=if(lt(X\\,32)\\,235\\,16):cb=128:cr=128 -c:v mpeg4 -q:v 2";
    for (quarters, white, black) in [(1, 8, 56), (3, 56, 8)] {
        let path = make(clip, &dir.path().join("turned.mp4"));
        turn(&path, quarters);
        let mut source = open(&path);
        assert_eq!((source.info().width, source.info().height), (32, 64));
        let frame = source.next_frame().unwrap().unwrap().frame;
        let row = |y: usize| frame.samples()[(y * 32 + 16) * 3];
        assert!(row(white) > 0.95 && row(black) < 0.05, "{quarters} quarters");
    }
}

#[test]
fn uneven_times_are_kept() {
    let Some(dir) = folder() else { return };
    let input = format!("{CLIP} -vf setpts=N*N -fps_mode passthrough -c:v libx264 -bf 2");
    for name in ["uneven.mp4", "uneven.mkv"] {
        let path = make(&input, &dir.path().join(name));
        let mut source = open(&path);
        assert!(matches!(source.info().frame_rate, Some(FrameRate::Variable(_))));
        let frames = read_all(&mut source).unwrap();
        assert_eq!(frames.len(), 10);
        for (i, frame) in frames.iter().enumerate() {
            let expected = (i * i) as f64 / 10.0;
            assert!((frame.seconds.unwrap() - expected).abs() < 1e-3, "{name} frame {i}");
        }
    }
}

#[test]
fn high_dynamic_range_is_refused() {
    let Some(dir) = folder() else { return };
    for transfer in ["smpte2084", "arib-std-b67"] {
        let input = format!(
            "{CLIP} -vf setparams=color_trc={transfer}:color_primaries=bt2020:colorspace=bt2020nc \
             -pix_fmt yuv420p10le -c:v libx265 -x265-params log-level=error"
        );
        let path = make(&input, &dir.path().join("hdr.mkv"));
        let error = refusal(&path);
        assert!(matches!(error, FfmpegError::HighDynamicRange { .. }), "{error}");
        assert!(error.to_string().contains(transfer), "{error}");
        assert!(error.to_string().contains("tonemap"), "{error}");
    }
}

#[test]
fn strange_matrices_and_interlaced_pictures_are_refused() {
    let Some(dir) = folder() else { return };
    let strange = make(
        &format!("{CLIP} -vf setparams=colorspace=ycgco -c:v libx264"),
        &dir.path().join("strange.mp4"),
    );
    assert!(matches!(refusal(&strange), FfmpegError::Matrix { .. }));
    let woven = make(
        &format!("{CLIP} -vf setfield=tff -c:v libx264 -flags +ilme+ildct -x264-params tff=1"),
        &dir.path().join("woven.mp4"),
    );
    let error = refusal(&woven);
    assert!(matches!(error, FfmpegError::Interlaced { .. }), "{error}");
    assert!(error.to_string().contains("bwdif"), "{error}");
}

#[test]
fn colours_and_shape_are_described() {
    let Some(dir) = folder() else { return };
    let input = format!(
        "{CLIP} -vf setsar=16/15,setparams=range=tv:colorspace=bt709:color_primaries=bt709:\
         color_trc=iec61966-2-1 -c:v libx264"
    );
    let info = open(&make(&input, &dir.path().join("tags.mp4"))).info().clone();
    assert_eq!(info.sample_aspect.map(|r| (r.numerator, r.denominator)), Some((16, 15)));
    assert_eq!(info.color.matrix, Some(Matrix::Bt709));
    assert_eq!(info.color.range, Some(Range::Limited));
    assert_eq!(info.color.primaries, Some(Primaries("bt709".to_owned())));
    assert_eq!(info.color.transfer, Some(Transfer::Sdr("iec61966-2-1".to_owned())));
}

/// Reads until the error and returns it with the number of frames before it.
fn read_to_error(path: &Path) -> (usize, FfmpegError) {
    let mut source = open(path);
    let mut good = 0;
    loop {
        match source.next_frame() {
            Ok(Some(_)) => good += 1,
            Ok(None) => panic!("{path:?} ended well after {good} frames"),
            Err(VideoError::Ffmpeg(error)) => {
                assert!(source.next_frame().unwrap().is_none(), "an error ends the stream");
                return (good, error);
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn a_cut_file_is_an_error_behind_its_good_frames() {
    let Some(dir) = folder() else { return };
    for (name, codec) in [
        ("cut.mp4", "libx264 -g 5 -bf 0 -movflags +faststart"),
        ("cut.mkv", "libx264 -g 5 -bf 0"),
        ("cut.avi", "mpeg4"),
    ] {
        let input = format!("-f lavfi -i testsrc2=s=64x48:r=10:d=3 -c:v {codec}");
        let path = make(&input, &dir.path().join(name));
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() * 2 / 3]).unwrap();
        let (good, error) = read_to_error(&path);
        assert!(good > 0 && good < 30, "{name}: {good}");
        let stated = format!("after {good} whole frames");
        assert!(error.to_string().contains(&stated), "{name}: {error}");
    }
}

/// Sixty frames of groups of twelve that need each other, with sound.
const OPEN_GROUPS: &str = "-f lavfi -i testsrc2=s=64x48:r=10:d=6 -f lavfi -i sine=d=6 \
                           -c:v libx264 -g 12 -x264-params open-gop=1:scenecut=0 -bf 3 -c:a aac";

#[test]
fn a_clip_cut_out_between_key_frames_is_read_from_its_first_whole_frame() {
    let Some(dir) = folder() else { return };
    let whole = make(OPEN_GROUPS, &dir.path().join("whole.mkv"));
    let trim = format!("-ss 2.5 -i {} -c copy", whole.display());
    let trimmed = make(&trim, &dir.path().join("trimmed.mkv"));
    let stream = std::fs::read(make(OPEN_GROUPS, &dir.path().join("whole.ts"))).unwrap();
    let packets = stream.len() / 188;
    let middle = dir.path().join("middle.ts");
    // The tables of streams, and everything behind the first quarter.
    let parts = [&stream[..3 * 188], &stream[packets / 4 * 188..]];
    std::fs::write(&middle, parts.concat()).unwrap();
    for (path, least) in [(&trimmed, 30), (&middle, 30)] {
        let mut source = open(path);
        let frames = read_all(&mut source).unwrap();
        assert!(frames.len() >= least, "{path:?}: {} frames", frames.len());
        let [warning] = source.warnings() else { panic!("{path:?}: {:?}", source.warnings()) };
        assert!(warning.contains("cut out of a longer file"), "{warning}");
        // Times count from the first frame that the file holds, so that the sound fits.
        let late = frames[0].seconds.unwrap();
        assert_eq!(late > 0.1, path == &middle, "{path:?}: {late}");
        let steps = frames.windows(2).map(|two| two[1].seconds.unwrap() - two[0].seconds.unwrap());
        steps.for_each(|step| assert!((step - 0.1).abs() < 0.002, "{path:?}: {step}"));
    }
}

#[test]
fn damage_behind_a_start_that_was_passed_over_is_an_error() {
    let Some(dir) = folder() else { return };
    let whole = make(OPEN_GROUPS, &dir.path().join("whole.mkv"));
    let trim = format!("-ss 2.5 -i {} -c copy -an", whole.display());
    let path = make(&trim, &dir.path().join("trimmed.mkv"));
    let mut bytes = std::fs::read(&path).unwrap();
    let late = bytes.len() * 4 / 5;
    bytes[late..late + 400].fill(0xA5);
    std::fs::write(&path, &bytes).unwrap();
    let (good, error) = read_to_error(&path);
    assert!(good >= 16, "{good}");
    assert!(error.to_string().contains("damaged"), "{error}");
}

#[test]
fn an_avi_file_with_dropped_frames_is_whole() {
    let Some(dir) = folder() else { return };
    let input = "-f lavfi -i testsrc2=s=64x48:r=10:d=3 -vf select='not(between(n\\,10\\,12))' \
                 -fps_mode vfr -c:v mpeg4";
    let mut source = open(&make(input, &dir.path().join("dropped.avi")));
    assert_eq!(source.info().frames, Some(30));
    assert_eq!(read_all(&mut source).unwrap().len(), 27);
}

#[test]
fn a_cut_file_without_its_index_is_no_video() {
    let Some(dir) = folder() else { return };
    let path = make(&format!("{CLIP} -c:v libx264"), &dir.path().join("cut.mp4"));
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let error = refusal(&path);
    assert!(error.to_string().contains("moov"), "{error}");
}

#[test]
fn a_damaged_frame_is_an_error_not_a_guess() {
    let Some(dir) = folder() else { return };
    let input = "-f lavfi -i testsrc2=s=64x48:r=10:d=6 -c:v libx264 -bf 0 -g 10";
    let path = make(input, &dir.path().join("damaged.mp4"));
    let mut bytes = std::fs::read(&path).unwrap();
    let data = bytes.windows(4).position(|window| window == b"mdat").unwrap();
    let middle = data + (bytes.len() - data) / 2;
    bytes[middle..middle + 300].fill(0xA5);
    std::fs::write(&path, &bytes).unwrap();
    let (good, error) = read_to_error(&path);
    assert!(good < 60, "{good}");
    assert!(error.to_string().contains("ffmpeg ended with"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_killed_decoder_is_an_error() {
    let Some(dir) = folder() else { return };
    let path =
        make("-f lavfi -i testsrc2=s=320x240:r=10:d=20 -c:v mpeg4", &dir.path().join("long.mp4"));
    let mut source = open(&path);
    assert!(source.next_frame().unwrap().is_some());
    source.decoder.child.kill().unwrap();
    let error = read_all(&mut source).unwrap_err();
    assert!(error.to_string().contains("signal: 9"), "{error}");
}

#[test]
fn a_changing_size_is_an_error() {
    let Some(dir) = folder() else { return };
    let small = make(&format!("{CLIP} -c:v libx264 -f h264"), &dir.path().join("a.h264"));
    let large = make(
        "-f lavfi -i testsrc2=s=96x64:r=10:d=1 -c:v libx264 -f h264",
        &dir.path().join("b.h264"),
    );
    let both = [std::fs::read(small).unwrap(), std::fs::read(large).unwrap()].concat();
    let path = dir.path().join("both.h264");
    std::fs::write(&path, both).unwrap();
    let (good, error) = read_to_error(&path);
    assert_eq!(good, 10);
    assert!(error.to_string().contains("changes from 64×48 to 96×64"), "{error}");
}

#[test]
fn a_missing_ffmpeg_is_advice() {
    let Some(dir) = folder() else { return };
    let path = make(&format!("{CLIP} -c:v mpeg4"), &dir.path().join("plain.mp4"));
    let programs = Programs { ffmpeg: no_programs().ffmpeg, ..Programs::default() };
    let error = FfmpegSource::open(&path, None, &programs).unwrap_err();
    assert!(error.to_string().contains("apt install ffmpeg"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn dropping_a_source_ends_its_child() {
    let Some(dir) = folder() else { return };
    let path =
        make("-f lavfi -i testsrc2=s=320x240:r=10:d=20 -c:v mpeg4", &dir.path().join("long.mp4"));
    let source = open(&path);
    let child = source.decoder.child.id();
    drop(source);
    assert!(!Path::new(&format!("/proc/{child}")).exists());
}
