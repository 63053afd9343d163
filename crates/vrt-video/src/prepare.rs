//! Published downloads as trees of clips to train on.

mod assign;
mod error;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::picture::read_head;
use crate::source::folder::stem;
use crate::{ClipFolder, list_clips};

pub use assign::PublishedLayout;
pub use error::PrepareError;
pub use write::{Form, PreparedTree};

/// Folders without a place that a plan names.
const NAMES_STATED: usize = 20;

/// What a download becomes: trees of clips.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The trees, in the order of their names.
    pub trees: Vec<PlannedTree>,
    /// Folders with pictures that have no place in any of them: how many there are.
    pub left_out: usize,
    /// The first of these.
    pub left_out_names: Vec<String>,
}

/// A tree of clips.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedTree {
    /// Its name, for example `train_GT`.
    pub name: String,
    /// Its clips, in the order of their names.
    pub clips: Vec<PlannedClip>,
}

/// A clip and its frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedClip {
    /// Its folder in the tree, with `/` between folders.
    pub name: String,
    /// The new name of each frame, without extension, and its file.
    pub frames: Vec<(String, PathBuf)>,
    /// Width and height of its first frame.
    pub size: (usize, usize),
    /// Whether frames had no consecutive numbers and got new ones.
    pub renumbered: bool,
}

impl Plan {
    /// Finds out what the download in `source` becomes; nothing is written.
    ///
    /// # Errors
    ///
    /// Says that `source` cannot be read or has nothing of such a download in it, that frames are
    /// missing between others, or that two clips have one name.
    pub fn of(source: &Path, layout: PublishedLayout) -> Result<Self, PrepareError> {
        let places = assign::Places::of(source, layout)?;
        let mut trees: BTreeMap<String, BTreeMap<String, ClipFolder>> = BTreeMap::new();
        let (mut left_out, mut left_out_names) = (0, Vec::new());
        for folder in list_clips(source)? {
            let Some((tree, clip)) = places.place(&folder.name) else {
                left_out += 1;
                if left_out_names.len() < NAMES_STATED {
                    left_out_names.push(folder.name);
                }
                continue;
            };
            let second = folder.path.clone();
            let clips = trees.entry(tree).or_default();
            if let Some(first) = clips.insert(clip.clone(), folder) {
                return Err(PrepareError::SameClip { clip, first: first.path, second });
            }
        }
        if trees.is_empty() {
            return Err(PrepareError::NothingFound {
                path: source.to_path_buf(),
                layout: layout.name(),
                expected: layout.expected(),
            });
        }
        let trees = assign::name_trees(layout, trees).into_iter().map(|(name, clips)| {
            let clips = clips.into_iter().map(|(name, folder)| planned(name, folder, layout));
            Ok(PlannedTree { name, clips: clips.collect::<Result<_, PrepareError>>()? })
        });
        Ok(Self { trees: trees.collect::<Result<_, PrepareError>>()?, left_out, left_out_names })
    }
}

fn planned(
    name: String,
    folder: ClipFolder,
    layout: PublishedLayout,
) -> Result<PlannedClip, PrepareError> {
    let size = read_head(&folder.frames[0], 0)?.size;
    let stems: Vec<String> = folder.frames.iter().map(|path| stem(path)).collect();
    let fault = match layout {
        PublishedLayout::Vimeo => seven(&stems),
        _ => gap(&stems),
    };
    let renumbered = match fault {
        None => false,
        Some(_) if layout == PublishedLayout::Clips => true,
        Some(reason) => return Err(PrepareError::Frames { path: folder.path, reason }),
    };
    let named = stems.into_iter().zip(folder.frames).enumerate();
    let frames = named
        .map(|(at, (stem, path))| (if renumbered { format!("{at:08}") } else { stem }, path))
        .collect();
    Ok(PlannedClip { name, frames, size, renumbered })
}

/// What is wrong with names that should be consecutive numbers of one width.
fn gap(stems: &[String]) -> Option<String> {
    let number = |stem: &String| {
        let digits = stem.bytes().all(|byte| byte.is_ascii_digit());
        if digits { stem.parse::<u64>().ok() } else { None }
    };
    let width = stems[0].len();
    for (at, stem) in stems.iter().enumerate() {
        let Some(found) = number(stem).filter(|_| stem.len() == width) else {
            return Some(format!("the frame {stem} is not named by a number of {width} digits"));
        };
        let expected = number(&stems[0]).map(|first| first + at as u64);
        if Some(found) != expected {
            return Some(format!("the frame before {stem} is missing"));
        }
    }
    None
}

/// What is wrong with names that should be `im1` … `im7`.
fn seven(stems: &[String]) -> Option<String> {
    let found: Vec<&str> = stems.iter().map(String::as_str).collect();
    let fine = found == ["im1", "im2", "im3", "im4", "im5", "im6", "im7"];
    (!fine).then(|| format!("its frames are {found:?} and not im1 … im7"))
}
