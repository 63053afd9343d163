//! Flows between the frames of a clip, to neighbours one, two and three frames away.

use burn::tensor::Tensor;
use vrt_kernels::{Precision, WarpMode, fused, ops};

use super::{Pyramid, SCALES, SpyNet};
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
        // Flows are places, in pixels, of which 8 bits are too few.
        let [later, earlier] = Precision::F32.scope(|| match fused::serves(&clip.device()) {
            true => pair_by_pair(clip, spynet),
            false => all_at_once(clip, spynet),
        });
        let mut both = later.into_iter().zip(earlier);
        let scales = std::array::from_fn(|_| {
            let (later, earlier) = both.next().unwrap_or_else(|| unreachable!("four scales"));
            Flows::new(clips(later, d - 1), clips(earlier, d - 1), reach)
        });
        Self { scales }
    }
}

/// Flows between neighbours, `[b·(d − 1), h, w, 2]` at every scale: to the later frame of a pair, and to
/// the earlier one.
type Steps = [[Tensor<4>; SCALES]; 2];

/// On processors: the network's activations are many times what it makes of them, and a pair fills all
/// threads.
fn pair_by_pair(clip: Tensor<5>, spynet: &SpyNet) -> Steps {
    let [b, d, ..] = clip.dims();
    let pictures = frames(clip);
    let pyramids = (0..b * d).map(|at| spynet.pyramid(pictures.clone().narrow(0, at, 1)));
    let pyramids: Vec<Pyramid> = pyramids.collect();
    let pairs = pyramids.chunks_exact(d).flat_map(|clip| clip.windows(2));
    let mut steps: [[Vec<Tensor<4>>; SCALES]; 2] = Default::default();
    for pair in pairs {
        for (all, [from, to]) in steps.iter_mut().zip([[0, 1], [1, 0]]) {
            let flows = spynet.forward(&pair[from], &pair[to]);
            all.iter_mut().zip(flows).for_each(|(all, flow)| all.push(flow));
        }
    }
    steps.map(|scales| scales.map(|flows| fused::join(flows, 0)))
}

fn all_at_once(clip: Tensor<5>, spynet: &SpyNet) -> Steps {
    let d = clip.dims()[1];
    let pictures = |first| spynet.pyramid(frames(clip.clone().narrow(1, first, d - 1)));
    let (first, second) = (pictures(0), pictures(1));
    [spynet.forward(&first, &second), spynet.forward(&second, &first)]
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
        found.push(clips(fused::sum([(shorter, 1.0), (followed, 1.0)]), fields - k));
    }
    found
}
