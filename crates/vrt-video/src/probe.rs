//! What a video file holds, asked of ffprobe.

mod rate;
mod report;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::ffmpeg::{FfmpegError, Programs, capture, each_line, file_argument};
use crate::{ColorDescription, FrameRate, Ratio, VideoError};

/// Packets whose times are looked at in one place of the file to tell whether the rate is constant.
const RATE_PACKETS: usize = 400;

/// How far before the end of an index the last frames are looked for.
const TAIL_SECONDS: f64 = 1.0;

/// The largest picture that is taken on: 2^27 pixels are 1.5 GiB of samples.
const MAX_PIXELS: usize = 1 << 27;

/// What a video file holds.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Probe {
    /// The file.
    pub path: PathBuf,
    /// ffmpeg's names for the container, separated by commas.
    pub format: String,
    /// Seconds at which the first stream starts.
    pub start: f64,
    /// Seconds of the longest stream.
    pub duration: Option<f64>,
    /// The picture.
    pub video: VideoStream,
    /// The sound.
    pub audio: Vec<OtherStream>,
    /// The subtitles.
    pub subtitles: Vec<OtherStream>,
    /// Attached files (fonts), cover pictures, data, and further streams of pictures.
    pub others: Vec<OtherStream>,
    /// How many chapters there are.
    pub chapters: usize,
}

/// The first stream of pictures in a file that is no cover.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct VideoStream {
    /// Its place among all streams.
    pub index: usize,
    /// ffmpeg's name of the codec.
    pub codec: String,
    /// Columns as shown, after rotation.
    pub width: usize,
    /// Rows as shown, after rotation.
    pub height: usize,
    /// Degrees clockwise by which the stored pictures are turned to be shown, 0 up to 359.
    pub rotation: u16,
    /// ffmpeg's name.
    pub pixel_format: String,
    /// Bits per sample.
    pub bit_depth: u8,
    /// Frames per second.
    pub frame_rate: FrameRate,
    /// Seconds of one tick of the stream's times.
    pub time_base: Ratio,
    /// Frames in all, where the file says so.
    pub frames: Option<u64>,
    /// Width over height of a pixel as shown, where it is not 1.
    pub sample_aspect: Option<Ratio>,
    /// `progressive`, `tt`, `bb`, `tb`, `bt`, or `None` where unknown.
    pub field_order: Option<String>,
    /// ffmpeg's name for the matrix, where the file says so; `color.matrix` is `None` for names
    /// that are not handled.
    pub color_space: Option<String>,
    /// How colours are coded.
    pub color: ColorDescription,
    /// Where chroma samples lie: `left`, `center`, `topleft`, …
    pub chroma_location: Option<String>,
    /// The Dolby Vision profile, if any.
    pub dolby_vision: Option<u8>,
    /// Seconds at which the first frame is shown.
    pub start: f64,
    /// Seconds from `start` to when the last frame begins to be shown, where the file states it.
    pub last_shown: Option<f64>,
    /// Seconds.
    pub duration: Option<f64>,
    /// The language tag.
    pub language: Option<String>,
    /// The title tag.
    pub title: Option<String>,
}

/// A stream that is not the picture.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct OtherStream {
    /// Its place among all streams.
    pub index: usize,
    /// `audio`, `subtitle`, `video` (a cover, or a second picture), `data` or `attachment`.
    pub kind: String,
    /// ffmpeg's name of the codec, empty where it has none.
    pub codec: String,
}

/// Asks ffprobe what `path` holds.
///
/// # Errors
///
/// Says that the file is not there, that it holds no video (in ffprobe's words), that its pictures
/// are too large to be taken on, or that ffprobe is not installed.
pub fn probe(path: &Path, programs: &Programs) -> Result<Probe, VideoError> {
    let size = std::fs::metadata(path)
        .map_err(|source| VideoError::Read { path: path.to_path_buf(), source })?;
    if size.is_file() && size.len() == 0 {
        return Err(not_video(path, "the file is empty").into());
    }
    let json = ask(path, programs)?;
    let mut probe = report::read(path, &json)?;
    check_size(path, &probe.video)?;
    look_at_times(path, &mut probe, programs)?;
    Ok(probe)
}

