//! Scores of clips beside the truth, frame by frame.

use rayon::prelude::*;
use vrt_video::{ClipScore, FrameScore, SsimKind, score};

use super::reel::{Moment, Size};
use super::{Clip, ClipReport, CompareError};

/// Scores so far; with a truth, it is the last of the clips.
pub(super) struct Scorer {
    /// One list a clip, empty where it gets no scores.
    scores: Vec<Vec<FrameScore>>,
    /// Whether a clip gets scores.
    scored: Vec<bool>,
    has_truth: bool,
}

impl Scorer {
    /// For clips of these sizes; the last one is the truth if `has_truth`.
    pub(super) fn new(sizes: &[Size], has_truth: bool) -> Self {
        let truth = sizes.len().wrapping_sub(1);
        let fits = |(place, size): (usize, &Size)| {
            has_truth && place != truth && Some(size) == sizes.last()
        };
        let scored = sizes.iter().enumerate().map(fits).collect();
        Self { scores: vec![Vec::new(); sizes.len()], scored, has_truth }
    }

    /// Scores the frames of a moment.
    pub(super) fn score(&mut self, moment: &Moment, clips: &[Clip]) -> Result<(), CompareError> {
        let Some((truth, pictures)) = moment.pictures.split_last().filter(|_| self.has_truth)
        else {
            return Ok(());
        };
        let name = truth.name.clone().unwrap_or_else(|| moment.frame.to_string());
        let scored = self.scored.par_iter().zip(pictures).zip(clips).map(|((scored, it), clip)| {
            let fail = |source| CompareError::Score {
                clip: clip.path.clone(),
                frame: moment.frame,
                source,
            };
            let kind = SsimKind::PerChannel;
            scored.then(|| score(&truth.frame, &it.frame, kind).map_err(fail)).transpose()
        });
        let scored: Vec<_> = scored.collect::<Result<_, _>>()?;
        for (list, scores) in self.scores.iter_mut().zip(scored) {
            list.extend(scores.map(|scores| FrameScore { name: name.clone(), scores }));
        }
        Ok(())
    }

    /// Which clips get no scores though there is a truth.
    pub(super) fn notes(&self, clips: &[Clip]) -> Vec<String> {
        let compared = clips.len() - usize::from(self.has_truth);
        let left_out = clips[..compared].iter().zip(&self.scored);
        let left_out = left_out.filter(|(_, scored)| self.has_truth && !**scored);
        left_out
            .map(|(clip, _)| format!("{} has another size than the truth: no scores", clip.name))
            .collect()
    }

    /// What was found, one report a clip.
    pub(super) fn reports(self, clips: &[Clip], sizes: &[Size]) -> Vec<ClipReport> {
        let reports = clips.iter().zip(sizes).zip(self.scores);
        reports
            .map(|((clip, &(width, height)), frames)| {
                let clip = clip.clone();
                let (mean, frames) = match frames.is_empty() {
                    true => (None, frames),
                    false => {
                        let ClipScore { mean, frames, .. } = ClipScore::new(String::new(), frames);
                        (Some(mean), frames)
                    }
                };
                ClipReport { name: clip.name, path: clip.path, width, height, mean, frames }
            })
            .collect()
    }
}
