//! The kernels on Burn's processor backend.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn_flex::FlexTensor;

use super::{Gradients, VideoOps, VideoOpsBackward, Wanted};
use crate::conv::{ConvGeometry, ConvGradients, ConvWeights, conv2d, conv2d_backward};
use crate::deform_conv::{
    DeformGeometry, DeformGradients, DeformInputs, Guide, GuidedGeometry, deform_conv,
    deform_conv_backward, deform_conv_guided, deform_conv_guided_backward,
};
use crate::gate::{gated, gated_backward};
use crate::linear::{LinearGeometry, LinearGradients, linear, linear_backward};
use crate::mlp::Affine;
use crate::parallel::zeros;
use crate::tensor::{filled, flex, in_order};
use crate::tokens;
use crate::warp::{WarpGeometry, WarpMode, warp, warp_backward};
use crate::window_attention::{
    Attention, WindowGeometry, WindowGradients, window_attention, window_attention_backward,
};

/// A tensor whose values lie one behind the other.
struct Input(FlexTensor);

impl Input {
    fn new(tensor: FlexTensor) -> Self {
        Self(in_order(tensor))
    }

    fn values(&self) -> &[f32] {
        self.0.as_slice().unwrap_or_else(|| {
            panic!("the kernels compute in f32, this tensor holds {:?}", self.0.dtype())
        })
    }

    fn sizes<const D: usize>(&self) -> [usize; D] {
        self.0.layout().shape().dims()
    }

    /// Room for a gradient, where one is wanted.
    fn gradient(&self, wanted: bool) -> Option<Vec<f32>> {
        wanted.then(|| zeros(self.values().len()))
    }

    /// A gradient as a tensor of this shape.
    fn like(&self, values: Option<Vec<f32>>) -> Option<FlexTensor> {
        let shape = self.0.layout().shape().clone();
        values.map(|values| flex(values, shape))
    }
}

/// Gradients as tensors of the shapes of what they belong to.
fn tensors<const N: usize>(
    inputs: [&Input; N],
    found: [Option<Vec<f32>>; N],
) -> Gradients<Flex, N> {
    let mut found = found.into_iter();
    inputs.map(|input| input.like(found.next().flatten()))
}

fn deform_inputs([x, offset, mask, weight]: &[Input; 4]) -> DeformInputs<'_> {
    let [x, offset, mask, weight] = [x, offset, mask, weight].map(Input::values);
    DeformInputs { x, offset, mask, weight }
}

/// Flows to neighbours, which lie one behind the other.
fn parts<'a>(flows: &'a Input, geometry: &GuidedGeometry) -> Vec<&'a [f32]> {
    let values = flows.values();
    let len = values.len() / geometry.flows.max(1);
    values.chunks_exact(len.max(1)).collect()
}

fn attended(qkv: FlexTensor, attention: Attention<'_>, geometry: &WindowGeometry) -> FlexTensor {
    let qkv = Input::new(qkv);
    let [d, h, w] = geometry.map;
    filled([geometry.batch, d, h, w, geometry.channels], |out| {
        window_attention(geometry, attention, qkv.values(), out);
    })
}

fn warp_geometry(x: &Input, mode: WarpMode) -> WarpGeometry {
    let [batch, height, width, channels] = x.sizes();
    WarpGeometry { batch, height, width, channels, mode }
}

impl VideoOps for Flex {
    fn warp(x: FloatTensor<Self>, flow: FloatTensor<Self>, mode: WarpMode) -> FloatTensor<Self> {
        let (x, flow) = (Input::new(x), Input::new(flow));
        let geometry = warp_geometry(&x, mode);
        let WarpGeometry { batch, height, width, .. } = geometry;
        filled([batch, height, width, geometry.out_channels()], |out| {
            warp(&geometry, x.values(), flow.values(), out);
        })
    }

    fn deform_conv(
        x: FloatTensor<Self>,
        offset: FloatTensor<Self>,
        mask: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: DeformGeometry,
    ) -> FloatTensor<Self> {
        let inputs = [x, offset, mask, weight].map(Input::new);
        let bias = Input::new(bias);
        let shape =
            [geometry.batch, geometry.out_height(), geometry.out_width(), geometry.out_channels];
        filled(shape, |out| deform_conv(&geometry, deform_inputs(&inputs), bias.values(), out))
    }

    fn deform_conv_guided(
        x: FloatTensor<Self>,
        answers: FloatTensor<Self>,
        flows: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: GuidedGeometry,
    ) -> FloatTensor<Self> {
        let [x, answers, flows] = [x, answers, flows].map(Input::new);
        let [weight, bias] = [weight, bias].map(Input::new);
        let (g, max_offset) = (geometry.deform, geometry.max_offset);
        let flows = parts(&flows, &geometry);
        let guide = Guide { answers: answers.values(), flows: &flows, max_offset };
        let layer = [weight.values(), bias.values()];
        filled([g.batch, g.out_height(), g.out_width(), g.out_channels], |out| {
            deform_conv_guided(&g, x.values(), guide, layer, out);
        })
    }

