//! One test clip: which frames go in and which are scored, restored window by window.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use vrt_model::Restorer;
use vrt_model::tiled::{ClipModel, TemporalWindows, Tiling, Window, WindowStream, restore_window};
use vrt_model::volume::Volume;
use vrt_video::{
    BitDepth, ClipNoise, ClipScore, Frame, FrameRoot, FrameScore, FrameTree, Pairing, SpikeClip,
    SsimKind, write_picture,
};

use super::{Trial, ValidationError};
use crate::recipe::{Beyond, TestKind, TestSet, Validation};

/// Seed of the noise of each clip, as published.
const NOISE_SEED: u32 = 0;
/// Channels before those of spikes.
const RGB: usize = 3;
/// Samples that noise is drawn for at least.
const LEAST_SAMPLES: u64 = 16;

/// What is restored and scored of a clip.
#[derive(Clone, Debug)]
pub(super) struct Clip {
    name: String,
    trees: Trees,
    /// Frames to restore.
    files: Vec<PathBuf>,
    /// Their order in front of the network; some may come twice.
    sequence: Vec<usize>,
    /// The place in the sequence from which it runs backwards.
    turn: usize,
    /// Streams beside the frames.
    spikes: Option<SpikeClip>,
    /// Places among the restored frames, and their truth.
    scored: Vec<(usize, PathBuf)>,
}

impl Clip {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Looks at its streams of spikes.
    pub(super) fn look(&self) -> Result<(), ValidationError> {
        let Some(spikes) = &self.spikes else { return Ok(()) };
        let first = self.trees.degraded.read(&self.files[0])?;
        Ok(spikes.look(&self.files, (first.width(), first.height()))?)
    }

    /// Names of the frames that are scored, in order.
    pub(super) fn frame_names(&self) -> Vec<String> {
        self.scored.iter().map(|(_, truth)| name_of(truth)).collect()
    }
}

fn name_of(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// What the frames of a clip are read from.
#[derive(Clone, Debug)]
struct Trees {
    sharp: FrameTree,
    /// The frames to restore.
    degraded: FrameTree,
}

impl Trees {
    fn open(test: &TestSet) -> Result<Self, ValidationError> {
        let open = |path: &Path| {
            FrameTree::open(&FrameRoot { path: path.to_path_buf(), backend: test.backend })
        };
        let sharp = open(&test.sharp)?;
        let degraded = if is_alone(test) { sharp.clone() } else { open(&test.degraded)? };
        Ok(Self { sharp, degraded })
    }
}

/// Whether the frames to restore are, or are made from, the true ones.
fn is_alone(test: &TestSet) -> bool {
    test.sigma.is_some() || test.sharp == test.degraded
}

/// The clips of a test set.
pub(super) fn clips(test: &TestSet, validation: Validation) -> Result<Vec<Clip>, ValidationError> {
    let listed = match &test.kind {
        TestKind::Vimeo { meta_info: Some(list), .. } => Some(names(list)?),
        _ => None,
    };
    let is_listed = |name: &str| listed.as_ref().is_none_or(|listed| listed.contains(name));
    let trees = Trees::open(test)?;
    let pairs = frames(test, &trees)?;
    let alone = pairs.len() == 1;
    let pairs = pairs.into_iter().filter(|(name, _, _)| is_listed(name));
    let clips = pairs.map(|clip| {
        let mut clip = plan(test, validation, &trees, clip)?;
        clip.spikes = test.spikes.as_ref().map(|tree| tree.clip(&clip.name, alone));
        Ok(clip)
    });
    let clips: Result<Vec<_>, ValidationError> = clips.collect();
    match clips {
        Ok(clips) if clips.is_empty() => Err(ValidationError::Clip {
            clip: test.sharp.display().to_string(),
            what: "no clip of the list meta_info_file is in it".to_owned(),
        }),
        clips => clips,
    }
}

/// First words of the lines of a list.
fn names(path: &Path) -> Result<BTreeSet<String>, ValidationError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ValidationError::List { path: path.to_path_buf(), source })?;
    let names = text.lines().filter_map(|line| line.split_whitespace().next());
    Ok(names.map(str::to_owned).collect())
}

