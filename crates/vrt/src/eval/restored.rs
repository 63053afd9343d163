//! Restores the frames of one clip for scoring, without looking for scene cuts.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use vrt_model::config::VrtConfig;
use vrt_model::tiled::{
    Batches, ClipModel, ClipSize, FailedBatch, Moved, TemporalWindows, TiledError, WindowError,
    WindowStream,
};
use vrt_model::volume::{Volume, VolumeError};
use vrt_video::{ClipNoise, Frame, PictureChannels, SpikeClip, VideoError, read_picture};

use super::protocol::ClipPlan;
use super::{EvalError, EvalOptions, Protocol};
use crate::restore::{TilePlan, TilePlanError, plan_tiles};

/// Seed of the noise of every clip.
const NOISE_SEED: u32 = 0;

/// Values that noise is drawn in at a time, and the fewest there can be.
const NOISE_BLOCK: u64 = 16;

/// Rows and columns that a frame needs to be scored.
const LEAST_SIDE: usize = 11;

/// Takes a restored frame and its place in the clip.
type Each<'a> = &'a mut dyn FnMut(usize, Frame) -> Result<(), EvalError>;

/// What is told of a clip on its way.
#[derive(Clone, Copy, Debug)]
pub(super) enum Told {
    /// It is about to be restored, in these tiles.
    Plan(TilePlan),
    /// Tiles have so many rows and columns from now on: larger ones did not fit in memory.
    Shrunk(usize),
}

/// A network, and how it is run.
pub(super) struct Runner<'a, M> {
    pub(super) model: &'a M,
    pub(super) config: &'a VrtConfig,
    pub(super) options: &'a EvalOptions,
}

impl<M: ClipModel<Error: Send + Sync>> Runner<'_, M> {
    /// Restores the frames of a clip, beside which there may be streams, and hands out every restored
    /// one.
    pub(super) fn restore(
        &self,
        (clip, streams): (&ClipPlan, Option<&SpikeClip>),
        tell: &mut dyn FnMut(Told),
        each: Each<'_>,
    ) -> Result<(), EvalError> {
        self.restore_frames((clip, streams), tell, each).map_err(|failure| match failure {
            Failure::Eval(error) => error,
            Failure::Plan(source) => EvalError::Plan { clip: clip.name.clone(), source },
            Failure::Tiled(source) => {
                EvalError::Restore { clip: clip.name.clone(), source: Box::new(source) }
            }
        })
    }

    fn restore_frames(
        &self,
        (clip, streams): (&ClipPlan, Option<&SpikeClip>),
        tell: &mut dyn FnMut(Told),
        each: Each<'_>,
    ) -> Result<(), Failure<M::Error>> {
        let mut reader = Reader::open(&clip.inputs, self.options.protocol, self.config)?;
        reader.spikes = streams;
        let plan = plan_tiles(self.config, reader.clip_size(), self.options.tile)?;
        tell(Told::Plan(plan));
        let watch = &mut |moved| {
            if let Moved::Shrunk(size) = moved {
                tell(Told::Shrunk(size));
            }
            ControlFlow::Continue(())
        };
        let mut batches = Batches::new(self.model, plan.spec, self.options.tiling);
        if self.config.fused_frames().is_some() {
            let clip = std::iter::from_fn(|| reader.next().transpose());
            let clip = Volume::concat(&clip.collect::<Result<Vec<_>, _>>()?)?;
            hand_out(0, &batches.restore_clip(clip, watch)?, each)?;
            return Ok(());
        }
        let window = self.model.window()[0];
        let mut stream = TemporalWindows::new(&plan.spec, self.options.tiling, window);
        let mut next = 0;
        loop {
            let frame = reader.next()?;
            let ended = frame.is_none();
            let window = match frame {
                Some(frame) => stream.push(frame),
                None => stream.end_scene(),
            };
            batches.queue(window?, &mut stream, watch)?;
            if ended {
                batches.restore(&mut stream, watch)?;
            }
            while let Some(frame) = stream.pop() {
                next = hand_out(next, &frame, each)?;
            }
            if ended {
                return Ok(());
            }
        }
    }
}

/// Hands out the frames of `restored`; gives the place behind the last.
fn hand_out(first: usize, restored: &Volume, each: Each<'_>) -> Result<usize, EvalError> {
    let [height, width, channels] = restored.frame_dims();
    for (index, samples) in restored.iter_frames().enumerate() {
        each(first + index, Frame::new(width, height, channels, samples.to_vec()))?;
    }
    Ok(first + restored.frames())
}

