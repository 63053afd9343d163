//! What samples are.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn open(
    root: &TempDir,
    kind: SetKind,
    change: impl FnOnce(&mut TrainingSetOptions),
) -> TrainingSet {
    let mut options = options(root.path(), kind);
    change(&mut options);
    TrainingSet::open(options).unwrap()
}

/// The greatest common part of what `degraded` and `sharp` show: every pixel of the small frame is
/// the corner of the block that it stands for, however both are turned.
fn assert_aligned(degraded: &Frame, sharp: &Frame, scale: usize) {
    assert_eq!(degraded.width() * scale, sharp.width());
    let (small, large) = (codes(degraded), codes(sharp));
    for (at, [x, y, blue]) in small.into_iter().enumerate() {
        let (column, row) = (at % degraded.width(), at / degraded.width());
        let block: Vec<_> = (0..scale * scale)
            .map(|part| {
                let (dx, dy) = (part % scale, part / scale);
                large[(row * scale + dy) * sharp.width() + column * scale + dx]
            })
            .collect();
        assert_eq!(block.iter().map(|pixel| pixel[0]).min(), Some(x));
        assert_eq!(block.iter().map(|pixel| pixel[1]).min(), Some(y));
        assert!(block.iter().all(|pixel| pixel[2] == blue));
    }
}

#[test]
fn pairs_stay_aligned_under_crops_and_turns() {
    for scale in [1, 2, 4] {
        let root = recurrent_set(scale);
        let set = open(&root, SetKind::Recurrent, |options| {
            (options.scale, options.flip, options.rotate) = (scale, true, true);
        });
        assert_eq!(set.len(), 9 + 7 + 12);
        let (mut corners, mut firsts) = (BTreeSet::new(), BTreeSet::new());
        for seed in 0..60 {
            let sample = set.sample(seed as usize % set.len(), &mut random(seed)).unwrap();
            assert_eq!((sample.degraded.len(), sample.sharp.len()), (4, 4));
            for (degraded, sharp) in sample.degraded.iter().zip(&sample.sharp) {
                assert_aligned(degraded, sharp, scale);
            }
            let pixels = codes(&sample.sharp[0]);
            let corner = |channel: usize| pixels.iter().map(move |pixel| pixel[channel]);
            let least = (corner(0).min().unwrap(), corner(1).min().unwrap());
            assert_eq!((least.0 % scale, least.1 % scale), (0, 0), "off the small frame's grid");
            corners.insert(least);
            // Which pixel is first, and where the second one is, tells the turn.
            let along_x = pixels[0][0] != pixels[1][0];
            firsts.insert((pixels[0][0] > least.0, pixels[0][1] > least.1, along_x));
            let all_alike = sample
                .sharp
                .iter()
                .all(|frame| codes(frame).iter().zip(&pixels).all(|(a, b)| a[..2] == b[..2]));
            assert!(all_alike, "frames of a sample are cut or turned differently");
        }
        assert_eq!(firsts.len(), 8, "all turns come");
        assert!(corners.len() >= 8, "places differ: {corners:?}");
    }
}

#[test]
fn without_turns_frames_stand_upright() {
    let root = recurrent_set(1);
    let set = open(&root, SetKind::Recurrent, |_| ());
    for seed in 0..8 {
        let pixels = codes(&set.sample(0, &mut random(seed)).unwrap().sharp[0]);
        assert!(pixels[1][0] == pixels[0][0] + 1 && pixels[8][1] == pixels[0][1] + 1);
    }
}

#[test]
fn a_sample_begins_at_its_frame_or_where_the_clip_has_room() {
    let root = recurrent_set(1);
    let set = open(&root, SetKind::Recurrent, |_| ());
    let last_starts = CLIPS.map(|(_, frames)| frames - 4);
    let mut index = 0;
    for (place, (clip, frames)) in CLIPS.iter().enumerate() {
        for at in 0..*frames {
            let sample = set.sample(index, &mut random(index as u64)).unwrap();
            let found = blues(&sample.sharp);
            let start = found[0] - CLIP_STEP * place;
            assert_eq!(found, (found[0]..found[0] + 4).collect::<Vec<_>>());
            assert!(start <= last_starts[place]);
            assert!(at > last_starts[place] || start == at);
            assert_eq!(sample.key, format!("{clip}/{:05}", start + 3));
            index += 1;
        }
    }
}

