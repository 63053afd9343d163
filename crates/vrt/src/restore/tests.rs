//! Whole runs over small folders, with stand-ins for networks.

mod ends;
mod spikes;
mod stand;

use std::path::Path;
use std::sync::Mutex;

use vrt_model::config::{Reach, VrtConfig, VrtFields};
use vrt_model::tiled::{ClipModel, TileSpec};
use vrt_model::volume::Volume;
use vrt_video::Frame;

use super::*;
use stand::{Bench, GivesUp, HEIGHT, Stand, WIDTH, picture, rgb, tiles};

#[test]
fn a_network_that_changes_nothing_gives_the_frames_back() {
    for options in [tiles(0, 0), tiles(4, 0), tiles(3, 12), tiles(1, 8)] {
        let bench = Bench::new(9);
        let summary = bench.run(&Stand::new(1, Ok), rgb(), &options).unwrap();
        assert_eq!((summary.frames(), summary.stopped), (9, false));
        for i in 0..9 {
            let name = format!("f{i}.png");
            let (from, to) =
                (bench.read(&format!("in/{name}")), bench.read(&format!("out/{name}")));
            let most = from.samples().iter().zip(to.samples()).map(|(a, b)| (a - b).abs());
            assert!(most.fold(0.0, f32::max) <= 1.01 / 65535.0, "frame {i}, {:?}", options.tile);
        }
    }
}

#[test]
fn windows_follow_the_tiles_and_planned_tiles_hold_the_clip() {
    let bench = Bench::new(9);
    let model = Stand::new(1, Ok);
    bench.run(&model, rgb(), &tiles(4, 0)).unwrap();
    let frames: Vec<_> = model.clips.lock().unwrap().iter().map(|dims| dims[0]).collect();
    // Windows start on every second frame, as attention windows do: the last one is shorter.
    assert_eq!(frames, [4, 4, 4, 3]);

    let bench = Bench::new(9);
    let model = Stand::new(1, Ok);
    let auto = RestoreOptions { scene_cuts: false, ..RestoreOptions::default() };
    bench.run(&model, rgb(), &auto).unwrap();
    assert_eq!(*model.clips.lock().unwrap(), [[9, HEIGHT, WIDTH, 3]]);
}

#[test]
fn larger_frames_are_written_larger() {
    let bench = Bench::new(3);
    let double = Stand::new(2, |clip: Volume| {
        let [d, h, w, c] = clip.dims();
        Ok(Volume::filled([d, 2 * h, 2 * w, c], 0.25).unwrap())
    });
    bench.run(&double, VrtFields { upscale: 2, ..rgb() }, &tiles(2, 8)).unwrap();
    let frame = bench.read("out/f2.png");
    assert_eq!((frame.width(), frame.height()), (2 * WIDTH, 2 * HEIGHT));
    assert!(frame.samples().iter().all(|s| (s - 0.25).abs() < 1.0 / 65535.0));
}

#[test]
fn interpolation_doubles_the_frames_and_keeps_those_it_got() {
    let bench = Bench::new(5);
    let between = Stand::new(1, |clip: Volume| {
        let [_, h, w, c] = clip.dims();
        assert_eq!(clip.frames(), 4);
        let mean = clip.frame(1).iter().zip(clip.frame(2)).map(|(a, b)| (a + b) / 2.0);
        Ok(Volume::new([1, h, w, c], mean.collect()).unwrap())
    });
    let fields = VrtFields { reach: Reach::None, window: [4, 8, 8], ..rgb() };
    let summary = bench.run(&between, fields, &tiles(0, 0)).unwrap();
    assert_eq!(summary.frames(), 9);
    let at = |i: usize| bench.read(&format!("out/{i:08}.png"));
    for i in 0..5 {
        assert_eq!(at(2 * i), bench.read(&format!("in/f{i}.png")));
    }
    for i in 0..4 {
        let (a, b, new) = (at(2 * i), at(2 * i + 2), at(2 * i + 1));
        let off = |k: usize| (new.samples()[k] - (a.samples()[k] + b.samples()[k]) / 2.0).abs();
        assert!((0..new.samples().len()).all(|k| off(k) <= 1.01 / 65535.0), "new frame {i}");
    }
}

