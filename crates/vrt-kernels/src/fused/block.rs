//! Whole attention blocks on tensors.

use std::sync::Arc;

use burn::tensor::Tensor;

use super::record::Operation;
use super::values::{Operand, Values, affine, plain};
use super::{Layer, Mlp, Norm};
use crate::block::MutualWeights;
use crate::block::{Block as Kernel, BlockGeometry, BlockValues, BlockWeights, Input};
use crate::mlp::MlpWeights;
use crate::parallel::zeros;
use crate::tensor::{filled, flex};

/// An attention block; see [`BlockWeights`].
#[derive(Clone, Debug)]
pub struct Block {
    /// Before attention.
    pub norm1: Norm,
    /// Queries, keys and values of self attention.
    pub qkv_self: Layer,
    /// `[(2·Wd−1)·(2·Wh−1)·(2·Ww−1), heads]`
    pub table: Tensor<2>,
    /// Queries, keys and values of mutual attention, and the code of the places of a frame of a
    /// window, `[Wh · Ww, channels]`.
    pub mutual: Option<(Layer, Arc<[f32]>)>,
    /// What attention found to channels.
    pub proj: Layer,
    /// Before the MLP.
    pub norm2: Norm,
    /// The MLP.
    pub mlp: Mlp,
    /// Factors on what attention and the MLP add, for each clip; empty for ones.
    pub branches: Vec<[f32; 2]>,
    /// Whether what attention found is kept for the backward pass, not found again.
    pub keeps_found: bool,
}

/// Inputs before those of mutual attention.
const WITHOUT_MUTUAL: usize = 16;

impl Block {
    fn inputs(&self, x: Tensor<5>) -> Vec<Operand> {
        let Mlp { fc11, fc12, fc2 } = &self.mlp;
        let mut inputs = vec![Operand::of(x)];
        inputs.extend(self.norm1.operands());
        inputs.extend(self.qkv_self.operands());
        inputs.push(Operand::of(self.table.clone()));
        inputs.extend(self.proj.operands());
        inputs.extend(self.norm2.operands());
        inputs.extend([fc11, fc12, fc2].into_iter().flat_map(Layer::operands));
        inputs.extend(self.mutual.iter().flat_map(|(qkv, _)| qkv.operands()));
        inputs
    }
}

/// The parameters among a block's inputs, and the code of places where there is one.
fn weights<'a>(inputs: &'a [Values], positions: Option<&'a [f32]>) -> BlockWeights<'a> {
    let at = |i: usize| affine(&inputs[i..]);
    BlockWeights {
        norm1: at(1),
        qkv_self: at(3),
        table: inputs[5].get(),
        mutual: positions.map(|positions| MutualWeights { qkv: at(WITHOUT_MUTUAL), positions }),
        proj: at(6),
        norm2: at(8),
        mlp: MlpWeights { fc11: at(10), fc12: at(12), fc2: at(14) },
    }
}

/// An attention block: `x += attention(norm(x))`, `x += mlp(norm(x))`; see [`crate::block`].
///
/// # Panics
///
/// Panics if the sizes of `x`, `[b, d, h, w, c]`, and of the parameters are not those of
/// `geometry`, or the device is not [served](super::serves).
pub fn block(x: Tensor<5>, block: Block, geometry: &BlockGeometry) -> Tensor<5> {
    let shape = x.dims();
    let inputs = block.inputs(x);
    let Block { mutual, branches, keeps_found, .. } = block;
    let positions = mutual.map(|(_, positions)| positions);
    if !inputs.iter().any(Operand::is_tracked) {
        return restore(inputs, positions.as_deref(), (geometry, shape));
    }
    let (geometry, has_mutual) = (*geometry, positions.is_some());
    let (code, factors) = (positions.clone(), branches.clone());
    let operation = Operation {
        forward: move |inputs: &[Values], tracked: bool| {
            let weights = weights(inputs, code.as_deref());
            let block = Kernel { geometry: &geometry, weights: &weights, branches: &factors };
            let attended = geometry.attended(has_mutual) * geometry.len() / shape[4];
            let mut found = zeros(if tracked && keeps_found { attended } else { 0 });
            let x = Input::Values(inputs[0].get());
            (filled(shape, |out| block.forward(x, out, &mut found)), found)
        },
        backward: move |inputs: &[Values], found: &Vec<f32>, grad: &[f32], wanted: &[bool]| {
            let weights = weights(inputs, positions.as_deref());
            let block = Kernel { geometry: &geometry, weights: &weights, branches: &branches };
            let x = inputs[0].get();
            let mut grad_x = zeros(x.len());
            let grads = block.backward(BlockValues { x, found, grad }, &mut grad_x);
            let all = std::iter::once(grad_x).chain(grads).zip(wanted);
            all.map(|(grad, wanted)| wanted.then_some(grad)).collect()
        },
    };
    operation.run(inputs)
}

/// The block without gradients.
fn restore(
    inputs: Vec<Operand>,
    positions: Option<&[f32]>,
    (geometry, shape): (&BlockGeometry, [usize; 5]),
) -> Tensor<5> {
    let mut values: Vec<Values> = inputs.iter().map(Operand::values).collect();
    drop(inputs);
    let x = values.remove(0);
    // Parameters keep their places.
    values.insert(0, Values::new(flex(Vec::new(), [0])));
    let weights = weights(&values, positions);
    let block = Kernel { geometry, weights: &weights, branches: &[] };
    // In place, unless somebody else holds the values, or they are part of something larger.
    if x.tensor.is_unique() && x.tensor.storage::<f32>().len() == geometry.len() {
        let mut x = x.tensor;
        block.forward(Input::Output, x.storage_mut(), &mut []);
        return plain(x);
    }
    plain(filled(shape, |out| block.forward(Input::Values(x.get()), out, &mut [])))
}
