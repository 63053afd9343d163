//! Laws of reading, counting, reconstructing and simulating, and one real stream.

use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;
use vrt_testing::Random;

use crate::*;

/// Geometries of every kind: header columns, rows that end inside a byte, both orders and
/// directions.
fn geometries() -> impl Strategy<Value = Geometry> {
    let sides = (1_usize..40, 1_usize..9, 0_usize..9);
    let readings = (any::<bool>(), any::<bool>());
    let geometry = |((width, height, header), (most_first, upright))| {
        let order = if most_first { BitOrder::MostFirst } else { BitOrder::LeastFirst };
        let geometry = Geometry::stored(width, 8 * height, width + header).expect("whole bytes");
        geometry.with_order(order).with_upright(upright)
    };
    (sides, readings).prop_map(geometry)
}

/// Spikes of all pixels over so many frames, dense or sparse.
fn spikes(g: Geometry, frames: usize, rate: f32, seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    (0..frames * g.pixels()).map(|_| u8::from(random.uniform(0.0, 1.0) < rate)).collect()
}

fn written(bytes: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.dat");
    fs::write(&path, bytes).expect("written");
    (folder, path)
}

fn stream(g: Geometry, values: &[u8]) -> (TempDir, SpikeStream) {
    let (folder, path) = written(Packed::of_values(g, values).bytes());
    (folder, SpikeStream::open(&path, g).expect("a stream"))
}

/// The bytes of a file that `write` writes.
fn written_by(write: impl FnOnce(&mut NewFile) -> Result<(), SpikeError>) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.npy");
    let mut file = NewFile::create(&path, false).expect("a file");
    write(&mut file).expect("written");
    file.finish().expect("written");
    fs::read(path).expect("a file")
}

/// Values of a pixel over all frames.
fn of_pixel(values: &[u8], pixels: usize, pixel: usize) -> impl DoubleEndedIterator<Item = u8> {
    values[pixel..].iter().step_by(pixels).copied()
}

proptest! {
    #[test]
    fn values_packed_come_back(g in geometries(), frames in 0_usize..5, seed: u64) {
        let values = spikes(g, frames, 0.5, seed);
        let packed = Packed::of_values(g, &values);
        prop_assert_eq!(packed.frames(), frames);
        prop_assert_eq!(packed.bytes().len(), frames * g.frame_bytes());
        prop_assert_eq!(packed.values(), values);
    }

    #[test]
    fn counts_are_sums_of_values(
        g in geometries(),
        frames in prop::sample::select(vec![1_usize, 7, 8, 9, 16, 41, 254, 255, 256, 300]),
        rate in 0.0_f32..1.05,
        seed: u64,
    ) {
        let values = spikes(g, frames, rate, seed);
        let counts = Packed::of_values(g, &values).counts();
        for (pixel, count) in counts.into_iter().enumerate() {
            let sum: u32 = of_pixel(&values, g.pixels(), pixel).map(u32::from).sum();
            prop_assert_eq!(count, sum, "pixel {}", pixel);
        }
    }

    #[test]
    fn pictures_are_what_their_definitions_say(
        g in geometries(),
        frames in 1_usize..60,
        at in 0_usize..60,
        half_window in 0_usize..70,
        rate in prop::sample::select(vec![0.0_f32, 0.03, 0.3, 0.9, 1.05]),
        seed: u64,
    ) {
        let at = at % frames;
        let values = spikes(g, frames, rate, seed);
        let (_folder, mut stream) = stream(g, &values);
        let mut picture = |method| {
            stream.intensity(method, at as u64, CEILING).expect("a picture").into_values()
        };
        let mean = picture(Method::Mean);
        let playback = picture(Method::Playback { half_window: half_window as u64 });
        let interval = picture(Method::Interval);
        let share = |part: &[u8]| {
            let sum: u32 = part.iter().map(|value| u32::from(*value)).sum();
            (2.0 * f64::from(sum) / part.len() as f64).min(1.0) as f32
        };
        for pixel in 0..g.pixels() {
            let values: Vec<u8> = of_pixel(&values, g.pixels(), pixel).collect();
            prop_assert_eq!(mean[pixel], share(&values));
            let window = at.saturating_sub(half_window)..(at + half_window + 1).min(frames);
            prop_assert_eq!(playback[pixel], share(&values[window]));
            let before = values[..=at].iter().rposition(|value| *value == 1);
            let after = values[at + 1..].iter().position(|value| *value == 1);
            let expected = match (before, after) {
                (Some(before), Some(after)) => (2.0 / (at + 1 + after - before) as f32).min(1.0),
                _ => 0.0,
            };
            prop_assert_eq!(interval[pixel], expected);
        }
    }

    #[test]
    fn bins_are_the_means_of_parts(frames in 1_usize..30, bins in 1_usize..30, seed: u64) {
        let g = Geometry::new(8, 2).expect("a geometry");
        let values = spikes(g, frames, 0.4, seed);
        let (_folder, mut stream) = stream(g, &values);
        if bins > frames {
            let error = stream.bins(bins, 1.0).expect_err("too many").to_string();
            prop_assert!(error.contains("cannot be cut"), "{}", error);
            return Ok(());
        }
        let found = stream.bins(bins, 1.0).expect("pictures");
        prop_assert_eq!(found.len(), bins);
        let starts: Vec<usize> = (0..=bins).map(|bin| bin * frames / bins).collect();
        for (bin, picture) in found.iter().enumerate() {
            let part = &values[starts[bin] * g.pixels()..starts[bin + 1] * g.pixels()];
            let expected = Packed::of_values(g, part).mean(1.0);
            prop_assert_eq!(picture, &expected);
        }
    }
}

