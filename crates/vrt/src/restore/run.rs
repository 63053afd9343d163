//! The middle of a run: windows of frames through the network.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use vrt_model::config::VrtConfig;
use vrt_model::tiled::{
    Batches, ClipModel, FailedBatch, Interpolation, Moved, TemporalWindows, TileSpec, TiledError,
    WatchBatch, Window, WindowStream,
};
use vrt_model::volume::Volume;
use vrt_video::{Frame, TimedFrame};

use super::error::RestoreError;
use super::labels::Labels;
use super::options::RestoreOptions;
use super::progress::{Event, Progress, Stage, Status};
use super::read::Prepared;

/// Frames that an interpolation network sees.
pub(super) const FRAMES_AROUND: usize = 4;

/// How long a wait for a frame may last before it is asked whether to stop.
const STOP_CHECK: Duration = Duration::from_millis(100);

/// Why a run ends before its last frame is restored.
#[derive(Debug)]
pub(super) enum Halt {
    /// Somebody asked for it.
    Stopped,
    /// Frames are not taken any more; the writing end knows why.
    WriterGone,
    /// It cannot go on.
    Failed(RestoreError),
}

impl<E: Into<RestoreError>> From<E> for Halt {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// What comes from the reading end.
enum Received {
    Frame(Prepared),
    Over,
    Failed(RestoreError),
}

/// Takes frames in, restores windows of them, hands frames out.
pub(super) struct Middle<'a, M> {
    stop: &'a AtomicBool,
    stream: Box<dyn WindowStream>,
    batches: Batches<'a, M>,
    labels: Labels,
    /// Restored frames for each frame that goes in: 1, or 2 in interpolation.
    frames_out: u64,
    taken: u64,
    status: Status,
    progress: &'a mut dyn Progress,
}

impl<'a, M: ClipModel<Error: Send + Sync>> Middle<'a, M> {
    pub(super) fn new(
        model: &'a M,
        config: &VrtConfig,
        spec: TileSpec,
        options: &'a RestoreOptions,
        progress: &'a mut dyn Progress,
    ) -> Self {
        let tiling = options.tiling;
        let doubles = config.fused_frames().is_some();
        let stream: Box<dyn WindowStream> = match doubles {
            true => Box::new(Interpolation::new()),
            false => Box::new(TemporalWindows::new(&spec, tiling, model.window()[0])),
        };
        Self {
            stop: &options.stop,
            stream,
            batches: Batches::new(model, spec, tiling),
            labels: Labels::new(doubles),
            frames_out: if doubles { 2 } else { 1 },
            taken: 0,
            status: Status {
                stage: Stage::Reading,
                frames: 0,
                estimate: 0.0,
                total: None,
                tiles: (0, 0),
            },
            progress,
        }
    }

    /// Restores all that is `prepared` and sends it `to_write`; `total` frames, if known.
    ///
    /// If reading fails, the frames before it are restored first.
    pub(super) fn run(
        mut self,
        total: Option<u64>,
        prepared: &Receiver<Result<Prepared, RestoreError>>,
        to_write: Sender<TimedFrame>,
    ) -> Result<(), Halt> {
        self.status.total = total;
        let failed = loop {
            match self.receive(prepared)? {
                Received::Frame(frame) => self.take(frame, &to_write)?,
                Received::Over => break None,
                Received::Failed(error) => break Some(error),
            }
        };
        let ended = self.end_scene(&to_write).and_then(|()| self.restore(&to_write));
        match (failed, ended) {
            (Some(_), Err(halt @ (Halt::Stopped | Halt::WriterGone))) => return Err(halt),
            (Some(error), _) => return Err(Halt::Failed(error)),
            (None, ended) => ended?,
        }
        self.tell(Stage::Finishing);
        Ok(())
    }

