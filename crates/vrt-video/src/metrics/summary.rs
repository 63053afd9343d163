//! From the scores of frames to those of clips and sets.

use serde::Serialize;

use crate::metrics::Scores;

/// What the mean of a set is taken over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Averaging {
    /// The means of its clips: every clip counts alike.
    #[default]
    Clips,
    /// All frames: long clips count more.
    Frames,
}

/// The scores of one frame.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FrameScore {
    /// The frame's name.
    pub name: String,
    /// Its scores.
    #[serde(flatten)]
    pub scores: Scores,
}

/// The scores of one clip.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClipScore {
    /// The clip's name.
    pub name: String,
    /// The mean over its frames.
    pub mean: Scores,
    /// Its frames in order.
    pub frames: Vec<FrameScore>,
}

impl ClipScore {
    /// The mean of `frames`; one infinite PSNR makes the mean infinite.
    ///
    /// # Panics
    ///
    /// Panics if there is no frame.
    pub fn new(name: String, frames: Vec<FrameScore>) -> Self {
        let mean = mean(frames.iter().map(|frame| frame.scores));
        Self { name, mean, frames }
    }
}

/// The scores of a set of clips.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SetScore {
    /// What the mean is taken over.
    pub averaging: Averaging,
    /// The mean.
    pub mean: Scores,
    /// Its clips in order.
    pub clips: Vec<ClipScore>,
}

impl SetScore {
    /// The mean of `clips`.
    ///
    /// # Panics
    ///
    /// Panics if there is no clip.
    pub fn new(clips: Vec<ClipScore>, averaging: Averaging) -> Self {
        let mean = match averaging {
            Averaging::Clips => mean(clips.iter().map(|clip| clip.mean)),
            Averaging::Frames => {
                mean(clips.iter().flat_map(|clip| &clip.frames).map(|frame| frame.scores))
            }
        };
        Self { averaging, mean, clips }
    }
}

fn mean(scores: impl Iterator<Item = Scores>) -> Scores {
    let all: Vec<Scores> = scores.collect();
    assert!(!all.is_empty(), "scores: there is no mean of nothing");
    let of = |part: fn(&Scores) -> f64| all.iter().map(part).sum::<f64>() / all.len() as f64;
    Scores {
        psnr: of(|scores| scores.psnr),
        ssim: of(|scores| scores.ssim),
        psnr_y: of(|scores| scores.psnr_y),
        ssim_y: of(|scores| scores.ssim_y),
    }
}
