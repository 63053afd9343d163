//! What both cameras see.

use std::path::Path;

use proptest::prelude::*;
use tempfile::{TempDir, tempdir};
use vrt_spike::{CEILING, Method, SpikeStream, Stated};

use super::*;
use crate::{BitDepth, PictureChannels, SimulateError, read_picture, write_picture};

const SIZE: (usize, usize) = (16, 12);

/// Frames that fade into each other.
struct Fade;

impl Between for Fade {
    fn between(
        &mut self,
        first: &Frame,
        second: &Frame,
        shares: &[f32],
    ) -> Result<Vec<Frame>, String> {
        let fade = |share: &f32| {
            let pairs = first.samples().iter().zip(second.samples());
            let samples = pairs.map(|(a, b)| a + share * (b - a)).collect();
            Frame::new(first.width(), first.height(), 3, samples)
        };
        Ok(shares.iter().map(fade).collect())
    }
}

/// Clips of flat frames with these codes of 8 bits.
fn clips(codes: &[&[u8]]) -> TempDir {
    let root = tempdir().unwrap();
    for (clip, codes) in codes.iter().enumerate() {
        add(&root, &format!("clip{clip}"), SIZE, codes);
    }
    root
}

fn add(root: &TempDir, clip: &str, size: (usize, usize), codes: &[u8]) {
    let folder = root.path().join(clip);
    std::fs::create_dir_all(&folder).unwrap();
    for (at, code) in codes.iter().enumerate() {
        let frame = Frame::filled(size.0, size.1, 3, f32::from(*code) / 255.0);
        let path = folder.join(format!("{at:03}.png"));
        write_picture(&path, &frame, BitDepth::Eight, false).unwrap();
    }
}

fn options(frames: usize, instants: usize) -> SpikeSetOptions {
    SpikeSetOptions { frames, step: frames, instants, ..SpikeSetOptions::default() }
}

fn simulated(
    source: &TempDir,
    options: &SpikeSetOptions,
) -> Result<(TempDir, SpikeSet), SimulateError> {
    let out = tempdir().unwrap();
    let set = simulate_spikes(source.path(), out.path(), options, &mut Fade, &mut |_| ())?;
    Ok((out, set))
}

fn code(path: &Path) -> u8 {
    let frame = read_picture(path, PictureChannels::Rgb).unwrap();
    (frame.samples()[0] * 255.0).round() as u8
}

fn stream(path: &Path) -> SpikeStream {
    SpikeStream::find(path, &Stated::default()).unwrap()
}

#[test]
fn a_set_is_laid_out_as_the_public_one() {
    let source = clips(&[&[0, 60, 120, 180, 240, 240, 240], &[9; 3]]);
    let (out, set) = simulated(&source, &options(3, 4)).unwrap();
    let at = |name: &str| out.path().join(name);
    assert_eq!((set.clips, set.frames, set.spike_frames), (2, 3, 12));
    assert_eq!(code(&at("rgb/train/clip0/sharp/000000.png")), 60);
    assert_eq!(code(&at("rgb/train/clip0/sharp/000001.png")), 240);
    // Instants are ⅛, ⅜, … of a frame from its middle, and the clip stands still before its first.
    let first = (7.5 + 22.5) / 4.0;
    assert_eq!(code(&at("rgb/train/clip0/blur/000000.png")), ((first + 60.0 + 120.0) / 3.0) as u8);
    let side = std::fs::read_to_string(at("spike/train/clip0/config.yaml")).unwrap();
    assert_eq!(side, "spike_w: 16\nspike_h: 12\n");
    for name in ["clip0/spike/000001", "clip1/spike/000000"] {
        assert_eq!(stream(&at(&format!("spike/train/{name}.dat"))).frames(), 12);
    }
    assert!(!at("rgb/train/clip1/blur/000001.png").exists());
    let list = std::fs::read_to_string(&set.list).unwrap();
    assert_eq!(list, "clip0 2 (12,16,3) 000000\nclip1 1 (12,16,3) 000000\n");
}

#[test]
fn the_frame_itself_is_in_the_middle_of_odd_instants() {
    let source = clips(&[&[0, 100, 200]]);
    let (out, _) = simulated(&source, &options(1, 5)).unwrap();
    for (at, expected) in [(0, 12), (1, 100), (2, 188)] {
        // Of the first frame: it, thrice, and a fifth and two fifths of the way to the next.
        let path = out.path().join(format!("rgb/train/clip0/blur/{at:06}.png"));
        assert_eq!(code(&path), expected);
    }
}

