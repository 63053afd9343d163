//! The kernels on Burn's processor backend.

use burn::backend::Flex;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{Shape, TensorData};
use burn_flex::FlexTensor;

use super::{Gradients, VideoOps, VideoOpsBackward, Wanted};
use crate::conv::ConvGeometry;
use crate::deform_conv::DeformGeometry;
use crate::warp::{WarpGeometry, WarpMode, warp, warp_backward};
use crate::window_attention::WindowGeometry;

/// A tensor whose values lie one behind the other.
struct Input(FlexTensor);

impl Input {
    fn new(tensor: FlexTensor) -> Self {
        let contiguous = tensor.as_slice::<f32>().is_some();
        Self(if contiguous {
            tensor
        } else {
            tensor.to_contiguous()
        })
    }

    fn values(&self) -> &[f32] {
        self.0.as_slice().unwrap_or_else(|| {
            panic!(
                "the kernels compute in f32, this tensor holds {:?}",
                self.0.dtype()
            )
        })
    }

    fn sizes<const D: usize>(&self) -> [usize; D] {
        self.0.layout().shape().dims()
    }

    /// Room for a gradient, where one is wanted.
    fn gradient(&self, wanted: bool) -> Option<Vec<f32>> {
        wanted.then(|| vec![0.0; self.values().len()])
    }

    /// A gradient as a tensor of this shape.
    fn like(&self, values: Option<Vec<f32>>) -> Option<FlexTensor> {
        let shape = self.0.layout().shape().clone();
        values.map(|values| FlexTensor::from_data(TensorData::new(values, shape)))
    }
}

/// A tensor of `shape` that `fill` writes.
fn filled<const D: usize>(shape: [usize; D], fill: impl FnOnce(&mut [f32])) -> FlexTensor {
    let mut values = vec![0.0; shape.iter().product()];
    fill(&mut values);
    FlexTensor::from_data(TensorData::new(values, Shape::new(shape)))
}

fn warp_geometry(x: &Input, mode: WarpMode) -> WarpGeometry {
    let [batch, height, width, channels] = x.sizes();
    WarpGeometry {
        batch,
        height,
        width,
        channels,
        mode,
    }
}

impl VideoOps for Flex {
    fn warp(x: FloatTensor<Self>, flow: FloatTensor<Self>, mode: WarpMode) -> FloatTensor<Self> {
        let (x, flow) = (Input::new(x), Input::new(flow));
        let geometry = warp_geometry(&x, mode);
        let WarpGeometry {
            batch,
            height,
            width,
            ..
        } = geometry;
        filled([batch, height, width, geometry.out_channels()], |out| {
            warp(&geometry, x.values(), flow.values(), out);
        })
    }

    fn deform_conv(
        _x: FloatTensor<Self>,
        _offset: FloatTensor<Self>,
        _mask: FloatTensor<Self>,
        _weight: FloatTensor<Self>,
        _bias: FloatTensor<Self>,
        _geometry: DeformGeometry,
    ) -> FloatTensor<Self> {
        unreachable!()
    }

    fn conv2d_channels_last(
        _x: FloatTensor<Self>,
        _weight: FloatTensor<Self>,
        _bias: FloatTensor<Self>,
        _geometry: ConvGeometry,
    ) -> FloatTensor<Self> {
        unreachable!()
    }

    fn window_attention(
        _qkv: FloatTensor<Self>,
        _table: FloatTensor<Self>,
        _geometry: WindowGeometry,
    ) -> FloatTensor<Self> {
        unreachable!()
    }

    fn mutual_attention(_qkv: FloatTensor<Self>, _geometry: WindowGeometry) -> FloatTensor<Self> {
        unreachable!()
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
        _inputs: [FloatTensor<Self>; 5],
        _grad: FloatTensor<Self>,
        _geometry: DeformGeometry,
        _wanted: Wanted<5>,
    ) -> Gradients<Self, 5> {
        unreachable!()
    }

    fn conv2d_channels_last_backward(
        _inputs: [FloatTensor<Self>; 3],
        _grad: FloatTensor<Self>,
        _geometry: ConvGeometry,
        _wanted: Wanted<3>,
    ) -> Gradients<Self, 3> {
        unreachable!()
    }

    fn window_attention_backward(
        _inputs: [FloatTensor<Self>; 2],
        _grad: FloatTensor<Self>,
        _geometry: WindowGeometry,
        _wanted: Wanted<2>,
    ) -> Gradients<Self, 2> {
        unreachable!()
    }

    fn mutual_attention_backward(
        _inputs: [FloatTensor<Self>; 1],
        _grad: FloatTensor<Self>,
        _geometry: WindowGeometry,
        _wanted: Wanted<1>,
    ) -> Gradients<Self, 1> {
        unreachable!()
    }
}
