//! Runs that end early, and what they leave.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use vrt_model::config::VrtConfig;
use vrt_model::volume::Volume;
use vrt_video::VideoError;

use super::super::*;
use super::stand::{Bench, GivesUp, Stand, rgb, tiles};

#[test]
fn too_little_memory_is_an_error_before_anything_is_written() {
    let bench = Bench::new(3);
    let tile =
        TileChoice::Auto { memory: Some(Budget::Machine(1 << 20)), overlap: Overlap::default() };
    let options = RestoreOptions { tile, ..RestoreOptions::default() };
    let error = bench.run(&Stand::new(1, Ok), rgb(), &options).unwrap_err();
    assert!(matches!(error, RestoreError::Plan(_)), "{error}");
    assert!(!bench.path("out").exists());
}

#[test]
fn a_frame_that_cannot_be_read_ends_the_run_behind_the_frames_before_it() {
    let bench = Bench::new(7);
    std::fs::write(bench.path("in/f5.png"), b"no picture").unwrap();
    let error = bench.run(&Stand::new(1, Ok), rgb(), &tiles(3, 0)).unwrap_err();
    let RestoreError::Partial { cause, written } = &error else { panic!("{error}") };
    assert!(
        matches!(**cause, RestoreError::Video(VideoError::Picture { frame: 5, .. })),
        "{cause}"
    );
    assert_eq!(written.frames, 5);
    assert_eq!(bench.outputs(), ["f0.png", "f1.png", "f2.png", "f3.png", "f4.png"]);
    for part in ["f5.png", "5 restored frames are whole"] {
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn a_frame_that_cannot_be_written_ends_the_run() {
    let bench = Bench::new(30);
    // A folder where a file should be: no file can take its name.
    std::fs::create_dir_all(bench.path("out/f4.png")).unwrap();
    let model = Stand::new(1, Ok);
    let options = RestoreOptions { overwrite: true, ..tiles(2, 0) };
    let error = bench.run(&model, rgb(), &options).unwrap_err();
    let write = matches!(error, RestoreError::Video(VideoError::Write { frame: 4, .. }));
    assert!(write, "{error}");
    assert_eq!(bench.outputs(), ["f0.png", "f1.png", "f2.png", "f3.png", "f4.png"]);
    assert!(model.clips.lock().unwrap().len() < 20, "the network works on for nobody");
}

#[test]
fn a_network_that_fails_leaves_the_frames_before_it() {
    let bench = Bench::new(9);
    let calls = Mutex::new(0);
    let model = Stand::new(1, |clip: Volume| {
        let mut calls = calls.lock().unwrap();
        *calls += 1;
        if *calls == 3 { Err(GivesUp) } else { Ok(clip) }
    });
    let error = bench.run(&model, rgb(), &tiles(3, 0)).unwrap_err();
    let RestoreError::Partial { cause, written } = &error else { panic!("{error}") };
    assert!(matches!(**cause, RestoreError::Model { first_frame: 4, .. }), "{cause}");
    assert_eq!(written.frames, 4);
    assert!(error.to_string().contains("the stand-in gives up"), "{error}");
}

#[test]
fn a_run_that_is_stopped_keeps_whole_frames() {
    let bench = Bench::new(40);
    let stop = Arc::new(AtomicBool::new(false));
    let calls = Mutex::new(0);
    let model = Stand::new(1, |clip: Volume| {
        let mut calls = calls.lock().unwrap();
        *calls += 1;
        if *calls == 5 {
            stop.store(true, Ordering::Relaxed);
        }
        Ok(clip)
    });
    let options = RestoreOptions { stop: Arc::clone(&stop), ..tiles(2, 0) };
    let summary = bench.run(&model, rgb(), &options).unwrap();
    assert!(summary.stopped);
    // Five windows of two frames, each sharing one with the next.
    assert_eq!(summary.frames(), 5);
    assert_eq!(bench.outputs().len(), 5);
}

#[test]
fn the_input_is_never_the_output() {
    let bench = Bench::new(2);
    let config = VrtConfig::new(rgb()).unwrap();
    let options = RestoreOptions { overwrite: true, ..tiles(0, 0) };
    let (input, output) = (bench.path("in"), bench.path("in/../in"));
    let model = Stand::new(1, Ok);
    let error = restore_file(&input, &output, &model, &config, &options, &mut Silent).unwrap_err();
    assert!(matches!(error, RestoreError::SameFile { .. }), "{error}");
}

#[test]
fn frames_that_are_there_are_not_replaced_unless_asked() {
    let bench = Bench::new(2);
    std::fs::create_dir(bench.path("out")).unwrap();
    std::fs::write(bench.path("out/f0.png"), b"mine").unwrap();
    let error = bench.run(&Stand::new(1, Ok), rgb(), &tiles(0, 0)).unwrap_err();
    assert!(matches!(error, RestoreError::Video(VideoError::NotEmpty { .. })), "{error}");
    assert_eq!(std::fs::read(bench.path("out/f0.png")).unwrap(), b"mine");
    let options = RestoreOptions { overwrite: true, ..tiles(0, 0) };
    assert_eq!(bench.run(&Stand::new(1, Ok), rgb(), &options).unwrap().frames(), 2);
    assert_eq!(bench.read("out/f0.png"), bench.read("in/f0.png"));
}
