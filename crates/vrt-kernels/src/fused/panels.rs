//! Weights of layers, packed once for all calls.

use std::cell::Cell;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use burn_flex::FlexTensor;

use super::values::Operand;
use crate::product::PackedForms;
use crate::scope::with_value;

/// Where the packed weight of a layer is kept, for calls in a [`scope`](Self::scope). A clone is a
/// place of its own, without anything: that of a network may get other weights.
#[derive(Default)]
pub struct Panels {
    held: Arc<Mutex<Option<Held>>>,
}

impl Clone for Panels {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl fmt::Debug for Panels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Panels").finish_non_exhaustive()
    }
}

/// What is kept, and the parameters it was made of. They stay what they are: who writes to a tensor
/// that somebody else holds, as it is held here, writes to a copy.
struct Held {
    parameters: [FlexTensor; 2],
    kept: Arc<PackedForms>,
}

thread_local! {
    static KEEPING: Cell<bool> = const { Cell::new(false) };
}

impl Panels {
    /// Calls `work`, in which layers without gradients pack their weights the first time only. Worth it
    /// for weights that stay: they are in memory twice from then on.
    pub fn scope<T>(work: impl FnOnce() -> T) -> T {
        with_value(&KEEPING, true, work)
    }

    /// The same place.
    pub fn share(&self) -> Self {
        Self { held: self.held.clone() }
    }

    /// What is kept for these parameters, unless it may not be.
    pub(super) fn of(&self, parameters: [&Operand; 2]) -> Option<Arc<PackedForms>> {
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
        let kept = Arc::new(PackedForms::default());
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

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Tensor, TensorData};

    use super::*;
    use crate::fused::{Around, Layer, project};
    use crate::precision::Precision;

    fn tensor<const D: usize>(shape: [usize; D], factor: f32) -> Tensor<D> {
        let len: usize = shape.iter().product();
        let values: Vec<f32> = (0..len).map(|i| factor * ((i * 37 % 11) as f32 - 5.0)).collect();
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    fn layer(factor: f32) -> Layer {
        let panels = Panels::default();
        Layer { weight: tensor([5, 7], factor), bias: tensor([5], factor), panels }
    }

    fn called(layer: &Layer) -> Vec<f32> {
        let around = Around { norm: None, residual: None };
        project(tensor([3, 7], 0.1), layer, around).into_data().try_to_vec().expect("f32 values")
    }

    fn kept(layer: &Layer) -> Option<Arc<PackedForms>> {
        let parameters = [Operand::of(layer.weight.clone()), Operand::of(layer.bias.clone())];
        layer.panels.of(parameters.each_ref())
    }

    #[test]
    fn a_layer_finds_what_was_packed_in_scopes_alone() {
        let layer = layer(1.0);
        let expected = called(&layer);
        assert!(kept(&layer).is_none());
        let [first, again] = [(); 2].map(|()| {
            Panels::scope(|| {
                assert_eq!(called(&layer), expected);
                kept(&layer).expect("a scope")
            })
        });
        assert!(Arc::ptr_eq(&first, &again));
        let copy = Panels::scope(|| kept(&layer.clone()).expect("a scope"));
        assert!(!Arc::ptr_eq(&first, &copy), "a clone keeps its own");
        let panicked = std::panic::catch_unwind(|| Panels::scope(|| panic!("on purpose")));
        assert!(panicked.is_err() && kept(&layer).is_none());
    }

    #[test]
    fn other_parameters_are_packed_anew() {
        let mut layer = layer(1.0);
        let changes: [fn(&mut Layer); 4] = [
            |layer| layer.bias = tensor([5], 3.0),
            |layer| layer.weight = tensor([5, 7], 0.5),
            |layer| layer.weight = layer.weight.clone().mul_scalar(2.0),
            // In place, if nobody else held the values.
            |layer| {
                let weight = std::mem::replace(&mut layer.weight, tensor([5, 7], 0.0));
                layer.weight = weight.mul_scalar(-1.0);
            },
        ];
        for (i, change) in changes.iter().enumerate() {
            Panels::scope(|| called(&layer));
            change(&mut layer);
            for precision in [Precision::F32, Precision::Bf16, Precision::F32] {
                let found = precision.scope(|| Panels::scope(|| called(&layer)));
                assert_eq!(found, precision.scope(|| called(&layer)), "change {i}, {precision}");
            }
        }
    }

    #[test]
    fn what_wants_a_gradient_is_not_kept() {
        let layer = layer(1.0);
        let weight = Operand::of(layer.weight.clone().autodiff().require_grad());
        let bias = Operand::of(layer.bias.clone());
        Panels::scope(|| assert!(layer.panels.of([&weight, &bias]).is_none()));
    }
}
