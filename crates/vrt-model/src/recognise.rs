//! What a network is, told from the names and shapes of its tensors alone.
//!
//! Three things cannot be told: the drop path rate and a coarse flow, which are taken as published,
//! and windows that are not square.

use std::collections::BTreeMap;

use crate::config::{
    ConfigError, FOLD, MAX_DEPTH, MAX_ENTRIES, PAIR, RGB_CHANNELS, Reach, SCALED_STAGES, VrtConfig,
    VrtFields,
};
use crate::inventory::{HEAD_WIDTH, KERNEL, PER_TAP};
use crate::trail::{self, GATHERED, SAMPLES};

/// Names and shapes of the tensors of a checkpoint.
pub type Shapes = BTreeMap<String, Vec<usize>>;

/// Tensors that every network has, one for each thing that is read off a name.
const LANDMARKS: [&str; 12] = [
    "conv_first.weight",
    "stage1.linear1.weight",
    "stage2.linear1.weight",
    "stage3.linear1.weight",
    "stage4.linear1.weight",
    "stage5.linear1.weight",
    "stage6.linear1.weight",
    "stage7.linear1.weight",
    "stage8.0.2.weight",
    "norm.weight",
    "conv_after_body.weight",
    "conv_last.weight",
];
/// Views of a frame that the first convolution sees: itself and four samples of two neighbours.
const VIEWS: usize = 9;
/// RGB of the pixels that are one to a folded network.
const FOLDED_RGB: usize = RGB_CHANNELS * FOLD * FOLD;

/// The same, enlarged by 2.
const ENLARGED_RGB: usize = 4 * FOLDED_RGB;

/// Both with what samples along motion weigh.
const WEIGHED_RGB: usize = FOLDED_RGB + FOLD * FOLD * SAMPLES;
const WEIGHED_ENLARGED_RGB: usize = ENLARGED_RGB + FOLD * FOLD * SAMPLES;

/// The same with what spikes that were gathered along motion weigh.
const GATHERED_RGB: usize = WEIGHED_RGB + FOLD * FOLD * GATHERED;
const GATHERED_ENLARGED_RGB: usize = WEIGHED_ENLARGED_RGB + FOLD * FOLD * GATHERED;

/// Entries of the published upsampler's list per factor.
const UPSAMPLE_ENTRIES: usize = 5;
/// Names of an unknown checkpoint that an error shows.
const SHOWN: usize = 3;
const TABLE: &str = "attn.relative_position_bias_table";

/// Why names and shapes do not tell a network.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RecogniseError {
    /// The checkpoint is of some other network.
    #[error(
        "these are not the weights of a VRT network: {} missing, and {held} tensors such as {} \
         are there{}",
        missing.join(", "),
        some(found),
        hint(found)
    )]
    Other {
        /// Tensors that every VRT network has and this checkpoint has not.
        missing: Vec<String>,
        /// Tensors the checkpoint holds.
        held: usize,
        /// Some of their names.
        found: Vec<String>,
    },
    /// A tensor's shape is that of no network.
    #[error("tensor {name} has shape {shape:?}, but {expected}")]
    Shape {
        /// Which tensor.
        name: String,
        /// Its sizes.
        shape: Vec<usize>,
        /// What it should be like.
        expected: &'static str,
    },
    /// A tensor that the others call for is missing.
    #[error("tensor {0} is missing, without which the network cannot be told")]
    Missing(String),
    /// No ratio explains the sizes.
    #[error("{what} of the stages follow no common ratio; name the network in an option file")]
    Ratio {
        /// What has those sizes.
        what: &'static str,
    },
    /// What was read makes no network.
    #[error("the tensors' shapes contradict each other: {0}")]
    Config(#[from] ConfigError),
}

fn some(found: &[String]) -> String {
    if found.is_empty() { "none".to_owned() } else { found.join(", ") }
}

/// What an unknown checkpoint may be.
fn hint(found: &[String]) -> &'static str {
    // How states of `vrt train` begin their names.
    let of_state = |name: &String| {
        ["average.", "mean.", "square.", "weights."].iter().any(|start| name.starts_with(start))
    };
    match found.iter().any(of_state) {
        true => {
            "; this looks like the state of a training run, whose weights are beside it in models/"
        }
        false => "",
    }
}

