//! Weights of a network that sees fewer channels: the first convolution gets further ones.

use std::collections::BTreeMap;

use vrt_model::checkpoint::CheckpointError;
use vrt_model::config::VrtFields;
use vrt_model::{Checkpoint, VrtConfig};

use crate::parameters::Parameters;

/// The convolution that sees the input.
const FIRST: &str = "conv_first.weight";

/// Takes the first convolution of a network for fewer channels, RGB first, into `values`, with zeros
/// for further channels: at first the network answers as that of the file does, whatever these
/// show. Says so; `None` if the file's fits as it is, or is of another network.
pub(super) fn first(
    network: &VrtConfig,
    parameters: &Parameters,
    file: &Checkpoint,
    values: &mut BTreeMap<usize, Vec<f32>>,
) -> Result<Option<String>, CheckpointError> {
    let mut list = parameters.list().iter().enumerate();
    let place = list.find(|(place, it)| it.name == FIRST && !values.contains_key(place));
    let (Some((place, parameter)), Some(stored)) = (place, file.tensors().get(FIRST)) else {
        return Ok(None);
    };
    let Some(columns) = Columns::of(network, &parameter.shape, stored.shape()) else {
        return Ok(None);
    };
    values.insert(place, columns.widen(&file.read(FIRST)?));
    Ok(Some(format!(
        "{FIRST} of {:?} sees {} channels; further ones begin with zeros, up to {}",
        file.path(),
        columns.stored,
        columns.wanted
    )))
}

/// The network that `file` is held against: `network`, or the same for fewer channels where the
/// file's first convolution sees fewer.
pub(super) fn accounted(network: &VrtConfig, file: &Checkpoint) -> VrtConfig {
    let fewer = file.tensors().get(FIRST).and_then(|stored| {
        let outputs = network.first_channels();
        let taps = stored.shape().get(2..)?;
        let wanted = [&[outputs, network.first_conv_inputs()], taps].concat();
        let in_channels = Columns::of(network, &wanted, stored.shape())?.stored;
        VrtConfig::new(VrtFields { in_channels, ..network.fields().clone() }).ok()
    });
    fewer.unwrap_or_else(|| network.clone())
}

/// How inputs of both convolutions belong together: views of a frame, all channels of one after the
/// other, and what does not depend on these.
struct Columns {
    views: usize,
    /// Channels that the file's network sees.
    stored: usize,
    /// Channels that are seen now.
    wanted: usize,
    /// Further inputs: RGB along motion, and a noise map.
    others: usize,
    /// Weights of an input.
    taps: usize,
}

impl Columns {
    fn of(network: &VrtConfig, wanted: &[usize], stored: &[usize]) -> Option<Self> {
        let (&[outputs, inputs, ref taps @ ..], &[outputs_too, fewer, ref taps_too @ ..]) =
            (wanted, stored)
        else {
            return None;
        };
        if outputs != outputs_too || taps != taps_too {
            return None;
        }
        let wanted = network.in_channels();
        let views = network.views();
        let others = inputs.checked_sub(views * wanted)?;
        let fewer = fewer.checked_sub(others)?;
        let stored = fewer.checked_div(views)?;
        let fits = stored * views == fewer && (3..wanted).contains(&stored);
        let taps = taps.iter().product();
        fits.then_some(Self { views, stored, wanted, others, taps })
    }

    fn widen(&self, weights: &[f32]) -> Vec<f32> {
        let Self { views, stored, wanted, others, taps } = *self;
        let mut widened = Vec::new();
        for filter in weights.chunks_exact((views * stored + others) * taps) {
            let (seen, rest) = filter.split_at(views * stored * taps);
            for view in seen.chunks_exact(stored * taps) {
                widened.extend_from_slice(view);
                widened.resize(widened.len() + (wanted - stored) * taps, 0.0);
            }
            widened.extend_from_slice(rest);
        }
        widened
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_channels_follow_those_of_every_view() {
        let columns = Columns { views: 2, stored: 3, wanted: 4, others: 1, taps: 1 };
        let weights: Vec<f32> = (1..=14).map(|at| at as f32).collect();
        let expected =
            [1., 2., 3., 0., 4., 5., 6., 0., 7., 8., 9., 10., 0., 11., 12., 13., 0., 14.];
        assert_eq!(columns.widen(&weights), expected);
    }
}
