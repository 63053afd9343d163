//! The kernels on Burn's backend for GPUs.

use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;

use super::{Gradients, StoreOps, VideoOps, VideoOpsBackward, Wanted};
use crate::conv::{ConvGeometry, Enlarging};
use crate::deform_conv::{DeformGeometry, GuidedGeometry};
use crate::gpu;
use crate::linear::LinearGeometry;
use crate::warp::WarpMode;
use crate::window_attention::WindowGeometry;

impl VideoOps for CubeBackend {
    fn warp(x: FloatTensor<Self>, flow: FloatTensor<Self>, mode: WarpMode) -> FloatTensor<Self> {
        gpu::warp::forward(x, flow, mode)
    }

    fn deform_conv(
        x: FloatTensor<Self>,
        offset: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: DeformGeometry,
    ) -> FloatTensor<Self> {
        gpu::deform::forward([x, offset, mask], [weight, bias], &geometry)
    }

    fn deform_conv_guided(
        x: FloatTensor<Self>,
        answers: FloatTensor<Self>,
        flows: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: GuidedGeometry,
    ) -> FloatTensor<Self> {
        gpu::guided::forward([x, answers, flows], [weight, bias], &geometry)
    }

    fn conv2d_channels_last(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: ConvGeometry,
    ) -> FloatTensor<Self> {
        gpu::conv::forward([x, weight, bias], &geometry)
    }

    fn linear_published(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: LinearGeometry,
    ) -> FloatTensor<Self> {
        gpu::linear::forward([x, weight, bias], &geometry)
    }

    fn gated(gate: FloatTensor<Self>, x: FloatTensor<Self>, _: [usize; 2]) -> FloatTensor<Self> {
        gpu::gate::forward(gate, x)
    }

    fn norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        shape: [usize; 2],
    ) -> FloatTensor<Self> {
        gpu::norm::forward([x, weight, bias], shape)
    }

    fn window_attention(
        qkv: FloatTensor<Self>,
        table: FloatTensor<Self>,
        geometry: WindowGeometry,
    ) -> FloatTensor<Self> {
        gpu::attention::forward(qkv, Some(table), &geometry)
    }

    fn mutual_attention(qkv: FloatTensor<Self>, geometry: WindowGeometry) -> FloatTensor<Self> {
        gpu::attention::forward(qkv, None, &geometry)
    }
}

impl StoreOps for CubeBackend {
    fn conv2d_enlarging(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: ConvGeometry,
        enlarging: Enlarging,
    ) -> FloatTensor<Self> {
        gpu::conv::enlarging([x, weight, bias], &geometry, enlarging)
    }

    fn linear_onto(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        geometry: LinearGeometry,
    ) -> FloatTensor<Self> {
        gpu::linear::onto([x, weight, bias], residual, &geometry)
    }

    fn linear_gated(
        x: FloatTensor<Self>,
        gate_weight: FloatTensor<Self>,
        gate_bias: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: LinearGeometry,
    ) -> FloatTensor<Self> {
        gpu::linear::gated(x, [gate_weight, gate_bias], [weight, bias], &geometry)
    }
}

impl VideoOpsBackward for CubeBackend {
    fn warp_backward(
        inputs: [FloatTensor<Self>; 2],
        grad: FloatTensor<Self>,
        mode: WarpMode,
        wanted: Wanted<2>,
    ) -> Gradients<Self, 2> {
        gpu::warp::backward(inputs, grad, mode, wanted)
    }

    fn deform_conv_backward(
        inputs: [FloatTensor<Self>; 5],
        grad: FloatTensor<Self>,
        geometry: DeformGeometry,
        wanted: Wanted<5>,
    ) -> Gradients<Self, 5> {
        gpu::deform::backward(inputs, grad, &geometry, wanted)
    }

    fn deform_conv_guided_backward(
        inputs: [FloatTensor<Self>; 5],
        grad: FloatTensor<Self>,
        geometry: GuidedGeometry,
        wanted: Wanted<5>,
    ) -> Gradients<Self, 5> {
        gpu::guided::backward(inputs, grad, &geometry, wanted)
    }

    fn conv2d_channels_last_backward(
        inputs: [FloatTensor<Self>; 3],
        grad: FloatTensor<Self>,
        geometry: ConvGeometry,
        wanted: Wanted<3>,
    ) -> Gradients<Self, 3> {
        gpu::conv::backward(inputs, grad, &geometry, wanted)
    }

    fn linear_published_backward(
        inputs: [FloatTensor<Self>; 3],
        grad: FloatTensor<Self>,
        geometry: LinearGeometry,
        wanted: Wanted<3>,
    ) -> Gradients<Self, 3> {
        gpu::linear::backward(inputs, grad, &geometry, wanted)
    }

    fn gated_backward(
        inputs: [FloatTensor<Self>; 2],
        grad: FloatTensor<Self>,
        _: [usize; 2],
        wanted: Wanted<2>,
    ) -> Gradients<Self, 2> {
        gpu::gate::backward(inputs, grad, wanted)
    }

    fn norm_backward(
        inputs: [FloatTensor<Self>; 3],
        grad: FloatTensor<Self>,
        shape: [usize; 2],
        wanted: Wanted<3>,
    ) -> Gradients<Self, 3> {
        gpu::norm::backward(inputs, grad, shape, wanted)
    }

    fn window_attention_backward(
        [qkv, table]: [FloatTensor<Self>; 2],
        grad: FloatTensor<Self>,
        geometry: WindowGeometry,
        wanted: Wanted<2>,
    ) -> Gradients<Self, 2> {
        gpu::attention::backward(qkv, Some(table), grad, &geometry, wanted)
    }

    fn mutual_attention_backward(
        [qkv]: [FloatTensor<Self>; 1],
        grad: FloatTensor<Self>,
        geometry: WindowGeometry,
        [of_qkv]: Wanted<1>,
    ) -> Gradients<Self, 1> {
        let wanted = [of_qkv, false];
        let [of_qkv, _] = gpu::attention::backward(qkv, None, grad, &geometry, wanted);
        [of_qkv]
    }
}
