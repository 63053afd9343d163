//! Clips in one picture: beside each other, or left and right of a line that moves.

use std::ops::Range;
use std::path::Path;

use vrt_video::{
    Frame, FrameRate, FrameSink, Ratio, SinkOptions, StreamInfo, TimedFrame, Written, create,
};

use super::reel::{Moment, Reel, Size};
use super::{CompareError, CompareOptions, Findings, Layout, Made, Maker, letters};
use crate::restore::is_video_file;

/// Columns between clips, and of the line of a wipe; even, as encoders like sizes to be.
const GAP: usize = 2;

/// Brightness behind names and between clips.
const GROUND: f32 = 0.07;

/// Brightness of the line of a wipe.
const LINE: f32 = 1.0;

/// Rows of a picture for each step by which letters grow.
const ROWS_PER_STEP: usize = 360;

/// Frames in which the line crosses a clip whose length is not known; then it goes back.
const CROSSING: u64 = 240;

/// Writes a video of the comparison.
pub(super) struct VideoMaker {
    plan: Montage,
    sink: Box<dyn FrameSink>,
    total: Option<u64>,
    frames: u64,
}

impl VideoMaker {
    /// Begins `output`, which shows the clips of `reel`: the first `compared`, and the truth behind
    /// them where there is room for it.
    pub(super) fn begin(
        reel: &Reel,
        compared: usize,
        output: &Path,
        (layout, rate): (Layout, Option<Ratio>),
        options: &CompareOptions,
    ) -> Result<Self, CompareError> {
        let shown = match layout {
            Layout::Side => reel.strands(),
            Layout::Wipe if compared > 2 => {
                return Err(CompareError::Count { given: compared, needed: "a wipe shows two" });
            }
            Layout::Wipe => &reel.strands()[..2],
        };
        let names = shown.iter().map(|strand| strand.name.clone()).collect();
        let sizes: Vec<Size> = shown.iter().map(|strand| strand.size()).collect();
        let plan = Montage::new(layout, names, &sizes)?;
        let (width, height) = plan.size();
        let first = &shown[0];
        let stated = shown.iter().find_map(|strand| strand.info().frame_rate);
        let info = StreamInfo {
            width,
            height,
            frame_rate: stated.or(rate.map(FrameRate::Constant)),
            frames: reel.total(),
            ..first.info().clone()
        };
        let sink_options = SinkOptions {
            overwrite: options.overwrite,
            copy_from: is_video_file(&first.path).then(|| first.path.clone()),
            programs: options.programs.clone(),
            frame_rate: rate,
            ..SinkOptions::default()
        };
        let sink = create(output, &info, &sink_options)?;
        Ok(Self { plan, sink, total: reel.total(), frames: 0 })
    }
}

impl Maker for VideoMaker {
    fn take(&mut self, moment: &Moment) -> Result<(), CompareError> {
        let pictures: Vec<&Frame> = moment.pictures.iter().map(|it| &it.frame).collect();
        let frame = self.plan.draw(&pictures, progress(moment.frame, self.total));
        let TimedFrame { seconds, ref name, .. } = moment.pictures[0];
        self.sink.write(&TimedFrame { frame, seconds, name: name.clone() })?;
        self.frames += 1;
        Ok(())
    }

    fn finish(self: Box<Self>, _: &Findings<'_>) -> Result<Made, CompareError> {
        let written = self.sink.finish()?;
        Ok(Made { shown: written.frames, notes: written.warnings })
    }

    fn stop(self: Box<Self>) -> Result<Option<Written>, CompareError> {
        match self.frames {
            0 => Ok(None),
            _ => Ok(Some(self.sink.finish()?)),
        }
    }
}

/// How far the line of a wipe is at a frame, 0 … 1: across once while the clip lasts.
fn progress(frame: u64, total: Option<u64>) -> f64 {
    match total {
        Some(total) if total > 1 => (frame as f64 / (total - 1) as f64).min(1.0),
        Some(_) => 0.5,
        None => {
            let place = frame % (2 * CROSSING);
            place.min(2 * CROSSING - place) as f64 / CROSSING as f64
        }
    }
}

/// Where clips and names lie.
struct Montage {
    layout: Layout,
    names: Vec<String>,
    /// Of the largest clip: that of every clip as it is shown.
    cell: Size,
    /// Dots of a letter are squares of this side.
    scale: usize,
}

