//! Gated MLP: `out = fc2(GELU(fc11 x) · fc12 x)`, a few rows at a time in the core's own cache.

use crate::gate;
use crate::level::Level;
use crate::product::{Packed, Product, Rows, Start, multiply};

/// Rows whose hidden values are held at a time: whole tiles of every level's products.
pub(crate) const MLP_ROWS: usize = 48;

/// A linear layer: weight `[outputs, inputs]` and bias `[outputs]`, as published.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a> {
    /// `[outputs, inputs]`
    pub weight: &'a [f32],
    /// `[outputs]`
    pub bias: &'a [f32],
}

impl Affine<'_> {
    /// Panics unless the layer takes `inputs` values and makes `outputs`.
    pub(crate) fn check(&self, what: &str, [inputs, outputs]: [usize; 2]) {
        assert_eq!(
            [self.weight.len(), self.bias.len()],
            [inputs * outputs, outputs],
            "{what}: the layer does not take {inputs} values and make {outputs}"
        );
    }

    pub(crate) fn packed(&self, level: Level) -> Packed {
        Packed::published(level, self.weight, self.bias)
    }
}

/// The three layers of a gated MLP.
#[derive(Clone, Copy, Debug)]
pub struct MlpWeights<'a> {
    /// What is gated by GELU: inputs to hidden values.
    pub fc11: Affine<'a>,
    /// What it is multiplied with: inputs to hidden values.
    pub fc12: Affine<'a>,
    /// Hidden values to outputs.
    pub fc2: Affine<'a>,
}

impl MlpWeights<'_> {
    /// Panics unless the layers have these sizes.
    pub(crate) fn check(&self, what: &str, [inputs, hidden, outputs]: [usize; 3]) {
        self.fc11.check(what, [inputs, hidden]);
        self.fc12.check(what, [inputs, hidden]);
        self.fc2.check(what, [hidden, outputs]);
    }
}

/// A gated MLP ready for many rows.
#[derive(Debug)]
pub(crate) struct PackedMlp {
    level: Level,
    fc11: Packed,
    fc12: Packed,
    fc2: Packed,
    hidden: usize,
}

impl PackedMlp {
    pub(crate) fn new(level: Level, weights: &MlpWeights<'_>) -> Self {
        let MlpWeights { fc11, fc12, fc2 } = weights;
        let hidden = fc11.bias.len();
        let [fc11, fc12, fc2] = [fc11, fc12, fc2].map(|layer| layer.packed(level));
        Self { level, fc11, fc12, fc2, hidden }
    }

    /// Values of the buffer that [`Self::forward`] needs.
    pub(crate) fn scratch_len(&self) -> usize {
        3 * MLP_ROWS * self.hidden
    }

    /// Writes the MLP of at most [`MLP_ROWS`] rows to `out`, `[rows, outputs]`.
    pub(crate) fn forward(&self, rows: Rows<'_>, scratch: &mut [f32], out: &mut [f32]) {
        let (level, hidden, len) = (self.level, self.hidden, rows.count * self.hidden);
        let (gates, rest) = scratch.split_at_mut(len);
        let (values, rest) = rest.split_at_mut(len);
        let gated = &mut rest[..len];
        for (layer, out) in [(&self.fc11, &mut *gates), (&self.fc12, &mut *values)] {
            let product = Product { rows, right: layer.right(), start: Start::Bias };
            multiply(level, product, out, hidden);
        }
        gate::forward(level, gates, values, gated);
        let rows = Rows::dense(gated, [rows.count, hidden]);
        let stride = self.fc2.columns();
        multiply(level, Product { rows, right: self.fc2.right(), start: Start::Bias }, out, stride);
    }
}
