//! What an exposure adds up.

use super::camera::Span;
use super::layer::Times;
use super::scene::Scene;
use crate::Frame;

/// Instants of a frame interval that are added up at least, as if 240 frames per second became 30.
const LEAST_INSTANTS: f64 = 8.0;

/// And at most, but for tracks longer than a pixel for each of them.
const MOST_INSTANTS: f64 = 32.0;

/// Pixels of track per frame interval for a pixel of the longest blur: fast movement needs an
/// exposure that is not short, so that frames still overlap.
pub(super) const TRACK_BY_BLUR: f64 = 1.5;

/// An exposure in the middle of every frame interval.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exposure {
    /// Its share of the interval.
    share: f64,
    /// Instants of an interval at most.
    most: f64,
}

impl Exposure {
    pub(super) fn new(share: f64, max_blur: f64) -> Self {
        Self { share, most: MOST_INSTANTS.max(TRACK_BY_BLUR * max_blur) }
    }

    pub(super) fn share(self) -> f64 {
        self.share
    }

    /// When the frame of this number is exposed; its middle is the number itself.
    pub(super) fn span(self, frame: usize) -> Span {
        let middle = frame as f64;
        Span { from: middle - self.share / 2.0, to: middle + self.share / 2.0 }
    }

    /// The times of a clip of so many frames.
    pub(super) fn times(self, frames: usize) -> Times {
        let exposures = (0..frames).map(|frame| self.span(frame)).collect();
        Times { whole: Span { from: -0.5, to: frames as f64 - 0.5 }, exposures }
    }

    /// The instants that a frame is the mean of: from one to the next nothing goes much further than
    /// a pixel.
    pub(super) fn instants(self, scene: &Scene, frame: usize) -> Vec<f64> {
        let span = self.span(frame);
        let [least, most] = [LEAST_INSTANTS, self.most].map(|count| (count * self.share).ceil());
        let count = scene.track(span).ceil().clamp(least, most);
        self.evenly(frame, count as usize)
    }

    /// So many instants of the frame, evenly.
    pub(super) fn evenly(self, frame: usize, count: usize) -> Vec<f64> {
        let span = self.span(frame);
        let step = (span.to - span.from) / count as f64;
        (0..count).map(|at| span.from + step * (at as f64 + 0.5)).collect()
    }
}

/// The mean of the light at `instants`; `on_light` sees each.
pub(super) fn expose(scene: &Scene, instants: &[f64], mut on_light: impl FnMut(&Frame)) -> Frame {
    let (width, height) = scene.size;
    let mut sum = Frame::filled(width, height, 3, 0.0);
    for instant in instants {
        let light = scene.light_at(*instant);
        on_light(&light);
        sum.samples_mut().iter_mut().zip(light.samples()).for_each(|(sum, light)| *sum += light);
    }
    let count = instants.len() as f32;
    sum.samples_mut().iter_mut().for_each(|sample| *sample /= count);
    sum
}