    fn receive(
        &self,
        prepared: &Receiver<Result<Prepared, RestoreError>>,
    ) -> Result<Received, Halt> {
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Halt::Stopped);
            }
            match prepared.recv_timeout(STOP_CHECK) {
                Ok(Ok(frame)) => return Ok(Received::Frame(frame)),
                Ok(Err(error)) => return Ok(Received::Failed(error)),
                Err(RecvTimeoutError::Disconnected) => return Ok(Received::Over),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    fn take(&mut self, frame: Prepared, to_write: &Sender<TimedFrame>) -> Result<(), Halt> {
        if frame.starts_scene {
            self.end_scene(to_write)?;
        }
        self.taken += 1;
        self.labels.push(frame.label);
        let window = self.stream.push(frame.picture)?;
        self.queue(window, to_write)
    }

    fn end_scene(&mut self, to_write: &Sender<TimedFrame>) -> Result<(), Halt> {
        let window = self.stream.end_scene()?;
        self.queue(window, to_write)
    }

    /// Puts a window, if there is one, to those that wait, and hands out the frames that are finished
    /// then.
    fn queue(&mut self, window: Option<Window>, to_write: &Sender<TimedFrame>) -> Result<(), Halt> {
        self.watched(|batches, stream, watch| batches.queue(window, stream, watch))?;
        self.hand_out(to_write)
    }

    /// Restores the windows that wait, and hands out the frames that are finished then.
    fn restore(&mut self, to_write: &Sender<TimedFrame>) -> Result<(), Halt> {
        self.watched(|batches, stream, watch| batches.restore(stream, watch))?;
        self.hand_out(to_write)
    }

    /// Calls `work`, and tells how far it is.
    fn watched(
        &mut self,
        work: impl FnOnce(
            &mut Batches<'a, M>,
            &mut dyn WindowStream,
            &mut WatchBatch<'_>,
        ) -> Result<(), FailedBatch<M::Error>>,
    ) -> Result<(), Halt> {
        // All frames taken so far, except those that the next window restores again.
        let after = (self.taken * self.frames_out) as f64;
        let before = self.status.frames as f64;
        let Self { stop, stream, batches, status, progress, .. } = self;
        let watch = &mut |moved| {
            match moved {
                Moved::Shrunk(size) => progress.on_event(&Event::Shrunk { size }),
                Moved::Done(done) => {
                    status.stage = Stage::Restoring;
                    status.estimate = before + f64::from(done.share) * (after - before).max(0.0);
                    if let Some(total) = status.total {
                        status.estimate = status.estimate.min(total as f64);
                    }
                    status.tiles = (done.tiles, done.of);
                    progress.on_event(&Event::Moved(*status));
                }
            }
            match stop.load(Ordering::Relaxed) {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        work(batches, stream.as_mut(), watch).map_err(halt)
    }

    fn hand_out(&mut self, to_write: &Sender<TimedFrame>) -> Result<(), Halt> {
        let before = self.status.frames;
        while let Some(frame) = self.stream.pop() {
            let frame = timed(frame, &mut self.labels);
            to_write.send(frame).map_err(|_| Halt::WriterGone)?;
            self.status.frames += 1;
        }
        if self.status.frames > before {
            self.tell(Stage::Reading);
        }
        Ok(())
    }

    fn tell(&mut self, stage: Stage) {
        self.status.stage = stage;
        self.status.estimate = self.status.frames as f64;
        self.status.tiles = (0, 0);
        self.progress.on_event(&Event::Moved(self.status));
    }
}

fn halt<E>(FailedBatch { first_frame, source }: FailedBatch<E>) -> Halt
where
    E: std::error::Error + Send + Sync + 'static,
{
    let source: Box<dyn std::error::Error + Send + Sync> = match source {
        TiledError::Stopped => return Halt::Stopped,
        TiledError::Model(error) => Box::new(error),
        TiledError::Window(error) => return error.into(),
        TiledError::Volume(error) => return error.into(),
        shape @ TiledError::TileShape { .. } => Box::new(shape),
    };
    Halt::Failed(RestoreError::Model { first_frame, source })
}

/// A finished frame with the label that is due.
fn timed(frame: Volume, labels: &mut Labels) -> TimedFrame {
    let [height, width, channels] = frame.frame_dims();
    let label = labels.next();
    TimedFrame {
        frame: Frame::new(width, height, channels, frame.into_samples()),
        seconds: label.seconds,
        name: label.name,
    }
}
