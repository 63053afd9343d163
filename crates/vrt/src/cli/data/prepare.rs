//! `vrt data prepare`: downloads become trees of clips.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::json;
use vrt_video::{Form, Plan, PreparedTree, PublishedLayout};

use crate::cli::{Failure, GlobalOptions, output};

const HELP: &str = "\
Trees are named as the published option files name them (train_GT, train_GT_blurred, \
train_sharp_with_val, …), frames are copied as they are, and each tree gets a clip list \
meta_info_TREE.txt. Test clips become trees of their own. Nothing is overwritten.

Layouts:
  clips  folders of frames anywhere below SOURCE, each a clip of train_GT
  reds   train_sharp/000, val_sharp/000, train_sharp_bicubic/X4/000, …; validation clips become 240 on
  gopro  train/CLIP/sharp, blur, blur_gamma; test/CLIP/…
  dvd    quantitative_datasets/CLIP/GT and input
  davis  JPEGImages/480p/CLIP
  udm10  CLIP/truth and blur4, or GT/CLIP, BIx4/CLIP, BDx4/CLIP
  vimeo  sequences/00001/0001, with sep_trainlist.txt and sep_testlist.txt in SOURCE

Examples:
  vrt data prepare GOPRO_Large trainsets/GoPro --layout gopro --lmdb
  vrt data prepare frames trainsets/own";

/// Flags of `vrt data prepare`.
#[derive(Args, Clone, Debug)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// The download, unpacked
    source: PathBuf,
    /// Folder to write trees and lists to
    destination: PathBuf,
    /// How the download is laid out
    #[arg(long, value_enum, default_value = "clips")]
    layout: Layout,
    /// Write LMDB environments in place of folders
    #[arg(long)]
    lmdb: bool,
}

/// Names of layouts.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Layout {
    Clips,
    Reds,
    Gopro,
    Dvd,
    Davis,
    Udm10,
    Vimeo,
}

impl From<Layout> for PublishedLayout {
    fn from(layout: Layout) -> Self {
        match layout {
            Layout::Clips => Self::Clips,
            Layout::Reds => Self::Reds,
            Layout::Gopro => Self::GoPro,
            Layout::Dvd => Self::Dvd,
            Layout::Davis => Self::Davis,
            Layout::Udm10 => Self::Udm10,
            Layout::Vimeo => Self::Vimeo,
        }
    }
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, global: &GlobalOptions) -> Result<(), Failure> {
    let Arguments { source, destination, layout, lmdb } = arguments;
    let plan = Plan::of(source, (*layout).into())?;
    let form = if *lmdb { Form::Lmdb } else { Form::Folders };
    let trees = plan.write(destination, form, &mut |tree, clip| {
        let renumbered = if clip.renumbered { ", numbered anew" } else { "" };
        let frames = clip.frames.len();
        global.tell(&format!("{}/{}: {frames} frames{renumbered}", tree.name, clip.name));
    })?;
    if plan.left_out > 0 {
        let named = plan.left_out_names.join(", ");
        global.tell(&format!("warning: {} folders have no place: {named}", plan.left_out));
    }
    if global.json {
        return Ok(output::json(&json!({ "trees": trees, "left_out": plan.left_out }))?);
    }
    trees.iter().try_for_each(|tree| Ok(output::result(&in_words(tree))?))
}

fn in_words(tree: &PreparedTree) -> String {
    let PreparedTree { path, list, clips, frames } = tree;
    format!("{}: {clips} clips, {frames} frames; list {}", path.display(), list.display())
}
