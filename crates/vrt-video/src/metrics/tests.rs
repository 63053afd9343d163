use proptest::prelude::*;

use super::*;

const WIDTH: usize = 29;
const HEIGHT: usize = 23;

/// A picture of 8-bit codes, stated by whole-number arithmetic so that other programs can make it.
fn pattern(seed: usize) -> Vec<usize> {
    let code = |at: usize| {
        let (c, x, y) = (at % 3, at / 3 % WIDTH, at / 3 / WIDTH);
        (x * x * (7 + seed) + y * y * 13 + x * y * 5 + c * 41 + seed * 97 * (x / 3 + 2 * y)) % 256
    };
    (0..3 * WIDTH * HEIGHT).map(code).collect()
}

fn frame(codes: &[usize]) -> Frame {
    let samples = codes.iter().map(|&code| code as f32 / 255.0).collect();
    Frame::new(WIDTH, HEIGHT, 3, samples)
}

fn pair() -> (Frame, Frame) {
    let (truth, other) = (pattern(0), pattern(1));
    let output: Vec<usize> = truth.iter().zip(other).map(|(a, b)| (3 * a + b) / 4).collect();
    (frame(&truth), frame(&output))
}

fn grey(width: usize, height: usize, value: f32) -> Frame {
    Frame::filled(width, height, 3, value)
}

/// Made with numpy 2 and scipy 1 on the same patterns: `scipy.ndimage.correlate` with the whole
/// (not separated) window, `mode='constant'` cut by 5 for channels, `mode='nearest'` for the volume.
#[test]
fn the_numbers_are_those_of_numpy_and_scipy() {
    let (truth, output) = pair();
    let scores = score(&truth, &output, SsimKind::PerChannel).unwrap();
    let near = |actual: f64, expected: f64| assert!((actual - expected).abs() < 1e-10, "{actual}");
    near(scores.psnr, 19.665982712861677);
    near(scores.ssim, 0.9246361654101842);
    near(scores.psnr_y, 23.984020008721348);
    near(scores.ssim_y, 0.9301999156952809);
    near(ssim(&truth, &output, SsimKind::Volume).unwrap(), 0.9224226076037295);
    assert_eq!(psnr(&truth, &output).unwrap(), scores.psnr);
    assert_eq!(psnr_y(&truth, &output).unwrap(), scores.psnr_y);
    assert_eq!(ssim_y(&truth, &output).unwrap(), scores.ssim_y);
}

