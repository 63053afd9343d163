//! Films clips again with two cameras: one that blurs, and one of spikes.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use vrt_spike::{Geometry, Packed, SpikeSensor};

use super::{MAX_SPIKE_FRAMES, SpikeCamera, side_file, write_stream};
use crate::degrade::{Light, from_light, refuse_filled, to_light};
use crate::{
    BitDepth, FolderSink, FolderSinkOptions, Frame, FrameSink, FrameSource, OpenOptions,
    SimulateError, StreamInfo, TimedFrame, VideoError, list_clips, open,
};

/// Frames between two frames of a video.
pub trait Between {
    /// The frames at `shares` of the way from `first` to `second`, each above 0 and below 1.
    ///
    /// # Errors
    ///
    /// Says why there are none.
    fn between(
        &mut self,
        first: &Frame,
        second: &Frame,
        shares: &[f32],
    ) -> Result<Vec<Frame>, VideoError>;
}

/// What is made of clips.
#[derive(Clone, Debug, PartialEq)]
pub struct SpikeSetOptions {
    /// Frames that a blurred one is the mean of: an odd number, so that one is in the middle.
    pub frames: usize,
    /// Frames from the first of a mean to the first of the next.
    pub step: usize,
    /// Instants of every frame that both cameras see; more than one are made by a [`Between`].
    pub instants: usize,
    /// What a blurred frame is the mean of: samples as stored, or light.
    pub light: Light,
    /// The spike camera.
    pub camera: SpikeCamera,
    /// Which part of the set it is: `train` or `test`, a folder's name.
    pub part: String,
    /// What settles the charges that pixels begin with, and darkness.
    pub seed: u64,
}

impl Default for SpikeSetOptions {
    fn default() -> Self {
        Self {
            frames: 11,
            step: 11,
            instants: 8,
            light: Light::Gamma,
            camera: SpikeCamera::default(),
            part: "train".to_owned(),
            seed: 0,
        }
    }
}

