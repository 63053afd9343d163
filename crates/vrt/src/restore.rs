//! Restores one video from file to file.
//!
//! ```text
//! source ─► read: scene cuts, spike, noise ─► queue ─► windows ─► tiles ─► network
//!                                                                            │
//! sink ◄─────────────── write ◄── queue ◄── finished frames ◄────────────────┘
//! ```
//!
//! Reading, restoring and writing run at the same time, in three threads that two short queues
//! join: what is held does not grow with the length of the clip.

mod error;
mod labels;
mod options;
mod planning;
mod progress;
mod read;
mod run;
mod spike;
#[cfg(test)]
mod tests;
mod write;

use std::path::Path;
use std::thread;
use std::time::Instant;

use crossbeam_channel::bounded;
use vrt_model::config::VrtConfig;
use vrt_model::tiled::{ClipModel, ClipSize};
use vrt_video::{FrameRate, OpenOptions, Ratio, SinkOptions, StreamInfo, create, open};

pub use error::{OptionsError, RestoreError, SpikeError};
pub use options::{Budget, Overlap, RestoreOptions, TileChoice};
pub use planning::{PlannedMemory, TilePlan, TilePlanError, plan_tiles};
pub use progress::{Event, Plan, Progress, Silent, Stage, Status, Summary};

pub use spike::{Clock, SpikeInput};

pub(crate) use read::is_video_file;

use progress::StreamSize;
use read::Reader;
use run::{Halt, Middle};

/// Frames that are read ahead of the network.
const FRAMES_READ_AHEAD: usize = 4;

/// Restored frames that wait to be written.
const FRAMES_TO_WRITE: usize = 4;

/// Frames per second of a folder of pictures, if nothing else is said.
const FOLDER_RATE: Ratio = Ratio { numerator: 25, denominator: 1 };

/// Restores `input` into `output` with the network `model`, whose configuration is `config`.
///
/// Both are what [`vrt_video::open`] and [`vrt_video::create`] take: a folder of pictures, a
/// video file, `.y4m`, or `-` for a YUV4MPEG2 pipe. Sound, subtitles, chapters and tags of a video
/// file are kept. Networks that interpolate double the frame rate.
///
/// # Errors
///
/// If the options do not fit the network, a frame cannot be read, restored or written, or memory
/// is short. What was restored before stays, in a file that can be played; the error says where.
/// A run that `options.stop` ends early is no error: see [`Summary::stopped`].
pub fn restore_file<M: ClipModel<Error: Send + Sync>>(
    input: &Path,
    output: &Path,
    model: &M,
    config: &VrtConfig,
    options: &RestoreOptions,
    progress: &mut dyn Progress,
) -> Result<Summary, RestoreError> {
    options.check(config)?;
    refuse_same(input, output)?;
    let source = open(input, &open_options(options))?;
    let info = source.info().clone();
    let plan = plan_tiles(config, clip_size(&info), options.tile)?;
    let restored = restored_info(&info, config, options);
    let reader = Reader::new(source, config, options)?;
    let sink = create(output, &restored, &sink_options(input, &info, options))?;
    progress.on_event(&Event::Planned(Plan {
        input: StreamSize::of(&info),
        output: StreamSize::of(&restored),
        tiling: options.tiling,
        tile: plan,
    }));
    let middle = Middle::new(model, config, plan.spec, options, progress);
    let started = Instant::now();
    let (ended, written) = thread::scope(|scope| {
        let (to_restore, prepared) = bounded(FRAMES_READ_AHEAD);
        let (to_write, finished) = bounded(FRAMES_TO_WRITE);
        let spawn = |name: &str| thread::Builder::new().name(name.to_owned());
        let read = spawn("read").spawn_scoped(scope, move || read::read_all(reader, &to_restore));
        let write = spawn("write").spawn_scoped(scope, move || write::write_all(sink, finished));
        let read = read.map_err(RestoreError::Thread)?;
        let write = write.map_err(RestoreError::Thread)?;
        let ended = middle.run(restored.frames, &prepared, to_write);
        // A reader that waits for room in the queue must find it closed.
        drop(prepared);
        let mut written = joined(write);
        let warnings = joined(read);
        if let Ok(Some(written)) = &mut written {
            written.warnings.splice(0..0, warnings);
        }
        Ok::<_, RestoreError>((ended, written))
    })?;
    let seconds = started.elapsed().as_secs_f64();
    conclude(input, ended, written, seconds)
}

