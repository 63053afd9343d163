//! Is the frame rate constant?

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::{FrameRate, Ratio};

use super::VideoStream;

/// How many places shown order may differ from stored order: as many packets at either end of a
/// window are not looked at, since the window may lack some of their neighbours.
const REORDERED: usize = 16;

/// How far a frame of a constant rate may lie off its place, as a share of a frame, beside one tick
/// of rounding.
const JITTER: f64 = 0.05;

/// Frames per second as a number.
pub(super) fn hertz(rate: FrameRate) -> f64 {
    let (FrameRate::Constant(ratio) | FrameRate::Variable(ratio)) = rate;
    as_number(ratio)
}

/// Seconds of a time in ticks.
pub(super) fn seconds(ticks: i64, time_base: Ratio) -> f64 {
    ticks as f64 * as_number(time_base)
}

fn as_number(ratio: Ratio) -> f64 {
    f64::from(ratio.numerator) / f64::from(ratio.denominator)
}

/// Decides between a constant and a variable rate by the times in `windows`.
///
/// `video.frame_rate` holds what the file states: the average, and as [`FrameRate::Variable`] when
/// its two statements differ. When in doubt the rate is variable, which keeps every time.
pub(super) fn settle(video: &VideoStream, windows: &[Vec<i64>]) -> FrameRate {
    let (FrameRate::Constant(stated) | FrameRate::Variable(stated)) = video.frame_rate;
    let tick = as_number(video.time_base);
    let timed: Vec<_> = windows.iter().filter(|window| window.len() > 1).collect();
    let even = |rate: &Ratio| timed.iter().all(|window| is_even(window, tick, as_number(*rate)));
    match candidates(stated).into_iter().find(even) {
        Some(base) if length_fits(video, as_number(base)) => FrameRate::Constant(base),
        _ => FrameRate::Variable(stated),
    }
}

/// Does the stated number of frames take the stated time?
fn length_fits(video: &VideoStream, rate: f64) -> bool {
    match (video.frames, video.duration) {
        (Some(frames), Some(duration)) => (duration * rate - frames as f64).abs() <= 1.5,
        _ => true,
    }
}

/// `stated`, and the usual rates next to it: an average over a file whose last frame lasts a little
/// longer is not quite the rate.
fn candidates(stated: Ratio) -> Vec<Ratio> {
    let rate = as_number(stated);
    let whole = rate.round();
    let usual = [(whole, 1), (whole * 1000.0, 1001)];
    let near = usual.into_iter().filter(|(numerator, denominator)| {
        (numerator / f64::from(*denominator) / rate - 1.0).abs() < 0.01
    });
    let near = near.map(|(numerator, denominator)| {
        // A numerator beyond 32 bits saturates, and fits no times.
        Ratio { numerator: numerator as u32, denominator }
    });
    std::iter::once(stated).chain(near).collect()
}

/// How far a time may lie off the grid of `rate`, in frames.
fn limit(tick: f64, rate: f64) -> f64 {
    JITTER + 1.01 * tick * rate
}

/// Looks at the times of all frames of a stream, in stored order and bounded memory.
#[derive(Debug)]
pub(super) struct Scan {
    time_base: Ratio,
    stated: Ratio,
    /// Rates that all times so far lie on the grid of, one frame a place.
    even: Vec<Ratio>,
    /// The last few times, until none can come before them any more.
    waiting: BinaryHeap<Reverse<i64>>,
    first: Option<i64>,
    last: Option<i64>,
    frames: u64,
}

impl Scan {
    /// For the stream `video`, whose rate is the average.
    pub(super) fn new(video: &VideoStream) -> Self {
        let (FrameRate::Constant(stated) | FrameRate::Variable(stated)) = video.frame_rate;
        Self {
            time_base: video.time_base,
            stated,
            even: candidates(stated),
            waiting: BinaryHeap::new(),
            first: None,
            last: None,
            frames: 0,
        }
    }

    /// Takes the next time, in ticks.
    pub(super) fn push(&mut self, time: i64) {
        self.waiting.push(Reverse(time));
        if self.waiting.len() > REORDERED {
            self.place_next();
        }
    }

    fn place_next(&mut self) {
        let Some(Reverse(time)) = self.waiting.pop() else {
            return;
        };
        let first = *self.first.get_or_insert(time);
        self.last = self.last.max(Some(time));
        let since = seconds(time.saturating_sub(first), self.time_base);
        let (place, tick) = (self.frames as f64, as_number(self.time_base));
        self.even.retain(|rate| {
            let rate = as_number(*rate);
            (since * rate - place).abs() <= limit(tick, rate)
        });
        self.frames += 1;
    }