/// The network that has tensors of these names and shapes, with the published drop path rate.
///
/// Only what tells networks apart is read; whether every tensor is there and fits is for
/// [`account`](crate::checkpoint::account) to say.
///
/// # Errors
///
/// Fails if the tensors are of another network, naming what is missing, or contradict each other.
pub fn recognise(shapes: &Shapes) -> Result<VrtConfig, RecogniseError> {
    let missing = LANDMARKS.iter().filter(|name| !shapes.contains_key(**name));
    let missing: Vec<_> = missing.map(|name| (*name).to_owned()).collect();
    if !missing.is_empty() {
        let found = shapes.keys().take(SHOWN).cloned().collect();
        return Err(RecogniseError::Other { missing, held: shapes.len(), found });
    }
    Reading { shapes }.config()
}

struct Reading<'a> {
    shapes: &'a Shapes,
}

/// Sizes of one stage or one entry of stage 8.
struct Entry {
    channels: usize,
    heads: usize,
    pair_blocks: usize,
    blocks: usize,
    hidden: usize,
    /// Rows of the position table of blocks that are not in pairs.
    rows: usize,
}

impl Reading<'_> {
    fn config(&self) -> Result<VrtConfig, RecogniseError> {
        let stages = (1..=SCALED_STAGES).map(|stage| self.stage(stage));
        let stages: Vec<Entry> = stages.collect::<Result<_, _>>()?;
        // The first part of stage 8 is no entry.
        let refining = self.count("stage8.", MAX_ENTRIES);
        let refining = (1..refining).map(|entry| self.refining(entry));
        let refining: Vec<Entry> = refining.collect::<Result<_, _>>()?;
        let (window, plane) = self.window(&stages, &refining)?;
        let (reach, deformable_groups) = self.alignment(stages[0].channels)?;
        let (fold, enlarged, along) = self.fold()?;
        let trails = along > 0;
        let (in_channels, noise_map) = self.inputs(reach, fold, along)?;
        let independent = refining.iter().enumerate();
        let independent = independent.filter(|(_, entry)| entry.rows == plane);
        let independent = independent.map(|(i, _)| SCALED_STAGES + i).collect();
        let entries = || stages.iter().chain(&refining);
        let hidden = entries().map(|entry| (entry.channels, entry.hidden));
        let pairs = stages.iter().map(|stage| (stage.blocks, stage.pair_blocks));
        let published = VrtFields::default();
        Ok(VrtConfig::new(VrtFields {
            upscale: enlarged.map_or_else(|| self.upscale(), Ok)?,
            in_channels,
            noise_map,
            fold,
            trails,
            coarse_flow: false,
            window,
            depths: entries().map(|entry| entry.blocks).collect(),
            embed_dims: entries().map(|entry| entry.channels).collect(),
            heads: entries().map(|entry| entry.heads).collect(),
            independent,
            reach,
            fused_frames: self.fused_frames(stages[0].channels)?,
            deformable_groups,
            mlp_ratio: ratio(published.mlp_ratio, hidden)
                .ok_or(RecogniseError::Ratio { what: "the widths of the MLPs" })?,
            mul_attn_ratio: ratio(published.mul_attn_ratio, pairs)
                .ok_or(RecogniseError::Ratio { what: "the counts of mutual attention blocks" })?,
            drop_path_rate: published.drop_path_rate,
        })?)
    }

    fn stage(&self, stage: usize) -> Result<Entry, RecogniseError> {
        let [channels, _] = self.sizes(&format!("stage{stage}.linear1.weight"))?;
        let pairs = self.blocks(&format!("stage{stage}.residual_group1"));
        self.entry(&format!("stage{stage}.residual_group2"), channels, pairs)
    }

    fn refining(&self, entry: usize) -> Result<Entry, RecogniseError> {
        let [channels, _] = self.sizes(&format!("stage8.{entry}.linear.weight"))?;
        self.entry(&format!("stage8.{entry}.residual_group"), channels, 0)
    }

    /// The sizes of a group of blocks, before which `pair_blocks` come.
    fn entry(
        &self,
        group: &str,
        channels: usize,
        pair_blocks: usize,
    ) -> Result<Entry, RecogniseError> {
        let [rows, heads] = self.sizes(&format!("{group}.blocks.0.{TABLE}"))?;
        let [hidden, _] = self.sizes(&format!("{group}.blocks.0.mlp.fc11.weight"))?;
        let blocks = pair_blocks + self.blocks(group);
        Ok(Entry { channels, heads, pair_blocks, blocks, hidden, rows })
    }

    fn blocks(&self, group: &str) -> usize {
        self.count(&format!("{group}.blocks."), MAX_DEPTH)
    }

    /// How many parts are numbered behind `prefix`: one more than the highest number below
    /// `most`, so that a part of which a tensor is missing counts all the same.
    fn count(&self, prefix: &str, most: usize) -> usize {
        let numbers = self.under(prefix).filter_map(|rest| {
            let (number, _) = rest.split_once('.')?;
            number.parse().ok().filter(|&number: &usize| number < most)
        });
        numbers.max().map_or(0, |last| last + 1)
    }

    /// What follows `prefix` in the names that start with it.
    fn under(&self, prefix: &str) -> impl Iterator<Item = &str> {
        let names = self.shapes.range(prefix.to_owned()..).map(|(name, _)| name.as_str());
        names.map_while(move |name| name.strip_prefix(prefix))
    }

    /// The window of most blocks, and the rows of a position table for one of its frames.
    fn window(
        &self,
        stages: &[Entry],
        refining: &[Entry],
    ) -> Result<([usize; 3], usize), RecogniseError> {
        let name = format!("stage1.residual_group2.blocks.0.{TABLE}");
        let rows = stages[0].rows;
        let wrong = |name: &str, expected| RecogniseError::Shape {
            name: name.to_owned(),
            shape: self.shapes.get(name).cloned().unwrap_or_default(),
            expected,
        };
        let paired = (1..=SCALED_STAGES)
            .map(|stage| format!("stage{stage}.residual_group1.blocks.0.{TABLE}"))
            .find(|name| self.shapes.contains_key(name));
        let plane = match &paired {
            Some(pair) => {
                let [rows, _] = self.sizes(pair)?;
                rows / (2 * PAIR - 1)
            }
            // Without pairs: a window of one frame, if there is one, is the smallest.
            None => refining.iter().map(|entry| entry.rows).min().unwrap_or(rows),
        };
        let side = plane.isqrt();
        if side * side != plane || side.is_multiple_of(2) {
            let name = paired.as_ref().unwrap_or(&name);
            let expected = "windows that are square have rows for every offset between two \
                            places; name the network in an option file if yours are not";
            return Err(wrong(name, expected));
        }
        let offsets = rows / plane;
        if offsets * plane != rows || offsets.is_multiple_of(2) {
            return Err(wrong(&name, "its rows are an odd number of frames' offsets"));
        }
        let size = side.div_ceil(2);
        Ok(([offsets.div_ceil(2), size, size], plane))
    }

    /// Reach, and groups where there is one.
    fn alignment(&self, channels: usize) -> Result<(Reach, usize), RecogniseError> {
        let first = "stage1.pa_deform.conv_offset.0.weight";
        if self.under("stage1.pa_deform.").next().is_none() {
            return Ok((Reach::None, 0));
        }
        let [_, inputs, _, _] = self.sizes(first)?;
        let reach = inputs.saturating_sub(channels) / channels.saturating_add(2);
        let fits = |&reach: &Reach| {
            reach != Reach::None
                && crate::inventory::offset_inputs(channels.min(inputs), reach.frames()) == inputs
        };
        let reach = Reach::from_frames(reach).filter(fits);
        let reach = reach.ok_or_else(|| {
            let expected = "its inputs are the features and flows of 1, 2 or 3 neighbours";
            self.wrong(first, expected)
        })?;
        let last = "stage1.pa_deform.conv_offset.6.weight";
        let [outputs, _, _, _] = self.sizes(last)?;
        let per_group = PER_TAP * KERNEL * KERNEL;
        if outputs % per_group != 0 {
            return Err(self.wrong(last, "its outputs are 27 for each deformable group"));
        }
        Ok((reach, outputs / per_group))
    }

    /// Channels of the input without the noise map, and whether there is one.
    fn inputs(
        &self,
        reach: Reach,
        fold: usize,
        along: usize,
    ) -> Result<(usize, bool), RecogniseError> {
        let name = "conv_first.weight";
        let [_, inputs, _, _, _] = self.sizes(name)?;
        if reach == Reach::None {
            return Ok((inputs, false));
        }
        let seen = VIEWS * fold * fold;
        match inputs.checked_sub(along * fold * fold).map(|inputs| (inputs / seen, inputs % seen)) {
            Some((channels, noise @ (0 | 1))) => Ok((channels, noise == 1)),
            _ => Err(self.wrong(name, "its inputs are all views of each channel and a noise map")),
        }
    }

    fn upscale(&self) -> Result<usize, RecogniseError> {
        let entries = self.count("upsample.", UPSAMPLE_ENTRIES * MAX_ENTRIES);
        let Some(last) = entries.checked_sub(1) else {
            return Ok(1);
        };
        let steps = last / UPSAMPLE_ENTRIES;
        let [outputs, _, _, _, _] = self.sizes("upsample.0.weight")?;
        match (outputs / HEAD_WIDTH, steps) {
            (9, 1) => Ok(3),
            (4, 1..4) => Ok(1 << steps),
            _ => {
                let expected = "upsamplers by 2, 3, 4 and 8 start with 256 or 576 outputs";
                Err(self.wrong("upsample.0.weight", expected))
            }
        }
    }

    /// Frames that are fused to one, where they are.
    fn fused_frames(&self, channels: usize) -> Result<Option<usize>, RecogniseError> {
        let name = "linear_fuse.weight";
        if !self.shapes.contains_key(name) {
            return Ok(None);
        }
        let [_, inputs, _, _] = self.sizes(name)?;
        match inputs.checked_rem(channels) {
            Some(0) => Ok(Some(inputs / channels)),
            _ => Err(self.wrong(name, "its inputs are all channels of some frames")),
        }
    }

    /// Pixels of a side that are one to the network, by how much it enlarges them if they are more
    /// than one, and channels of what it sees along motion and weighs: its outputs tell.
    fn fold(&self) -> Result<(usize, Option<usize>, usize), RecogniseError> {
        let name = "conv_last.weight";
        match self.shapes.get(name).map(Vec::as_slice) {
            Some([RGB_CHANNELS, ..]) => Ok((1, None, 0)),
            Some([FOLDED_RGB, ..]) => Ok((FOLD, Some(1), 0)),
            Some([ENLARGED_RGB, ..]) => Ok((FOLD, Some(2), 0)),
            Some([WEIGHED_RGB, ..]) => Ok((FOLD, Some(1), trail::CHANNELS)),
            Some([WEIGHED_ENLARGED_RGB, ..]) => Ok((FOLD, Some(2), trail::CHANNELS)),
            Some([GATHERED_RGB, ..]) => Ok((FOLD, Some(1), trail::CHANNELS + GATHERED)),
            Some([GATHERED_ENLARGED_RGB, ..]) => Ok((FOLD, Some(2), trail::CHANNELS + GATHERED)),
            _ => {
                let expected = "networks put out RGB, 3 channels, or 12 or 48 for pixels folded \
                                by 2, and 48 more if they weigh what they see along motion, 64 with spikes";
                Err(self.wrong(name, expected))
            }
        }
    }

    /// The sizes of a tensor that has to have so many.
    fn sizes<const N: usize>(&self, name: &str) -> Result<[usize; N], RecogniseError> {
        let shape = self.shapes.get(name);
        let shape = shape.ok_or_else(|| RecogniseError::Missing(name.to_owned()))?;
        let expected = "published networks have another number of sizes there";
        shape.as_slice().try_into().map_err(|_| self.wrong(name, expected))
    }

    fn wrong(&self, name: &str, expected: &'static str) -> RecogniseError {
        let shape = self.shapes.get(name).cloned().unwrap_or_default();
        RecogniseError::Shape { name: name.to_owned(), shape, expected }
    }
}

