//! Which configurations are networks.

use std::fmt;

use super::{FOLD, PAIR, RGB_CHANNELS, Reach, SCALED_STAGES, VrtFields, scaled};

/// By how much folding networks enlarge pictures at most.
pub(super) const MOST_FOLDED_UPSCALE: usize = 2;

/// Factors that the upsampler knows.
const UPSCALES: [usize; 5] = [1, 2, 3, 4, 8];
/// Taps of a deformable kernel.
const TAPS: usize = 9;
/// Limits on what files may ask for, far above any network that fits a machine.
const MAX_CHANNELS: usize = 4096;
const MAX_INPUTS: usize = 256;
pub(crate) const MAX_DEPTH: usize = 256;
pub(crate) const MAX_ENTRIES: usize = 64;
const MAX_WINDOW: usize = 64;
const MAX_TOKENS: usize = 4096;
const MAX_MLP_RATIO: f64 = 16.0;

/// Every reason why a configuration is not a network.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigError {
    problems: Vec<ConfigProblem>,
}

impl ConfigError {
    /// The reasons, at least one.
    pub fn problems(&self) -> &[ConfigProblem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no such network: ")?;
        for (i, problem) in self.problems.iter().enumerate() {
            let gap = if i == 0 { "" } else { "; " };
            write!(f, "{gap}{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// One reason why a configuration is not a network.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigProblem {
    /// The upsampler does not know this factor.
    #[error("upscale is {got}, not 1, 2, 3, 4 or 8")]
    Upscale {
        /// The factor.
        got: usize,
    },
    /// A number is outside of what networks have.
    #[error("{field} is {got}, not {least} to {most}")]
    OutOfRange {
        /// Which field.
        field: &'static str,
        /// Its value.
        got: usize,
        /// The smallest value it can have.
        least: usize,
        /// The largest value it can have.
        most: usize,
    },
    /// A ratio is outside of what networks have.
    #[error("{field} is {got}, not {range}")]
    Ratio {
        /// Which field.
        field: &'static str,
        /// Its value.
        got: f64,
        /// What it can be, in words.
        range: &'static str,
    },
    /// The lists that hold one entry per stage differ in length.
    #[error(
        "depths has {depths} entries, embed_dims {embed_dims} and num_heads {heads}: all need the \
         same number, 8 to {MAX_ENTRIES}"
    )]
    Lengths {
        /// Entries of `depths`.
        depths: usize,
        /// Entries of `embed_dims`.
        embed_dims: usize,
        /// Entries of `heads`.
        heads: usize,
    },
    /// Channels do not divide into heads.
    #[error("embed_dims[{entry}] is {channels}, which does not divide into {heads} heads")]
    Heads {
        /// Which entry, from 0.
        entry: usize,
        /// Its channels.
        channels: usize,
        /// Its heads.
        heads: usize,
    },
    /// The position code and the changes of size need channels in fours.
    #[error("embed_dims[{entry}] is {channels}: the first seven are multiples of 4")]
    NotInFours {
        /// Which entry, from 0.
        entry: usize,
        /// Its channels.
        channels: usize,
    },
    /// Two stages are added and need the same width.
    #[error(
        "embed_dims[{entry}] is {channels} and embed_dims[{like}] is {expected}: they are added, \
         so they must be equal"
    )]
    Unequal {
        /// Which entry, from 0.
        entry: usize,
        /// Its channels.
        channels: usize,
        /// The entry it is added to.
        like: usize,
        /// That entry's channels.
        expected: usize,
    },
    /// Neighbours do not divide a stage's channels.
    #[error("embed_dims[{entry}] is {channels}, which a reach of {reach} frames does not divide")]
    ReachDivides {
        /// Which entry, from 0.
        entry: usize,
        /// Its channels.
        channels: usize,
        /// Neighbours on each side.
        reach: usize,
    },
    /// A stage's aligned channels do not divide into deformable groups.
    #[error(
        "embed_dims[{entry}] is {channels}: {reach} times that does not divide into {groups} \
         deformable groups"
    )]
    Groups {
        /// Which entry, from 0.
        entry: usize,
        /// Its channels.
        channels: usize,
        /// Neighbours on each side.
        reach: usize,
        /// Deformable groups.
        groups: usize,
    },
    /// The offsets of all groups do not divide among the neighbours.
    #[error(
        "deformable_groups is {groups}: its offsets do not divide among {reach} neighbours, \
         so take an even number"
    )]
    OffsetParts {
        /// Deformable groups.
        groups: usize,
        /// Neighbours on each side.
        reach: usize,
    },
    /// Only entries of stage 8 can be independent.
    #[error("indep_reconsts names entry {entry}, which is not one of stage 8: 7 to {last}")]
    Independent {
        /// The entry it names.
        entry: usize,
        /// The last entry there is.
        last: usize,
    },
    /// Only networks that align fold pictures, and enlarge them by 2 at most.
    #[error(
        "fold is {fold}: networks fold 1 pixel, or 2 if they align frames (pa_frames above 0) and \
         enlarge them by 2 at most (upscale 1 or 2)"
    )]
    Fold {
        /// Pixels of a side.
        fold: usize,
    },
    /// Only networks that fold pictures look along their motion.
    #[error("trails is set where fold is 1: set fold to 2 too, or leave trails out")]
    Trails,
    /// Only networks that fold pictures take a coarser flow.
    #[error("coarse_flow is set where fold is 1: set fold to 2 too, or leave coarse_flow out")]
    CoarseFlow,
    /// Interpolation is RGB to RGB at one size.
    #[error("a network without alignment (pa_frames 0) takes no {what}")]
    WithoutAlignment {
        /// What it was asked to take.
        what: &'static str,
    },
}

