//! Writes planned trees: folders or LMDB environments, and a list for each.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Plan, PlannedClip, PlannedTree, PrepareError};
use crate::picture::read_head;

/// Bytes of values that are held before they are written into an environment.
const BATCH_BYTES: usize = 64 << 20;

/// What trees are written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `DESTINATION/TREE/clip/frame.png`.
    Folders,
    /// `DESTINATION/TREE.lmdb`, an environment with keys `clip/frame`.
    Lmdb,
}

/// A tree that was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PreparedTree {
    /// The folder or environment.
    pub path: PathBuf,
    /// Its clip list.
    pub list: PathBuf,
    /// Number of clips.
    pub clips: usize,
    /// Number of frames.
    pub frames: usize,
}

impl Plan {
    /// Writes all trees into the folder `destination`, and a list of clips for each; files are
    /// copied as they are, and `on_clip` hears of every clip before it is written.
    ///
    /// A tree gets its name when it is whole; until then it is a hidden folder beside it.
    ///
    /// # Errors
    ///
    /// Says what is there already (nothing is written then), what cannot be read, or what cannot be
    /// written; trees that were whole before stay.
    pub fn write(
        &self,
        destination: &Path,
        form: Form,
        on_clip: &mut dyn FnMut(&PlannedTree, &PlannedClip),
    ) -> Result<Vec<PreparedTree>, PrepareError> {
        std::fs::create_dir_all(destination).map_err(|error| unwritten(destination, error))?;
        let targets = self.trees.iter().map(|tree| Target::new(destination, tree, form));
        let targets = targets.collect::<Result<Vec<_>, _>>()?;
        let written = self.trees.iter().zip(targets).map(|(tree, target)| {
            match form {
                Form::Folders => copy_tree(tree, &target.partial, on_clip)?,
                Form::Lmdb => fill_environment(tree, &target.partial, on_clip)?,
            }
            target.complete(tree)
        });
        written.collect()
    }
}

/// Where a tree goes.
struct Target {
    path: PathBuf,
    partial: PathBuf,
    list: PathBuf,
}

impl Target {
    /// # Errors
    ///
    /// Says what is there already.
    fn new(destination: &Path, tree: &PlannedTree, form: Form) -> Result<Self, PrepareError> {
        let name = match form {
            Form::Folders => tree.name.clone(),
            Form::Lmdb => format!("{}.lmdb", tree.name),
        };
        let target = Self {
            path: destination.join(&name),
            partial: destination.join(format!(".{name}.part")),
            list: destination.join(format!("meta_info_{}.txt", tree.name)),
        };
        let taken = |path: &Path| path.symlink_metadata().is_ok();
        if taken(&target.partial) {
            return Err(PrepareError::Leftover { path: target.partial });
        }
        for path in [&target.path, &target.list] {
            if taken(path) {
                return Err(PrepareError::Exists { path: path.clone() });
            }
        }
        Ok(target)
    }

    /// Gives the tree its name, and writes its list.
    fn complete(self, tree: &PlannedTree) -> Result<PreparedTree, PrepareError> {
        std::fs::rename(&self.partial, &self.path).map_err(|error| unwritten(&self.path, error))?;
        write_new(&self.list, &list_of(tree))?;
        Ok(PreparedTree {
            path: self.path,
            list: self.list,
            clips: tree.clips.len(),
            frames: tree.clips.iter().map(|clip| clip.frames.len()).sum(),
        })
    }
}

/// The clip list of a tree.
fn list_of(tree: &PlannedTree) -> String {
    let mut text = String::new();
    for clip in &tree.clips {
        let (width, height) = clip.size;
        let count = clip.frames.len();
        // A string takes every line.
        let _ = write!(text, "{} {count} ({height},{width},3)", clip.name);
        match clip.frames.first() {
            Some((first, _)) if !first.starts_with("im") => _ = writeln!(text, " {first}"),
            _ => text.push('\n'),
        }
    }
    text
}

fn copy_tree(
    tree: &PlannedTree,
    folder: &Path,
    on_clip: &mut dyn FnMut(&PlannedTree, &PlannedClip),
) -> Result<(), PrepareError> {
    std::fs::create_dir(folder).map_err(|error| unwritten(folder, error))?;
    for clip in &tree.clips {
        on_clip(tree, clip);
        let folder = folder.join(&clip.name);
        std::fs::create_dir_all(&folder).map_err(|error| unwritten(&folder, error))?;
        for (name, file) in &clip.frames {
            let target = folder.join(format!("{name}.{}", extension(file)));
            std::fs::copy(file, &target).map_err(|error| unwritten(&target, error))?;
        }
    }
    Ok(())
}

fn fill_environment(
    tree: &PlannedTree,
    folder: &Path,
    on_clip: &mut dyn FnMut(&PlannedTree, &PlannedClip),
) -> Result<(), PrepareError> {
    let (mut values, mut bytes) = (0, 0);
    for (_, file) in tree.clips.iter().flat_map(|clip| &clip.frames) {
        let meta = std::fs::metadata(file).map_err(|error| unread(file, error))?;
        (values, bytes) = (values + 1, bytes + meta.len());
    }
    let mut writer = vrt_lmdb::Writer::create(folder, values, bytes)?;
    let mut keys = String::new();
    let (mut batch, mut held) = (Vec::new(), 0);
    for clip in &tree.clips {
        on_clip(tree, clip);
        for (at, (name, file)) in clip.frames.iter().enumerate() {
            let value = std::fs::read(file).map_err(|error| unread(file, error))?;
            let (width, height) = read_head(file, at as u64)?.size;
            let key = format!("{}/{name}", clip.name);
            // A string takes every line. The last field is the compression of PNG files where they
            // were encoded anew; these are copied, and readers pass over it.
            let _ = writeln!(keys, "{key}.{} ({height},{width},3) 1", extension(file));
            held += value.len();
            batch.push((key, value));
            if held > BATCH_BYTES {
                flush(&mut writer, &mut batch)?;
                held = 0;
            }
        }
    }
    flush(&mut writer, &mut batch)?;
    write_new(&folder.join("meta_info.txt"), &keys)
}

fn flush(
    writer: &mut vrt_lmdb::Writer,
    batch: &mut Vec<(String, Vec<u8>)>,
) -> Result<(), PrepareError> {
    writer.write(batch.iter().map(|(key, value)| (key.as_str(), value.as_slice())))?;
    batch.clear();
    Ok(())
}

/// Writes a file that must not be there.
fn write_new(path: &Path, text: &str) -> Result<(), PrepareError> {
    std::fs::File::create_new(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| unwritten(path, error))
}

/// The extension of a picture file, which all have.
fn extension(file: &Path) -> String {
    file.extension().unwrap_or_default().to_string_lossy().into_owned()
}

fn unread(path: &Path, source: std::io::Error) -> PrepareError {
    PrepareError::Read { path: path.to_path_buf(), source }
}

fn unwritten(path: &Path, source: std::io::Error) -> PrepareError {
    PrepareError::Write { path: path.to_path_buf(), source }
}