/// What a thread gave; its panic goes on here.
fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// What a run comes to, from how its middle and its end went.
fn conclude(
    input: &Path,
    ended: Result<(), Halt>,
    written: Result<Option<vrt_video::Written>, RestoreError>,
    seconds: f64,
) -> Result<Summary, RestoreError> {
    let stopped = match (ended, written) {
        (Ok(()), Ok(Some(written))) => return Ok(Summary::new(Some(written), seconds, false)),
        (Ok(()), Ok(None)) => {
            return Err(RestoreError::NoFrame { input: input.to_path_buf() });
        }
        (Err(Halt::Failed(cause)), Ok(written)) => return Err(cause.keeping(written)),
        (Err(Halt::Failed(first)), Err(second)) => {
            return Err(RestoreError::Both { first: Box::new(first), second: Box::new(second) });
        }
        (_, Err(error)) => return Err(error),
        (Err(Halt::Stopped | Halt::WriterGone), Ok(written)) => written,
    };
    Ok(Summary::new(stopped, seconds, true))
}

fn clip_size(info: &StreamInfo) -> ClipSize {
    let frames = info.frames.and_then(|frames| usize::try_from(frames).ok());
    ClipSize { frames, height: info.height, width: info.width }
}

fn refuse_same(input: &Path, output: &Path) -> Result<(), RestoreError> {
    match (input.canonicalize(), output.canonicalize()) {
        (Ok(from), Ok(to)) if from == to => {
            Err(RestoreError::SameFile { path: input.to_path_buf() })
        }
        // What does not exist yet is nothing that can be lost.
        _ => Ok(()),
    }
}

fn open_options(options: &RestoreOptions) -> OpenOptions {
    OpenOptions {
        frames: options.frames,
        programs: options.programs.clone(),
        ..OpenOptions::default()
    }
}

fn sink_options(input: &Path, info: &StreamInfo, options: &RestoreOptions) -> SinkOptions {
    SinkOptions {
        overwrite: options.overwrite,
        bit_depth: options.bit_depth_for(info),
        codec_arguments: options.encoder_arguments.clone(),
        copy_from: read::is_video_file(input).then(|| input.to_path_buf()),
        programs: options.programs.clone(),
        ..SinkOptions::default()
    }
}

/// What the restored stream is: larger, or with twice the frames.
fn restored_info(info: &StreamInfo, config: &VrtConfig, options: &RestoreOptions) -> StreamInfo {
    let folder_rate = options.frame_rate.unwrap_or(FOLDER_RATE);
    let rate = info.frame_rate.unwrap_or(FrameRate::Constant(folder_rate));
    let doubles = config.fused_frames().is_some();
    StreamInfo {
        width: info.width * config.upscale(),
        height: info.height * config.upscale(),
        frame_rate: Some(if doubles { doubled(rate) } else { rate }),
        frames: info.frames.map(|n| if doubles { (2 * n).saturating_sub(1) } else { n }),
        ..info.clone()
    }
}

fn doubled(rate: FrameRate) -> FrameRate {
    let twice = |Ratio { numerator, denominator }| match numerator.checked_mul(2) {
        Some(numerator) => Ratio { numerator, denominator },
        // Only fractions far from any camera's come here; half a tick of them is no loss.
        None => Ratio { numerator, denominator: (denominator / 2).max(1) },
    };
    match rate {
        FrameRate::Constant(rate) => FrameRate::Constant(twice(rate)),
        FrameRate::Variable(rate) => FrameRate::Variable(twice(rate)),
    }
}
