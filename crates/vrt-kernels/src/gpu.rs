//! The kernels for GPUs, in CubeCL's language: one source for CUDA, Vulkan, Metal and ROCm.
//!
//! Every operation of [`ops`](crate::ops) is served, forward and backward. Values are `f32` or, in
//! products, half as wide; sums are `f32` everywhere. Gradients that many places add to are summed
//! by atomics, so that their last bits depend on the order in which a device runs.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::{Device, DeviceType};

pub(crate) mod attention;
mod bilinear;
pub(crate) mod conv;
pub(crate) mod deform;
pub(crate) mod gate;
mod launch;
pub(crate) mod linear;
mod product;
mod shape;
mod sum;
#[cfg(test)]
mod tests;
pub(crate) mod warp;

/// The devices of a kind on this machine, in the driver's order; none if its driver is missing.
pub fn found(kind: DeviceType) -> Vec<Device> {
    quietly(|| Device::enumerate(kind).into_iter().collect()).unwrap_or_default()
}

/// Runs `look`; a panic of it is `None`, and is not printed. Drivers that are not installed panic
/// in the libraries that load them.
fn quietly<T>(look: impl FnOnce() -> T) -> Option<T> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let seen = catch_unwind(AssertUnwindSafe(look)).ok();
    std::panic::set_hook(hook);
    seen
}

/// Every GPU that this build can use on this machine.
pub fn all() -> Vec<Device> {
    let kinds = [
        #[cfg(feature = "cuda")]
        DeviceType::Cuda,
        #[cfg(feature = "vulkan")]
        DeviceType::Vulkan,
        #[cfg(feature = "metal")]
        DeviceType::Metal,
        #[cfg(feature = "rocm")]
        DeviceType::Rocm,
        #[cfg(feature = "wgpu")]
        DeviceType::Wgpu,
    ];
    kinds.into_iter().flat_map(found).collect()
}
