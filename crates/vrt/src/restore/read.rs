//! The thread that reads, and makes of frames what the network takes.

use std::path::Path;

use crossbeam_channel::Sender;
use vrt_model::config::VrtConfig;
use vrt_model::volume::Volume;
use vrt_video::{Frame, FrameSource, SceneDetector, is_picture};

use super::error::RestoreError;
use super::labels::Label;
use super::options::RestoreOptions;
use super::spike::SpikeChannels;

/// Codes of 8 bits that a noise level counts in.
const CODES: f64 = 255.0;

/// A frame as the network takes it.
pub(super) struct Prepared {
    /// One frame: RGB, then spikes, then the noise level.
    pub(super) picture: Volume,
    /// A scene begins with it.
    pub(super) starts_scene: bool,
    pub(super) label: Label,
}

/// Reads frames and everything that belongs to them.
pub(super) struct Reader {
    source: Box<dyn FrameSource>,
    spike: Option<SpikeChannels>,
    /// Value of the noise map.
    noise: Option<f32>,
    cuts: Option<SceneDetector>,
    /// The source was told to end early, so that spikes may be left.
    limited: bool,
}

impl Reader {
    /// Frames of `source`.
    ///
    /// # Errors
    ///
    /// If spikes cannot be read or do not fit.
    pub(super) fn new(
        source: Box<dyn FrameSource>,
        config: &VrtConfig,
        options: &RestoreOptions,
    ) -> Result<Self, RestoreError> {
        let info = source.info();
        let (size, channels) = ((info.width, info.height), config.spike_channels());
        let spike = options.spike.as_ref();
        let spike = spike.map(|input| SpikeChannels::open(input, channels, size)).transpose()?;
        let limited = options.frames.is_some();
        if let Some(spike) = &spike {
            // Before any work is done: a file states how many frames it has.
            if let Some(frames) = info.frames.or(spike.given()) {
                let frames = options.frames.map_or(frames, |limit| limit.min(frames));
                spike.expect(frames, !limited)?;
            }
        }
        Ok(Self {
            source,
            spike,
            noise: options.sigma.filter(|_| config.noise_map()).map(|s| (s / CODES) as f32),
            cuts: options.scene_cuts.then(SceneDetector::new),
            limited,
        })
    }

    fn next(&mut self) -> Result<Option<Prepared>, RestoreError> {
        let Some(read) = self.source.next_frame()? else {
            if let (Some(spike), false) = (&self.spike, self.limited) {
                spike.finish()?;
            }
            return Ok(None);
        };
        let spike = self.spike.as_mut().map(SpikeChannels::next).transpose()?.unwrap_or_default();
        let starts_scene = self.cuts.as_mut().is_some_and(|cuts| cuts.push(&read.frame));
        let label = Label { seconds: read.seconds, name: read.name };
        let picture = stack(read.frame, &spike, self.noise)?;
        Ok(Some(Prepared { picture, starts_scene, label }))
    }
}

/// RGB, then spikes, then the noise level, pixel by pixel.
fn stack(frame: Frame, spike: &[Frame], noise: Option<f32>) -> Result<Volume, RestoreError> {
    let (width, height, channels) = (frame.width(), frame.height(), frame.channels());
    let more = spike.len() + usize::from(noise.is_some());
    let samples = if more == 0 {
        frame.into_samples()
    } else {
        let mut samples = Vec::with_capacity(width * height * (channels + more));
        for (i, pixel) in frame.samples().chunks_exact(channels).enumerate() {
            samples.extend_from_slice(pixel);
            samples.extend(spike.iter().map(|spike| spike.samples()[i]));
            samples.extend(noise);
        }
        samples
    };
    Ok(Volume::new([1, height, width, channels + more], samples)?)
}

/// Reads until the source ends or fails, or nobody takes frames any more; gives what the source
/// has to say about frames that it could read.
pub(super) fn read_all(
    mut reader: Reader,
    to_restore: &Sender<Result<Prepared, RestoreError>>,
) -> Vec<String> {
    while let Some(read) = reader.next().transpose() {
        let failed = read.is_err();
        if to_restore.send(read).is_err() || failed {
            break;
        }
    }
    reader.source.warnings().to_vec()
}

/// Whether `input` is a file whose sound and tags ffmpeg can copy.
pub(crate) fn is_video_file(input: &Path) -> bool {
    let y4m = input.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("y4m"));
    input.is_file() && !is_picture(input) && !y4m
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_follow_rgb_pixel_by_pixel() {
        let frame = Frame::new(2, 1, 3, vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6]);
        let spike = Frame::new(2, 1, 1, vec![0.7, 0.8]);
        let plain = stack(frame.clone(), &[], None).unwrap();
        assert_eq!(plain.samples(), frame.samples());
        let both = stack(frame, &[spike], Some(0.9)).unwrap();
        assert_eq!(both.dims(), [1, 1, 2, 5]);
        assert_eq!(both.samples(), [0.1, 0.2, 0.3, 0.7, 0.9, 0.4, 0.5, 0.6, 0.8, 0.9]);
    }
}
