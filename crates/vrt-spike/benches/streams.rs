//! Gigabytes of raw stream a second: what a stream is turned into pictures at, beside counting bit by
//! bit, in one process.
//!
//! `cargo bench -p vrt-spike` prints a table; `python tools/peer/spikes.py` does the same with NumPy.
//! `cargo test` runs each once on a small stream and compares.

use std::hint::black_box;
use std::time::Instant;

use vrt_spike::{BitOrder, Geometry, Method, Packed, SensorOptions, SpikeSensor, SpikeStream};

/// Timed runs, of which the median counts.
const RUNS: usize = 5;

/// A second of a camera of 400×250 at 20 kHz, and a hundred frames to test on.
const FRAMES: [usize; 2] = [20_000, 100];

/// A way to make pictures, how many bytes it reads in one run, and what it finds.
struct Case {
    name: &'static str,
    bytes: usize,
    run: Box<dyn FnMut() -> Vec<f32>>,
}

fn main() {
    let bench = std::env::args().any(|argument| argument == "--bench");
    let g = Geometry::stored(400, 250, 416).expect("a geometry");
    let packed = stream(g, if bench { FRAMES[0] } else { FRAMES[1] });
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), packed.bytes()).expect("written");
    let mut cases = cases(&packed, file.path());
    check(&mut cases);
    if !bench {
        return;
    }
    table(&packed, &mut cases);
}

#[expect(clippy::print_stdout, reason = "the table is what the bench is run for")]
fn table(packed: &Packed, cases: &mut [Case]) {
    let (g, megabytes) = (packed.geometry(), packed.bytes().len() as f64 / 1e6);
    println!("{} frames of {g}, {megabytes:.0} MB", packed.frames());
    println!("| | ms | GB/s |\n|---|---|---|");
    for case in cases {
        let mut seconds: Vec<f64> = (0..RUNS).map(|_| timed(&mut case.run)).collect();
        seconds.sort_by(f64::total_cmp);
        let median = seconds[RUNS / 2];
        let rate = case.bytes as f64 / median / 1e9;
        println!("| {} | {:.2} | {rate:.2} |", case.name, 1e3 * median);
    }
}

/// What a camera sees of a ramp of light.
fn stream(g: Geometry, frames: usize) -> Packed {
    let light: Vec<f32> = (0..g.pixels()).map(|i| i as f32 / g.pixels() as f32).collect();
    let mut sensor = SpikeSensor::new(g, SensorOptions::default());
    let bytes = (0..frames).flat_map(|_| sensor.look(&light).bytes().to_vec()).collect();
    Packed::new(g, bytes)
}

fn cases(packed: &Packed, path: &std::path::Path) -> Vec<Case> {
    let (g, frames) = (packed.geometry(), packed.frames());
    let (all, window) = (packed.bytes().len(), g.frame_bytes() * 41);
    let (memory, bitwise) = (packed.clone(), packed.clone());
    let open = || SpikeStream::open(path, g).expect("a stream");
    let (mut mean, mut playback, mut interval) = (open(), open(), open());
    let at = frames as u64 / 2;
    let picture = move |stream: &mut SpikeStream, method| {
        stream.intensity(method, at, 2.0).expect("a picture").into_values()
    };
    vec![
        Case {
            name: "mean, from memory",
            bytes: all,
            run: Box::new(move || memory.mean(2.0).into_values()),
        },
        Case { name: "mean, bit by bit", bytes: all, run: Box::new(move || bit_by_bit(&bitwise)) },
        Case {
            name: "mean, from a file",
            bytes: all,
            run: Box::new(move || picture(&mut mean, Method::Mean)),
        },
        Case {
            name: "tfp of 41 frames, from a file",
            bytes: window,
            run: Box::new(move || picture(&mut playback, Method::PLAYBACK)),
        },
        Case {
            name: "tfi, from a file, with pixels that never fire",
            // Looked for as far as it is looked at all.
            bytes: g.frame_bytes() * frames.min(2 * Method::LONGEST_WAIT as usize),
            run: Box::new(move || picture(&mut interval, Method::Interval)),
        },
    ]
}

/// The definition.
fn bit_by_bit(packed: &Packed) -> Vec<f32> {
    let g = packed.geometry();
    debug_assert_eq!(g.order(), BitOrder::LeastFirst);
    let mut sums = vec![0_u32; g.pixels()];
    for frame in packed.bytes().chunks_exact(g.frame_bytes()) {
        for (y, sums) in sums.chunks_exact_mut(g.width()).enumerate() {
            let row = (g.height() - 1 - y) * g.stored_width();
            for (x, sum) in sums.iter_mut().enumerate() {
                *sum += u32::from(frame[(row + x) / 8] >> ((row + x) % 8) & 1);
            }
        }
    }
    let frames = packed.frames() as f64;
    sums.into_iter().map(|sum| (f64::from(sum) * (2.0 / frames)).min(1.0) as f32).collect()
}

/// All means are one.
fn check(cases: &mut [Case]) {
    let expected = (cases[1].run)();
    for case in cases.iter_mut().filter(|case| case.name.starts_with("mean")) {
        assert_eq!((case.run)(), expected, "{}", case.name);
    }
}

fn timed(run: &mut dyn FnMut() -> Vec<f32>) -> f64 {
    let start = Instant::now();
    black_box(run());
    start.elapsed().as_secs_f64()
}
