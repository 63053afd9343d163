//! Which frames a network sees and which are scored, with stand-ins for networks.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Mutex;

use tempfile::TempDir;
use vrt_model::presets::Preset;
use vrt_model::tiled::{ClipModel, TileSpec};
use vrt_model::volume::Volume;

use super::*;

/// Rows and columns of the frames here; SSIM needs eleven.
const SIDE: usize = 12;

/// Keeps the clips it is given, and answers with frames that say which they are of.
struct Recorder {
    seen: Mutex<Vec<Volume>>,
    /// Answers with the second of four frames, not with all.
    interpolates: bool,
}

impl Recorder {
    fn new(interpolates: bool) -> Self {
        Self { seen: Mutex::default(), interpolates }
    }
}

impl ClipModel for Recorder {
    type Error = Infallible;

    fn scale(&self) -> usize {
        1
    }

    fn window(&self) -> [usize; 3] {
        [6, 8, 8]
    }

    fn restore(&self, clip: Volume) -> Result<Volume, Infallible> {
        self.seen.lock().unwrap().push(clip.clone());
        let [frames, height, width, channels] = clip.dims();
        let pixels = clip.samples().chunks_exact(channels);
        let rgb = pixels.flat_map(|pixel| pixel[..3].iter().copied()).collect();
        let rgb = Volume::new([frames, height, width, 3], rgb).unwrap();
        Ok(if self.interpolates { rgb.crop(1..2, 0..height, 0..width) } else { rgb })
    }
}

/// A device whose memory holds clips of frames of so many rows; it has helpers like it.
struct SmallMemory {
    rows: usize,
    helpers: Vec<Self>,
    seen: Mutex<Vec<[usize; 4]>>,
}

