//! Times of frames, out of what ffmpeg's `showinfo` filter prints.
//!
//! The samples themselves come through a pipe that has no place for times. `showinfo` prints a line
//! before each frame, and the line of the time base before the first.

/// What is said about one frame.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Mark {
    /// Ticks; `None` where the file states no time.
    pub(super) ticks: Option<i64>,
    /// Seconds of one tick, as a fraction.
    pub(super) time_base: (i64, i64),
    /// Columns and rows before any scaling.
    pub(super) size: Option<(usize, usize)>,
}

impl Mark {
    /// Seconds from the start of the file to this frame.
    pub(super) fn seconds(&self) -> Option<f64> {
        self.seconds_since(&Self { ticks: Some(0), ..*self })
    }

    /// Seconds from `first` to this frame.
    pub(super) fn seconds_since(&self, first: &Self) -> Option<f64> {
        let ticks = self.ticks?.checked_sub(first.ticks?)?;
        let (numerator, denominator) = self.time_base;
        (denominator > 0).then(|| ticks as f64 * numerator as f64 / denominator as f64)
    }
}

/// Reads marks line by line.
#[derive(Debug, Default)]
pub(super) struct MarkReader {
    time_base: (i64, i64),
}

impl MarkReader {
    /// The mark in `line`, if it holds one.
    pub(super) fn read(&mut self, line: &str) -> Option<Mark> {
        if !line.starts_with("[Parsed_showinfo") {
            return None;
        }
        if let Some(base) = line.split_once("config in time_base:").and_then(|(_, rest)| {
            let (numerator, denominator) = field(rest)?.split_once('/')?;
            Some((numerator.parse().ok()?, denominator.parse().ok()?))
        }) {
            self.time_base = base;
            return None;
        }
        let (_, frame) = line.split_once(" n:")?;
        let (_, after_pts) = frame.split_once(" pts:")?;
        let size = frame.split_once(" s:").and_then(|(_, rest)| {
            let (width, height) = field(rest)?.split_once('x')?;
            Some((width.parse().ok()?, height.parse().ok()?))
        });
        // "NOPTS" is no number.
        let ticks = field(after_pts).and_then(|pts| pts.parse().ok());
        Some(Mark { ticks, time_base: self.time_base, size })
    }
}

/// The first word, without the comma behind it.
fn field(text: &str) -> Option<&str> {
    text.split_whitespace().next().map(|word| word.trim_end_matches(','))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str =
        "[Parsed_showinfo_0 @ 0x5] [info] config in time_base: 1/12800, frame_rate: 25/1";

    #[test]
    fn both_forms_of_the_line_are_read() {
        let mut reader = MarkReader::default();
        assert_eq!(reader.read(CONFIG), None);
        let old = "[Parsed_showinfo_0 @ 0x5] [info] n:   1 pts:    512 pts_time:0.04    pos:     \
                   9633 fmt:yuv420p sar:1/1 s:640x272 i:P iskey:0 type:B";
        let new = "[Parsed_showinfo_0 @ 0x5] [info] n:   1 pts:    512 pts_time:0.04    duration: \
                   512 duration_time:0.04    fmt:yuv420p cl:left sar:1/1 s:640x272 i:P iskey:0";
        let mark = Mark { ticks: Some(512), time_base: (1, 12800), size: Some((640, 272)) };
        assert_eq!(reader.read(old), Some(mark));
        assert_eq!(reader.read(new), Some(mark));
        let first = Mark { ticks: Some(-512), ..mark };
        assert_eq!(mark.seconds_since(&first), Some(0.08));
    }

    #[test]
    fn a_frame_without_a_time_and_other_lines() {
        let mut reader = MarkReader::default();
        let line = "[Parsed_showinfo_0 @ 0x5] [info] n:   0 pts:  NOPTS pts_time:NOPTS s:4x2";
        let mark = reader.read(line).unwrap();
        assert_eq!((mark.ticks, mark.size), (None, Some((4, 2))));
        assert_eq!(mark.seconds_since(&mark), None);
        for other in [
            "[Parsed_showinfo_0 @ 0x5] [info] color_range:tv color_space:bt709",
            "[Parsed_showinfo_0 @ 0x5] [info]   side data - User Data Unregistered:",
            "[h264 @ 0x5] [error] n:1 pts:1",
        ] {
            assert_eq!(reader.read(other), None, "{other}");
        }
    }
}
