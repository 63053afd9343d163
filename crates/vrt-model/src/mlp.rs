//! The gated MLP: `fc2(GELU(fc11 x) · fc12 x)`.

use burn::module::Module;
use burn::tensor::Tensor;
use vrt_kernels::{fused, ops};

use crate::layers::{Linear, rows};
use crate::parameters::Builder;

/// GEGLU with an exact (erf) GELU.
#[derive(Module, Debug)]
pub(crate) struct GatedMlp {
    fc11: Linear,
    fc12: Linear,
    pub(crate) fc2: Linear,
}

impl GatedMlp {
    pub(crate) fn new(b: &mut Builder<'_>, name: &str, sizes: [usize; 3]) -> Self {
        let [inputs, hidden, outputs] = sizes;
        b.part(name, |b| Self {
            fc11: Linear::new(b, "fc11", inputs, hidden),
            fc12: Linear::new(b, "fc12", inputs, hidden),
            fc2: Linear::new(b, "fc2", hidden, outputs),
        })
    }

    /// The parameters, as fused operations take them.
    pub(crate) fn layers(&self) -> fused::Mlp {
        fused::Mlp { fc11: self.fc11.layer(), fc12: self.fc12.layer(), fc2: self.fc2.layer() }
    }

    /// Hidden channels.
    pub(crate) fn hidden(&self) -> usize {
        self.fc2.inputs()
    }

    /// The MLP of the last axis of all `parts`, one's channels behind the other's.
    pub(crate) fn forward_joined<const D: usize>(&self, parts: Vec<Tensor<D>>) -> Tensor<D> {
        if fused::serves(&parts[0].device()) {
            return fused::gated_mlp(parts, &self.layers());
        }
        self.forward(Tensor::cat(parts, D - 1))
    }

    pub(crate) fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.fc2.forward(self.widen(x))
    }

    /// `GELU(fc11 x) · fc12 x`; `fc2` comes behind.
    pub(crate) fn widen<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let mut shape = x.dims();
        let [gate, layer] = [&self.fc11, &self.fc12].map(|linear| {
            let fused::Layer { weight, bias, .. } = linear.layer();
            (weight, bias)
        });
        let y = ops::linear_gated(rows(x), gate, layer);
        [_, shape[D - 1]] = y.dims();
        y.reshape(shape)
    }
}
