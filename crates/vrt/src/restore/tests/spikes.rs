//! Streams of spikes as channels.

use std::path::PathBuf;

use vrt_spike::{CEILING, Geometry, Method, Packed, Stated};
use vrt_video::Registration;

use super::*;

/// Frames of a frame's stream.
const STREAM: usize = 8;

fn geometry() -> Geometry {
    Geometry::new(WIDTH, HEIGHT).expect("a geometry")
}

/// A stream of frames in which every pixel fires in every `every`th one.
fn stream(frames: usize, every: usize) -> Packed {
    let g = geometry();
    let values: Vec<u8> = (0..frames * g.pixels())
        .map(|i| u8::from((i / g.pixels()).is_multiple_of(every)))
        .collect();
    Packed::of_values(g, &values)
}

fn input(path: PathBuf) -> SpikeInput {
    let stated = Stated { size: Some((WIDTH, HEIGHT)), ..Stated::default() };
    SpikeInput { stated, ..SpikeInput::new(path) }
}

/// A bench of so many frames with a stream for each, fired in every 4th, 8th, … frame.
fn with_streams(frames: usize) -> (Bench, RestoreOptions) {
    let bench = Bench::new(frames);
    std::fs::create_dir(bench.path("spike")).unwrap();
    for i in 0..frames {
        let packed = stream(STREAM, 4 + 4 * (i % 2));
        std::fs::write(bench.path(&format!("spike/{i:06}.dat")), packed.bytes()).unwrap();
    }
    let spike = SpikeInput { method: Method::Mean, ..input(bench.path("spike")) };
    let options = RestoreOptions { spike: Some(spike), ..tiles(2, 0) };
    (bench, options)
}

/// The value that a channel of every frame has.
fn channel(at: usize, bench: &Bench, fields: VrtFields, options: &RestoreOptions) -> Vec<f32> {
    let model = Stand::new(1, move |clip: Volume| {
        let [d, h, w, c] = clip.dims();
        let found = clip.samples().chunks(c).flat_map(|pixel| [pixel[at]; 3]).collect();
        Ok(Volume::new([d, h, w, 3], found).unwrap())
    });
    let options = RestoreOptions { overwrite: true, ..options.clone() };
    let frames = bench.run(&model, fields, &options).unwrap().frames() as usize;
    (0..frames).map(|i| bench.read(&format!("out/f{i}.png")).samples()[0]).collect()
}

fn near(found: &[f32], expected: &[f32]) {
    let fine = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4);
    assert!(found.len() == expected.len() && fine, "{found:?}, expected {expected:?}");
}

fn refused(bench: &Bench, options: &RestoreOptions) -> SpikeError {
    let model = Stand::new(1, |clip: Volume| Ok(third_of_four(&clip)));
    let error = bench.run(&model, VrtFields::default(), options).unwrap_err();
    assert!(model.clips.lock().unwrap().is_empty(), "work was done before: {error}");
    match error {
        RestoreError::Spike(error) => error,
        error => panic!("{error}"),
    }
}

#[test]
fn a_stream_a_frame_is_a_channel() {
    let (bench, options) = with_streams(3);
    let found = channel(3, &bench, VrtFields::default(), &options);
    near(&found, &[0.25, 0.125, 0.25].map(|rate| rate * CEILING));
}

#[test]
fn several_channels_are_parts_of_a_stream() {
    let (bench, options) = with_streams(2);
    // Four parts of two frames each; frames 0 and 4 fire in the first stream, 0 in the second.
    let fields = VrtFields { in_channels: 7, ..VrtFields::default() };
    for (part, expected) in [[1.0, 1.0], [0.0, 0.0], [1.0, 0.0], [0.0, 0.0]].iter().enumerate() {
        near(&channel(3 + part, &bench, fields.clone(), &options), expected);
    }
}

