//! Films clips and writes them: two trees, their list, and what was drawn.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use rand::RngExt;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::json;

use super::chance::{Purpose, generator};
use super::curve;
use super::exposure::expose;
use super::plan::{ClipPlan, ClipRecord};
use super::scene::Scene;
use super::stills::Stills;
use super::texture::shrink;
use super::{SimulateError, SimulationOptions, SpikesBeside};
use vrt_spike::{NewFile, Packed};

use crate::degrade::{compress_on, each, from_light, refuse_filled};
use crate::spikes::side_file;
use crate::{
    BitDepth, ColorDescription, FolderSink, FolderSinkOptions, Frame, FrameSink, FrameSource,
    Light, StreamInfo, TimedFrame, VideoError,
};

/// Threads of an encoder: clips are made side by side, and with one thread the same choices are made
/// on every machine.
const ENCODER_THREADS: usize = 1;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SimulatedSet {
    /// The folder with sharp frames.
    pub sharp: PathBuf,
    /// The folder with degraded frames.
    pub degraded: PathBuf,
    /// The folder with streams of spikes, where there are some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spikes: Option<PathBuf>,
    /// The clip list.
    pub list: PathBuf,
    /// Stills that could be used.
    pub stills: usize,
    /// Number of clips.
    pub clips: usize,
    /// Number of frames.
    pub frames: usize,
}

/// Makes clips of the pictures below the folder `stills`: `destination/GT/clip/00000000.png` and on,
/// the same below `LQ`, the list `meta_info.txt`, and `simulate.json` with the options and what was
/// drawn for every clip; with a spike camera also streams, `SPIKE/clip/00000000.dat` and on, and the
/// `config.yaml` that says how they lie. `on_clip` hears of every clip that is whole, from any
/// thread.
///
/// Clips are made side by side; each depends on the options, its number and the stills alone.
/// Memory does not depend on the number of clips, nor on that of frames.
///
/// # Errors
///
/// Names the option that cannot be or the still that is broken or too small, and says that the
/// destination is not empty or cannot be written, or what ffmpeg says. List and record are written
/// at the end, so that a folder without them is not whole.
pub fn simulate(
    stills: &Path,
    destination: &Path,
    options: &SimulationOptions,
    on_clip: &(dyn Fn(&ClipRecord) + Sync),
) -> Result<SimulatedSet, SimulateError> {
    options.check()?;
    refuse_filled(destination)?;
    let folder = stills;
    let stills = Stills::find(folder, options)?;
    let [sharp, degraded] = ["GT", "LQ"].map(|tree| destination.join(tree));
    let spikes = options.spikes.map(|_| destination.join("SPIKE"));
    let filmed = (0..options.clips).into_par_iter().with_max_len(1).map(|clip| {
        let plan = ClipPlan::draw(options, &stills, clip)?;
        film(&plan, options, &stills, ([&sharp, &degraded], spikes.as_deref()))?;
        let record = plan.record(&stills);
        on_clip(&record);
        Ok(record)
    });
    let records = filmed.collect::<Result<Vec<_>, VideoError>>()?;
    if let (Some(root), Some(beside)) = (&spikes, &options.spikes) {
        let geometry = options.geometry(&beside.camera)?;
        write_new(&root.join("config.yaml"), &side_file(geometry))?;
    }
    let list = destination.join("meta_info.txt");
    write_new(&list, &list_of(&records, options))?;
    let record = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "options": options,
        "folder": folder.display().to_string(),
        "stills": stills.names(),
        "clips": records,
    });
    write_new(&destination.join("simulate.json"), &format!("{record:#}\n"))?;
    let (clips, frames) = (options.clips, options.clips * options.frames);
    Ok(SimulatedSet { sharp, degraded, spikes, list, stills: stills.count(), clips, frames })
}

/// Makes the frames of a clip, one after the other.
fn film(
    plan: &ClipPlan,
    options: &SimulationOptions,
    stills: &Stills,
    ([sharp, degraded], spikes): ([&Path; 2], Option<&Path>),
) -> Result<(), VideoError> {
    let name = plan.name();
    let sink = |root: &Path| {
        let options = FolderSinkOptions { bit_depth: BitDepth::Eight, overwrite: false };
        FolderSink::create(&root.join(&name), options).map(Box::new)
    };
    let scene = plan.scene(stills)?;
    let spikes = spikes.map(|root| root.join(&name));
    if let Some(folder) = &spikes {
        let failed = |source| VideoError::Write { path: folder.clone(), frame: 0, source };
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let sharp = sink(sharp)?;
    let mut film = Film { plan, options, scene, info: info(options), sharp, spikes, next: 0 };
    let mut degraded = sink(degraded)?;
    match plan.crf {
        None => each(&mut film, degraded.as_mut(), |frame| frame)?,
        Some(crf) => {
            let threads = Some(ENCODER_THREADS);
            let mut compressed = compress_on(&mut film, crf, threads, &options.programs)?;
            each(&mut compressed, degraded.as_mut(), |frame| frame)?
        }
    };
    film.sharp.finish()?;
    degraded.finish()?;
    Ok(())
}

fn info(options: &SimulationOptions) -> StreamInfo {
    StreamInfo {
        width: options.width / options.upscale,
        height: options.height / options.upscale,
        frame_rate: None,
        frames: Some(options.frames as u64),
        sample_aspect: None,
        color: ColorDescription::default(),
        bit_depth: 8,
    }
}

/// Degraded frames of a clip, before compression; the sharp one of each is written as it is made.
struct Film<'a> {
    plan: &'a ClipPlan,
    options: &'a SimulationOptions,
    scene: Scene,
    info: StreamInfo,
    sharp: Box<FolderSink>,
    /// The folder for streams of spikes.
    spikes: Option<PathBuf>,
    next: usize,
}

