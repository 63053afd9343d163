//! What clips are like.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use tempfile::{TempDir, tempdir};

use super::camera::{Camera, Span};
use super::chance::{Purpose, generator};
use super::exposure::{Exposure, expose};
use super::layer::Layer;
use super::plan::ClipPlan;
use super::scene::Scene;
use super::stills::Stills;
use super::texture::Texture;
use super::write::{Shot, shot};
use vrt_spike::{CEILING, Method, SpikeStream, Stated};

use super::{Part, SimulateError, SimulationOptions, SpikesBeside, simulate};
use crate::degrade::{from_light, to_light};
use crate::ffmpeg::testing::folder;
use crate::picture::GREY;
use crate::{BitDepth, Frame, Light, PictureChannels, SpikeCamera, read_picture, write_picture};

const SIZE: (usize, usize) = (48, 40);

/// `count` stills of waves and edges, named by letters.
fn stills(count: usize) -> TempDir {
    let root = tempdir().unwrap();
    for at in 0..count {
        let pace = 0.15 + 0.07 * at as f32;
        let samples = (0..300 * 260).flat_map(|place| {
            let (x, y) = ((place % 300) as f32, (place / 300) as f32);
            let edge = if (x * 0.9 + y * 0.4) % 60.0 < 30.0 { 0.3 } else { -0.3 };
            [x * pace, y * pace, (x + y) * pace].map(|v| 0.5 + edge + 0.2 * v.sin())
        });
        let picture = Frame::new(300, 260, 3, samples.collect());
        let name = char::from(b'a' + at as u8).to_string() + ".png";
        write_picture(&root.path().join(name), &picture, BitDepth::Eight, false).unwrap();
    }
    root
}

fn options() -> SimulationOptions {
    SimulationOptions {
        clips: 4,
        frames: 3,
        width: SIZE.0,
        height: SIZE.1,
        compress_share: 0.0,
        ..SimulationOptions::default()
    }
}

/// All files below a folder, by their paths in it.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for tree in ["GT", "LQ"] {
        for clip in std::fs::read_dir(root.join(tree)).unwrap() {
            for frame in std::fs::read_dir(clip.unwrap().path()).unwrap() {
                let path = frame.unwrap().path();
                let name = path.strip_prefix(root).unwrap().display().to_string();
                found.insert(name, std::fs::read(path).unwrap());
            }
        }
    }
    found
}

fn simulated(stills: &TempDir, options: &SimulationOptions) -> TempDir {
    let out = tempdir().unwrap();
    simulate(stills.path(), out.path(), options, &|_| ()).unwrap();
    out
}

#[test]
fn clips_depend_on_their_seed_and_number_alone() {
    let stills = stills(3);
    let first = simulated(&stills, &options());
    let files_of = |options: &SimulationOptions| files(simulated(&stills, options).path());
    let (expected, list) = (files(first.path()), first.path().join("meta_info.txt"));
    assert_eq!(expected.len(), 4 * 3 * 2);
    let lines = std::fs::read_to_string(list).unwrap();
    assert!(lines.starts_with("000000 3 (40,48,3) 00000000\n000001 3"), "{lines}");

    let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(alone.install(|| files_of(&options())), expected);
    let fewer = files_of(&SimulationOptions { clips: 2, ..options() });
    assert_eq!(fewer.len(), 2 * 3 * 2);
    assert!(fewer.iter().all(|(name, bytes)| expected[name] == *bytes));
    let other = files_of(&SimulationOptions { seed: 1, ..options() });
    assert!(other.iter().all(|(name, bytes)| expected[name] != *bytes));
}

#[test]
fn compressed_clips_are_the_same_again() {
    let Some(_dir) = folder() else { return };
    let stills = stills(2);
    let plain = SimulationOptions { still_share: 0.0, clips: 2, ..options() };
    let options = SimulationOptions { compress_share: 1.0, ..plain.clone() };
    let (first, second) = (simulated(&stills, &options), simulated(&stills, &options));
    let (first, plain) = (files(first.path()), files(simulated(&stills, &plain).path()));
    assert_eq!(first, files(second.path()));
    for (name, bytes) in first {
        assert_eq!(plain[&name] == bytes, name.starts_with("GT"), "{name}");
    }
}

