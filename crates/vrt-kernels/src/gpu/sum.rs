//! Sums that many units add to at once.

use burn_cubecl::tensor::CubeTensor;
use cubecl::features::AtomicUsage;
use cubecl::ir::{ElemType, FloatKind, Type};
use cubecl::prelude::*;

/// How a device adds to a value of memory that others add to, too.
#[cube]
pub(super) trait Sum: 'static + Send + Sync {
    /// What the value is to the device.
    type Cell: Scalar;

    /// Adds to one of the sums.
    fn add(sums: &[Atomic<Self::Cell>], at: usize, value: f32);
}

/// By an instruction that adds floats.
pub(super) struct Native;

#[cube]
impl Sum for Native {
    type Cell = f32;

    fn add(sums: &[Atomic<f32>], at: usize, value: f32) {
        sums[at].fetch_add(value);
    }
}

/// By exchanging the sum's bits for those of a larger one, until nobody was faster.
pub(super) struct Exchanged;

#[cube]
impl Sum for Exchanged {
    type Cell = u32;

    fn add(sums: &[Atomic<u32>], at: usize, value: f32) {
        let mut seen = sums[at].load();
        let mut done = false;
        while !done {
            let sum = u32::reinterpret(f32::reinterpret(seen) + value);
            let found = sums[at].compare_exchange_weak(seen, sum);
            done = found == seen;
            seen = found;
        }
    }
}

/// Whether the device of a tensor adds floats by an instruction.
pub(super) fn adds_floats(tensor: &CubeTensor) -> bool {
    let kind = Type::atomic(ElemType::Float(FloatKind::F32));
    tensor.client.properties().atomic_type_usage(kind).contains(AtomicUsage::Add)
}
