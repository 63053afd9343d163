//! Pictures along their motion: what a deblurring network wants to know, side by side.
//!
//! A frame that is blurred by motion is a mean of the scene along the way that it moved. Samples of
//! the frame itself along that way make undoing it nearly a weighted sum, the same whatever the
//! direction, which is learned in a fraction of the time that it takes to find directions in the
//! picture. So the network sees these samples, and answers for every pixel what they weigh.

use burn::tensor::Tensor;
use vrt_kernels::fused;
use vrt_kernels::fused::Gathering;
use vrt_kernels::resample::Change;
use vrt_kernels::trail::{Trail, Weighing};

use crate::config::RGB_CHANNELS;
use crate::flow::Flows;
use crate::layers::{clips, frames};
use crate::resample::{Align, resized};

/// How far samples lie from their pixel, in ways from frame to frame, on both sides of it. A shutter
/// that is open all the time reaches to ½; undoing that takes some of what lies behind.
const PLACES: [f64; 6] = [0.1, 0.2, 0.3, 0.45, 0.65, 0.9];

/// Samples of a pixel.
pub(crate) const SAMPLES: usize = 2 * PLACES.len();

/// Channels of all samples of a pixel.
pub(crate) const CHANNELS: usize = SAMPLES * RGB_CHANNELS;

/// The same, both ways.
const WAYS: [f32; SAMPLES] = {
    let mut ways = [0.0; SAMPLES];
    let mut at = 0;
    while at < SAMPLES {
        let place = PLACES[at / 2] as f32;
        ways[at] = if at % 2 == 0 { place } else { -place };
        at += 1;
    }
    ways
};

/// How long an exposure may be, as shares of the time from frame to frame, when spikes are gathered
/// along the way that their pixel went in it.
const EXPOSURES: [f64; 4] = [0.25, 0.5, 0.75, 1.0];

/// Channels of spikes that are gathered so.
pub(crate) const GATHERED: usize = EXPOSURES.len();

/// What grey is made of.
const GREY: [f32; 3] = [0.299, 0.587, 0.114];

/// By how much differences are enlarged: those of a good picture are about a tenth of its
/// brightness.
pub(crate) const GAIN: f32 = 8.0;

/// What one unit of the network's answers is where it weighs samples: of pictures, and of the weight
/// of a sample. Training moves all parameters by like amounts, so that an answer of hundreds of them
/// jumps about by as much as a tenth; what blur has to be changed by is less than that.
pub(crate) const ANSWER: f32 = 1.0 / 16.0;
const WEIGHT: f32 = 1.0 / 64.0;

/// How pictures differ from themselves along their motion.
///
/// # Shapes
///
/// - `pictures`: `[b, d, h, w, c]`, `d` at least 2; a network shows their RGB alone
/// - `flows`: between their frames, at half the size
/// - output: `[b, d, h, w, SAMPLES · c]`, sample by sample
pub(crate) fn trails(pictures: &Tensor<5>, flows: &Flows) -> Tensor<5> {
    let (d, motion) = (pictures.dims()[1], motion(pictures, flows));
    let trail = Trail { places: &WAYS, gain: GAIN };
    clips(fused::trails(frames(pictures.clone()), motion, trail), d)
}

/// By how much spikes that are gathered along motion differ from those that are not.
///
/// Parts of a stream are pictures of one scene at several times: added up along its motion they show
/// it sharp, with hardly more noise than all of them added up on the spot, which show the blur. A
/// single part has no time, and is compared with the frame itself.
///
/// # Shapes
///
/// - `pictures`: RGB and spikes, `[b, d, h, w, 3 + parts]`, `d` at least 2
/// - `flows`: between their frames, at half the size
/// - output: `[b, d, h, w, GATHERED]`, exposure by exposure
pub(crate) fn gathered(pictures: &Tensor<5>, flows: &Flows) -> Tensor<5> {
    let [_, d, _, _, channels] = pictures.dims();
    let (gathering, motion) = (gathering(channels - RGB_CHANNELS), motion(pictures, flows));
    clips(fused::gathered(frames(pictures.clone()), motion, &gathering), d)
}

/// When a part of an exposure is taken: −½…½.
fn time(index: usize, parts: usize) -> f64 {
    (index as f64 + 0.5) / parts as f64 - 0.5
}

/// How parts are added up.
fn gathering(parts: usize) -> Gathering {
    let way = |exposure: &f64, index| (exposure * time(index, parts)) as f32;
    let ways =
        EXPOSURES.iter().flat_map(|exposure| (0..parts).map(move |index| way(exposure, index)));
    let mut still = GREY.to_vec();
    if parts > 1 {
        still.fill(0.0);
    }
    still.resize(RGB_CHANNELS + parts, if parts > 1 { 1.0 / parts as f32 } else { 0.0 });
    Gathering { ways: ways.collect(), parts, still, gain: GAIN }
}

