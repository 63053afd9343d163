//! Memory of activations: one piece, planned for a tile, whose parts are used again by what follows in
//! the tile and by the next one.
//!
//! What the operations of this crate write, and what they pack for one call, comes from the arena whose
//! [`scope`](Arena::scope) their thread is in, unless it is small. Pages are fresh once; and since a part
//! is always some numbers, none is cleared before it is written.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::cell::Cell;
use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::scope::with_value;

#[cfg(feature = "burn")]
mod bytes;
mod ranges;

use ranges::Ranges;

/// Bytes that parts are counted in: a line of the processor's caches.
const LINE: usize = 64;

/// Values of a line.
const LINE_LEN: usize = LINE / size_of::<f32>();

/// Values of the smallest part: what is smaller comes from the allocator.
const SMALLEST: usize = 1 << 8;

/// The memory that a network's activations lie in. Clones are the same arena.
#[derive(Clone, Default)]
pub struct Arena {
    memory: Arc<Mutex<Option<Arc<Memory>>>>,
    marks: bool,
}

impl fmt::Debug for Arena {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.lock().as_ref().map_or(0, |memory| memory.lines);
        f.debug_struct("Arena").field("bytes", &(lines * LINE)).finish_non_exhaustive()
    }
}

thread_local! {
    static CURRENT: Cell<Option<Arena>> = const { Cell::new(None) };
}

impl Arena {
    /// An arena without memory: everything comes from the allocator until there is a
    /// [plan](Self::plan).
    pub fn new() -> Self {
        Self::default()
    }

    /// One whose parts hold NaN until they are written: what reads before it writes shows.
    pub fn marked() -> Self {
        Self { marks: true, ..Self::default() }
    }

    /// Sees to room for `bytes` of tensors at a time, for good: an arena grows and never shrinks. What
    /// is not touched takes no memory where the system gives pages when they are touched. Where there
    /// is no such room, or tensors need more, they come from the allocator.
    pub fn plan(&self, bytes: u64) {
        let lines = usize::try_from(bytes.div_ceil(LINE as u64)).unwrap_or(usize::MAX);
        let mut memory = self.lock();
        if memory.as_ref().map_or(0, |memory| memory.lines) >= lines {
            return;
        }
        // Before there is more: unless tensors still lie there, this room is given back.
        *memory = None;
        *memory = Memory::new(lines).map(Arc::new);
    }

    /// Calls `work`, whose operations on this thread write to this arena.
    pub fn scope<T>(&self, work: impl FnOnce() -> T) -> T {
        with_value(&CURRENT, Some(self.clone()), work)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Memory>>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The most bytes that its tensors have spread over.
    pub fn reached(&self) -> u64 {
        self.lock().as_ref().map_or(0, |memory| (memory.free().reached() * LINE) as u64)
    }

    fn take(&self, len: usize) -> Option<Part> {
        let smallest = if self.marks { 1 } else { SMALLEST };
        if len < smallest {
            return None;
        }
        let mut part = Memory::take(self.lock().as_ref()?, len)?;
        if self.marks {
            part.fill(f32::NAN);
        }
        Some(part)
    }
}

/// Room for `len` values in the arena of this thread's scope, holding any numbers; `None` outside of
/// scopes, where the arena is full, and for few values.
pub(crate) fn take(len: usize) -> Option<Part> {
    let arena = CURRENT.take();
    let part = arena.as_ref().and_then(|arena| arena.take(len));
    CURRENT.set(arena);
    part
}

/// The memory of an arena.
struct Memory {
    allocation: NonNull<u8>,
    layout: Layout,
    /// The first line in it.
    start: NonNull<f32>,
    lines: usize,
    free: Mutex<Ranges>,
}

// SAFETY: what lies there is reached through parts alone, each of which has a range of its own.
unsafe impl Send for Memory {}
// SAFETY: as above; the ranges that are free are behind a lock.
unsafe impl Sync for Memory {}

impl Memory {
    fn new(lines: usize) -> Option<Self> {
        // Allocators give what is aligned like this as the system's pages, which are zero; beyond it
        // some of them write zeros. So there is a line more, to start at one.
        let size = lines.checked_add(1)?.checked_mul(LINE)?;
        let layout = Layout::from_size_align(size, align_of::<u128>()).ok()?;
        // SAFETY: the layout is not empty.
        let allocation = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        let first = allocation.align_offset(LINE);
        assert!(first <= LINE, "arena: no line in the allocation");
        // SAFETY: the allocation has a line more than there are lines behind this one.
        let start = unsafe { allocation.add(first) }.cast();
        Some(Self { allocation, layout, start, lines, free: Mutex::new(Ranges::new(lines)) })
    }

