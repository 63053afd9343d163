//! The allocator of programs that run networks, whose tensors come and go in large pieces.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use libmimalloc_sys::{mi_option_set_default, mi_option_t};

/// `static ALLOCATOR: Allocator = Allocator` under `#[global_allocator]` makes a program use it.
pub use mimalloc::MiMalloc as Allocator;

/// What suits programs that restore: about a pass of a small tile. Ten seconds raised the peak of larger
/// tiles by a fifth.
pub const BETWEEN_TILES: Duration = Duration::from_secs(3);

/// Longer times are taken for this one; the library adds them to its clock.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// `mi_option_purge_delay` of mimalloc.h.
const PURGE_DELAY: mi_option_t = 15;

/// Lets the process keep for so long, at most a day, what it has freed, in place of a second, before the
/// system gets it back: memory that was a tensor in one part of a pass is one again in the next, and the
/// system's pages are not cleared anew. To be called first thing in a program that uses [`Allocator`].
/// What the environment says (`MIMALLOC_PURGE_DELAY`, in milliseconds) holds instead, where it does.
pub fn keep_freed(time: Duration) {
    let milliseconds = time.min(LONGEST).as_millis() as std::ffi::c_long;
    // SAFETY: stores a number of one word in the library's table of options, which has more than
    // `PURGE_DELAY`; threads that free memory meanwhile find the number of before or this one, on every
    // processor that stores words whole, and the library takes any below `LONGEST` for a time.
    unsafe { mi_option_set_default(PURGE_DELAY, milliseconds) }
}

/// An allocator that counts what is asked for, to learn what an operation takes. What grows counts as
/// if it were asked for anew.
#[derive(Debug)]
pub struct Counted<A> {
    allocator: A,
    bytes: AtomicU64,
}

impl<A> Counted<A> {
    /// Takes everything from `allocator`.
    pub const fn new(allocator: A) -> Self {
        Self { allocator, bytes: AtomicU64::new(0) }
    }

    /// Bytes that were asked for so far, whether they were given back or not.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

// SAFETY: what the other allocator gives is given on as it is, and goes back to it.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counted<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.bytes.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller's promise is the same.
        unsafe { self.allocator.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is the same, and `ptr` comes from this allocator.
        unsafe { self.allocator.dealloc(ptr, layout) }
    }
}

#[cfg(test)]
mod tests {
    use std::env;

    use libmimalloc_sys::mi_option_get;

    use super::*;

    #[test]
    fn the_option_is_that_of_the_library() {
        // SAFETY: reads a number of the library's table.
        let get = || unsafe { mi_option_get(PURGE_DELAY) };
        if ["MIMALLOC_PURGE_DELAY", "MIMALLOC_RESET_DELAY"]
            .iter()
            .any(|name| env::var_os(name).is_some())
        {
            return;
        }
        // What no other option starts from.
        assert_eq!(get(), 1000);
        keep_freed(Duration::from_secs(7));
        assert_eq!(get(), 7000);
        keep_freed(Duration::MAX);
        assert_eq!(get(), 86_400_000);
    }
}
