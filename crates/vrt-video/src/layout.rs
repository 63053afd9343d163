//! Sets of clips on disk: `set/clip/frame`.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use crate::VideoError;
use crate::source::folder::{list, list_pictures, natural_order, stem};

/// Folders below a set that are looked into; a loop of links ends here.
const MAX_DEPTH: usize = 8;

/// What stands for the clip in a path.
const STAR: &str = "*";

/// Names of missing frames that an error states of one clip.
const NAMES_STATED: usize = 4;

/// A folder of frames within a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClipFolder {
    /// Its path within the set, with `/` between folders; the folder's own name where the set is
    /// itself a clip.
    pub name: String,
    /// The folder.
    pub path: PathBuf,
    /// Its pictures in natural order.
    pub frames: Vec<PathBuf>,
}

/// A clip that two trees have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClipPair {
    /// Its name in the set.
    pub name: String,
    /// Its frames in natural order.
    pub frames: Vec<FramePair>,
}

/// A frame that two trees have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FramePair {
    /// The file name without extension.
    pub name: String,
    /// The picture in the tree with the truth.
    pub truth: PathBuf,
    /// The picture in the other tree.
    pub input: PathBuf,
}

/// What may be missing from two trees that are paired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pairing {
    /// Nothing: both have the same clips and frames.
    #[default]
    Same,
    /// The truth may have more clips and frames, which are left out: for protocols that score only
    /// some frames of a clip.
    TruthHasMore,
}

/// The clips of a set: every folder below `set` with pictures in it, in natural order of names.
///
/// A star in `set` stands for the clip: `GoPro/train/*/sharp` is the folder `sharp` of every folder
/// of `GoPro/train`, or of folders within these.
///
/// A folder with pictures is one clip, and folders inside it are not looked at; so a folder of
/// frames is a set of one clip.
///
/// # Errors
///
/// Says that a folder cannot be read, that there is no picture in any, that two frames of a clip
/// have one name, or that `set` has two stars.
pub fn list_clips(set: &Path) -> Result<Vec<ClipFolder>, VideoError> {
    let mut clips = Vec::new();
    match StarredTree::of(set) {
        Some(tree) if StarredTree::of(&tree.behind).is_some() => {
            return Err(VideoError::TwoStars { path: set.to_path_buf() });
        }
        Some(tree) => tree.collect((&tree.before, ""), 0, &mut clips)?,
        None => collect(set, "", 0, &mut clips)?,
    }
    if clips.is_empty() {
        return Err(VideoError::NoPictures { path: set.to_path_buf() });
    }
    Ok(clips)
}

/// A tree of clips that are folders within folders: a path with a star for the clip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StarredTree {
    /// The folder with a folder for each clip.
    before: PathBuf,
    /// The folder in that of the clip.
    behind: PathBuf,
}

impl StarredTree {
    /// `None` if there is no star in `path`.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let star = path.iter().position(|part| part == STAR)?;
        let before: PathBuf = path.iter().take(star).collect();
        let before = if star == 0 { PathBuf::from(".") } else { before };
        Some(Self { before, behind: path.iter().skip(star + 1).collect() })
    }

    /// The file `clip/name` of `path`, which may have a star.
    pub(crate) fn file(path: &Path, clip_and_name: &str) -> PathBuf {
        match (Self::of(path), clip_and_name.rsplit_once('/')) {
            (Some(tree), Some((clip, name))) => tree.before.join(clip).join(tree.behind).join(name),
            _ => path.join(clip_and_name),
        }
    }

    /// The folder that `path` has before a star, or `path`.
    pub(crate) fn root(path: &Path) -> PathBuf {
        Self::of(path).map_or_else(|| path.to_path_buf(), |tree| tree.before)
    }

    /// Clips in `folder`, whose name in the set is `name`, and in those below it.
    fn collect(
        &self,
        (folder, name): (&Path, &str),
        depth: usize,
        clips: &mut Vec<ClipFolder>,
    ) -> Result<(), VideoError> {
        let path = folder.join(&self.behind);
        let frames = if depth > 0 && path.is_dir() { list_pictures(&path)? } else { Vec::new() };
        if !frames.is_empty() {
            clips.push(ClipFolder { name: name.to_owned(), path, frames });
            return Ok(());
        }
        if depth == MAX_DEPTH {
            return Ok(());
        }
        for (inner, name) in inner_folders(folder, name)? {
            self.collect((&inner, &name), depth + 1, clips)?;
        }
        Ok(())
    }
}

/// The folders in `folder`, in natural order of names, with their names in the set.
fn inner_folders(folder: &Path, name: &str) -> Result<Vec<(PathBuf, String)>, VideoError> {
    let mut inner = list(folder, Path::is_dir)?;
    inner.sort_by(|a, b| natural_order(&own_name(a), &own_name(b)));
    let named = inner.into_iter().map(|path| {
        let last = own_name(&path);
        let name = if name.is_empty() { last } else { format!("{name}/{last}") };
        (path, name)
    });
    Ok(named.collect())
}

