//! LMDB environments of frames: read without a lock file, written once.
//!
//! An environment is a folder with a `data.mdb`. Training sets keep encoded pictures in it, under
//! keys such as `clip/00000000`. [`Environment`] reads it whatever file system it lies on, read-only
//! ones included; [`Writer`] makes one. LMDB maps the file into memory and trusts it, so that a file
//! which was cut off or damaged would end the process: its pages are checked before.
//!
//! `unsafe` is in `map.rs` alone, where an environment is opened.

mod environment;
mod error;
mod head;
mod map;
#[cfg(test)]
mod tests;
mod tree;
mod writer;

pub use environment::Environment;
pub use error::LmdbError;
pub use writer::Writer;