/// Settles the frame rate and the time of the last frame by the times of packets.
///
/// Files with an index state how many frames take how long, so a look at some places will do; of
/// all others every packet is looked at.
fn look_at_times(path: &Path, probe: &mut Probe, programs: &Programs) -> Result<(), FfmpegError> {
    let indexed = probe.format.contains("mp4") && probe.video.frames.is_some();
    if indexed {
        let windows = rate_windows(path, probe, programs)?;
        probe.video.frame_rate = rate::settle(&probe.video, &windows);
        probe.video.last_shown = last_of_index(path, probe, programs)?;
        return Ok(());
    }
    let mut scan = rate::Scan::new(&probe.video);
    each_packet_time(path, probe.video.index, None, programs, |time| scan.push(time))?;
    (probe.video.frame_rate, probe.video.last_shown) = scan.finish(probe.video.start);
    Ok(())
}

fn not_video(path: &Path, reason: &str) -> FfmpegError {
    FfmpegError::NotVideo { path: path.to_path_buf(), reason: reason.to_owned() }
}

fn check_size(path: &Path, video: &VideoStream) -> Result<(), FfmpegError> {
    let pixels = video.width.checked_mul(video.height);
    match pixels {
        Some(1..=MAX_PIXELS) => Ok(()),
        _ => Err(not_video(
            path,
            &format!(
                "its pictures are {}×{}; 1 to {MAX_PIXELS} pixels are taken",
                video.width, video.height
            ),
        )),
    }
}

/// A command for ffprobe that reads local files and nothing else.
fn ffprobe(programs: &Programs) -> Command {
    let mut command = Command::new(&programs.ffprobe);
    command.args(["-v", "error", "-protocol_whitelist", "file,crypto,data"]);
    command
}

fn ask(path: &Path, programs: &Programs) -> Result<Vec<u8>, FfmpegError> {
    let mut command = ffprobe(programs);
    command.args(["-of", "json", "-show_streams", "-show_format", "-show_chapters", "-i"]);
    let captured = capture(command.arg(file_argument(path)))?;
    if captured.status.success() {
        return Ok(captured.stdout);
    }
    let said = captured.tail.lines().join(" | ");
    let reason = if said.is_empty() {
        format!("ffprobe ended with {}", captured.status)
    } else {
        format!("ffprobe says: {said}")
    };
    Err(not_video(path, &reason))
}

/// Presentation times, in ticks, of packets at the start of the file and behind its middle.
fn rate_windows(
    path: &Path,
    probe: &Probe,
    programs: &Programs,
) -> Result<Vec<Vec<i64>>, FfmpegError> {
    let mut places = vec![format!("%+#{RATE_PACKETS}")];
    let expected = f64::from(RATE_PACKETS as u32) / rate::hertz(probe.video.frame_rate);
    if let Some(duration) = probe.duration.filter(|duration| *duration > 3.0 * expected) {
        places.push(format!("{:.3}%+#{RATE_PACKETS}", probe.start + 0.6 * duration));
    }
    places.iter().map(|place| packet_times(path, probe.video.index, place, programs)).collect()
}

fn packet_times(
    path: &Path,
    stream: usize,
    place: &str,
    programs: &Programs,
) -> Result<Vec<i64>, FfmpegError> {
    let mut times = Vec::new();
    each_packet_time(path, stream, Some(place), programs, |time| times.push(time))?;
    Ok(times)
}

/// When the last frame of a file with an index is shown, counted from the first.
fn last_of_index(
    path: &Path,
    probe: &Probe,
    programs: &Programs,
) -> Result<Option<f64>, FfmpegError> {
    let video = &probe.video;
    let Some(duration) = video.duration else {
        return Ok(None);
    };
    // ffprobe goes back to the key frame before it, and on to the end.
    let place = format!("{:.3}%", (video.start + duration - TAIL_SECONDS).max(0.0));
    let mut last = None;
    each_packet_time(path, video.index, Some(&place), programs, |time| {
        last = last.max(Some(time))
    })?;
    Ok(last.map(|last| rate::seconds(last, video.time_base) - video.start))
}

/// Hands over the presentation time, in ticks, of every packet of `stream` that has one, in stored
/// order; `place` is one of ffprobe's read intervals.
fn each_packet_time(
    path: &Path,
    stream: usize,
    place: Option<&str>,
    programs: &Programs,
    mut each: impl FnMut(i64),
) -> Result<(), FfmpegError> {
    let mut command = ffprobe(programs);
    command.args(["-select_streams", &stream.to_string()]);
    if let Some(place) = place {
        command.args(["-read_intervals", place]);
    }
    command.args(["-show_entries", "packet=pts", "-of", "csv=p=0", "-i"]);
    // A file that fails here fails again, with a frame number, when it is read.
    each_line(command.arg(file_argument(path)), |line| {
        let field = line.split(',').next().unwrap_or_default();
        if let Ok(time) = field.trim().parse() {
            each(time);
        }
    })
}