#[test]
fn a_written_stream_is_read_and_nothing_is_replaced_unasked() {
    let g = Geometry::stored(400, 250, 416).expect("a geometry");
    let parts = [1, 2].map(|seed| Packed::of_values(g, &spikes(g, 3, 0.3, seed)));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a.dat");
    let mut file = NewFile::create(&path, false).expect("a file");
    parts.iter().for_each(|part| file.write_frames(part).expect("written"));
    assert!(!path.exists(), "half a stream is in its place");
    file.finish().expect("written");
    let mut stream = SpikeStream::open(&path, g).expect("a stream");
    assert_eq!(stream.frames(), 6);
    assert_eq!(stream.read(0..3).expect("frames"), parts[0]);
    assert_eq!(stream.read(3..6).expect("frames"), parts[1]);
    let error = NewFile::create(&path, false).expect_err("there already");
    assert!(matches!(error, SpikeError::Exists { .. }), "{error}");
    // One that is broken off leaves the old one and nothing else.
    let mut file = NewFile::create(&path, true).expect("a file");
    file.write_frames(&parts[0]).expect("written");
    drop(file);
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    assert_eq!(SpikeStream::open(&path, g).expect("a stream").frames(), 6);
    let mut file = NewFile::create(&path, true).expect("a file");
    file.write_frames(&parts[0]).expect("written");
    file.finish().expect("written");
    assert_eq!(SpikeStream::open(&path, g).expect("a stream").frames(), 3);
    // One that somebody else has made meanwhile stays.
    let other = folder.path().join("b.dat");
    let file = NewFile::create(&other, false).expect("a file");
    fs::write(&other, "theirs").expect("written");
    assert!(matches!(file.finish().expect_err("there now"), SpikeError::Exists { .. }));
    assert_eq!(fs::read_to_string(&other).expect("text"), "theirs");
}

#[test]
fn files_that_do_not_fit_are_told_what_they_would_fit() {
    let g = Geometry::new(400, 250).expect("a geometry");
    let (_folder, path) = written(&vec![0; 2 * 28_800]);
    let error = SpikeStream::open(&path, g).expect_err("another size").to_string();
    assert!(error.contains("a.dat: 57600 bytes") && error.contains("400×250"), "{error}");
    assert!(error.contains("it would be 2 of 640×360"), "{error}");
    let (_folder, path) = written(&[0; 7]);
    let error = SpikeStream::open(&path, g).expect_err("another size").to_string();
    assert!(error.contains("no known camera's"), "{error}");
    let (_folder, path) = written(&[]);
    let error = SpikeStream::open(&path, g).expect_err("empty").to_string();
    assert!(error.contains("empty"), "{error}");
    SpikeStream::open(Path::new("/nowhere/a.dat"), g).expect_err("no file");
}

#[test]
fn geometries_that_cannot_be_are_refused() {
    let cases = [
        (Geometry::new(0, 8), "0×8"),
        (Geometry::new(8, 1 << 20), "8×1048576"),
        (Geometry::stored(8, 8, 1 << 40), "sides are"),
        (Geometry::stored(8, 8, 7), "stored 7 columns"),
        (Geometry::new(3, 3), "9 bits"),
    ];
    for (found, message) in cases {
        let error = found.expect_err(message).to_string();
        assert!(error.contains(message), "{message} is not in: {error}");
    }
    for camera in Camera::KNOWN {
        let g = camera.geometry();
        let stored = Geometry::stored(camera.width, camera.height, camera.stored_width);
        assert_eq!(stored, Ok(g));
        assert_eq!(Camera::named(camera.name), Some(camera));
    }
}

