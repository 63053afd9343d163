//! The kernels for GPUs, in CubeCL's language: one source for CUDA, Vulkan, Metal and ROCm.
//!
//! Every operation of [`ops`] is served, forward and backward. Tensors are `f32`; where a device has
//! matrix units, products are of 16-bit floats if [`Precision::current`] says so, and summed in
//! `f32`. Gradients that many places add to are summed by atomics, so that their last bits depend on
//! the order in which a device runs.

#![allow(
    clippy::too_many_arguments,
    clippy::manual_div_ceil,
    clippy::manual_is_multiple_of,
    reason = "a kernel's arguments are its buffers; its language lacks the newer methods of numbers"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use burn::backend::DispatchDevice;
use burn::tensor::{Device, DeviceType, Tensor, TensorData};
use cubecl::device::WgpuDeviceKind;

use crate::ops;
use crate::precision::Precision;

pub(crate) mod attention;
mod bilinear;
pub(crate) mod conv;
pub(crate) mod deform;
pub(crate) mod gate;
pub(crate) mod guided;
mod launch;
pub(crate) mod linear;
pub(crate) mod norm;
mod product;
mod shape;
mod sum;
#[cfg(test)]
mod tests;
mod units;
pub(crate) mod warp;

use units::MatrixUnits;

/// The devices of a kind on this machine, in the driver's order; none if its driver is missing.
///
/// Where Vulkan is compiled in, Burn makes shaders for it that older ones of the programs which play
/// a GPU misread or crash on, so that these are no devices then; they run the shaders of `wgpu`
/// alone. Mesa's llvmpipe is new enough where it multiplies matrices, as that of Mesa 26 does.
pub fn found(kind: DeviceType) -> Vec<Device> {
    let devices = quietly(|| Device::enumerate(kind).into_iter().collect::<Vec<_>>());
    devices.unwrap_or_default().into_iter().filter(runs_its_shaders).collect()
}

fn runs_its_shaders(device: &Device) -> bool {
    match device.as_dispatch() {
        DispatchDevice::Cube(cube @ cubecl::Device::Wgpu(device)) => {
            let is_hardware = device.kind != WgpuDeviceKind::Cpu;
            // Those that are new enough to multiply matrices have what Burn's shaders ask for.
            !cfg!(feature = "vulkan") || is_hardware || multiplies_matrices(cube)
        }
        _ => true,
    }
}

fn multiplies_matrices(device: &cubecl::Device) -> bool {
    quietly(|| !device.client().properties().features.matmul.cmma.is_empty()) == Some(true)
}

/// What a device says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its name.
    pub name: String,
    /// Bytes of memory, where it tells.
    pub memory: Option<u64>,
}

/// Asks a GPU what it is; `None` where it does not answer, or is none.
pub fn describe(device: &Device) -> Option<Description> {
    let DispatchDevice::Cube(device) = device.as_dispatch() else { return None };
    quietly(|| {
        let client = device.client();
        let properties = client.properties();
        let name = properties.identity.name.clone();
        Description { name, memory: properties.memory.max_memory() }
    })
}

/// Whether a device multiplies two small matrices rightly. A driver that does not would restore
/// noise.
pub fn multiplies(device: &Device) -> bool {
    multiplies_in(device, Precision::F32)
}

/// The same in a precision.
fn multiplies_in(device: &Device, precision: Precision) -> bool {
    let matrix = |len: usize, shape: [usize; 2]| {
        let values: Vec<f32> = (0..len).map(|i| (i * 7 % 11) as f32 - 5.0).collect();
        (values.clone(), Tensor::<2>::from_data(TensorData::new(values, shape), device))
    };
    let [rows, inputs, outputs] = [70, 33, 5];
    let found = quietly(|| {
        let ((x, x_there), (w, w_there)) =
            (matrix(rows * inputs, [rows, inputs]), matrix(outputs * inputs, [outputs, inputs]));
        let bias = Tensor::<1>::zeros([outputs], device);
        let y = precision.scope(|| ops::linear(x_there, w_there, bias)).try_into_data().ok()?;
        let y: Vec<f32> = y.try_to_vec().ok()?;
        let product = |at: usize| -> f32 {
            let (row, output) = (&x[at / outputs * inputs..], &w[at % outputs * inputs..]);
            row.iter().zip(output).take(inputs).map(|(a, b)| a * b).sum()
        };
        // Whole numbers this small have no rounding.
        Some(y.iter().enumerate().all(|(at, value)| *value == product(at)))
    });
    found.flatten() == Some(true)
}

/// The precisions that a GPU multiplies in, rightly, the one to prefer first; `None` for other
/// devices.
pub(crate) fn precisions(device: &Device) -> Option<Vec<Precision>> {
    let DispatchDevice::Cube(cube) = device.as_dispatch() else { return None };
    let has_units = quietly(|| {
        let client = cube.client();
        [Precision::Bf16, Precision::F16]
            .into_iter()
            .filter(|precision| MatrixUnits::of(client.properties(), *precision).is_some())
            .collect::<Vec<_>>()
    });
    let rounded = has_units.unwrap_or_default().into_iter();
    let rounded = rounded.filter(|precision| multiplies_in(device, *precision));
    Some(rounded.chain([Precision::F32]).collect())
}

/// Whether a device sends tensors to others of its kind without the host.
pub(crate) fn has_link(device: &Device) -> bool {
    let DispatchDevice::Cube(device) = device.as_dispatch() else { return false };
    quietly(|| device.client().has_device_transport()) == Some(true)
}

/// Runs `look`; a panic of it is `None`, and is not printed. Drivers that are not installed panic
/// in the libraries that load them.
fn quietly<T>(look: impl FnOnce() -> T) -> Option<T> {
    // The hook is the process's: two at a time would put each other's back.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let seen = catch_unwind(AssertUnwindSafe(look)).ok();
    std::panic::set_hook(hook);
    seen
}

/// See [`gpus`](crate::gpus).
pub(crate) fn all() -> Vec<Device> {
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
    let devices: Vec<_> = kinds.into_iter().flat_map(found).collect();
    let needed = std::env::var_os("VRT_NEEDS_GPU").is_some();
    assert!(!needed || !devices.is_empty(), "VRT_NEEDS_GPU is set and there is no GPU");
    devices
}
