//! ffprobe's report, read into [`Probe`].

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use crate::ffmpeg::{FfmpegError, bit_depth_of};
use crate::{ColorDescription, FrameRate, Matrix, Primaries, Range, Ratio, Transfer};

use super::{OtherStream, Probe, VideoStream, not_video};

/// What a file without any stated rate is shown at.
const DEFAULT_RATE: Ratio = Ratio { numerator: 25, denominator: 1 };

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Report {
    streams: Vec<Stream>,
    chapters: Vec<serde_json::Value>,
    format: Format,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Format {
    format_name: String,
    start_time: Option<String>,
    duration: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Stream {
    index: usize,
    codec_type: String,
    codec_name: String,
    width: usize,
    height: usize,
    pix_fmt: Option<String>,
    bits_per_raw_sample: Option<String>,
    sample_aspect_ratio: Option<String>,
    field_order: Option<String>,
    color_range: Option<String>,
    color_space: Option<String>,
    color_primaries: Option<String>,
    color_transfer: Option<String>,
    chroma_location: Option<String>,
    r_frame_rate: Option<String>,
    avg_frame_rate: Option<String>,
    time_base: Option<String>,
    start_time: Option<String>,
    duration: Option<String>,
    nb_frames: Option<String>,
    disposition: HashMap<String, i64>,
    tags: HashMap<String, String>,
    side_data_list: Vec<SideData>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SideData {
    rotation: Option<f64>,
    dv_profile: Option<u8>,
}

/// Reads ffprobe's JSON.
pub(super) fn read(path: &Path, json: &[u8]) -> Result<Probe, FfmpegError> {
    let report: Report = serde_json::from_slice(json)
        .map_err(|error| not_video(path, &format!("ffprobe's report is unclear: {error}")))?;
    if report.format.format_name == "tty" {
        return Err(not_video(path, "it is a text file"));
    }
    let is_video = |stream: &&Stream| stream.codec_type == "video" && !stream.is_cover();
    let Some(video) = report.streams.iter().find(is_video) else {
        return Err(not_video(path, &what_instead(&report.streams)));
    };
    let of_type = |kind: &str| -> Vec<OtherStream> {
        report.streams.iter().filter(|s| s.codec_type == kind).map(Stream::as_other).collect()
    };
    let is_other = |stream: &&Stream| match stream.codec_type.as_str() {
        "audio" | "subtitle" => false,
        "video" => stream.index != video.index,
        _ => true,
    };
    Ok(Probe {
        path: path.to_path_buf(),
        format: report.format.format_name.clone(),
        start: seconds(report.format.start_time.as_deref()).unwrap_or(0.0),
        duration: seconds(report.format.duration.as_deref()),
        video: video.as_video(path)?,
        audio: of_type("audio"),
        subtitles: of_type("subtitle"),
        others: report.streams.iter().filter(is_other).map(Stream::as_other).collect(),
        chapters: report.chapters.len(),
    })
}

fn what_instead(streams: &[Stream]) -> String {
    let mut kinds: Vec<&str> = streams.iter().map(|s| s.codec_type.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    match kinds[..] {
        [] => "it holds no stream".to_owned(),
        _ => format!("it holds no moving pictures, only: {}", kinds.join(", ")),
    }
}

impl Stream {
    /// A picture that belongs to the sound, as on an album.
    fn is_cover(&self) -> bool {
        self.disposition.get("attached_pic").is_some_and(|&set| set != 0)
    }

    fn as_other(&self) -> OtherStream {
        OtherStream {
            index: self.index,
            kind: self.codec_type.clone(),
            codec: self.codec_name.clone(),
        }
    }

    fn as_video(&self, path: &Path) -> Result<VideoStream, FfmpegError> {
        let Some(pixel_format) = self.pix_fmt.clone() else {
            return Err(not_video(path, &format!("no decoder for its codec {}", self.codec_name)));
        };
        let rotation = self.rotation();
        let lying = rotation % 180 == 90;
        let (width, height) =
            if lying { (self.height, self.width) } else { (self.width, self.height) };
        Ok(VideoStream {
            index: self.index,
            codec: self.codec_name.clone(),
            width,
            height,
            rotation,
            bit_depth: self.bit_depth(&pixel_format),
            frame_rate: self.stated_rate(),
            time_base: self.time_base.as_deref().and_then(ratio).unwrap_or(MICROSECOND),
            frames: self.nb_frames.as_deref().and_then(|n| n.parse().ok()).filter(|&n| n > 0),
            sample_aspect: self.sample_aspect(lying),
            field_order: known(&self.field_order),
            color_space: known(&self.color_space),
            color: self.color(&pixel_format),
            chroma_location: known(&self.chroma_location).filter(|name| name != "unspecified"),
            dolby_vision: self.side_data_list.iter().find_map(|data| data.dv_profile),
            start: seconds(self.start_time.as_deref()).unwrap_or(0.0),
            last_shown: None,
            duration: seconds(self.duration.as_deref()).or_else(|| self.tagged_duration()),
            language: self.tag("language").filter(|language| language != "und"),
            title: self.tag("title"),
            pixel_format,
        })
    }

    fn tag(&self, name: &str) -> Option<String> {
        let found = self.tags.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone())
    }

    /// Degrees clockwise. ffprobe counts the other way round, and older versions use a tag.
    fn rotation(&self) -> u16 {
        let matrix = self.side_data_list.iter().find_map(|data| data.rotation).map(|r| -r);
        let tag = || self.tag("rotate").and_then(|tag| tag.parse().ok());
        let degrees = matrix.or_else(tag).filter(|degrees| degrees.is_finite()).unwrap_or(0.0);
        degrees.round().rem_euclid(360.0) as u16
    }

    fn bit_depth(&self, pixel_format: &str) -> u8 {
        let raw = self.bits_per_raw_sample.as_deref().and_then(|bits| bits.parse().ok());
        let depth = bit_depth_of(pixel_format);
        // A codec may use fewer bits than its pixel format holds; more would be a wrong statement.
        raw.filter(|raw| depth > 8 && (8..depth).contains(raw)).unwrap_or(depth)
    }

    /// The average rate, variable if the file's two statements differ.
    fn stated_rate(&self) -> FrameRate {
        let average = self.avg_frame_rate.as_deref().and_then(ratio);
        let base = self.r_frame_rate.as_deref().and_then(ratio);
        match (average, base) {
            (Some(average), Some(base)) if average != base => FrameRate::Variable(average),
            (Some(rate), _) | (None, Some(rate)) => FrameRate::Constant(rate),
            (None, None) => FrameRate::Constant(DEFAULT_RATE),
        }
    }

    fn sample_aspect(&self, lying: bool) -> Option<Ratio> {
        let stored = self.sample_aspect_ratio.as_deref().and_then(ratio)?;
        let shown = if lying {
            Ratio { numerator: stored.denominator, denominator: stored.numerator }
        } else {
            stored
        };
        (shown.numerator != shown.denominator).then_some(shown)
    }

    fn color(&self, pixel_format: &str) -> ColorDescription {
        let full = pixel_format.starts_with("yuvj");
        ColorDescription {
            matrix: match self.color_space.as_deref() {
                Some("bt709") => Some(Matrix::Bt709),
                Some("bt470bg" | "smpte170m") => Some(Matrix::Bt601),
                Some("bt2020nc") => Some(Matrix::Bt2020),
                Some("gbr") => Some(Matrix::Rgb),
                _ => None,
            },
            range: match self.color_range.as_deref() {
                Some("tv") => Some(Range::Limited),
                Some("pc") => Some(Range::Full),
                _ => full.then_some(Range::Full),
            },
            primaries: known(&self.color_primaries).map(Primaries),
            transfer: known(&self.color_transfer).map(|name| match name.as_str() {
                "smpte2084" => Transfer::Pq,
                "arib-std-b67" => Transfer::Hlg,
                _ => Transfer::Sdr(name),
            }),
        }
    }

    /// Matroska states a stream's length as a tag, `00:00:10.040000000`.
    fn tagged_duration(&self) -> Option<f64> {
        let tag = self.tag("DURATION")?;
        let parts: Option<Vec<f64>> = tag.split(':').map(|part| part.parse().ok()).collect();
        match parts?[..] {
            [hours, minutes, seconds] => Some(hours * 3600.0 + minutes * 60.0 + seconds),
            _ => None,
        }
    }
}

/// Where a file states no time base.
const MICROSECOND: Ratio = Ratio { numerator: 1, denominator: 1_000_000 };

/// A name that says something.
fn known(name: &Option<String>) -> Option<String> {
    name.clone()
        .filter(|name| !matches!(name.as_str(), "" | "unknown" | "unspecified" | "reserved"))
}

fn seconds(text: Option<&str>) -> Option<f64> {
    text?.parse().ok().filter(|seconds: &f64| seconds.is_finite())
}

/// `a/b` or `a:b`, neither of them 0.
fn ratio(text: &str) -> Option<Ratio> {
    let (numerator, denominator) = text.split_once(['/', ':'])?;
    let (numerator, denominator) = (numerator.parse().ok()?, denominator.parse().ok()?);
    (numerator != 0 && denominator != 0).then_some(Ratio { numerator, denominator })
}
