//! SpyNet (arXiv:1611.00850): optical flow between neighbouring frames, at four scales.

use burn::module::Module;
use burn::tensor::Tensor;
use vrt_kernels::conv::Activation;
use vrt_kernels::resample::Change;
use vrt_kernels::{WarpMode, fused, ops};

use crate::layers::{Conv, ConvShape};
use crate::parameters::Builder;
use crate::resample::{Align, halve, resized};

mod compose;

pub(crate) use compose::{ClipFlows, Flows};

/// Levels of the pyramid, coarsest first.
const LEVELS: usize = 6;
/// Finest levels whose flow is used.
pub(crate) const SCALES: usize = 4;
/// The pyramid halves sizes five times.
const MULTIPLE: usize = 32;
const MEAN: [f32; 3] = [0.485, 0.456, 0.406];
const STD: [f32; 3] = [0.229, 0.224, 0.225];
/// Channels between the convolutions of a level.
const WIDTHS: [usize; 6] = [8, 32, 64, 32, 16, 2];

/// Flow estimation from coarse to fine.
#[derive(Module, Debug)]
pub(crate) struct SpyNet {
    levels: Vec<Level>,
    /// Whether the finest flow is the next coarser one, enlarged.
    #[module(skip)]
    coarse: bool,
}

/// Five convolutions that correct the flow at one scale.
#[derive(Module, Debug)]
struct Level {
    convs: Vec<Conv>,
}

impl Level {
    fn new(b: &mut Builder<'_>, index: usize) -> Self {
        let convs = b.part(&format!("basic_module.{index}.basic_module"), |b| {
            let shapes = WIDTHS.windows(2);
            let shapes = shapes.map(|w| ConvShape { inputs: w[0], outputs: w[1], kernel: 7 });
            shapes.enumerate().map(|(i, shape)| Conv::new(b, &(2 * i).to_string(), shape)).collect()
        });
        Self { convs }
    }

    /// The correction seen in all of `seen`, one's channels behind the other's.
    fn forward(&self, seen: Vec<Tensor<4>>) -> Tensor<4> {
        let last = self.convs.len() - 1;
        let activation = |i| if i < last { Activation::LeakyRelu(0.0) } else { Activation::None };
        let convs = self.convs.iter().enumerate();
        let mut y =
            convs.fold(seen, |seen, (i, conv)| vec![conv.forward_joined(seen, activation(i))]);
        y.remove(0)
    }
}

impl SpyNet {
    /// With `coarse`, the finest level has its parameters and does nothing: the flow of half its
    /// size is enlarged instead, for a quarter of the work.
    pub(crate) fn new(b: &mut Builder<'_>, name: &str, coarse: bool) -> Self {
        b.part(name, |b| Self { levels: (0..LEVELS).map(|i| Level::new(b, i)).collect(), coarse })
    }

    /// Pictures `[n, h, w, 3]`, RGB in 0…1, as flow between them is seen.
    pub(crate) fn pyramid(&self, pictures: Tensor<4>) -> Pyramid {
        let [_, h, w, _] = pictures.dims();
        let padded = [h.next_multiple_of(MULTIPLE), w.next_multiple_of(MULTIPLE)];
        let normal = Change::new(MEAN, STD.map(f32::recip));
        let axes = resized(&pictures, padded, Align::Edges);
        let mut levels = vec![fused::resample(pictures, axes, normal)];
        for level in 1..LEVELS {
            levels.push(halve(levels[level - 1].clone()));
        }
        levels.reverse();
        Pyramid { size: [h, w], levels }
    }

