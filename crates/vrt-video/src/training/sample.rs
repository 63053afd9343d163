//! Training sets and their samples.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::augment::{Turn, draw_region, scaled};
use super::check::keys_of;
use super::jitter::Jitter;
use super::store::Store;
use super::window::{self, Window};
use super::{ClipEntry, ClipList, DataError, HeldOut, SetKind, TrainingSetOptions};
use crate::Frame;
use crate::noise::{BLOCK, normals};
use crate::picture::Region;

/// Held-out clips that a warning names.
const NAMES_STATED: usize = 4;

/// A pair of short clips.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Where it comes from: `clip/frame`, the first frame in time before any reversal; the sequence
    /// in Vimeo sets.
    pub key: String,
    /// What the network gets: frames of `crop/scale` rows and columns, R, G, B (and spikes, or a noise
    /// level).
    pub degraded: Vec<Frame>,
    /// What it should make: frames of `crop` rows and columns, R, G, B.
    pub sharp: Vec<Frame>,
}

/// A set of pairs of clips, from which samples are drawn.
///
/// It holds the list and no frames; threads may draw from it at once.
#[derive(Debug)]
pub struct TrainingSet {
    options: TrainingSetOptions,
    clips: Vec<ClipEntry>,
    /// Samples up to and with each clip.
    ends: Vec<usize>,
    removed: Vec<String>,
    warnings: Vec<String>,
    sharp: Store,
    /// `None` where degraded frames are made from sharp ones.
    degraded: Option<Store>,
}

impl TrainingSet {
    /// Opens the trees of frames, reads the list, decodes the first pair of frames, and looks
    /// whether the first and the last one of every clip are there.
    ///
    /// # Errors
    ///
    /// Names the option that cannot be, the line of the list that is none, the clip that is too
    /// short, or the frame that is missing, cannot be decoded, or has a size that does not fit.
    pub fn open(options: TrainingSetOptions) -> Result<Self, DataError> {
        options.check()?;
        let listed = ClipList::read(&options.meta_info)?.into_clips();
        let (held, clips): (Vec<_>, Vec<_>) =
            listed.into_iter().partition(|clip| options.held_out.holds(&clip.name));
        let removed: Vec<String> = held.into_iter().map(|clip| clip.name).collect();
        if clips.is_empty() {
            let reason = format!("all {} clips of it are held out", removed.len());
            return Err(DataError::NoClips { path: options.meta_info, reason });
        }
        let ends = ends(&options, &clips)?;
        let sharp = Store::open(&options.sharp, &options.extension)?;
        let degraded = match options.kind {
            SetKind::Denoising { .. } => None,
            _ => Some(Store::open(&options.degraded, &options.extension)?),
        };
        let warnings = warnings(&options, &removed);
        let set = Self { options, clips, ends, removed, warnings, sharp, degraded };
        set.check_first()?;
        set.check_ends()?;
        Ok(set)
    }

    /// What it was opened with.
    pub fn options(&self) -> &TrainingSetOptions {
        &self.options
    }