impl SmallMemory {
    fn with_helpers(rows: usize, helpers: usize) -> Self {
        let one = |helpers| Self { rows, helpers, seen: Mutex::default() };
        one((0..helpers).map(|_| one(Vec::new())).collect())
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the memory is full")]
struct Full;

impl ClipModel for SmallMemory {
    type Error = Full;

    fn scale(&self) -> usize {
        1
    }

    fn window(&self) -> [usize; 3] {
        [2, 8, 8]
    }

    fn restore(&self, clip: Volume) -> Result<Volume, Full> {
        self.seen.lock().unwrap().push(clip.dims());
        if clip.height() > self.rows { Err(Full) } else { Ok(clip) }
    }

    fn helpers(&self) -> &[Self] {
        &self.helpers
    }

    fn memory_may_lack(&self) -> bool {
        true
    }

    fn lacked_memory(_: &Full) -> bool {
        true
    }
}

#[test]
fn tiles_that_a_device_cannot_hold_are_cut_smaller_unless_they_are_published_ones() {
    let truth = TempDir::new().unwrap();
    for index in 0..5_u8 {
        let frame = Frame::filled(96, 80, 3, f32::from(index) / 255.0);
        let path = truth.path().join(format!("im{index}.png"));
        write_picture(&path, &frame, BitDepth::Eight, false).unwrap();
    }
    let folders = Folders { truth: truth.path(), input: Some(truth.path()) };
    for (helpers, tiling) in [(0, Tiling::Seamless), (2, Tiling::Seamless), (1, Tiling::Published)]
    {
        let model = SmallMemory::with_helpers(48, helpers);
        let tile = TileChoice::given(TileSpec::new(2, 0, 0, 0).unwrap());
        let options = EvalOptions { tile, tiling, ..options(Protocol::Clips) };
        let mut sizes = Vec::new();
        let report = evaluate(&model, &config("006"), folders, &options, &mut |event| {
            if let EvalEvent::Shrunk { size, .. } = event {
                sizes.push(size);
            }
        });
        if tiling == Tiling::Published {
            assert!(matches!(report, Err(EvalError::Restore { .. })), "{report:?}");
            assert!(sizes.is_empty());
            continue;
        }
        assert_eq!((report.unwrap().frames, sizes), (5, vec![48]), "{helpers} helpers");
        let helped = model.helpers.iter().filter(|helper| !helper.seen.lock().unwrap().is_empty());
        // Which one finds work left is the scheduler's choice.
        assert_eq!(helped.count() > 0, helpers > 0, "helpers take part");
    }
}

fn config(preset: &str) -> VrtConfig {
    Preset::parse(preset).unwrap().config()
}

/// A clip of grey frames of these codes, named `im1.png` and on.
fn write_clip(folder: &Path, codes: &[u8]) {
    std::fs::create_dir_all(folder).unwrap();
    for (index, &code) in codes.iter().enumerate() {
        let frame = Frame::filled(SIDE, SIDE, 3, f32::from(code) / 255.0);
        let path = folder.join(format!("im{}.png", index + 1));
        write_picture(&path, &frame, BitDepth::Eight, false).unwrap();
    }
}

fn options(protocol: Protocol) -> EvalOptions {
    EvalOptions {
        protocol,
        tile: TileChoice::given(TileSpec::WHOLE),
        tiling: Tiling::Seamless,
        spikes: None,
        save: None,
        overwrite: false,
    }
}

fn run(
    model: &Recorder,
    preset: &str,
    truth: &TempDir,
    input: Option<&TempDir>,
    options: &EvalOptions,
) -> Result<EvalReport, EvalError> {
    let folders = Folders { truth: truth.path(), input: input.map(TempDir::path) };
    evaluate(model, &config(preset), folders, options, &mut |_| {})
}

/// PSNR of grey frames that differ by this many codes.
fn psnr(codes: f64) -> f64 {
    20.0 * (255.0 / codes).log10()
}

/// The code of each frame of a grey clip.
fn codes(clip: &Volume) -> Vec<u8> {
    clip.iter_frames().map(|frame| (frame[0] * 255.0).round() as u8).collect()
}

#[test]
fn clips_weigh_the_same_and_all_frames_weigh_the_same() {
    let (truth, input) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    write_clip(&truth.path().join("long"), &[100, 100, 100]);
    write_clip(&input.path().join("long"), &[101, 101, 101]);
    write_clip(&truth.path().join("short"), &[100]);
    write_clip(&input.path().join("short"), &[110]);
    for (protocol, expected) in [
        (Protocol::Clips, (psnr(1.0) + psnr(10.0)) / 2.0),
        (Protocol::AllFrames, (3.0 * psnr(1.0) + psnr(10.0)) / 4.0),
    ] {
        let model = Recorder::new(false);
        let report = run(&model, "006", &truth, Some(&input), &options(protocol)).unwrap();
        assert_eq!(report.frames, 4);
        assert!(
            (report.set.mean.psnr - expected).abs() < 1e-9,
            "{protocol:?}: {:?}",
            report.set.mean
        );
        let names: Vec<_> = report.set.clips.iter().map(|clip| clip.name.as_str()).collect();
        assert_eq!(names, ["long", "short"]);
    }
}

#[test]
fn vimeo_repeats_the_last_of_seven_frames_and_scores_the_fourth() {
    let (truth, input) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    write_clip(&truth.path().join("00001/0266"), &[10, 20, 30, 42, 50, 60, 70]);
    write_clip(&input.path().join("00001/0266"), &[10, 20, 30, 40, 50, 60, 70]);
    let model = Recorder::new(false);
    let report = run(&model, "006", &truth, Some(&input), &options(Protocol::VimeoSr)).unwrap();
    assert_eq!(codes(&model.seen.lock().unwrap()[0]), [10, 20, 30, 40, 50, 60, 70, 70]);
    assert_eq!(report.frames, 1);
    assert_eq!(report.set.clips[0].frames[0].name, "im4");
    assert!((report.set.mean.psnr - psnr(2.0)).abs() < 1e-9);
}

#[test]
fn vimeo_interpolation_sees_every_second_frame_and_scores_the_middle() {
    let truth = TempDir::new().unwrap();
    write_clip(&truth.path().join("a"), &[10, 20, 30, 40, 50, 60, 70]);
    let model = Recorder::new(true);
    let options = options(Protocol::VimeoInterpolation);
    let report = run(&model, "009", &truth, None, &options).unwrap();
    assert_eq!(codes(&model.seen.lock().unwrap()[0]), [10, 30, 50, 70]);
    // The stand-in answers with frame 3, the truth is frame 4.
    assert!((report.set.mean.psnr - psnr(10.0)).abs() < 1e-9);
    assert_eq!(report.set.clips[0].frames[0].name, "im4");
}

#[test]
fn a_vimeo_clip_of_other_length_is_an_error_that_names_it() {
    let truth = TempDir::new().unwrap();
    write_clip(&truth.path().join("odd"), &[1, 2, 3]);
    let model = Recorder::new(false);
    let error = run(&model, "006", &truth, Some(&truth), &options(Protocol::VimeoSr)).unwrap_err();
    assert!(error.to_string().contains("\"odd\" has 3 frames"), "{error}");
    assert!(model.seen.lock().unwrap().is_empty());
}

#[test]
fn the_truth_of_vimeo_may_have_more_clips_and_fewer_frames() {
    let (truth, input) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    write_clip(&truth.path().join("a"), &[43]);
    write_clip(&truth.path().join("more"), &[1; 7]);
    write_clip(&input.path().join("a"), &[10, 20, 30, 40, 50, 60, 70]);
    let options = options(Protocol::VimeoSr);
    let report = run(&Recorder::new(false), "006", &truth, Some(&input), &options).unwrap();
    assert_eq!(report.set.clips.len(), 1);
    assert!((report.set.mean.psnr - psnr(3.0)).abs() < 1e-9);
    write_clip(&input.path().join("b"), &[1; 7]);
    let error = run(&Recorder::new(false), "006", &truth, Some(&input), &options).unwrap_err();
    assert!(matches!(error, EvalError::Video(VideoError::Unpaired { .. })), "{error}");
    assert!(error.to_string().contains("the clip b"), "{error}");
}

#[test]
fn an_input_that_is_needed_and_not_there_is_an_error() {
    let truth = TempDir::new().unwrap();
    write_clip(&truth.path().join("a"), &[1; 7]);
    for protocol in [Protocol::Clips, Protocol::AllFrames, Protocol::VimeoSr] {
        let error =
            run(&Recorder::new(false), "006", &truth, None, &options(protocol)).unwrap_err();
        assert!(matches!(error, EvalError::Misfit { .. }), "{protocol:?}: {error}");
    }
}

#[test]
fn noise_is_added_to_the_truth_and_its_level_is_the_last_channel() {
    let truth = TempDir::new().unwrap();
    for clip in ["a", "b"] {
        write_clip(&truth.path().join(clip), &[128, 128]);
    }
    let model = Recorder::new(false);
    let sigma = 25.5;
    let report = run(&model, "008", &truth, None, &options(Protocol::Denoise { sigma })).unwrap();
    let seen = model.seen.lock().unwrap();
    assert_eq!(seen[0].dims(), [2, SIDE, SIDE, 4]);
    assert_eq!(seen[0], seen[1], "every clip has the noise of one seed");
    let pixels = seen[0].samples().chunks_exact(4);
    let noise: Vec<f64> = pixels
        .inspect(|pixel| assert_eq!(pixel[3], 0.1))
        .flat_map(|pixel| pixel[..3].iter().map(|value| f64::from(*value) - 128.0 / 255.0))
        .collect();
    let deviation = (noise.iter().map(|n| n * n).sum::<f64>() / noise.len() as f64).sqrt();
    // 864 values: their deviation is within 10 % of 0.1 but for one time in 10⁵.
    assert!((deviation - 0.1).abs() < 0.011, "{deviation}");
    assert_ne!(seen[0].frame(0), seen[0].frame(1));
    assert!((report.set.mean.psnr - 20.0).abs() < 1.0, "{:?}", report.set.mean);
}

#[test]
fn a_protocol_that_does_not_fit_the_network_says_which_does() {
    let truth = TempDir::new().unwrap();
    write_clip(&truth.path().join("a"), &[1; 7]);
    let denoise = Protocol::Denoise { sigma: 10.0 };
    for (preset, protocol, words) in [
        ("009", Protocol::Clips, "vimeo-interpolation"),
        ("006", Protocol::VimeoInterpolation, "interpolates"),
        ("008", Protocol::Clips, "denoise"),
        ("001", denoise, "size"),
        ("006-spike", Protocol::Clips, "--spike"),
    ] {
        let model = Recorder::new(false);
        let error = run(&model, preset, &truth, Some(&truth), &options(protocol)).unwrap_err();
        assert!(matches!(error, EvalError::Misfit { .. }), "{preset}: {error}");
        assert!(error.to_string().contains(words), "{preset}: {error}");
    }
}

#[test]
fn saved_frames_have_the_names_of_the_truth_and_are_not_overwritten() {
    let (truth, save) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    write_clip(&truth.path().join("a"), &[10, 20]);
    let options = EvalOptions { save: Some(save.path().to_path_buf()), ..options(Protocol::Clips) };
    let model = Recorder::new(false);
    run(&model, "006", &truth, Some(&truth), &options).unwrap();
    let saved = read_picture(&save.path().join("a/im2.png"), PictureChannels::Rgb).unwrap();
    assert_eq!(saved, Frame::filled(SIDE, SIDE, 3, 20.0 / 255.0));
    let error = run(&model, "006", &truth, Some(&truth), &options).unwrap_err();
    assert!(matches!(error, EvalError::Video(VideoError::NotEmpty { .. })), "{error}");
    let again = EvalOptions { overwrite: true, ..options };
    run(&model, "006", &truth, Some(&truth), &again).unwrap();
}

#[test]
fn frames_of_another_size_are_an_error_that_names_clip_and_frame() {
    let (truth, input) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    write_clip(&truth.path().join("a"), &[10]);
    std::fs::create_dir_all(input.path().join("a")).unwrap();
    let frame = Frame::filled(SIDE + 1, SIDE, 3, 0.5);
    let path = input.path().join("a/im1.png");
    write_picture(&path, &frame, BitDepth::Eight, false).unwrap();
    let error = score(truth.path(), input.path(), Protocol::Clips, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("clip \"a\", frame \"im1\""), "{error}");
}