/// All reasons why `fields` are not a network.
pub(super) fn check(fields: &VrtFields) -> Result<(), ConfigError> {
    let mut problems = Vec::new();
    check_numbers(fields, &mut problems);
    check_ratios(fields, &mut problems);
    let counts = [fields.depths.len(), fields.embed_dims.len(), fields.heads.len()];
    let [depths, embed_dims, heads] = counts;
    if counts.iter().any(|&n| n != depths || n <= SCALED_STAGES || n > MAX_ENTRIES) {
        problems.push(ConfigProblem::Lengths { depths, embed_dims, heads });
    } else {
        check_entries(fields, &mut problems);
        check_widths(fields, &mut problems);
        check_alignment(fields, &mut problems);
    }
    if fields.reach == Reach::None {
        check_interpolation(fields, &mut problems);
    }
    if problems.is_empty() { Ok(()) } else { Err(ConfigError { problems }) }
}

fn check_numbers(fields: &VrtFields, problems: &mut Vec<ConfigProblem>) {
    if !UPSCALES.contains(&fields.upscale) {
        problems.push(ConfigProblem::Upscale { got: fields.upscale });
    }
    let foldable = fields.upscale <= MOST_FOLDED_UPSCALE && fields.reach != Reach::None;
    if fields.fold != 1 && !(fields.fold == FOLD && foldable) {
        problems.push(ConfigProblem::Fold { fold: fields.fold });
    }
    if fields.trails && fields.fold == 1 {
        problems.push(ConfigProblem::Trails);
    }
    if fields.coarse_flow && fields.fold == 1 {
        problems.push(ConfigProblem::CoarseFlow);
    }
    let [d, h, w] = fields.window;
    let mut numbers = vec![
        ("in_chans", fields.in_channels, RGB_CHANNELS, MAX_INPUTS),
        ("window_size[0]", d, 1, MAX_WINDOW),
        ("window_size[1]", h, 1, MAX_WINDOW),
        ("window_size[2]", w, 1, MAX_WINDOW),
        ("the product of window_size", d.saturating_mul(h).saturating_mul(w), 1, MAX_TOKENS),
    ];
    if fields.reach != Reach::None {
        numbers.push(("deformable_groups", fields.deformable_groups, 1, MAX_CHANNELS));
    }
    numbers.extend(fields.depths.iter().map(|&n| ("depths", n, 1, MAX_DEPTH)));
    numbers.extend(fields.embed_dims.iter().map(|&n| ("embed_dims", n, 1, MAX_CHANNELS)));
    numbers.extend(fields.heads.iter().map(|&n| ("num_heads", n, 1, MAX_CHANNELS)));
    for (field, got, least, most) in numbers {
        if !(least..=most).contains(&got) {
            problems.push(ConfigProblem::OutOfRange { field, got, least, most });
        }
    }
}