    /// Flow from pictures to as many others of one size, at scales 1, 1/2, 1/4, 1/8:
    /// `[n, ⌊h/2^i⌋, ⌊w/2^i⌋, 2]`, along x then y, in pixels of that scale.
    pub(crate) fn forward(&self, reference: &Pyramid, other: &Pyramid) -> [Tensor<4>; SCALES] {
        let [h, w] = reference.size;
        let mut flow: Option<Tensor<4>> = None;
        let mut found = Vec::with_capacity(SCALES);
        for (i, level) in self.levels.iter().enumerate() {
            let (reference, other) = (&reference.levels[i], &other.levels[i]);
            let [n, h, w, _] = reference.dims();
            let up = match flow {
                None => fused::zeros([n, h, w, 2], &reference.device()),
                Some(flow) => enlarge(flow, [h, w]),
            };
            let enough = self.coarse && i + 1 == LEVELS;
            let refined = if enough { up } else { refine(level, reference, other, up) };
            if i + SCALES >= LEVELS {
                found.push(refined.clone());
            }
            flow = Some(refined);
        }
        let mut finest_first = found.into_iter().rev().enumerate();
        std::array::from_fn(|_| {
            let (scale, flow) = finest_first.next().unwrap_or_else(|| unreachable!("four scales"));
            rescale(flow, [h >> scale, w >> scale])
        })
    }
}

/// Pictures at every level, normalised, coarsest first.
#[derive(Clone, Debug)]
pub(crate) struct Pyramid {
    /// Rows and columns of the pictures; the finest level has whole multiples of 32.
    size: [usize; 2],
    levels: Vec<Tensor<4>>,
}

/// The flow of a level as the next finer one, of this size, begins with it.
fn enlarge(flow: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    let [_, h, w, _] = flow.dims();
    let [rows, columns] = resized(&flow, [2 * h, 2 * w], Align::Corners);
    let axes = [rows.extended(size[0]), columns.extended(size[1])];
    fused::resample(flow, axes, Change::new([0.0; 2], [2.0; 2]))
}

/// The flow of one level from that of the coarser one, enlarged.
fn refine(level: &Level, reference: &Tensor<4>, other: &Tensor<4>, up: Tensor<4>) -> Tensor<4> {
    let warped = ops::warp(other.clone(), up.clone(), WarpMode::BilinearBorder);
    let correction = level.forward(vec![reference.clone(), warped, up.clone()]);
    fused::sum([(correction, 1.0), (up, 1.0)])
}

/// Resizes a flow and its vectors with it.
fn rescale(flow: Tensor<4>, size: [usize; 2]) -> Tensor<4> {
    let [_, h, w, _] = flow.dims();
    if [h, w] == size {
        return flow;
    }
    let factors = [size[1] as f32 / w as f32, size[0] as f32 / h as f32];
    let axes = resized(&flow, size, Align::Edges);
    fused::resample(flow, axes, Change::new([0.0; 2], factors))
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    #[test]
    fn a_coarse_flow_is_the_next_coarser_one_enlarged() {
        let device = Device::flex();
        let [fine, coarse] =
            [false, true].map(|coarse| SpyNet::new(&mut Builder::drawn(&device, 7), "", coarse));
        let picture = |shift: usize| {
            let values = (0..64 * 96 * 3).map(|i| ((i + 3 * shift) * 31 % 251) as f32 / 251.0);
            Tensor::<4>::from_data(
                TensorData::new(values.collect::<Vec<_>>(), [1, 64, 96, 3]),
                &device,
            )
        };
        let [fine, coarse] = [fine, coarse].map(|spynet| {
            let [reference, other] = [0, 2].map(|shift| spynet.pyramid(picture(shift)));
            spynet.forward(&reference, &other)
        });
        let values = |flow: &Tensor<4>| -> Vec<f32> {
            flow.clone().into_data().try_to_vec().expect("floats")
        };
        for scale in 1..SCALES {
            assert_eq!(values(&fine[scale]), values(&coarse[scale]), "scale {scale}");
        }
        assert_eq!(values(&coarse[0]), values(&enlarge(coarse[1].clone(), [64, 96])));
        assert_ne!(values(&coarse[0]), values(&fine[0]));
    }
}
