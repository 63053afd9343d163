//! `vrt data check`: every pair of a set.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use vrt_train::Recipe;
use vrt_train::recipe::TrainingData;
use vrt_video::{
    Agreement, Backend, CheckReport, FrameRoot, HeldOut, SetKind, SpikeTree, TrainingSetOptions,
    check_folders, check_set,
};

use crate::cli::spike::SetSpikes;
use crate::cli::{Failure, GlobalOptions, output};

/// Clips between two words on how far it is.
const CLIPS_BETWEEN: usize = 100;

const HELP: &str = "\
Without --meta-info, both trees must have the same folders and file names. With it, the clips of \
the list are looked at, in folders or LMDB environments. All frames are decoded; faults are listed \
with file and frame, and the exit code is 1 if there is any. With --spike, the streams beside degraded \
frames are looked at as well, and those of every clip's middle frame have to show what it does.

Examples:
  vrt data check options.json
  vrt data check --gt trainsets/GoPro/train_GT --lq trainsets/GoPro/train_GT_blurred
  vrt data check --gt sharp.lmdb --lq x4.lmdb --scale 4 --meta-info meta_info_REDS_GT.txt --lmdb";

/// Flags of `vrt data check`.
#[derive(Args, Clone, Debug)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// Option file of a training run, whose training set is looked at
    #[arg(value_name = "OPTIONS.json", conflicts_with_all = ["gt", "lq", "meta_info", "spike"])]
    options: Option<PathBuf>,
    /// Frames as they should be
    #[arg(long, value_name = "DIR", required_unless_present = "options")]
    gt: Option<PathBuf>,
    /// Frames as the network gets them
    #[arg(long, value_name = "DIR", required_unless_present = "options")]
    lq: Option<PathBuf>,
    /// Size of the former by that of the latter
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16))]
    scale: u8,
    /// The clip list: `clip frames (height,width,channels) first` a line
    #[arg(long, value_name = "FILE")]
    meta_info: Option<PathBuf>,
    /// What the clips of the list are
    #[arg(long, value_enum, default_value = "recurrent", requires = "meta_info")]
    set: SetName,
    /// Both trees are LMDB environments
    #[arg(long, requires = "meta_info")]
    lmdb: bool,
    /// Extension of frame files
    #[arg(long, default_value = "png", requires = "meta_info")]
    extension: String,
    #[command(flatten)]
    spikes: SetSpikes,
    /// Digits of frame names where the list does not show them
    #[arg(long, default_value_t = 8, requires = "meta_info")]
    digits: usize,
}

/// Names of kinds of sets.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum SetName {
    /// Frames with numbers
    Recurrent,
    /// im1 … im7
    Vimeo,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, global: &GlobalOptions) -> Result<(), Failure> {
    let on_clip = |done: usize| {
        if done.is_multiple_of(CLIPS_BETWEEN) {
            global.tell(&format!("{done} clips"));
        }
    };
    if let Some(path) = &arguments.options {
        return conclude(&check_set(&set_of(path)?, &on_clip)?, global);
    }
    let spikes = arguments.spikes.tree()?;
    if spikes.is_some() && arguments.meta_info.is_none() {
        let what = "--spike goes with --meta-info, which says which frames there are";
        return Err(Failure::Usage(what.to_owned()));
    }
    let [gt, lq] = [&arguments.gt, &arguments.lq].map(|path| path.clone().unwrap_or_default());
    let report = match &arguments.meta_info {
        Some(list) => check_set(&options(arguments, [gt, lq, list.clone()], spikes), &on_clip)?,
        None => check_folders(&gt, &lq, usize::from(arguments.scale), &on_clip)?,
    };
    conclude(&report, global)
}

/// The training set of an option file.
fn set_of(path: &Path) -> Result<TrainingSetOptions, Failure> {
    match Recipe::read(path, &[])?.recipe.data.source {
        TrainingData::Videos(options) => Ok(*options),
        TrainingData::Fixed { path } => {
            let text = format!("{} is one batch, which `vrt train` reads whole", path.display());
            Err(Failure::Failed(text.into()))
        }
    }
}

fn options(
    arguments: &Arguments,
    [gt, lq, meta_info]: [PathBuf; 3],
    spikes: Option<SpikeTree>,
) -> TrainingSetOptions {
    let backend = if arguments.lmdb { Backend::Lmdb } else { Backend::Disk };
    let root = |path| FrameRoot { path, backend };
    TrainingSetOptions {
        kind: match arguments.set {
            SetName::Recurrent => SetKind::Recurrent,
            SetName::Vimeo => SetKind::Vimeo,
        },
        sharp: root(gt),
        degraded: root(lq),
        spikes,
        meta_info,
        digits: arguments.digits,
        extension: arguments.extension.clone(),
        // Whole frames are looked at: what would be cut out of them, and when, is left open.
        frames: 1,
        crop: usize::from(arguments.scale),
        scale: usize::from(arguments.scale),
        intervals: vec![1],
        random_reverse: false,
        flip: false,
        rotate: false,
        held_out: HeldOut::None,
        mirror: false,
        repeat_last: false,
        color_jitter: false,
        temporal_scale: 1,
    }
}

/// The report, and whether the set may be trained on.
fn conclude(report: &CheckReport, global: &GlobalOptions) -> Result<(), Failure> {
    let CheckReport { clips, pairs, faults, problems, agreements } = report;
    if global.json {
        output::json(report)?;
    } else {
        agreements.iter().try_for_each(|Agreement { key, correlation, .. }| {
            output::result(&format!("{key}: spikes and brightness agree by {correlation:.3}"))
        })?;
        problems.iter().try_for_each(|problem| output::result(problem))?;
        let more = faults.saturating_sub(problems.len());
        if more > 0 {
            output::result(&format!("and {more} more"))?;
        }
        output::result(&format!("{clips} clips, {pairs} pairs of frames, {faults} faults"))?;
    }
    if report.is_fine() {
        return Ok(());
    }
    Err(Failure::failed(format!("{faults} of {pairs} pairs of frames cannot be trained on")))
}
