//! How finely products see what they multiply.

use std::cell::Cell;
use std::fmt;

use crate::level::Level;
use crate::scope::with_value;

/// What the factors of products are rounded to.
///
/// Sums, norms, the softmax and all that is added to the residual streams are `f32` either way, and
/// so are activations in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 24 bits, as published.
    #[default]
    F32,
    /// 8 bits (bfloat16): twice as fast where the processor multiplies pairs of them, and many times
    /// where a GPU's matrix units do.
    Bf16,
    /// 11 bits, of numbers up to 65504: for the matrix units of GPUs. Processors, which have no
    /// products of them, compute it as [`F32`](Self::F32).
    F16,
}

thread_local! {
    static CURRENT: Cell<Precision> = const { Cell::new(Precision::F32) };
}

impl Precision {
    /// The precision of the operations that this thread calls.
    pub fn current() -> Self {
        CURRENT.get()
    }

    /// Calls `work`, whose operations have this precision, and their backward passes whenever they
    /// are taken. On processors these are the fused ones; those of `ops` alone stay `f32` there.
    pub fn scope<T>(self, work: impl FnOnce() -> T) -> T {
        with_value(&CURRENT, self, work)
    }

    /// The fastest one: [`Bf16`](Self::Bf16) where the processor multiplies it natively.
    pub fn fastest() -> Self {
        if Level::current().multiplies_bf16() { Self::Bf16 } else { Self::F32 }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_ends_as_it_began_even_by_a_panic() {
        assert_eq!(Precision::current(), Precision::F32);
        Precision::Bf16.scope(|| {
            assert_eq!(Precision::current(), Precision::Bf16);
            Precision::F32.scope(|| assert_eq!(Precision::current(), Precision::F32));
            assert_eq!(Precision::current(), Precision::Bf16);
        });
        let panicked = std::panic::catch_unwind(|| Precision::Bf16.scope(|| panic!("on purpose")));
        assert!(panicked.is_err());
        assert_eq!(Precision::current(), Precision::F32);
    }
}
