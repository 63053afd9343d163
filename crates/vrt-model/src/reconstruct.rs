//! From features to pictures: the output heads and the upsampler.

use burn::module::Module;
use burn::tensor::Tensor;
use vrt_kernels::conv::{Activation, Enlarging};
use vrt_kernels::fused;

use crate::config::RGB_CHANNELS;
use crate::layers::{Conv, ConvShape, FrameConv, clips, frames};
use crate::parameters::Builder;
use crate::resample::{Align, depth_to_space, reflect_around, resize_bilinear};
use crate::trail::{ANSWER, weighed};

/// Channels before and in the upsampler, and behind the fusion of frames.
pub(crate) const WIDTH: usize = 64;
/// Entries of the published upsampler's list per factor: convolution, three that move axes and
/// shuffle, activation. Convolutions are named by their place in it.
const ENTRIES: usize = 5;

/// Pixel-shuffle upsampling by 2, 3, 4 or 8.
#[derive(Module, Debug)]
pub(crate) struct Upsample {
    widen: Vec<FrameConv>,
    last: FrameConv,
    #[module(skip)]
    factor: usize,
}

impl Upsample {
    /// `scale` is 3 or a power of two.
    pub(crate) fn new(b: &mut Builder<'_>, scale: usize, width: usize) -> Self {
        let (factor, times) =
            if scale == 3 { (3, 1) } else { (2, scale.trailing_zeros() as usize) };
        let conv = |outputs| ConvShape { inputs: width, outputs, kernel: 3 };
        let widened = conv(width * factor * factor);
        Self {
            widen: (0..times)
                .map(|i| FrameConv::new(b, &(ENTRIES * i).to_string(), widened))
                .collect(),
            last: FrameConv::new(b, &(ENTRIES * times).to_string(), conv(width)),
            factor,
        }
    }

    /// `[b, d, h, w, width]` → `[b, d, scale·h, scale·w, width]`
    pub(crate) fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        // Shuffling moves values only: the activation may come before it.
        let enlarging = Enlarging { factor: self.factor, slope: 0.1 };
        let x = self.widen.iter().fold(x, |x, conv| conv.forward_enlarging(x, enlarging));
        self.last.forward(x)
    }
}

/// How features become pictures.
#[derive(Module, Debug)]
pub(crate) enum Head {
    /// Pictures of the input's size.
    Same(SameSize),
    /// Output from features of two rows and two columns.
    Folded(Folded),
    /// Larger pictures.
    Larger(Larger),
    /// One picture between the middle two.
    Between(Between),
}

/// Output of the input's size.
#[derive(Module, Debug)]
pub(crate) struct SameSize {
    conv_last: FrameConv,
}

/// Output `scale` times as large, 1 or 2, from features of two rows and two columns.
#[derive(Module, Debug)]
pub(crate) struct Folded {
    conv_last: FrameConv,
    #[module(skip)]
    scale: usize,
}

/// Output `scale` times as large.
#[derive(Module, Debug)]
pub(crate) struct Larger {
    conv_before_upsample: FrameConv,
    upsample: Upsample,
    conv_last: FrameConv,
    #[module(skip)]
    scale: usize,
}

/// One frame made of all of a clip.
#[derive(Module, Debug)]
pub(crate) struct Between {
    linear_fuse: Conv,
    conv_last: Conv,
}

impl Head {
    pub(crate) fn same(b: &mut Builder<'_>, [inputs, outputs]: [usize; 2]) -> Self {
        let shape = ConvShape { inputs, outputs, kernel: 3 };
        Self::Same(SameSize { conv_last: FrameConv::new(b, "conv_last", shape) })
    }

    /// For features of two rows and two columns, which become pictures `scale` times as large, and
    /// perhaps what samples along motion weigh: `outputs` channels in all. It starts by answering nothing: small networks are trained for a short time,
    /// of which a random answer costs a good part.
    pub(crate) fn folded(b: &mut Builder<'_>, [inputs, outputs]: [usize; 2], scale: usize) -> Self {
        let shape = ConvShape { inputs, outputs, kernel: 3 };
        Self::Folded(Folded { conv_last: FrameConv::zero(b, "conv_last", shape), scale })
    }

    pub(crate) fn larger(b: &mut Builder<'_>, inputs: usize, outputs: usize, scale: usize) -> Self {
        let conv = |inputs, outputs| ConvShape { inputs, outputs, kernel: 3 };
        Self::Larger(Larger {
            conv_before_upsample: FrameConv::new(b, "conv_before_upsample.0", conv(inputs, WIDTH)),
            upsample: b.part("upsample", |b| Upsample::new(b, scale, WIDTH)),
            conv_last: FrameConv::new(b, "conv_last", conv(WIDTH, outputs)),
            scale,
        })
    }

