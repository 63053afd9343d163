//! Weights of a network that sees fewer channels: its first convolution gets further inputs, and its
//! last one further outputs where it weighs them.

use std::collections::BTreeMap;

use vrt_model::checkpoint::CheckpointError;
use vrt_model::config::VrtFields;
use vrt_model::{Checkpoint, VrtConfig};

use crate::parameters::Parameters;

/// The convolution that sees the input.
const FIRST: &str = "conv_first.weight";

/// That which makes pictures, and its constants.
const LAST: [&str; 2] = ["conv_last.weight", "conv_last.bias"];

/// A network with fewer spike channels than the one that is trained.
pub(super) struct Narrower<'a> {
    network: &'a VrtConfig,
    stored: VrtConfig,
}

impl<'a> Narrower<'a> {
    /// The network of `file`, if it is `network` but for fewer channels, RGB at least. One that adds
    /// spikes up along motion must have none yet: what it knows of them holds for as many parts.
    pub(super) fn of(network: &'a VrtConfig, file: &Checkpoint) -> Option<Self> {
        let &[_, inputs, ..] = file.tensors().get(FIRST)?.shape() else { return None };
        let most =
            if network.trails() { 4.min(network.in_channels()) } else { network.in_channels() };
        let candidates = (3..most).filter_map(|in_channels| {
            VrtConfig::new(VrtFields { in_channels, ..network.fields().clone() }).ok()
        });
        let stored = candidates.into_iter().find(|it| it.first_conv_inputs() == inputs)?;
        Some(Self { network, stored })
    }

    /// What the file is held against.
    pub(super) fn config(&self) -> &VrtConfig {
        &self.stored
    }

    /// Puts the file's first and last convolution into `values`, with zeros for what they have not:
    /// at first the network answers as that of the file does, whatever further channels show. Says
    /// which; `None` if they fit neither.
    ///
    /// # Errors
    ///
    /// Fails if they cannot be read.
    pub(super) fn widen(
        &self,
        parameters: &Parameters,
        file: &Checkpoint,
        values: &mut BTreeMap<usize, Vec<f32>>,
    ) -> Result<Option<String>, CheckpointError> {
        let mut names = Vec::new();
        for (place, parameter) in parameters.list().iter().enumerate() {
            let name = parameter.name.as_str();
            let Some(stored) = file.tensors().get(name) else { continue };
            let widened = match (name == FIRST, LAST.contains(&name)) {
                (true, _) => self.first(&parameter.shape, &file.read(name)?),
                (_, true) => last(&parameter.shape, stored.shape(), &file.read(name)?),
                _ => continue,
            };
            if let Some(widened) = widened {
                values.insert(place, widened);
                names.push(name);
            }
        }
        let said = format!(
            "{:?} is of a network that sees {} channels; weights of further ones, up to {}, begin \
             with zeros in {}",
            file.path(),
            self.stored.in_channels(),
            self.network.in_channels(),
            names.join(", ")
        );
        Ok((!names.is_empty()).then_some(said))
    }

    /// Views of a frame, all channels of one after the other, then what it sees along motion, with
    /// further channels last, and a map of noise.
    fn first(&self, shape: &[usize], weights: &[f32]) -> Option<Vec<f32>> {
        let &[outputs, inputs, ref taps @ ..] = shape else { return None };
        let taps: usize = taps.iter().product();
        let fewer = self.stored.first_conv_inputs();
        let (views, noise) = (self.network.views(), usize::from(self.network.noise_map()));
        let (wanted, had) = (self.network.in_channels(), self.stored.in_channels());
        if taps == 0 || weights.len() != outputs * fewer * taps {
            return None;
        }
        let mut widened = Vec::with_capacity(outputs * inputs * taps);
        for (at, filter) in weights.chunks_exact(fewer * taps).enumerate() {
            let (seen, rest) = filter.split_at(views * had * taps);
            let (along, noise_map) = rest.split_at(rest.len() - noise * taps);
            for view in seen.chunks_exact(had * taps) {
                widened.extend_from_slice(view);
                widened.resize(widened.len() + (wanted - had) * taps, 0.0);
            }
            widened.extend_from_slice(along);
            widened.resize(((at + 1) * inputs - noise) * taps, 0.0);
            widened.extend_from_slice(noise_map);
        }
        Some(widened)
    }
}

/// All outputs of one folded pixel after the other, further ones last.
fn last(shape: &[usize], stored: &[usize], weights: &[f32]) -> Option<Vec<f32>> {
    /// Pixels that are folded to one.
    const PIXELS: usize = 4;
    let (&[wanted, ref rest @ ..], &[had, ref rest_too @ ..]) = (shape, stored) else {
        return None;
    };
    let each: usize = rest.iter().product();
    let folded = had < wanted && had.is_multiple_of(PIXELS) && wanted.is_multiple_of(PIXELS);
    // Files of strangers may have tensors without a value.
    if !folded || rest != rest_too || had * each == 0 {
        return None;
    }
    let mut widened = Vec::with_capacity(wanted * each);
    for (at, pixel) in weights.chunks_exact(had / PIXELS * each).enumerate() {
        widened.extend_from_slice(pixel);
        widened.resize((at + 1) * (wanted / PIXELS) * each, 0.0);
    }
    Some(widened)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_outputs_follow_those_of_every_pixel() {
        let weights: Vec<f32> = (1..=8).map(|at| at as f32).collect();
        let expected = [1., 2., 0., 3., 4., 0., 5., 6., 0., 7., 8., 0.];
        assert_eq!(last(&[12], &[8], &weights), Some(expected.to_vec()));
        assert_eq!(last(&[8], &[8], &weights), None);
        assert_eq!(last(&[8], &[0], &[]), None);
        assert_eq!(last(&[8, 0], &[4, 0], &[]), None);
    }
}
