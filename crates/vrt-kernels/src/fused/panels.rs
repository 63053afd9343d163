//! Weights of layers, packed once for all calls.

use std::cell::Cell;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use burn_flex::FlexTensor;

use super::values::Operand;
use crate::product::Kept;

/// Where the packed weight of a layer is kept, for calls in a [`scope`](Self::scope). Clones are the
/// same place.
#[derive(Clone, Default)]
pub struct Panels {
    held: Arc<Mutex<Option<Held>>>,
}

impl fmt::Debug for Panels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Panels").finish_non_exhaustive()
    }
}

/// What is kept, and the parameters it was made of: nobody changes them while they are here.
struct Held {
    parameters: [FlexTensor; 2],
    kept: Arc<Kept>,
}

thread_local! {
    static KEEPING: Cell<bool> = const { Cell::new(false) };
}

/// Puts back what was before, on whatever way the scope is left.
struct Restore(bool);

impl Drop for Restore {
    fn drop(&mut self) {
        KEEPING.set(self.0);
    }
}

impl Panels {
    /// Calls `work`, in which layers without gradients pack their weights the first time only. Worth it
    /// for weights that stay: they are in memory twice from then on.
    pub fn scope<T>(work: impl FnOnce() -> T) -> T {
        let _restore = Restore(KEEPING.replace(true));
        work()
    }

    /// What is kept for these parameters, unless it may not be.
    pub(super) fn of(&self, parameters: [&Operand; 2]) -> Option<Arc<Kept>> {
        if !KEEPING.get() || parameters.iter().any(|operand| operand.is_tracked()) {
            return None;
        }
        let parameters = parameters.map(Operand::primitive);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = &*held
            && are_same(&held.parameters, &parameters)
        {
            return Some(held.kept.clone());
        }
        let kept = Arc::new(Kept::default());
        *held = Some(Held { parameters, kept: kept.clone() });
        Some(kept)
    }
}

/// Whether these are the same values at the same place.
fn are_same(a: &[FlexTensor; 2], b: &[FlexTensor; 2]) -> bool {
    a.iter()
        .zip(b)
        .all(|(a, b)| Arc::ptr_eq(&a.data_arc(), &b.data_arc()) && a.layout() == b.layout())
}
