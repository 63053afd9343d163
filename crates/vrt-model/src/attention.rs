//! Attention in windows: among all tokens, and between two frames (section 3.2).

use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData};
use vrt_kernels::{WindowGeometry, fused, ops};

use crate::layers::Linear;
use crate::parameters::{Builder, Initial};
use crate::positions::SineCode;

/// Sizes of an attention.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttentionShape {
    pub(crate) channels: usize,
    pub(crate) heads: usize,
    /// Frames, rows, columns of a full window.
    pub(crate) window: [usize; 3],
    /// Whether the two frames of a window attend to each other as well.
    pub(crate) mutual: bool,
}

/// Multi-head attention inside windows.
#[derive(Module, Debug)]
pub(crate) struct Attention {
    pub(crate) relative_position_bias_table: Param<Tensor<2>>,
    pub(crate) qkv_self: Linear,
    qkv_mut: Option<Linear>,
    pub(crate) proj: Linear,
    #[module(skip)]
    shape: AttentionShape,
    /// Of the places that mutual attention adds.
    #[module(skip)]
    code: SineCode,
}

/// The windows that a map of some size is cut into, and the map's size when they fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Windows {
    /// Frames, rows, columns of a window: never more than the map has.
    pub(crate) window: [usize; 3],
    /// Cyclic shift along each axis.
    pub(crate) shift: [usize; 3],
    /// The map's size, padded to whole windows.
    pub(crate) padded: [usize; 3],
}

impl Windows {
    /// Windows of at most `full` size on a map of `size`, shifted by half of them if `shifted`;
    /// an axis that one window covers is not shifted.
    pub(crate) fn new(size: [usize; 3], full: [usize; 3], shifted: bool) -> Self {
        let window = std::array::from_fn(|i| full[i].min(size[i]));
        let shift =
            std::array::from_fn(|i| if shifted && size[i] > full[i] { full[i] / 2 } else { 0 });
        let padded = std::array::from_fn(|i| size[i].next_multiple_of(window[i]));
        Self { window, shift, padded }
    }
}

impl Attention {
    /// `code` may be that of other layers.
    pub(crate) fn new(b: &mut Builder<'_>, shape: AttentionShape, code: SineCode) -> Self {
        let AttentionShape { channels, heads, window, mutual } = shape;
        let table = [window.iter().map(|w| 2 * w - 1).product(), heads];
        let name = "relative_position_bias_table";
        Self {
            relative_position_bias_table: b.tensor(name, table, Initial::Position),
            qkv_self: Linear::new(b, "qkv_self", channels, 3 * channels),
            qkv_mut: mutual.then(|| Linear::new(b, "qkv_mut", channels, 3 * channels)),
            proj: Linear::new(b, "proj", if mutual { 2 } else { 1 } * channels, channels),
            shape,
            code,
        }
    }

    /// What the tokens of a map `[b, d, h, w, c]` that is whole windows find; `proj` comes behind.
    pub(crate) fn find(&self, x: Tensor<5>, windows: Windows) -> Tensor<5> {
        let geometry = self.geometry(&x, windows);
        let table = self.relative_position_bias_table.val();
        let Some(qkv_mut) = &self.qkv_mut else {
            let qkv = self.qkv_self.forward(x);
            return ops::window_attention(qkv, table, geometry);
        };
        let placed = self.with_positions(x.clone(), windows);
        let mutual = ops::mutual_attention(qkv_mut.forward(placed), geometry);
        let own = ops::window_attention(self.qkv_self.forward(x), table, geometry);
        Tensor::cat(vec![mutual, own], 4)
    }

    /// The windows of `x` once it is completed to whole ones.
    pub(crate) fn geometry(&self, x: &Tensor<5>, windows: Windows) -> WindowGeometry {
        let [batch, .., channels] = x.dims();
        WindowGeometry {
            batch,
            map: windows.padded,
            window: windows.window,
            full_window: self.shape.window,
            shift: windows.shift,
            heads: self.shape.heads,
            channels,
        }
    }

    /// What mutual attention has of its own, as fused operations take it.
    pub(crate) fn mutual(&self, windows: Windows) -> Option<(fused::Layer, Arc<[f32]>)> {
        let ([_, h, w], c) = (windows.window, self.shape.channels);
        Some((self.qkv_mut.as_ref()?.layer(), self.code.of([h, w, c])))
    }

    /// Adds the sine code of each token's place in its window.
    fn with_positions(&self, x: Tensor<5>, windows: Windows) -> Tensor<5> {
        let [b, d, h, w, c] = x.dims();
        let [_, wh, ww] = windows.window;
        let [_, sh, sw] = windows.shift;
        let code = self.code.of([wh, ww, c]);
        // The map is not rolled: the code is, the other way.
        let rolled: Vec<f32> = (0..wh * ww)
            .flat_map(|i| {
                let row = (i / ww + wh - sh % wh) % wh;
                let column = (i % ww + ww - sw % ww) % ww;
                let start = (row * ww + column) * c;
                code[start..start + c].iter().copied()
            })
            .collect();
        let code = TensorData::new(rolled, [1, 1, wh, 1, ww, c]);
        let code = Tensor::<6>::from_data(code, &x.device());
        let x: Tensor<6> = x.reshape([b * d, h / wh, wh, w / ww, ww, c]);
        (x + code).reshape([b, d, h, w, c])
    }
}

#[cfg(test)]
impl Attention {
    /// Attention on a map `[b, d, h, w, c]` that is whole windows.
    pub(crate) fn forward(&self, x: Tensor<5>, windows: Windows) -> Tensor<5> {
        self.proj.forward(self.find(x, windows))
    }

    /// The same on a batch of windows `[n, d, h, w, c]`, with any additive mask
    /// `[n, tokens, tokens]`: through the composed attention, as kernels know regions only.
    pub(crate) fn masked(&self, x: Tensor<5>, windows: Windows, mask: Tensor<3>) -> Tensor<5> {
        use vrt_kernels::composed::{attend, relative_bias, split_heads};
        let geometry = self.geometry(&x, windows);
        let [n, d, h, w, c] = x.dims();
        let tokens = d * h * w;
        let heads_of = |qkv: Tensor<5>| split_heads(qkv.reshape([n, tokens, 3 * c]), &geometry);
        let join = |out: Tensor<4>| out.swap_dims(1, 2).reshape([n, d, h, w, c]);
        let bias = relative_bias(self.relative_position_bias_table.val(), &geometry);
        let [q, k, v] = heads_of(self.qkv_self.forward(x.clone()));
        let own = join(attend(q, k, v, Some(bias), Some(mask.clone())));
        let Some(qkv_mut) = &self.qkv_mut else { return self.proj.forward(own) };
        let half = tokens / 2;
        let mask = mask.slice([0..n, 0..half, 0..half]);
        let parts = heads_of(qkv_mut.forward(self.with_positions(x, windows)));
        let [[q1, q2], [k1, k2], [v1, v2]] =
            parts.map(|part| [part.clone().narrow(2, 0, half), part.narrow(2, half, half)]);
        let first = attend(q2, k1, v1, None, Some(mask.clone()));
        let second = attend(q1, k2, v2, None, Some(mask));
        let mutual = join(Tensor::cat(vec![first, second], 2));
        self.proj.forward(Tensor::cat(vec![mutual, own], 4))
    }
}
