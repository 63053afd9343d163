//! What is drawn for a clip.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::SimulationOptions;
use super::chance::{Purpose, between, by_order, generator};
use super::exposure::{Exposure, TRACK_BY_BLUR};
use super::layer::{LayerPlan, Times};
use super::mask::Mask;
use super::noise::SensorNoise;
use super::scene::Scene;
use super::stills::Stills;
use crate::VideoError;

/// The longest blur of clips that hardly move, in pixels.
const STILL_BLUR: [f64; 2] = [0.005, 0.05];

/// The shortest exposure, as a share of the frame interval.
const LEAST_EXPOSURE: f64 = 0.1;

/// Share of clips with something before the background.
const TWO_LAYERS: f64 = 0.5;

/// Places that are looked at for a layer; the one with the most to see is taken, because a picture
/// of a sky teaches nothing.
const LOOKS: usize = 6;

/// Constant rate factors of compression.
const CRF: [u8; 2] = [16, 28];

/// What was drawn for a clip, for a reader.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClipRecord {
    /// Its folder below `GT` and `LQ`.
    pub name: String,
    /// Whether it hardly moves.
    pub still: bool,
    /// Share of the frame interval that is exposed.
    pub exposure: f64,
    /// The layer behind.
    pub background: LayerRecord,
    /// The layer before it, where there is one.
    pub foreground: Option<LayerRecord>,
    /// Noise, where there is some.
    pub noise: Option<SensorNoise>,
    /// Share of plain means of pixels in shrinking degraded frames, the rest being cubic
    /// convolution.
    pub softness: f64,
    /// The constant rate factor, where it is compressed.
    pub crf: Option<u8>,
}

/// What was drawn for a layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerRecord {
    /// Its still, as a path below the folder of stills.
    pub still: String,
    /// By how much that was shrunk.
    pub shrinking: f64,
    /// The longest blur of its frames, in pixels.
    pub blur: f64,
}

/// What is drawn for a clip.
#[derive(Clone, Debug)]
pub(super) struct ClipPlan {
    pub(super) clip: usize,
    pub(super) exposure: Exposure,
    pub(super) noise: Option<SensorNoise>,
    pub(super) softness: f64,
    pub(super) crf: Option<u8>,
    still: bool,
    times: Times,
    size: (usize, usize),
    background: LayerPlan,
    foreground: Option<(LayerPlan, Mask)>,
}

impl ClipPlan {
    /// The clip of this number.
    ///
    /// # Errors
    ///
    /// Says that a still cannot be decoded.
    pub(super) fn draw(
        options: &SimulationOptions,
        stills: &Stills,
        clip: usize,
    ) -> Result<Self, VideoError> {
        let of = |purpose| generator(options.seed, purpose, [clip as u64, 0]);
        let mut random = of(Purpose::Camera);
        let still = random.random::<f64>() < options.still_share;
        let two_layers = random.random::<f64>() < TWO_LAYERS;
        let most = options.max_blur;
        let blur_up_to = |random: &mut ChaCha8Rng, most: f64| {
            let moving = [options.min_blur.min(most), most];
            by_order(random, if still { STILL_BLUR } else { moving })
        };
        let blur = blur_up_to(&mut random, most);
        let shortest = (blur / (TRACK_BY_BLUR * most)).max(LEAST_EXPOSURE);
        let share = between(&mut random, [shortest, 1.0]);
        let other_blur = blur_up_to(&mut random, most * (TRACK_BY_BLUR * share).min(1.0));
        let noise = SensorNoise::draw(&mut random, options.noise);
        let softness = random.random();
        let compressed = random.random::<f64>() < options.compress_share;
        let crf = random.random_range(CRF[0]..=CRF[1]);

        let exposure = Exposure::new(share, most);
        let times = exposure.times(options.frames);
        let size = options.size();
        let layer = |random: &mut ChaCha8Rng, blur| {
            let looks = (0..LOOKS).map(|_| LayerPlan::draw(random, stills, size, blur, &times));
            most_to_see(looks, stills)
        };
        let background = layer(&mut of(Purpose::Background), blur)?;
        let before = || {
            let mut random = of(Purpose::Foreground);
            let plan = layer(&mut random, other_blur)?;
            let middle = (options.frames - 1) as f64 / 2.0;
            let mask = Mask::draw(&mut random, size, |point| plan.place(middle, point));
            Ok::<_, VideoError>((plan, mask))
        };
        let foreground = two_layers.then(before).transpose()?;
        Ok(Self {
            clip,
            exposure,
            noise: noise.filter(|_| !still),
            softness,
            crf: (compressed && !still).then_some(crf),
            still,
            times,
            size,
            background,
            foreground,
        })
    }

    /// Its folder below `GT` and `LQ`. Six digits: other programs take names of three for clips of
    /// REDS, and keep some of them from training.
    pub(super) fn name(&self) -> String {
        format!("{:06}", self.clip)
    }

    /// The scene that its camera sees.
    ///
    /// # Errors
    ///
    /// Says that a still cannot be decoded.
    pub(super) fn scene(&self, stills: &Stills) -> Result<Scene, VideoError> {
        let covered = |(plan, mask): &(LayerPlan, Mask)| {
            let mut layer = plan.layer(stills)?;
            layer.texture.cover(|place| mask.coverage(place));
            Ok::<_, VideoError>(layer)
        };
        let background = self.background.layer(stills)?;
        let foreground = self.foreground.as_ref().map(covered).transpose()?;
        Ok(Scene { size: self.size, background, foreground })
    }

    /// The same for a reader.
    pub(super) fn record(&self, stills: &Stills) -> ClipRecord {
        let layer = |plan: &LayerPlan| LayerRecord {
            still: stills.names()[plan.still].to_owned(),
            shrinking: plan.shrinking(),
            blur: self
                .times
                .exposures
                .iter()
                .map(|span| plan.camera.track(*span))
                .fold(0.0, f64::max),
        };
        ClipRecord {
            name: self.name(),
            still: self.still,
            exposure: self.exposure.share(),
            background: layer(&self.background),
            foreground: self.foreground.as_ref().map(|(plan, _)| layer(plan)),
            noise: self.noise,
            softness: self.softness,
            crf: self.crf,
        }
    }
}

/// The first of `looks` with the most detail.
fn most_to_see(
    looks: impl Iterator<Item = LayerPlan>,
    stills: &Stills,
) -> Result<LayerPlan, VideoError> {
    let mut best: Option<(f32, LayerPlan)> = None;
    for look in looks {
        let detail = look.layer(stills)?.texture.detail();
        if best.as_ref().is_none_or(|(most, _)| detail > *most) {
            best = Some((detail, look));
        }
    }
    best.map(|(_, look)| look).ok_or_else(|| unreachable!("there are several looks"))
}
