//! What every launch needs: tensors as buffers, new tensors, units of work.

use burn::tensor::{DType, Shape};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::{empty_device_contiguous_dtype, zeros_client};
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

/// Units of a cube where each does one thing by itself.
const UNITS: u32 = 256;

/// Cubes that a device has work with.
pub(super) const BUSY: usize = 512;

/// The same values, one behind the other in memory.
pub(super) fn packed(tensor: CubeTensor) -> CubeTensor {
    into_contiguous(tensor)
}

/// A new tensor beside `like`, of values that are not known.
pub(super) fn empty(like: &CubeTensor, shape: impl Into<Shape>) -> CubeTensor {
    let (client, device) = (like.client.clone(), like.device.clone());
    empty_device_contiguous_dtype(client, device, shape.into(), DType::F32)
}

/// A new tensor of zeros beside `like`.
pub(super) fn zeros(like: &CubeTensor, shape: impl Into<Shape>) -> CubeTensor {
    let shape = shape.into();
    let (client, device) = (like.client.clone(), like.device.clone());
    // In one row: rows of a tensor of zeros are padded on some devices.
    let row = Shape::new([shape.num_elements()]);
    let handle = zeros_client(client.clone(), device.clone(), row, DType::F32).handle;
    CubeTensor::new_contiguous(client, device, shape, handle, DType::F32)
}

/// Most values that a tensor beside `like` may have: some devices have no larger pieces of memory,
/// whatever is free.
pub(super) fn most_values(like: &CubeTensor) -> usize {
    like.client.properties().memory.max_page_size as usize / size_of::<f32>()
}

/// The values of a packed tensor, as a kernel takes them.
///
/// # Panics
///
/// Panics if the tensor is not what kernels expect without looking: packed, of `f32`, of no more
/// values than their indices count.
pub(super) fn buffer(tensor: &CubeTensor) -> BufferArg {
    assert_eq!(tensor.dtype, DType::F32, "kernels for GPUs compute in f32");
    assert!(tensor.is_contiguous(), "a tensor with gaps went to a kernel for GPUs");
    let len = tensor.meta.shape().num_elements();
    assert!(u32::try_from(len).is_ok(), "a tensor of {len} values is too large for a GPU");
    tensor.clone().into_buffer_arg()
}

/// Cubes for so many units that have nothing to do with each other.
pub(super) fn each(like: &CubeTensor, units: usize) -> (CubeCount, CubeDim) {
    let dim = CubeDim::new_1d(UNITS);
    (calculate_cube_count_elemwise(&like.client, units, dim), dim)
}

/// So many cubes of so many units that work together; more of them may run, from
/// [`CUBE_POS`] = `count` on.
pub(super) fn cubes(like: &CubeTensor, count: usize, units: usize) -> (CubeCount, CubeDim) {
    let dim = CubeDim::new_1d(units as u32);
    (calculate_cube_count_elemwise(&like.client, count * units, dim), dim)
}
