//! Networks by name: fetching them from a server, the cache, and the program that uses them.

#![expect(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

mod fetching;
mod names;
mod program;
mod server;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/weights.rs"]
mod weights;