#[test]
fn means_may_overlap_or_leave_frames_out() {
    let source = clips(&[&[0, 10, 20, 30, 40, 50, 60, 70]]);
    for (step, sharp) in [(1, &[10, 20, 30, 40, 50, 60][..]), (2, &[10, 30, 50]), (5, &[10, 60])] {
        let (out, set) = simulated(&source, &SpikeSetOptions { step, ..options(3, 2) }).unwrap();
        assert_eq!(set.frames as usize, sharp.len(), "step {step}");
        for (at, expected) in sharp.iter().enumerate() {
            let name = |tree: &str, file: String| out.path().join(tree).join(file);
            let path = name("rgb/train/clip0/sharp", format!("{at:06}.png"));
            assert_eq!(code(&path), *expected, "step {step}");
            let path = name("spike/train/clip0/spike", format!("{at:06}.dat"));
            assert_eq!(stream(&path).frames(), 6);
        }
    }
}

#[test]
fn a_seed_settles_all_of_it() {
    let source = clips(&[&[77; 3], &[77; 3]]);
    let dark = SpikeCamera { dark: 0.1, ..SpikeCamera::default() };
    let of = |seed| {
        let options = SpikeSetOptions { seed, camera: dark, ..options(3, 4) };
        let (out, _) = simulated(&source, &options).unwrap();
        [0, 1].map(|clip| {
            std::fs::read(out.path().join(format!("spike/train/clip{clip}/spike/000000.dat")))
                .unwrap()
        })
    };
    let first = of(1);
    assert_eq!(of(1), first);
    assert_ne!(of(2)[0], first[0]);
    assert_ne!(first[0], first[1], "clips begin with other charges");
}

#[test]
fn what_cannot_be_is_said_before_anything_is_written() {
    let source = clips(&[&[1; 3]]);
    for (options, words) in [
        (options(5, 1), "has 3 frames"),
        (options(4, 1), "frames is 4; it is odd"),
        (options(0, 1), "frames is 0"),
        (options(3, 5000), "instants is 5000"),
        (options(3, 2000), "is longer than 4096"),
        (SpikeSetOptions { part: "../x".into(), ..options(1, 1) }, "a folder's name"),
        (camera(|camera| camera.threshold = 0.0), "spike_threshold is 0"),
        (camera(|camera| camera.dark = f32::NAN), "spike_dark is NaN"),
        (camera(|camera| camera.shrink = 0), "spike_shrink is 0"),
        (camera(|camera| camera.shrink = 3), "clip0\": frames of 16×12 are no whole number"),
        (camera(|camera| camera.shrink = 4), "clip0\": beside frames of 16×12"),
    ] {
        let out = tempdir().unwrap();
        let done = simulate_spikes(source.path(), out.path(), &options, &mut Fade, &mut |_| ());
        let error = done.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert!(out.path().read_dir().unwrap().next().is_none(), "{error}");
    }
    let error =
        simulate_spikes(source.path(), source.path(), &options(1, 1), &mut Fade, &mut |_| ());
    assert!(matches!(error, Err(SimulateError::Video(VideoError::NotEmpty { .. }))));
}

#[test]
fn every_clip_is_looked_at_before_any_is_filmed() {
    for (name, size, codes, words) in [
        ("clip1", (15, 12), &[1, 2, 3][..], "clip1\": frames of 15×12 are no whole number"),
        ("clip1", SIZE, &[1, 2], "clip1\" has 2 frames"),
        ("clip 0", SIZE, &[1, 2, 3], "is called clip_0, too"),
        ("clip1", (1200, 1000), &[1, 1, 1], "would take 11 GiB of memory"),
    ] {
        let source = clips(&[&[1; 3]]);
        if name == "clip 0" {
            std::fs::rename(source.path().join("clip0"), source.path().join("clip_0")).unwrap();
        }
        add(&source, name, size, codes);
        let out = tempdir().unwrap();
        let shrunk = SpikeCamera { shrink: 2, ..SpikeCamera::default() };
        let mut options = SpikeSetOptions { camera: shrunk, ..options(3, 8) };
        if size.0 == 1200 {
            options.instants = 400;
        }
        let done = simulate_spikes(source.path(), out.path(), &options, &mut Fade, &mut |_| ());
        let error = done.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
        assert!(out.path().read_dir().unwrap().next().is_none(), "{error}");
    }
}

