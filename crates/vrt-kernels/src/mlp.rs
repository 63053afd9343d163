//! Gated MLP: `out = fc2(GELU(fc11 x) · fc12 x)`, a few rows at a time in the core's own cache.

use std::sync::Arc;

use crate::element::Element;
use crate::gate;
use crate::level::Level;
use crate::product::{FormKey, Packed, PackedForms};

pub(crate) use backward::{MlpBuffers, MlpSums, PackedMlpBackward};

mod backward;

/// Rows whose hidden values are held at a time: whole tiles of every level's products.
pub(crate) const MLP_ROWS: usize = 48;

/// A linear layer: weight `[outputs, inputs]` and bias `[outputs]`, as published.
#[derive(Clone, Copy, Debug)]
pub struct Affine<'a> {
    /// `[outputs, inputs]`
    pub weight: &'a [f32],
    /// `[outputs]`
    pub bias: &'a [f32],
    /// Where these values are kept packed; they may never be others.
    pub(crate) kept: Option<&'a PackedForms>,
}

impl<'a> Affine<'a> {
    /// A layer whose weight is packed in every call.
    pub fn new(weight: &'a [f32], bias: &'a [f32]) -> Self {
        Self { weight, bias, kept: None }
    }

    /// Panics unless the layer takes `inputs` values and makes `outputs`.
    pub(crate) fn check(&self, what: &str, [inputs, outputs]: [usize; 2]) {
        assert_eq!(
            [self.weight.len(), self.bias.len()],
            [inputs * outputs, outputs],
            "{what}: the layer does not take {inputs} values and make {outputs}"
        );
    }

    pub(crate) fn packed<E: Element>(&self, level: Level) -> Arc<Packed<E>> {
        self.packed_scaled(level, 0, 1.0)
    }

    /// The layer with its first `outputs` outputs multiplied by `factor`.
    pub(crate) fn packed_scaled<E: Element>(
        &self,
        level: Level,
        outputs: usize,
        factor: f32,
    ) -> Arc<Packed<E>> {
        let scaled = (outputs, factor);
        let pack = || Packed::published(level, self.weight, self.bias, scaled);
        match self.kept {
            Some(kept) => kept.get(FormKey { level, scaled }, pack),
            None => Arc::new(pack()),
        }
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
pub(crate) struct PackedMlp<E> {
    level: Level,
    fc11: Arc<Packed<E>>,
    fc12: Arc<Packed<E>>,
    fc2: Arc<Packed<E>>,
    hidden: usize,
}

impl<E: Element> PackedMlp<E> {
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

    /// Elements of the buffer that [`Self::forward`] needs for so many rows.
    pub(crate) fn rounded_len(&self, rows: usize) -> usize {
        self.fc11.rounded_len(rows).max(self.fc2.rounded_len(rows))
    }

    /// Writes the MLP of at most [`MLP_ROWS`] rows to `out`, `[rows, outputs]`.
    pub(crate) fn forward(
        &self,
        rows: &[f32],
        scratch: &mut [f32],
        rounded: &mut [E],
        out: &mut [f32],
    ) {
        let len = out.len() / self.fc2.columns() * self.hidden;
        let (gates, rest) = scratch.split_at_mut(len);
        let (values, rest) = rest.split_at_mut(len);
        let gated = &mut rest[..len];
        let seen = self.fc11.rows(rows, rounded);
        self.fc11.apply_rows(seen, gates);
        self.fc12.apply_rows(seen, values);
        gate::forward(self.level, gates, values, gated);
        self.fc2.apply_dense(gated, rounded, out);
    }
}
