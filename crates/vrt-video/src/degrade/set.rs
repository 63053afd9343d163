//! Degrades a whole set of clips, folder by folder.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::{Light, Scale, average, bicubic, blur_down, compress};
use crate::{
    BitDepth, ClipFolder, ClipNoise, FolderSink, FolderSinkOptions, FolderSource, Frame, FrameSink,
    FrameSource, PictureChannels, Programs, TimedFrame, VideoError, list_clips,
};

/// What is done to every clip.
#[derive(Clone, Debug, PartialEq)]
pub enum Degradation {
    /// Bicubic downsampling; rows and columns that are no whole pixel are left out.
    Bicubic {
        /// Sides are divided by this.
        factor: usize,
    },
    /// Gaussian blur of σ 1.6, and every fourth pixel of it; rows and columns that are no whole
    /// pixel are left out.
    BlurDown,
    /// Gaussian noise; pictures of 8 bits clip and round it.
    Noise {
        /// Its standard deviation, of 255.
        sigma: f32,
        /// What settles it; every clip begins with it anew.
        seed: u32,
    },
    /// The mean of frames that follow each other.
    MotionBlur {
        /// How many.
        frames: usize,
        /// What is added up.
        light: Light,
        /// Frames from the first of a mean to the first of the next.
        step: usize,
        /// Where the middle frame of each mean goes, under the same names.
        sharp: Option<PathBuf>,
    },
    /// H.264 and back.
    Compress {
        /// The constant rate factor, 0 … 51.
        crf: u8,
        /// Where ffmpeg is.
        programs: Programs,
    },
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct DegradedSet {
    /// Number of clips.
    pub clips: usize,
    /// Number of frames.
    pub frames: u64,
}

/// Degrades all clips of the folder `source` into `destination/clip/frame.png`, with the same names;
/// averaged frames are numbered anew. `on_clip` hears of every clip before it is read.
///
/// Memory does not depend on the length of clips, but for names.
///
/// # Errors
///
/// Says that `destination` is not empty, that a clip cannot be read, is too small or too short, or
/// that a frame cannot be written; what was written before is whole.
pub fn degrade_set(
    source: &Path,
    destination: &Path,
    degradation: &Degradation,
    on_clip: &mut dyn FnMut(&ClipFolder),
) -> Result<DegradedSet, VideoError> {
    let clips = list_clips(source)?;
    refuse_filled(destination)?;
    if let Degradation::MotionBlur { frames: needed, sharp, .. } = degradation {
        sharp.as_deref().map_or(Ok(()), refuse_filled)?;
        if let Some(clip) = clips.iter().find(|clip| clip.frames.len() < *needed) {
            let (path, frames) = (clip.path.clone(), clip.frames.len());
            return Err(VideoError::ShortClip { path, frames, needed: *needed });
        }
    }
    let mut done = DegradedSet::default();
    for clip in &clips {
        on_clip(clip);
        let mut source = FolderSource::open(&clip.path, PictureChannels::Rgb)?;
        let mut sink = sink_of(destination, clip)?;
        done.frames += match degradation {
            Degradation::MotionBlur { frames, light, step, sharp } => {
                let mut middles = sharp.as_deref().map(|path| sink_of(path, clip)).transpose()?;
                let window = MotionWindow { frames: *frames, light: *light, step: *step };
                window.run(&mut source, sink.as_mut(), middles.as_deref_mut())?
            }
            Degradation::Compress { crf, programs } => {
                let mut compressed = compress(&mut source, *crf, programs)?;
                each(&mut compressed, sink.as_mut(), |frame| frame)?
            }
            Degradation::Bicubic { factor } => each(&mut source, sink.as_mut(), |frame| {
                bicubic(&whole(frame, *factor), Scale::Down(*factor))
            })?,
            Degradation::BlurDown => {
                each(&mut source, sink.as_mut(), |frame| blur_down(&whole(frame, 4)))?
            }
            Degradation::Noise { sigma, seed } => {
                let info = source.info();
                let samples = 3 * (info.width * info.height) as u64 * info.frames.unwrap_or(0);
                let mut noise = ClipNoise::new(*sigma, *seed, samples);
                each(&mut source, sink.as_mut(), |mut frame| {
                    noise.add(&mut frame);
                    frame
                })?
            }
        };
        sink.finish()?;
        done.clips += 1;
    }
    Ok(done)
}

/// Only a folder that is not there yet, or empty, is written to.
pub(crate) fn refuse_filled(folder: &Path) -> Result<(), VideoError> {
    let filled = std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    if filled || folder.is_file() {
        return Err(VideoError::NotEmpty { path: folder.to_path_buf() });
    }
    Ok(())
}

fn sink_of(root: &Path, clip: &ClipFolder) -> Result<Box<FolderSink>, VideoError> {
    let options = FolderSinkOptions { bit_depth: BitDepth::Eight, overwrite: false };
    FolderSink::create(&root.join(&clip.name), options).map(Box::new)
}

/// Every frame of `source`, changed, under its name; how many there were.
pub(crate) fn each(
    source: &mut dyn FrameSource,
    sink: &mut dyn FrameSink,
    mut change: impl FnMut(Frame) -> Frame,
) -> Result<u64, VideoError> {
    let mut frames = 0;
    while let Some(TimedFrame { frame, name, .. }) = source.next_frame()? {
        sink.write(&TimedFrame { frame: change(frame), seconds: None, name })?;
        frames += 1;
    }
    Ok(frames)
}

/// `frame` without the columns and rows behind that are no multiple of `factor`; a picture smaller
/// than that stays.
fn whole(frame: Frame, factor: usize) -> Frame {
    let side = |pixels: usize| if pixels < factor { pixels } else { pixels / factor * factor };
    let (width, height) = (side(frame.width()), side(frame.height()));
    if (width, height) == (frame.width(), frame.height()) {
        return frame;
    }
    let (stride, channels) = (frame.width() * frame.channels(), frame.channels());
    let rows = frame.samples().chunks(stride).take(height);
    let samples = rows.flat_map(|row| row[..width * channels].iter().copied()).collect();
    Frame::new(width, height, channels, samples)
}

/// Means of `frames` frames, `step` frames apart.
struct MotionWindow {
    frames: usize,
    light: Light,
    step: usize,
}

impl MotionWindow {
    fn run(
        &self,
        source: &mut dyn FrameSource,
        sink: &mut dyn FrameSink,
        mut middles: Option<&mut FolderSink>,
    ) -> Result<u64, VideoError> {
        let (mut window, mut written) = (VecDeque::new(), 0u64);
        let mut passed = 0;
        while let Some(TimedFrame { frame, .. }) = source.next_frame()? {
            if passed > 0 {
                passed -= 1;
                continue;
            }
            window.push_back(frame);
            if window.len() < self.frames {
                continue;
            }
            let name = Some(format!("{written:08}"));
            let all: Vec<&Frame> = window.iter().collect();
            let frame = average(&all, self.light);
            sink.write(&TimedFrame { frame, seconds: None, name: name.clone() })?;
            if let Some(middles) = &mut middles {
                let frame = all[self.frames / 2].clone();
                middles.write(&TimedFrame { frame, seconds: None, name })?;
            }
            written += 1;
            let dropped = self.step.min(window.len());
            window.drain(..dropped);
            passed = self.step - dropped;
        }
        Ok(written)
    }
}

#[cfg(test)]
mod tests {
    use tempfile::{TempDir, tempdir};

