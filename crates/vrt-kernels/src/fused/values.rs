//! Tensors as slices, and slices as tensors.

use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, BackendTensor, DispatchAutodiffContext, Flex};
use burn::backend::{DispatchTensor, DispatchTensorKind};
use burn::tensor::{Shape, Tensor, TensorData};
use burn_flex::FlexTensor;

use crate::mlp::Affine;
use crate::parallel::zeros;

/// A tensor of automatic differentiation.
pub(super) type Tracked = FloatTensor<Autodiff<Flex>>;

/// What an operation is given.
pub(super) enum Operand {
    /// A tensor that records nothing.
    Plain(FlexTensor),
    /// One that may want a gradient.
    Tracked(Tracked, DispatchAutodiffContext),
}

impl Operand {
    pub(super) fn of<const D: usize>(tensor: Tensor<D>) -> Self {
        let DispatchTensor { kind, autodiff } = tensor.into_dispatch();
        match kind {
            DispatchTensorKind::Flex(BackendTensor::Float(tensor)) => Self::Plain(tensor),
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
            Self::Plain(tensor) => tensor.clone(),
            Self::Tracked(tensor, _) => tensor.primitive().clone(),
        }
    }

    pub(super) fn values(&self) -> Values {
        Values::new(self.primitive())
    }
}

/// A tensor of this process's memory whose values lie one behind the other.
#[derive(Debug)]
pub(super) struct Values(pub(super) FlexTensor);

impl Values {
    pub(super) fn new(tensor: FlexTensor) -> Self {
        let contiguous = tensor.as_slice::<f32>().is_some();
        Self(if contiguous { tensor } else { tensor.to_contiguous() })
    }

    pub(super) fn get(&self) -> &[f32] {
        self.0.as_slice().unwrap_or_else(|| {
            panic!("the kernels compute in f32, this tensor holds {:?}", self.0.dtype())
        })
    }

    pub(super) fn shape(&self) -> &Shape {
        self.0.layout().shape()
    }
}

/// The weight and bias at the front of a list.
pub(super) fn affine(values: &[Values]) -> Affine<'_> {
    Affine { weight: values[0].get(), bias: values[1].get() }
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

/// A tensor of `shape` with these values.
pub(super) fn flex(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.into()))
}

/// A tensor of `shape` that `fill` writes.
pub(super) fn filled<const D: usize>(
    shape: [usize; D],
    fill: impl FnOnce(&mut [f32]),
) -> FlexTensor {
    let mut values = zeros(shape.iter().product());
    fill(&mut values);
    flex(values, Shape::new(shape))
}