/// A clip's name, the frames that the network sees, and true frames.
type Frames = (String, Vec<PathBuf>, Vec<PathBuf>);

fn frames(test: &TestSet, trees: &Trees) -> Result<Vec<Frames>, ValidationError> {
    if is_alone(test) {
        let clips = trees.sharp.clips()?.into_iter();
        return Ok(clips.map(|clip| (clip.name, clip.frames.clone(), clip.frames)).collect());
    }
    let pairs = trees.sharp.pair(&trees.degraded, Pairing::Same)?;
    let clips = pairs.into_iter().map(|clip| {
        let (inputs, truths) =
            clip.frames.into_iter().map(|frame| (frame.input, frame.truth)).unzip();
        (clip.name, inputs, truths)
    });
    Ok(clips.collect())
}

fn plan(
    test: &TestSet,
    validation: Validation,
    trees: &Trees,
    (name, mut inputs, mut truths): Frames,
) -> Result<Clip, ValidationError> {
    let most = test.frames.unwrap_or(usize::MAX);
    inputs.truncate(most);
    truths.truncate(most);
    let middle = truths.len() / 2;
    let mut center_only = validation.center_only;
    let mut at = None;
    let mut behind = Beyond::Nothing;
    if let TestKind::Vimeo { temporal_scale, beyond, .. } = test.kind {
        center_only = true;
        if temporal_scale > 1 {
            inputs = inputs.into_iter().step_by(temporal_scale).collect();
            at = Some(0);
        }
        behind = beyond;
    }
    let mut sequence: Vec<_> = (0..inputs.len()).collect();
    if validation.repeat_last && behind == Beyond::Nothing {
        behind = Beyond::LastFrame;
    }
    match behind {
        Beyond::Nothing => {}
        Beyond::LastFrame => sequence.extend(sequence.last().copied()),
        Beyond::Mirror => sequence.extend((0..inputs.len()).rev()),
    }
    if inputs.is_empty() {
        let what = "has no frames".to_owned();
        return Err(ValidationError::Clip { clip: name, what });
    }
    let scored = match center_only {
        true => vec![(at.unwrap_or(middle), truths.swap_remove(middle))],
        false => truths.into_iter().enumerate().collect(),
    };
    let turn = inputs.len() + usize::from(behind == Beyond::LastFrame);
    Ok(Clip { name, trees: trees.clone(), files: inputs, sequence, turn, spikes: None, scored })
}

/// Restores and scores a clip; `sample` takes a picture of its middle.
pub(super) fn score(
    model: &Restorer,
    trial: &Trial<'_>,
    clip: &Clip,
    mut sample: Option<&mut Option<Frame>>,
) -> Result<ClipScore, ValidationError> {
    let middle = clip.scored.len() / 2;
    let mut scores = Vec::with_capacity(clip.scored.len());
    let mut scored = clip.scored.iter().peekable();
    let mut each = |place: usize, frame: Frame| -> Result<(), ValidationError> {
        let Some((_, truth)) = scored.next_if(|(scored, _)| *scored == place) else {
            return Ok(());
        };
        let name = name_of(truth);
        if let Some(folder) = trial.images {
            let folder = folder.join(&clip.name);
            std::fs::create_dir_all(&folder).map_err(|error| ValidationError::Clip {
                clip: clip.name.clone(),
                what: format!("the folder {folder:?} cannot be made: {error}"),
            })?;
            let path = folder.join(format!("{name}.png"));
            // A step that is done again after a resume has the same frames.
            write_picture(&path, &frame, BitDepth::Eight, true)?;
        }
        let truth = clip.trees.sharp.read(truth)?;
        if let Some(sample) = sample.as_mut().filter(|_| scores.len() == middle) {
            let before = before(model, trial, clip, place)?;
            let parts: Vec<_> = before.iter().chain([&frame, &truth]).collect();
            **sample = Some(side_by_side(&parts));
        }
        let score = vrt_video::score(&truth, &frame, SsimKind::PerChannel)?;
        scores.push(FrameScore { name, scores: score });
        Ok(())
    };
    match trial.validation.flip {
        false => restore(model, trial, clip, &mut each)?,
        true => restore_both_ways(model, trial, clip, &mut each)?,
    }
    if scores.len() < clip.scored.len() {
        let what = format!("{} of {} frames came back", scores.len(), clip.scored.len());
        return Err(ValidationError::Clip { clip: clip.name.clone(), what });
    }
    Ok(ClipScore::new(clip.name.clone(), scores))
}

