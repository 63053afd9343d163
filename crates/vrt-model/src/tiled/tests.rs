//! Laws of restoring in tiles, held against models whose result is known without tiles.

mod direct;
mod stand;

use std::ops::ControlFlow;
use std::sync::{Arc, Barrier};

use std::convert::Infallible;

use proptest::prelude::*;

use self::direct::published_directly;
use self::stand::{Meeting, Rule, Stand, noise};
use super::axis::published_starts;
use super::*;

fn largest_difference(a: &Volume, b: &Volume) -> f32 {
    assert_eq!(a.dims(), b.dims());
    let pairs = a.samples().iter().zip(b.samples());
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn dims() -> impl Strategy<Value = [usize; 4]> {
    (1_usize..18, 1_usize..18, 1_usize..18, 1_usize..3).prop_map(|(d, h, w, c)| [d, h, w, c])
}

/// A tile or 0 for the whole, and an overlap below it.
fn tile_and_overlap() -> impl Strategy<Value = (usize, usize)> {
    (0_usize..14).prop_flat_map(|tile| (Just(tile), 0..tile.max(1)))
}

fn specs() -> impl Strategy<Value = TileSpec> {
    (tile_and_overlap(), tile_and_overlap()).prop_map(
        |((frames, overlap_frames), (size, overlap_size))| {
            TileSpec::new(frames, size, overlap_frames, overlap_size).unwrap()
        },
    )
}

/// Bound on the rounding of values below 2 where as many tiles meet as `spec` lets.
fn rounding(spec: &TileSpec) -> f32 {
    let meet = |tile: usize, overlap: usize| tile / (tile - overlap).max(1) + 2;
    let in_space = meet(spec.size(), spec.overlap_size()).pow(2);
    let in_time = meet(spec.frames(), spec.overlap_frames());
    2.0 * f32::EPSILON * (in_space + in_time) as f32
}

fn tilings() -> impl Strategy<Value = Tiling> {
    prop_oneof![Just(Tiling::Seamless), Just(Tiling::Published)]
}

/// Cuts a clip at these frames, those beyond it left out.
fn scenes(clip: &Volume, cuts: &[usize]) -> Vec<Volume> {
    let mut edges: Vec<_> = cuts.iter().copied().filter(|&cut| cut < clip.frames()).collect();
    edges.extend([0, clip.frames()]);
    edges.sort_unstable();
    edges.dedup();
    let scene = |pair: &[usize]| clip.crop(pair[0]..pair[1], 0..clip.height(), 0..clip.width());
    edges.windows(2).map(scene).collect()
}

proptest! {
    #[test]
    fn a_model_without_context_is_reproduced_whatever_the_tiles(
        dims in dims(),
        spec in specs(),
        tiling in tilings(),
        scale in 1_usize..4,
        constant in -1.0_f32..1.0,
        cuts in proptest::collection::vec(1_usize..18, 0..4),
    ) {
        let clip = noise(dims);
        let model = Stand::new(Rule::Add(constant), scale);
        let scenes = scenes(&clip, &cuts);
        let mut stream = TemporalWindows::new(&spec, tiling, model.window[0]);
        let tiled = restore_scenes(&model, &mut stream, &scenes, &spec, tiling).unwrap();
        let whole = model.restore(clip).unwrap();
        prop_assert!(largest_difference(&tiled, &whole) <= rounding(&spec));
    }

    #[test]
    fn a_constant_clip_stays_constant(
        dims in dims(),
        spec in specs(),
        tiling in tilings(),
        scale in 1_usize..4,
        value in 0.0_f32..1.0,
    ) {
        let clip = Volume::filled(dims, value).unwrap();
        let model = Stand::new(Rule::Mean(2), scale);
        let tiled = restore_clip(&model, &clip, &spec, tiling).unwrap();
        for sample in tiled.samples() {
            prop_assert!((sample - value).abs() <= rounding(&spec));
        }
    }

    #[test]
    fn published_streams_follow_the_published_rule(
        dims in dims(),
        spec in specs(),
        scale in 1_usize..4,
    ) {
        let clip = noise(dims);
        let model = Stand::new(Rule::Place, scale);
        let tiled = restore_clip(&model, &clip, &spec, Tiling::Published).unwrap();
        let shapes = model.take_seen();
        let direct = published_directly(&model, &clip, &spec);
        prop_assert_eq!(shapes, model.take_seen());
        // Values go to about 6000, and a few are summed.
        prop_assert!(largest_difference(&tiled, &direct) <= 4e-3);
    }

    #[test]
    fn a_small_field_of_view_sees_no_seam(
        dims in dims(),
        radius in 0_usize..3,
        extra in (0_usize..6, 0_usize..6),
        more_overlap in (0_usize..4, 0_usize..4),
        scale in 1_usize..4,
    ) {
        // Fields of 2·radius + 1 are less than half of these overlaps.
        let overlap = [more_overlap.0, more_overlap.1].map(|more| 4 * radius + 3 + more);
        let frames = overlap[0] + 1 + extra.0;
        let size = overlap[1] + 1 + extra.1;
        let spec = TileSpec::new(frames, size, overlap[0], overlap[1]).unwrap();
        let clip = noise(dims);
        let model = Stand::new(Rule::Mean(radius), scale);
        let tiled = restore_clip(&model, &clip, &spec, Tiling::Seamless).unwrap();
        let whole = model.restore(clip).unwrap();
        prop_assert!(largest_difference(&tiled, &whole) <= 1e-6);
    }

    #[test]
    fn windows_keep_to_their_scene_and_size(
        lengths in proptest::collection::vec(1_usize..20, 1..5),
        (frames, overlap) in (1_usize..9).prop_flat_map(|frames| (Just(frames), 0..frames)),
        tiling in tilings(),
    ) {
        let spec = TileSpec::new(frames, 0, overlap, 0).unwrap();
        let mut stream = TemporalWindows::new(&spec, tiling, 4);
        let mut start = 0;
        for length in lengths {
            let mut windows = Vec::new();
            for window in handed_out(&mut stream, start, length) {
                prop_assert_eq!(window.clip.samples()[0], window.first_frame as f32);
                windows.push((window.first_frame - start, window.clip.frames()));
            }
            match tiling {
                Tiling::Published => {
                    let starts = published_starts(length, frames, overlap).into_iter();
                    let expected: Vec<_> =
                        starts.map(|start| (start, frames.min(length))).collect();
                    prop_assert_eq!(windows, expected);
                }
                Tiling::Seamless => check_seamless(&windows, length, (frames, overlap))?,
            }
            start += length;
        }
    }

    #[test]
    fn memory_does_not_grow_with_the_clip(
        frames in 1_usize..120,
        (tile, overlap) in (1_usize..9).prop_flat_map(|tile| (Just(tile), 0..tile)),
        tiling in tilings(),
    ) {
        let spec = TileSpec::new(tile, 0, overlap, 0).unwrap();
        let mut stream = TemporalWindows::new(&spec, tiling, 4);
        let mut popped = 0;
        for frame in 0..frames {
            if let Some(window) = stream.push(numbered_frame(frame)).unwrap() {
                stream.put_back(window.clip).unwrap();
            }
            while let Some(finished) = stream.pop() {
                prop_assert_eq!(finished, numbered_frame(popped));
                popped += 1;
            }
            prop_assert!(stream.held_frames() <= 2 * tile);
            // A frame waits for the window behind it, not longer.
            prop_assert!(popped + tile > frame);
        }
        let last = stream.end_scene().unwrap().unwrap();
        stream.put_back(last.clip).unwrap();
        popped += std::iter::from_fn(|| stream.pop()).count();
        prop_assert_eq!(popped, frames);
        prop_assert_eq!(stream.held_frames(), 0);
    }

    #[test]
    fn windows_may_come_back_late(
        frames in 1_usize..40,
        (tile, overlap) in (1_usize..9).prop_flat_map(|tile| (Just(tile), 0..tile)),
        tiling in tilings(),
    ) {
        let spec = TileSpec::new(tile, 0, overlap, 0).unwrap();
        let mut late = TemporalWindows::new(&spec, tiling, 4);
        let windows = handed_out(&mut late, 0, frames);
        // A value of its own for every window, so that weights show.
        let value = |i: usize, window: &Window| Volume::filled(window.clip.dims(), i as f32).unwrap();
        for (i, window) in windows.iter().enumerate() {
            late.put_back(value(i, window)).unwrap();
        }
        let late: Vec<_> = std::iter::from_fn(|| late.pop()).collect();
        let mut prompt = TemporalWindows::new(&spec, tiling, 4);
        let (mut finished, mut i) = (Vec::new(), 0);
        for frame in 0..=frames {
            let window = if frame < frames {
                prompt.push(numbered_frame(frame))
            } else {
                prompt.end_scene()
            };
            if let Some(window) = window.unwrap() {
                prompt.put_back(value(i, &window)).unwrap();
                i += 1;
            }
            finished.extend(std::iter::from_fn(|| prompt.pop()));
        }
        prop_assert_eq!(finished, late);
    }

    #[test]
    fn interpolation_doubles_the_rate_and_keeps_the_originals(
        lengths in proptest::collection::vec(1_usize..8, 1..5),
    ) {
        let total = lengths.iter().sum::<usize>();
        let model = Stand::new(Rule::Middle, 1);
        let clip = Volume::concat(&(0..total).map(numbered_frame).collect::<Vec<_>>()).unwrap();
        let cuts: Vec<_> = lengths.iter().scan(0, |end, length| { *end += length; Some(*end) }).collect();
        let mut stream = Interpolation::new();
        let out = restore_scenes(
            &model, &mut stream, &scenes(&clip, &cuts), &TileSpec::WHOLE, Tiling::Seamless,
        ).unwrap();
        prop_assert_eq!(out.frames(), 2 * total - 1);
        for frame in 0..total {
            prop_assert_eq!(out.frame(2 * frame), clip.frame(frame));
        }
        for cut in &cuts[..cuts.len() - 1] {
            prop_assert_eq!(out.frame(2 * cut - 1), clip.frame(cut - 1), "the old scene is held");
        }
        let windows = model.take_seen();
        prop_assert_eq!(windows.len(), total - lengths.len());
        prop_assert!(windows.iter().all(|dims| dims[0] == 4));
        prop_assert_eq!(stream.held_frames(), 1, "the last frame waits for a next scene");
    }
}

/// One pixel that tells which frame it is.
fn numbered_frame(frame: usize) -> Volume {
    Volume::filled([1, 1, 1, 1], frame as f32).unwrap()
}

/// All windows of a scene of numbered frames.
fn handed_out(stream: &mut dyn WindowStream, start: usize, frames: usize) -> Vec<Window> {
    let pushed = (start..start + frames).map(|frame| stream.push(numbered_frame(frame)).unwrap());
    let mut windows: Vec<_> = pushed.flatten().collect();
    windows.extend(stream.end_scene().unwrap());
    windows
}

#[test]
fn interpolation_mirrors_the_edges_of_a_scene() {
    let seen = |frames: usize| -> Vec<Vec<f32>> {
        let windows = handed_out(&mut Interpolation::new(), 0, frames);
        windows.into_iter().map(|window| window.clip.into_samples()).collect()
    };
    assert!(seen(1).is_empty());
    assert_eq!(seen(2), [[1.0, 0.0, 1.0, 0.0]]);
    assert_eq!(seen(3), [[1.0, 0.0, 1.0, 2.0], [0.0, 1.0, 2.0, 1.0]]);
    assert_eq!(seen(4), [[1.0, 0.0, 1.0, 2.0], [0.0, 1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 2.0]]);
}

#[test]
fn interpolation_holds_a_handful_of_frames() {
    let mut stream = Interpolation::new();
    let mut popped = 0;
    for frame in 0..50 {
        if let Some(window) = stream.push(numbered_frame(frame)).unwrap() {
            stream.put_back(window.clip.crop(1..2, 0..1, 0..1)).unwrap();
        }
        popped += std::iter::from_fn(|| stream.pop()).count();
        assert!(stream.held_frames() <= 6, "{}", stream.held_frames());
    }
    assert!(popped >= 2 * 48);
}

#[test]
fn seamless_windows_cross_fade() {
    let spec = TileSpec::new(6, 0, 4, 0).unwrap();
    let mut stream = TemporalWindows::new(&spec, Tiling::Seamless, 1);
    let windows = handed_out(&mut stream, 0, 8);
    assert_eq!(windows.len(), 2);
    for (i, window) in windows.iter().enumerate() {
        stream.put_back(Volume::filled(window.clip.dims(), i as f32).unwrap()).unwrap();
    }
    let values: Vec<_> =
        std::iter::from_fn(|| stream.pop()).map(|frame| frame.samples()[0]).collect();
    // Frames 2…5 are shared; one at each end of them is context, two in the middle fade.
    let half = std::f32::consts::FRAC_1_SQRT_2 / 2.0;
    let expected = [0.0, 0.0, 0.0, 0.5 - half, 0.5 + half, 1.0, 1.0, 1.0];
    for (value, expected) in values.iter().zip(expected) {
        assert!((value - expected).abs() < 1e-6, "{values:?}");
    }
}

#[test]
fn a_whole_scene_is_completed_to_windows_only_when_published() {
    for (tiling, sent) in [(Tiling::Published, 8), (Tiling::Seamless, 6)] {
        let model = Stand::new(Rule::Add(0.0), 1);
        let clip = noise([6, 5, 9, 1]);
        let restored = restore_clip(&model, &clip, &TileSpec::WHOLE, tiling).unwrap();
        assert_eq!(restored, clip);
        let sides = if tiling == Tiling::Published { [8, 16] } else { [5, 9] };
        assert_eq!(model.take_seen(), [[sent, sides[0], sides[1], 1]]);
    }
}

/// Windows (start, frames) of a scene cover it, overlap enough, and lie on the grid of attention
/// windows of 4 frames where they advance by as many.
fn check_seamless(
    windows: &[(usize, usize)],
    length: usize,
    (frames, overlap): (usize, usize),
) -> Result<(), TestCaseError> {
    let (last, before) = windows.split_last().expect("a scene has a window");
    prop_assert_eq!(last.0 + last.1, length);
    prop_assert!(last.1 <= frames && (last.1 > overlap || before.is_empty()));
    prop_assert!(before.iter().all(|window| window.1 == frames));
    for pair in windows.windows(2) {
        prop_assert!(pair[1].0 > pair[0].0 && pair[0].0 + pair[0].1 >= pair[1].0 + overlap);
    }
    if frames - overlap >= 4 {
        prop_assert!(windows.iter().all(|window| window.0 % 4 == 0), "{:?}", windows);
    }
    Ok(())
}

#[test]
fn tiles_are_counted_as_they_are_done() {
    let model = Stand::new(Rule::Add(0.0), 2);
    let spec = TileSpec::new(0, 8, 0, 2).unwrap();
    let mut counts = Vec::new();
    let clip = noise([1, 14, 20, 3]);
    let mut watch = |Done { tiles, of, share }: Done| {
        assert_eq!(share, tiles as f32 / of as f32);
        counts.push((tiles, of));
        ControlFlow::Continue(())
    };
    restore_window(&model, clip.clone(), &spec, Tiling::Seamless, &mut watch).unwrap();
    counts.dedup();
    // Starts every 4 places: 0, 4, 8 of 14 rows, and 12 as well of 20 columns.
    assert_eq!(counts, (0..=12).map(|done| (done, 12)).collect::<Vec<_>>());
    let mut watch = |done: Done| match done.tiles {
        0..3 => ControlFlow::Continue(()),
        _ => ControlFlow::Break(()),
    };
    let stopped = restore_window(&model, clip, &spec, Tiling::Seamless, &mut watch);
    assert!(matches!(stopped, Err(TiledError::Stopped)));
}

#[test]
fn helpers_take_part_and_change_nothing() {
    let spec = TileSpec::new(0, 8, 0, 2).unwrap();
    let clips = || (0..3).map(|i| noise([2, 14, 20 + i, 3])).collect::<Vec<_>>();
    let watch = &mut |_| ControlFlow::Continue(());
    let alone = Stand::new(Rule::Place, 2);
    let expected = restore_windows(&alone, clips(), &spec, Tiling::Seamless, watch).unwrap();
    let together = Stand::new(Rule::Place, 2).with_helpers(2);
    let (mut counts, mut largest) = (Vec::new(), 0.0_f32);
    let mut watch = |done: Done| {
        counts.push(done.tiles);
        largest = largest.max(done.share);
        ControlFlow::Continue(())
    };
    let found = restore_windows(&together, clips(), &spec, Tiling::Seamless, &mut watch).unwrap();
    assert_eq!(found, expected);
    let tiles = alone.take_seen().len();
    let helped: usize = together.helpers.iter().map(|helper| helper.take_seen().len()).sum();
    assert!(helped >= 2, "each helper had one");
    assert_eq!(helped + together.take_seen().len(), tiles);
    assert!(counts.is_sorted());
    assert_eq!((counts.last(), largest), (Some(&tiles), 1.0));
}

#[test]
fn helpers_stop_when_they_are_told_to() {
    let spec = TileSpec::new(0, 8, 0, 2).unwrap();
    let model = Stand::new(Rule::Add(0.0), 1).with_helpers(3);
    let mut watch = |done: Done| match done.tiles {
        0..3 => ControlFlow::Continue(()),
        _ => ControlFlow::Break(()),
    };
    let clip = noise([1, 60, 80, 3]);
    let stopped = restore_window(&model, clip, &spec, Tiling::Seamless, &mut watch);
    assert!(matches!(stopped, Err(TiledError::Stopped)));
}

#[test]
fn an_error_of_a_helper_ends_all() {
    let spec = TileSpec::new(0, 4, 0, 0).unwrap();
    let barrier = Arc::new(Barrier::new(2));
    let with = |lies, helpers| Liar { lies, helpers, meeting: Meeting::at(&barrier) };
    let model = with(false, vec![with(true, Vec::new())]);
    let error = restore_clip(&model, &noise([1, 8, 8, 1]), &spec, Tiling::Seamless).unwrap_err();
    assert!(matches!(error, TiledError::TileShape { .. }), "{error}");
}

#[test]
fn a_spec_that_does_not_advance_is_an_error() {
    assert_eq!(TileSpec::new(6, 64, 6, 20), Err(SpecError::Frames { frames: 6, overlap: 6 }));
    let error = TileSpec::new(6, 64, 2, 64).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tiles of 64 pixels cannot overlap by 64 pixels; overlap by at most 63"
    );
    assert!(TileSpec::new(0, 0, 2, 20).is_ok(), "the whole has no neighbour to overlap");
}