    fn conv2d_channels_last(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: ConvGeometry,
    ) -> FloatTensor<Self> {
        let [x, weight, bias] = [x, weight, bias].map(Input::new);
        let shape =
            [geometry.batch, geometry.out_height(), geometry.out_width(), geometry.out_channels];
        filled(shape, |out| {
            let weights = ConvWeights { weight: weight.values(), bias: Some(bias.values()) };
            conv2d(&geometry, x.values(), weights, out);
        })
    }

    fn linear_published(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        geometry: LinearGeometry,
    ) -> FloatTensor<Self> {
        let [x, weight, bias] = [x, weight, bias].map(Input::new);
        filled([geometry.rows, geometry.outputs], |out| {
            linear(&geometry, x.values(), weight.values(), bias.values(), out);
        })
    }

    fn gated(
        gate: FloatTensor<Self>,
        x: FloatTensor<Self>,
        shape: [usize; 2],
    ) -> FloatTensor<Self> {
        let [gate, x] = [gate, x].map(Input::new);
        filled(shape, |out| gated(gate.values(), x.values(), out))
    }

    fn norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        shape: [usize; 2],
    ) -> FloatTensor<Self> {
        let [x, weight, bias] = [x, weight, bias].map(Input::new);
        let affine = Affine::new(weight.values(), bias.values());
        filled(shape, |out| tokens::norm(affine, x.values(), out))
    }

    fn window_attention(
        qkv: FloatTensor<Self>,
        table: FloatTensor<Self>,
        geometry: WindowGeometry,
    ) -> FloatTensor<Self> {
        let table = Input::new(table);
        attended(qkv, Attention::SelfBiased { table: table.values() }, &geometry)
    }

    fn mutual_attention(qkv: FloatTensor<Self>, geometry: WindowGeometry) -> FloatTensor<Self> {
        attended(qkv, Attention::Mutual, &geometry)
    }
}

impl VideoOpsBackward for Flex {
    fn warp_backward(
        [x, flow]: [FloatTensor<Self>; 2],
        grad: FloatTensor<Self>,
        mode: WarpMode,
        [of_x, of_flow]: Wanted<2>,
    ) -> Gradients<Self, 2> {
        let (x, flow, grad) = (Input::new(x), Input::new(flow), Input::new(grad));
        let (mut grad_x, mut grad_flow) = (x.gradient(of_x), flow.gradient(of_flow));
        warp_backward(
            &warp_geometry(&x, mode),
            x.values(),
            flow.values(),
            grad.values(),
            grad_x.as_deref_mut(),
            grad_flow.as_deref_mut(),
        );
        [x.like(grad_x), flow.like(grad_flow)]
    }

    fn deform_conv_backward(
        [x, offset, mask, weight, bias]: [FloatTensor<Self>; 5],
        grad: FloatTensor<Self>,
        geometry: DeformGeometry,
        wanted: Wanted<5>,
    ) -> Gradients<Self, 5> {
        let inputs = [x, offset, mask, weight].map(Input::new);
        let (bias, grad) = (Input::new(bias), Input::new(grad));
        let [x, offset, mask, weight] = &inputs;
        let all = [x, offset, mask, weight, &bias];
        let mut found: [Option<Vec<f32>>; 5] = std::array::from_fn(|i| all[i].gradient(wanted[i]));
        let [x, offset, mask, weight, of_bias] = found.each_mut().map(Option::as_deref_mut);
        let slots = DeformGradients { x, offset, mask, weight, bias: of_bias };
        deform_conv_backward(&geometry, deform_inputs(&inputs), grad.values(), slots);
        tensors(all, found)
    }

    fn deform_conv_guided_backward(
        inputs: [FloatTensor<Self>; 5],
        grad: FloatTensor<Self>,
        geometry: GuidedGeometry,
        wanted: Wanted<5>,
    ) -> Gradients<Self, 5> {
        let inputs = inputs.map(Input::new);
        let grad = Input::new(grad);
        let [x, answers, flows, weight, _] = &inputs;
        let (answers, max_offset) = (answers.values(), geometry.max_offset);
        let guide = Guide { answers, flows: &parts(flows, &geometry), max_offset };
        let (x, weight, of_guide) = (x.values(), weight.values(), wanted[1] || wanted[2]);
        let (g, grad) = (&geometry.deform, grad.values());
        let found = deform_conv_guided_backward(g, x, guide, weight, grad, of_guide);
        let (of_answers, of_flows) =
            found.guide.map(|guide| (guide.answers, guide.flows.concat())).unzip();
        let all = [Some(found.x), of_answers, of_flows, Some(found.weight), Some(found.bias)];
        let mut wanted = wanted.into_iter();
        let all = all.map(|found| found.filter(|_| wanted.next() == Some(true)));
        tensors(inputs.each_ref(), all)
    }