fn check_ratios(fields: &VrtFields, problems: &mut Vec<ConfigProblem>) {
    let mut hold = |field, got: f64, fine: bool, range| {
        if !fine {
            problems.push(ConfigProblem::Ratio { field, got, range });
        }
    };
    let share = |value: f64| (0.0..1.0).contains(&value);
    let (mlp, pairs) = (fields.mlp_ratio, fields.mul_attn_ratio);
    let mut hidden = fields.embed_dims.iter().map(|&channels| scaled(channels, mlp));
    let fine = mlp > 0.0 && mlp <= MAX_MLP_RATIO && hidden.all(|hidden| hidden > 0);
    hold("mlp_ratio", mlp, fine, "more than 0 and at most 16, with at least one hidden channel");
    hold("mul_attn_ratio", pairs, share(pairs), "at least 0 and below 1");
    let rate = fields.drop_path_rate;
    hold("drop_path_rate", rate, share(rate), "at least 0 and below 1");
}

fn check_entries(fields: &VrtFields, problems: &mut Vec<ConfigProblem>) {
    for (entry, (&channels, &heads)) in fields.embed_dims.iter().zip(&fields.heads).enumerate() {
        if heads == 0 || channels % heads != 0 {
            problems.push(ConfigProblem::Heads { entry, channels, heads });
        }
    }
    let last = fields.depths.len() - 1;
    for &entry in &fields.independent {
        if !(SCALED_STAGES..=last).contains(&entry) {
            problems.push(ConfigProblem::Independent { entry, last });
        }
    }
}

fn check_widths(fields: &VrtFields, problems: &mut Vec<ConfigProblem>) {
    let dims = &fields.embed_dims;
    for (entry, &channels) in dims.iter().take(SCALED_STAGES).enumerate() {
        if channels % 4 != 0 {
            problems.push(ConfigProblem::NotInFours { entry, channels });
        }
    }
    let skips = [(4, 2), (5, 1), (6, 0)].into_iter();
    let refining = (SCALED_STAGES + 1..dims.len()).map(|entry| (entry, SCALED_STAGES));
    for (entry, like) in skips.chain(refining) {
        let (channels, expected) = (dims[entry], dims[like]);
        if channels != expected {
            problems.push(ConfigProblem::Unequal { entry, channels, like, expected });
        }
    }
}

fn check_alignment(fields: &VrtFields, problems: &mut Vec<ConfigProblem>) {
    let (reach, groups) = (fields.reach.frames(), fields.deformable_groups);
    if reach == 0 || groups == 0 {
        return;
    }
    if !TAPS.saturating_mul(groups).is_multiple_of(reach) {
        problems.push(ConfigProblem::OffsetParts { groups, reach });
    }
    for (entry, &channels) in fields.embed_dims.iter().take(SCALED_STAGES).enumerate() {
        if channels % reach != 0 {
            problems.push(ConfigProblem::ReachDivides { entry, channels, reach });
        }
        if reach.saturating_mul(channels) % groups != 0 {
            problems.push(ConfigProblem::Groups { entry, channels, reach, groups });
        }
    }
}

fn check_interpolation(fields: &VrtFields, problems: &mut Vec<ConfigProblem>) {
    let asked = [
        (fields.upscale != 1, "upscale"),
        (fields.noise_map, "noise map"),
        (fields.in_channels > RGB_CHANNELS, "spike channels"),
    ];
    for (_, what) in asked.into_iter().filter(|(asked, _)| *asked) {
        problems.push(ConfigProblem::WithoutAlignment { what });
    }
    let frames = fields.fused_frames.unwrap_or(fields.window[0]);
    if !(PAIR..=MAX_WINDOW).contains(&frames) {
        let field = "img_size[0]";
        problems.push(ConfigProblem::OutOfRange {
            field,
            got: frames,
            least: PAIR,
            most: MAX_WINDOW,
        });
    }
}
