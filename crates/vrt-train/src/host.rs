//! Numbers of tensors, brought from their device.

use burn::tensor::Tensor;

/// All numbers of a tensor, or what its device says.
pub(crate) fn floats(tensor: Tensor<1>) -> Result<Vec<f32>, String> {
    let data = tensor.try_into_data().map_err(|error| error.to_string())?;
    data.try_to_vec().map_err(|error| error.to_string())
}
