//! The kernels as an extension of Burn's backends, with backward passes of their own.
//!
//! To add an operation: its contract and kernels in a module of this crate, its composed form in
//! [`composed`](crate::composed), a method in [`VideoOps`] and one in [`VideoOpsBackward`], glue
//! in `backend/cpu.rs` and `backend/autodiff.rs`, a function on tensors in [`ops`](crate::ops).

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, backend_extension};

use crate::conv::ConvGeometry;
#[cfg(feature = "gpu")]
use crate::conv::Enlarging;
use crate::deform_conv::{DeformGeometry, GuidedGeometry};
use crate::linear::LinearGeometry;
use crate::warp::WarpMode;
use crate::window_attention::WindowGeometry;

mod autodiff;
mod cpu;
#[cfg(feature = "gpu")]
mod gpu;

/// Forward passes; shapes as in [`ops`](crate::ops).
#[backend_extension(Flex, Cube: cfg(feature = "gpu"), Autodiff)]
pub trait VideoOps: Backend {
    /// See [`ops::warp`](crate::ops::warp).
    fn warp(x: FloatTensor<Self>, flow: FloatTensor<Self>, mode: WarpMode) -> FloatTensor<Self>;

    /// See [`ops::deform_conv`](crate::ops::deform_conv).
    fn deform_conv(
        x: FloatTensor<Self>,
        offset: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: DeformGeometry,
    ) -> FloatTensor<Self>;

    /// See [`ops::deform_conv_guided`](crate::ops::deform_conv_guided).
    fn deform_conv_guided(
        x: FloatTensor<Self>,
        answers: FloatTensor<Self>,
        flows: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: GuidedGeometry,
    ) -> FloatTensor<Self>;

    /// See [`ops::conv2d`](crate::ops::conv2d).
    fn conv2d_channels_last(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: ConvGeometry,
    ) -> FloatTensor<Self>;

    /// See [`ops::linear`](crate::ops::linear).
    fn linear_published(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: LinearGeometry,
    ) -> FloatTensor<Self>;

    /// See [`ops::gated`](crate::ops::gated).
    fn gated(gate: FloatTensor<Self>, x: FloatTensor<Self>, shape: [usize; 2])
    -> FloatTensor<Self>;

    /// See [`ops::norm`](crate::ops::norm).
    fn norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        shape: [usize; 2],
    ) -> FloatTensor<Self>;

    /// See [`ops::window_attention`](crate::ops::window_attention).
    fn window_attention(
        qkv: FloatTensor<Self>,
        table: FloatTensor<Self>,
        geometry: WindowGeometry,
    ) -> FloatTensor<Self>;

    /// See [`ops::mutual_attention`](crate::ops::mutual_attention).
    fn mutual_attention(qkv: FloatTensor<Self>, geometry: WindowGeometry) -> FloatTensor<Self>;
}

/// Products that do more on their way to memory: on GPUs, where no gradient is wanted. Others compose
/// the same of [`VideoOps`].
#[cfg(feature = "gpu")]
#[backend_extension(Cube: cfg(feature = "gpu"))]
pub trait StoreOps: Backend {
    /// See [`ops::conv2d_enlarging`](crate::ops::conv2d_enlarging).
    fn conv2d_enlarging(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: ConvGeometry,
        enlarging: Enlarging,
    ) -> FloatTensor<Self>;

    /// See [`ops::linear_onto`](crate::ops::linear_onto).
    fn linear_onto(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        geometry: LinearGeometry,
    ) -> FloatTensor<Self>;

    /// See [`ops::linear_gated`](crate::ops::linear_gated): weight and bias of the gate, then of what
    /// it is multiplied with.
    fn linear_gated(
        x: FloatTensor<Self>,
        gate_weight: FloatTensor<Self>,
        gate_bias: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: LinearGeometry,
    ) -> FloatTensor<Self>;
}

/// Which of an operation's inputs want a gradient, in the order of its arguments.
pub type Wanted<const N: usize> = [bool; N];

/// The gradients of an operation's inputs, `None` where none was wanted.
pub type Gradients<B, const N: usize> = [Option<FloatTensor<B>>; N];

/// Backward passes: from the inputs and the gradient of the output to those of the inputs.
pub trait VideoOpsBackward: Backend {
    /// Of [`VideoOps::warp`]: x, flow.
    fn warp_backward(
        inputs: [FloatTensor<Self>; 2],
        grad: FloatTensor<Self>,
        mode: WarpMode,
        wanted: Wanted<2>,
    ) -> Gradients<Self, 2>;

    /// Of [`VideoOps::deform_conv`]: x, offset, mask, weight, bias.
    fn deform_conv_backward(
        inputs: [FloatTensor<Self>; 5],
        grad: FloatTensor<Self>,
        geometry: DeformGeometry,
        wanted: Wanted<5>,
    ) -> Gradients<Self, 5>;

    /// Of [`VideoOps::deform_conv_guided`]: x, answers, flows, weight, bias.
    fn deform_conv_guided_backward(
        inputs: [FloatTensor<Self>; 5],
        grad: FloatTensor<Self>,
        geometry: GuidedGeometry,
        wanted: Wanted<5>,
    ) -> Gradients<Self, 5>;

    /// Of [`VideoOps::conv2d_channels_last`]: x, weight, bias.
    fn conv2d_channels_last_backward(
        inputs: [FloatTensor<Self>; 3],
        grad: FloatTensor<Self>,
        geometry: ConvGeometry,
        wanted: Wanted<3>,
    ) -> Gradients<Self, 3>;

    /// Of [`VideoOps::linear_published`]: x, weight, bias.
    fn linear_published_backward(
        inputs: [FloatTensor<Self>; 3],
        grad: FloatTensor<Self>,
        geometry: LinearGeometry,
        wanted: Wanted<3>,
    ) -> Gradients<Self, 3>;

    /// Of [`VideoOps::gated`]: gate, x.
    fn gated_backward(
        inputs: [FloatTensor<Self>; 2],
        grad: FloatTensor<Self>,
        shape: [usize; 2],
        wanted: Wanted<2>,
    ) -> Gradients<Self, 2>;

    /// Of [`VideoOps::norm`]: x, weight, bias.
    fn norm_backward(
        inputs: [FloatTensor<Self>; 3],
        grad: FloatTensor<Self>,
        shape: [usize; 2],
        wanted: Wanted<3>,
    ) -> Gradients<Self, 3>;

    /// Of [`VideoOps::window_attention`]: qkv, table.
    fn window_attention_backward(
        inputs: [FloatTensor<Self>; 2],
        grad: FloatTensor<Self>,
        geometry: WindowGeometry,
        wanted: Wanted<2>,
    ) -> Gradients<Self, 2>;

    /// Of [`VideoOps::mutual_attention`]: qkv.
    fn mutual_attention_backward(
        inputs: [FloatTensor<Self>; 1],
        grad: FloatTensor<Self>,
        geometry: WindowGeometry,
        wanted: Wanted<1>,
    ) -> Gradients<Self, 1>;
}
