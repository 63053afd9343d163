//! Films a clip with two cameras: one that blurs, and one of spikes.

use std::collections::VecDeque;
use std::path::Path;

use vrt_spike::{Packed, SpikeSensor};

use super::plan::PlannedClip;
use super::{SpikeSetOptions, write_stream};
use crate::degrade::{Light, from_light, to_light};
use crate::{
    BitDepth, FolderSink, FolderSinkOptions, Frame, FrameSink, FrameSource, SimulateError,
    TimedFrame, VideoError,
};

/// Frames between two frames of a video.
pub trait Between {
    /// Whether there can be frames between those of this width and height.
    ///
    /// # Errors
    ///
    /// Says why there are none.
    fn check(&self, size: (usize, usize)) -> Result<(), String> {
        let _ = size;
        Ok(())
    }

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
    ) -> Result<Vec<Frame>, String>;
}

/// A clip that is being filmed.
pub(super) struct Filming<'a> {
    options: &'a SpikeSetOptions,
    clip: &'a PlannedClip,
    /// Where frames go, and streams.
    folders: [&'a Path; 2],
    /// Sharp and blurred frames, once there is one.
    sinks: Option<[Box<FolderSink>; 2]>,
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

/// Begins the folders of sharp and blurred frames, and that of streams.
fn sinks([frames, streams]: [&Path; 2]) -> Result<[Box<FolderSink>; 2], SimulateError> {
    let sink = |kind| {
        let options = FolderSinkOptions { bit_depth: BitDepth::Eight, overwrite: false };
        FolderSink::create(&frames.join(kind), options).map(Box::new)
    };
    std::fs::create_dir_all(streams)
        .map_err(|source| SimulateError::Write { path: streams.to_path_buf(), source })?;
    Ok([sink("sharp")?, sink("blur")?])
}

impl<'a> Filming<'a> {
    /// A clip whose frames go below the first of two folders and whose streams go into the second,
    /// which are made when there is something to write.
    pub(super) fn new(
        options: &'a SpikeSetOptions,
        clip: &'a PlannedClip,
        folders: [&'a Path; 2],
        charges: u64,
    ) -> Self {
        let sensor = options.camera.sensor(clip.geometry, charges);
        let exposed = VecDeque::new();
        Self { options, clip, folders, sinks: None, sensor, exposed, passed: 0, written: 0 }
    }

    /// Films all of it; how many blurred frames there are.
    pub(super) fn film(
        mut self,
        source: &mut dyn FrameSource,
        between: &mut dyn Between,
    ) -> Result<u64, SimulateError> {
        let mut next = source.next_frame()?.map(|timed| timed.frame);
        let mut before: Vec<Frame> = Vec::new();
        let mut count = 0;
        while let Some(frame) = next {
            next = source.next_frame()?.map(|timed| timed.frame);
            let halves = self.halves(&frame, next.as_ref(), between).map_err(|reason| {
                SimulateError::Between { path: self.clip.path.clone(), frame: count, reason }
            })?;
            count += 1;
            // The clip stands still before its first frame and behind its last one.
            let first = if count == 1 { self.still(&frame) } else { before };
            self.see(frame, first, halves.0)?;
            before = halves.1;
        }
        if count < self.options.frames {
            let (path, needed) = (self.clip.path.clone(), self.options.frames);
            return Err(VideoError::ShortClip { path, frames: count, needed }.into());
        }
        for sink in self.sinks.into_iter().flatten() {
            sink.finish()?;
        }
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
    ) -> Result<(Vec<Frame>, Vec<Frame>), String> {
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
        let size = |frame: &Frame| (frame.width(), frame.height(), frame.channels());
        if frames.len() != 2 * half || frames.iter().any(|made| size(made) != size(frame)) {
            return Err(format!("{} frames of this size were asked for", 2 * half));
        }
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
            self.sensor.look(&self.options.camera.sees(instant, self.clip.geometry, light))
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
        let sharp = timed(middle.clone());
        let streams = self.folders[1];
        let [to_sharp, to_blurred] = match &mut self.sinks {
            Some(sinks) => sinks,
            none => none.insert(sinks(self.folders)?),
        };
        to_blurred.write(&timed(blurred))?;
        to_sharp.write(&sharp)?;
        let stream = self.exposed.iter().flat_map(|exposed| &exposed.spikes);
        write_stream(&streams.join(format!("{name}.dat")), stream)?;
        self.written += 1;
        let dropped = step.min(frames);
        self.exposed.drain(..dropped);
        self.passed = step - dropped;
        Ok(())
    }
}
