//! Means of clips.

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::record::Operation;
use super::serves;
use super::values::{Operand, Values};
use crate::parallel::{for_each_part, zeros};
use crate::tensor::filled;

/// Fewest pixels that one task adds up, and most tasks.
const PIXELS: usize = 1 << 12;
const TASKS: usize = 64;

/// The mean of each clip's channels: `[b, d, h, w, c]` → `[b, 1, 1, 1, c]`. Devices that are not
/// [served](serves) compose it of Burn's operations.
pub fn means(x: Tensor<5>) -> Tensor<5> {
    if !serves(&x.device()) {
        return x.mean_dims(&[1, 2, 3]);
    }
    let [batch, d, h, w, channels] = x.dims();
    let (shape, pixels) = ([batch, 1, 1, 1, channels], (d * h * w).max(1));
    let operation = Operation {
        forward: move |inputs: &[Values], _| {
            let clips = inputs[0].get().chunks_exact((pixels * channels).max(1));
            let out = filled(shape, |out| {
                out.fill(0.0);
                for (out, clip) in out.chunks_exact_mut(channels.max(1)).zip(clips) {
                    mean(clip, out);
                }
            });
            (out, ())
        },
        backward: move |inputs: &[Values], (): &(), grad: &[f32], wanted: &[bool]| {
            let gradient = || {
                let mut grad_x = zeros(inputs[0].get().len());
                for_each_part(&mut grad_x, pixels * channels, |clip, grad_x| {
                    let grad = &grad[clip * channels..][..channels];
                    for grad_x in grad_x.chunks_exact_mut(channels) {
                        grad_x.iter_mut().zip(grad).for_each(|(x, grad)| *x = grad / pixels as f32);
                    }
                });
                grad_x
            };
            vec![wanted[0].then(gradient)]
        },
    };
    operation.run(vec![Operand::of(x)])
}

/// The mean of pixels. Parts are added in order, so that it does not depend on the number of threads.
fn mean(clip: &[f32], out: &mut [f32]) {
    let channels = out.len();
    let sum = |part: &[f32]| {
        let mut sums = vec![0.0; channels];
        for pixel in part.chunks_exact(channels) {
            sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        sums
    };
    let pixels = clip.len() / channels;
    let part = pixels.div_ceil(TASKS).max(PIXELS);
    let parts: Vec<Vec<f64>> = clip.par_chunks(part * channels).map(sum).collect();
    for (channel, out) in out.iter_mut().enumerate() {
        let total: f64 = parts.iter().map(|part| part[channel]).sum();
        *out = (total / pixels as f64) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::agree;
    use super::*;

    #[test]
    fn they_are_what_is_composed() {
        for [n, h, w, c] in [[2, 3, 5, 3], [1, 1, 1, 1], [3, 100, 90, 2]] {
            agree("means", [[n, h, w, c]], |[x]| means(x.unsqueeze_dim(3)).squeeze_dim(1));
        }
    }
}
