//! Any container that ffmpeg writes, through child processes.
//!
//! Pictures are encoded into a hidden file beside the target, in a form that stays playable when
//! the run is cut off. [`FrameSink::finish`] then joins it with the sound, subtitles, chapters and
//! tags of the original, without encoding again, and only the whole file gets the target's name.

mod codec;
mod complete;
mod feed;
#[cfg(test)]
mod tests;

use std::fs::Permissions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;

use tempfile::TempPath;

use crate::error::shape_of;
use crate::ffmpeg::{FfmpegError, Kept, Layout, Programs, Tail, file_argument, spawn, watch};
use crate::probe::{Probe, probe};
use crate::sink::{folder_of, partial_names};
use crate::{
    FrameRate, FrameSink, Ratio, SinkOptions, StreamInfo, TimedFrame, VideoError, Written,
};
use codec::{Codec, Container};
use complete::Completion;
use feed::Feed;

/// The rate of frames whose stream and options state none.
const DEFAULT_RATE: Ratio = Ratio { numerator: 25, denominator: 1 };

/// Frames encoded by an ffmpeg child.
///
/// Frames of a [`FrameRate::Constant`] stream are shown one after the other at exactly that rate,
/// whatever their times; those of a [`FrameRate::Variable`] stream at their times, to 11 µs, or to
/// what the container keeps (1 ms in Matroska and WebM).
#[derive(Debug)]
pub struct FfmpegSink {
    target: PathBuf,
    overwrite: bool,
    container: Container,
    programs: Programs,
    original: Option<Probe>,
    shape: (usize, usize),
    layout: Layout,
    feed: Feed,
    bytes: Vec<u8>,
    encoder: Encoder,
    encoded: Option<TempPath>,
    warnings: Vec<String>,
    frames: u64,
    /// What an encoder that failed has left.
    kept: Option<Kept>,
}

/// The child and its ends.
#[derive(Debug)]
struct Encoder {
    child: Child,
    stdin: Option<ChildStdin>,
    tail: Tail,
    watcher: Option<JoinHandle<()>>,
}

impl FfmpegSink {
    /// Begins `target`, whose frames are as `info` says.
    ///
    /// # Errors
    ///
    /// Says that the target is there already, that its folder takes no file, that there is no
    /// codec for it, that the original cannot be read or that ffmpeg is not installed.
    pub fn create(
        target: &Path,
        info: &StreamInfo,
        options: &SinkOptions,
    ) -> Result<Self, VideoError> {
        refuse_existing(target, options.overwrite)?;
        let container = Container::of(target);
        let original = match &options.copy_from {
            Some(path) => Some(probe(path, &options.programs)?),
            None => None,
        };
        let codec = Codec::choose(target, container, info, options)?;
        let mut warnings = codec.warnings.clone();
        let rate = info
            .frame_rate
            .unwrap_or(FrameRate::Constant(options.frame_rate.unwrap_or(DEFAULT_RATE)));
        let rate = match rate {
            FrameRate::Variable(average) if !container.keeps_times() => {
                warnings.push(format!(
                    "{target:?}: this kind of file keeps no frame times; its frames are shown at \
                     the average rate"
                ));
                FrameRate::Constant(average)
            }
            rate => rate,
        };
        let layout = codec.layout;
        let feed = Feed::new(rate, layout, (info.width, info.height));
        let encoded = temporary(target)?;
        let mut command = encoder(&codec, &feed, container, info, &options.programs);
        command.arg(file_argument(&encoded));
        let encoder = Encoder::start(&mut command)?;
        Ok(Self {
            target: target.to_path_buf(),
            overwrite: options.overwrite,
            container,
            programs: options.programs.clone(),
            original,
            shape: (info.width, info.height),
            layout,
            feed,
            bytes: Vec::new(),
            encoder,
            encoded: Some(encoded),
            warnings,
            frames: 0,
            kept: None,
        })
    }

    /// What could not be kept as it was, so far.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The encoder is done for: its last words, and what is left.
    fn fail(&mut self) -> VideoError {
        let status = self.encoder.close();
        let kept = match self.kept.clone() {
            Some(kept) => kept,
            None => self.keep_partial(),
        };
        self.kept = Some(kept.clone());
        FfmpegError::Encode {
            path: self.target.clone(),
            frames: self.frames,
            reason: self.encoder.tail.with_state(status),
            kept,
        }
        .into()
    }

    /// Gives what was encoded a visible name beside the target, if it can be played.
    fn keep_partial(&mut self) -> Kept {
        let Some(mut encoded) = self.encoded.take() else {
            return Kept::Nothing;
        };
        if self.frames == 0 || probe(&encoded, &self.programs).is_err() {
            return Kept::Nothing;
        }
        for path in partial_names(&self.target) {
            match encoded.persist_noclobber(&path) {
                Ok(()) => return Kept::Partial(path),
                Err(error) => encoded = error.path,
            }
        }
        // Every name is taken: keep the hidden one.
        encoded.keep().map_or(Kept::Nothing, Kept::Partial)
    }

