//! GPUs, whether this build knows any or not.

use burn::tensor::Device;

use crate::precision::Precision;

/// Every GPU that this build can use on this machine.
///
/// # Panics
///
/// Panics if there is none although `VRT_NEEDS_GPU` is set: tests of GPUs pass without one else.
pub fn gpus() -> Vec<Device> {
    #[cfg(feature = "gpu")]
    {
        crate::gpu::all()
    }
    #[cfg(not(feature = "gpu"))]
    {
        Vec::new()
    }
}

/// The precisions that a device multiplies in, the fastest first: a processor in `f32` and bf16, a
/// GPU in those that it has matrix units for and in `f32`.
pub fn precisions(device: &Device) -> Vec<Precision> {
    #[cfg(feature = "gpu")]
    if let Some(found) = crate::gpu::precisions(device) {
        return found;
    }
    let _ = device;
    match Precision::fastest() {
        Precision::Bf16 => vec![Precision::Bf16, Precision::F32],
        _ => vec![Precision::F32, Precision::Bf16],
    }
}

/// A queue of work of a GPU, with memory of its own for what is made there: threads that take turns
/// use that again, where each would have its own. Elsewhere it is nothing.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    #[cfg(feature = "gpu")]
    id: burn::tensor::StreamId,
}

impl Stream {
    /// One that nobody else uses.
    #[allow(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> Self {
        Self {
            #[cfg(feature = "gpu")]
            id: burn::tensor::StreamId::allocate(),
        }
    }

    /// Calls `work`, whose operations go into the queue.
    pub fn scope<T>(self, work: impl FnOnce() -> T) -> T {
        #[cfg(feature = "gpu")]
        {
            self.id.executes(work)
        }
        #[cfg(not(feature = "gpu"))]
        {
            work()
        }
    }
}

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
    fn the_processor_multiplies_in_two_precisions_and_the_fastest_comes_first() {
        let found = precisions(&Device::flex());
        assert_eq!(found[0], Precision::fastest());
        assert!(found.len() == 2 && !found.contains(&Precision::F16));
    }

    #[test]
    fn processors_are_not_linked() {
        assert!(!are_linked(&[]));
        assert!(!are_linked(&[Device::flex(), Device::flex()]));
    }
}