    use super::*;
    use crate::{read_picture, write_picture};

    /// Two clips of 9×6 pixels, frame n of the value n/51.
    fn set(frames: usize) -> TempDir {
        let root = tempdir().unwrap();
        for clip in ["a", "deep/b"] {
            std::fs::create_dir_all(root.path().join(clip)).unwrap();
            for frame in 0..frames {
                let path = root.path().join(format!("{clip}/{:04}.png", frame + 5));
                let picture = Frame::filled(9, 6, 3, frame as f32 / 51.0);
                write_picture(&path, &picture, BitDepth::Eight, false).unwrap();
            }
        }
        root
    }

    fn degraded(source: &TempDir, degradation: &Degradation) -> (TempDir, DegradedSet) {
        let out = tempdir().unwrap();
        let mut heard = Vec::new();
        let done = degrade_set(source.path(), out.path(), degradation, &mut |clip| {
            heard.push(clip.name.clone());
        });
        assert_eq!(heard, ["a", "deep/b"]);
        (out, done.unwrap())
    }

    fn codes(root: &Path, names: &[&str]) -> Vec<usize> {
        let code = |name: &&str| {
            let frame = read_picture(&root.join(name), PictureChannels::Rgb).unwrap();
            (frame.samples()[0] * 255.0).round() as usize
        };
        names.iter().map(code).collect()
    }