impl SpikeSetOptions {
    fn check(&self) -> Result<(), SimulateError> {
        let refuse = |option, value: String, reason: String| {
            Err(SimulateError::Option { option, value, reason })
        };
        if let Some((option, value, reason)) = self.camera.problem() {
            return refuse(option, value, reason);
        }
        for (option, count) in
            [("frames", self.frames), ("step", self.step), ("instants", self.instants)]
        {
            if !(1..=MAX_SPIKE_FRAMES).contains(&count) {
                return refuse(option, count.to_string(), format!("it is 1 to {MAX_SPIKE_FRAMES}"));
            }
        }
        if self.frames.is_multiple_of(2) {
            let reason = "it is odd, so that a sharp frame is in the middle".to_owned();
            return refuse("frames", self.frames.to_string(), reason);
        }
        let frames = self.frames * self.instants;
        if frames > MAX_SPIKE_FRAMES {
            let reason = format!(
                "a stream of {} frames times {} is longer than {MAX_SPIKE_FRAMES}",
                self.frames, self.instants
            );
            return refuse("instants", self.instants.to_string(), reason);
        }
        let plain = !self.part.is_empty() && self.part.chars().all(|c| c.is_ascii_alphanumeric());
        if !plain {
            let reason = "a part is a folder's name: letters and digits".to_owned();
            return refuse("part", self.part.clone(), reason);
        }
        Ok(())
    }
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SpikeSet {
    /// The folder with `CLIP/sharp` and `CLIP/blur`.
    pub frames_root: PathBuf,
    /// The folder with `CLIP/spike`.
    pub spikes_root: PathBuf,
    /// The clip list.
    pub list: PathBuf,
    /// Number of clips.
    pub clips: usize,
    /// Number of blurred frames.
    pub frames: u64,
    /// Frames of spikes beside each of them.
    pub spike_frames: usize,
}

/// Makes blurred frames, streams of spikes and sharp frames of the clips in `source`, which is a
/// folder of folders of frames, or one video.
///
/// They are laid out as the public GoPro set with spikes is: `destination/rgb/PART/CLIP/sharp` and
/// `blur` with frames `000000.png` and on, `destination/spike/PART/CLIP/spike/000000.dat` and on, and
/// `config.yaml` in each clip's folder of these; the clip list is
/// `destination/meta_info_PART.txt`. `between` makes the frames between frames.
///
/// The spike camera runs through a whole clip; a stream is what it saw during an exposure. A clip's
/// streams depend on the options, its frames and its place among the clips alone. In memory are the
/// frames of one exposure.
///
/// # Errors
///
/// Names the option that cannot be; says that `destination` is not empty, that a clip is too short,
/// has no size that spikes can have, or cannot be read, or that a file cannot be written.
pub fn simulate_spikes(
    source: &Path,
    destination: &Path,
    options: &SpikeSetOptions,
    between: &mut dyn Between,
    on_clip: &mut dyn FnMut(&str),
) -> Result<SpikeSet, SimulateError> {
    options.check()?;
    let clips = clips(source, options.frames)?;
    refuse_filled(destination)?;
    let [frames_root, spikes_root] =
        ["rgb", "spike"].map(|tree| destination.join(tree).join(&options.part));
    let (mut frames, mut lines) = (0, String::new());
    for (at, (name, path)) in clips.iter().enumerate() {
        on_clip(name);
        let mut source = open(path, &OpenOptions::default())?;
        let [sharp, blurred] =
            ["sharp", "blur"].map(|kind| sink(&frames_root.join(name).join(kind)));
        let geometry = geometry(source.info(), options)?;
        let mut charges = ChaCha8Rng::seed_from_u64(options.seed);
        charges.set_stream(at as u64);
        let clip = Clip {
            options,
            folder: spikes_root.join(name).join("spike"),
            sharp: sharp?,
            blurred: blurred?,
            geometry,
            sensor: options.camera.sensor(geometry, charges.random()),
            exposed: VecDeque::new(),
            passed: 0,
            written: 0,
        };
        let StreamInfo { width, height, .. } = *source.info();
        let filmed = clip.film(source.as_mut(), between)?;
        frames += filmed;
        lines += &format!("{name} {filmed} ({height},{width},3) 000000\n");
        let side = spikes_root.join(name).join("config.yaml");
        write(&side, &side_file(geometry))?;
    }
    let list = destination.join(format!("meta_info_{}.txt", options.part));
    write(&list, &lines)?;
    let spike_frames = options.frames * options.instants;
    Ok(SpikeSet { frames_root, spikes_root, list, clips: clips.len(), frames, spike_frames })
}

fn write(path: &Path, text: &str) -> Result<(), SimulateError> {
    std::fs::write(path, text)
        .map_err(|source| SimulateError::Write { path: path.to_path_buf(), source })
}

/// Names and places of clips, all long enough as far as is known.
fn clips(source: &Path, needed: usize) -> Result<Vec<(String, PathBuf)>, SimulateError> {
    if source.is_file() {
        let name = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        return Ok(vec![(name, source.to_path_buf())]);
    }
    let clips = list_clips(source)?;
    if let Some(clip) = clips.iter().find(|clip| clip.frames.len() < needed) {
        let (path, frames) = (clip.path.clone(), clip.frames.len());
        return Err(VideoError::ShortClip { path, frames, needed }.into());
    }
    Ok(clips.into_iter().map(|clip| (clip.name, clip.path)).collect())
}

fn geometry(info: &StreamInfo, options: &SpikeSetOptions) -> Result<Geometry, SimulateError> {
    let size = (info.width, info.height);
    options.camera.geometry(size).map_err(|reason| SimulateError::Option {
        option: "spike_shrink",
        value: options.camera.shrink.to_string(),
        reason,
    })
}

fn sink(folder: &Path) -> Result<Box<FolderSink>, VideoError> {
    let options = FolderSinkOptions { bit_depth: BitDepth::Eight, overwrite: false };
    FolderSink::create(folder, options).map(Box::new)
}

/// A clip that is being filmed.
struct Clip<'a> {
    options: &'a SpikeSetOptions,
    /// Where streams go.
    folder: PathBuf,
    sharp: Box<FolderSink>,
    blurred: Box<FolderSink>,
    geometry: Geometry,
    sensor: SpikeSensor,
    /// What both cameras saw of the last frames.
    exposed: VecDeque<Exposed>,
    /// Frames to leave out before the next exposure.
    passed: usize,
    written: u64,
}

/// What both cameras saw during a frame.
struct Exposed {
    frame: Frame,
    /// Sums over its instants, of samples or light.
    sums: Vec<f64>,
    spikes: Vec<Packed>,
}

