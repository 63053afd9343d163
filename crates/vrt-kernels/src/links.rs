//! Sums between devices.

use burn::tensor::Device;

/// Whether these devices add up tensors between them by themselves, as GPUs of CUDA do where NCCL is
/// installed; [`all_reduce`](burn::tensor::distributed::all_reduce) is for those alone.
pub fn are_linked(devices: &[Device]) -> bool {
    #[cfg(feature = "gpu")]
    {
        let differ = devices.iter().enumerate().all(|(i, device)| !devices[..i].contains(device));
        differ && devices.len() > 1 && devices.iter().all(crate::gpu::has_link)
    }
    #[cfg(not(feature = "gpu"))]
    {
        let _ = devices;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_not_linked() {
        assert!(!are_linked(&[]));
        assert!(!are_linked(&[Device::flex(), Device::flex()]));
    }
}