#[test]
fn clips_that_hardly_move_are_clean() {
    let stills = stills(2);
    let options = SimulationOptions { still_share: 1.0, compress_share: 1.0, ..options() };
    let out = simulated(&stills, &options);
    for clip in 0..4 {
        for frame in 0..3 {
            let [sharp, degraded] = ["GT", "LQ"].map(|tree| {
                let path = out.path().join(format!("{tree}/{clip:06}/{frame:08}.png"));
                read_picture(&path, PictureChannels::Rgb).unwrap()
            });
            for (sharp, degraded) in sharp.samples().iter().zip(degraded.samples()) {
                assert!((sharp - degraded).abs() < 1.5 / 255.0, "{clip} {frame}");
            }
        }
    }
}

#[test]
fn degraded_frames_are_means_of_instants() {
    let root = stills(2);
    let options = SimulationOptions { still_share: 0.0, noise: 0.0, ..options() };
    let stills = Stills::find(root.path(), &options).unwrap();
    for clip in 0..4 {
        let plan = ClipPlan::draw(&options, &stills, clip).expect("stills that can be read");
        let scene = plan.scene(&stills).unwrap();
        let Shot { sharp, degraded } = shot(&plan, &options, &scene, (1, &mut |_| ()));
        let instants = plan.exposure.instants(&scene, 1);
        let middle = instants.iter().sum::<f64>() / instants.len() as f64;
        assert!((middle - 1.0).abs() < 1e-9);
        let looks: Vec<Frame> = instants.iter().map(|at| scene.light_at(*at)).collect();
        let now = scene.light_at(1.0);
        for (at, degraded) in degraded.samples().iter().enumerate() {
            let sum: f64 = looks.iter().map(|look| f64::from(look.samples()[at])).sum();
            let expected = from_light(sum / looks.len() as f64);
            assert!((f64::from(*degraded) - expected).abs() < 1e-4, "{clip}");
            let expected = from_light(f64::from(now.samples()[at]));
            assert!((f64::from(sharp.samples()[at]) - expected).abs() < 1e-6, "{clip}");
        }
    }
}

/// A scene of one picture, `spare` pixels larger than the frame on each side.
fn scene(camera: Camera, spare: usize, sample: impl Fn(usize, usize) -> f32) -> Scene {
    let (width, height) = (SIZE.0 + 2 * spare, SIZE.1 + 2 * spare);
    let samples = (0..width * height).flat_map(|at| [sample(at % width, at / width); 3]);
    let picture = Frame::new(width, height, 3, samples.collect());
    let texture = Texture::shrunk(&picture, (width, height));
    let origin = [width as f64 / 2.0 - 0.5, height as f64 / 2.0 - 0.5];
    Scene { size: SIZE, background: Layer { camera, origin, texture }, foreground: None }
}

/// A camera whose longest track within `span` is `blur` pixels.
fn camera(seed: u64, blur: f64, span: Span) -> Camera {
    Camera::draw(&mut generator(seed, Purpose::Background, [0, 0]), SIZE).with_track(blur, &[span])
}

#[test]
fn a_moving_edge_is_blurred_as_far_as_it_moves() {
    let exposure = Exposure::new(1.0, 20.0);
    let span = exposure.span(0);
    let mut seen = 0;
    for seed in 0..60 {
        let camera = camera(seed, 12.0, span);
        let places = [span.from, 0.0, span.to].map(|time| camera.at(time).apply([0.0, 0.0]));
        let way = places[2][0] - places[0][0];
        // One way all along, mostly sideways, and with the edge in the frame.
        let middle = places[1][0].round();
        let steady = (places[1][0] - places[0][0]) * (places[2][0] - places[1][0]) > 0.0;
        let turn = camera.at(0.0).apply([0.0, 20.0])[0] - camera.at(0.0).apply([0.0, -20.0])[0];
        if !steady || way.abs() < 6.0 || turn.abs() > 6.0 || middle.abs() > 150.0 {
            continue;
        }
        let spare = 200;
        let edge = (SIZE.0 / 2 + spare) as f64 + middle;
        let scene = scene(camera, spare, |x, _| if (x as f64) < edge { 0.2 } else { 0.9 });
        let (low, high) = (to_light(0.2), to_light(0.9));
        let light = expose(&scene, &exposure.instants(&scene, 0), |_| ());
        // The ramp of the middle row: from a tenth of the step to nine tenths of it.
        let row: Vec<f64> = (0..SIZE.0)
            .map(|x| f64::from(light.samples()[3 * (SIZE.0 * SIZE.1 / 2 + x)]))
            .map(|light| (light - low) / (high - low))
            .collect();
        let inside = row.iter().filter(|share| (0.1..=0.9).contains(*share)).count() as f64;
        let ramp = 0.8 * way.abs();
        assert!((inside - ramp).abs() < 0.3 * ramp + 1.5, "{seed}: {inside} of {way}");
        assert!(row[0] < 0.02 && row[SIZE.0 - 1] > 0.98, "{seed}: {row:?}");
        seen += 1;
    }
    assert!(seen >= 3, "{seen}");
}

