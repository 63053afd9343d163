//! The operations under automatic differentiation: inputs are kept, the backward kernel is called, in
//! the precision that the operation had.

use burn::backend::Autodiff;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients as Grads;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;

use super::{Gradients, VideoOps, VideoOpsBackward, Wanted};
use crate::conv::ConvGeometry;
use crate::deform_conv::{DeformGeometry, GuidedGeometry};
use crate::linear::LinearGeometry;
use crate::precision::Precision;
use crate::warp::WarpMode;
use crate::window_attention::WindowGeometry;

/// Makes `$node` an operation of `$n` inputs whose backward pass is `$backward`.
macro_rules! backward_node {
    ($node:ident, $n:literal, $geometry:ty, $backward:ident) => {
        #[derive(Debug)]
        struct $node;

        impl<B: VideoOpsBackward> Backward<B, $n> for $node {
            type State = ([NodeId; $n], $geometry, Precision);

            fn backward(
                self,
                ops: Ops<Self::State, $n>,
                grads: &mut Grads,
                checkpointer: &mut Checkpointer,
            ) {
                let grad = grads.consume::<B>(&ops.node);
                let (inputs, geometry, precision) = ops.state;
                let inputs: [FloatTensor<B>; $n] =
                    inputs.map(|input| checkpointer.retrieve_node_output(input));
                let wanted: Wanted<$n> = std::array::from_fn(|i| ops.parents[i].is_some());
                let found: Gradients<B, $n> =
                    precision.scope(|| B::$backward(inputs, grad, geometry, wanted));
                for (parent, grad) in ops.parents.into_iter().zip(found) {
                    if let (Some(parent), Some(grad)) = (parent, grad) {
                        grads.register::<B>(parent.id, grad);
                    }
                }
            }
        }
    };
}

backward_node!(WarpBackward, 2, WarpMode, warp_backward);
backward_node!(DeformConvBackward, 5, DeformGeometry, deform_conv_backward);
backward_node!(GuidedBackward, 5, GuidedGeometry, deform_conv_guided_backward);
backward_node!(Conv2dBackward, 3, ConvGeometry, conv2d_channels_last_backward);
backward_node!(LinearBackward, 3, LinearGeometry, linear_published_backward);
backward_node!(GatedBackward, 2, [usize; 2], gated_backward);
backward_node!(NormBackward, 3, [usize; 2], norm_backward);
backward_node!(WindowAttentionBackward, 2, WindowGeometry, window_attention_backward);
backward_node!(MutualAttentionBackward, 1, WindowGeometry, mutual_attention_backward);

/// Runs `$forward` on the inner tensors and, where a gradient is wanted, records `$node`.
macro_rules! tracked {
    ($node:ident, $forward:path, [$($input:ident),+], $geometry:ident) => {
        match $node.prepare::<C>([$($input.node()),+]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let inputs = [$(prep.checkpoint(&$input)),+];
                let state = (inputs, $geometry.clone(), Precision::current());
                let out = $forward($($input.primitive().clone(),)+ $geometry);
                prep.finish(state, out)
            }
            OpsKind::UnTracked(prep) => {
                prep.finish($forward($($input.primitive().clone(),)+ $geometry))
            }
        }
    };
}

impl<B: VideoOps + VideoOpsBackward, C: CheckpointStrategy> VideoOps for Autodiff<B, C> {
    fn warp(x: FloatTensor<Self>, flow: FloatTensor<Self>, mode: WarpMode) -> FloatTensor<Self> {
        tracked!(WarpBackward, B::warp, [x, flow], mode)
    }

    fn deform_conv(
        x: FloatTensor<Self>,
        offset: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: DeformGeometry,
    ) -> FloatTensor<Self> {
        tracked!(DeformConvBackward, B::deform_conv, [x, offset, mask, weight, bias], geometry)
    }

    fn deform_conv_guided(
        x: FloatTensor<Self>,
        answers: FloatTensor<Self>,
        flows: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: GuidedGeometry,
    ) -> FloatTensor<Self> {
        tracked!(GuidedBackward, B::deform_conv_guided, [x, answers, flows, weight, bias], geometry)
    }

    fn conv2d_channels_last(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: ConvGeometry,
    ) -> FloatTensor<Self> {
        tracked!(Conv2dBackward, B::conv2d_channels_last, [x, weight, bias], geometry)
    }

    fn linear_published(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: LinearGeometry,
    ) -> FloatTensor<Self> {
        tracked!(LinearBackward, B::linear_published, [x, weight, bias], geometry)
    }

    fn gated(
        gate: FloatTensor<Self>,
        x: FloatTensor<Self>,
        shape: [usize; 2],
    ) -> FloatTensor<Self> {
        tracked!(GatedBackward, B::gated, [gate, x], shape)
    }

    fn norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        shape: [usize; 2],
    ) -> FloatTensor<Self> {
        tracked!(NormBackward, B::norm, [x, weight, bias], shape)
    }

    fn window_attention(
        qkv: FloatTensor<Self>,
        table: FloatTensor<Self>,
        geometry: WindowGeometry,
    ) -> FloatTensor<Self> {
        tracked!(WindowAttentionBackward, B::window_attention, [qkv, table], geometry)
    }

    fn mutual_attention(qkv: FloatTensor<Self>, geometry: WindowGeometry) -> FloatTensor<Self> {
        tracked!(MutualAttentionBackward, B::mutual_attention, [qkv], geometry)
    }
}