fn own_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Whether there is something at a path, or at the folder before its star ([`list_clips`]).
pub fn is_there(path: &Path) -> bool {
    StarredTree::root(path).exists()
}

fn collect(
    folder: &Path,
    name: &str,
    depth: usize,
    clips: &mut Vec<ClipFolder>,
) -> Result<(), VideoError> {
    let frames = list_pictures(folder)?;
    if !frames.is_empty() {
        let name = if name.is_empty() { own_name(folder) } else { name.to_owned() };
        clips.push(ClipFolder { name, path: folder.to_path_buf(), frames });
        return Ok(());
    }
    if depth == MAX_DEPTH {
        return Ok(());
    }
    for (path, name) in inner_folders(folder, name)? {
        collect(&path, &name, depth + 1, clips)?;
    }
    Ok(())
}

/// Clips and frames of two trees, paired by name; two single clips are a pair whatever their names.
///
/// # Errors
///
/// Says that a tree cannot be listed, or which clips and frames are missing on either side.
pub fn pair_clips(
    truth: &Path,
    input: &Path,
    pairing: Pairing,
) -> Result<Vec<ClipPair>, VideoError> {
    pair_listed([truth, input], [list_clips(truth)?, list_clips(input)?], pairing)
}

/// [`pair_clips`] of trees whose clips are known.
pub(crate) fn pair_listed(
    [truth, input]: [&Path; 2],
    [mut truths, inputs]: [Vec<ClipFolder>; 2],
    pairing: Pairing,
) -> Result<Vec<ClipPair>, VideoError> {
    if let ([only], [other]) = (&mut truths[..], &inputs[..])
        && (only.path == truth || other.path == input)
    {
        only.name.clone_from(&other.name);
    }
    let mut missing = Vec::new();
    let of_input: HashMap<_, _> = inputs.iter().map(|clip| (clip.name.as_str(), clip)).collect();
    let mut pairs = Vec::new();
    for clip in &truths {
        match of_input.get(clip.name.as_str()) {
            Some(other) => pairs.push(pair_frames(clip, other, pairing, &mut missing)),
            None if pairing == Pairing::TruthHasMore => {}
            None => missing.push(format!("the clip {} is not in {input:?}", clip.name)),
        }
    }
    let in_truth: BTreeSet<_> = truths.iter().map(|clip| clip.name.as_str()).collect();
    let lost = inputs.iter().filter(|clip| !in_truth.contains(clip.name.as_str()));
    missing.extend(lost.map(|clip| format!("the clip {} is not in {truth:?}", clip.name)));
    if missing.is_empty() {
        return Ok(pairs);
    }
    Err(VideoError::Unpaired { truth: truth.to_path_buf(), input: input.to_path_buf(), missing })
}

fn pair_frames(
    truth: &ClipFolder,
    input: &ClipFolder,
    pairing: Pairing,
    missing: &mut Vec<String>,
) -> ClipPair {
    let mut of_input: HashMap<_, _> =
        input.frames.iter().map(|path| (stem(path), path.clone())).collect();
    let (mut frames, mut not_in_input) = (Vec::new(), Vec::new());
    for path in &truth.frames {
        let name = stem(path);
        match of_input.remove(&name) {
            Some(input) => frames.push(FramePair { name, truth: path.clone(), input }),
            None => not_in_input.push(name),
        }
    }
    if pairing == Pairing::Same && !not_in_input.is_empty() {
        missing.push(state(&not_in_input, &input.path));
    }
    if !of_input.is_empty() {
        let left = input.frames.iter().map(|path| stem(path));
        let not_in_truth: Vec<_> = left.filter(|name| of_input.contains_key(name)).collect();
        missing.push(state(&not_in_truth, &truth.path));
    }
    ClipPair { name: truth.name.clone(), frames }
}

