//! The allocator of programs that run networks: it keeps what is freed for the next one who asks, where
//! that of the system gives large pieces back and clears their pages anew.

/// `static ALLOCATOR: Allocator = Allocator` under `#[global_allocator]` makes a program use it.
pub use mimalloc::MiMalloc as Allocator;
