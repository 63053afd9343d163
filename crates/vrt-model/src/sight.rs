//! What the first convolution of a folding network sees before it is trained.

use crate::trail::{self, GAIN};

/// Pixels of a place, and samples of a neighbour that is warped to it.
const FOUR: usize = 4;

/// What is seen of each pixel: itself, and two neighbours.
const VIEWS: usize = 1 + 2 * FOUR;

/// Taps of the kernel, and the one in the middle.
const TAPS: usize = 9;
const MIDDLE: usize = 4;

/// Weights `[outputs, inputs, 3, 3]` of a first convolution whose first filters say, for each of
/// `channels`: the mean of the four pixels of a place; their three differences, as Haar's wavelet
/// takes them; the mean less that of the places around; and less those that the later and the
/// earlier neighbour show there. One more shows the map of noise, if there is one. Further ones are
/// `drawn`; those of a network that looks along motion see that alone.
///
/// A sum of a thousand inputs with random weights shows brightness, and next to nothing of what is
/// wrong with a picture: small networks had hardly begun to tell the two apart after hundreds of
/// steps.
///
/// Inputs are the four pixels of a place (channels innermost), for each neighbour four samples of
/// the same, perhaps samples of RGB along motion and spikes that are added up along it, and perhaps
/// a map of noise.
pub(crate) fn sight(drawn: Vec<f32>, inputs: usize, channels: usize) -> Vec<f32> {
    let mut weights = drawn;
    let mut filters = weights.chunks_exact_mut(inputs * TAPS);
    for ((kind, channel), filter) in all(channels).zip(filters.by_ref()) {
        filter.fill(0.0);
        fill(filter, kind, channel, channels);
    }
    let views = VIEWS * FOUR * channels;
    let trails = inputs >= views + FOUR * trail::CHANNELS;
    let noise_map = inputs % FOUR == 1;
    if let Some(filter) = noise_map.then(|| filters.next()).flatten() {
        filter.fill(0.0);
        filter[(inputs - 1) * TAPS + MIDDLE] = GAIN;
    }
    if trails {
        filters.for_each(|filter| filter[..views * TAPS].fill(0.0));
    }
    weights
}

#[derive(Clone, Copy)]
enum Kind {
    Mean,
    Difference([f32; FOUR]),
    Around,
    Neighbour(usize),
}

/// All filters in order.
fn all(channels: usize) -> impl Iterator<Item = (Kind, usize)> {
    let kinds = [
        Kind::Mean,
        Kind::Difference([1.0, 1.0, -1.0, -1.0]),
        Kind::Difference([1.0, -1.0, 1.0, -1.0]),
        Kind::Difference([1.0, -1.0, -1.0, 1.0]),
        Kind::Around,
        Kind::Neighbour(0),
        Kind::Neighbour(1),
    ];
    kinds.into_iter().flat_map(move |kind| (0..channels).map(move |channel| (kind, channel)))
}

fn fill(filter: &mut [f32], kind: Kind, channel: usize, channels: usize) {
    let quarter = 1.0 / FOUR as f32;
    let mut add = |pixel: usize, tap: usize, weight: f32| {
        filter[(pixel * channels + channel) * TAPS + tap] += weight;
    };
    for pixel in 0..FOUR {
        match kind {
            Kind::Mean => add(pixel, MIDDLE, quarter),
            Kind::Difference(signs) => add(pixel, MIDDLE, GAIN * quarter * signs[pixel]),
            Kind::Around => {
                add(pixel, MIDDLE, GAIN * quarter);
                (0..TAPS).for_each(|tap| add(pixel, tap, -GAIN * quarter / TAPS as f32));
            }
            Kind::Neighbour(which) => {
                add(pixel, MIDDLE, GAIN * quarter);
                let first = FOUR + which * FOUR * FOUR + pixel;
                let samples = (first..).step_by(FOUR).take(FOUR);
                samples.for_each(|at| add(at, MIDDLE, -GAIN * quarter * quarter));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANNELS: usize = 3;
    const INPUTS: usize = FOUR * CHANNELS * VIEWS + 1;

    /// What each filter answers where all taps show `inputs`.
    fn answers(inputs: impl Fn(usize) -> f32) -> Vec<f32> {
        let weights = sight(vec![0.5; 24 * INPUTS * TAPS], INPUTS, CHANNELS);
        let filters = weights.chunks_exact(INPUTS * TAPS);
        let answer = |filter: &[f32]| {
            filter.iter().enumerate().map(|(at, weight)| weight * inputs(at / TAPS)).sum()
        };
        filters.map(answer).collect()
    }

    #[test]
    fn only_means_and_drawn_filters_see_brightness() {
        let found = answers(|input| if input + 1 < INPUTS { 1.0 } else { 0.0 });
        for (at, answer) in found.iter().enumerate() {
            match at {
                0..3 => assert_eq!(*answer, 1.0),
                3..22 => assert!(answer.abs() < 1e-5, "filter {at}: {answer}"),
                _ => assert!(*answer > 100.0, "filter {at}: {answer}"),
            }
        }
    }

    #[test]
    fn each_filter_sees_its_own_channel_and_neighbour() {
        let found = answers(|input| if input + 1 == INPUTS { 0.5 } else { 0.0 });
        assert_eq!(found[..22], [[0.0; 21].as_slice(), &[GAIN / 2.0]].concat(), "the map of noise");
        // Green of the pixels of the left column, in the frame itself: column, row, channel.
        let found = answers(|input| if input == 1 || input == 4 { 1.0 } else { 0.0 });
        assert_eq!(found[..3], [0.0, 0.5, 0.0]);
        assert_eq!(found[3..6], [0.0, GAIN / 2.0, 0.0], "columns differ");
        assert_eq!(found[6..12], [0.0; 6], "rows do not");
        // Blue of all that the earlier neighbour shows.
        let earlier = FOUR * CHANNELS * 5..FOUR * CHANNELS * 9;
        let found =
            answers(
                |input| {
                    if earlier.contains(&input) && input % CHANNELS == 2 { 1.0 } else { 0.0 }
                },
            );
        assert_eq!(found[..18], [0.0; 18], "the later one shows nothing");
        assert_eq!(found[18..21], [0.0, 0.0, -GAIN]);
    }
}
