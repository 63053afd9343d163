//! Is the frame rate constant?

use crate::{FrameRate, Ratio};

use super::VideoStream;

/// Packets at either end of a window that are not looked at: stored order is not shown order, so
/// the window may lack some of their neighbours.
const REORDERED: usize = 16;

/// How far a frame of a constant rate may lie off its place, as a share of a frame, beside one tick
/// of rounding.
const JITTER: f64 = 0.05;

/// Frames per second as a number.
pub(super) fn hertz(rate: FrameRate) -> f64 {
    let (FrameRate::Constant(ratio) | FrameRate::Variable(ratio)) = rate;
    as_number(ratio)
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
    let base = nominal(stated, &timed, tick);
    let even = timed.iter().all(|window| is_even(window, tick, as_number(base)));
    if even && length_fits(video, as_number(base)) {
        FrameRate::Constant(base)
    } else {
        FrameRate::Variable(stated)
    }
}

/// Does the stated number of frames take the stated time?
fn length_fits(video: &VideoStream, rate: f64) -> bool {
    match (video.frames, video.duration) {
        (Some(frames), Some(duration)) => (duration * rate - frames as f64).abs() <= 1.5,
        _ => true,
    }
}

/// The usual rate next to `stated`, if the measured times fit it better.
///
/// An average over a file whose last frame lasts a little longer is not quite the rate.
fn nominal(stated: Ratio, windows: &[&Vec<i64>], tick: f64) -> Ratio {
    let rate = as_number(stated);
    let whole = rate.round();
    let usual = [(whole, 1.0, 1), (whole * 1000.0, 1001.0, 1001)];
    let even = |rate: f64| windows.iter().all(|window| is_even(window, tick, rate));
    if windows.is_empty() || even(rate) {
        return stated;
    }
    let found = usual.into_iter().find(|(numerator, denominator, _)| {
        let candidate = numerator / denominator;
        (candidate / rate - 1.0).abs() < 0.01 && even(candidate)
    });
    found.map_or(stated, |(numerator, _, denominator)| Ratio {
        numerator: numerator as u32,
        denominator,
    })
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
    let limit = JITTER + 1.01 * tick * rate;
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
        let stated = Ratio { numerator: 2990, denominator: 100 };
        let base = nominal(stated, &[&window], 1.0 / 90000.0);
        assert_eq!(base, Ratio { numerator: 30000, denominator: 1001 });
    }
}
