//! Attention block and groups of blocks: TMSA, TMSAG, RTMSA (section 3.2).

use burn::module::Module;
use burn::tensor::Tensor;
use vrt_kernels::block::BlockGeometry;
use vrt_kernels::fused;

use crate::attention::{Attention, AttentionShape, Windows};
use crate::layers::{Linear, Norm};
use crate::mlp::GatedMlp;
use crate::parameters::Builder;
use crate::pass::Pass;
use crate::positions::SineCode;

/// Sizes of a group of blocks.
#[derive(Clone, Debug)]
pub(crate) struct GroupShape {
    pub(crate) attention: AttentionShape,
    /// Hidden channels of the MLP.
    pub(crate) hidden: usize,
    /// Chance of each block's branches to be dropped in training; one entry a block.
    pub(crate) drop_path: Vec<f32>,
}

/// Attention and MLP, each with its norm and residual.
#[derive(Module, Debug)]
struct Block {
    norm1: Norm,
    attn: Attention,
    norm2: Norm,
    mlp: GatedMlp,
    #[module(skip)]
    shifted: bool,
    #[module(skip)]
    window: [usize; 3],
    #[module(skip)]
    drop_path: f32,
    /// Whether training keeps what attention found, instead of finding it again.
    #[module(skip)]
    keeps_found: bool,
}

/// Blocks one after the other, every second one with shifted windows.
#[derive(Module, Debug)]
pub(crate) struct Group {
    blocks: Vec<Block>,
}

/// A group, a linear layer and a residual around both.
#[derive(Module, Debug)]
pub(crate) struct ResidualGroup {
    residual_group: Group,
    linear: Linear,
}

impl Block {
    fn new(b: &mut Builder<'_>, index: usize, shape: &GroupShape, code: &SineCode) -> Self {
        let channels = shape.attention.channels;
        b.part(&format!("blocks.{index}"), |b| Self {
            norm1: Norm::new(b, "norm1", channels),
            attn: b.part("attn", |b| Attention::new(b, shape.attention, code.clone())),
            norm2: Norm::new(b, "norm2", channels),
            mlp: GatedMlp::new(b, "mlp", [channels, shape.hidden, channels]),
            shifted: index % 2 == 1,
            window: shape.attention.window,
            drop_path: shape.drop_path[index],
            keeps_found: false,
        })
    }

    fn forward(&self, x: Tensor<5>, pass: &mut Pass<'_>) -> Tensor<5> {
        let [_, d, h, w, _] = x.dims();
        let windows = Windows::new([d, h, w], self.window, self.shifted);
        if fused::serves(&x.device()) {
            let branches = pass.branches(x.dims()[0], self.drop_path);
            return self.fused(x, windows, branches);
        }
        let seen = pad(self.norm1.forward(x.clone()), windows.padded);
        let found = crop(self.attn.find(seen, windows), [d, h, w]);
        let x = self.add(x, &self.attn.proj, found, pass);
        let hidden = self.mlp.widen(self.norm2.forward(x.clone()));
        self.add(x, &self.mlp.fc2, hidden, pass)
    }

    /// `x` and the branch that ends with a layer of `y`.
    fn add(&self, x: Tensor<5>, last: &Linear, y: Tensor<5>, pass: &mut Pass<'_>) -> Tensor<5> {
        if pass.drops(self.drop_path) {
            return x + pass.drop_path(last.forward(y), self.drop_path);
        }
        last.forward_onto(y, x)
    }

    /// The whole block at once.
    fn fused(&self, x: Tensor<5>, windows: Windows, branches: Vec<[f32; 2]>) -> Tensor<5> {
        let [_, d, h, w, _] = x.dims();
        let geometry = BlockGeometry {
            windows: self.attn.geometry(&x, windows),
            size: [d, h, w],
            hidden: self.mlp.hidden(),
        };
        let parameters = fused::Block {
            norm1: self.norm1.weights(),
            qkv_self: self.attn.qkv_self.layer(),
            table: self.attn.relative_position_bias_table.val(),
            mutual: self.attn.mutual(windows),
            proj: self.attn.proj.layer(),
            norm2: self.norm2.weights(),
            mlp: self.mlp.layers(),
            branches,
            keeps_found: self.keeps_found,
        };
        fused::block(x, parameters, &geometry)
    }
}

impl Group {
    pub(crate) fn new(b: &mut Builder<'_>, shape: &GroupShape) -> Self {
        let code = SineCode::default();
        let blocks = (0..shape.drop_path.len()).map(|i| Block::new(b, i, shape, &code));
        Self { blocks: blocks.collect() }
    }

    /// Whether training keeps what attention finds for the backward pass.
    pub(crate) fn keep_attention(&mut self, keep: bool) {
        self.blocks.iter_mut().for_each(|block| block.keeps_found = keep);
    }

    /// `[b, d, h, w, c]` → the same.
    pub(crate) fn forward(&self, x: Tensor<5>, pass: &mut Pass<'_>) -> Tensor<5> {
        self.blocks.iter().fold(x, |x, block| block.forward(x, pass))
    }
}

impl ResidualGroup {
    pub(crate) fn new(b: &mut Builder<'_>, shape: &GroupShape) -> Self {
        let channels = shape.attention.channels;
        Self {
            residual_group: b.part("residual_group", |b| Group::new(b, shape)),
            linear: Linear::new(b, "linear", channels, channels),
        }
    }

    /// Whether training keeps what attention finds for the backward pass.
    pub(crate) fn keep_attention(&mut self, keep: bool) {
        self.residual_group.keep_attention(keep);
    }

    /// `[b, d, h, w, c]` → the same.
    pub(crate) fn forward(&self, x: Tensor<5>, pass: &mut Pass<'_>) -> Tensor<5> {
        let y = self.residual_group.forward(x.clone(), pass);
        self.linear.forward_onto(y, x)
    }
}

/// Adds zeros behind the last frame, row and column.
fn pad(x: Tensor<5>, size: [usize; 3]) -> Tensor<5> {
    let [b, d, h, w, c] = x.dims();
    if [d, h, w] == size {
        return x;
    }
    let [pd, ph, pw] = size;
    Tensor::zeros([b, pd, ph, pw, c], &x.device()).slice_assign([0..b, 0..d, 0..h, 0..w, 0..c], x)
}

/// The inverse of [`pad`].
fn crop(x: Tensor<5>, size: [usize; 3]) -> Tensor<5> {
    let [b, d, h, w, c] = x.dims();
    if [d, h, w] == size {
        return x;
    }
    x.slice([0..b, 0..size[0], 0..size[1], 0..size[2], 0..c])
}