#[test]
fn frames_are_found_in_one_stream_by_their_times() {
    let bench = Bench::new(3);
    // All pixels fire from frame 20 on.
    let g = geometry();
    let values: Vec<u8> = (0..40 * g.pixels()).map(|i| u8::from(i / g.pixels() >= 20)).collect();
    std::fs::write(bench.path("long.dat"), Packed::of_values(g, &values).bytes()).unwrap();
    std::fs::write(bench.path("times.txt"), "30\n2.9\n\n 25 \n").unwrap();
    let options = |clock| {
        let method = Method::Playback { half_window: 1 };
        let spike = SpikeInput { method, clock, ..input(bench.path("long.dat")) };
        RestoreOptions { spike: Some(spike), ..tiles(2, 0) }
    };
    let fields = VrtFields::default;
    let steady = options(Some(Clock::Steady { first: Some(5.0), step: 14.5 }));
    // Frames 5, 19 and 34; of 18 to 20, one fires.
    near(&channel(3, &bench, fields(), &steady), &[0.0, 2.0 / 3.0, 1.0]);
    let listed = options(Some(Clock::File(bench.path("times.txt"))));
    near(&channel(3, &bench, fields(), &listed), &[1.0, 0.0, 1.0]);

    let error = refused(&bench, &options(Some(Clock::Steady { first: Some(5.0), step: 20.0 })));
    assert!(matches!(error, SpikeError::Outside { frame: 2, frames: 40, .. }), "{error}");
    assert!(matches!(refused(&bench, &options(None)), SpikeError::NoClock { .. }));
    for (text, message) in [
        ("1\n2\n", "has those of 2"),
        ("1\n2\n3\n4\n", "spikes of 4 frames"),
        ("1\n2\n40\n", "at frame 40"),
        ("1\nsoon\n3\n", "line 2: \"soon\""),
    ] {
        std::fs::write(bench.path("times.txt"), text).unwrap();
        let error = refused(&bench, &options(Some(Clock::File(bench.path("times.txt")))));
        assert!(error.to_string().contains(message), "{message} is not in: {error}");
    }
}

#[test]
fn several_channels_are_parts_of_one_stream_around_a_time() {
    let bench = Bench::new(3);
    // All pixels fire in frames 10 to 19.
    let g = geometry();
    let fires = |frame: usize| u8::from((10..20).contains(&frame));
    let values: Vec<u8> = (0..40 * g.pixels()).map(|i| fires(i / g.pixels())).collect();
    std::fs::write(bench.path("long.dat"), Packed::of_values(g, &values).bytes()).unwrap();
    std::fs::write(bench.path("times.txt"), "4\n14\n34\n").unwrap();
    let fields = || VrtFields { in_channels: 5, ..VrtFields::default() };
    let options = |clock, window| {
        let clock = Some(clock);
        let spike = SpikeInput { clock, window, ..input(bench.path("long.dat")) };
        RestoreOptions { spike: Some(spike), ..tiles(2, 0) }
    };
    let steady = |first| Clock::Steady { first: Some(first), step: 10.0 };
    // Ten frames around frames 4, 14 and 24: 0 to 9, 10 to 19, 20 to 29.
    let ten = options(steady(4.0), None);
    near(&channel(3, &bench, fields(), &ten), &[0.0, 1.0, 0.0]);
    near(&channel(4, &bench, fields(), &ten), &[0.0, 1.0, 0.0]);
    // Twenty around frame 4: −5 to 14. Its halves meet at frame 5 though the first begins at 0.
    let twenty = options(steady(4.0), Some(20));
    near(&channel(3, &bench, fields(), &twenty), &[0.0, 1.0, 1.0]);
    near(&channel(4, &bench, fields(), &twenty), &[1.0, 1.0, 0.0]);
    let five = options(steady(9.0), Some(20));
    near(&channel(3, &bench, fields(), &five), &[0.0, 1.0, 0.0]);
    // The stream begins with the first window.
    let begins = options(Clock::Steady { first: None, step: 10.0 }, None);
    near(&channel(4, &bench, fields(), &begins), &[0.0, 1.0, 0.0]);
    let listed = options(Clock::File(bench.path("times.txt")), Some(10));
    near(&channel(4, &bench, fields(), &listed), &[0.0, 1.0, 0.0]);

    let model = Stand::new(1, |clip: Volume| Ok(third_of_four(&clip)));
    let four = || VrtFields { in_channels: 7, ..VrtFields::default() };
    for (fields, options, words) in [
        (fields(), options(steady(4.0), Some(1)), "too short"),
        (fields(), options(Clock::File(bench.path("times.txt")), None), "state of how many frames"),
        (VrtFields::default(), options(steady(4.0), Some(8)), "--spike-half-window"),
        // Its first quarter lies before the stream, its last one behind.
        (four(), options(steady(0.0), Some(8)), "frame 0 of the video"),
        (four(), options(steady(19.0), Some(8)), "frame 2 of the video"),
        // Two of the five frames of its first half are there.
        (fields(), options(steady(1.0), None), "frame 0 of the video"),
    ] {
        let error = bench.run(&model, fields, &options).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert!(model.clips.lock().unwrap().is_empty(), "work was done before");
    }
}