/// A ratio `r` with `⌊size · r⌋ = part` for all `(size, part)`: the `usual` one if it is.
fn ratio(usual: f64, pairs: impl Iterator<Item = (usize, usize)> + Clone) -> Option<f64> {
    let quotients =
        |more: f64| pairs.clone().map(move |(size, part)| (part as f64 + more) / size as f64);
    let least = quotients(0.0).fold(0.0, f64::max);
    let below = quotients(1.0).fold(f64::INFINITY, f64::min);
    let fits =
        |&ratio: &f64| pairs.clone().all(|(size, part)| (size as f64 * ratio) as usize == part);
    [usual, least, (least + below) / 2.0].into_iter().find(fits)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vrt_testing::Fixture;

    use super::*;
    use crate::config::tests::valid_fields;
    use crate::inventory::tests::{golden_config, golden_parameters};
    use crate::presets::Preset;

    fn shapes(config: &VrtConfig) -> Shapes {
        config.tensors().into_iter().map(|spec| (spec.name, spec.shape)).collect()
    }

    #[test]
    fn presets_are_recognised() {
        for preset in Preset::all() {
            let config = preset.config();
            assert_eq!(recognise(&shapes(&config)).as_ref(), Ok(&config), "{}", preset.id);
        }
    }

    #[test]
    fn golden_networks_are_recognised() {
        for name in vrt_testing::NETWORKS {
            let Some(fixture) = Fixture::try_load(&format!("models/{name}")) else {
                continue;
            };
            let found = recognise(&golden_parameters(&fixture).collect()).expect(name);
            let expected = golden_config(&fixture);
            assert!(found.same_network(&expected), "{name}: {found:?} is not {expected:?}");
        }
    }

    proptest! {
        #[test]
        fn every_network_is_recognised(fields in valid_fields()) {
            // No tensor tells how fine the flow is.
            let fields = VrtFields { coarse_flow: false, ..fields };
            let config = VrtConfig::new(fields).expect("valid");
            prop_assert_eq!(recognise(&shapes(&config)), Ok(config));
        }

        #[test]
        fn other_ratios_are_found_too(mlp in 0.5_f64..5.0, pairs in 0.0_f64..0.99) {
            let fields = VrtFields { mlp_ratio: mlp, mul_attn_ratio: pairs, ..VrtFields::default() };
            let config = VrtConfig::new(fields).expect("valid");
            let found = recognise(&shapes(&config)).expect("a network");
            prop_assert_eq!(found.tensors(), config.tensors());
        }

        #[test]
        fn no_shape_makes_it_panic(
            changes in prop::collection::vec(
                (any::<prop::sample::Index>(), prop::collection::vec(any::<usize>(), 0..6)),
                1..6,
            ),
        ) {
            let mut shapes = shapes(&Preset::all()[7].config());
            let names: Vec<_> = shapes.keys().filter(|name| {
                ["conv_", "linear", "table", "fc11", "0.2"].iter().any(|part| name.contains(part))
            }).cloned().collect();
            for (index, shape) in changes {
                shapes.insert(index.get(&names).clone(), shape);
            }
            // Whatever the answer: it is one.
            let _ = recognise(&shapes).map_err(|error| error.to_string());
        }
    }

    #[test]
    fn another_network_is_refused_by_what_is_missing() {
        let mut other = shapes(&Preset::all()[5].config());
        other.retain(|name, _| !name.starts_with("stage8") && !name.starts_with("conv_last"));
        let error = recognise(&other).expect_err("parts are missing");
        let RecogniseError::Other { missing, held, .. } = &error else { panic!("{error}") };
        assert_eq!(missing, &["stage8.0.2.weight", "conv_last.weight"]);
        assert_eq!(*held, other.len());
        let empty = recognise(&Shapes::new()).expect_err("nothing is there").to_string();
        assert!(empty.contains("conv_first.weight") && empty.contains("none"), "{empty}");
    }

    #[test]
    fn contradicting_shapes_are_named() {
        let cases: [(&str, &[usize]); 5] = [
            ("conv_first.weight", &[96, 29, 1, 3, 3]),
            ("stage1.pa_deform.conv_offset.0.weight", &[96, 193, 3, 3]),
            ("stage1.pa_deform.conv_offset.6.weight", &[431, 96, 3, 3]),
            ("stage1.residual_group1.blocks.0.attn.relative_position_bias_table", &[700, 6]),
            ("conv_last.weight", &[1, 96, 1, 3, 3]),
        ];
        for (name, shape) in cases {
            let mut shapes = shapes(&Preset::all()[5].config());
            shapes.insert(name.to_owned(), shape.to_vec());
            let error = recognise(&shapes).expect_err(name);
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}