/// `pictures` and what the samples of all pixels come to: their differences by what they weigh, in RGB.
/// So do spikes that were gathered, in grey.
///
/// # Shapes
///
/// - `pictures`: `[b, d, h, w, 3]`
/// - `trails`: of [`trails`], with `c` channels of pictures of which RGB are the first
/// - `gathered`: of [`gathered`]
/// - `answers`: `[b, d, h, w, ·]`, from channel `first` on what samples weigh, then what spikes do, in
///   units of [`WEIGHT`]
/// - output: `[b, d, h, w, 3]`
pub(crate) fn weighed(
    pictures: Tensor<5>,
    trails: &Tensor<5>,
    gathered: Option<&Tensor<5>>,
    (answers, first): (&Tensor<5>, usize),
) -> Tensor<5> {
    let (d, channels) = (pictures.dims()[1], trails.dims()[4] / SAMPLES);
    let greys = gathered.map_or(0, |gathered| gathered.dims()[4]);
    let weights = [answers.dims()[4], first];
    let weighing = Weighing { samples: [SAMPLES, channels], greys, weights, unit: WEIGHT };
    let [answers, trails] = [answers, trails].map(|x| frames(x.clone()));
    let greys = gathered.cloned().map(frames);
    clips(fused::weigh(frames(pictures), answers, trails, greys, weighing), d)
}

/// Where every pixel of pictures goes until the next frame: `[b·d, h, w, 2]`.
fn motion(pictures: &Tensor<5>, flows: &Flows) -> Tensor<4> {
    let [_, _, h, w, _] = pictures.dims();
    let places = frames(between(flows));
    let axes = resized(&places, [h, w], Align::Edges);
    fused::resample(places, axes, Change::new([0.0; 2], [2.0; 2]))
}

