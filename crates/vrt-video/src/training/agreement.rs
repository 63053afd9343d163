//! Whether spikes show what their frames do.

use serde::Serialize;
use vrt_spike::{BitOrder, Geometry};

use super::{DataError, SpikeTree};
use crate::Frame;
use crate::picture::GREY;

/// The least correlation of spikes and brightness; that of a real camera beside the sharp frame is
/// 0.97 and more.
const LEAST: f64 = 0.8;

/// By how much another reading has to agree better before this one is doubted.
const BETTER: f64 = 0.01;

/// How well the spikes of a clip's middle frame show what the frame does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// Clip and frame.
    pub key: String,
    /// The correlation of spikes and brightness.
    pub correlation: f64,
    /// What is wrong, if anything, and what to do about it.
    pub problem: Option<String>,
}

impl Agreement {
    /// That of the spikes of frame `key` and the frame itself, R, G, B.
    ///
    /// # Errors
    ///
    /// Says that the stream is not there, cannot be read, or has another shape than the frame.
    pub(super) fn of(spikes: &SpikeTree, key: &str, frame: &Frame) -> Result<Self, DataError> {
        let luma: Vec<f64> = frame.samples().chunks_exact(3).map(luma).collect();
        let size = (frame.width(), frame.height());
        let agreement = |spikes: &SpikeTree| {
            let pictures = spikes.read(key, size)?;
            let mut mean = vec![0.0; luma.len()];
            for picture in &pictures {
                mean.iter_mut().zip(picture.samples()).for_each(|(m, s)| *m += f64::from(*s));
            }
            Ok::<_, DataError>(correlation(&mean, &luma))
        };
        let found = agreement(spikes)?;
        let geometry = spikes.open(key)?.geometry();
        let others = readings(geometry)
            .map(|(geometry, advice)| Ok((agreement(&spikes.read_as(geometry))?, advice)));
        let others = others.into_iter().collect::<Result<Vec<_>, DataError>>()?;
        let best = others.into_iter().max_by(|a, b| a.0.total_cmp(&b.0));
        let problem = match best {
            Some((better, advice)) if better > found + BETTER && better >= LEAST => Some(format!(
                "spikes of {key} agree with brightness by {found:.3}, and by {better:.3} {advice}"
            )),
            _ if found < LEAST => Some(format!(
                "spikes of {key} agree with brightness by {found:.3}, less than {LEAST}: they are \
                 of another frame, or lie otherwise than stated"
            )),
            _ => None,
        };
        Ok(Self { key: key.to_owned(), correlation: found, problem })
    }
}

/// Other ways to read the same bytes, and what to do if one is right.
fn readings(g: Geometry) -> [(Geometry, &'static str); 3] {
    let other = match g.order() {
        BitOrder::LeastFirst => BitOrder::MostFirst,
        BitOrder::MostFirst => BitOrder::LeastFirst,
    };
    let turned = g.with_upright(!g.upright());
    let order = "with the other order of bits: change --spike-bit-order (spike_bit_order)";
    let rows = "with rows the other way up: change --spike-upright (spike_upright)";
    let both = "with the other order of bits and rows the other way up: change --spike-bit-order and \
                --spike-upright (spike_bit_order, spike_upright)";
    [(g.with_order(other), order), (turned, rows), (turned.with_order(other), both)]
}

fn luma(pixel: &[f32]) -> f64 {
    pixel.iter().zip(GREY).map(|(sample, weight)| f64::from(sample * weight)).sum()
}

/// The correlation of two lists; 0 where one of them is flat.
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a - mean_a, b - mean_b);
        (ab, aa, bb) = (ab + a * b, aa + a * a, bb + b * b);
    }
    if aa > 0.0 && bb > 0.0 { ab / (aa * bb).sqrt() } else { 0.0 }
}