#[test]
fn windows_past_the_end_begin_anywhere() {
    let root = recurrent_set(1);
    let set = open(&root, SetKind::Recurrent, |_| ());
    let starts: BTreeSet<_> =
        (0..60).map(|seed| blues(&set.sample(8, &mut random(seed)).unwrap().sharp)[0]).collect();
    assert_eq!(starts, (0..=5).collect());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn intervals_and_directions_are_as_asked(seed: u64, reverse: bool, index in 0usize..28) {
        let root = recurrent_set(1);
        let set = open(&root, SetKind::Recurrent, |options| {
            (options.intervals, options.frames) = (vec![1, 2, 3], 3);
            options.random_reverse = reverse;
        });
        let sample = set.sample(index, &mut random(seed)).unwrap();
        let found = blues(&sample.sharp);
        let step = found[1] as isize - found[0] as isize;
        prop_assert!((1..=3).contains(&step.abs()) && (reverse || step > 0));
        prop_assert_eq!(found[2] as isize - found[1] as isize, step);
        prop_assert_eq!(found[0] / CLIP_STEP, found[2] / CLIP_STEP);
        prop_assert_eq!(blues(&sample.degraded), found);
        // The same index and the same chance make the same sample.
        prop_assert_eq!(set.sample(index, &mut random(seed)).unwrap(), sample);
    }
}

#[test]
fn both_directions_and_all_intervals_come() {
    let root = recurrent_set(1);
    let set = open(&root, SetKind::Recurrent, |options| {
        (options.intervals, options.frames, options.random_reverse) = (vec![1, 3], 2, true);
    });
    let steps: BTreeSet<_> = (0..40)
        .map(|seed| blues(&set.sample(0, &mut random(seed)).unwrap().sharp))
        .map(|found| found[1] as isize - found[0] as isize)
        .collect();
    assert_eq!(steps, BTreeSet::from([-3, -1, 1, 3]));
}

#[test]
fn threads_draw_what_one_draws() {
    let root = recurrent_set(1);
    let set = open(&root, SetKind::Recurrent, |options| options.rotate = true);
    let alone: Vec<_> =
        (0..8).map(|index| set.sample(index, &mut random(index as u64)).unwrap()).collect();
    std::thread::scope(|scope| {
        let draws: Vec<_> = (0..8)
            .map(|index| {
                let set = &set;
                scope.spawn(move || set.sample(index, &mut random(index as u64)).unwrap())
            })
            .collect();
        for (draw, alone) in draws.into_iter().zip(&alone) {
            assert_eq!(&draw.join().unwrap(), alone);
        }
    });
}

#[test]
fn vimeo_frames_come_from_the_middle() {
    let root = vimeo_set();
    for (frames, first) in [(7, 1), (5, 2), (3, 3), (1, 4), (6, 1)] {
        let set = open(&root, SetKind::Vimeo, |options| options.frames = frames);
        assert_eq!(set.len(), 2);
        let sample = set.sample(1, &mut random(0)).unwrap();
        let expected: Vec<_> = (first..first + frames).map(|im| CLIP_STEP + im).collect();
        assert_eq!(blues(&sample.sharp), expected);
        assert_eq!(blues(&sample.degraded), expected);
        assert_eq!(sample.key, "00001/0002");
    }
}

#[test]
fn clips_are_lengthened_as_asked() {
    let root = vimeo_set();
    let set = open(&root, SetKind::Vimeo, |options| (options.frames, options.mirror) = (7, true));
    assert_eq!(set.options().frames_out(), (14, 14));
    let sample = set.sample(0, &mut random(0)).unwrap();
    let there_and_back: Vec<_> = (1..=7).chain((1..=7).rev()).collect();
    assert_eq!(blues(&sample.sharp), there_and_back);
    assert_eq!(blues(&sample.degraded), there_and_back);

    let set =
        open(&root, SetKind::Vimeo, |options| (options.frames, options.repeat_last) = (7, true));
    assert_eq!(set.options().frames_out(), (8, 8));
    let sample = set.sample(0, &mut random(0)).unwrap();
    assert_eq!(blues(&sample.sharp), [1, 2, 3, 4, 5, 6, 7, 7]);
    assert_eq!(blues(&sample.degraded), [1, 2, 3, 4, 5, 6, 7, 7]);
}

#[test]
fn interpolation_gives_every_other_frame_and_wants_the_middle_one() {
    let root = vimeo_set();
    let set = open(&root, SetKind::Interpolation, |options| {
        (options.frames, options.temporal_scale, options.random_reverse) = (7, 2, true);
    });
    assert_eq!(set.options().frames_out(), (4, 1));
    let orders: BTreeSet<_> = (0..20)
        .map(|seed| {
            let sample = set.sample(0, &mut random(seed)).unwrap();
            assert_eq!(blues(&sample.sharp), [4]);
            blues(&sample.degraded)
        })
        .collect();
    assert_eq!(orders, BTreeSet::from([vec![1, 3, 5, 7], vec![7, 5, 3, 1]]));
}

