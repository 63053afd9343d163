//! Tiles through one model, or several side by side.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use super::space::check_dims;
use super::{ClipModel, Done, TiledError};
use crate::volume::Volume;

/// Restored pieces, for each model, that may wait for an earlier one.
const AHEAD: usize = 2;

/// How long a model that is too far ahead waits before it looks again.
const PAUSE: Duration = Duration::from_millis(5);

/// Cuts out a piece.
type CutOut<'a> = dyn Fn(usize) -> Volume + Sync + 'a;

/// Takes restored pieces, in their order.
type Put<'a, E> = dyn FnMut(usize, Volume) -> Result<(), TiledError<E>> + 'a;

/// A piece, and why it is not restored.
type Failed<E> = (usize, TiledError<E>);

/// Restores `pieces` by a model and its helpers, each the next one that nobody has.
pub(super) fn restore_pieces<M: ClipModel>(
    model: &M,
    pieces: usize,
    cut: &CutOut<'_>,
    put: &mut Put<'_, M::Error>,
    watch: &mut dyn FnMut(Done) -> ControlFlow<()>,
) -> Result<(), Failed<M::Error>> {
    let lanes = 1 + model.helpers().len();
    let mut counted = Counted { done: 0, of: pieces, under_way: vec![0.0; lanes], watch };
    if lanes == 1 || pieces == 1 {
        for piece in 0..pieces {
            let restored = counted.restore(model, cut(piece));
            restored.and_then(|tile| put(piece, tile)).map_err(|error| (piece, error))?;
        }
        return Ok(());
    }
    let shared = Shared {
        next: AtomicUsize::new(0),
        due: AtomicUsize::new(0),
        end: pieces,
        ahead: AHEAD * lanes,
        stop: AtomicBool::new(false),
    };
    std::thread::scope(|scope| {
        let (send, news) = channel();
        for (lane, model) in std::iter::once(model).chain(model.helpers()).enumerate() {
            let lane = Lane { lane, model, shared: &shared, send: send.clone() };
            scope.spawn(move || lane.run(cut));
        }
        drop(send);
        listen(&news, &shared, put, &mut counted)
    })
}

/// Counts pieces for whoever watches.
struct Counted<'a> {
    done: usize,
    of: usize,
    /// What share of its piece each model has restored.
    under_way: Vec<f32>,
    watch: &'a mut dyn FnMut(Done) -> ControlFlow<()>,
}

impl Counted<'_> {
    /// Tells that `share` of a model's piece is restored.
    fn tell(&mut self, lane: usize, share: f32) -> ControlFlow<()> {
        self.under_way[lane] = share;
        let all = self.done as f32 + self.under_way.iter().sum::<f32>();
        (self.watch)(Done { tiles: self.done, of: self.of, share: all / self.of as f32 })
    }

    /// Tells that a model's piece is done: it is kept; whether to go on is asked before the next.
    fn add(&mut self, lane: usize) {
        self.done += 1;
        let _ = self.tell(lane, 0.0);
    }

    fn restore<M: ClipModel>(
        &mut self,
        model: &M,
        tile: Volume,
    ) -> Result<Volume, TiledError<M::Error>> {
        if self.tell(0, 0.0).is_break() {
            return Err(TiledError::Stopped);
        }
        let restored = restore_piece(model, tile, &mut |share| self.tell(0, share))?;
        self.add(0);
        Ok(restored)
    }
}

/// Runs the model on a piece and holds it to its scale.
fn restore_piece<M: ClipModel>(
    model: &M,
    tile: Volume,
    watch: &mut super::Watch<'_>,
) -> Result<Volume, TiledError<M::Error>> {
    let (height, width) = (tile.height() * model.scale(), tile.width() * model.scale());
    let restored = model.restore_watched(tile, watch).map_err(TiledError::Model)?;
    let restored = restored.ok_or(TiledError::Stopped)?;
    let [frames, _, _, channels] = restored.dims();
    check_dims([frames, height, width, channels], restored.dims())?;
    Ok(restored)
}

/// What models tell on their way.
enum News<E: std::error::Error + 'static> {
    Share(f32),
    Restored(usize, Result<Volume, TiledError<E>>),
}

/// What models know of each other.
struct Shared {
    /// The next piece that nobody has.
    next: AtomicUsize,
    /// The first piece that is not restored.
    due: AtomicUsize,
    /// Pieces in all.
    end: usize,
    /// How far behind the one that is due a piece may lie.
    ahead: usize,
    stop: AtomicBool,
}

impl Shared {
    /// The next piece for a model, once it is not too far ahead; `None` if there is none, or all
    /// are to stop.
    fn take(&self) -> Option<usize> {
        let piece = self.next.fetch_add(1, Ordering::Relaxed);
        while piece < self.end && piece >= self.due.load(Ordering::Relaxed) + self.ahead {
            if self.stop.load(Ordering::Relaxed) {
                return None;
            }
            std::thread::sleep(PAUSE);
        }
        (piece < self.end && !self.stop.load(Ordering::Relaxed)).then_some(piece)
    }
}

/// A model of several.
struct Lane<'a, M: ClipModel> {
    lane: usize,
    model: &'a M,
    shared: &'a Shared,
    send: Sender<(usize, News<M::Error>)>,
}

impl<M: ClipModel> Drop for Lane<'_, M> {
    /// A panic is for all: the others do not restore what nobody will have.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.stop.store(true, Ordering::Relaxed);
        }
    }
}

impl<M: ClipModel> Lane<'_, M> {
    fn run(self, cut: &CutOut<'_>) {
        while let Some(piece) = self.shared.take() {
            if self.tell(0.0).is_break() {
                return;
            }
            let restored = restore_piece(self.model, cut(piece), &mut |share| self.tell(share));
            let failed = restored.is_err();
            let told = self.send.send((self.lane, News::Restored(piece, restored)));
            if failed || told.is_err() {
                return;
            }
        }
    }

    fn tell(&self, share: f32) -> ControlFlow<()> {
        let told = self.send.send((self.lane, News::Share(share)));
        match told.is_err() || self.shared.stop.load(Ordering::Relaxed) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

/// Hands on what models restored, in the order of the pieces, until all have ended; the first error
/// ends them.
fn listen<E: std::error::Error>(
    news: &Receiver<(usize, News<E>)>,
    shared: &Shared,
    put: &mut Put<'_, E>,
    counted: &mut Counted<'_>,
) -> Result<(), Failed<E>> {
    let mut early = BTreeMap::new();
    let mut due = 0;
    let mut ended = Ok(());
    for (lane, news) in news {
        let heard = match news {
            News::Share(share) => match counted.tell(lane, share) {
                ControlFlow::Continue(()) => Ok(()),
                ControlFlow::Break(()) => Err((due, TiledError::Stopped)),
            },
            News::Restored(piece, Ok(restored)) => {
                counted.add(lane);
                early.insert(piece, restored);
                std::iter::from_fn(|| {
                    let restored = early.remove(&due)?;
                    due += 1;
                    shared.due.store(due, Ordering::Relaxed);
                    Some(put(due - 1, restored).map_err(|error| (due - 1, error)))
                })
                .collect()
            }
            News::Restored(piece, Err(error)) => Err((piece, error)),
        };
        if heard.is_err() {
            shared.stop.store(true, Ordering::Relaxed);
            ended = ended.and(heard);
        }
    }
    ended
}