#[test]
fn equal_pictures_are_infinitely_close_and_json_says_so() {
    let (truth, _) = pair();
    let scores = score(&truth, &truth, SsimKind::Volume).unwrap();
    assert_eq!(
        scores,
        Scores { psnr: f64::INFINITY, ssim: 1.0, psnr_y: f64::INFINITY, ssim_y: 1.0 }
    );
    let json = serde_json::to_string(&scores).unwrap();
    assert_eq!(json, r#"{"psnr":"inf","ssim":1.0,"psnr_y":"inf","ssim_y":1.0}"#);
}

#[test]
fn codes_are_rounded_half_to_even_before_they_are_compared() {
    // 0.5 and 1.5 of 255 become 0 and 2; what is outside 0…1 is cut.
    let of = |value: f32| Frame::filled(1, 1, 3, value);
    assert!(psnr(&of(0.5 / 255.0), &of(0.0)).unwrap().is_infinite());
    assert!(psnr(&of(1.5 / 255.0), &of(2.0 / 255.0)).unwrap().is_infinite());
    assert!(psnr(&of(-3.0), &of(0.0)).unwrap().is_infinite());
    assert_eq!(psnr(&of(2.0), &of(0.0)).unwrap(), 0.0);
    // One code of 255 off everywhere: 20·log10(255).
    assert!((psnr(&of(1.0), &of(254.0 / 255.0)).unwrap() - 48.130_803_608_679_1).abs() < 1e-12);
}

#[test]
fn pictures_that_do_not_fit_are_errors() {
    let error = score(&grey(12, 12, 0.5), &grey(12, 13, 0.5), SsimKind::PerChannel).unwrap_err();
    assert!(error.to_string().contains("12×12×3"), "{error}");
    let small = grey(40, 10, 0.5);
    let error = score(&small, &small, SsimKind::PerChannel).unwrap_err();
    assert!(matches!(error, VideoError::TooSmallForSsim { height: 10, .. }), "{error}");
    assert!(psnr(&small, &small).is_ok());
}

#[test]
fn a_grey_picture_scores_as_its_colour_copy() {
    let (truth, output) = pair();
    let first = |frame: &Frame| frame.samples().iter().copied().step_by(3).collect::<Vec<_>>();
    let scores = |channels: usize| {
        let of = |frame: &Frame| {
            let samples = first(frame).into_iter().flat_map(|s| vec![s; channels]).collect();
            Frame::new(WIDTH, HEIGHT, channels, samples)
        };
        score(&of(&truth), &of(&output), SsimKind::PerChannel).unwrap()
    };
    let (one, three) = (scores(1), scores(3));
    assert!((one.psnr - three.psnr).abs() < 1e-12 && (one.ssim - three.ssim).abs() < 1e-12);
    assert_eq!((one.psnr_y, one.ssim_y), (three.psnr_y, three.ssim_y));
}

#[test]
fn sets_average_over_clips_or_over_frames() {
    let frame = |psnr: f64| FrameScore {
        name: format!("{psnr}"),
        scores: Scores { psnr, ssim: psnr / 100.0, psnr_y: psnr + 1.0, ssim_y: 0.5 },
    };
    let clips = || {
        vec![
            ClipScore::new("a".to_owned(), vec![frame(30.0), frame(32.0), frame(34.0)]),
            ClipScore::new("b".to_owned(), vec![frame(20.0)]),
        ]
    };
    assert_eq!(clips()[0].mean.psnr, 32.0);
    let by_clips = SetScore::new(clips(), Averaging::Clips);
    assert_eq!((by_clips.mean.psnr, by_clips.mean.psnr_y), (26.0, 27.0));
    let by_frames = SetScore::new(clips(), Averaging::Frames);
    assert_eq!((by_frames.mean.psnr, by_frames.mean.ssim_y), (29.0, 0.5));
    let json = serde_json::to_value(&by_frames).unwrap();
    assert_eq!(json["clips"][0]["frames"][1]["psnr"], 32.0);
    assert_eq!(json["averaging"], "frames");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn more_noise_is_never_better(step in 1usize..20) {
        let truth = pattern(0);
        let off = |by: usize| {
            let codes = truth.iter().enumerate();
            frame(&codes.map(|(at, &c)| if at % 2 == 0 { c.min(255 - by) + by } else { c.max(by) - by }).collect::<Vec<_>>())
        };
        let truth = frame(&truth);
        for kind in [SsimKind::PerChannel, SsimKind::Volume] {
            let near = score(&truth, &off(step), kind).unwrap();
            let far = score(&truth, &off(step + 8), kind).unwrap();
            prop_assert!(far.psnr < near.psnr && far.ssim < near.ssim);
            prop_assert!(near.ssim < 1.0 && near.ssim > -1.0);
        }
    }

    #[test]
    fn order_does_not_matter(seed in 1usize..50) {
        let (a, b) = (frame(&pattern(0)), frame(&pattern(seed)));
        let (ab, ba) = (score(&a, &b, SsimKind::Volume).unwrap(), score(&b, &a, SsimKind::Volume).unwrap());
        prop_assert!((ab.psnr - ba.psnr).abs() < 1e-12 && (ab.ssim - ba.ssim).abs() < 1e-12);
        prop_assert!((ab.ssim_y - ba.ssim_y).abs() < 1e-12);
    }
}
