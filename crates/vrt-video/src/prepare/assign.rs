//! Which tree and clip a folder of a published download becomes.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use super::PrepareError;
use crate::ClipFolder;

/// Clips of the DVD set that are tested on.
const DVD_TEST: [&str; 10] = [
    "720p_240fps_2",
    "IMG_0003",
    "IMG_0021",
    "IMG_0030",
    "IMG_0031",
    "IMG_0032",
    "IMG_0033",
    "IMG_0037",
    "IMG_0039",
    "IMG_0049",
];

/// The number that the first validation clip of REDS gets where both sets are one.
const FIRST_REDS_VAL: usize = 240;

/// How a download is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishedLayout {
    /// Folders of frames, anywhere below: each is a clip.
    Clips,
    /// REDS: `train_sharp/000/00000000.png`, `val_sharp_bicubic/X4/000/…` and so on.
    Reds,
    /// GoPro (`GOPRO_Large`): `train/GOPR0372_07_00/sharp/000047.png`, `blur`, `blur_gamma`.
    GoPro,
    /// DVD (`quantitative_datasets`): `720p_240fps_1/GT/00000.jpg`, `input`.
    Dvd,
    /// DAVIS 2017: `JPEGImages/480p/bear/00000.jpg`.
    Davis,
    /// UDM10: `archpeople/truth/0000.png` and `blur4`, or `GT/archpeople/…`, `BIx4`, `BDx4`.
    Udm10,
    /// Vimeo-90K septuplets: `sequences/00001/0001/im1.png`, with its two lists.
    Vimeo,
}

impl PublishedLayout {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Clips, Self::Reds, Self::GoPro, Self::Dvd, Self::Davis, Self::Udm10, Self::Vimeo];

    /// Its name in commands.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clips => "clips",
            Self::Reds => "reds",
            Self::GoPro => "gopro",
            Self::Dvd => "dvd",
            Self::Davis => "davis",
            Self::Udm10 => "udm10",
            Self::Vimeo => "vimeo",
        }
    }

    /// What its folders are called, for a person.
    pub(super) fn expected(self) -> &'static str {
        match self {
            Self::Clips => "folders with pictures",
            Self::Reds => "folders like train_sharp/000 or val_sharp_bicubic/X4/000",
            Self::GoPro => "folders like train/GOPR0372_07_00/sharp and …/blur",
            Self::Dvd => "folders like quantitative_datasets/720p_240fps_1/GT and …/input",
            Self::Davis => "folders like JPEGImages/480p/bear",
            Self::Udm10 => "folders like archpeople/truth and …/blur4, or GT/archpeople",
            Self::Vimeo => "folders like sequences/00001/0001",
        }
    }
}

/// Knows the place of every folder of a download.
#[derive(Debug)]
pub(super) struct Places {
    layout: PublishedLayout,
    /// Sequences of Vimeo-90K to train and to test on.
    lists: [HashSet<String>; 2],
}

impl Places {
    /// # Errors
    ///
    /// Says that a list of Vimeo-90K cannot be read.
    pub(super) fn of(source: &Path, layout: PublishedLayout) -> Result<Self, PrepareError> {
        let mut lists = [HashSet::new(), HashSet::new()];
        if layout == PublishedLayout::Vimeo {
            for (list, name) in lists.iter_mut().zip(["sep_trainlist.txt", "sep_testlist.txt"]) {
                let path = source.join(name);
                let text = std::fs::read_to_string(&path)
                    .map_err(|source| PrepareError::VimeoList { path, source })?;
                *list = text.split_whitespace().map(str::to_owned).collect();
            }
        }
        Ok(Self { layout, lists })
    }