    /// Number of samples: the frames of all clips, or the sequences of a Vimeo set.
    pub fn len(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Whether there is no sample; a set that could be opened has some.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Clips that samples are drawn from.
    pub fn clips(&self) -> &[ClipEntry] {
        &self.clips
    }

    /// Clips of the list that are held out: no sample has a frame of theirs.
    pub fn removed_clips(&self) -> &[String] {
        &self.removed
    }

    /// What a person should know about the set: what was held out, or that there was nothing to.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Draws sample `index`: the same for the same index and state of `random`.
    ///
    /// In memory are the frames of the sample and one that is decoded.
    ///
    /// # Errors
    ///
    /// Names the frame that is missing, cannot be decoded, or has a size that does not fit.
    ///
    /// # Panics
    ///
    /// Panics if `index` is not below [`len`](Self::len).
    pub fn sample(&self, index: usize, random: &mut ChaCha8Rng) -> Result<Sample, DataError> {
        let len = self.len();
        assert!(index < len, "training set: sample {index} of {len}");
        let place = self.ends.partition_point(|&end| end <= index);
        let begin = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        let clip = &self.clips[place];
        let window = window::draw(&self.options, clip, index - begin, random);
        let (mut degraded, mut sharp) = self.read(&window, random)?;
        let turn = Turn::draw(self.options.flip, self.options.rotate, random);
        let turned = |frames: Vec<Frame>| frames.into_iter().map(|frame| turn.apply(frame));
        (degraded, sharp) = (turned(degraded).collect(), turned(sharp).collect());
        if self.options.color_jitter {
            let jitter = Jitter::draw(random);
            degraded.iter_mut().chain(&mut sharp).for_each(|frame| jitter.apply(frame));
        }
        if let SetKind::Denoising { sigma } = self.options.kind {
            degraded = add_noise(&sharp, sigma, random);
        }
        for frames in [&mut degraded, &mut sharp] {
            self.lengthen(frames);
        }
        Ok(Sample { key: self.key(clip, &window), degraded, sharp })
    }

    /// The frames of a window, cut at a place that is drawn.
    fn read(
        &self,
        window: &Window,
        random: &mut ChaCha8Rng,
    ) -> Result<(Vec<Frame>, Vec<Frame>), DataError> {
        let first = self.sharp.fetch(&window.sharp[0])?;
        let size = first.size()?;
        first.check_crop(size, self.options.crop)?;
        let scale = self.options.scale;
        let small = (size.0 / scale, size.1 / scale);
        let region = draw_region(small, self.options.crop / scale, random);
        let cut = |store: &Store, keys: &[String], size, region: Region| {
            keys.iter()
                .map(|key| store.fetch(key)?.cut(size, region))
                .collect::<Result<Vec<_>, _>>()
        };
        let degraded = match &self.degraded {
            Some(store) => {
                let head = store.fetch(&window.degraded[0])?;
                let small = head.size()?;
                if (small.0.saturating_mul(scale), small.1.saturating_mul(scale)) != size {
                    return Err(first.other_scale(store, (size, small), scale));
                }
                let frames = cut(store, &window.degraded, small, region)?;
                self.with_spikes(frames, window, (small, region))?
            }
            None => Vec::new(),
        };
        Ok((degraded, cut(&self.sharp, &window.sharp, size, scaled(region, scale))?))
    }

    /// Frames with their spike channels behind them, where the set has spikes.
    fn with_spikes(
        &self,
        frames: Vec<Frame>,
        window: &Window,
        part: ((usize, usize), Region),
    ) -> Result<Vec<Frame>, DataError> {
        let Some(spikes) = &self.options.spikes else { return Ok(frames) };
        let pairs = frames.into_iter().zip(&window.degraded);
        pairs.map(|(frame, key)| spikes.behind(frame, key, part, window.backwards)).collect()
    }

    /// Lets the first pair of the set speak for all others, before training begins.
    fn check_first(&self) -> Result<(), DataError> {
        let clip = &self.clips[0];
        // No chance is taken that shows: whatever is drawn here is dropped.
        let mut random = rand::SeedableRng::seed_from_u64(0);
        self.read(&window::draw(&self.options, clip, 0, &mut random), &mut random).map(drop)
    }

    /// Looks for the first and the last frames of every clip: a clip that is not there, or shorter
    /// than its list says, would end a run when it is drawn.
    fn check_ends(&self) -> Result<(), DataError> {
        let look = |clip: &ClipEntry| {
            let (sharp, degraded) = self.ends_of(clip);
            sharp.iter().try_for_each(|key| self.sharp.find(key))?;
            let Some(store) = &self.degraded else { return Ok(()) };
            degraded.iter().try_for_each(|key| store.find(key))
        };
        self.clips.par_iter().map(look).find_first(Result::is_err).unwrap_or(Ok(()))
    }

    /// Keys of the outermost frames that samples of a clip have, sharp ones and degraded ones.
    fn ends_of(&self, clip: &ClipEntry) -> (Vec<String>, Vec<String>) {
        if self.options.kind.is_vimeo() {
            // Every sample of a sequence is of the same frames.
            let mut random = rand::SeedableRng::seed_from_u64(0);
            let Window { sharp, degraded, .. } = window::draw(&self.options, clip, 0, &mut random);
            return (outermost(sharp), outermost(degraded));
        }
        let ends = outermost(keys_of(&self.options, clip));
        (ends.clone(), ends)
    }

    /// Appends what the options ask for.
    fn lengthen(&self, frames: &mut Vec<Frame>) {
        if self.options.mirror {
            let backwards: Vec<_> = frames.iter().rev().cloned().collect();
            frames.extend(backwards);
        } else if self.options.repeat_last {
            frames.extend(frames.last().cloned());
        }
    }

    fn key(&self, clip: &ClipEntry, window: &Window) -> String {
        if self.options.kind.is_vimeo() {
            return clip.name.clone();
        }
        window.degraded.iter().min().cloned().unwrap_or_default()
    }
}

/// The first and the last key, in whichever order.
fn outermost(mut keys: Vec<String>) -> Vec<String> {
    if keys.len() > 2 {
        keys.drain(1..keys.len() - 1);
    }
    keys
}

/// Samples up to and with each clip, after every clip was found to be long enough.
fn ends(options: &TrainingSetOptions, clips: &[ClipEntry]) -> Result<Vec<usize>, DataError> {
    let of_clip = |clip: &ClipEntry| {
        if options.kind.is_vimeo() {
            return Ok(1);
        }
        let frames = clip.frames.unwrap_or(0);
        let longest = options.intervals.iter().copied().max().unwrap_or(1);
        let span = window::span(options.frames, longest);
        if frames >= span {
            return Ok(frames);
        }
        Err(DataError::ShortClip {
            path: options.meta_info.clone(),
            clip: clip.name.clone(),
            frames,
            wanted: options.frames,
            interval: longest,
            span,
        })
    };
    let mut sum = 0usize;
    clips
        .iter()
        .map(|clip| {
            sum = sum.saturating_add(of_clip(clip)?);
            Ok(sum)
        })
        .collect()
}

fn warnings(options: &TrainingSetOptions, removed: &[String]) -> Vec<String> {
    let list = &options.meta_info;
    if options.held_out == HeldOut::None {
        return Vec::new();
    }
    if removed.is_empty() {
        return vec![format!("{list:?} has no clip that val_partition holds out")];
    }
    let stated = removed[..removed.len().min(NAMES_STATED)].join(", ");
    let more = match removed.len().saturating_sub(NAMES_STATED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    vec![format!("{list:?}: held out from training: {stated}{more}")]
}

/// Frames with noise of one deviation, which is drawn and stated in a fourth channel.
fn add_noise(sharp: &[Frame], sigma: [f32; 2], random: &mut ChaCha8Rng) -> Vec<Frame> {
    let level = random.random_range(sigma[0]..=sigma[1]) / 255.0;
    let mut block = [0.0; BLOCK];
    let mut given = BLOCK;
    let mut normal = || {
        if given == BLOCK {
            block = normals(std::array::from_fn(|_| random.random_range(0.0..1.0)));
            given = 0;
        }
        given += 1;
        block[given - 1]
    };
    let noisy = sharp.iter().map(|frame| {
        let pixels = frame.samples().as_chunks::<3>().0.iter();
        let samples = pixels
            .flat_map(|&[red, green, blue]| {
                let [red, green, blue] = [red, green, blue].map(|sample| sample + level * normal());
                [red, green, blue, level]
            })
            .collect();
        Frame::new(frame.width(), frame.height(), 4, samples)
    });
    noisy.collect()
}