impl FrameSource for Film<'_> {
    fn info(&self) -> &StreamInfo {
        &self.info
    }

    fn next_frame(&mut self) -> Result<Option<TimedFrame>, VideoError> {
        if self.next == self.options.frames {
            return Ok(None);
        }
        let name = Some(format!("{:08}", self.next));
        let timed = |frame| TimedFrame { frame, seconds: None, name: name.clone() };
        let stream = self
            .spikes
            .as_ref()
            .map(|folder| NewFile::create(&folder.join(format!("{:08}.dat", self.next)), false));
        let mut stream = stream.transpose()?;
        let mut written = Ok(());
        let on_spikes = &mut |spikes: Packed| {
            if let (Some(stream), Ok(())) = (&mut stream, &written) {
                written = stream.write_frames(&spikes);
            }
        };
        let Shot { sharp, degraded } =
            shot(self.plan, self.options, &self.scene, (self.next, on_spikes));
        written?;
        stream.map(NewFile::finish).transpose()?;
        self.sharp.write(&timed(sharp))?;
        self.next += 1;
        Ok(Some(timed(degraded)))
    }
}

/// What becomes of a frame.
pub(super) struct Shot {
    pub(super) sharp: Frame,
    pub(super) degraded: Frame,
}

/// The frame of this number; frames of spikes while it is exposed are handed out one by one.
pub(super) fn shot(
    plan: &ClipPlan,
    options: &SimulationOptions,
    scene: &Scene,
    (frame, on_spikes): (usize, &mut dyn FnMut(Packed)),
) -> Shot {
    // The middle of the exposure is the number of the frame.
    let sharp = stored(scene.light_at(frame as f64));
    let place = [plan.clip as u64, frame as u64];
    let mut light = match &options.spikes {
        None => expose(scene, &plan.exposure.instants(scene, frame), |_| ()),
        Some(beside) => with_spikes(plan, (options, beside), scene, (place, on_spikes)),
    };
    if options.upscale == 2 {
        light = halved(&light, plan.softness as f32);
    }
    if let Some(noise) = plan.noise {
        noise.add(&mut light, &mut generator(options.seed, Purpose::Noise, place));
    }
    Shot { sharp, degraded: stored(light) }
}

/// The light of a frame and the spikes that it makes, both of the same instants: as many as blur
/// needs at least, the same number of them for every frame of spikes.
fn with_spikes(
    plan: &ClipPlan,
    (options, &SpikesBeside { frames, camera }): (&SimulationOptions, &SpikesBeside),
    scene: &Scene,
    (place, on_spikes): ([u64; 2], &mut dyn FnMut(Packed)),
) -> Frame {
    let geometry = camera.geometry(options.size()).expect("options were checked");
    let charges = generator(options.seed, Purpose::Spikes, place).random();
    let mut sensor = camera.sensor(geometry, charges);
    let frame = place[1] as usize;
    let each = plan.exposure.instants(scene, frame).len().div_ceil(frames);
    let (mut gathered, mut instants) = (vec![0.0; geometry.width() * geometry.height()], 0);
    expose(scene, &plan.exposure.evenly(frame, frames * each), |light| {
        let seen = match camera.light {
            Light::Linear => camera.sees(light, geometry, |light| light),
            Light::Gamma => camera.sees(light, geometry, curve::stored),
        };
        gathered.iter_mut().zip(seen).for_each(|(sum, seen)| *sum += seen / each as f32);
        instants += 1;
        if instants == each {
            on_spikes(sensor.look(&gathered));
            (gathered, instants) = (vec![0.0; gathered.len()], 0);
        }
    })
}

/// Amounts of light as they are stored, in 0…1.
fn stored(mut light: Frame) -> Frame {
    for sample in light.samples_mut() {
        *sample = from_light(f64::from(sample.clamp(0.0, 1.0))) as f32;
    }
    light
}

/// Half the size: the share `softness` of plain means of four pixels, the rest of cubic convolution.
fn halved(frame: &Frame, softness: f32) -> Frame {
    let (width, height) = (frame.width() / 2, frame.height() / 2);
    let mut small = shrink(frame, (width, height));
    let stride = frame.width() * 3;
    for (at, sample) in small.samples_mut().iter_mut().enumerate() {
        let (pixel, channel) = (at / 3, at % 3);
        let first = pixel / width * 2 * stride + pixel % width * 6 + channel;
        let four = [first, first + 3, first + stride, first + stride + 3];
        let mean = four.iter().map(|at| frame.samples()[*at]).sum::<f32>() / 4.0;
        *sample += softness * (mean - *sample);
    }
    small
}

/// The clip list, as training sets read it.
fn list_of(records: &[ClipRecord], options: &SimulationOptions) -> String {
    let SimulationOptions { frames, width, height, .. } = options;
    let mut text = String::new();
    for record in records {
        // A string takes every line.
        let _ = writeln!(text, "{} {frames} ({height},{width},3) 00000000", record.name);
    }
    text
}

fn write_new(path: &Path, text: &str) -> Result<(), SimulateError> {
    std::fs::write(path, text)
        .map_err(|source| SimulateError::Write { path: path.to_path_buf(), source })
}
