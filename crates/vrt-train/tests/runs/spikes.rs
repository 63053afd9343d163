//! Runs on frames with streams of spikes beside them.

use vrt_spike::{Geometry, Packed};
use vrt_video::{BitDepth, Frame, write_picture};

use super::*;

const SIDE: usize = 24;
const FRAMES: usize = 4;
/// Frames of a stream.
const STREAM: usize = 6;

/// A clip of frames in `sharp` and `blurred`, and streams as the public set has them.
fn set(bench: &Bench) {
    let geometry = Geometry::new(SIDE, SIDE).unwrap();
    let mut random = Random::new(6);
    for at in 0..FRAMES {
        for tree in ["rgb/clip/sharp", "rgb/clip/blur"] {
            let folder = bench.path(tree);
            std::fs::create_dir_all(&folder).unwrap();
            let samples = (0..3 * SIDE * SIDE).map(|_| random.uniform(0.0, 1.0)).collect();
            let path = folder.join(format!("{at:06}.png"));
            let frame = Frame::new(SIDE, SIDE, 3, samples);
            write_picture(&path, &frame, BitDepth::Eight, false).unwrap();
        }
        let folder = bench.path("spikes/clip/spike");
        std::fs::create_dir_all(&folder).unwrap();
        // The first half of a stream fires at the left, the second at the right.
        let fires = |i: usize| {
            let (frame, x) = (i / (SIDE * SIDE), i % SIDE);
            u8::from((frame < STREAM / 2) == (x < SIDE / 2))
        };
        let values: Vec<u8> = (0..STREAM * SIDE * SIDE).map(fires).collect();
        let packed = Packed::of_values(geometry, &values);
        std::fs::write(folder.join(format!("{at:06}.dat")), packed.bytes()).unwrap();
    }
    std::fs::write(bench.path("spikes/config.yaml"), "spike_w: 24\nspike_h: 24\n").unwrap();
    std::fs::write(bench.path("list.txt"), "clip 4 (24,24,3) 000000\n").unwrap();
}

fn options(bench: &Bench) -> Value {
    let mut options = small(&bench.path("none"), 2);
    let trees = json!({
        "dataroot_gt": bench.path("rgb/*/sharp"),
        "dataroot_lq": bench.path("rgb/*/blur"),
        "dataroot_spike": bench.path("spikes"),
    });
    let with = |mut section: Value| {
        section.as_object_mut().unwrap().extend(trees.as_object().unwrap().clone());
        section
    };
    options["netG"]["in_chans"] = 5.into();
    options["datasets"]["train"] = with(json!({
        "dataset_type": "VideoRecurrentTrainDataset",
        "meta_info_file": bench.path("list.txt"),
        "num_frame": 2,
        "gt_size": 16,
        "random_reverse": true,
        "dataloader_batch_size": 1,
    }));
    options["datasets"]["test"] = with(json!({ "dataset_type": "VideoRecurrentTestDataset" }));
    options["train"]["checkpoint_test"] = 2.into();
    options
}

#[test]
fn frames_are_trained_on_and_tried_with_their_spikes() {
    let bench = Bench::new();
    set(&bench);
    let options = options(&bench);
    let (summary, mut seen) = bench.run(&options, &[], false, None);
    assert_eq!(summary.unwrap().step, 2);
    let scores = seen.scores.pop().unwrap();
    assert_eq!((scores.clips.len(), scores.clips[0].frames.len()), (1, FRAMES));
    std::fs::remove_dir_all(bench.path("run")).unwrap();

    // Streams that show something else are scored otherwise: the network does look at them.
    let path = bench.path("spikes/clip/spike/000001.dat");
    let before = std::fs::read(&path).unwrap();
    std::fs::write(&path, vec![0; before.len()]).unwrap();
    let changed = |seen: &Seen| seen.scores[0].clips[0].frames[1].scores.psnr;
    let still = ["datasets.train.random_reverse=false", "train.G_optimizer_lr=1e-12"];
    let (summary, dark) = bench.run(&options, &still, false, None);
    summary.unwrap();
    std::fs::remove_dir_all(bench.path("run")).unwrap();
    std::fs::write(&path, before).unwrap();
    let (summary, light) = bench.run(&options, &still, false, None);
    summary.unwrap();
    assert_ne!(changed(&dark), changed(&light));
    std::fs::remove_dir_all(bench.path("run")).unwrap();

    // Forth and back.
    let (summary, seen) = bench.run(&options, &["val.flip_seq=true"], false, None);
    summary.unwrap();
    assert_eq!(seen.scores[0].clips[0].frames.len(), FRAMES);
}

#[test]
fn a_stream_that_is_missing_is_said_before_the_first_step() {
    let bench = Bench::new();
    set(&bench);
    std::fs::remove_file(bench.path("spikes/clip/spike/000003.dat")).unwrap();
    let (summary, seen) = bench.run(&options(&bench), &[], false, None);
    let error = summary.unwrap_err().to_string();
    assert!(error.contains("clip/000003.dat"), "{error}");
    assert!(seen.steps.is_empty());
}
