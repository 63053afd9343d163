//! What reading and writing YUV4MPEG2 share: the head, the planes, and where chroma samples lie.

mod chroma;
mod header;
#[cfg(test)]
mod interchange;

pub(crate) use chroma::{Axis, Plane, shrink, stretch};
pub(crate) use header::{Header, Sampling};