    /// The rate, and the seconds from `start` to the last time.
    pub(super) fn finish(mut self, start: f64) -> (FrameRate, Option<f64>) {
        while !self.waiting.is_empty() {
            self.place_next();
        }
        let rate = match self.even.first() {
            Some(rate) => FrameRate::Constant(*rate),
            None => FrameRate::Variable(self.stated),
        };
        (rate, self.last.map(|last| seconds(last, self.time_base) - start))
    }
}

/// Lie all times of a window on a grid of `rate`, one frame a place?
fn is_even(window: &[i64], tick: f64, rate: f64) -> bool {
    let mut times = window.to_vec();
    times.sort_unstable();
    let inner = if times.len() > 4 * REORDERED {
        &times[REORDERED..times.len() - REORDERED]
    } else {
        &times[..]
    };
    let limit = limit(tick, rate);
    inner.iter().zip(0u32..).all(|(&time, place)| {
        let since = time.saturating_sub(inner[0]) as f64;
        (since * tick * rate - f64::from(place)).abs() <= limit
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: f64 = 0.001;

    fn times(rate: f64, tick: f64, count: u32) -> Vec<i64> {
        (0..count).map(|i| (f64::from(i) / rate / tick).round() as i64).collect()
    }

    #[test]
    fn rounding_to_milliseconds_is_still_even() {
        for rate in [24000.0 / 1001.0, 25.0, 29.97, 60.0, 120.0] {
            assert!(is_even(&times(rate, MILLISECOND, 400), MILLISECOND, rate), "{rate}");
        }
    }

    #[test]
    fn a_missing_frame_and_a_double_time_are_uneven() {
        let mut dropped = times(25.0, MILLISECOND, 400);
        dropped.remove(200);
        assert!(!is_even(&dropped, MILLISECOND, 25.0));
        let mut double = times(25.0, MILLISECOND, 400);
        double[200] = double[199];
        assert!(!is_even(&double, MILLISECOND, 25.0));
    }

    #[test]
    fn stored_order_does_not_matter() {
        let mut window = times(25.0, MILLISECOND, 400);
        window.chunks_mut(4).for_each(<[i64]>::reverse);
        assert!(is_even(&window, MILLISECOND, 25.0));
    }

    #[test]
    fn the_usual_rate_beside_an_average_is_found() {
        let window = times(30000.0 / 1001.0, 1.0 / 90000.0, 400);
        let even = candidates(Ratio { numerator: 2990, denominator: 100 })
            .into_iter()
            .find(|rate| is_even(&window, 1.0 / 90000.0, as_number(*rate)));
        assert_eq!(even, Some(Ratio { numerator: 30000, denominator: 1001 }));
    }

    /// What a scan of `times`, in milliseconds, says about a stream of about `stated`.
    fn scanned(stated: Ratio, times: &[i64]) -> (FrameRate, Option<f64>) {
        let mut scan = Scan {
            time_base: Ratio { numerator: 1, denominator: 1000 },
            stated,
            even: candidates(stated),
            waiting: BinaryHeap::new(),
            first: None,
            last: None,
            frames: 0,
        };
        times.iter().for_each(|&time| scan.push(time));
        scan.finish(0.0)
    }

    #[test]
    fn a_scan_of_hours_knows_the_rate_and_the_last_time() {
        let rate = Ratio { numerator: 24000, denominator: 1001 };
        let mut long = times(as_number(rate), MILLISECOND, 200_000);
        let last = *long.last().unwrap();
        long.chunks_mut(4).for_each(<[i64]>::reverse);
        // 23.976 is what some files state in place of 24000/1001.
        let (got, last_shown) = scanned(Ratio { numerator: 23976, denominator: 1000 }, &long);
        assert_eq!(got, FrameRate::Constant(rate));
        assert_eq!(last_shown, Some(last as f64 / 1000.0));
    }

    #[test]
    fn a_scan_sees_one_gap_wherever_it_is() {
        let rate = Ratio { numerator: 25, denominator: 1 };
        let even = times(25.0, MILLISECOND, 1500);
        assert_eq!(scanned(rate, &even).0, FrameRate::Constant(rate));
        for gap in [1, 650, 1499] {
            let mut uneven = even.clone();
            uneven[gap..].iter_mut().for_each(|time| *time += 2000);
            assert_eq!(scanned(rate, &uneven).0, FrameRate::Variable(rate), "{gap}");
        }
        assert_eq!(scanned(rate, &[]), (FrameRate::Constant(rate), None));
    }
}
