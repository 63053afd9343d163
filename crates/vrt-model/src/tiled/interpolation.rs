//! Windows for networks that make the frame between two.

use std::collections::VecDeque;

use super::time::check_frame;
use super::{Window, WindowError, WindowStream};
use crate::volume::Volume;

/// Frames the network sees: two on either side of the one it makes.
const SEEN: usize = 4;

/// Doubles the frame rate: a new frame between each two, made from the two on either side.
///
/// `n` frames become `2n − 1`: frame `i` of the input is frame `2i` of the output, unchanged. At
/// the edges of a scene the clip is mirrored without repeating the edge: the frame before the
/// first is the second, the frame behind the last is the last but one. Nothing can be made between
/// two scenes; the last frame of the first one is shown once more there, which keeps the rate even
/// and the cut where it was.
///
/// # Memory
///
/// If windows are put back and finished frames popped as they come, at most 3 input frames and 3
/// output frames are held between calls.
#[derive(Debug, Default)]
pub struct Interpolation {
    /// The latest frames of this scene, at most 3.
    recent: VecDeque<Volume>,
    received: usize,
    /// The last frame of the scene before, until it is known whether another one follows.
    before_cut: Option<Volume>,
    output: VecDeque<Slot>,
    /// Windows handed out and not yet back.
    under_way: usize,
    frame_dims: Option<[usize; 4]>,
}

/// A frame of the output.
#[derive(Debug)]
enum Slot {
    Ready(Volume),
    /// The network makes it: the frame behind this one of the input.
    Awaited(usize),
}

impl Interpolation {
    /// A stream that has seen no frame.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The window for the frame between the second and the third of these.
    fn hand_out(&self, seen: [&Volume; SEEN], behind: usize) -> Result<Window, WindowError> {
        Ok(Window { first_frame: behind, clip: Volume::concat(seen)? })
    }

    /// The window that `next` completes: the frame between the two before it. `None` while the
    /// scene is too short to have two.
    fn complete(&self, next: &Volume) -> Result<Option<Window>, WindowError> {
        let behind = self.received.wrapping_sub(2);
        match self.recent.iter().rev().collect::<Vec<_>>()[..] {
            [c, b] => self.hand_out([c, b, c, next], behind).map(Some),
            [c, b, a, ..] => self.hand_out([a, b, c, next], behind).map(Some),
            _ => Ok(None),
        }
    }
}

impl WindowStream for Interpolation {
    fn push(&mut self, frame: Volume) -> Result<Option<Window>, WindowError> {
        check_frame(&mut self.frame_dims, self.received, &frame)?;
        let window = self.complete(&frame)?;
        if let Some(last) = self.before_cut.take() {
            self.output.push_back(Slot::Ready(last));
        }
        // The frame between the last one and this one comes before this one.
        if !self.recent.is_empty() {
            self.output.push_back(Slot::Awaited(self.received - 1));
        }
        self.output.push_back(Slot::Ready(frame.clone()));
        self.recent.push_back(frame);
        self.received += 1;
        self.under_way += usize::from(window.is_some());
        if self.recent.len() == SEEN {
            self.recent.pop_front();
        }
        Ok(window)
    }

    fn end_scene(&mut self) -> Result<Option<Window>, WindowError> {
        let window = match self.recent.len().checked_sub(2) {
            Some(last_but_one) => self.complete(&self.recent[last_but_one])?,
            None => None,
        };
        self.under_way += usize::from(window.is_some());
        if let Some(last) = self.recent.pop_back() {
            self.before_cut = Some(last);
        }
        self.recent.clear();
        Ok(window)
    }

    fn put_back(&mut self, restored: Volume) -> Result<(), WindowError> {
        let awaited = self.output.iter_mut().find_map(|slot| match *slot {
            Slot::Awaited(behind) => Some((behind, slot)),
            Slot::Ready(_) => None,
        });
        // The newest awaited frame may not have been asked for yet: its last neighbour is missing.
        let (first_frame, slot) =
            awaited.filter(|_| self.under_way > 0).ok_or(WindowError::NotRequested)?;
        let got = restored.dims();
        let expected = self.frame_dims.unwrap_or(got);
        if got != expected {
            return Err(WindowError::WindowShape { first_frame, expected, got });
        }
        *slot = Slot::Ready(restored);
        self.under_way -= 1;
        Ok(())
    }

    fn pop(&mut self) -> Option<Volume> {
        match self.output.pop_front()? {
            Slot::Ready(frame) => Some(frame),
            awaited @ Slot::Awaited(_) => {
                self.output.push_front(awaited);
                None
            }
        }
    }

    fn held_frames(&self) -> usize {
        self.recent.len() + usize::from(self.before_cut.is_some()) + self.output.len()
    }
}
