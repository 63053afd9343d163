//! The hot operations of VRT on slices: warping along a flow, deformable convolution,
//! convolution, linear layers and their gates, attention in shifted windows, changes of size, pictures
//! along their motion; each with its backward pass.
//!
//! # Layout
//!
//! Slices are `f32`, contiguous and channels-last: `[batch, height, width, channels]`. Each
//! operation has a geometry that names its sizes and says how long every slice must be; a slice
//! of another length is a mistake of the caller and panics.
//!
//! # Speed
//!
//! Operations run on the threads of the current rayon pool ([`parallel::configure`]) and use the
//! largest vector instructions that the processor has ([`Level`]). Results do not depend on the
//! number of threads; between levels they differ by rounding.

mod aligned;
#[cfg(feature = "allocator")]
pub mod allocator;
mod arena;
#[cfg(feature = "burn")]
pub mod backend;
mod bilinear;
pub mod block;
#[cfg(feature = "burn")]
pub mod composed;
pub mod conv;
pub mod deform_conv;
#[cfg(feature = "burn")]
mod devices;
mod element;
mod exponential;
#[cfg(feature = "burn")]
pub mod fused;
pub mod gate;
#[cfg(feature = "gpu")]
pub mod gpu;
mod level;
pub mod linear;
pub mod mlp;
mod norm;
#[cfg(feature = "burn")]
pub mod ops;
mod outer;
pub mod parallel;
mod precision;
mod product;
pub mod resample;
mod scope;
#[cfg(test)]
mod slopes;
pub mod sum;
#[cfg(feature = "burn")]
mod tensor;
pub mod tokens;
pub mod trail;
mod vector;
pub mod warp;
mod weights;
pub mod window_attention;

pub use arena::Arena;
#[cfg(feature = "burn")]
pub use devices::{Stream, are_linked, gpus, precisions};
pub use level::Level;
pub use precision::Precision;
pub use warp::WarpMode;
pub use window_attention::WindowGeometry;
