//! The gradients of a gated MLP, a few rows at a time; hidden values are computed again.

use super::{MlpWeights, PackedMlp};
use crate::element::Element;
use crate::gate;
use crate::level::Level;
use crate::outer::LayerSums;
use crate::product::Packed;

/// The gradients of a gated MLP's layers, to be added to.
#[derive(Debug)]
pub(crate) struct MlpSums<'a> {
    pub(crate) fc11: LayerSums<'a>,
    pub(crate) fc12: LayerSums<'a>,
    pub(crate) fc2: LayerSums<'a>,
}

/// A gated MLP ready for the gradients of many rows.
#[derive(Debug)]
pub(crate) struct PackedMlpBackward<E> {
    forward: PackedMlp<E>,
    // Weights as the gradients of outputs are multiplied with them.
    fc11: Packed<E>,
    fc12: Packed<E>,
    fc2: Packed<E>,
}

/// Buffers for some rows.
pub(crate) struct MlpBuffers<'a, E> {
    /// Hidden values, three times.
    pub(crate) hidden: &'a mut [f32],
    /// For products.
    pub(crate) rounded: &'a mut [E],
}

impl<E: Element> PackedMlpBackward<E> {
    /// Rows whose hidden values are held at a time: whole tiles of every level's products.
    pub(crate) const ROWS: usize = 96;

    pub(crate) fn new(level: Level, weights: &MlpWeights<'_>) -> Self {
        let MlpWeights { fc11, fc12, fc2 } = weights;
        let (hidden, outputs) = (fc11.bias.len(), fc2.bias.len());
        let inputs = fc11.weight.len() / hidden;
        let matrix = |weight: &[f32], sizes| Packed::matrix(level, weight, sizes, None);
        Self {
            forward: PackedMlp::new(level, weights),
            fc11: matrix(fc11.weight, [hidden, inputs]),
            fc12: matrix(fc12.weight, [hidden, inputs]),
            fc2: matrix(fc2.weight, [outputs, hidden]),
        }
    }

    /// Values of the buffer for [`Self::ROWS`] rows' hidden values.
    pub(crate) fn hidden_len(&self) -> usize {
        3 * Self::ROWS * self.forward.hidden
    }

    /// Elements of the buffer for products of [`Self::ROWS`] rows.
    pub(crate) fn rounded_len(&self) -> usize {
        let products = [&self.forward.fc11, &self.fc11, &self.fc2];
        products.into_iter().map(|packed| packed.rounded_len(Self::ROWS)).fold(0, usize::max)
    }

    /// Writes the gradient of at most [`Self::ROWS`] rows of `x` to `grad_x`, from `grad`, that of
    /// the output, and adds those of the layers to `sums`.
    pub(crate) fn rows(
        &self,
        [x, grad]: [&[f32]; 2],
        buffers: MlpBuffers<'_, E>,
        grad_x: &mut [f32],
        sums: &mut MlpSums<'_>,
    ) {
        let (level, MlpBuffers { hidden, rounded }) = (self.forward.level, buffers);
        let len = grad.len() / sums.fc2.bias.len() * self.forward.hidden;
        let (gates, rest) = hidden.split_at_mut(len);
        let (values, rest) = rest.split_at_mut(len);
        let slopes = &mut rest[..len];
        self.forward.fc11.apply_dense(x, rounded, gates);
        self.forward.fc12.apply_dense(x, rounded, values);
        self.fc2.apply_dense(grad, rounded, slopes);
        gate::exchange(level, gates, values, slopes);
        sums.fc2.add::<E>(level, grad, slopes);
        sums.fc11.add::<E>(level, gates, x);
        sums.fc12.add::<E>(level, values, x);
        self.fc11.apply_dense(gates, rounded, grad_x);
        self.fc12.add_dense(values, rounded, grad_x);
    }
}