    fn free(&self) -> MutexGuard<'_, Ranges> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(this: &Arc<Self>, len: usize) -> Option<Part> {
        let lines = this.free().take(len.div_ceil(LINE_LEN))?;
        Some(Part { memory: this.clone(), lines, len })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout in `new`, and every part holds the memory alive.
        unsafe { dealloc(self.allocation.as_ptr(), self.layout) }
    }
}

/// A part of an arena, which goes back when it is dropped.
pub(crate) struct Part {
    memory: Arc<Memory>,
    /// Handed out to this part alone until it is dropped.
    lines: Range<usize>,
    len: usize,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("len", &self.len).finish_non_exhaustive()
    }
}

impl Part {
    fn start(&self) -> NonNull<f32> {
        // SAFETY: the range lies inside the memory, by `Ranges`.
        unsafe { self.memory.start.add(self.lines.start * LINE_LEN) }
    }
}

impl Deref for Part {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        // SAFETY: `len` values lie in this part's lines, which nobody else reaches; they were zeros from
        // the start, or what parts before this one wrote.
        unsafe { std::slice::from_raw_parts(self.start().as_ptr(), self.len) }
    }
}

impl DerefMut for Part {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as for reading.
        unsafe { std::slice::from_raw_parts_mut(self.start().as_ptr(), self.len) }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.memory.free().give_back(self.lines.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_overlap_and_their_memory_is_used_again() {
        let arena = Arena::new();
        arena.scope(|| assert!(take(SMALLEST).is_none(), "nothing is planned"));
        arena.plan(4 * (SMALLEST * size_of::<f32>()) as u64);
        assert!(take(SMALLEST).is_none(), "outside of its scope");
        arena.scope(|| {
            assert!(take(SMALLEST - 1).is_none(), "too few values");
            let mut parts: Vec<Part> = (0..4).filter_map(|_| take(SMALLEST)).collect();
            assert_eq!(parts.len(), 4);
            assert!(take(SMALLEST).is_none(), "it is full");
            assert_eq!(arena.reached(), 4 * (SMALLEST * size_of::<f32>()) as u64);
            for (i, part) in parts.iter_mut().enumerate() {
                assert_eq!(part.as_ptr().addr() % LINE, 0);
                part.fill(i as f32);
            }
            for (i, part) in parts.iter().enumerate() {
                assert!(part.iter().all(|value| *value == i as f32));
            }
            let freed = parts.remove(2).as_ptr();
            assert_eq!(take(SMALLEST).map(|part| part.as_ptr()), Some(freed));
        });
    }

    #[test]
    fn what_is_planned_anew_leaves_parts_alone() {
        let arena = Arena::new();
        arena.plan(1 << 16);
        let mut before = arena.take(SMALLEST).expect("room");
        before.fill(7.0);
        arena.plan(1 << 20);
        arena.plan(1 << 10);
        let mut after = arena.take(1 << 18).expect("room for more");
        after.fill(8.0);
        assert!(before.iter().all(|value| *value == 7.0));
    }

    #[test]
    fn too_much_is_no_arena() {
        for bytes in [u64::MAX, u64::MAX / 2, 1 << 62] {
            let arena = Arena::new();
            arena.plan(bytes);
            assert!(arena.take(SMALLEST).is_none());
        }
    }

    #[test]
    fn what_was_not_written_shows() {
        let arena = Arena::marked();
        arena.plan(1 << 16);
        for len in [SMALLEST, 1] {
            let mut part = arena.take(len).expect("room");
            assert!(part.iter().all(|value| value.is_nan()));
            part.fill(0.0);
        }
    }
}