    /// Joins the encoded pictures with the rest of the original and names the file.
    fn complete(&mut self) -> Result<(), VideoError> {
        let Some(encoded) = self.encoded.take() else {
            unreachable!("the encoded file is taken once, when the sink is finished");
        };
        if self.original.is_none() && !self.container.is_fragmented() {
            return persist(encoded, &self.target, self.overwrite);
        }
        let whole = temporary(&self.target)?;
        let completion = Completion {
            pictures: &encoded,
            original: self.original.as_ref(),
            start: self.feed.start(),
            last_shown: self.feed.last_shown(self.frames),
            seconds: self.feed.seconds(self.frames),
            container: self.container,
            programs: &self.programs,
        };
        match completion.run(&whole) {
            Ok(warnings) => {
                self.warnings.extend(warnings);
                persist(whole, &self.target, self.overwrite)
            }
            Err(reason) => {
                self.encoded = Some(encoded);
                let kept = self.keep_partial();
                let (path, frames) = (self.target.clone(), self.frames);
                Err(FfmpegError::Encode { path, frames, reason, kept }.into())
            }
        }
    }
}

impl FrameSink for FfmpegSink {
    fn write(&mut self, frame: &TimedFrame) -> Result<(), VideoError> {
        let picture = &frame.frame;
        let shape = (picture.width(), picture.height());
        if shape != self.shape || !matches!(picture.channels(), 1 | 3) {
            let (width, height) = self.shape;
            return Err(VideoError::FrameShape {
                path: self.target.clone(),
                frame: self.frames,
                got: shape_of(picture),
                expected: format!("{width}×{height}×3"),
            });
        }
        self.layout.encode(picture, &mut self.bytes);
        let head = self.feed.head(self.frames, frame.seconds, self.bytes.len());
        let Some(stdin) = self.encoder.stdin.as_mut() else {
            return Err(self.fail());
        };
        let sent = stdin.write_all(&head).and_then(|()| stdin.write_all(&self.bytes));
        if sent.is_err() {
            return Err(self.fail());
        }
        self.frames += 1;
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Written, VideoError> {
        let status = self.encoder.close();
        if self.frames == 0 {
            self.encoded = None;
            return Err(FfmpegError::NoFrames { path: self.target.clone() }.into());
        }
        if !status.is_some_and(|status| status.success()) {
            return Err(self.fail());
        }
        self.complete()?;
        Ok(Written {
            path: Some(self.target.clone()),
            frames: self.frames,
            warnings: std::mem::take(&mut self.warnings),
        })
    }
}

impl Drop for FfmpegSink {
    /// A sink that was not finished leaves its frames as `NAME.partial.EXT`.
    fn drop(&mut self) {
        self.encoder.close();
        self.keep_partial();
    }
}

impl Encoder {
    fn start(command: &mut Command) -> Result<Self, FfmpegError> {
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = spawn(command)?;
        let tail = Tail::default();
        let said = tail.clone();
        let watcher = watch(child.stderr.take(), move |line| {
            // x265 writes past ffmpeg's own levels.
            if !line.contains("[info]") {
                said.push(line);
            }
        });
        let stdin = child.stdin.take();
        Ok(Self { child, stdin, tail, watcher })
    }

    /// Ends the stream of pictures and waits for the child.
    fn close(&mut self) -> Option<ExitStatus> {
        self.stdin = None;
        let status = self.child.wait().ok();
        if let Some(watcher) = self.watcher.take() {
            // A panic of the watcher would only lose words.
            let _ = watcher.join();
        }
        status
    }
}

fn encoder(
    codec: &Codec,
    feed: &Feed,
    container: Container,
    info: &StreamInfo,
    programs: &Programs,
) -> Command {
    let mut command = Command::new(&programs.ffmpeg);
    command.args(["-hide_banner", "-nostats", "-loglevel", "level+warning", "-y"]);
    command.args(feed.input_arguments());
    command.args(["-map", "0:v:0", "-vf", &codec.filters(info), "-fps_mode", "passthrough"]);
    command.args(feed.output_arguments());
    command.args(&codec.arguments);
    command.args(container.arguments());
    command
}

fn refuse_existing(target: &Path, overwrite: bool) -> Result<(), VideoError> {
    if !overwrite && target.symlink_metadata().is_ok() {
        return Err(VideoError::Exists { path: target.to_path_buf() });
    }
    if target.is_dir() {
        return Err(VideoError::Create {
            path: target.to_path_buf(),
            source: std::io::ErrorKind::IsADirectory.into(),
        });
    }
    Ok(())
}

/// An empty hidden file beside `target`, with its extension, removed again unless it is named.
fn temporary(target: &Path) -> Result<TempPath, VideoError> {
    let suffix = target.extension().map(|extension| format!(".{}", extension.to_string_lossy()));
    let suffix = suffix.unwrap_or_default();
    let mut builder = tempfile::Builder::new();
    builder.prefix(".vrt-").suffix(&suffix);
    if let Some(permissions) = ordinary_permissions() {
        builder.permissions(permissions);
    }
    let file = builder
        .tempfile_in(folder_of(target))
        .map_err(|source| VideoError::Create { path: target.to_path_buf(), source })?;
    Ok(file.into_temp_path())
}

/// What any new file gets before the user's mask: temporary files are private otherwise.
fn ordinary_permissions() -> Option<Permissions> {
    #[cfg(unix)]
    {
        Some(std::os::unix::fs::PermissionsExt::from_mode(0o666))
    }
    #[cfg(not(unix))]
    {
        None
    }
}

fn persist(file: TempPath, target: &Path, overwrite: bool) -> Result<(), VideoError> {
    let named = if overwrite { file.persist(target) } else { file.persist_noclobber(target) };
    named.map_err(|error| {
        let source = error.error;
        // The file is whole: it stays, under its hidden name, which the error states.
        match error.path.keep() {
            Ok(path) => VideoError::Create { path, source },
            Err(error) => VideoError::Create { path: target.to_path_buf(), source: error.error },
        }
    })
}