#[test]
fn frames_that_differ_are_an_error_that_names_them() {
    let spec = TileSpec::new(4, 0, 1, 0).unwrap();
    let streams: [&mut dyn WindowStream; 2] =
        [&mut TemporalWindows::new(&spec, Tiling::Seamless, 1), &mut Interpolation::new()];
    for stream in streams {
        stream.push(noise([1, 2, 3, 3])).unwrap();
        assert_eq!(
            stream.push(noise([1, 2, 4, 3])),
            Err(WindowError::FrameShape { frame: 1, expected: [1, 2, 3, 3], got: [1, 2, 4, 3] })
        );
        assert_eq!(stream.put_back(noise([1, 2, 3, 3])), Err(WindowError::NotRequested));
    }
}

#[test]
fn a_window_that_came_back_wrong_may_come_again() {
    let spec = TileSpec::new(2, 0, 0, 0).unwrap();
    let mut stream = TemporalWindows::new(&spec, Tiling::Published, 1);
    let windows = handed_out(&mut stream, 0, 2);
    let wrong = noise([1, 1, 1, 1]);
    assert_eq!(
        stream.put_back(wrong),
        Err(WindowError::WindowShape { first_frame: 0, expected: [2, 1, 1, 1], got: [1, 1, 1, 1] })
    );
    stream.put_back(windows[0].clip.clone()).unwrap();
    assert_eq!(stream.pop(), Some(numbered_frame(0)));
}