#[test]
fn the_noise_level_is_the_last_channel() {
    let bench = Bench::new(2);
    let level = Stand::new(1, |clip: Volume| {
        let [d, h, w, c] = clip.dims();
        assert_eq!(c, 4);
        let noise = clip.samples().chunks(4).flat_map(|pixel| [pixel[3]; 3]).collect();
        Ok(Volume::new([d, h, w, 3], noise).unwrap())
    });
    let fields = VrtFields { noise_map: true, ..rgb() };
    let options = RestoreOptions { sigma: Some(51.0), ..tiles(0, 0) };
    bench.run(&level, fields, &options).unwrap();
    assert_eq!(bench.read("out/f0.png"), Frame::filled(WIDTH, HEIGHT, 3, 0.2));
}

fn third_of_four(clip: &Volume) -> Volume {
    let [d, h, w, _] = clip.dims();
    let samples = clip.samples().chunks(4).flat_map(|pixel| [pixel[3]; 3]).collect();
    Volume::new([d, h, w, 3], samples).unwrap()
}

fn spikes(path: &Path) -> Option<SpikeInput> {
    Some(SpikeInput::new(path))
}

#[test]
fn spike_images_are_the_fourth_channel_in_the_size_of_the_frames() {
    let bench = Bench::new(3);
    std::fs::create_dir(bench.path("spike")).unwrap();
    for i in 0..3 {
        let value = (i as f32 + 1.0) / 5.0;
        bench.write(&format!("spike/{i}.png"), &Frame::filled(WIDTH / 2, HEIGHT / 2, 1, value));
    }
    let model = Stand::new(1, |clip: Volume| Ok(third_of_four(&clip)));
    let options = RestoreOptions { spike: spikes(&bench.path("spike")), ..tiles(2, 0) };
    bench.run(&model, VrtFields::default(), &options).unwrap();
    for i in 0..3 {
        let value = (i as f32 + 1.0) / 5.0;
        assert_eq!(bench.read(&format!("out/f{i}.png")), Frame::filled(WIDTH, HEIGHT, 3, value));
    }
}

#[test]
fn spike_images_that_do_not_fit_are_errors() {
    let bench = Bench::new(3);
    std::fs::create_dir(bench.path("spike")).unwrap();
    let model = Stand::new(1, |clip: Volume| Ok(third_of_four(&clip)));
    let options = RestoreOptions { spike: spikes(&bench.path("spike")), ..tiles(2, 0) };
    let fields = VrtFields::default;
    let grey = |width, height| Frame::filled(width, height, 1, 0.5);

    bench.write("spike/0.png", &grey(WIDTH, WIDTH));
    let error = bench.run(&model, fields(), &options).unwrap_err();
    assert!(matches!(error, RestoreError::Spike(SpikeError::Aspect { .. })), "{error}");

    bench.write("spike/0.png", &grey(WIDTH, HEIGHT));
    let error = bench.run(&model, fields(), &options).unwrap_err();
    let few = matches!(error, RestoreError::Spike(SpikeError::TooFew { given: 1, .. }));
    assert!(few, "{error}");

    for i in 1..5 {
        bench.write(&format!("spike/{i}.png"), &grey(WIDTH, HEIGHT));
    }
    let error = bench.run(&model, fields(), &options).unwrap_err();
    let many =
        matches!(error, RestoreError::Spike(SpikeError::TooMany { given: 5, frames: 3, .. }));
    assert!(many, "{error}");

    let limited = RestoreOptions { frames: Some(2), ..options.clone() };
    assert_eq!(bench.run(&model, fields(), &limited).unwrap().frames(), 2);

    let nowhere = RestoreOptions { spike: spikes(&bench.path("stream.dat")), ..options.clone() };
    let error = bench.run(&model, fields(), &nowhere).unwrap_err();
    assert!(matches!(error, RestoreError::Spike(SpikeError::Nothing { .. })), "{error}");

    let two = VrtFields { in_channels: 5, ..fields() };
    let error = bench.run(&model, two, &options).unwrap_err();
    assert!(matches!(error, RestoreError::Spike(SpikeError::Channels { .. })), "{error}");
}

