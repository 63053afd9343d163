//! Weights of convolutions: from the published layout to the one that products want, and back.
//!
//! Published: `[out, in / groups, taps]`. Packed: `[groups, taps, in / groups, out / groups]`, so
//! that for each group `columns · packed` is the output, where a column holds the samples that
//! one output pixel sees, tap by tap.

use crate::aligned::Aligned;
use crate::element::Element;
use crate::level::Level;
use crate::parallel::{for_each_part, sum_parts};
use crate::product::Packed;

/// Sizes of a weight.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WeightSizes {
    pub(crate) groups: usize,
    /// Taps of the kernel, row-major.
    pub(crate) taps: usize,
    /// Input channels of a group.
    pub(crate) inputs: usize,
    /// Output channels of a group.
    pub(crate) outputs: usize,
}

impl WeightSizes {
    /// Values of the weight, in either layout.
    pub(crate) fn len(&self) -> usize {
        self.groups * self.group_len()
    }

    /// Values of a packed group.
    pub(crate) fn group_len(&self) -> usize {
        self.taps * self.inputs * self.outputs
    }

    /// Place of a value in the published layout.
    fn published(&self, group: usize, tap: usize, input: usize, output: usize) -> usize {
        ((group * self.outputs + output) * self.inputs + input) * self.taps + tap
    }

    /// The packed weight.
    pub(crate) fn pack(&self, published: &[f32]) -> Aligned<f32> {
        let mut packed = Aligned::passing(self.len());
        for_each_part(&mut packed, self.inputs * self.outputs, |index, block| {
            let (group, tap) = (index / self.taps, index % self.taps);
            for (input, row) in block.chunks_exact_mut(self.outputs).enumerate() {
                for (output, value) in row.iter_mut().enumerate() {
                    *value = published[self.published(group, tap, input, output)];
                }
            }
        });
        packed
    }

    /// The packed weight of the convolution that carries gradients back: inputs and outputs
    /// exchanged, the kernel turned by half a turn. For one group.
    pub(crate) fn pack_turned(&self, published: &[f32]) -> Aligned<f32> {
        let mut packed = Aligned::passing(self.len());
        for_each_part(&mut packed, self.inputs * self.outputs, |tap, block| {
            for (output, row) in block.chunks_exact_mut(self.inputs).enumerate() {
                for (input, value) in row.iter_mut().enumerate() {
                    *value = published[self.published(0, self.taps - 1 - tap, input, output)];
                }
            }
        });
        packed
    }

    /// A published weight of one group as products take it, for one call.
    pub(crate) fn packed_published<E: Element>(
        &self,
        level: Level,
        published: &[f32],
        bias: Option<&[f32]>,
    ) -> Packed<E> {
        self.packed(level, &self.pack(published), bias)
    }

    /// A packed weight of one group as products take it, for one call.
    pub(crate) fn packed<E: Element>(
        &self,
        level: Level,
        packed: &[f32],
        bias: Option<&[f32]>,
    ) -> Packed<E> {
        let sizes = [self.taps * self.inputs, self.outputs];
        Packed::matrix(level, &packed[..self.group_len()], sizes, bias)
    }

    /// Writes a packed weight in the published layout.
    pub(crate) fn unpack(&self, packed: &[f32], published: &mut [f32]) {
        for_each_part(published, self.inputs * self.taps, |out_channel, block| {
            let (group, output) = (out_channel / self.outputs, out_channel % self.outputs);
            for (i, value) in block.iter_mut().enumerate() {
                let (input, tap) = (i / self.taps, i % self.taps);
                let row = (group * self.taps + tap) * self.inputs + input;
                *value = packed[row * self.outputs + output];
            }
        });
    }
}

/// Pixels whose gradients are summed by one task.
const BIAS_PIXELS: usize = 1024;

/// The gradient of a bias: the sum of `grad_out`, `[pixels, channels]`, over pixels.
pub(crate) fn bias_gradient(grad_out: &[f32], grad_bias: &mut [f32]) {
    let channels = grad_bias.len();
    grad_bias.fill(0.0);
    let len = BIAS_PIXELS * channels;
    sum_parts(grad_bias, grad_out.len().div_ceil(len.max(1)), |part, sum| {
        let end = grad_out.len().min((part + 1) * len);
        for pixel in grad_out[part * len..end].chunks_exact(channels) {
            sum.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += value);
        }
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vrt_testing::Random;

    use super::*;

    proptest! {
        #[test]
        fn unpacking_is_the_inverse_of_packing(
            groups in 1_usize..4, taps in 1_usize..10, inputs in 1_usize..6, outputs in 1_usize..6,
        ) {
            let sizes = WeightSizes { groups, taps, inputs, outputs };
            let weight = Random::new(1).values(sizes.len(), 1.0);
            let mut back = vec![f32::NAN; sizes.len()];
            sizes.unpack(&sizes.pack(&weight), &mut back);
            prop_assert_eq!(back, weight);
        }
    }

    #[test]
    fn a_bias_collects_every_pixel() {
        let grad: Vec<f32> = (0..3 * 3000).map(|i| (i % 3) as f32).collect();
        let mut bias = [9.0; 3];
        bias_gradient(&grad, &mut bias);
        assert_eq!(bias, [0.0, 3000.0, 6000.0]);
    }
}