impl Montage {
    fn new(layout: Layout, names: Vec<String>, sizes: &[Size]) -> Result<Self, CompareError> {
        let cell = sizes.iter().copied().max().unwrap_or((1, 1));
        let scale = 2 * (cell.1 / ROWS_PER_STEP).max(1);
        let plan = Self { layout, names, cell, scale };
        let (width, height) = plan.size();
        match width.checked_mul(height) {
            Some(..=Frame::MAX_PIXELS) => Ok(plan),
            _ => Err(CompareError::TooLarge { width, height }),
        }
    }

    /// Names stand above the clips, where they hide nothing.
    fn size(&self) -> Size {
        let height = self.cell.1.saturating_add(letters::line_height(self.scale));
        let width = match self.layout {
            Layout::Side => {
                let columns = (self.cell.0 + GAP).saturating_mul(self.names.len());
                columns.saturating_sub(GAP)
            }
            Layout::Wipe => self.cell.0,
        };
        (width, height)
    }

    /// The picture of these clips; the line of a wipe is at `progress` of the width.
    fn draw(&self, pictures: &[&Frame], progress: f64) -> Frame {
        let (width, height) = self.size();
        let mut canvas = Frame::filled(width, height, 3, GROUND);
        let top = letters::line_height(self.scale);
        match self.layout {
            Layout::Side => {
                for (place, (picture, name)) in pictures.iter().zip(&self.names).enumerate() {
                    let left = place * (self.cell.0 + GAP);
                    self.blit(&mut canvas, picture, (left, top), 0..self.cell.0);
                    self.write(&mut canvas, name, left..left + self.cell.0, Align::Left);
                }
            }
            Layout::Wipe => {
                let line = (progress * width as f64).round() as usize;
                self.blit(&mut canvas, pictures[0], (0, top), 0..line);
                self.blit(&mut canvas, pictures[1], (0, top), line..width);
                let columns = line.saturating_sub(GAP / 2)..(line + GAP / 2).min(width);
                rule(&mut canvas, top, columns);
                self.write(&mut canvas, &self.names[0], 0..width / 2, Align::Left);
                self.write(&mut canvas, &self.names[1], width / 2..width, Align::Right);
            }
        }
        canvas
    }

    /// Copies `columns` of a clip as it is shown, its corner at `left`, `top`; smaller clips are
    /// enlarged by repeating pixels, so that nothing is smoothed away or made up.
    fn blit(
        &self,
        canvas: &mut Frame,
        picture: &Frame,
        (left, top): (usize, usize),
        columns: Range<usize>,
    ) {
        let (cell, size) = (self.cell, (picture.width(), picture.height()));
        let stride = canvas.width() * 3;
        let nearest = |at: usize, cell: usize, size: usize| (2 * at + 1) * size / (2 * cell);
        let sources: Vec<_> = columns.clone().map(|x| 3 * nearest(x, cell.0, size.0)).collect();
        for y in 0..cell.1 {
            let from = 3 * size.0 * nearest(y, cell.1, size.1);
            let row = &picture.samples()[from..from + 3 * size.0];
            let to = (top + y) * stride + 3 * (left + columns.start);
            let target = &mut canvas.samples_mut()[to..to + 3 * columns.len()];
            for (pixel, &source) in target.chunks_exact_mut(3).zip(&sources) {
                pixel.copy_from_slice(&row[source..source + 3]);
            }
        }
    }

    /// Writes a name above `columns`.
    fn write(&self, canvas: &mut Frame, name: &str, columns: Range<usize>, align: Align) {
        let (margin, top) = (self.scale, 3 * self.scale / 2);
        let room = columns.len().saturating_sub(2 * margin);
        let text = letters::fitting(name, room, self.scale);
        let left = match align {
            Align::Left => columns.start + margin,
            Align::Right => columns.end - letters::width_of(&text, self.scale),
        };
        letters::draw(canvas, &text, (left, top), self.scale);
    }
}

/// Where a name begins or ends.
#[derive(Clone, Copy)]
enum Align {
    Left,
    Right,
}

