//! Whole clips of a tree, whatever its frames are kept in.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::store::Store;
use super::{Backend, DataError, FrameRoot};
use crate::layout::{ClipFolder, ClipPair, Pairing, list_clips, pair_listed};
use crate::picture::{PictureChannels, read_picture};
use crate::source::folder::{natural_order, stem};
use crate::{Frame, VideoError};

/// A tree of frames whose clips are read whole, as they are tested on. Clones share what is open.
///
/// In an LMDB environment a key `clip/frame` stands for the picture `root/clip/frame`.
#[derive(Clone, Debug)]
pub struct FrameTree {
    root: PathBuf,
    /// `None` for folders.
    environment: Option<Arc<Store>>,
}

impl FrameTree {
    /// Opens a tree; folders are looked at when they are listed.
    ///
    /// # Errors
    ///
    /// Says that there is no environment, or that it is damaged.
    pub fn open(root: &FrameRoot) -> Result<Self, DataError> {
        let environment = match root.backend {
            Backend::Disk => None,
            Backend::Lmdb => Some(Arc::new(Store::open(root, "")?)),
        };
        Ok(Self { root: root.path.clone(), environment })
    }

    /// The clips of the tree and their frames, in natural order of names.
    ///
    /// # Errors
    ///
    /// Says that the tree cannot be listed, that there is no picture in it, that two frames of a clip
    /// have one name, or that a key names no frame below the root.
    pub fn clips(&self) -> Result<Vec<ClipFolder>, DataError> {
        let Some(store) = &self.environment else { return Ok(list_clips(&self.root)?) };
        let mut frames: HashMap<String, Vec<PathBuf>> = HashMap::new();
        for key in store.keys()? {
            // Results are written under these names.
            let plain = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\\');
            if !key.split('/').all(plain) {
                return Err(DataError::Key { root: self.root.clone(), key });
            }
            let clip = key.rsplit_once('/').map_or("", |(clip, _)| clip);
            frames.entry(clip.to_owned()).or_default().push(self.root.join(&key));
        }
        if frames.is_empty() {
            return Err(VideoError::NoPictures { path: self.root.clone() }.into());
        }
        let clips = frames.into_iter().map(|(name, frames)| self.clip(name, frames));
        let mut clips = clips.collect::<Result<Vec<_>, _>>()?;
        clips.sort_by(|a, b| natural_order(&a.name, &b.name));
        Ok(clips)
    }

    fn clip(&self, name: String, mut frames: Vec<PathBuf>) -> Result<ClipFolder, DataError> {
        frames.sort_by(|a, b| natural_order(&stem(a), &stem(b)).then_with(|| a.cmp(b)));
        // Frames of one name lie side by side.
        if let Some(pair) = frames.windows(2).find(|pair| stem(&pair[0]) == stem(&pair[1])) {
            let [first, second] = [0, 1].map(|i| pair[i].clone());
            return Err(VideoError::SameName { first, second }.into());
        }
        let path = self.root.join(&name);
        let own = || self.root.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = if name.is_empty() { own() } else { name };
        Ok(ClipFolder { name, path, frames })
    }

    /// Clips and frames of this tree, the truth, and of `input`, paired by name.
    ///
    /// # Errors
    ///
    /// As [`clips`](Self::clips), or says which clips and frames are missing on either side.
    pub fn pair(&self, input: &Self, pairing: Pairing) -> Result<Vec<ClipPair>, DataError> {
        let clips = [self.clips()?, input.clips()?];
        Ok(pair_listed([&self.root, &input.root], clips, pairing)?)
    }

    /// A frame of the tree as R, G, B, under the path that its clip gives it.
    ///
    /// # Errors
    ///
    /// Says that it is not there, or cannot be decoded.
    pub fn read(&self, frame: &Path) -> Result<Frame, DataError> {
        let Some(store) = &self.environment else {
            return Ok(read_picture(frame, PictureChannels::Rgb)?);
        };
        let key = frame.strip_prefix(&self.root).unwrap_or(frame).to_string_lossy();
        store.fetch(&key)?.whole()
    }
}