fn state(names: &[String], folder: &Path) -> String {
    let stated = names[..names.len().min(NAMES_STATED)].join(", ");
    let more = match names.len().saturating_sub(NAMES_STATED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("the frames {stated}{more} are not in {folder:?}")
}

#[cfg(test)]
mod tests {
    use tempfile::{TempDir, tempdir};

    use super::*;

    fn tree(files: &[&str]) -> TempDir {
        let root = tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        root
    }

    fn names(clips: &[ClipFolder]) -> Vec<(String, usize)> {
        clips.iter().map(|clip| (clip.name.clone(), clip.frames.len())).collect()
    }

    fn paired(
        truth: &TempDir,
        input: &TempDir,
        pairing: Pairing,
    ) -> Result<Vec<ClipPair>, VideoError> {
        pair_clips(truth.path(), input.path(), pairing)
    }

    #[test]
    fn a_star_stands_for_the_clip() {
        let root = tempfile::tempdir().unwrap();
        for name in
            ["b/sharp/1.png", "b/blur/1.png", "a/sharp/7.png", "c/other/1.png", "c/d/sharp/2.png"]
        {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let sharp = root.path().join("*/sharp");
        let clips = list_clips(&sharp).unwrap();
        let names: Vec<_> = clips.iter().map(|clip| clip.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c/d"]);
        assert_eq!(clips[0].frames, [root.path().join("a/sharp/7.png")]);
        let file = |path: &Path| StarredTree::file(path, "b/1.png");
        assert_eq!(file(&sharp), root.path().join("b/sharp/1.png"));
        assert_eq!(file(root.path()), root.path().join("b/1.png"));
        assert_eq!(file(Path::new("*")), Path::new("./b/1.png"));
        assert!(is_there(&sharp) && !is_there(&root.path().join("no/*/sharp")));
        assert_eq!(file(Path::new("/*/x")), Path::new("/b/x/1.png"));
        assert!(list_clips(&root.path().join("*/blurred")).is_err());
        let two = list_clips(&root.path().join("*/*/sharp")).unwrap_err().to_string();
        assert!(two.contains("two stars"), "{two}");
        let pairs =
            pair_clips(&root.path().join("*/blur"), &root.path().join("b/sharp"), Pairing::Same);
        assert_eq!(pairs.unwrap().len(), 1);
    }

    #[test]
    fn clips_are_the_folders_with_pictures() {
        let set = tree(&[
            "clip10/1.png",
            "clip2/1.png",
            "clip2/2.png",
            "deep/er/1.jpg",
            "empty/notes.txt",
            ".hidden/1.png",
            "clip2/masks/1.png",
            "readme.txt",
        ]);
        let clips = list_clips(set.path()).unwrap();
        let expected = [("clip2", 2), ("clip10", 1), ("deep/er", 1)];
        assert_eq!(names(&clips), expected.map(|(name, count)| (name.to_owned(), count)));

        let one = list_clips(&set.path().join("clip2")).unwrap();
        assert_eq!(names(&one), [("clip2".to_owned(), 2)]);
    }

    #[test]
    fn a_set_without_pictures_is_an_error() {
        let error = list_clips(tree(&["a/notes.txt"]).path()).unwrap_err();
        assert!(matches!(error, VideoError::NoPictures { .. }), "{error}");
        let error = list_clips(Path::new("/no/such/set")).unwrap_err();
        assert!(matches!(error, VideoError::Read { .. }), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_loop_of_links_ends() {
        let set = tree(&["a/b/notes.txt"]);
        std::os::unix::fs::symlink(set.path(), set.path().join("a/loop")).unwrap();
        assert!(matches!(list_clips(set.path()), Err(VideoError::NoPictures { .. })));
    }

    #[test]
    fn frames_are_paired_by_name_whatever_the_extension() {
        let truth = tree(&["a/10.png", "a/9.png", "b/1.png"]);
        let input = tree(&["a/10.jpg", "a/9.jpg", "b/1.tiff"]);
        let pairs = paired(&truth, &input, Pairing::Same).unwrap();
        let all: Vec<_> =
            pairs.iter().map(|clip| (clip.name.as_str(), clip.frames.len())).collect();
        assert_eq!(all, [("a", 2), ("b", 1)]);
        let first = &pairs[0].frames[0];
        assert_eq!(first.name, "9");
        assert_eq!(first.truth, truth.path().join("a/9.png"));
        assert_eq!(first.input, input.path().join("a/9.jpg"));
    }

    #[test]
    fn two_single_clips_are_a_pair() {
        let (truth, input) = (tree(&["1.png"]), tree(&["1.png"]));
        assert_eq!(paired(&truth, &input, Pairing::Same).unwrap()[0].frames.len(), 1);
        let inner = tree(&["clip/1.png"]);
        let pairs = paired(&truth, &inner, Pairing::Same).unwrap();
        assert_eq!((pairs.len(), pairs[0].name.as_str()), (1, "clip"));
    }

    #[test]
    fn everything_that_is_missing_is_stated() {
        let truth = tree(&["a/1.png", "a/2.png", "b/1.png", "d/1.png"]);
        let input = tree(&["a/1.png", "a/3.png", "c/1.png", "d/1.png"]);
        let error = paired(&truth, &input, Pairing::Same).unwrap_err();
        let VideoError::Unpaired { missing, .. } = &error else { panic!("{error}") };
        assert_eq!(missing.len(), 4, "{error}");
        for word in ["frames 2 are", "frames 3 are", "clip b is", "clip c is"] {
            assert!(error.to_string().contains(word), "{word}: {error}");
        }
    }

    #[test]
    fn the_truth_may_have_more_where_that_is_asked_for() {
        let truth = tree(&["a/1.png", "a/2.png", "b/1.png"]);
        let input = tree(&["a/2.png"]);
        let pairs = paired(&truth, &input, Pairing::TruthHasMore).unwrap();
        assert_eq!((pairs.len(), pairs[0].frames.len()), (1, 1));
        assert!(paired(&input, &truth, Pairing::TruthHasMore).is_err());
    }

    #[test]
    fn long_lists_are_cut() {
        let files: Vec<String> = (0..9).map(|frame| format!("a/{frame}.png")).collect();
        let truth = tree(&files.iter().map(String::as_str).collect::<Vec<_>>());
        let error = paired(&truth, &tree(&["a/0.png"]), Pairing::Same).unwrap_err();
        assert!(error.to_string().contains("1, 2, 3, 4 and 4 more"), "{error}");
    }
}
