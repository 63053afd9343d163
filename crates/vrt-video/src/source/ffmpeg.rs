//! Any video that ffmpeg decodes, through a child process.

mod avi;
mod marks;
#[cfg(test)]
mod tests;

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::ffmpeg::{
    FfmpegError, Layout, Level, Programs, SCALE_FLAGS, Tail, YuvLayout, bit_depth_of, chroma_of,
    file_argument, is_rgb, level_of, spawn, watch,
};
use crate::probe::{Probe, VideoStream, probe};
use crate::{
    Frame, FrameRate, FrameSource, Matrix, Range, StreamInfo, TimedFrame, Transfer, VideoError,
};
use marks::{Mark, MarkReader};

/// How long a frame's time may come behind its samples: it is printed before they are.
const MARK_WAIT: Duration = Duration::from_secs(10);

/// Frames at the start of a file that begins between key frames in which the decoder may complain:
/// what they refer to is missing.
const FRAMES_TO_RECOVER: u64 = 16;

/// What the decoder does about damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Damage {
    /// Ends at it.
    Refuse,
    /// Passes over what cannot be decoded before the first whole frame, and ends at damage
    /// [`FRAMES_TO_RECOVER`] frames later.
    PassAtStart,
}

/// Frames decoded by an ffmpeg child, which is stopped when this is dropped.
///
/// Pictures are turned as they are to be shown. `YCbCr` is converted by the matrix and range that
/// the file states; where it states none, BT.709 above 576 rows and BT.601 up to there, limited
/// range. Memory does not depend on the clip's length.
///
/// A damaged frame is an error. Of a file that was cut out of a longer one, frames at the start that
/// cannot be decoded are passed over with a warning, and times count from where they would be.
#[derive(Debug)]
pub struct FfmpegSource {
    probe: Probe,
    info: StreamInfo,
    layout: Layout,
    programs: Programs,
    damage: Damage,
    decoder: Decoder,
    bytes: Vec<u8>,
    limit: Option<u64>,
    good: u64,
    first_mark: Option<Mark>,
    last_seconds: Option<f64>,
    warnings: Vec<String>,
    over: bool,
}

/// The child and its ends.
#[derive(Debug)]
struct Decoder {
    child: Child,
    stdout: ChildStdout,
    log: Log,
}

