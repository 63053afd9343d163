//! Flows between the frames of a clip, to neighbours one, two and three frames away.

use burn::tensor::Tensor;
use vrt_kernels::{Precision, WarpMode, fused, ops};

use super::{SCALES, SpyNet};
use crate::layers::{clips, frames};

/// Which neighbour a flow points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Towards {
    /// Frame `t` to the later frame `t + k` ("backward": it brings that frame back).
    Later,
    /// Frame `t + k` to the earlier frame `t` ("forward").
    Earlier,
}

/// Flows at one scale: entry `k` of a direction is between frames `k + 1` apart and has
/// `d − 1 − k` fields, `[b, d − 1 − k, h, w, 2]`, in pixels of the scale.
#[derive(Clone, Debug)]
pub(crate) struct Flows {
    /// From frame `t` to `t + k + 1`; field `t`.
    pub(crate) later: Vec<Tensor<5>>,
    /// From frame `t + k + 1` to `t`; field `t`.
    pub(crate) earlier: Vec<Tensor<5>>,
}

/// Flows of a clip at scales 1, 1/2, 1/4, 1/8.
#[derive(Clone, Debug)]
pub(crate) struct ClipFlows {
    pub(crate) scales: [Flows; SCALES],
}

impl ClipFlows {
    /// Flows of `clip` `[b, d, h, w, 3]`, RGB in 0…1, `d` at least 2, to neighbours up to `reach`
    /// frames away.
    pub(crate) fn of(clip: Tensor<5>, spynet: &SpyNet, reach: usize) -> Self {
        let d = clip.dims()[1];
        let first = frames(clip.clone().narrow(1, 0, d - 1));
        let second = frames(clip.narrow(1, 1, d - 1));
        let later = between(spynet, first.clone(), second.clone());
        let earlier = between(spynet, second, first);
        let mut both = later.into_iter().zip(earlier);
        let scales = std::array::from_fn(|_| {
            let (later, earlier) = both.next().unwrap_or_else(|| unreachable!("four scales"));
            Flows::new(clips(later, d - 1), clips(earlier, d - 1), reach)
        });
        Self { scales }
    }
}

/// Flow of pairs of pictures. Restoring takes one pair at a time: the network's activations are
/// many times what it makes of them, and a pair fills all threads. Flows are places, in pixels, of
/// which 8 bits are too few: they are `f32` whatever the precision of the pass.
fn between(spynet: &SpyNet, reference: Tensor<4>, other: Tensor<4>) -> [Tensor<4>; SCALES] {
    if !fused::serves(&reference.device()) {
        return Precision::F32.scope(|| spynet.forward(reference, other));
    }
    let mut scales: [Vec<Tensor<4>>; SCALES] = Default::default();
    for pair in 0..reference.dims()[0] {
        let [reference, other] = [&reference, &other].map(|x| x.clone().narrow(0, pair, 1));
        let flows = Precision::F32.scope(|| spynet.forward(reference, other));
        for (all, flow) in scales.iter_mut().zip(flows) {
            all.push(flow);
        }
    }
    scales.map(|flows| Tensor::cat(flows, 0))
}

impl Flows {
    /// Composes the flows between neighbours into those up to `reach` frames away.
    pub(crate) fn new(later: Tensor<5>, earlier: Tensor<5>, reach: usize) -> Self {
        Self {
            later: compose(later, reach, Towards::Later),
            earlier: compose(earlier, reach, Towards::Earlier),
        }
    }
}

/// Follows a flow to the nearer neighbour, then that neighbour's flow: `f + warp(next, f)`.
fn compose(step: Tensor<5>, reach: usize, towards: Towards) -> Vec<Tensor<5>> {
    let fields = step.dims()[1];
    let mut found = vec![step.clone()];
    for k in 1..reach.min(fields) {
        // Frames k + 1 apart: the flow to the neighbour k frames away, then one step more.
        let (shorter, next) = match towards {
            Towards::Later => (0, k),
            Towards::Earlier => (1, 0),
        };
        let shorter = found[k - 1].clone().narrow(1, shorter, fields - k);
        let next = step.clone().narrow(1, next, fields - k);
        let (shorter, next) = (frames(shorter), frames(next));
        let followed = ops::warp(next, shorter.clone(), WarpMode::BilinearZeros);
        found.push(clips(shorter + followed, fields - k));
    }
    found
}