/// Reads the frames of one clip as the network takes them.
struct Reader<'a> {
    files: &'a [PathBuf],
    next: usize,
    /// The first frame, until it is handed out.
    first: Option<Frame>,
    /// Width and height of all frames.
    size: (usize, usize),
    noise: Option<ClipNoise>,
    /// Value of the noise map, where the network takes one.
    map: Option<f32>,
    /// Streams beside the frames.
    spikes: Option<&'a SpikeClip>,
}

impl<'a> Reader<'a> {
    fn open(
        files: &'a [PathBuf],
        protocol: Protocol,
        config: &VrtConfig,
    ) -> Result<Self, EvalError> {
        let first = read_picture(&files[0], PictureChannels::Rgb)?;
        let size @ (width, height) = (first.width(), first.height());
        let (mut noise, mut map) = (None, None);
        if let Protocol::Denoise { sigma } = protocol {
            let samples = first.samples().len() as u64 * files.len() as u64;
            if samples < NOISE_BLOCK {
                let least = LEAST_SIDE;
                return Err(VideoError::TooSmallForSsim { least, width, height }.into());
            }
            noise = Some(ClipNoise::new(sigma as f32, NOISE_SEED, samples));
            map = config.noise_map().then_some((sigma / 255.0) as f32);
        }
        Ok(Self { files, next: 0, first: Some(first), size, noise, map, spikes: None })
    }

    fn clip_size(&self) -> ClipSize {
        let (width, height) = self.size;
        ClipSize { frames: Some(self.files.len()), height, width }
    }

    fn next(&mut self) -> Result<Option<Volume>, EvalError> {
        let Some(path) = self.files.get(self.next) else {
            return Ok(None);
        };
        self.next += 1;
        let mut frame = match self.first.take() {
            Some(first) => first,
            None => read_picture(path, PictureChannels::Rgb)?,
        };
        self.check_size(path, &frame)?;
        if let Some(noise) = &mut self.noise {
            noise.add(&mut frame);
        }
        if let Some(spikes) = self.spikes {
            frame = spikes.beside(frame, path)?;
        }
        let channels = frame.channels();
        let samples = match self.map {
            None => frame.into_samples(),
            Some(level) => {
                let pixels = frame.samples().chunks_exact(channels);
                pixels.flat_map(|pixel| pixel.iter().copied().chain([level])).collect()
            }
        };
        let (width, height) = self.size;
        let channels = channels + usize::from(self.map.is_some());
        Ok(Some(Volume::new([1, height, width, channels], samples)?))
    }

    fn check_size(&self, path: &Path, frame: &Frame) -> Result<(), VideoError> {
        let (first_size, other_size) = (self.size, (frame.width(), frame.height()));
        if first_size == other_size {
            return Ok(());
        }
        let (first, other) = (self.files[0].clone(), path.to_path_buf());
        Err(VideoError::MixedSizes { first, first_size, other, other_size })
    }
}

/// What stops a clip: its frames, tiles or the network.
enum Failure<E: std::error::Error + 'static> {
    Eval(EvalError),
    Plan(TilePlanError),
    Tiled(TiledError<E>),
}

impl<E: std::error::Error + 'static> From<EvalError> for Failure<E> {
    fn from(error: EvalError) -> Self {
        Self::Eval(error)
    }
}

impl<E: std::error::Error + 'static> From<TilePlanError> for Failure<E> {
    fn from(error: TilePlanError) -> Self {
        Self::Plan(error)
    }
}

impl<E: std::error::Error + 'static> From<VolumeError> for Failure<E> {
    fn from(error: VolumeError) -> Self {
        Self::Tiled(error.into())
    }
}

impl<E: std::error::Error + 'static> From<WindowError> for Failure<E> {
    fn from(error: WindowError) -> Self {
        Self::Tiled(error.into())
    }
}

impl<E: std::error::Error + 'static> From<TiledError<E>> for Failure<E> {
    fn from(error: TiledError<E>) -> Self {
        Self::Tiled(error)
    }
}

impl<E: std::error::Error + 'static> From<FailedBatch<E>> for Failure<E> {
    fn from(failed: FailedBatch<E>) -> Self {
        Self::Tiled(failed.source)
    }
}