/// The frame at a place as the network sees it, if that is as it is in its file.
fn before(
    model: &Restorer,
    trial: &Trial<'_>,
    clip: &Clip,
    place: usize,
) -> Result<Option<Frame>, ValidationError> {
    if trial.test.sigma.is_some() || model.config().fused_frames().is_some() {
        return Ok(None);
    }
    Ok(Some(clip.trees.degraded.read(&clip.files[clip.sequence[place]])?))
}

/// RGB frames in one picture, as high as the last one; smaller ones with their pixels repeated.
fn side_by_side(frames: &[&Frame]) -> Frame {
    let Some(last) = frames.last() else { return Frame::filled(1, 1, 3, 0.0) };
    let (width, height) = (last.width(), last.height());
    let mut samples = Vec::with_capacity(3 * frames.len() * width * height);
    for row in 0..height {
        for frame in frames {
            let from = &frame.samples()[row * frame.height() / height * frame.width() * 3..];
            let pixels = (0..width).map(|column| column * frame.width() / width * 3);
            pixels.for_each(|at| samples.extend_from_slice(&from[at..at + 3]));
        }
    }
    Frame::new(frames.len() * width, height, 3, samples)
}

/// Takes a restored frame and its place in the clip.
type Each<'a> = &'a mut dyn FnMut(usize, Frame) -> Result<(), ValidationError>;

/// Restores the clip and, behind it, the clip backwards; hands out the mean of both.
fn restore_both_ways(
    model: &Restorer,
    trial: &Trial<'_>,
    clip: &Clip,
    each: Each<'_>,
) -> Result<(), ValidationError> {
    let count = clip.sequence.len();
    let mut sequence = clip.sequence.clone();
    sequence.extend(clip.sequence.iter().rev());
    let both = Clip { sequence, turn: count, ..clip.clone() };
    let mut forth: Vec<Frame> = Vec::with_capacity(count);
    let mut means = Vec::with_capacity(count);
    restore(model, trial, &both, &mut |place, frame| {
        if place < count {
            forth.push(frame);
        } else if let Some(mut mean) = forth.pop() {
            let other = frame.into_samples();
            mean.samples_mut().iter_mut().zip(other).for_each(|(a, b)| *a = 0.5 * (*a + b));
            means.push(mean);
        }
        Ok(())
    })?;
    means.into_iter().rev().enumerate().try_for_each(|(place, frame)| each(place, frame))
}

fn restore(
    model: &Restorer,
    trial: &Trial<'_>,
    clip: &Clip,
    each: Each<'_>,
) -> Result<(), ValidationError> {
    let name = &clip.name;
    let spec = &trial.validation.tile;
    let mut watch = |_| match trial.stop.load(Ordering::Relaxed) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    };
    let mut window = |clip: Volume| {
        restore_window(model, clip, spec, Tiling::Published, &mut watch)
            .map_err(|error| ValidationError::of(name, error))
    };
    let mut frames = Reader::new(clip, trial.test.sigma, model);
    if model.config().fused_frames().is_some() {
        let all = std::iter::from_fn(|| frames.next().transpose());
        let all = all.collect::<Result<Vec<_>, _>>()?;
        let all = Volume::concat(&all).map_err(|error| ValidationError::volume(name, error))?;
        return hand_out(0, &window(all)?, each).map(|_| ());
    }
    let mut stream = TemporalWindows::new(spec, Tiling::Published, model.window()[0]);
    let mut next = 0;
    loop {
        let frame = frames.next()?;
        let ended = frame.is_none();
        let due = match frame {
            Some(frame) => stream.push(frame),
            None => stream.end_scene(),
        };
        if let Some(Window { clip, .. }) = due.map_err(|e| ValidationError::window(name, e))? {
            let restored = window(clip)?;
            stream.put_back(restored).map_err(|e| ValidationError::window(name, e))?;
        }
        while let Some(frame) = stream.pop() {
            next = hand_out(next, &frame, each)?;
        }
        if ended {
            return Ok(());
        }
    }
}

