//! VRT: the whole forward pass (figure 2 of arXiv:2201.12288).

use std::ops::ControlFlow;

use burn::module::{Module, ParamId};
use burn::tensor::{Device, Tensor};
use vrt_kernels::conv::Activation;
use vrt_kernels::{WarpMode, fused, ops};

use crate::block::ResidualGroup;
use crate::config::{RGB_CHANNELS, Reach, VrtConfig};
use crate::cost;
use crate::flow::{ClipFlows, Flows, SpyNet};
use crate::layers::{FrameConv, Linear, Norm, clips, frames};
use crate::parameters::{Builder, Built, Values};
use crate::pass::Pass;
use crate::reconstruct::Head;
use crate::resample::{halve, reflect_to, space_to_depth};
use crate::shapes::Shapes;
use crate::stage::Stage;
use crate::tiled::Watch;
use crate::trail::{gathered, trails};

/// The Video Restoration Transformer.
#[derive(Module, Debug)]
pub struct Vrt {
    spynet: Option<SpyNet>,
    conv_first: FrameConv,
    stages: Vec<Stage>,
    widen: Widen,
    refine: Vec<ResidualGroup>,
    norm: Norm,
    conv_after_body: Linear,
    head: Head,
    #[module(skip)]
    config: VrtConfig,
}

/// The first part of stage 8: norm and linear layer to its width.
#[derive(Module, Debug)]
struct Widen {
    norm: Norm,
    linear: Linear,
}

/// A network and the published names of its parameters.
#[derive(Debug)]
pub struct Named {
    /// The network.
    pub network: Vrt,
    /// Name of each parameter, in order of construction.
    pub names: Vec<(ParamId, String)>,
    /// Names that the source of values had nothing for; these parameters are zero.
    pub missing: Vec<String>,
}

impl Vrt {
    /// The network of `config` with values for its parameters.
    pub fn with_values(config: &VrtConfig, values: &mut dyn Values, device: &Device) -> Named {
        Self::build(config, Builder::given(device, values))
    }

    /// The network of `config` as training starts it, drawn from `seed`.
    pub fn with_seed(config: &VrtConfig, seed: u64, device: &Device) -> Named {
        Self::build(config, Builder::drawn(device, seed))
    }

    fn build(config: &VrtConfig, mut builder: Builder<'_>) -> Named {
        let network = Self::new(&mut builder, config);
        let Built { names, missing } = builder.finish();
        Named { network, names, missing }
    }

    fn new(b: &mut Builder<'_>, config: &VrtConfig) -> Self {
        let shapes = Shapes::of(config);
        let [narrow, wide] = config.widen();
        let refined = config.refine().last().map_or(wide, |entry| entry.channels);
        let first = config.first_channels();
        let mut stages = Vec::with_capacity(shapes.stages.len());
        for (i, shape) in shapes.stages.iter().enumerate() {
            stages.push(b.part(&format!("stage{}", i + 1), |b| Stage::new(b, shape)));
        }
        let widen = b.part("stage8.0", |b| Widen {
            norm: Norm::new(b, "1", narrow),
            linear: Linear::new(b, "2", narrow, wide),
        });
        let mut refine = Vec::with_capacity(shapes.refine.len());
        for (i, shape) in shapes.refine.iter().enumerate() {
            let name = format!("stage8.{}", i + 1);
            refine.push(b.part(&name, |b| ResidualGroup::new(b, shape)));
        }
        Self {
            spynet: (config.reach() != Reach::None)
                .then(|| SpyNet::new(b, "spynet", config.coarse_flow())),
            conv_first: if config.folds() {
                FrameConv::seeing(b, "conv_first", shapes.conv_first, config.in_channels())
            } else {
                FrameConv::new(b, "conv_first", shapes.conv_first)
            },
            stages,
            widen,
            refine,
            norm: Norm::new(b, "norm", refined),
            conv_after_body: Linear::new(b, "conv_after_body", refined, first),
            head: head(b, config),
            config: config.clone(),
        }
    }

