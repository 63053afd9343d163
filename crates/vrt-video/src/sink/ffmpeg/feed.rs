//! How frames and their times get into ffmpeg.
//!
//! Frames of a constant rate are raw bytes, one picture after the other. Frames with times are
//! wrapped in Matroska, the simplest container ffmpeg reads that has uncompressed pictures, any
//! time, and an average rate beside them (encoders plan their bits by it).

use crate::ffmpeg::Layout;
use crate::{FrameRate, Ratio};

/// Nanoseconds of one tick of the stream that is fed.
const TICK_NANOSECONDS: u64 = 1000;

/// Ticks of one second.
const TICKS: f64 = 1e6;

/// Two frames are at least a millisecond apart, which every container can tell apart.
const LEAST_STEP: u64 = 1000;

/// Ticks a second of the encoded stream: the clock that MPEG streams use.
const OUTPUT_CLOCK: &str = "90000";

/// The stream that ffmpeg is fed with.
#[derive(Debug)]
pub(super) struct Feed {
    rate: FrameRate,
    layout: Layout,
    size: (usize, usize),
    /// Seconds that the first frame states.
    start: Option<f64>,
    last_tick: Option<u64>,
}

impl Feed {
    pub(super) fn new(rate: FrameRate, layout: Layout, size: (usize, usize)) -> Self {
        Self { rate, layout, size, start: None, last_tick: None }
    }

    fn ratio(&self) -> Ratio {
        let (FrameRate::Constant(ratio) | FrameRate::Variable(ratio)) = self.rate;
        ratio
    }

    fn step_seconds(&self) -> f64 {
        f64::from(self.ratio().denominator) / f64::from(self.ratio().numerator)
    }