/// What the child says: times of frames, and complaints.
#[derive(Debug)]
struct Log {
    marks: Receiver<Mark>,
    tail: Tail,
    /// Damage was found behind [`FRAMES_TO_RECOVER`] frames.
    damaged: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FfmpegSource {
    /// Opens `path`, to read its first `limit` frames, or all.
    ///
    /// # Errors
    ///
    /// Says that the file holds no video, that it is interlaced, high dynamic range or of a colour
    /// matrix that is not handled, and what to do; or that ffmpeg is not installed.
    pub fn open(path: &Path, limit: Option<u64>, programs: &Programs) -> Result<Self, VideoError> {
        let probe = probe(path, programs)?;
        refuse(path, &probe.video)?;
        let layout = layout_of(&probe.video);
        let bytes = probe
            .video
            .width
            .checked_mul(probe.video.height)
            .and_then(|pixels| pixels.checked_mul(layout.pixel_bytes()))
            .ok_or_else(|| FfmpegError::NotVideo {
                path: path.to_path_buf(),
                reason: "its pictures are too large".to_owned(),
            })?;
        let info = stream_info(&probe.video, limit);
        let damage = Damage::Refuse;
        let decoder = Decoder::start(&mut decoder(&probe, &layout, limit, damage, programs))?;
        let bytes = vec![0; bytes];
        Ok(Self {
            probe,
            info,
            layout,
            programs: programs.clone(),
            damage,
            decoder,
            bytes,
            limit,
            good: 0,
            first_mark: None,
            last_seconds: None,
            warnings: Vec::new(),
            over: false,
        })
    }

    /// What ffprobe says about the file.
    pub fn probe(&self) -> &Probe {
        &self.probe
    }

    fn fail(&mut self, reason: String) -> VideoError {
        self.stop();
        FfmpegError::Decode { path: self.probe.path.clone(), good: self.good, reason }.into()
    }

    /// Ends the child, however far it is, and returns how it ended.
    fn stop(&mut self) -> Option<ExitStatus> {
        self.over = true;
        // Fails only for a child that has ended already.
        let _ = self.decoder.child.kill();
        self.decoder.wait()
    }

    /// The stream has ended by itself: was that its end?
    fn end(&mut self) -> Result<Option<TimedFrame>, VideoError> {
        self.over = true;
        let status = self.decoder.wait();
        let clean = status.is_some_and(|status| status.success());
        if clean && self.is_whole() {
            return Ok(None);
        }
        // A child that was killed would be killed again.
        let by_itself = status.is_some_and(|status| status.code().is_some());
        if !clean && by_itself && self.good == 0 && self.damage == Damage::Refuse {
            return self.start_leniently();
        }
        let mut reason = self.decoder.log.tail.with_state(status);
        if clean {
            reason = format!("the file is cut off or damaged; {reason}");
        }
        Err(self.fail(reason))
    }

    /// Begins again, passing over what cannot be decoded: files that were cut out of longer ones
    /// begin with frames that need those before them.
    fn start_leniently(&mut self) -> Result<Option<TimedFrame>, VideoError> {
        self.damage = Damage::PassAtStart;
        let (layout, limit) = (&self.layout, self.limit);
        let mut command = decoder(&self.probe, layout, limit, self.damage, &self.programs);
        self.decoder = Decoder::start(&mut command)?;
        self.over = false;
        self.next_frame()
    }

    /// Did a decoder that ended well read everything? Cut files can end like whole ones.
    fn is_whole(&self) -> bool {
        if self.damage == Damage::PassAtStart {
            return self.good > 0 && !self.decoder.log.damaged.load(Ordering::Relaxed);
        }
        let said = self.decoder.log.tail.lines();
        let cut = ["partial file", "ended prematurely", "truncat", "corrupt"];
        let complains = said.iter().any(|line| cut.iter().any(|word| line.contains(word)));
        // AVI files count frames that were dropped, too, but state their own size.
        let is_avi = self.probe.format == "avi";
        if is_avi && avi::is_cut(&self.probe.path) {
            return false;
        }
        // Files with edit lists hold more frames than are shown, so a lower count alone proves
        // nothing there.
        let trusted = !self.probe.format.contains("mp4");
        let short = !is_avi && self.probe.video.frames.is_some_and(|frames| self.good < frames);
        self.good > 0 && !complains && !(short && (trusted || !said.is_empty()))
    }

    fn mark(&mut self) -> Result<Option<Mark>, VideoError> {
        match self.decoder.log.marks.recv_timeout(MARK_WAIT) {
            Ok(mark) => Ok(Some(mark)),
            Err(_) if matches!(self.info.frame_rate, Some(FrameRate::Constant(_))) => Ok(None),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                Err(self.fail("ffmpeg does not state the time of the next frame".to_owned()))
            }
        }
    }

    /// When the frame of `mark` is shown; one frame behind the last where the file does not say.
    fn seconds(&mut self, mark: Option<Mark>) -> f64 {
        let step = 1.0 / self.rate();
        let first = *self.first_mark.get_or_insert(mark.unwrap_or_default());
        let start = self.passed_over(&first);
        let next = self.last_seconds.map_or(start, |last| last + step);
        let stated = mark.and_then(|mark| mark.seconds_since(&first));
        let seconds = stated.map_or(next, |since| start + since);
        self.last_seconds = Some(seconds);
        seconds
    }

    /// Seconds of frames before `first` that could not be decoded.
    fn passed_over(&self, first: &Mark) -> f64 {
        let stated = self.probe.video.start - self.probe.start;
        let late = first.seconds().map_or(0.0, |seconds| seconds - stated);
        // Less than a frame is how differently the two are rounded.
        if late * self.rate() < 0.9 { 0.0 } else { late }
    }

    /// Says what is missing at the start, where the first whole frame comes `seconds` late.
    fn warn_of_start(&mut self, seconds: f64) {
        let doubt = match self.damage {
            Damage::Refuse if seconds == 0.0 => return,
            Damage::Refuse => String::new(),
            Damage::PassAtStart => {
                format!(", and up to {FRAMES_TO_RECOVER} frames from there may be damaged")
            }
        };
        self.warnings.push(format!(
            "{:?} begins with frames that cannot be decoded (it was cut out of a longer file): \
             reading begins {seconds:.3} s later{doubt}",
            self.probe.path
        ));
    }