#[test]
fn names_are_those_that_lists_can_have() {
    let source = clips(&[]);
    add(&source, "my clip", SIZE, &[1, 2, 3]);
    let (out, set) = simulated(&source, &options(3, 1)).unwrap();
    assert!(out.path().join("rgb/train/my_clip/blur/000000.png").is_file());
    let list = crate::ClipList::read(&set.list).unwrap();
    assert_eq!(list.clips()[0].name, "my_clip");
    let video = source.path().join("...png");
    let frame = Frame::filled(SIZE.0, SIZE.1, 3, 0.5);
    write_picture(&video, &frame, BitDepth::Eight, false).unwrap();
    let done = simulate_spikes(&video, out.path(), &options(1, 1), &mut Fade, &mut |_| ());
    assert!(done.unwrap_err().to_string().contains("is not empty"));
    let out = tempdir().unwrap();
    let done = simulate_spikes(&video, out.path(), &options(1, 1), &mut Fade, &mut |_| ());
    let error = done.unwrap_err().to_string();
    assert!(error.contains("\"..\" is no name for a folder"), "{error}");
    let done = simulate_spikes(&video, out.path(), &options(3, 1), &mut Fade, &mut |_| ());
    assert!(done.is_err());
    assert!(out.path().read_dir().unwrap().next().is_none());
}

/// There is nothing between frames behind the second.
struct Torn(usize);

impl Between for Torn {
    fn check(&self, size: (usize, usize)) -> Result<(), String> {
        if size == SIZE { Ok(()) } else { Err("too small".to_owned()) }
    }

    fn between(&mut self, first: &Frame, _: &Frame, at: &[f32]) -> Result<Vec<Frame>, String> {
        self.0 += 1;
        if self.0 == 2 { Err("torn".to_owned()) } else { Ok(vec![first.clone(); at.len()]) }
    }
}

#[test]
fn what_lies_between_frames_fails_with_their_clip_and_number() {
    let source = clips(&[&[1; 5]]);
    let error = |source: &TempDir, instants| {
        let out = tempdir().unwrap();
        let options = options(1, instants);
        simulate_spikes(source.path(), out.path(), &options, &mut Torn(0), &mut |_| ())
            .unwrap_err()
            .to_string()
    };
    let torn = error(&source, 2);
    assert!(torn.contains("clip0\": what lies between frames 1 and 2"), "{torn}");
    add(&source, "clip1", (8, 8), &[1; 3]);
    let small = error(&source, 2);
    assert!(small.contains("clip1\": too small"), "{small}");
}

#[test]
fn light_is_added_up_where_that_is_asked_for() {
    let source = clips(&[&[0, 200, 100]]);
    let linear = SpikeSetOptions { light: Light::Linear, ..options(3, 1) };
    let (out, _) = simulated(&source, &linear).unwrap();
    let mean = [0.0, 200.0, 100.0].map(|code| to_light(code / 255.0)).iter().sum::<f64>() / 3.0;
    let expected = (crate::degrade::from_light(mean) * 255.0).round() as u8;
    assert_eq!(code(&out.path().join("rgb/train/clip0/blur/000000.png")), expected);
    assert_ne!(expected, 100);
}

fn camera(change: impl Fn(&mut SpikeCamera)) -> SpikeSetOptions {
    let mut options = options(1, 1);
    change(&mut options.camera);
    options
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Charges lie below the threshold, so that spikes are off by less than one in all.
    #[test]
    fn streams_show_what_frames_do(
        code in 0u8..=255,
        shrink in prop::sample::select(vec![1usize, 2]),
        linear in any::<bool>(),
        instants in 8usize..40,
    ) {
        let source = clips(&[&[code; 3]]);
        let light = if linear { Light::Linear } else { Light::Gamma };
        let camera = SpikeCamera { shrink, light, ..SpikeCamera::default() };
        let options = SpikeSetOptions { camera, ..options(3, instants) };
        let (out, _) = simulated(&source, &options).unwrap();
        let mut stream = stream(&out.path().join("spike/train/clip0/spike/000000.dat"));
        let frames = stream.frames();
        prop_assert_eq!(frames as usize, 3 * instants);
        let sample = f64::from(code) / 255.0;
        let expected = if linear { to_light(sample) } else { sample };
        for found in stream.intensity(Method::Mean, 0, CEILING).unwrap().values() {
            let off = (f64::from(*found) - expected).abs();
            prop_assert!(off <= 2.0 / frames as f64 + 1e-5, "{found} of {expected}");
        }
    }
}