#[test]
fn options_have_to_fit_the_network() {
    let check = |fields: VrtFields, options: RestoreOptions| {
        options.check(&VrtConfig::new(fields).unwrap()).unwrap_err()
    };
    let plain = RestoreOptions::default;
    let noisy = || VrtFields { noise_map: true, ..rgb() };
    let sigma = |sigma| RestoreOptions { sigma: Some(sigma), ..plain() };
    let spike = || RestoreOptions { spike: spikes(Path::new("s")), ..plain() };
    assert!(matches!(check(noisy(), plain()), OptionsError::SigmaMissing));
    assert!(matches!(check(rgb(), sigma(10.0)), OptionsError::SigmaUnused));
    for level in [-1.0, 256.0, f64::NAN] {
        assert!(matches!(check(noisy(), sigma(level)), OptionsError::SigmaRange(_)));
    }
    assert!(matches!(check(VrtFields::default(), plain()), OptionsError::SpikeMissing));
    assert!(matches!(check(rgb(), spike()), OptionsError::SpikeUnused));
    let between = || VrtFields { reach: Reach::None, window: [4, 8, 8], ..rgb() };
    let longer = VrtFields { fused_frames: Some(6), ..between() };
    assert!(matches!(check(longer, plain()), OptionsError::Interpolation { frames: 6, .. }));
    assert!(matches!(check(between(), tiles(6, 0)), OptionsError::InterpolationTile(6)));
}

#[test]
fn no_window_reaches_across_a_cut() {
    let bench = Bench::new(0);
    for i in 0..10 {
        let base = picture(i, 96, 64, 3);
        // Bright, then dark: the other way round it could be a flash.
        let change = |s: &f32| if i < 6 { 1.0 - 0.3 * s } else { 0.3 * s };
        let samples = base.samples().iter().map(change).collect();
        bench.write(&format!("in/f{i}.png"), &Frame::new(96, 64, 3, samples));
    }
    let model = Stand::new(1, Ok);
    let options = RestoreOptions { scene_cuts: true, ..tiles(0, 0) };
    bench.run(&model, rgb(), &options).unwrap();
    let frames: Vec<_> = model.clips.lock().unwrap().iter().map(|dims| dims[0]).collect();
    assert_eq!(frames, [6, 4]);
}

#[test]
fn progress_never_falls_and_ends_at_the_last_frame() {
    struct Heard(Vec<Event>);
    impl Progress for Heard {
        fn on_event(&mut self, event: &Event) {
            self.0.push(event.clone());
        }
    }
    let bench = Bench::new(9);
    let mut heard = Heard(Vec::new());
    let config = VrtConfig::new(rgb()).unwrap();
    let (input, output) = (bench.path("in"), bench.path("out"));
    let options = tiles(4, 12);
    restore_file(&input, &output, &Stand::new(1, Ok), &config, &options, &mut heard).unwrap();
    let [Event::Planned(plan), moves @ ..] = &heard.0[..] else { panic!("{:?}", heard.0) };
    assert_eq!((plan.input.frames, plan.output.width), (Some(9), WIDTH));
    let moves: Vec<_> = moves
        .iter()
        .map(|event| match event {
            Event::Moved(status) => *status,
            other => panic!("{other:?} on the way"),
        })
        .collect();
    assert!(moves.is_sorted_by(|a, b| a.frames <= b.frames), "{moves:?}");
    assert!(moves.iter().all(|s| s.estimate >= s.frames as f64 && s.estimate <= 9.0));
    let last = moves.last().unwrap();
    assert_eq!((last.stage, last.frames, last.estimate), (Stage::Finishing, 9, 9.0));
}

#[test]
fn rates_double_exactly() {
    let rate = |numerator, denominator| FrameRate::Constant(Ratio { numerator, denominator });
    assert_eq!(doubled(rate(24000, 1001)), rate(48000, 1001));
    assert_eq!(doubled(rate(25, 1)), rate(50, 1));
    assert_eq!(doubled(rate(3_000_000_000, 100)), rate(3_000_000_000, 50));
}

