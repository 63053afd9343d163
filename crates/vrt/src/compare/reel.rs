//! Clips that are read together, a frame of each at a time.

use std::path::PathBuf;

use vrt_video::{
    Frame, FrameRate, FrameSource, OpenOptions, Programs, StreamInfo, TimedFrame, VideoError, open,
};

use super::{Clip, CompareError};

/// Rates that differ by a larger share do not show the same moments: 24 and 25 frames a second are
/// often one film, 25 and 50 never.
const RATE_TOLERANCE: f64 = 0.1;

/// Rates that differ by a larger share are worth a word.
const RATE_NOTE: f64 = 0.0005;

/// Columns and rows.
pub(super) type Size = (usize, usize);

/// Frame *n* of each clip.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    /// *n*.
    pub(super) frame: u64,
    /// One a clip.
    pub(super) pictures: Vec<TimedFrame>,
}

/// The clips, as far as they are read.
pub(super) struct Reel {
    strands: Vec<Strand>,
    next: u64,
}

/// One clip.
pub(super) struct Strand {
    pub(super) path: PathBuf,
    pub(super) name: String,
    source: Box<dyn FrameSource>,
    /// It had no frame left when others had one.
    ended: bool,
}

impl Reel {
    /// Opens all clips, once it is clear that they fit together.
    pub(super) fn open(clips: &[Clip], programs: &Programs) -> Result<Self, CompareError> {
        if clips.len() < 2 {
            let needed = "two are the least, or one and a truth";
            return Err(CompareError::Count { given: clips.len(), needed });
        }
        let options = OpenOptions { programs: programs.clone(), ..OpenOptions::default() };
        let strands = clips.iter().map(|Clip { path, name }| {
            let source = open(path, &options)?;
            Ok(Strand { path: path.clone(), name: name.clone(), source, ended: false })
        });
        let strands: Vec<_> = strands.collect::<Result<_, VideoError>>()?;
        for (place, other) in strands.iter().enumerate() {
            for first in &strands[..place] {
                check_pair(first, other)?;
            }
        }
        Ok(Self { strands, next: 0 })
    }

    /// The next frame of each clip; `None` where one of them ends.
    pub(super) fn next(&mut self) -> Result<Option<Moment>, CompareError> {
        let read = self.strands.iter_mut().map(|strand| strand.source.next_frame());
        let read: Vec<_> = read.collect();
        // Where one clip ends, nobody asks what becomes of the others.
        for (strand, picture) in self.strands.iter_mut().zip(&read) {
            strand.ended = matches!(picture, Ok(None));
        }
        if self.strands.iter().any(|strand| strand.ended) {
            return Ok(None);
        }
        let pictures = read.into_iter().filter_map(Result::transpose);
        let pictures = pictures.map(|picture| picture.map(in_colour)).collect::<Result<_, _>>()?;
        let frame = self.next;
        self.next += 1;
        Ok(Some(Moment { frame, pictures }))
    }

    /// The clips.
    pub(super) fn strands(&self) -> &[Strand] {
        &self.strands
    }

    /// Width and height of each clip.
    pub(super) fn sizes(&self) -> Vec<Size> {
        self.strands.iter().map(Strand::size).collect()
    }

    /// Frames that all have, if all say so beforehand.
    pub(super) fn total(&self) -> Option<u64> {
        let stated = self.strands.iter().map(|strand| strand.source.info().frames);
        stated.collect::<Option<Vec<_>>>()?.into_iter().min()
    }

    /// The clip that had no frame left.
    pub(super) fn ended_first(&self) -> &Strand {
        self.strands.iter().find(|strand| strand.ended).unwrap_or(&self.strands[0])
    }

    /// What is worth a word once `frames` of each clip were read.
    pub(super) fn notes(&self, frames: u64) -> Vec<String> {
        let mut notes = Vec::new();
        let named = |ended: bool| {
            let strands = self.strands.iter().filter(move |strand| strand.ended == ended);
            strands.map(|strand| strand.name.as_str()).collect::<Vec<_>>().join(", ")
        };
        if self.strands.iter().any(|strand| !strand.ended) {
            notes.push(format!(
                "{} ended after {frames} frames, {} goes on: the first {frames} are compared",
                named(true),
                named(false)
            ));
        }
        let rates = self.strands.iter().filter_map(|strand| Some((strand, strand.rate()?)));
        let rates: Vec<_> = rates.collect();
        if let Some((first, rate)) = rates.first() {
            let other = rates.iter().find(|(_, other)| apart(*rate, *other) > RATE_NOTE);
            notes.extend(other.map(|(strand, other)| {
                format!(
                    "{} has {rate:.3} frames a second, {} {other:.3}: compared frame by frame",
                    first.name, strand.name
                )
            }));
        }
        let warnings = self.strands.iter().flat_map(|strand| strand.source.warnings());
        notes.extend(warnings.cloned());
        notes
    }
}