    /// The same network, whose training keeps what attention found in the entries of `depths` that
    /// `keeps` says yes to: faster, for up to two more maps of memory a block. Else it keeps a
    /// block's input alone and finds the rest again; gradients are the same to the last bit.
    #[must_use]
    pub fn keeping_attention(mut self, keeps: impl Fn(usize) -> bool) -> Self {
        let stages = self.stages.len();
        for (i, stage) in self.stages.iter_mut().enumerate() {
            stage.keep_attention(keeps(i));
        }
        for (i, group) in self.refine.iter_mut().enumerate() {
            group.keep_attention(keeps(stages + i));
        }
        self
    }

    /// What the network is.
    pub fn config(&self) -> &VrtConfig {
        &self.config
    }

    /// Restores a clip of any size.
    ///
    /// # Shapes
    ///
    /// - `x`: `[b, d, h, w, c]`, RGB (then spike channels, or the noise map) in 0…1
    /// - output: `[b, d, s·h, s·w, 3]` with `s` the upscaling; `[b, 1, h, w, 3]` for interpolation
    ///
    /// # Panics
    ///
    /// Panics if `c` is not what the configuration says, or `d` is not what an interpolation
    /// network takes.
    pub fn forward(&self, x: Tensor<5>, pass: &mut Pass<'_>) -> Tensor<5> {
        let y = self.forward_watched(x, pass, &mut |_| ControlFlow::Continue(()));
        y.unwrap_or_else(|| unreachable!("nobody broke off"))
    }

    /// The same, telling `watch` what share is done, 0…1, after each of the network's parts; `None`
    /// once that says to break off.
    ///
    /// # Panics
    ///
    /// As [`forward`](Self::forward).
    pub fn forward_watched(
        &self,
        x: Tensor<5>,
        pass: &mut Pass<'_>,
        watch: &mut Watch<'_>,
    ) -> Option<Tensor<5>> {
        let [b, d, h, w, c] = x.dims();
        assert_eq!(c, self.config.input_channels(), "channels of the clip");
        let [pd, ph, pw] = self.config.padded([d, h, w]);
        let x = reflect_to(reflect_to(x, 2, ph), 3, pw);
        let x = if d < pd { x.repeat_dim(1, pd) } else { x };
        let y = self.forward_padded(x, pass, &mut Parts::new(&self.config, watch))?;
        let [_, frames, _, _, channels] = y.dims();
        let s = self.config.upscale();
        Some(y.slice([0..b, 0..frames.min(d), 0..s * h, 0..s * w, 0..channels]))
    }

    /// The network itself: sizes are multiples of what the configuration says and large enough for its windows.
    fn forward_padded(
        &self,
        x: Tensor<5>,
        pass: &mut Pass<'_>,
        parts: &mut Parts<'_, '_>,
    ) -> Option<Tensor<5>> {
        let channels = x.dims()[4];
        let pictures = x.clone().narrow(4, 0, RGB_CHANNELS);
        let Some(spynet) = &self.spynet else {
            return self.between(pictures, pass, parts);
        };
        let flows =
            ClipFlows::of(self.halved(pictures.clone()), spynet, self.config.reach().frames());
        parts.done()?;
        let noise = usize::from(self.config.noise_map());
        let seen = x.clone().narrow(4, 0, channels - noise);
        let trails = self.config.trails().then(|| trails(&pictures, &flows.scales[0]));
        let gathers = self.config.gathered() > 0;
        let gathered = gathers.then(|| gathered(&seen, &flows.scales[0]));
        let seen = if self.config.folds() { space_to_depth(seen) } else { seen };
        let mut seen = with_neighbours(seen, &flows.scales[0]).to_vec();
        seen.extend(trails.iter().chain(&gathered).cloned().map(space_to_depth));
        if noise == 1 {
            seen.push(self.halved(x.narrow(4, channels - 1, 1)));
        }
        let first = self.conv_first.forward_joined(seen, Activation::None);
        let body = self.body(first, Some(&flows), pass, parts)?;
        Some(self.head.forward(body, pictures, [trails, gathered]))
    }

    /// At the size that the network works at: the means of what it folds.
    fn halved(&self, x: Tensor<5>) -> Tensor<5> {
        let d = x.dims()[1];
        if self.config.folds() { clips(halve(frames(x)), d) } else { x }
    }