/// Draws the line of a wipe.
fn rule(canvas: &mut Frame, top: usize, columns: Range<usize>) {
    let (width, height) = (canvas.width(), canvas.height());
    for y in top..height {
        let row = y * width;
        canvas.samples_mut()[3 * (row + columns.start)..3 * (row + columns.end)].fill(LINE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(layout: Layout, sizes: &[Size]) -> Montage {
        Montage::new(layout, vec!["A".to_owned(); sizes.len()], sizes).unwrap()
    }

    fn pixel(frame: &Frame, x: usize, y: usize) -> f32 {
        frame.samples()[3 * (y * frame.width() + x)]
    }

    /// A picture whose pixels all differ.
    fn ramp(width: usize, height: usize, from: f32) -> Frame {
        let samples = (0..width * height).flat_map(|at| [from + at as f32 / 1024.0; 3]);
        Frame::new(width, height, 3, samples.collect())
    }

    #[test]
    fn clips_stand_beside_each_other_with_a_gap() {
        let sizes = [(16, 12); 3];
        let plan = plan(Layout::Side, &sizes);
        let top = letters::line_height(2);
        assert_eq!(plan.size(), (16 * 3 + 2 * GAP, 12 + top));
        let clips = [0.2, 0.4, 0.6].map(|from| ramp(16, 12, from));
        let shown = plan.draw(&clips.each_ref(), 0.3);
        for (place, clip) in clips.iter().enumerate() {
            for (x, y) in [(0, 0), (15, 0), (0, 11), (15, 11), (7, 5)] {
                let at = (place * (16 + GAP) + x, top + y);
                assert_eq!(pixel(&shown, at.0, at.1), pixel(clip, x, y), "{place} {x} {y}");
            }
        }
        assert_eq!(pixel(&shown, 16, top + 3), GROUND);
        assert_eq!(pixel(&shown, 17, top + 3), GROUND);
    }

    #[test]
    fn a_smaller_clip_is_shown_with_its_pixels_repeated() {
        let plan = plan(Layout::Side, &[(8, 6), (24, 18)]);
        let (small, large) = (ramp(8, 6, 0.1), ramp(24, 18, 0.3));
        let shown = plan.draw(&[&small, &large], 0.0);
        let top = letters::line_height(2);
        for (x, y) in (0..24).flat_map(|x| (0..18).map(move |y| (x, y))) {
            assert_eq!(pixel(&shown, x, top + y), pixel(&small, x / 3, y / 3));
            assert_eq!(pixel(&shown, 24 + GAP + x, top + y), pixel(&large, x, y));
        }
    }

    #[test]
    fn a_wipe_shows_the_first_clip_left_of_the_line() {
        let plan = plan(Layout::Wipe, &[(20, 10); 2]);
        let top = letters::line_height(2);
        let (a, b) = (ramp(20, 10, 0.0), ramp(20, 10, 0.5));
        for (progress, line) in [(0.0, 0), (0.25, 5), (0.5, 10), (1.0, 20)] {
            let shown = plan.draw(&[&a, &b], progress);
            assert_eq!((shown.width(), shown.height()), (20, 10 + top));
            for x in 0..20usize {
                let expected = match x {
                    x if x + 1 == line || x == line => LINE,
                    x if x < line => pixel(&a, x, 4),
                    x => pixel(&b, x, 4),
                };
                assert_eq!(pixel(&shown, x, top + 4), expected, "{progress} {x}");
            }
        }
    }

    #[test]
    fn the_line_goes_across_once_or_to_and_fro() {
        let known: Vec<f64> = (0..5).map(|frame| progress(frame, Some(5))).collect();
        assert_eq!(known, [0.0, 0.25, 0.5, 0.75, 1.0]);
        assert_eq!([progress(9, Some(5)), progress(0, Some(1))], [1.0, 0.5]);
        for frame in 0..3 * CROSSING {
            let step = progress(frame + 1, None) - progress(frame, None);
            assert!((step.abs() - 1.0 / CROSSING as f64).abs() < 1e-12, "{frame}");
        }
    }

    #[test]
    fn pictures_that_nobody_could_hold_are_refused() {
        let made = Montage::new(Layout::Side, vec![String::new(); 64], &[(8000, 8000); 64]);
        assert!(matches!(made, Err(CompareError::TooLarge { width: 512_126, .. })));
    }

    #[test]
    fn names_stay_above_their_clip() {
        let sizes = [(32, 8); 2];
        let long = "a very long name indeed".to_owned();
        let plan = Montage::new(Layout::Side, vec![long, String::new()], &sizes).unwrap();
        let black = Frame::filled(32, 8, 3, 0.0);
        let shown = plan.draw(&[&black, &black], 0.0);
        let top = letters::line_height(2);
        let lit = |x: usize, y: usize| pixel(&shown, x, y) > 0.5;
        assert!((0..32).any(|x| (0..top).any(|y| lit(x, y))));
        assert!(!(32..shown.width()).any(|x| (0..top).any(|y| lit(x, y))));
        assert!(!(0..32).any(|x| (top..top + 8).any(|y| lit(x, y))));
    }
}