    /// Tree and clip of the folder `name`, if it has a place.
    pub(super) fn place(&self, name: &str) -> Option<(String, String)> {
        let parts: Vec<&str> = name.split('/').collect();
        match self.layout {
            PublishedLayout::Clips => Some(("train_GT".to_owned(), name.to_owned())),
            PublishedLayout::Reds => reds(&parts),
            PublishedLayout::GoPro => go_pro(&parts),
            PublishedLayout::Dvd => dvd(&parts),
            PublishedLayout::Davis => davis(&parts),
            PublishedLayout::Udm10 => udm10(&parts),
            PublishedLayout::Vimeo => self.vimeo(&parts),
        }
    }

    fn vimeo(&self, parts: &[&str]) -> Option<(String, String)> {
        let [.., set, sequence] = parts else { return None };
        let clip = format!("{set}/{sequence}");
        let trees = ["vimeo90k_train_GT_all", "vimeo90k_test_GT"];
        let list = self.lists.iter().position(|list| list.contains(&clip))?;
        Some((trees[list].to_owned(), clip))
    }
}

/// `train_KIND/…/NNN`, and `val_KIND/…/NNN` as the clips 240 and on of the same tree.
fn reds(parts: &[&str]) -> Option<(String, String)> {
    let (clip, above) = parts.split_last()?;
    let number: usize = clip.parse().ok().filter(|_| clip.len() == 3)?;
    above.iter().rev().find_map(|part| {
        if let Some(kind) = part.strip_prefix("train_") {
            let fine = number < FIRST_REDS_VAL;
            return fine.then(|| (format!("train_{kind}"), format!("{number:03}")));
        }
        let kind = part.strip_prefix("val_")?;
        Some((format!("train_{kind}"), format!("{:03}", number + FIRST_REDS_VAL)))
    })
}

fn go_pro(parts: &[&str]) -> Option<(String, String)> {
    let [.., split @ ("train" | "test"), clip, kind] = parts else { return None };
    let suffix = match *kind {
        "sharp" => "",
        "blur" => "_blurred",
        "blur_gamma" => "_blurred_gamma",
        _ => return None,
    };
    Some((format!("{split}_GT{suffix}"), (*clip).to_owned()))
}

fn dvd(parts: &[&str]) -> Option<(String, String)> {
    let ([clip, kind] | [.., "quantitative_datasets", clip, kind]) = parts else { return None };
    let suffix = match *kind {
        "GT" => "",
        "input" => "_blurred",
        _ => return None,
    };
    let split = if DVD_TEST.contains(clip) { "test" } else { "train" };
    Some((format!("{split}_GT{suffix}"), (*clip).to_owned()))
}

fn davis(parts: &[&str]) -> Option<(String, String)> {
    let [.., "JPEGImages", "480p", clip] = parts else { return None };
    Some(("train_GT".to_owned(), (*clip).to_owned()))
}

fn udm10(parts: &[&str]) -> Option<(String, String)> {
    match parts {
        [.., clip, "truth"] => Some(("GT".to_owned(), (*clip).to_owned())),
        [.., clip, "blur4"] => Some(("BDx4".to_owned(), (*clip).to_owned())),
        [.., tree @ ("GT" | "BIx4" | "BDx4"), clip] => {
            Some(((*tree).to_owned(), (*clip).to_owned()))
        }
        _ => None,
    }
}

/// Trees under their final names: those of REDS tell which of its sets they hold.
pub(super) fn name_trees(
    layout: PublishedLayout,
    trees: BTreeMap<String, BTreeMap<String, ClipFolder>>,
) -> BTreeMap<String, BTreeMap<String, ClipFolder>> {
    if layout != PublishedLayout::Reds {
        return trees;
    }
    let is_val = |clip: &String| clip.parse().is_ok_and(|number: usize| number >= FIRST_REDS_VAL);
    let named = trees.into_iter().map(|(name, clips)| {
        let val = clips.keys().filter(|clip| is_val(clip)).count();
        let name = match name.strip_prefix("train_") {
            Some(kind) if val == clips.len() => format!("val_{kind}"),
            Some(_) if val > 0 => format!("{name}_with_val"),
            _ => name,
        };
        (name, clips)
    });
    named.collect()
}