    /// Interpolation: brightness is taken out before and put back after.
    fn between(
        &self,
        x: Tensor<5>,
        pass: &mut Pass<'_>,
        parts: &mut Parts<'_, '_>,
    ) -> Option<Tensor<5>> {
        let mean = fused::means(x.clone());
        let x = with(x, mean.clone(), -1.0);
        let body = self.body(self.conv_first.forward(x.clone()), None, pass, parts)?;
        Some(with(self.head.forward(body, x, [None, None]), mean, 1.0))
    }

    /// Seven scales down and up again, then refinement at full size.
    fn body(
        &self,
        first: Tensor<5>,
        flows: Option<&ClipFlows>,
        pass: &mut Pass<'_>,
        parts: &mut Parts<'_, '_>,
    ) -> Option<Tensor<5>> {
        let mut outputs: Vec<Tensor<5>> = Vec::with_capacity(3);
        let mut x = first.clone();
        for (i, stage) in self.stages.iter().enumerate() {
            x = stage.forward(x, flows.map(|flows| &flows.scales[stage.halvings()]), pass);
            match i {
                0..=2 => outputs.push(x.clone()),
                4..=6 => x = x + outputs.pop().unwrap_or_else(|| unreachable!("three skips")),
                _ => {}
            }
            parts.done()?;
        }
        let x = self.widen.linear.forward_normed(&self.widen.norm, x);
        let mut x = x;
        for group in &self.refine {
            x = group.forward(x, pass);
            parts.done()?;
        }
        Some(self.conv_after_body.forward_onto(self.norm.forward(x), first))
    }
}

/// The network's parts in order, and who watches them being done.
struct Parts<'w, 'f> {
    /// What each that is left costs, in the order of the network.
    left: std::vec::IntoIter<f32>,
    done: f32,
    all: f32,
    watch: &'w mut Watch<'f>,
}

impl<'w, 'f> Parts<'w, 'f> {
    fn new(config: &VrtConfig, watch: &'w mut Watch<'f>) -> Self {
        let costs = cost::parts(config);
        let all = costs.iter().sum();
        Self { left: costs.into_iter(), done: 0.0, all, watch }
    }

    /// The next part is done; `None` if that was the last for now.
    fn done(&mut self) -> Option<()> {
        self.done += self.left.next().unwrap_or(0.0);
        (self.watch)(self.done / self.all).is_continue().then_some(())
    }
}

/// A clip `[b, d, h, w, c]` and so many times one pixel, `[b, 1, 1, 1, c]`.
fn with(x: Tensor<5>, pixel: Tensor<5>, times: f32) -> Tensor<5> {
    let pixels = pixel.expand(x.dims());
    fused::sum([(x, 1.0), (pixels, times)])
}

/// Each frame with its two neighbours warped to it: `[b, d, h, w, c]` → the same, the later
/// neighbour and the earlier one, each `[b, d, h, w, 4·c]`, zeros where the clip has none.
fn with_neighbours(x: Tensor<5>, flows: &Flows) -> [Tensor<5>; 3] {
    let [b, d, h, w, c] = x.dims();
    let nothing = fused::zeros([b, 1, h, w, 4 * c], &x.device());
    let warped = |start: usize, flow: &Tensor<5>| {
        let from = frames(x.clone().narrow(1, start, d - 1));
        clips(ops::warp(from, frames(flow.clone()), WarpMode::Nearest4), d - 1)
    };
    let later = fused::join(vec![warped(1, &flows.later[0]), nothing.clone()], 1);
    let earlier = fused::join(vec![nothing, warped(0, &flows.earlier[0])], 1);
    [x, later, earlier]
}

/// The head that makes this network's pictures.
fn head(b: &mut Builder<'_>, config: &VrtConfig) -> Head {
    let (inputs, outputs) = (config.first_channels(), config.out_channels());
    match (config.fuse_inputs(), config.upscale()) {
        (Some(inputs), _) => Head::between(b, inputs, outputs),
        (None, scale) if config.folds() => Head::folded(b, [inputs, config.last_outputs()], scale),
        (None, 1) => Head::same(b, [inputs, outputs]),
        (None, scale) => Head::larger(b, inputs, outputs, scale),
    }
}