    /// What ffmpeg must know to read the stream.
    pub(super) fn input_arguments(&self) -> Vec<String> {
        let (width, height) = self.size;
        let Ratio { numerator, denominator } = self.ratio();
        let text = match self.rate {
            FrameRate::Constant(_) => format!(
                "-f rawvideo -pixel_format {} -video_size {width}x{height} \
                 -framerate {numerator}/{denominator} -i pipe:0",
                self.layout.pixel_format()
            ),
            // Everything is in the head: nothing is to be guessed from pictures read in advance.
            FrameRate::Variable(_) => {
                "-fpsprobesize 0 -analyzeduration 0 -probesize 32 -f matroska -i pipe:0".to_owned()
            }
        };
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// How ffmpeg must keep times.
    pub(super) fn output_arguments(&self) -> Vec<String> {
        match self.rate {
            FrameRate::Constant(_) => Vec::new(),
            FrameRate::Variable(_) => vec!["-enc_time_base".into(), format!("1:{OUTPUT_CLOCK}")],
        }
    }

    /// Bytes before the samples of frame `index`, shown at `seconds`.
    ///
    /// Times are counted from the first frame's. A frame without a time comes one average step behind the last; one that is not behind the
    /// last comes a millisecond behind it.
    pub(super) fn head(&mut self, index: u64, seconds: Option<f64>, samples: usize) -> Vec<u8> {
        let seconds = seconds.filter(|seconds| seconds.is_finite());
        let start = *self.start.get_or_insert(seconds.unwrap_or(0.0).max(0.0));
        if matches!(self.rate, FrameRate::Constant(_)) {
            return Vec::new();
        }
        let next = self.last_tick.map_or(0.0, |last| last as f64 / TICKS + self.step_seconds());
        let seconds = seconds.map_or(next, |seconds| seconds - start);
        // Times before the first frame saturate to 0.
        let tick = (seconds * TICKS).round() as u64;
        let tick = self.last_tick.map_or(tick, |last| tick.max(last + LEAST_STEP));
        self.last_tick = Some(tick);
        let mut head = if index == 0 { self.stream_head() } else { Vec::new() };
        head.extend(frame_head(tick, samples));
        head
    }

    /// How much later than its original the stream begins, in seconds.
    pub(super) fn start(&self) -> f64 {
        self.start.unwrap_or(0.0)
    }

    /// Seconds from the first of `frames` frames to the last one.
    pub(super) fn last_shown(&self, frames: u64) -> f64 {
        match self.last_tick {
            Some(last) => last as f64 / TICKS,
            None => frames.saturating_sub(1) as f64 * self.step_seconds(),
        }
    }

    /// How long `frames` frames are shown, in seconds.
    pub(super) fn seconds(&self, frames: u64) -> f64 {
        self.last_shown(frames) + self.step_seconds()
    }

    fn stream_head(&self) -> Vec<u8> {
        let (width, height) = self.size;
        let ebml = [
            text(id::DOC_TYPE, "matroska"),
            number(id::DOC_TYPE_VERSION, 4),
            number(id::DOC_TYPE_READ_VERSION, 2),
        ];
        let info = [
            number(id::TIMESTAMP_SCALE, TICK_NANOSECONDS),
            text(id::MUXING_APP, "vrt"),
            text(id::WRITING_APP, "vrt"),
        ];
        let video = [
            number(id::PIXEL_WIDTH, width as u64),
            number(id::PIXEL_HEIGHT, height as u64),
            element(id::COLOUR_SPACE, &four_characters(self.layout)),
        ];
        let track = [
            number(id::TRACK_NUMBER, 1),
            number(id::TRACK_UID, 1),
            number(id::TRACK_TYPE, 1),
            number(id::FLAG_LACING, 0),
            text(id::LANGUAGE, "und"),
            number(id::DEFAULT_DURATION, (self.step_seconds() * 1e9).round() as u64),
            text(id::CODEC_ID, "V_UNCOMPRESSED"),
            element(id::VIDEO, &video.concat()),
        ];
        [
            element(id::EBML, &ebml.concat()),
            [id::SEGMENT, &UNKNOWN_SIZE].concat(),
            element(id::INFO, &info.concat()),
            element(id::TRACKS, &element(id::TRACK_ENTRY, &track.concat())),
        ]
        .concat()
    }
}

/// The elements of Matroska (RFC 9559) that a stream of pictures needs.
mod id {
    pub(super) const EBML: &[u8] = &[0x1A, 0x45, 0xDF, 0xA3];
    pub(super) const DOC_TYPE: &[u8] = &[0x42, 0x82];
    pub(super) const DOC_TYPE_VERSION: &[u8] = &[0x42, 0x87];
    pub(super) const DOC_TYPE_READ_VERSION: &[u8] = &[0x42, 0x85];
    pub(super) const SEGMENT: &[u8] = &[0x18, 0x53, 0x80, 0x67];
    pub(super) const INFO: &[u8] = &[0x15, 0x49, 0xA9, 0x66];
    pub(super) const TIMESTAMP_SCALE: &[u8] = &[0x2A, 0xD7, 0xB1];
    pub(super) const MUXING_APP: &[u8] = &[0x4D, 0x80];
    pub(super) const WRITING_APP: &[u8] = &[0x57, 0x41];
    pub(super) const TRACKS: &[u8] = &[0x16, 0x54, 0xAE, 0x6B];
    pub(super) const TRACK_ENTRY: &[u8] = &[0xAE];
    pub(super) const TRACK_NUMBER: &[u8] = &[0xD7];
    pub(super) const TRACK_UID: &[u8] = &[0x73, 0xC5];
    pub(super) const TRACK_TYPE: &[u8] = &[0x83];
    pub(super) const FLAG_LACING: &[u8] = &[0x9C];
    pub(super) const LANGUAGE: &[u8] = &[0x22, 0xB5, 0x9C];
    pub(super) const DEFAULT_DURATION: &[u8] = &[0x23, 0xE3, 0x83];
    pub(super) const CODEC_ID: &[u8] = &[0x86];
    pub(super) const VIDEO: &[u8] = &[0xE0];
    pub(super) const PIXEL_WIDTH: &[u8] = &[0xB0];
    pub(super) const PIXEL_HEIGHT: &[u8] = &[0xBA];
    pub(super) const COLOUR_SPACE: &[u8] = &[0x2E, 0xB5, 0x24];
    pub(super) const CLUSTER: &[u8] = &[0x1F, 0x43, 0xB6, 0x75];
    pub(super) const TIMESTAMP: &[u8] = &[0xE7];
    pub(super) const SIMPLE_BLOCK: &[u8] = &[0xA3];
}

/// A size that says "until the end".
const UNKNOWN_SIZE: [u8; 8] = [0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];

/// Track 1, no offset to the cluster's time, shown on its own.
const BLOCK_HEAD: [u8; 4] = [0x81, 0, 0, 0x80];

/// A size in eight bytes: 56 bits behind a marker.
fn size(bytes: usize) -> [u8; 8] {
    (bytes as u64 | 1 << 56).to_be_bytes()
}

fn element(id: &[u8], body: &[u8]) -> Vec<u8> {
    [id, &size(body.len()), body].concat()
}

fn number(id: &[u8], value: u64) -> Vec<u8> {
    element(id, &value.to_be_bytes())
}

fn text(id: &[u8], value: &str) -> Vec<u8> {
    element(id, value.as_bytes())
}

/// A cluster of one frame, up to its samples.
fn frame_head(tick: u64, samples: usize) -> Vec<u8> {
    let time = number(id::TIMESTAMP, tick);
    let block = [id::SIMPLE_BLOCK, &size(BLOCK_HEAD.len() + samples), &BLOCK_HEAD].concat();
    let cluster = time.len() + block.len() + samples;
    [id::CLUSTER, &size(cluster), &time, &block].concat()
}

/// ffmpeg's name of a raw layout in containers.
fn four_characters(layout: Layout) -> [u8; 4] {
    match layout {
        Layout::Yuv(_) => [b'Y', b'3', 0, 16],
        Layout::Rgb8 => [b'R', b'G', b'B', 24],
        Layout::Rgb16 => [b'R', b'G', b'B', 48],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variable() -> Feed {
        let rate = FrameRate::Variable(Ratio { numerator: 25, denominator: 1 });
        Feed::new(rate, Layout::Rgb16, (2, 2))
    }

    #[test]
    fn a_constant_rate_is_raw() {
        let rate = FrameRate::Constant(Ratio { numerator: 30000, denominator: 1001 });
        let mut feed = Feed::new(rate, Layout::Rgb16, (2, 2));
        assert_eq!(feed.head(0, Some(7.0), 24), Vec::<u8>::new());
        assert!(feed.input_arguments().contains(&"30000/1001".to_owned()));
        assert!((feed.seconds(30) - 1.001).abs() < 1e-12);
    }

    #[test]
    fn times_that_do_not_rise_are_moved() {
        let mut feed = variable();
        let mut ticks = Vec::new();
        for (index, seconds) in [Some(0.0), Some(0.5), Some(0.5), None, Some(0.1), Some(f64::NAN)]
            .into_iter()
            .enumerate()
        {
            feed.head(index as u64, seconds, 24);
            ticks.push(feed.last_tick.unwrap());
        }
        assert_eq!(ticks, [0, 500_000, 501_000, 541_000, 542_000, 582_000]);
        assert!((feed.seconds(6) - 0.622).abs() < 1e-9);
    }

    #[test]
    fn a_frame_is_as_long_as_its_head_says() {
        let head = frame_head(3, 24);
        let stated = u64::from_be_bytes(head[4..12].try_into().unwrap()) & ((1 << 56) - 1);
        assert_eq!(stated as usize, head.len() - 12 + 24);
    }
}