    /// `inputs` counts the channels of all frames.
    pub(crate) fn between(b: &mut Builder<'_>, inputs: usize, outputs: usize) -> Self {
        let fuse = ConvShape { inputs, outputs: WIDTH, kernel: 1 };
        let last = ConvShape { inputs: WIDTH, outputs, kernel: 7 };
        Self::Between(Between {
            linear_fuse: Conv::new(b, "linear_fuse", fuse),
            conv_last: Conv::new(b, "conv_last", last),
        })
    }

    /// # Shapes
    ///
    /// - `x`: features `[b, d, h, w, c]`
    /// - `pictures`: the input's RGB `[b, d, h, w, 3]`, or twice as high and wide for features of
    ///   folded pictures, which the network's answer is added to
    /// - `along`: how these differ from themselves along their motion, and how spikes do, where the
    ///   network weighs it
    /// - output: `[b, d', h', w', 3]`
    pub(crate) fn forward(
        &self,
        x: Tensor<5>,
        pictures: Tensor<5>,
        along: [Option<Tensor<5>>; 2],
    ) -> Tensor<5> {
        match self {
            Self::Same(head) => fused::sum([(head.conv_last.forward(x), 1.0), (pictures, 1.0)]),
            Self::Folded(head) => head.forward(x, pictures, along),
            Self::Larger(head) => head.forward(x, pictures),
            Self::Between(head) => head.forward(x),
        }
    }
}

impl Folded {
    fn forward(
        &self,
        x: Tensor<5>,
        pictures: Tensor<5>,
        [trails, gathered]: [Option<Tensor<5>>; 2],
    ) -> Tensor<5> {
        let y = depth_to_space(self.conv_last.forward(x));
        let answers = RGB_CHANNELS * self.scale * self.scale;
        let Some(trails) = trails else { return self.finished(y, 1.0, pictures) };
        let pictures = weighed(pictures, &trails, gathered.as_ref(), (&y, answers));
        self.finished(y.narrow(4, 0, answers), ANSWER, pictures)
    }

    /// Pictures, which the network's answers are added to.
    fn finished(&self, y: Tensor<5>, unit: f32, pictures: Tensor<5>) -> Tensor<5> {
        match self.scale {
            1 => fused::sum([(y, unit), (pictures, 1.0)]),
            scale => fused::sum([(depth_to_space(y), unit), (enlarged(pictures, scale), 1.0)]),
        }
    }
}

impl Larger {
    /// On GPUs a frame at a time: features of full size are the network's largest maps there, and
    /// some devices have no room for one of all frames.
    fn forward(&self, x: Tensor<5>, pictures: Tensor<5>) -> Tensor<5> {
        if fused::serves(&x.device()) {
            return self.of_frames(x, pictures);
        }
        let frame = |i: usize| {
            let [x, pictures] = [&x, &pictures].map(|all| all.clone().narrow(1, i, 1));
            self.of_frames(x, pictures)
        };
        Tensor::cat((0..x.dims()[1]).map(frame).collect(), 1)
    }

    fn of_frames(&self, x: Tensor<5>, pictures: Tensor<5>) -> Tensor<5> {
        let activation = Activation::LeakyRelu(0.01);
        let x = self.conv_before_upsample.forward_joined(vec![x], activation);
        let y = self.conv_last.forward(self.upsample.forward(x));
        fused::sum([(y, 1.0), (enlarged(pictures, self.scale), 1.0)])
    }
}

/// Pictures `scale` times as large, which an answer is added to.
fn enlarged(pictures: Tensor<5>, scale: usize) -> Tensor<5> {
    let [_, d, h, w, _] = pictures.dims();
    clips(resize_bilinear(frames(pictures), [h * scale, w * scale], Align::Edges), d)
}

impl Between {
    fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        let [b, d, h, w, c] = x.dims();
        let stacked = fused::arranged(x.permute([0, 2, 3, 1, 4])).reshape([b, h, w, d * c]);
        let x = self.linear_fuse.forward_joined(vec![stacked], Activation::LeakyRelu(0.2));
        let x = reflect_around(reflect_around(x, 1, 3, h + 6), 2, 3, w + 6);
        self.conv_last.forward_inside(x).unsqueeze_dim(1)
    }
}