impl Strand {
    pub(super) fn info(&self) -> &StreamInfo {
        self.source.info()
    }

    pub(super) fn size(&self) -> Size {
        (self.info().width, self.info().height)
    }

    /// Frames per second, where the clip says so.
    pub(super) fn rate(&self) -> Option<f64> {
        let (FrameRate::Constant(ratio) | FrameRate::Variable(ratio)) = self.info().frame_rate?;
        Some(f64::from(ratio.numerator) / f64::from(ratio.denominator))
    }
}

fn check_pair(first: &Strand, other: &Strand) -> Result<(), CompareError> {
    let (first_size, other_size) = (first.size(), other.size());
    let paths = || (first.path.clone(), other.path.clone());
    if !one_aspect(first_size, other_size) {
        let (first, other) = paths();
        return Err(CompareError::Aspect { first, first_size, other, other_size });
    }
    match (first.rate(), other.rate()) {
        (Some(first_rate), Some(other_rate)) if apart(first_rate, other_rate) > RATE_TOLERANCE => {
            let (first, other) = paths();
            Err(CompareError::Rates { first, first_rate, other, other_rate })
        }
        _ => Ok(()),
    }
}

/// How far two rates are from each other, as a share of the higher one.
fn apart(one: f64, other: f64) -> f64 {
    (one - other).abs() / one.max(other)
}

/// Whether two sizes have one shape, but for less than a pixel of the smaller one: sides that a
/// factor does not divide are rounded.
fn one_aspect(one: Size, other: Size) -> bool {
    let (small, large) = if one.0 <= other.0 { (one, other) } else { (other, one) };
    // small.0 : small.1 = large.0 : large.1, with both sides multiplied out.
    let (a, b) = (small.0 as u128 * large.1 as u128, small.1 as u128 * large.0 as u128);
    let pixel = large.0.max(large.1) as u128;
    a == b || (small != large && small.0 < large.0 && small.1 < large.1 && a.abs_diff(b) < pixel)
}

/// A grey picture with its sample repeated.
fn in_colour(picture: TimedFrame) -> TimedFrame {
    let frame = picture.frame;
    if frame.channels() != 1 {
        return TimedFrame { frame, ..picture };
    }
    let samples = frame.samples().iter().flat_map(|&grey| [grey; 3]).collect();
    TimedFrame { frame: Frame::new(frame.width(), frame.height(), 3, samples), ..picture }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaled_sizes_have_one_aspect_and_cropped_ones_do_not() {
        for (one, other) in [
            ((176, 144), (176, 144)),
            ((88, 72), (176, 144)),
            ((480, 270), (1920, 1080)),
            ((45, 34), (178, 135)),
            ((101, 57), (404, 228)),
        ] {
            assert!(one_aspect(one, other) && one_aspect(other, one), "{one:?} {other:?}");
        }
        for (one, other) in [
            ((176, 144), (176, 143)),
            ((176, 144), (144, 176)),
            ((640, 480), (1920, 1080)),
            ((1920, 800), (1920, 1080)),
            ((90, 72), (176, 144)),
        ] {
            assert!(!one_aspect(one, other) && !one_aspect(other, one), "{one:?} {other:?}");
        }
    }

    #[test]
    fn rates_are_apart_by_shares_of_the_higher_one() {
        assert!(apart(24.0, 25.0) < RATE_TOLERANCE && apart(24.0, 25.0) > RATE_NOTE);
        assert!(apart(25.0, 50.0) > RATE_TOLERANCE && apart(50.0, 25.0) > RATE_TOLERANCE);
        assert!(apart(30000.0 / 1001.0, 29.97) < RATE_NOTE);
    }

    #[test]
    fn grey_pictures_become_colour() {
        let frame = Frame::new(2, 1, 1, vec![0.25, 0.5]);
        let shown = in_colour(TimedFrame { frame, seconds: None, name: None });
        assert_eq!(shown.frame.samples(), [0.25, 0.25, 0.25, 0.5, 0.5, 0.5]);
    }
}
