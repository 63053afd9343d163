//! Tiles against whole clips, through a whole network with the values that training starts from and
//! trained flow.
//!
//! The network's answer is scaled to a tenth of the picture, as those of trained networks are: the
//! output is linear in its last layer, so the differences are scaled, not the weights.

use std::collections::BTreeMap;
use std::f32::consts::TAU;

use burn::tensor::Device;
use vrt_model::tiled::{TileSpec, Tiling, restore_clip};
use vrt_model::volume::Volume;
use vrt_model::{Restorer, Values, option_file};
use vrt_testing::{Fixture, Golden, Random};

/// What a trained network's answer is beside the picture.
const TRAINED: f64 = 0.1;

/// A texture of waves of many directions that moves by a pixel or two a frame.
fn moving([frames, height, width]: [usize; 3]) -> Volume {
    let mut random = Random::new(3);
    let waves: Vec<[f32; 5]> = (0..24)
        .map(|_| {
            let (turn, length) = (random.uniform(0.0, TAU), random.uniform(4.0, 60.0));
            let [x, y] = [turn.cos() / length, turn.sin() / length];
            [x, y, random.uniform(0.0, 1.0), random.uniform(0.0, 0.06), random.uniform(0.0, 1.0)]
        })
        .collect();
    let mut samples = Vec::with_capacity(frames * height * width * 3);
    for place in 0..frames * height * width {
        let (frame, row, column) =
            (place / (height * width), place / width % height, place % width);
        let (x, y) = (column as f32 - 1.5 * frame as f32, row as f32 + 0.7 * frame as f32);
        for channel in 0..3 {
            let wave = |[along_x, along_y, start, size, hue]: &[f32; 5]| {
                let turns = along_x * x + along_y * y + start + hue * channel as f32 / 6.0;
                size * (TAU * turns).sin()
            };
            samples.push((0.5 + waves.iter().map(wave).sum::<f32>()).clamp(0.0, 1.0));
        }
    }
    Volume::new([frames, height, width, 3], samples).expect("a clip")
}

fn rms(a: &Volume, b: &Volume) -> f64 {
    assert_eq!(a.dims(), b.dims());
    let squares =
        a.samples().iter().zip(b.samples()).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
    (squares / a.samples().len() as f64).sqrt()
}

/// Parameters as training starts from, but for the flow network's, which is a trained one, and
/// those that start as zero, which are as small as the others.
struct Initial {
    flow: BTreeMap<String, Golden>,
    random: Random,
}

impl Values for Initial {
    fn values(&mut self, name: &str, shape: &[usize]) -> Option<Vec<f32>> {
        if let Some(name) = name.strip_prefix("spynet.") {
            return self.flow.get(name).map(|tensor| tensor.values.clone());
        }
        let len = shape.iter().product();
        let norm = shape.len() == 1
            && ["norm", "reshape.1", "stage8.0.1"].iter().any(|part| name.contains(part));
        if norm {
            let value = if name.ends_with("weight") { 1.0 } else { 0.0 };
            return Some(vec![value; len]);
        }
        let bound = match shape {
            [_] => 0.05,
            _ if name.ends_with("table") => 0.04,
            [_, inputs @ ..] => (inputs.iter().product::<usize>() as f32).sqrt().recip(),
            [] => 0.0,
        };
        Some(self.random.values(len, bound))
    }
}

fn deblurring() -> Restorer {
    let fixture = Fixture::load("models/deblur");
    let config = option_file::from_json(&fixture.metadata("config").to_string()).expect("a config");
    let flow = vrt_testing::workspace_root().join("weights/spynet.safetensors");
    let mut values = Initial { flow: vrt_testing::read_tensors(&flow), random: Random::new(8) };
    Restorer::with_values(&config, &mut values, &Device::flex()).expect("a network")
}

/// The factor that makes the network's answer to `clip` a tenth of the picture.
fn gain(model: &Restorer, clip: &Volume) -> f64 {
    let whole = restore_clip(model, clip, &TileSpec::WHOLE, Tiling::Seamless).expect("a clip");
    let black = Volume::filled(clip.dims(), 0.0).expect("a clip");
    TRAINED * rms(clip, &black) / rms(&whole, clip)
}

/// A clip restored whole and in tiles.
struct Both {
    whole: Volume,
    tiled: Volume,
}

impl Both {
    fn of(
        model: &Restorer,
        clip: &Volume,
        [frames, size, over_frames, over_size]: [usize; 4],
    ) -> Self {
        let spec = TileSpec::new(frames, size, over_frames, over_size).expect("tiles");
        let [whole, tiled] = [TileSpec::WHOLE, spec]
            .map(|spec| restore_clip(model, clip, &spec, Tiling::Seamless).expect("a clip"));
        Self { whole, tiled }
    }

    fn psnr(&self, gain: f64) -> f64 {
        -20.0 * (gain * rms(&self.whole, &self.tiled)).log10()
    }
}

/// Columns of a strip of [`steps`].
const STRIP: usize = 8;

/// The largest step from a pixel to the next one of its row, for each strip of columns: an edge
/// that tiles leave is a step that stands out.
fn steps(volume: &Volume) -> Vec<f32> {
    let [_, _, width, channels] = volume.dims();
    let mut steps = vec![0.0_f32; width.div_ceil(STRIP)];
    for row in volume.samples().chunks_exact(width * channels) {
        for (at, (left, right)) in row.iter().zip(&row[channels..]).enumerate() {
            let strip = at / channels / STRIP;
            steps[strip] = steps[strip].max((left - right).abs());
        }
    }
    steps
}

#[test]
fn tiles_in_space_equal_the_whole_frame() {
    let (model, clip) = (deblurring(), moving([6, 64, 320]));
    let psnr = Both::of(&model, &clip, [0, 192, 0, 64]).psnr(gain(&model, &clip));
    eprintln!("tiles of 192 pixels: {psnr:.1} dB");
    assert!(psnr > 50.0, "{psnr} dB");
}

#[test]
fn windows_in_time_equal_the_whole_clip() {
    let (model, clip) = (deblurring(), moving([18, 64, 64]));
    let psnr = Both::of(&model, &clip, [12, 0, 2, 0]).psnr(gain(&model, &clip));
    eprintln!("windows of 12 frames: {psnr:.1} dB");
    assert!(psnr > 50.0, "{psnr} dB");
}

/// On a grey clip nothing hides a seam. An untrained network draws a fine texture there: tiles may
/// neither change it nor leave an edge in it.
#[test]
fn a_grey_clip_shows_no_seam() {
    let (model, clip) = (deblurring(), moving([6, 64, 320]));
    let grey = Volume::filled(clip.dims(), 0.5).expect("a clip");
    let both = Both::of(&model, &grey, [0, 192, 0, 64]);
    let psnr = both.psnr(gain(&model, &clip));
    let steps = steps(&both.tiled).into_iter().zip(steps(&both.whole));
    let worst = steps.map(|(tiled, whole)| tiled / whole).fold(0.0, f32::max);
    eprintln!("grey: {psnr:.1} dB; steps at most {worst:.3} times those of the whole clip");
    assert!(psnr > 50.0, "{psnr} dB");
    assert!(worst < 1.15, "a step {worst} times as large as in the whole clip");
}
