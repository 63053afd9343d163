//! Packed weights that are kept from call to call.

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};

use super::Packed;
use crate::element::Element;
use crate::level::Level;

/// The packed forms of one layer's weight and bias, for whoever calls it again with the same values.
#[derive(Debug, Default)]
pub(crate) struct PackedForms {
    forms: Mutex<Vec<Form>>,
}

/// What a packed form depends on beside the values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct FormKey {
    pub(crate) level: Level,
    /// So many outputs are multiplied by the factor.
    pub(crate) scaled: (usize, f32),
}

#[derive(Debug)]
struct Form {
    key: FormKey,
    packed: Arc<dyn Any + Send + Sync>,
}

impl PackedForms {
    /// The form of this key, which `pack` makes the first time. It may not wait for the pool, whose
    /// threads may ask for the same form meanwhile.
    pub(crate) fn get<E: Element>(
        &self,
        key: FormKey,
        pack: impl FnOnce() -> Packed<E>,
    ) -> Arc<Packed<E>> {
        let mut forms = self.forms.lock().unwrap_or_else(PoisonError::into_inner);
        let known = forms.iter().filter(|form| form.key == key);
        if let Some(packed) = known.filter_map(|form| form.packed.clone().downcast().ok()).next() {
            return packed;
        }
        let packed = Arc::new(pack());
        forms.push(Form { key, packed: packed.clone() });
        packed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::Pair;
    use crate::mlp::Affine;

    #[test]
    fn forms_are_packed_once_each() {
        let (weight, bias) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [7.0, 8.0]);
        let kept = PackedForms::default();
        let layer = Affine { weight: &weight, bias: &bias, kept: Some(&kept) };
        let first = layer.packed::<f32>(Level::Portable);
        assert!(Arc::ptr_eq(&first, &layer.packed(Level::Portable)));
        let scaled = layer.packed_scaled::<f32>(Level::Portable, 1, 0.5);
        assert!(!Arc::ptr_eq(&first, &scaled));
        let pairs = layer.packed::<Pair>(Level::Portable);
        assert!(Arc::ptr_eq(&pairs, &layer.packed(Level::Portable)));
        assert!(Arc::ptr_eq(&scaled, &layer.packed_scaled(Level::Portable, 1, 0.5)));
        let mut out = [0.0; 2];
        scaled.apply_dense(&[1.0, 0.0, -1.0], &mut [], &mut out);
        assert_eq!(out, [0.5 * (1.0 - 3.0 + 7.0), 4.0 - 6.0 + 8.0]);
    }
}