    fn rate(&self) -> f64 {
        let (FrameRate::Constant(rate) | FrameRate::Variable(rate)) = self.probe.video.frame_rate;
        f64::from(rate.numerator) / f64::from(rate.denominator)
    }
}

impl FrameSource for FfmpegSource {
    fn info(&self) -> &StreamInfo {
        &self.info
    }

    fn next_frame(&mut self) -> Result<Option<TimedFrame>, VideoError> {
        if self.over {
            return Ok(None);
        }
        if self.limit.is_some_and(|limit| self.good >= limit) {
            self.stop();
            return Ok(None);
        }
        let filled = match fill(&mut self.decoder.stdout, &mut self.bytes) {
            Ok(filled) => filled,
            Err(error) => return Err(self.fail(format!("the pipe from ffmpeg broke: {error}"))),
        };
        if filled == 0 {
            return self.end();
        }
        if filled < self.bytes.len() {
            let status = self.decoder.wait();
            let reason = self.decoder.log.tail.with_state(status);
            return Err(self.fail(reason));
        }
        let mark = self.mark()?;
        let (width, height) = (self.info.width, self.info.height);
        if let Some((w, h)) = mark.and_then(|mark| mark.size).filter(|&s| s != (width, height)) {
            let reason = format!("the picture's size changes from {width}×{height} to {w}×{h}");
            return Err(self.fail(reason));
        }
        if self.damage == Damage::PassAtStart && self.decoder.log.damaged.load(Ordering::Relaxed) {
            let said = self.decoder.log.tail.lines().join(" | ");
            return Err(self.fail(format!("the file is damaged; ffmpeg said: {said}")));
        }
        let seconds = self.seconds(mark);
        if self.good == 0 {
            self.warn_of_start(seconds);
        }
        self.good += 1;
        let frame = Frame::new(width, height, 3, self.layout.decode(&self.bytes));
        Ok(Some(TimedFrame { frame, seconds: Some(seconds), name: None }))
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

impl Drop for FfmpegSource {
    fn drop(&mut self) {
        if !self.over {
            self.stop();
        }
    }
}

impl Decoder {
    fn start(command: &mut Command) -> Result<Self, FfmpegError> {
        let mut child = spawn(command)?;
        let log = Log::follow(&mut child);
        let Some(stdout) = child.stdout.take() else {
            unreachable!("the decoder's output was asked for as a pipe");
        };
        Ok(Self { child, stdout, log })
    }

    /// Waits for the end of the child and of what it says.
    fn wait(&mut self) -> Option<ExitStatus> {
        let status = self.child.wait().ok();
        self.log.join();
        status
    }
}

impl Log {
    fn follow(child: &mut Child) -> Self {
        // Unbounded, yet never long: the child is held up by the pipe of its pictures, a few
        // frames behind the reader.
        let (sender, marks) = channel();
        let tail = Tail::default();
        let said = tail.clone();
        let damaged = Arc::new(AtomicBool::new(false));
        let is_damaged = Arc::clone(&damaged);
        let mut reader = MarkReader::default();
        let mut frames = 0;
        let thread = watch(child.stderr.take(), move |line| {
            if let Some(mark) = reader.read(line) {
                frames += 1;
                // Fails when the source is gone, and the child with it.
                let _ = sender.send(mark);
                return;
            }
            let level = level_of(line);
            if level != Level::Other {
                said.push(line);
            }
            if level == Level::Error && frames >= FRAMES_TO_RECOVER {
                is_damaged.store(true, Ordering::Relaxed);
            }
        });
        Self { marks, tail, damaged, thread }
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic of the watcher would only lose words.
            let _ = thread.join();
        }
    }
}

/// Reads until `bytes` is full or the stream ends; returns how much was read.
fn fill(stream: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match stream.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Refuses what would be restored wrongly.
fn refuse(path: &Path, video: &VideoStream) -> Result<(), FfmpegError> {
    let path = || PathBuf::from(path);
    let transfer = match &video.color.transfer {
        Some(Transfer::Pq) => Some("smpte2084 (PQ)".to_owned()),
        Some(Transfer::Hlg) => Some("arib-std-b67 (HLG)".to_owned()),
        // Profile 5 has no standard-range base, whatever its tags say.
        _ => video.dolby_vision.filter(|&p| p == 5).map(|p| format!("Dolby Vision profile {p}")),
    };
    if let Some(transfer) = transfer {
        return Err(FfmpegError::HighDynamicRange { path: path(), transfer });
    }
    if let Some(order) = video.field_order.as_ref().filter(|order| *order != "progressive") {
        return Err(FfmpegError::Interlaced { path: path(), field_order: order.clone() });
    }
    if let (Some(name), None) = (&video.color_space, video.color.matrix) {
        return Err(FfmpegError::Matrix { path: path(), matrix: name.clone() });
    }
    Ok(())
}

fn layout_of(video: &VideoStream) -> Layout {
    let bit_depth = bit_depth_of(&video.pixel_format);
    if is_rgb(&video.pixel_format) {
        return if bit_depth == 8 { Layout::Rgb8 } else { Layout::Rgb16 };
    }
    // Grey pictures without a statement are full, as ffmpeg itself takes them.
    let grey = video.pixel_format.starts_with("gray") || video.pixel_format.starts_with("ya");
    let by_kind = if grey { Range::Full } else { Range::Limited };
    Layout::Yuv(YuvLayout {
        matrix: video
            .color
            .matrix
            .filter(|m| *m != Matrix::Rgb)
            .unwrap_or(Matrix::for_height(video.height)),
        range: video.color.range.unwrap_or(by_kind),
        bit_depth,
        whole_chroma: false,
    })
}

fn stream_info(video: &VideoStream, limit: Option<u64>) -> StreamInfo {
    StreamInfo {
        width: video.width,
        height: video.height,
        frame_rate: Some(video.frame_rate),
        frames: video.frames.map(|frames| limit.map_or(frames, |limit| limit.min(frames))),
        sample_aspect: video.sample_aspect,
        color: video.color.clone(),
        bit_depth: video.bit_depth,
    }
}

/// The filters from decoded to raw pictures: nothing but chroma is resampled.
fn filters(video: &VideoStream, layout: &Layout) -> String {
    let size = format!("scale=w={}:h={}:flags={SCALE_FLAGS}", video.width, video.height);
    let convert = match layout {
        // Both ranges are stated alike, so that codes are only shifted to 16 bits.
        Layout::Yuv(_) => format!("{size}:in_range=tv:out_range=tv{}", siting(video)),
        Layout::Rgb8 | Layout::Rgb16 => size,
    };
    format!("showinfo=checksum=0,{convert},format={}", layout.pixel_format())
}

/// Where subsampled chroma lies, in 1/256 of a luma sample; left of the middle where unstated.
fn siting(video: &VideoStream) -> String {
    let (across, down) = match video.chroma_location.as_deref() {
        Some("center") => (128, 128),
        Some("topleft") => (0, 0),
        Some("top") => (128, 0),
        Some("bottomleft") => (0, 256),
        Some("bottom") => (128, 256),
        _ => (0, 128),
    };
    let halved = chroma_of(&video.pixel_format);
    // -513 leaves the place open, as it must be where nothing is halved.
    let across = if halved.0 { across } else { -513 };
    let down = if halved.1 { down } else { -513 };
    format!(":in_h_chr_pos={across}:in_v_chr_pos={down}")
}

fn decoder(
    probe: &Probe,
    layout: &Layout,
    limit: Option<u64>,
    damage: Damage,
    programs: &Programs,
) -> Command {
    let mut command = Command::new(&programs.ffmpeg);
    command.args(["-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+info"]);
    match damage {
        // A damaged frame ends the run: without these, ffmpeg shows a guess in its place.
        Damage::Refuse => command.args(["-xerror", "-err_detect", "explode"]),
        // Frames whose references are missing are not shown. One thread, so that complaints come
        // right before the frames they belong to.
        Damage::PassAtStart => command.args(["-flags", "-output_corrupt", "-threads", "1"]),
    };
    command.args(["-protocol_whitelist", "file,crypto,data", "-i"]);
    command.arg(file_argument(&probe.path));
    command.args(["-map", &format!("0:{}", probe.video.index), "-an", "-sn", "-dn"]);
    command.args(["-vf", &filters(&probe.video, layout), "-fps_mode", "passthrough"]);
    if let Some(limit) = limit {
        command.args(["-frames:v", &limit.max(1).to_string()]);
    }
    command.args(["-f", "rawvideo", "pipe:1"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}
