//! Spikes beside frames: the same part of the same frame, turned alike.

use vrt_spike::{CEILING, Geometry, Method, Packed, Stated};

use super::*;

/// Half as many columns and rows as frames have, and frames of a stream.
const SPIKES: (usize, usize) = (SIZE.0 / 2, SIZE.1 / 2);
const STREAM: usize = 48;

fn geometry() -> Geometry {
    Geometry::new(SPIKES.0, SPIKES.1).unwrap()
}

/// A set with a stream for each frame; `fires` says whether a pixel (column, row) does.
fn set_with(
    fires: impl Fn([usize; 2], usize) -> bool,
    channels: usize,
) -> (TempDir, TrainingSetOptions) {
    let root = recurrent_set(1);
    let g = geometry();
    let values: Vec<u8> = (0..STREAM * g.pixels())
        .map(|i| u8::from(fires([i % SPIKES.0, i / SPIKES.0 % SPIKES.1], i / g.pixels())))
        .collect();
    let packed = Packed::of_values(g, &values);
    for (clip, frames) in CLIPS {
        std::fs::create_dir_all(root.path().join("spikes").join(clip)).unwrap();
        for number in 0..frames {
            let path = root.path().join(format!("spikes/{clip}/{:05}.dat", number + 3));
            std::fs::write(path, packed.bytes()).unwrap();
        }
    }
    let spikes = SpikeTree {
        root: root.path().join("spikes"),
        stated: Stated { size: Some(SPIKES), ..Stated::default() },
        method: Method::Mean,
        channels,
        ceiling: CEILING,
        align: None,
        extension: "dat".to_owned(),
    };
    let options = options(root.path(), SetKind::Recurrent);
    (root, TrainingSetOptions { spikes: Some(spikes), ..options })
}

/// Column `x` fires in 2·x of 48 frames: its picture is x/12.
fn ramp([x, _]: [usize; 2], t: usize) -> bool {
    t < 2 * x
}

#[test]
fn spikes_are_cut_and_turned_with_their_frames() {
    let (_root, options) = set_with(ramp, 1);
    let options = TrainingSetOptions { flip: true, rotate: true, random_reverse: true, ..options };
    let set = TrainingSet::open(options).unwrap();
    for index in 0..set.len() {
        let sample = set.sample(index, &mut random(index as u64)).unwrap();
        for frame in &sample.degraded {
            assert_eq!(frame.channels(), 4);
            for pixel in frame.samples().chunks_exact(4) {
                // Red is the column; spikes have half as many.
                let column = (pixel[0] * 255.0).round();
                let place = ((column + 0.5) / 2.0 - 0.5).clamp(0.0, SPIKES.0 as f32 - 1.0);
                assert!((pixel[3] - place / 12.0).abs() < 1e-5, "{pixel:?}");
            }
        }
        assert!(sample.sharp.iter().all(|frame| frame.channels() == 3));
    }
}

#[test]
fn parts_of_streams_run_backwards_with_their_clip() {
    let (_root, options) = set_with(|_, t| t >= STREAM / 2, 2);
    let set = TrainingSet::open(TrainingSetOptions { random_reverse: true, ..options }).unwrap();
    let mut seen = [false; 2];
    for index in 0..set.len() {
        let sample = set.sample(index, &mut random(index as u64)).unwrap();
        let blues = blues(&sample.degraded);
        let backwards = blues[0] > blues[1];
        seen[usize::from(backwards)] = true;
        let expected = if backwards { [1.0, 0.0] } else { [0.0, 1.0] };
        for frame in &sample.degraded {
            assert!(frame.samples().chunks_exact(5).all(|pixel| pixel[3..] == expected));
        }
    }
    assert_eq!(seen, [true; 2]);
}

#[test]
fn streams_that_are_missing_or_of_another_shape_are_named() {
    let (root, options) = set_with(ramp, 1);
    let missing = root.path().join("spikes/000/00003.dat");
    std::fs::remove_file(&missing).unwrap();
    let error = TrainingSet::open(options.clone()).unwrap_err().to_string();
    assert!(error.contains("spikes") && error.contains("000/00003.dat"), "{error}");
    std::fs::write(&missing, [0; 7]).unwrap();
    let error = TrainingSet::open(options.clone()).unwrap_err().to_string();
    assert!(error.contains("7 bytes"), "{error}");
    let spikes = options.spikes.clone().map(|spikes| SpikeTree {
        stated: Stated { size: Some((SPIKES.0 / 2, SPIKES.1)), ..Stated::default() },
        ..spikes
    });
    std::fs::write(&missing, [0; 48]).unwrap();
    let error = TrainingSet::open(TrainingSetOptions { spikes, ..options.clone() })
        .unwrap_err()
        .to_string();
    assert!(error.contains("6×8") && error.contains("24×16"), "{error}");
    let vimeo = TrainingSetOptions { kind: SetKind::Vimeo, ..options };
    let error = TrainingSet::open(vimeo).unwrap_err().to_string();
    assert!(error.contains("dataroot_spike"), "{error}");
}

