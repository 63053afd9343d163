//! Restores the frames of one clip for scoring, without looking for scene cuts.

use std::path::{Path, PathBuf};

use vrt_model::config::VrtConfig;
use vrt_model::tiled::{
    ClipModel, TemporalWindows, TiledError, Window, WindowError, WindowStream, restore_window,
};
use vrt_model::volume::{Volume, VolumeError};
use vrt_video::noise::Noise;
use vrt_video::{Frame, PictureChannels, read_picture};

use super::protocol::ClipPlan;
use super::{EvalError, EvalOptions, Protocol};

/// Seed of the noise of every clip.
const NOISE_SEED: u64 = 0;

/// A network, and how it is run.
pub(super) struct Runner<'a, M> {
    pub(super) model: &'a M,
    pub(super) config: &'a VrtConfig,
    pub(super) options: &'a EvalOptions,
}

impl<M: ClipModel<Error: Send + Sync>> Runner<'_, M> {
    /// Restores the frames of `clip` and hands out every restored one with its place.
    pub(super) fn restore(
        &self,
        clip: &ClipPlan,
        each: &mut dyn FnMut(usize, Frame) -> Result<(), EvalError>,
    ) -> Result<(), EvalError> {
        let failed = |error: Failure<M::Error>| match error {
            Failure::Eval(error) => error,
            Failure::Tiled(source) => {
                EvalError::Restore { clip: clip.name.clone(), source: Box::new(source) }
            }
        };
        self.restore_frames(&clip.inputs, each).map_err(failed)
    }

    fn restore_frames(
        &self,
        inputs: &[PathBuf],
        each: &mut dyn FnMut(usize, Frame) -> Result<(), EvalError>,
    ) -> Result<(), Failure<M::Error>> {
        let mut reader = self.reader();
        let mut frames = inputs.iter().map(|path| reader.read(path));
        if self.config.fused_frames().is_some() {
            let clip = Volume::concat(&frames.collect::<Result<Vec<_>, _>>()?)?;
            hand_out(0, &self.window(clip)?, each)?;
            return Ok(());
        }
        let EvalOptions { tile, tiling, .. } = self.options;
        let mut stream = TemporalWindows::new(tile, *tiling, self.model.window()[0]);
        let mut next = 0;
        loop {
            let frame = frames.next().transpose()?;
            let ended = frame.is_none();
            let window = match frame {
                Some(frame) => stream.push(frame),
                None => stream.end_scene(),
            };
            if let Some(Window { clip, .. }) = window? {
                stream.put_back(self.window(clip)?)?;
            }
            while let Some(frame) = stream.pop() {
                next = hand_out(next, &frame, each)?;
            }
            if ended {
                return Ok(());
            }
        }
    }

    fn window(&self, clip: Volume) -> Result<Volume, TiledError<M::Error>> {
        let EvalOptions { tile, tiling, .. } = self.options;
        restore_window(self.model, clip, tile, *tiling, &mut |_, _| {})
    }

    fn reader(&self) -> Reader {
        match self.options.protocol {
            Protocol::Denoise { sigma } => Reader {
                noise: Some(Noise::new(sigma, NOISE_SEED)),
                map: self.config.noise_map().then_some((sigma / 255.0) as f32),
            },
            _ => Reader { noise: None, map: None },
        }
    }
}

/// Reads the frames of one clip as the network takes them.
struct Reader {
    noise: Option<Noise>,
    /// Value of the noise map, where the network takes one.
    map: Option<f32>,
}

impl Reader {
    fn read(&mut self, path: &Path) -> Result<Volume, EvalError> {
        let mut frame = read_picture(path, PictureChannels::Rgb)?;
        if let Some(noise) = &mut self.noise {
            noise.add_to(&mut frame);
        }
        let (width, height, channels) = (frame.width(), frame.height(), frame.channels());
        let samples = match self.map {
            None => frame.into_samples(),
            Some(level) => {
                let pixels = frame.samples().chunks_exact(channels);
                pixels.flat_map(|pixel| pixel.iter().copied().chain([level])).collect()
            }
        };
        let channels = channels + usize::from(self.map.is_some());
        Ok(Volume::new([1, height, width, channels], samples)?)
    }
}

/// Hands out the frames of `restored`; gives the place behind the last.
fn hand_out(
    first: usize,
    restored: &Volume,
    each: &mut dyn FnMut(usize, Frame) -> Result<(), EvalError>,
) -> Result<usize, EvalError> {
    let [height, width, channels] = restored.frame_dims();
    for (index, samples) in restored.iter_frames().enumerate() {
        each(first + index, Frame::new(width, height, channels, samples.to_vec()))?;
    }
    Ok(first + restored.frames())
}

/// What stops a clip: its frames, or the network.
enum Failure<E: std::error::Error + 'static> {
    Eval(EvalError),
    Tiled(TiledError<E>),
}

impl<E: std::error::Error + 'static> From<EvalError> for Failure<E> {
    fn from(error: EvalError) -> Self {
        Self::Eval(error)
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