#[test]
fn times_outside_of_a_stream_are_refused() {
    let g = Geometry::new(8, 1).expect("a geometry");
    let (_folder, mut stream) = stream(g, &spikes(g, 5, 0.5, 1));
    let error = stream.intensity(Method::PLAYBACK, 5, 2.0).expect_err("no frame").to_string();
    assert!(error.contains("no frame 5") && error.contains("from 0 to 4"), "{error}");
    stream.read(3..6).expect_err("no frame");
    assert_eq!(stream.read(5..5).expect("nothing").frames(), 0);
}

#[test]
fn statistics_are_those_of_the_pixels() {
    let g = Geometry::new(4, 2).expect("a geometry");
    // A pixel that never fires, one that always does, and one of every second frame.
    let values: Vec<u8> = (0..10).flat_map(|t| [0, 1, t % 2, 0, 0, 0, 0, t % 2]).collect();
    let (_folder, mut stream) = stream(g, &values);
    let found = stream.statistics().expect("statistics");
    assert_eq!((found.frames, found.range), (10, [0.0, 1.0]));
    assert_eq!((found.silent, found.saturated), (5.0 / 8.0, 1.0 / 8.0));
    assert!((found.rate - 0.25).abs() < 1e-12, "{}", found.rate);
    let fires = stream.spikes_of([2, 0], 3..7).expect("spikes");
    assert_eq!(fires, [true, false, true, false]);
}

/// Spikes of a sensor that looks at one light for so many frames.
fn seen(g: Geometry, options: SensorOptions, light: &[f32], frames: usize) -> Packed {
    let mut sensor = SpikeSensor::new(g, options);
    let bytes: Vec<u8> = (0..frames).flat_map(|_| sensor.look(light).bytes().to_vec()).collect();
    assert_eq!(sensor.frames(), frames as u64);
    Packed::new(g, bytes)
}

#[test]
fn what_a_sensor_saw_comes_back_within_one_spike() {
    let g = Geometry::new(64, 32).expect("a geometry");
    let light: Vec<f32> = (0..g.pixels()).map(|i| i as f32 / g.pixels() as f32).collect();
    for frames in [41, 300] {
        let options = SensorOptions { seed: 3, ..SensorOptions::default() };
        let (_folder, path) = written(seen(g, options, &light, frames).bytes());
        let mut stream = SpikeStream::open(&path, g).expect("a stream");
        let picture = stream.intensity(Method::Mean, 0, CEILING).expect("a picture");
        // A charge of light · frames from any first charge is one more or less spike of worth
        // threshold / frames; drawn evenly, its variance is at most a quarter of that squared.
        let spike = 2.0 / frames as f32;
        let apart: Vec<f32> =
            picture.values().iter().zip(&light).map(|(found, light)| found - light).collect();
        assert!(apart.iter().all(|apart| apart.abs() <= spike * 1.01), "{frames} frames");
        let mean = apart.iter().sum::<f32>() / apart.len() as f32;
        let square = apart.iter().map(|apart| apart * apart).sum::<f32>() / apart.len() as f32;
        assert!(mean.abs() < 0.05 * spike, "{mean} of {spike}");
        assert!(square <= 0.25 * spike * spike * 1.05, "{square} of {}", spike * spike);
    }
}

#[test]
fn resets_and_darkness_do_what_they_say() {
    let g = Geometry::new(32, 32).expect("a geometry");
    let rate = |options, light: f32| {
        let spikes = seen(g, options, &vec![light; g.pixels()], 400);
        let sum: u32 = spikes.counts().into_iter().sum();
        f64::from(sum) / (400 * g.pixels()) as f64
    };
    let options = SensorOptions::default();
    let near = |found: f64, expected: f64| {
        assert!((found - expected).abs() < 0.005, "{found}, expected {expected}");
    };
    near(rate(options, 0.6), 0.3);
    // From nothing, 0.6 takes four frames to reach 2.
    near(rate(SensorOptions { reset: Reset::Zero, ..options }, 0.6), 0.25);
    near(rate(SensorOptions { dark: 0.2, ..options }, 0.6), 0.4);
    near(rate(SensorOptions { dark: 0.2, ..options }, 0.0), 0.1);
    assert_eq!(rate(options, 0.0), 0.0);
    assert_eq!(rate(options, -1.0), 0.0);
}

