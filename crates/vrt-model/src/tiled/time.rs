//! Windows in time over a stream of frames whose end is not known beforehand.

use std::collections::VecDeque;

use super::axis::Fade;
use super::space::missing_to_multiple;
use super::{TileSpec, Tiling, Window, WindowError, WindowStream};
use crate::volume::Volume;

/// Windows of a fixed number of frames, each overlapping the one before it.
///
/// Within a scene of `n` frames, windows start at `0, stride, 2·stride, …` below `n − frames` and
/// last at `n − frames`; a scene shorter than a window is one shorter window. Where windows meet,
/// `Published` takes the plain average and `Seamless` fades from one to the next. `Seamless` starts
/// windows on multiples of an attention window's frames, if they advance by as many, so that all
/// of a scene is cut into the same attention windows; the last one may be shorter.
///
/// # Memory
///
/// If windows are put back and finished frames popped as they come, at most `frames` input frames
/// and `frames` output frames are held between calls, however long the clip is. With
/// `spec.frames() == 0` a window is a whole scene, and so is what is held.
#[derive(Debug)]
pub struct TemporalWindows {
    tiling: Tiling,
    /// Frames of a window, 0 for a whole scene.
    tile: usize,
    stride: usize,
    /// Frames of an attention window, which published tiling completes whole scenes to.
    window_frames: usize,
    /// The latest input frames, up to frame `received`, that a window may still need.
    inputs: VecDeque<Volume>,
    received: usize,
    scene: Scene,
    under_way: VecDeque<Request>,
    /// Output frames from frame `released` on.
    blends: VecDeque<Blend>,
    released: usize,
    /// Shape of the first input frame.
    frame_dims: Option<[usize; 4]>,
    /// Height, width and channels of the first restored window.
    restored_dims: Option<[usize; 3]>,
}

/// Where the current scene stands; frames are counted over the whole clip.
#[derive(Clone, Copy, Debug)]
struct Scene {
    start: usize,
    /// Start of the next window, unless the scene ends before it is complete.
    next_window: usize,
    /// Where the last window handed out ends.
    covered_to: usize,
}

impl Scene {
    fn starting_at(start: usize) -> Self {
        Self { start, next_window: start, covered_to: start }
    }
}

/// A window that was handed out.
#[derive(Clone, Copy, Debug)]
struct Request {
    start: usize,
    /// Frames that are wanted back.
    frames: usize,
    /// Frames handed out: mirrored ones included.
    sent: usize,
    /// Where the windows before it end; `start` if it is the first of its scene.
    covered_to: usize,
}

/// An output frame in the making.
#[derive(Debug)]
struct Blend {
    frame: Volume,
    /// Windows that were summed.
    summed: u32,
}

impl TemporalWindows {
    /// Windows of `spec.frames()` frames overlapping by `spec.overlap_frames()`.
    ///
    /// `window_frames` are the frames of an attention window, see
    /// [`ClipModel::window`](super::ClipModel::window).
    #[must_use]
    pub fn new(spec: &TileSpec, tiling: Tiling, window_frames: usize) -> Self {
        Self {
            tiling,
            tile: spec.frames(),
            stride: advance(spec, tiling, window_frames),
            window_frames,
            inputs: VecDeque::new(),
            received: 0,
            scene: Scene::starting_at(0),
            under_way: VecDeque::new(),
            blends: VecDeque::new(),
            released: 0,
            frame_dims: None,
            restored_dims: None,
        }
    }

    fn hand_out(&mut self, start: usize, frames: usize) -> Result<Window, WindowError> {
        let held_from = self.received - self.inputs.len();
        let inputs = self.inputs.range(start - held_from..).take(frames);
        let clip = Volume::concat(inputs)?.mirror_end([self.mirrored(frames), 0, 0])?;
        self.under_way.push_back(Request {
            start,
            frames,
            sent: clip.frames(),
            covered_to: self.scene.covered_to.max(start),
        });
        self.scene.covered_to = start + frames;
        Ok(Window { first_frame: start, clip })
    }

    /// Mirrored frames that a window of `frames` is continued by.
    fn mirrored(&self, frames: usize) -> usize {
        match self.tiling {
            Tiling::Published if self.tile == 0 => missing_to_multiple(frames, self.window_frames),
            _ => 0,
        }
    }

    /// Start of the last window if the scene ended now.
    fn last_window(&self) -> usize {
        if self.tile == 0 {
            return self.scene.start;
        }
        let before = self.received.saturating_sub(self.scene.start + self.tile);
        self.scene.start + before.next_multiple_of(self.grid())
    }