#[test]
fn no_light_is_lost_by_moving() {
    let exposure = Exposure::new(0.8, 8.0);
    for seed in 0..8 {
        let camera = camera(seed, 6.0, exposure.span(0));
        let [x, y] = camera.at(0.0).apply([0.0, 0.0]);
        let spare = 300;
        // A soft spot in the middle of what is seen, far from the edges of the frame.
        let middle = [(SIZE.0 / 2 + spare) as f64 + x, (SIZE.1 / 2 + spare) as f64 + y];
        let scene = scene(camera, spare, |x, y| {
            let distance = (x as f64 + 0.5 - middle[0]).hypot(y as f64 + 0.5 - middle[1]);
            (0.9 * (-distance * distance / 18.0).exp()) as f32
        });
        let sum = |light: &Frame| light.samples().iter().map(|v| f64::from(*v)).sum::<f64>();
        let exposed = expose(&scene, &exposure.instants(&scene, 0), |_| ());
        let (sharp, blurred) = (sum(&scene.light_at(0.0)), sum(&exposed));
        assert!(sharp > 10.0 && (blurred / sharp - 1.0).abs() < 0.01, "{seed}: {blurred} {sharp}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Wherever a camera goes, it sees the part of the still that was cut out for it, and instants
    /// of an exposure lie about a pixel apart or less.
    #[test]
    fn cameras_stay_inside_and_instants_lie_close(seed in any::<u64>(), clip in 0usize..1000) {
        let root = stills(1);
        let options = SimulationOptions { seed, frames: 8, ..options() };
        let stills = Stills::find(root.path(), &options).unwrap();
        let plan = ClipPlan::draw(&options, &stills, clip).expect("stills that can be read");
        let scene = plan.scene(&stills).unwrap();
        let layers = [Some(&scene.background), scene.foreground.as_ref()];
        for layer in layers.into_iter().flatten() {
            let [width, height] = [layer.texture.size().0, layer.texture.size().1];
            for at in 0..=640 {
                let time = -0.5 + 8.0 * f64::from(at) / 640.0;
                for corner in [[-24.0, -20.0], [24.0, -20.0], [-24.0, 20.0], [24.0, 20.0]] {
                    let [x, y] = layer.view(time).apply(corner);
                    prop_assert!(x > 1.0 && x < width as f64 - 2.0, "{} {}", x, width);
                    prop_assert!(y > 1.0 && y < height as f64 - 2.0, "{} {}", y, height);
                }
            }
        }
        for frame in 0..8 {
            let instants = plan.exposure.instants(&scene, frame);
            let steps = instants.windows(2);
            let steps = steps.map(|pair| scene.track(Span { from: pair[0], to: pair[1] }));
            let longest = steps.fold(0.0, f64::max);
            // A pixel on average; speed changes within an exposure.
            prop_assert!(longest < 2.0, "{longest}");
            let interval = instants.len() as f64 / plan.exposure.share();
            prop_assert!(interval >= 8.0 - 1e-9);
        }
    }
}

#[test]
fn longest_blurs_are_those_drawn_where_the_still_is_large() {
    // Half of what is drawn lies below the geometric middle of 2 and 20 pixels.
    let root = tempdir().unwrap();
    let picture = Frame::filled(2000, 1600, 3, 0.5);
    write_picture(&root.path().join("a.png"), &picture, BitDepth::Eight, false).unwrap();
    let options = SimulationOptions { still_share: 0.0, frames: 8, ..options() };
    let stills = Stills::find(root.path(), &options).unwrap();
    let drawn = |clip| ClipPlan::draw(&options, &stills, clip).expect("stills that can be read");
    let records = (0..60).map(|clip| drawn(clip).record(&stills));
    let blurs: Vec<f64> = records.map(|record| record.background.blur).collect();
    assert!(blurs.iter().all(|blur| (1.95..20.5).contains(blur)), "{blurs:?}");
    let short = blurs.iter().filter(|blur| **blur < 6.3).count();
    assert!((18..=42).contains(&short), "{short}");
}

#[test]
fn every_tenth_still_is_for_testing() {
    let root = stills(11);
    let names = |part| {
        let options = SimulationOptions { part, ..options() };
        let stills = Stills::find(root.path(), &options).unwrap();
        stills.names().concat().replace(".png", "")
    };
    assert_eq!([Part::Train, Part::Test, Part::All].map(names), ["abcdefghik", "j", "abcdefghijk"]);
}

#[test]
fn a_still_that_breaks_off_is_named() {
    let root = stills(1);
    let path = root.path().join("a.png");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let out = tempdir().unwrap();
    let error = simulate(root.path(), out.path(), &options(), &|_| ()).unwrap_err();
    assert!(matches!(error, SimulateError::Video(_)), "{error}");
    assert!(error.to_string().contains("a.png"), "{error}");
    assert!(!out.path().join("meta_info.txt").exists());
}

#[test]
fn blur_of_few_frames_of_spikes_is_as_smooth() {
    let stills = stills(2);
    let without =
        SimulationOptions { clips: 1, noise: 0.0, still_share: 0.0, min_blur: 12.0, ..options() };
    let spikes = Some(SpikesBeside { frames: 2, camera: SpikeCamera::default() });
    let with = SimulationOptions { spikes, ..without.clone() };
    let [expected, found] = [&without, &with].map(|options| {
        let out = simulated(&stills, options);
        read_picture(&out.path().join("LQ/000000/00000001.png"), PictureChannels::Rgb).unwrap()
    });
    let off = expected.samples().iter().zip(found.samples()).map(|(a, b)| (a - b).abs());
    let off = off.sum::<f32>() / found.samples().len() as f32;
    assert!(off < 0.01, "{off}");
}

#[test]
fn a_spike_camera_sees_the_same_exposure() {
    let stills = stills(2);
    let camera = SpikeCamera { light: Light::Linear, ..SpikeCamera::default() };
    let with = SimulationOptions {
        clips: 1,
        noise: 0.0,
        still_share: 0.0,
        spikes: Some(SpikesBeside { frames: 96, camera }),
        ..options()
    };
    let (out, again) = (simulated(&stills, &with), simulated(&stills, &with));
    let name = "SPIKE/000000/00000001.dat";
    let bytes = std::fs::read(out.path().join(name)).unwrap();
    assert_eq!(bytes, std::fs::read(again.path().join(name)).unwrap());
    assert_ne!(bytes, std::fs::read(out.path().join("SPIKE/000000/00000002.dat")).unwrap());
    let mut stream = SpikeStream::find(&out.path().join(name), &Stated::default()).unwrap();
    assert_eq!(stream.frames(), 96);
    let seen = stream.intensity(Method::Mean, 0, CEILING).unwrap();
    let frame = out.path().join("LQ/000000/00000001.png");
    let frame = read_picture(&frame, PictureChannels::Rgb).unwrap();
    for (pixel, seen) in frame.samples().chunks(3).zip(seen.values()) {
        let light = pixel
            .iter()
            .zip(GREY)
            .map(|(sample, weight)| f64::from(weight) * to_light(f64::from(*sample)));
        let off = (light.sum::<f64>() - f64::from(*seen)).abs();
        // One spike of 96 frames, and half a code of the picture.
        assert!(off < 2.0 / 96.0 + 0.005, "{off}");
    }
    let spikes = |frames| Some(SpikesBeside { frames, camera });
    for (wrong, words) in [
        (SimulationOptions { spikes: spikes(0), ..with.clone() }, "spikes is 0"),
        (SimulationOptions { spikes: spikes(4097), ..with.clone() }, "spikes is 4097"),
        (SimulationOptions { width: 51, height: 41, ..with.clone() }, "a sensor of 51×41"),
    ] {
        let refused = simulate(stills.path(), tempdir().unwrap().path(), &wrong, &|_| ());
        let error = refused.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}