#[test]
fn the_same_seed_is_the_same_stream() {
    let g = Geometry::new(16, 16).expect("a geometry");
    let options = SensorOptions { dark: 0.1, seed: 5, ..SensorOptions::default() };
    let light = vec![0.4; g.pixels()];
    let [first, again] = [(); 2].map(|()| seen(g, options, &light, 20));
    assert_eq!(first, again);
    assert_ne!(first, seen(g, SensorOptions { seed: 6, ..options }, &light, 20));
}

/// The correlation of two pictures.
fn correlation(a: &[f32], b: &[f32]) -> f64 {
    let mean = |x: &[f32]| x.iter().map(|x| f64::from(*x)).sum::<f64>() / x.len() as f64;
    let (ma, mb) = (mean(a), mean(b));
    let [mut ab, mut aa, mut bb] = [0.0; 3];
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (f64::from(*a) - ma, f64::from(*b) - mb);
        (ab, aa, bb) = (ab + a * b, aa + a * a, bb + b * b);
    }
    ab / (aa * bb).sqrt()
}

#[test]
fn a_real_stream_shows_its_sharp_frame() {
    let Some(shared) = vrt_testing::shared_root() else {
        eprintln!("SKIPPED: the real stream is not on this machine");
        return;
    };
    let path = shared.join("spike/000226.dat");
    let sharp = image::open(shared.join("spike/000226.png")).expect("a picture");
    let sharp = sharp.resize_exact(640, 360, image::imageops::FilterType::Triangle).to_luma8();
    let sharp: Vec<f32> = sharp.as_raw().iter().map(|value| f32::from(*value)).collect();
    let g = Camera::named("gopro").expect("known").geometry();
    let found = |g: Geometry, method| {
        let mut stream = SpikeStream::open(&path, g).expect("a stream");
        let at = stream.frames() / 2;
        correlation(stream.intensity(method, at, CEILING).expect("a picture").values(), &sharp)
    };
    assert_eq!(SpikeStream::open(&path, g).expect("a stream").frames(), 88);
    let playback = Method::Playback { half_window: 16 };
    for (method, least) in [
        (Method::Mean, 0.97),
        (playback, 0.985),
        (Method::PLAYBACK, 0.985),
        (Method::Interval, 0.96),
    ] {
        let found = found(g, method);
        eprintln!("{method:?}: {found:.4}");
        assert!(found >= least, "{method:?}: {found}");
    }
    // Wrong readings show less, or nothing.
    assert!(found(g.with_order(BitOrder::MostFirst), playback) < 0.95);
    assert!(found(g.with_upright(true), playback) < 0.3);
    let wrong = Geometry::new(400, 250).expect("a geometry");
    let error = SpikeStream::open(&path, wrong).expect_err("another size").to_string();
    assert!(error.contains("88 of 640×360"), "{error}");
}

fn side_file(folder: &Path, text: &str) {
    fs::write(folder.join("config.yaml"), text).expect("written");
}

#[test]
fn geometries_are_those_stated_or_of_a_side_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let inner = folder.path().join("clip");
    fs::create_dir(&inner).expect("a folder");
    let path = inner.join("000000.dat");
    fs::write(&path, vec![0; 57_600]).expect("written");
    let plain = Stated::default();
    let error = settle(&path, &plain).expect_err("nobody says").to_string();
    assert!(error.contains("config.yaml") && error.contains("2 of 640×360"), "{error}");
    side_file(folder.path(), "a: 1\nsensor:\n  spike_h: 360  # rows\n  \"spike_w\": 640\n");
    let found = settle(&path, &plain).expect("a geometry");
    assert_eq!(found, Camera::named("gopro").expect("known").geometry());
    let stated = Stated { size: Some((320, 180)), upright: true, ..plain.clone() };
    let found = settle(&path, &stated).expect("a geometry");
    assert_eq!((found.width(), found.height(), found.upright()), (320, 180, true));
    let stated =
        Stated { camera: Camera::named("400x250"), order: BitOrder::MostFirst, ..plain.clone() };
    let found = settle(&path, &stated).expect("a geometry");
    assert_eq!((found.stored_width(), found.order()), (416, BitOrder::MostFirst));
    for (text, message) in [
        ("spike_h: 360\n", "it has no spike_w"),
        ("spike_h: 360\nspike_w: wide\n", "spike_w is \"wide\""),
        ("spike_h: 0\nspike_w: 640\n", "640×0"),
    ] {
        side_file(&inner, text);
        let error = settle(&path, &plain).expect_err(message).to_string();
        assert!(error.contains("config.yaml") && error.contains(message), "{error}");
    }
    let nowhere = Stated { config: Some(PathBuf::from("/nowhere")), ..plain };
    settle(&path, &nowhere).expect_err("no file");
}

