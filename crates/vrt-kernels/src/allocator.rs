//! The allocator of programs that run networks, whose tensors come and go in large pieces.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicU64, Ordering};

/// `static ALLOCATOR: Allocator = Allocator` under `#[global_allocator]` makes a program use it.
pub use mimalloc::MiMalloc as Allocator;

/// An allocator that counts what is asked for, to learn what an operation takes. What grows counts as
/// if it were asked for anew.
#[derive(Debug)]
pub struct Counted<A> {
    allocator: A,
    bytes: AtomicU64,
    largest: AtomicU64,
}

impl<A> Counted<A> {
    /// Takes everything from `allocator`.
    pub const fn new(allocator: A) -> Self {
        Self { allocator, bytes: AtomicU64::new(0), largest: AtomicU64::new(0) }
    }

    /// Bytes that were asked for so far, whether they were given back or not.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Bytes of the largest piece that was asked for since this was called the last time.
    pub fn largest(&self) -> u64 {
        self.largest.swap(0, Ordering::Relaxed)
    }
}

// SAFETY: what the other allocator gives is given on as it is, and goes back to it.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counted<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.bytes.fetch_add(layout.size() as u64, Ordering::Relaxed);
        self.largest.fetch_max(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller's promise is the same.
        unsafe { self.allocator.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the same, and `ptr` comes from this allocator.
        unsafe { self.allocator.dealloc(ptr, layout) }
    }
}