/// Hands out the frames of `restored`; gives the place behind the last.
fn hand_out(first: usize, restored: &Volume, each: Each<'_>) -> Result<usize, ValidationError> {
    let [height, width, channels] = restored.frame_dims();
    for (index, samples) in restored.iter_frames().enumerate() {
        each(first + index, Frame::new(width, height, channels, samples.to_vec()))?;
    }
    Ok(first + restored.frames())
}

/// Reads the frames of a clip as the network takes them.
struct Reader<'a> {
    clip: &'a Clip,
    next: usize,
    /// Frames that come again.
    kept: HashMap<usize, Volume>,
    /// Width and height of the first frame.
    size: Option<(usize, usize)>,
    noise: Option<ClipNoise>,
    sigma: f64,
    /// Whether the network takes a map of the noise level.
    map: bool,
}

impl<'a> Reader<'a> {
    fn new(clip: &'a Clip, sigma: Option<f64>, model: &Restorer) -> Self {
        let (sigma, map) = (sigma.unwrap_or(0.0), model.config().noise_map());
        Self { clip, next: 0, kept: HashMap::new(), size: None, noise: None, sigma, map }
    }

    fn next(&mut self) -> Result<Option<Volume>, ValidationError> {
        let Some(&file) = self.clip.sequence.get(self.next) else { return Ok(None) };
        let backwards = self.next >= self.clip.turn;
        self.next += 1;
        let mut frame = match self.kept.remove(&file) {
            Some(frame) => frame,
            None => self.read(&self.clip.files[file])?,
        };
        if self.clip.sequence[self.next..].contains(&file) {
            self.kept.insert(file, frame.clone());
        }
        if let Some(spikes) = self.clip.spikes.as_ref().filter(|_| backwards) {
            turn(&mut frame, spikes.channels());
        }
        Ok(Some(frame))
    }

    fn read(&mut self, path: &Path) -> Result<Volume, ValidationError> {
        let mut frame = self.clip.trees.degraded.read(path)?;
        let (width, height) = (frame.width(), frame.height());
        let samples = frame.samples().len() as u64 * self.clip.files.len() as u64;
        let wrong = |what| ValidationError::Clip { clip: self.clip.name.clone(), what };
        if *self.size.get_or_insert((width, height)) != (width, height) {
            let what = format!("the frame {path:?} has another size than those before it");
            return Err(wrong(what));
        }
        if self.sigma > 0.0 {
            if samples < LEAST_SAMPLES {
                return Err(wrong(format!("the frame {path:?} is too small to add noise to")));
            }
            let sigma = self.sigma as f32;
            let noise =
                self.noise.get_or_insert_with(|| ClipNoise::new(sigma, NOISE_SEED, samples));
            noise.add(&mut frame);
        }
        if let Some(spikes) = &self.clip.spikes {
            frame = spikes.beside(frame, path)?;
        }
        let channels = frame.channels();
        let level = (self.sigma / 255.0) as f32;
        let samples = match self.map {
            false => frame.into_samples(),
            true => {
                let pixels = frame.samples().chunks_exact(channels);
                pixels.flat_map(|pixel| pixel.iter().copied().chain([level])).collect()
            }
        };
        let volume = Volume::new([1, height, width, channels + usize::from(self.map)], samples);
        volume.map_err(|error| ValidationError::volume(&self.clip.name, error))
    }
}

/// Has the parts of a stream, which are channels behind those of RGB, run backwards.
fn turn(frame: &mut Volume, parts: usize) {
    let channels = frame.channels();
    let pixels = frame.samples_mut().chunks_exact_mut(channels);
    pixels.for_each(|pixel| pixel[RGB..][..parts].reverse());
}

