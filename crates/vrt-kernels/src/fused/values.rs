//! Tensors as slices, and slices as tensors.

use std::sync::Arc;

use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, BackendTensor, DispatchAutodiffContext, Flex};
use burn::backend::{DispatchTensor, DispatchTensorKind};
use burn::tensor::{Shape, Tensor};
use burn_flex::FlexTensor;

use super::panels::Panels;
use crate::mlp::Affine;
use crate::product::PackedForms;
use crate::tensor::in_order;

/// A tensor of automatic differentiation.
pub(super) type Tracked = FloatTensor<Autodiff<Flex>>;

/// What an operation is given.
pub(super) enum Operand {
    /// A tensor that records nothing, and where it is kept packed, if it is a weight.
    Plain(FlexTensor, Option<Arc<PackedForms>>),
    /// One that may want a gradient.
    Tracked(Tracked, DispatchAutodiffContext),
}

impl Operand {
    pub(super) fn of<const D: usize>(tensor: Tensor<D>) -> Self {
        let DispatchTensor { kind, autodiff } = tensor.into_dispatch();
        match kind {
            DispatchTensorKind::Flex(BackendTensor::Float(tensor)) => Self::Plain(tensor, None),
            DispatchTensorKind::Autodiff(inner) => match *inner {
                DispatchTensorKind::Flex(BackendTensor::Autodiff(tensor)) => {
                    Self::Tracked(tensor, autodiff)
                }
                other => panic!("fused operations run on processors, not on {other:?}"),
            },
            other => panic!("fused operations run on processors, not on {other:?}"),
        }
    }

    pub(super) fn is_tracked(&self) -> bool {
        matches!(self, Self::Tracked(..))
    }

    pub(super) fn primitive(&self) -> FlexTensor {
        match self {
            Self::Plain(tensor, _) => tensor.clone(),
            Self::Tracked(tensor, _) => tensor.primitive().clone(),
        }
    }

    pub(super) fn values(&self) -> Values {
        let mut values = Values::new(self.primitive());
        if let Self::Plain(_, kept) = self {
            values.kept.clone_from(kept);
        }
        values
    }

    /// Weight and bias of a layer, and where they are kept packed.
    pub(super) fn layer(weight: Tensor<2>, bias: Tensor<1>, panels: &Panels) -> [Self; 2] {
        let (mut weight, bias) = (Self::of(weight), Self::of(bias));
        let found = panels.of([&weight, &bias]);
        if let Self::Plain(_, kept) = &mut weight {
            *kept = found;
        }
        [weight, bias]
    }
}

/// A tensor of this process's memory whose values lie one behind the other.
#[derive(Debug)]
pub(super) struct Values {
    pub(super) tensor: FlexTensor,
    kept: Option<Arc<PackedForms>>,
}

impl Values {
    pub(super) fn new(tensor: FlexTensor) -> Self {
        Self { tensor: in_order(tensor), kept: None }
    }

    pub(super) fn get(&self) -> &[f32] {
        self.tensor.as_slice().unwrap_or_else(|| {
            panic!("the kernels compute in f32, this tensor holds {:?}", self.tensor.dtype())
        })
    }

    pub(super) fn shape(&self) -> &Shape {
        self.tensor.layout().shape()
    }
}

/// The weight and bias at the front of a list.
pub(super) fn affine(values: &[Values]) -> Affine<'_> {
    Affine { weight: values[0].get(), bias: values[1].get(), kept: values[0].kept.as_deref() }
}

/// A tensor that records nothing.
pub(super) fn plain<const D: usize>(values: FlexTensor) -> Tensor<D> {
    let kind = DispatchTensorKind::Flex(BackendTensor::Float(values));
    Tensor::from_dispatch(DispatchTensor { kind, autodiff: DispatchAutodiffContext::Disabled })
}

/// A tensor of automatic differentiation.
pub(super) fn tracked<const D: usize>(
    tensor: Tracked,
    autodiff: DispatchAutodiffContext,
) -> Tensor<D> {
    let kind = DispatchTensorKind::Flex(BackendTensor::Autodiff(tensor));
    let kind = DispatchTensorKind::Autodiff(Box::new(kind));
    Tensor::from_dispatch(DispatchTensor { kind, autodiff })
}