/// Where every place goes until the next frame, on average between what frames before and behind
/// say: `[b, d, h, w, 2]`.
fn between(flows: &Flows) -> Tensor<5> {
    let (later, earlier) = (&flows.later[0], &flows.earlier[0]);
    let inner = later.dims()[1] - 1;
    let first = later.clone().narrow(1, 0, 1);
    let last = fused::sum([(earlier.clone().narrow(1, inner, 1), -1.0)]);
    if inner == 0 {
        return fused::join(vec![first, last], 1);
    }
    let (later, earlier) = (later.clone().narrow(1, 1, inner), earlier.clone().narrow(1, 0, inner));
    let both = fused::sum([(later, 0.5), (earlier, -0.5)]);
    fused::join(vec![first, both, last], 1)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    fn tensor(dims: [usize; 5], at: impl Fn(usize) -> f32) -> Tensor<5> {
        let values: Vec<f32> = (0..dims.iter().product()).map(at).collect();
        Tensor::from_data(TensorData::new(values, dims), &Device::flex())
    }

    fn values(tensor: Tensor<5>) -> Vec<f32> {
        tensor.into_data().try_to_vec().expect("f32 values")
    }

    /// Flows of three frames of 4×8 places: along x by `later` and `earlier`, frame by frame.
    fn flows(later: [f32; 2], earlier: [f32; 2]) -> Flows {
        let of = |speeds: [f32; 2]| {
            tensor([1, 2, 4, 8, 2], |at| if at % 2 == 0 { speeds[at / 64] } else { 0.0 })
        };
        Flows { later: vec![of(later)], earlier: vec![of(earlier)] }
    }

    #[test]
    fn motion_is_that_of_both_sides() {
        let motion = values(between(&flows([1.0, 2.0], [-3.0, -4.0])));
        let along: Vec<f32> = motion.chunks(64).map(|frame| frame[0]).collect();
        assert_eq!(along, [1.0, 2.5, 4.0]);
        assert!(motion.iter().skip(1).step_by(2).all(|across| *across == 0.0));
    }

    #[test]
    fn samples_of_a_ramp_differ_by_the_way_to_them() {
        // Brightness rises by 1 a column; places go 2 columns of the picture a frame.
        let pictures = tensor([1, 3, 8, 16, 1], |at| (at % 16) as f32);
        let y = trails(&pictures, &flows([1.0; 2], [-1.0; 2]));
        assert_eq!(y.dims(), [1, 3, 8, 16, SAMPLES]);
        let y = values(y);
        for pixel in [16 * 4 + 7, 128 + 16 * 2 + 5, 256 + 16 * 5 + 9] {
            for (sample, found) in y[pixel * SAMPLES..][..SAMPLES].iter().enumerate() {
                let side = if sample % 2 == 0 { -1.0 } else { 1.0 };
                let expected = GAIN * (side * 2.0 * PLACES[sample / 2]) as f32;
                assert!((found - expected).abs() < 1e-4, "{pixel} {sample}: {found}, {expected}");
            }
        }
    }

    #[test]
    fn weights_are_those_of_samples_in_rgb() {
        // Two channels behind RGB; each value tells its sample and channel.
        let trails = tensor([1, 2, 2, 2, 5 * SAMPLES], |at| {
            let (sample, channel) = (at % (5 * SAMPLES) / 5, at % 5);
            (sample + 1) as f32 * [1.0, 10.0, 100.0, 0.0, 0.0][channel]
        });
        let weights = tensor([1, 2, 2, 2, SAMPLES], |at| [0.0, 2.0, 0.5][at % SAMPLES % 3]);
        let expected: f32 =
            (0..SAMPLES).map(|sample| (sample + 1) as f32 * [0.0, 2.0, 0.5][sample % 3]).sum();
        let pictures = tensor([1, 2, 2, 2, 3], |_| 1.0);
        let found = values(weighed(pictures, &trails, None, (&weights, 0)));
        assert_eq!(found.len(), 8 * 3);
        for rgb in found.chunks(3) {
            let added = [1.0, 10.0, 100.0].map(|channel| channel * expected * WEIGHT);
            assert_eq!(rgb, added.map(|added| 1.0 + added));
        }
    }

    #[test]
    fn spikes_are_gathered_where_their_pixel_went() {
        // An edge that goes 2 columns a frame, and is at column 8 in the middle of an exposure that
        // lasts half of the time: parts of a stream show it a quarter of a column apart.
        const PARTS: usize = 4;
        let exposure = 0.5;
        let edge = |column: f64, time: f64| {
            let at = column - 8.0 - 2.0 * exposure * time;
            (0.5 + 0.25 * at).clamp(0.0, 1.0)
        };
        let pictures = tensor([1, 3, 8, 16, 3 + PARTS], |at| {
            let (column, channel) = (at / (3 + PARTS) % 16, at % (3 + PARTS));
            let time = (channel as f64 - 2.5) / PARTS as f64 - 0.5;
            if channel < 3 { 0.7 } else { edge(column as f64, time) as f32 }
        });
        let y = gathered(&pictures, &flows([1.0; 2], [-1.0; 2]));
        assert_eq!(y.dims(), [1, 3, 8, 16, GATHERED]);
        let (y, x) = (values(y), values(pictures));
        for column in 3..13 {
            let pixel = 128 + 16 * 3 + column;
            let parts = &x[pixel * (3 + PARTS) + 3..][..PARTS];
            let still = f64::from(parts.iter().sum::<f32>()) / PARTS as f64;
            let sharp = edge(column as f64, 0.0);
            let found = f64::from(y[pixel * GATHERED + 1] / GAIN) + still;
            // Straight lines between columns are exact but where the edge bends.
            let bends = [6, 7, 9, 10].contains(&column);
            assert!((found - sharp).abs() < if bends { 0.06 } else { 1e-5 }, "{column}: {found}");
        }
        let of = |channels: usize, at: &dyn Fn(usize) -> f32| {
            tensor([1, 2, 2, 2, channels], |index| at(index % channels))
        };
        let [nothing, pictures] = [3 * SAMPLES, 3].map(|channels| of(channels, &|_| 0.0));
        let parts = of(GATHERED, &|at| at as f32);
        let weights = [0.0; SAMPLES].into_iter().chain([5.0, 1.0, 0.0, 2.0]).collect::<Vec<_>>();
        let weights = of(weights.len(), &|at| weights[at]);
        let grey = values(weighed(pictures, &nothing, Some(&parts), (&weights, 0)));
        assert!(grey.iter().all(|value| *value == 7.0 * WEIGHT) && grey.len() == 24);
    }

    #[test]
    fn a_single_part_is_compared_with_the_frame() {
        let pictures = tensor([1, 2, 8, 16, 4], |at| if at % 4 == 3 { 0.75 } else { 0.5 });
        let y = values(gathered(
            &pictures,
            &Flows {
                later: vec![tensor([1, 1, 4, 8, 2], |_| 0.3)],
                earlier: vec![tensor([1, 1, 4, 8, 2], |_| -0.3)],
            },
        ));
        assert!(y.iter().all(|value| (value - GAIN * 0.25).abs() < 1e-4));
    }

    #[test]
    fn what_stands_still_has_no_trail() {
        let pictures = tensor([1, 3, 8, 16, 1], |at| ((at * 7) % 13) as f32);
        let y = values(trails(&pictures, &flows([0.0; 2], [0.0; 2])));
        assert!(y.iter().all(|value| value.abs() < 1e-5));
    }
}