    fn conv2d_channels_last_backward(
        inputs: [FloatTensor<Self>; 3],
        grad: FloatTensor<Self>,
        geometry: ConvGeometry,
        wanted: Wanted<3>,
    ) -> Gradients<Self, 3> {
        let inputs = inputs.map(Input::new);
        let grad = Input::new(grad);
        let mut found: [Option<Vec<f32>>; 3] =
            std::array::from_fn(|i| inputs[i].gradient(wanted[i]));
        let [x, weight, bias] = found.each_mut().map(Option::as_deref_mut);
        let slots = ConvGradients { x, weight, bias };
        let [x, weight, _] = &inputs;
        conv2d_backward(&geometry, x.values(), weight.values(), grad.values(), slots);
        tensors(inputs.each_ref(), found)
    }

    fn linear_published_backward(
        inputs: [FloatTensor<Self>; 3],
        grad: FloatTensor<Self>,
        geometry: LinearGeometry,
        wanted: Wanted<3>,
    ) -> Gradients<Self, 3> {
        let inputs = inputs.map(Input::new);
        let grad = Input::new(grad);
        let mut found: [Option<Vec<f32>>; 3] =
            std::array::from_fn(|i| inputs[i].gradient(wanted[i]));
        let [x, weight, bias] = found.each_mut().map(Option::as_deref_mut);
        let slots = LinearGradients { x, weight, bias };
        let [x, weight, _] = &inputs;
        linear_backward(&geometry, x.values(), weight.values(), grad.values(), slots);
        tensors(inputs.each_ref(), found)
    }

    fn gated_backward(
        inputs: [FloatTensor<Self>; 2],
        grad: FloatTensor<Self>,
        _shape: [usize; 2],
        [of_gate, of_x]: Wanted<2>,
    ) -> Gradients<Self, 2> {
        let [gate, x] = inputs.map(Input::new);
        let grad = Input::new(grad);
        let mut found = [gate.gradient(of_gate), x.gradient(of_x)];
        let [of_gate, of_x] = found.each_mut().map(Option::as_deref_mut);
        gated_backward(gate.values(), x.values(), grad.values(), of_gate, of_x);
        tensors([&gate, &x], found)
    }

    fn norm_backward(
        inputs: [FloatTensor<Self>; 3],
        grad: FloatTensor<Self>,
        _shape: [usize; 2],
        wanted: Wanted<3>,
    ) -> Gradients<Self, 3> {
        let inputs = inputs.map(Input::new);
        let [x, weight, bias] = inputs.each_ref().map(Input::values);
        let grad = Input::new(grad);
        let found = tokens::norm_backward(Affine::new(weight, bias), x, grad.values());
        let mut wanted = wanted.into_iter();
        let found = found.map(|found| (wanted.next() == Some(true)).then_some(found));
        tensors(inputs.each_ref(), found)
    }

    fn window_attention_backward(
        inputs: [FloatTensor<Self>; 2],
        grad: FloatTensor<Self>,
        geometry: WindowGeometry,
        [of_qkv, of_table]: Wanted<2>,
    ) -> Gradients<Self, 2> {
        let [qkv, table] = inputs.map(Input::new);
        let grad = Input::new(grad);
        let attention = Attention::SelfBiased { table: table.values() };
        let mut found = [qkv.gradient(of_qkv), table.gradient(of_table)];
        let [of_qkv, of_table] = found.each_mut().map(Option::as_deref_mut);
        let slots = WindowGradients { qkv: of_qkv, table: of_table };
        window_attention_backward(&geometry, attention, qkv.values(), grad.values(), slots);
        tensors([&qkv, &table], found)
    }

    fn mutual_attention_backward(
        [qkv]: [FloatTensor<Self>; 1],
        grad: FloatTensor<Self>,
        geometry: WindowGeometry,
        [of_qkv]: Wanted<1>,
    ) -> Gradients<Self, 1> {
        let (qkv, grad) = (Input::new(qkv), Input::new(grad));
        let mut found = [qkv.gradient(of_qkv)];
        let slots = WindowGradients { qkv: found[0].as_deref_mut(), table: None };
        let attention = Attention::Mutual;
        window_attention_backward(&geometry, attention, qkv.values(), grad.values(), slots);
        tensors([&qkv], found)
    }
}