    #[test]
    fn clips_keep_their_names_and_get_smaller() {
        let source = set(3);
        for (degradation, size) in [
            (Degradation::Bicubic { factor: 2 }, (4, 3)),
            (Degradation::Bicubic { factor: 4 }, (2, 1)),
            (Degradation::BlurDown, (2, 1)),
        ] {
            let (out, done) = degraded(&source, &degradation);
            assert_eq!(done, DegradedSet { clips: 2, frames: 6 });
            let path = out.path().join("deep/b/0006.png");
            let frame = read_picture(&path, PictureChannels::Rgb).unwrap();
            assert_eq!((frame.width(), frame.height()), size, "{degradation:?}");
            assert_eq!(codes(out.path(), &["a/0005.png", "a/0007.png"]), [0, 10]);
        }
    }

    #[test]
    fn means_are_numbered_with_their_middles() {
        let source = set(11);
        for (step, count) in [(1, 9), (3, 3), (5, 2)] {
            let sharp = tempdir().unwrap();
            let degradation = Degradation::MotionBlur {
                frames: 3,
                light: Light::Gamma,
                step,
                sharp: Some(sharp.path().to_path_buf()),
            };
            let (out, done) = degraded(&source, &degradation);
            assert_eq!(done.frames, 2 * count);
            for at in 0..count {
                let name = format!("a/{at:08}.png");
                let middle = 5 * (at as usize * step + 1);
                assert_eq!(codes(out.path(), &[&name]), [middle], "step {step}");
                assert_eq!(codes(sharp.path(), &[&name]), [middle], "step {step}");
            }
        }
    }

    #[test]
    fn clips_that_are_too_short_are_told_before_anything_is_written() {
        let (source, out) = (set(2), tempdir().unwrap());
        let degradation =
            Degradation::MotionBlur { frames: 3, light: Light::Gamma, step: 1, sharp: None };
        let error = degrade_set(source.path(), out.path(), &degradation, &mut |_| ()).unwrap_err();
        assert!(error.to_string().contains("has 2 frames, and means of 3"), "{error}");
        assert!(std::fs::read_dir(out.path()).unwrap().next().is_none());
    }

    #[test]
    fn noise_is_that_of_the_protocol() {
        let source = set(2);
        let (out, _) = degraded(&source, &Degradation::Noise { sigma: 20.0, seed: 3 });
        let mut noise = ClipNoise::new(20.0, 3, 2 * 9 * 6 * 3);
        for at in 0..2 {
            let mut expected = Frame::filled(9, 6, 3, at as f32 / 51.0);
            noise.add(&mut expected);
            let path = out.path().join(format!("deep/b/{:04}.png", at + 5));
            let frame = read_picture(&path, PictureChannels::Rgb).unwrap();
            for (found, expected) in frame.samples().iter().zip(expected.samples()) {
                assert!((found - expected.clamp(0.0, 1.0)).abs() < 0.5001 / 255.0);
            }
        }
    }

    #[test]
    fn a_folder_that_is_not_empty_is_left_alone() {
        let (source, out) = (set(1), set(1));
        let error = degrade_set(source.path(), out.path(), &Degradation::BlurDown, &mut |_| ())
            .unwrap_err();
        assert!(matches!(error, VideoError::NotEmpty { .. }), "{error}");
    }
}