#[test]
fn only_files_with_sound_and_tags_are_copied_from() {
    let bench = Bench::new(1);
    for name in ["a.mp4", "b.y4m", "c.Y4M"] {
        std::fs::write(bench.path(name), b"x").unwrap();
    }
    let is_video = |name: &str| read::is_video_file(&bench.path(name));
    assert!(is_video("a.mp4"));
    for name in ["b.y4m", "c.Y4M", "in", "in/f0.png", "none.mp4"] {
        assert!(!is_video(name), "{name}");
    }
    assert!(!read::is_video_file(Path::new("-")));
}

#[test]
fn an_overlap_shrinks_below_its_tile_only_where_it_must() {
    let published = Overlap::PUBLISHED;
    assert_eq!(published.at_most_for(0, 0), published);
    assert_eq!(published.at_most_for(3, 21), published);
    assert_eq!(published.at_most_for(2, 8), Overlap { frames: 1, size: 7 });
    assert_eq!(published.of(0, 0).map(|spec| spec.size()), Ok(0));
    assert!(published.of(2, 64).is_err());
    assert_eq!(TileSpec::new(1, 1, 0, 0), published.at_most_for(1, 1).of(1, 1));
    let usual = Overlap::default();
    assert_eq!(usual.at_most_half_of(0), usual);
    assert_eq!(usual.at_most_half_of(128), usual);
    assert_eq!(usual.at_most_half_of(64).size, 32);
    assert_eq!(usual.at_most_half_of(1).size, 0);
}

/// A device whose memory holds clips of so many values.
struct SmallMemory {
    most: usize,
    clips: Mutex<Vec<[usize; 4]>>,
}

impl ClipModel for SmallMemory {
    type Error = GivesUp;

    fn scale(&self) -> usize {
        1
    }

    fn window(&self) -> [usize; 3] {
        [2, 8, 8]
    }

    fn restore(&self, clip: Volume) -> Result<Volume, GivesUp> {
        self.clips.lock().unwrap().push(clip.dims());
        if clip.dims().iter().product::<usize>() > self.most { Err(GivesUp) } else { Ok(clip) }
    }

    fn memory_may_lack(&self) -> bool {
        true
    }

    fn lacked_memory(_: &GivesUp) -> bool {
        true
    }
}

/// Keeps the sizes that tiles shrank to.
#[derive(Default)]
struct Shrinks(Vec<usize>);

impl Progress for Shrinks {
    fn on_event(&mut self, event: &Event) {
        if let Event::Shrunk { size } = event {
            self.0.push(*size);
        }
    }
}

/// Runs four frames of 160×96 in windows of two on a device that holds `most` values.
fn shrunk(most: usize, bench: &Bench) -> (Result<Summary, RestoreError>, Vec<usize>, SmallMemory) {
    for i in 0..4 {
        bench.write(&format!("in/f{i}.png"), &picture(i, 160, 96, 3));
    }
    let model = SmallMemory { most, clips: Mutex::default() };
    let config = VrtConfig::new(rgb()).unwrap();
    let (input, output, mut shrinks) = (bench.path("in"), bench.path("out"), Shrinks::default());
    let options = tiles(2, 0);
    let summary = restore_file(&input, &output, &model, &config, &options, &mut shrinks);
    (summary, shrinks.0, model)
}

#[test]
fn tiles_that_a_device_cannot_hold_are_cut_smaller_from_there_on() {
    let bench = Bench::new(0);
    let (summary, shrinks, model) = shrunk(2 * 40 * 40 * 3, &bench);
    assert_eq!(summary.unwrap().frames(), 4);
    assert_eq!(shrinks, [80, 40]);
    for i in 0..4 {
        let (from, to) =
            (bench.read(&format!("in/f{i}.png")), bench.read(&format!("out/f{i}.png")));
        let off = from.samples().iter().zip(to.samples()).map(|(a, b)| (a - b).abs());
        assert!(off.fold(0.0, f32::max) <= 1.01 / 65535.0, "frame {i}");
    }
    let clips = model.clips.into_inner().unwrap();
    let too_large = clips.iter().filter(|[_, h, w, _]| *h > 40 || *w > 40).count();
    assert_eq!(too_large, 2, "{clips:?}");
}

#[test]
fn a_device_that_holds_not_even_the_smallest_tile_fails_the_run() {
    let (summary, shrinks, _) = shrunk(100, &Bench::new(0));
    assert!(matches!(summary, Err(RestoreError::Model { first_frame: 0, .. })), "{summary:?}");
    assert_eq!(shrinks, [80, 40]);
}