    /// What the starts of windows are multiples of, counted from the start of the scene.
    fn grid(&self) -> usize {
        let whole = self.stride.is_multiple_of(self.window_frames.max(1));
        if self.tiling == Tiling::Seamless && whole { self.window_frames.max(1) } else { 1 }
    }

    /// The first frame that a window may still change.
    fn unsettled(&self) -> usize {
        let next = self.last_window().min(self.scene.next_window);
        self.under_way.front().map_or(next, |request| next.min(request.start))
    }

    fn check_restored(&self, request: &Request, restored: &Volume) -> Result<(), WindowError> {
        let got = restored.dims();
        let [height, width, channels] = self.restored_dims.unwrap_or(restored.frame_dims());
        let expected = [request.sent, height, width, channels];
        if got == expected {
            return Ok(());
        }
        Err(WindowError::WindowShape { first_frame: request.start, expected, got })
    }

    fn blend(&mut self, request: &Request, at: usize, frame: Volume) {
        match self.blends.get_mut(at - self.released) {
            None => self.blends.push_back(Blend { frame, summed: 1 }),
            Some(blend) if self.tiling == Tiling::Published => blend.add(&frame),
            Some(blend) => {
                let fade = Fade::between(request.start, request.covered_to);
                blend.fade_to(&frame, fade.at(at) as f32);
            }
        }
    }
}

impl Blend {
    fn add(&mut self, frame: &Volume) {
        self.summed += 1;
        for (sum, sample) in self.frame.samples_mut().iter_mut().zip(frame.samples()) {
            *sum += sample;
        }
    }

    fn fade_to(&mut self, frame: &Volume, weight: f32) {
        for (blend, sample) in self.frame.samples_mut().iter_mut().zip(frame.samples()) {
            *blend += weight * (sample - *blend);
        }
    }

    fn finish(mut self) -> Volume {
        if self.summed > 1 {
            let count = self.summed as f32;
            let samples = self.frame.samples_mut().iter_mut();
            samples.for_each(|sum| *sum /= count);
        }
        self.frame
    }
}

impl WindowStream for TemporalWindows {
    fn push(&mut self, frame: Volume) -> Result<Option<Window>, WindowError> {
        check_frame(&mut self.frame_dims, self.received, &frame)?;
        self.inputs.push_back(frame);
        self.received += 1;
        if self.tile == 0 {
            return Ok(None);
        }
        let start = self.scene.next_window;
        // One frame more than the window has: only now it is not the last of the scene, which
        // would start elsewhere.
        let window = if self.received > start + self.tile {
            self.scene.next_window += self.stride;
            Some(self.hand_out(start, self.tile)?)
        } else {
            None
        };
        if self.inputs.len() > self.tile {
            self.inputs.pop_front();
        }
        Ok(window)
    }

    fn end_scene(&mut self) -> Result<Option<Window>, WindowError> {
        if self.received == self.scene.start {
            return Ok(None);
        }
        let start = self.last_window();
        let window = self.hand_out(start, self.received - start)?;
        self.inputs.clear();
        self.scene = Scene::starting_at(self.received);
        Ok(Some(window))
    }

    fn put_back(&mut self, restored: Volume) -> Result<(), WindowError> {
        let request = *self.under_way.front().ok_or(WindowError::NotRequested)?;
        self.check_restored(&request, &restored)?;
        self.under_way.pop_front();
        self.restored_dims = Some(restored.frame_dims());
        for (i, frame) in restored.split_frames().take(request.frames).enumerate() {
            self.blend(&request, request.start + i, frame);
        }
        Ok(())
    }

    fn pop(&mut self) -> Option<Volume> {
        if self.released >= self.unsettled() {
            return None;
        }
        let blend = self.blends.pop_front()?;
        self.released += 1;
        Some(blend.finish())
    }

    fn held_frames(&self) -> usize {
        self.inputs.len() + self.blends.len()
    }
}

/// Frames from window to window.
fn advance(spec: &TileSpec, tiling: Tiling, window_frames: usize) -> usize {
    let most = spec.frames().saturating_sub(spec.overlap_frames());
    let whole = most - most % window_frames.max(1);
    if tiling == Tiling::Seamless && whole > 0 { whole } else { most }
}

/// Holds every frame to the shape of the first.
pub(super) fn check_frame(
    first: &mut Option<[usize; 4]>,
    frame: usize,
    volume: &Volume,
) -> Result<(), WindowError> {
    let got = volume.dims();
    let [_, height, width, channels] = got;
    let expected = *first.get_or_insert([1, height, width, channels]);
    if got == expected {
        return Ok(());
    }
    Err(WindowError::FrameShape { frame, expected, got })
}