#[test]
fn a_registration_says_where_frames_are_on_the_sensor() {
    let (bench, mut options) = with_streams(2);
    // The right half of the sensor fires all the time.
    let g = geometry();
    let fires = |i: usize| u8::from(i % WIDTH >= WIDTH / 2);
    let values: Vec<u8> = (0..STREAM * g.pixels()).map(fires).collect();
    for i in 0..2 {
        let path = bench.path(&format!("spike/{i:06}.dat"));
        std::fs::write(path, Packed::of_values(g, &values).bytes()).unwrap();
    }
    let file = bench.path("align.txt");
    near(&channel(3, &bench, VrtFields::default(), &options), &[0.0, 0.0]);
    let spike = options.spike.as_mut().unwrap();
    // Frames show what lies half a sensor to the right, with half its pixels.
    std::fs::write(&file, format!("0.5 0 {}\n0 0.5 0\n", WIDTH / 2 + 1)).unwrap();
    spike.align = Some(Registration::read(&file).unwrap());
    near(&channel(3, &bench, VrtFields::default(), &options), &[1.0, 1.0]);
    std::fs::write(&file, "1 0 5000 0 1 0").unwrap();
    options.spike.as_mut().unwrap().align = Some(Registration::read(&file).unwrap());
    options.overwrite = true;
    let model = Stand::new(1, |clip: Volume| Ok(third_of_four(&clip)));
    let error = bench.run(&model, VrtFields::default(), &options).unwrap_err();
    assert!(error.to_string().contains("of a frame of"), "{error}");
}

#[test]
fn spikes_are_held_to_the_frames_that_are_restored() {
    let (bench, mut options) = with_streams(4);
    // A clip of four frames: of two, the others do not matter.
    options.frames = Some(2);
    near(
        &channel(3, &bench, VrtFields::default(), &options),
        &[0.25, 0.125].map(|it| it * CEILING),
    );
    std::fs::remove_file(bench.path("spike/000003.dat")).unwrap();
    std::fs::remove_file(bench.path("spike/000002.dat")).unwrap();
    options.overwrite = true;
    options.frames = Some(3);
    assert!(matches!(refused(&bench, &options), SpikeError::TooFew { given: 2, .. }));

    let g = geometry();
    std::fs::write(bench.path("long.dat"), vec![0; 20 * g.frame_bytes()]).unwrap();
    std::fs::write(bench.path("times.txt"), "1\n2\n3\n40\n").unwrap();
    for clock in [Clock::Steady { first: None, step: 7.0 }, Clock::File(bench.path("times.txt"))] {
        let spike = SpikeInput { clock: Some(clock), ..input(bench.path("long.dat")) };
        let options = |frames| RestoreOptions {
            spike: Some(spike.clone()),
            frames: Some(frames),
            ..options.clone()
        };
        near(&channel(3, &bench, VrtFields::default(), &options(3)), &[0.0; 3]);
        let error = refused(&bench, &options(9));
        assert!(matches!(error, SpikeError::Outside { frame: 3, .. }), "{error}");
    }
}

#[test]
fn times_are_not_for_folders() {
    let (bench, mut options) = with_streams(2);
    let clock = Some(Clock::Steady { first: Some(0.0), step: 8.0 });
    options.spike.as_mut().unwrap().clock = clock;
    assert!(matches!(refused(&bench, &options), SpikeError::Clock { .. }));
    options.spike.as_mut().unwrap().clock = None;
    options.spike.as_mut().unwrap().window = Some(4);
    assert!(matches!(refused(&bench, &options), SpikeError::Clock { .. }));
}

#[test]
fn streams_that_are_missing_short_extra_or_misnumbered_are_refused_before_any_work() {
    let (bench, options) = with_streams(4);
    let path = |i: usize| bench.path(&format!("spike/{i:06}.dat"));
    let write = |i: usize, frames| std::fs::write(path(i), stream(frames, 4).bytes()).unwrap();

    write(4, STREAM);
    let error = refused(&bench, &options);
    assert!(matches!(error, SpikeError::TooMany { given: 5, frames: 4, .. }), "{error}");

    std::fs::remove_file(path(4)).unwrap();
    std::fs::remove_file(path(3)).unwrap();
    let error = refused(&bench, &options);
    assert!(matches!(error, SpikeError::TooFew { given: 3, .. }), "{error}");

    write(4, STREAM);
    let error = refused(&bench, &options);
    let number = matches!(&error, SpikeError::Number { step: 1, path: at, .. } if *at == path(4));
    assert!(number, "{error}");

    std::fs::remove_file(path(4)).unwrap();
    write(3, STREAM - 1);
    let error = refused(&bench, &options);
    let short = matches!(&error, SpikeError::Differs { path: at, .. } if *at == path(3));
    assert!(short, "{error}");

    // Half a frame less is no stream of this size at all.
    let bytes = stream(STREAM, 4).bytes().to_vec();
    std::fs::write(path(3), &bytes[..bytes.len() - 3]).unwrap();
    let model = Stand::new(1, |clip: Volume| Ok(third_of_four(&clip)));
    let error = bench.run(&model, VrtFields::default(), &options).unwrap_err();
    assert!(error.to_string().contains("no whole number of frames"), "{error}");
    assert!(model.clips.lock().unwrap().is_empty());
}