/// Adds a tenth, and counts the windows it is given.
struct Brighter {
    helpers: Vec<Self>,
    windows: Mutex<usize>,
}

impl Brighter {
    fn with_helpers(helpers: usize) -> Self {
        let one = |helpers| Self { helpers, windows: Mutex::default() };
        one((0..helpers).map(|_| one(Vec::new())).collect())
    }

    fn windows(&self) -> usize {
        let helped: usize = self.helpers.iter().map(Self::windows).sum();
        *self.windows.lock().unwrap() + helped
    }
}

impl ClipModel for Brighter {
    type Error = GivesUp;

    fn scale(&self) -> usize {
        1
    }

    fn window(&self) -> [usize; 3] {
        [2, 8, 8]
    }

    fn restore(&self, clip: Volume) -> Result<Volume, GivesUp> {
        *self.windows.lock().unwrap() += 1;
        let brighter = clip.samples().iter().map(|sample| sample + 0.1).collect();
        Ok(Volume::new(clip.dims(), brighter).unwrap())
    }

    fn helpers(&self) -> &[Self] {
        &self.helpers
    }
}

/// Fails where a clip begins with a frame of this brightness, in hundredths.
struct Picky {
    helpers: Vec<Self>,
    refused: u32,
}

impl ClipModel for Picky {
    type Error = GivesUp;

    fn scale(&self) -> usize {
        1
    }

    fn window(&self) -> [usize; 3] {
        [2, 8, 8]
    }

    fn restore(&self, clip: Volume) -> Result<Volume, GivesUp> {
        let brightness = (clip.samples()[0] * 100.0).round() as u32;
        if brightness == self.refused { Err(GivesUp) } else { Ok(clip) }
    }

    fn helpers(&self) -> &[Self] {
        &self.helpers
    }
}

#[test]
fn an_error_names_the_first_frame_of_its_own_window_however_many_are_restored_at_once() {
    for helpers in [0, 1, 2, 9] {
        let bench = Bench::new(0);
        for i in 0..7_u8 {
            let frame = Frame::filled(WIDTH, HEIGHT, 3, f32::from(i) / 10.0);
            bench.write(&format!("in/f{i}.png"), &frame);
        }
        let one = |helpers| Picky { helpers, refused: 40 };
        let model = one((0..helpers).map(|_| one(Vec::new())).collect());
        let error = bench.run(&model, rgb(), &tiles(2, 0)).unwrap_err();
        let cause = match &error {
            RestoreError::Partial { cause, .. } => cause,
            cause => cause,
        };
        let named = matches!(cause, RestoreError::Model { first_frame: 4, .. });
        assert!(named, "{helpers} helpers: {error:?}");
    }
}

/// Five frames of a scene and four of another one, restored by a model and its helpers.
fn brightened(helpers: usize) -> (Vec<Frame>, usize) {
    let bench = Bench::new(0);
    for i in 0..9 {
        let dark = picture(i, WIDTH, HEIGHT, 3);
        let offset = if i < 5 { 0.0 } else { 0.5 };
        let samples = dark.samples().iter().map(|sample| sample + offset).collect();
        bench.write(&format!("in/f{i}.png"), &Frame::new(WIDTH, HEIGHT, 3, samples));
    }
    let model = Brighter::with_helpers(helpers);
    let options = RestoreOptions { scene_cuts: true, ..tiles(2, 0) };
    let summary = bench.run(&model, rgb(), &options).unwrap();
    assert_eq!(summary.frames(), 9);
    ((0..9).map(|i| bench.read(&format!("out/f{i}.png"))).collect(), model.windows())
}

#[test]
fn helpers_restore_windows_across_scenes_and_lose_none() {
    let (alone, windows) = brightened(0);
    // Windows of two frames that share one: four of the first scene, three of the second.
    assert_eq!(windows, 7);
    for helpers in [1, 2, 9] {
        let (together, windows) = brightened(helpers);
        assert_eq!(windows, 7, "{helpers} helpers");
        for (i, (found, expected)) in together.iter().zip(&alone).enumerate() {
            assert_eq!(found.samples(), expected.samples(), "frame {i}, {helpers} helpers");
        }
    }
}
