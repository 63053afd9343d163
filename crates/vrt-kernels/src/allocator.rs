//! The allocator of programs that run networks, whose tensors come and go in large pieces.

use std::time::Duration;

use libmimalloc_sys::{mi_option_set, mi_option_t};

/// `static ALLOCATOR: Allocator = Allocator` under `#[global_allocator]` makes a program use it.
pub use mimalloc::MiMalloc as Allocator;

/// What suits programs that restore: as long as a pass of a small tile. Longer passes of larger ones
/// give back what they do not need for as long, of which more would make the peak grow by a fifth.
pub const BETWEEN_TILES: Duration = Duration::from_secs(3);

/// `mi_option_purge_delay` of mimalloc.h.
const PURGE_DELAY: mi_option_t = 15;

/// Lets the process keep for so long what it has freed, in place of a second, before the system gets
/// it back: memory that was a tensor in one part of a pass is one again in the next, and the system's
/// pages are not cleared anew. To be called first thing in a program that uses [`Allocator`].
pub fn keep_freed(time: Duration) {
    let milliseconds = time.as_millis().try_into().unwrap_or(std::ffi::c_long::MAX);
    // SAFETY: stores a number in the library's table of options, which has more than `PURGE_DELAY`;
    // the library reads it whole, now or later, and takes any number for a time.
    unsafe { mi_option_set(PURGE_DELAY, milliseconds) }
}

#[cfg(test)]
mod tests {
    use libmimalloc_sys::mi_option_get;

    use super::*;

    #[test]
    fn the_option_is_that_of_the_library() {
        // SAFETY: reads a number of the library's table.
        let get = || unsafe { mi_option_get(PURGE_DELAY) };
        // What no other option starts from, unless the environment says otherwise.
        if std::env::var_os("MIMALLOC_PURGE_DELAY").is_none() {
            assert_eq!(get(), 1000);
        }
        keep_freed(Duration::from_secs(7));
        assert_eq!(get(), 7000);
    }
}