/// Claims a scale it does not have.
struct Liar {
    lies: bool,
    helpers: Vec<Self>,
    meeting: Meeting,
}

impl ClipModel for Liar {
    type Error = Infallible;

    fn helpers(&self) -> &[Self] {
        &self.helpers
    }

    fn scale(&self) -> usize {
        2
    }

    fn window(&self) -> [usize; 3] {
        [1; 3]
    }

    fn restore(&self, clip: Volume) -> Result<Volume, Infallible> {
        self.meeting.attend();
        let [frames, height, width, channels] = clip.dims();
        let larger = [frames, 2 * height, 2 * width, channels];
        Ok(if self.lies { clip } else { Volume::filled(larger, 0.5).unwrap() })
    }
}

#[test]
fn a_model_that_belies_its_scale_is_an_error() {
    for size in [0, 4] {
        let spec = TileSpec::new(0, size, 0, 0).unwrap();
        let error = restore_clip(
            &Liar { lies: true, helpers: Vec::new(), meeting: Meeting::default() },
            &noise([1, 8, 8, 1]),
            &spec,
            Tiling::Seamless,
        )
        .unwrap_err();
        let side = if size == 0 { 8 } else { 4 };
        assert!(
            matches!(error, TiledError::TileShape { expected, got }
                if expected == [1, 2 * side, 2 * side, 1] && got == [1, side, side, 1]),
            "{error}"
        );
    }
}

#[test]
fn flat_grey_in_usual_tiles_shows_no_seam() {
    let clip = Volume::filled([14, 150, 170, 3], 0.5).unwrap();
    let spec = TileSpec::new(6, 64, 2, 20).unwrap();
    for tiling in [Tiling::Seamless, Tiling::Published] {
        let restored = restore_clip(&Stand::new(Rule::Add(0.1), 2), &clip, &spec, tiling).unwrap();
        let off = restored.samples().iter().map(|sample| (sample - 0.6).abs());
        assert!(off.fold(0.0, f32::max) <= 1e-6, "{tiling:?}");
    }
}