impl Clip<'_> {
    /// Films all of it; how many blurred frames there are.
    fn film(
        mut self,
        source: &mut dyn FrameSource,
        between: &mut dyn Between,
    ) -> Result<u64, SimulateError> {
        let failed = |source| SimulateError::Write { path: self.folder.clone(), source };
        std::fs::create_dir_all(&self.folder).map_err(failed)?;
        let mut next = source.next_frame()?.map(|timed| timed.frame);
        let mut before: Vec<Frame> = Vec::new();
        let mut count = 0;
        while let Some(frame) = next {
            count += 1;
            next = source.next_frame()?.map(|timed| timed.frame);
            let halves = self.halves(&frame, next.as_ref(), between)?;
            // The clip stands still before its first frame and behind its last one.
            let first = if count == 1 { self.still(&frame) } else { before };
            self.see(frame, first, halves.0)?;
            before = halves.1;
        }
        if count < self.options.frames {
            let path = self.folder.clone();
            let needed = self.options.frames;
            return Err(VideoError::ShortClip { path, frames: count, needed }.into());
        }
        self.sharp.finish()?;
        self.blurred.finish()?;
        Ok(self.written)
    }

    /// Instants before, or behind, the middle of a frame.
    fn half(&self) -> usize {
        self.options.instants / 2
    }

    fn still(&self, frame: &Frame) -> Vec<Frame> {
        vec![frame.clone(); self.half()]
    }

    /// The second half of a frame's instants, and the first half of the next one's.
    fn halves(
        &self,
        frame: &Frame,
        next: Option<&Frame>,
        between: &mut dyn Between,
    ) -> Result<(Vec<Frame>, Vec<Frame>), VideoError> {
        let half = self.half();
        let Some(next) = next else { return Ok((self.still(frame), Vec::new())) };
        if half == 0 {
            return Ok((Vec::new(), Vec::new()));
        }
        // Instants lie evenly, a frame's in the middle of its exposure.
        let count = self.options.instants as f32;
        let first = if self.options.instants.is_multiple_of(2) { 0.5 } else { 1.0 } / count;
        let at = |place: usize| first + place as f32 / count;
        let behind = (0..half).map(at);
        let ahead = (0..half).rev().map(|place| 1.0 - at(place));
        let mut frames = between.between(frame, next, &behind.chain(ahead).collect::<Vec<_>>())?;
        let second = frames.split_off(half);
        Ok((frames, second))
    }

    /// Both cameras see the instants of a frame.
    fn see(
        &mut self,
        frame: Frame,
        first: Vec<Frame>,
        second: Vec<Frame>,
    ) -> Result<(), SimulateError> {
        let middle = (self.options.instants % 2 == 1).then_some(&frame);
        let instants: Vec<&Frame> = first.iter().chain(middle).chain(&second).collect();
        let spikes = instants.iter().map(|instant| {
            let light = |sample: f32| match self.options.camera.light {
                Light::Gamma => sample,
                Light::Linear => to_light(f64::from(sample)) as f32,
            };
            self.sensor.look(&self.options.camera.sees(instant, self.geometry, light))
        });
        let spikes = spikes.collect();
        if self.passed > 0 {
            self.passed -= 1;
            return Ok(());
        }
        let mut sums = vec![0.0; frame.samples().len()];
        for instant in instants {
            for (sum, sample) in sums.iter_mut().zip(instant.samples()) {
                *sum += match self.options.light {
                    Light::Gamma => f64::from(*sample),
                    Light::Linear => to_light(f64::from(*sample)),
                };
            }
        }
        self.exposed.push_back(Exposed { frame, sums, spikes });
        if self.exposed.len() == self.options.frames {
            self.write()?;
        }
        Ok(())
    }

    /// An exposure is over.
    fn write(&mut self) -> Result<(), SimulateError> {
        let SpikeSetOptions { frames, step, instants, light, .. } = *self.options;
        let middle = &self.exposed[frames / 2].frame;
        let name = format!("{:06}", self.written);
        let count = (frames * instants) as f64;
        let samples = (0..middle.samples().len()).map(|at| {
            let mean = self.exposed.iter().map(|exposed| exposed.sums[at]).sum::<f64>() / count;
            match light {
                Light::Gamma => mean as f32,
                Light::Linear => from_light(mean) as f32,
            }
        });
        let blurred = Frame::new(middle.width(), middle.height(), 3, samples.collect());
        let timed = |frame| TimedFrame { frame, seconds: None, name: Some(name.clone()) };
        self.blurred.write(&timed(blurred))?;
        self.sharp.write(&timed(middle.clone()))?;
        let stream = self.exposed.iter().flat_map(|exposed| &exposed.spikes);
        write_stream(&self.folder.join(format!("{name}.dat")), stream)?;
        self.written += 1;
        let dropped = step.min(frames);
        self.exposed.drain(..dropped);
        self.passed = step - dropped;
        Ok(())
    }
}