/// The bytes of an array of this type and shape.
fn array(kind: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let text = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let len = (text.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\x00".as_slice(), &len, text.as_bytes(), data].concat()
}

fn found_in(name: &str, bytes: &[u8]) -> Result<SpikeStream, SpikeError> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("written");
    SpikeStream::find(&path, &Stated::default())
}

#[test]
fn arrays_are_streams() {
    let g = Geometry::stored(13, 8, 16).expect("a geometry");
    let values = spikes(g, 5, 0.4, 3);
    let (_folder, mut whole) = stream(g, &values);
    let bytes = written_by(|file| whole.write_npy(file));
    let mut stream = found_in("a.npy", &bytes).expect("a stream");
    assert_eq!((stream.frames(), stream.geometry()), (5, g));
    assert_eq!(stream.read(1..4).expect("frames").values(), values[g.pixels()..4 * g.pixels()]);
    let plain = found_in("b.npy", &array("|b1", "(5, 8, 13)", &values)).expect("a stream");
    assert_eq!(plain.geometry(), g);
    // In an archive, by its name or because it is the only one.
    let archive = |entries: &[(&str, &[u8])]| {
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, bytes) in entries {
            let options = zip::write::SimpleFileOptions::default()
                .compression_method(zip::CompressionMethod::Deflated);
            zip.start_file(*name, options).expect("an entry");
            std::io::Write::write_all(&mut zip, bytes).expect("written");
        }
        zip.finish().expect("an archive").into_inner()
    };
    for entries in [
        vec![("arr_0.npy", bytes.as_slice())],
        vec![("other.npy", [0].as_slice()), ("spikes.npy", &bytes)],
    ] {
        let mut stream = found_in("a.npz", &archive(&entries)).expect("a stream");
        assert_eq!(stream.read(0..5).expect("frames").values(), values);
    }
    let entries = [("a.npy", bytes.as_slice()), ("b.npy", &bytes)];
    let error = found_in("a.npz", &archive(&entries)).expect_err("two").to_string();
    assert!(error.contains("a.npy, b.npy") && error.contains("spikes"), "{error}");
    found_in("a.npz", &archive(&[])).expect_err("nothing in it");
    found_in("a.npz", b"PK").expect_err("no archive");
}

#[test]
fn arrays_that_are_no_spikes_are_refused() {
    let cases: [(Vec<u8>, &str); 9] = [
        (array("|u1", "(1, 2, 8)", &[2; 16]), "there is a 2 in frame 0"),
        (array("|u1", "(2, 2, 8)", &[1; 16]), "ends before"),
        (array("<f4", "(1, 2, 8)", &[0; 64]), "<f4"),
        (array("|u1", "(2, 8)", &[0; 16]), "[2, 8]"),
        (array("|u1", "(9000000000000, 8, 8)", &[]), "taken into memory"),
        (array("|u1", "(1, 18446744073709551615, 8)", &[]), "sides are"),
        (array("|u1", "(0, 8, 8)", &[]), "empty"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff rest".to_vec(), "header is 4294967295"),
        (b"spikes and more".to_vec(), "no array of NumPy"),
    ];
    for (bytes, message) in cases {
        let error = found_in("a.npy", &bytes).expect_err(message).to_string();
        assert!(error.contains(message), "{message} is not in: {error}");
    }
    let mut turned = array("|u1", "(1, 2, 8)", &[0; 16]);
    let at = turned.windows(5).position(|w| w == b"False").expect("there");
    turned[at..at + 5].copy_from_slice(b"True ");
    let error = found_in("a.npy", &turned).expect_err("turned").to_string();
    assert!(error.contains("Fortran"), "{error}");
}

#[test]
fn pictures_are_written_as_arrays() {
    let g = Geometry::new(8, 2).expect("a geometry");
    let pictures = [1, 2].map(|seed| Packed::of_values(g, &spikes(g, 4, 0.5, seed)).mean(1.0));
    let found = pictures.clone().into_iter().map(Ok);
    let bytes = written_by(|file| Intensity::write_npy(found, [2, 2, 8], file));
    let array = npyz::NpyFile::new(bytes.as_slice()).expect("an array");
    assert_eq!(array.shape(), [2, 2, 8]);
    let values: Vec<f32> = array.into_vec().expect("floats");
    assert_eq!(values, [pictures[0].values(), pictures[1].values()].concat());
}