#[test]
fn a_check_tells_how_well_spikes_agree_and_what_would_be_right() {
    // Frames get brighter to the right in red, and downwards in green, and so do spikes.
    let bright = |[x, y]: [usize; 2], t: usize| (t as f32) < 0.9 * x as f32 + 1.8 * y as f32;
    let (_root, options) = set_with(bright, 1);
    let check = |stated: Stated| {
        let spikes = options.spikes.clone().map(|spikes| SpikeTree { stated, ..spikes });
        check_set(&TrainingSetOptions { spikes, crop: 1, ..options.clone() }, &|_| {}).unwrap()
    };
    let right = Stated { size: Some(SPIKES), ..Stated::default() };
    let report = check(right.clone());
    assert!(report.is_fine(), "{:?}", report.problems);
    assert_eq!(report.agreements.len(), CLIPS.len());
    assert!(report.agreements.iter().all(|found| found.correlation > 0.9), "{report:?}");

    let msb = check(Stated { order: vrt_spike::BitOrder::MostFirst, ..right.clone() });
    assert_eq!(msb.faults, CLIPS.len());
    assert!(msb.problems.iter().all(|problem| problem.contains("bit-order")), "{msb:?}");

    std::fs::remove_file(options.spikes.as_ref().unwrap().root.join("000/00005.dat")).unwrap();
    // In the middle of no clip.
    let root = &options.spikes.as_ref().unwrap().root;
    std::fs::write(root.join("000/00004.dat"), []).unwrap();
    let report = check(right);
    assert_eq!(report.faults, 2, "{:?}", report.problems);
    for name in ["000/00004.dat", "000/00005.dat"] {
        assert!(report.problems.iter().any(|it| it.contains(name)), "{:?}", report.problems);
    }
}

#[test]
fn streams_of_a_set_that_is_one_clip_may_lie_in_its_folders() {
    let (root, options) = set_with(ramp, 1);
    let tree = options.spikes.unwrap();
    let from = tree.root.join("000/00003.dat");
    let frame = Frame::filled(SIZE.0, SIZE.1, 3, 0.5);
    let file = root.path().join("frames/00003.png");
    for place in
        ["a/00003.dat", "b/spike/00003.dat", "c/frames/00003.dat", "d/frames/spike/00003.dat"]
    {
        let path = root.path().join(place);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::copy(&from, &path).unwrap();
        let tree = SpikeTree { root: root.path().join(&place[..1]), ..tree.clone() };
        let clip = tree.clip("frames", true);
        assert_eq!(clip.beside(frame.clone(), &file).unwrap().channels(), 4, "{place}");
        let one_of_many = tree.clip("frames", false).look(std::slice::from_ref(&file), SIZE);
        assert_eq!(one_of_many.is_ok(), place.contains("frames"), "{place}");
    }
}

#[test]
fn streams_of_a_clip_are_all_looked_at() {
    let (root, options) = set_with(ramp, 1);
    let tree = options.spikes.unwrap();
    let files = [3, 4].map(|number| root.path().join(format!("000/{number:05}.png")));
    let look = |tree: &SpikeTree, size| tree.clip("000", false).look(&files, size);
    let error = |tree: &SpikeTree, size| look(tree, size).unwrap_err().to_string();
    assert!(look(&tree, SIZE).is_ok());
    let wide = error(&tree, (2 * SIZE.0, SIZE.1));
    assert!(wide.contains("000/00003.dat") && wide.contains("aspect"), "{wide}");

    let path = root.path().join("align.txt");
    std::fs::write(&path, "1 0 900 0 1 0").unwrap();
    let align = Some(crate::Registration::read(&path).unwrap());
    let elsewhere = error(&SpikeTree { align, ..tree.clone() }, SIZE);
    assert!(elsewhere.contains("align.txt") && elsewhere.contains("00003.dat"), "{elsewhere}");

    let frame = geometry().frame_bytes();
    std::fs::write(tree.root.join("000/00004.dat"), vec![0; 3 * frame]).unwrap();
    let short = error(&SpikeTree { channels: 4, ..tree }, SIZE);
    assert!(short.contains("00004.dat: 3 frames cannot be cut into 4"), "{short}");
}