#[cfg(test)]
mod tests {
    use vrt_model::tiled::TileSpec;
    use vrt_video::Backend;

    use super::*;

    const VALIDATION: Validation = Validation {
        save_images: false,
        repeat_last: false,
        flip: false,
        center_only: false,
        tile: TileSpec::WHOLE,
    };

    /// The order of inputs, and the places and numbers of true frames, of a clip of seven.
    fn planned(kind: TestKind, validation: Validation) -> (Vec<String>, Vec<(usize, String)>) {
        let test = TestSet {
            kind,
            sharp: PathBuf::from("sharp"),
            degraded: PathBuf::from("degraded"),
            backend: Backend::Disk,
            sigma: None,
            spikes: None,
            frames: None,
        };
        let frames = |folder: &str| (0..7).map(|i| PathBuf::from(format!("{folder}{i}"))).collect();
        let clip = ("c".to_owned(), frames("i"), frames("t"));
        let clip = plan(&test, validation, &Trees::open(&test).unwrap(), clip).unwrap();
        let name = |path: &PathBuf| path.display().to_string();
        let inputs = clip.sequence.iter().map(|file| name(&clip.files[*file])).collect();
        (inputs, clip.scored.iter().map(|(place, path)| (*place, name(path))).collect())
    }

    fn vimeo(temporal_scale: usize, beyond: Beyond) -> TestKind {
        TestKind::Vimeo { meta_info: None, temporal_scale, beyond }
    }

    #[test]
    fn sequences_go_on_and_are_scored_as_published() {
        let (inputs, scored) = planned(TestKind::Clips, VALIDATION);
        assert_eq!(inputs, ["i0", "i1", "i2", "i3", "i4", "i5", "i6"]);
        assert_eq!((scored.len(), &scored[6]), (7, &(6, "t6".to_owned())));

        let repeat = Validation { repeat_last: true, center_only: true, ..VALIDATION };
        let (inputs, scored) = planned(TestKind::Clips, repeat);
        assert_eq!((inputs.len(), inputs[7].as_str()), (8, "i6"));
        assert_eq!(scored, [(3, "t3".to_owned())]);

        let (inputs, scored) = planned(vimeo(1, Beyond::Mirror), VALIDATION);
        assert_eq!((inputs.len(), inputs[7].as_str(), inputs[13].as_str()), (14, "i6", "i0"));
        assert_eq!(scored, [(3, "t3".to_owned())]);

        let (inputs, scored) = planned(vimeo(2, Beyond::Nothing), VALIDATION);
        assert_eq!(inputs, ["i0", "i2", "i4", "i6"]);
        assert_eq!(scored, [(0, "t3".to_owned())]);
    }

    #[test]
    fn parts_of_streams_are_turned_and_nothing_else() {
        // R, G, B, three parts, the noise.
        let samples = [[1., 2., 3., 4., 5., 6., 7.], [0., 1., 0., 9., 8., 7., 7.]].concat();
        let mut frame = Volume::new([1, 1, 2, 7], samples).unwrap();
        turn(&mut frame, 3);
        let expected = [[1., 2., 3., 6., 5., 4., 7.], [0., 1., 0., 7., 8., 9., 7.]].concat();
        assert_eq!(frame.samples(), expected);
    }

    #[test]
    fn frames_stand_side_by_side_in_one_size() {
        let small = Frame::new(1, 1, 3, vec![0.1, 0.2, 0.3]);
        let large = Frame::new(2, 2, 3, (0..12).map(|i| i as f32).collect());
        let both = side_by_side(&[&small, &large]);
        assert_eq!((both.width(), both.height()), (4, 2));
        let row = |i: usize| &both.samples()[12 * i..][..12];
        assert_eq!(row(0)[..6], [0.1, 0.2, 0.3, 0.1, 0.2, 0.3]);
        assert_eq!(row(1)[6..], [6.0, 7.0, 8.0, 9.0, 10.0, 11.0]);
    }
}