#[test]
fn colours_change_a_little_and_alike() {
    let change = |options: &mut TrainingSetOptions| {
        (options.frames, options.temporal_scale) = (7, 2);
    };
    let root = vimeo_set();
    let plain = open(&root, SetKind::Interpolation, change);
    let jittered = open(&root, SetKind::Interpolation, |options| {
        change(options);
        options.color_jitter = true;
    });
    let (before, after) =
        (plain.sample(0, &mut random(3)).unwrap(), jittered.sample(0, &mut random(3)).unwrap());
    assert_ne!(before.sharp, after.sharp);
    for (before, after) in before.degraded.iter().zip(&after.degraded) {
        for (before, after) in before.samples().iter().zip(after.samples()) {
            assert!((before - after).abs() < 0.12 && (0.0..=1.0).contains(after));
        }
    }
}

#[test]
fn noise_has_the_deviation_that_the_fourth_channel_states() {
    let root = recurrent_set(1);
    let set = open(&root, SetKind::Denoising { sigma: [5.0, 50.0] }, |options| {
        (options.frames, options.crop) = (7, 16);
    });
    let mut levels = BTreeSet::new();
    for seed in 0..12 {
        let sample = set.sample(0, &mut random(seed)).unwrap();
        let level = sample.degraded[0].samples()[3];
        assert!((5.0..=50.0).contains(&(level * 255.0)), "{level}");
        let mut squares = 0.0;
        let mut count = 0.0;
        for (noisy, clean) in sample.degraded.iter().zip(&sample.sharp) {
            assert_eq!((noisy.channels(), clean.channels()), (4, 3));
            let pixels = noisy.samples().chunks_exact(4).zip(clean.samples().chunks_exact(3));
            for (noisy, clean) in pixels {
                assert_eq!(noisy[3].to_bits(), level.to_bits());
                for (noisy, clean) in noisy.iter().zip(clean) {
                    squares += f64::from(noisy - clean).powi(2);
                    count += 1.0;
                }
            }
        }
        // Of 5,376 numbers, five standard errors of the deviation are 5 %.
        let deviation = (squares / count).sqrt();
        assert!((deviation / f64::from(level) - 1.0).abs() < 0.05, "{deviation} {level}");
        let below = sample.degraded.iter().any(|frame| frame.samples().iter().any(|s| *s < 0.0));
        assert!(below, "noise is clipped");
        levels.insert(level.to_bits());
    }
    assert_eq!(levels.len(), 12);
}

#[test]
fn denoising_needs_no_degraded_frames() {
    let root = recurrent_set(1);
    std::fs::remove_dir_all(root.path().join("degraded")).unwrap();
    let set = open(&root, SetKind::Denoising { sigma: [0.0, 0.0] }, |_| ());
    let sample = set.sample(2, &mut random(0)).unwrap();
    assert_eq!(blues(&sample.degraded), blues(&sample.sharp));
}

#[test]
fn held_out_clips_give_no_sample() {
    let root = recurrent_set(1);
    for (held_out, removed, len) in
        [(HeldOut::Reds4, "000", 7 + 12), (HeldOut::RedsOfficial, "241", 9 + 7)]
    {
        let set = open(&root, SetKind::Recurrent, |options| options.held_out = held_out);
        assert_eq!(set.removed_clips(), [removed]);
        assert!(set.warnings()[0].contains(removed), "{:?}", set.warnings());
        assert_eq!(set.len(), len);
        for index in 0..len {
            let sample = set.sample(index, &mut random(index as u64)).unwrap();
            assert!(!sample.key.starts_with(removed), "{}", sample.key);
        }
    }
}

#[test]
fn the_published_list_has_its_test_clips_removed() {
    let held: Vec<_> =
        (0..270).map(|n| format!("{n:03}")).filter(|n| HeldOut::Reds4.holds(n)).collect();
    assert_eq!(held, ["000", "011", "015", "020"]);
    let official: Vec<_> =
        (0..300).map(|n| format!("{n:03}")).filter(|n| HeldOut::RedsOfficial.holds(n)).collect();
    assert_eq!(official, (240..270).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(HeldOut::Reds4.holds("train_sharp_with_val/011"));
    assert!(!HeldOut::Reds4.holds("0110") && !HeldOut::None.holds("000"));
}

#[test]
fn a_list_tells_its_held_out_clips() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("list.txt");
    let lines: String = (0..270).map(|n| format!("{n:03} 100 (720,1280,3) 00000000\n")).collect();
    std::fs::write(&path, lines).unwrap();
    let found = held_out_clips(&path).unwrap();
    assert!(found.is_reds);
    assert_eq!((found.reds4.len(), found.official.len()), (4, 30));
    std::fs::write(&path, "720p_240fps_1 100 (720,1280,3) 00000\n000 100 (720,1280,3) 00000\n")
        .unwrap();
    let found = held_out_clips(&path).unwrap();
    assert!(!found.is_reds && found.reds4 == ["000"] && found.official.is_empty());
}
