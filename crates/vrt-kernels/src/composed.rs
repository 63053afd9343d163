//! The operations composed from Burn's own: slow, short, on every device, differentiable.
//!
//! They define what the kernels compute: tests hold every kernel to them, values and gradients,
//! and devices without a kernel of their own run them.

mod conv;
mod deform_conv;
mod linear;
mod resample;
mod sample;
#[cfg(test)]
mod tests;
mod trail;
mod warp;
mod window_attention;

pub use conv::{conv2d, enlarged};
pub use deform_conv::{deform_conv, deform_conv_guided};
pub use linear::{gated, linear, norm};
pub use resample::resample;
pub use trail::{gathered, trails, weigh};
pub use warp::warp;
pub use window_attention::{
    attend, mutual_attention, relative_bias, split_heads, window_attention,
};
