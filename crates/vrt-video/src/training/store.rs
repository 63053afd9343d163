//! Where encoded frames come from.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::PathBuf;

use super::{Backend, DataError, FrameRoot};
use crate::Frame;
use crate::layout::StarredTree;
use crate::picture::{Encoded, Region};

/// The file that makes a folder an environment.
const ENVIRONMENT: &str = "data.mdb";

/// Bytes of an encoded frame that are read.
const MAX_ENCODED_BYTES: u64 = 1 << 30;

/// A tree of encoded frames.
#[derive(Debug)]
pub(super) struct Store {
    root: PathBuf,
    tree: Tree,
}

#[derive(Debug)]
enum Tree {
    Folder { extension: String },
    Environment(vrt_lmdb::Environment),
}

/// An encoded frame, and its place for errors.
#[derive(Debug)]
pub(super) struct EncodedFrame<'a> {
    store: &'a Store,
    key: &'a str,
    encoded: Encoded,
}

impl Store {
    /// # Errors
    ///
    /// Says that there is no such folder, or no environment in it.
    pub(super) fn open(root: &FrameRoot, extension: &str) -> Result<Self, DataError> {
        let path = root.path.clone();
        match root.backend {
            Backend::Disk => {
                std::fs::read_dir(StarredTree::root(&path))
                    .map_err(|source| DataError::Read { path: path.clone(), source })?;
                if path.join(ENVIRONMENT).is_file() {
                    return Err(DataError::IsEnvironment { path });
                }
                Ok(Self { root: path, tree: Tree::Folder { extension: extension.to_owned() } })
            }
            Backend::Lmdb if path.is_dir() && !path.join(ENVIRONMENT).exists() => {
                Err(DataError::IsFolder { path })
            }
            Backend::Lmdb => {
                let environment = vrt_lmdb::Environment::open(&path)?;
                Ok(Self { root: path, tree: Tree::Environment(environment) })
            }
        }
    }

    /// The frame `key`, which is `clip/frame` without extension.
    ///
    /// # Errors
    ///
    /// Says that it is not there or cannot be read.
    pub(super) fn fetch<'a>(&'a self, key: &'a str) -> Result<EncodedFrame<'a>, DataError> {
        let bytes = match &self.tree {
            Tree::Folder { .. } => self.read_file(key)?,
            Tree::Environment(environment) => {
                environment.get(key)?.ok_or_else(|| self.missing(key))?
            }
        };
        Ok(EncodedFrame { store: self, key, encoded: Encoded(bytes) })
    }

    /// Says whether the frame `key` is there, without a look into it.
    ///
    /// # Errors
    ///
    /// If it is not, or if that cannot be found out.
    pub(super) fn find(&self, key: &str) -> Result<(), DataError> {
        let there = match &self.tree {
            Tree::Folder { .. } => StarredTree::file(&self.root, &self.name(key)).exists(),
            Tree::Environment(environment) => environment.contains(key)?,
        };
        if there { Ok(()) } else { Err(self.missing(key)) }
    }

    /// All keys of an environment; none of folders, whose frames are known by a list.
    ///
    /// # Errors
    ///
    /// Says that they cannot be read.
    pub(super) fn keys(&self) -> Result<Vec<String>, DataError> {
        match &self.tree {
            Tree::Folder { .. } => Ok(Vec::new()),
            Tree::Environment(environment) => Ok(environment.keys()?),
        }
    }

    /// The file or key of a frame, as errors state it.
    fn name(&self, key: &str) -> String {
        match &self.tree {
            Tree::Folder { extension } => format!("{key}.{extension}"),
            Tree::Environment(_) => key.to_owned(),
        }
    }

    fn read_file(&self, key: &str) -> Result<Vec<u8>, DataError> {
        let path = StarredTree::file(&self.root, &self.name(key));
        let mut bytes = Vec::new();
        let read =
            File::open(&path).and_then(|file| file.take(MAX_ENCODED_BYTES).read_to_end(&mut bytes));
        match read {
            Ok(_) => Ok(bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(self.missing(key)),
            Err(source) => Err(DataError::Read { path, source }),
        }
    }

    fn missing(&self, key: &str) -> DataError {
        DataError::MissingFrame { root: self.root.clone(), frame: self.name(key) }
    }
}

impl EncodedFrame<'_> {
    /// Width and height, without its samples.
    ///
    /// # Errors
    ///
    /// Says that its head cannot be decoded.
    pub(super) fn size(&self) -> Result<(usize, usize), DataError> {
        self.encoded.head().map(|head| head.size).map_err(|reason| self.undecodable(reason))
    }

    /// The part `region` of it, R, G, B.
    ///
    /// # Errors
    ///
    /// Says that it cannot be decoded, or is not of the size `expected`.
    pub(super) fn cut(&self, expected: (usize, usize), region: Region) -> Result<Frame, DataError> {
        let mut differing = None;
        let cut = self.encoded.decode(|size| {
            if size == expected {
                return Ok(region);
            }
            differing = Some(size);
            Err(String::new())
        });
        match differing {
            Some(got) => Err(self.wrong_size(got, expected)),
            None => cut.map_err(|reason| self.undecodable(reason)),
        }
    }

    /// All of it, R, G, B.
    ///
    /// # Errors
    ///
    /// Says that it cannot be decoded.
    pub(super) fn whole(&self) -> Result<Frame, DataError> {
        let whole = |(width, height)| Ok(Region { left: 0, top: 0, width, height });
        self.encoded.decode(whole).map_err(|reason| self.undecodable(reason))
    }

    /// # Errors
    ///
    /// Says that it cannot be decoded, or is not of the size `expected`.
    pub(super) fn decode_whole(&self, expected: (usize, usize)) -> Result<(), DataError> {
        let (width, height) = expected;
        self.cut(expected, Region { left: 0, top: 0, width, height }).map(drop)
    }

    /// # Errors
    ///
    /// Says that it is smaller than a crop of `crop` rows and columns.
    pub(super) fn check_crop(&self, size: (usize, usize), crop: usize) -> Result<(), DataError> {
        if size.0 >= crop && size.1 >= crop {
            return Ok(());
        }
        let (root, frame) = self.place();
        Err(DataError::CropTooLarge { root, frame, size, crop })
    }

    pub(super) fn wrong_size(&self, got: (usize, usize), expected: (usize, usize)) -> DataError {
        let (root, frame) = self.place();
        DataError::Size { root, frame, got, expected }
    }

    /// That this sharp frame and the one of `degraded` do not have the sizes that a scale asks for.
    pub(super) fn other_scale(
        &self,
        degraded: &Store,
        (got, small): ((usize, usize), (usize, usize)),
        scale: usize,
    ) -> DataError {
        let (sharp, frame) = self.place();
        DataError::Scale { frame, sharp, degraded: degraded.root.clone(), got, small, scale }
    }

    fn undecodable(&self, reason: String) -> DataError {
        let (root, frame) = self.place();
        DataError::Decode { root, frame, reason }
    }

    fn place(&self) -> (PathBuf, String) {
        (self.store.root.clone(), self.store.name(self.key))
    }
}
