//! Spike channels of frames to train on.

use std::path::{Path, PathBuf};

use vrt_spike::{Geometry, Method, SpikeStream, Stated};

use super::DataError;
use crate::layout::StarredTree;
use crate::picture::Region;
use crate::{Frame, Registration, RegistrationError, fits_frames, place_grey};

/// The folder of a clip's streams in the public GoPro set.
const INNER: &str = "spike";

/// A tree of streams, one for every degraded frame: `root/clip/frame.dat`, or
/// `root/clip/spike/frame.dat` as the public GoPro set with spikes has them; a star in the root stands
/// for the clip.
#[derive(Clone, Debug, PartialEq)]
pub struct SpikeTree {
    /// The folder (`dataroot_spike`).
    pub root: PathBuf,
    /// What is known about streams beside their files (`spike_w`, `spike_h`).
    pub stated: Stated,
    /// How a stream becomes one channel (`spike_method`); several are means of as many equal parts.
    pub method: Method,
    /// Channels behind RGB.
    pub channels: usize,
    /// What a pixel that always fires is worth; the same for all streams.
    pub ceiling: f32,
    /// Where pixels of frames are on streams' pictures (`spike_align`); without it both show the same,
    /// edge to edge.
    pub align: Option<Registration>,
    /// Extension of streams, without a dot (`spike_ext`).
    pub extension: String,
}

impl SpikeTree {
    /// Puts the channels of frame `key`, which is `clip/frame`, behind those of a part of it.
    ///
    /// The part is `region` of a frame of this `size`. Of a clip that runs backwards, parts of
    /// streams do, too.
    ///
    /// # Errors
    ///
    /// Says that the stream is not there, cannot be read, or has another shape than the frame.
    pub(super) fn behind(
        &self,
        frame: Frame,
        key: &str,
        (size, region): ((usize, usize), Region),
        backwards: bool,
    ) -> Result<Frame, DataError> {
        let mut pictures = self.read(key, size)?;
        if backwards {
            pictures.reverse();
        }
        let channels = frame.channels();
        let mut samples =
            Vec::with_capacity(region.width * region.height * (channels + self.channels));
        for (at, pixel) in frame.samples().chunks_exact(channels).enumerate() {
            let (x, y) = (region.left + at % region.width, region.top + at / region.width);
            samples.extend_from_slice(pixel);
            samples.extend(pictures.iter().map(|picture| picture.samples()[y * size.0 + x]));
        }
        Ok(Frame::new(region.width, region.height, channels + self.channels, samples))
    }

    /// The streams of the clip `name`. Those of a set that is one clip, which is then `alone`, may lie
    /// in the root itself.
    pub fn clip(&self, name: &str, alone: bool) -> SpikeClip {
        let starred = StarredTree::of(&self.root).is_some();
        let alone = alone && !starred && !self.root.join(name).is_dir();
        SpikeClip { tree: self.clone(), folder: (!alone).then(|| name.to_owned()) }
    }

    /// Whether the stream of a frame of this size is there and long enough, and shows what it does.
    pub(super) fn look(&self, key: &str, size: (usize, usize)) -> Result<(), DataError> {
        let stream = self.open(key)?;
        stream.holds(self.channels)?;
        self.fits(&stream, key, size)
    }

    /// The pictures of a frame's stream in its size.
    ///
    /// # Errors
    ///
    /// Says that the stream is not there, cannot be read, or has another shape than the frame.
    pub fn read(&self, key: &str, size: (usize, usize)) -> Result<Vec<Frame>, DataError> {
        let mut stream = self.open(key)?;
        self.fits(&stream, key, size)?;
        let pictures = stream.channels(self.channels, self.method, self.ceiling)?;
        let align = self.align.as_ref();
        let placed = pictures.into_iter().map(|it| place_grey(it.into(), align, size));
        placed.collect::<Result<_, _>>().map_err(|source| self.misplaced(key, source))
    }

    /// Whether a stream shows what a frame of this size does.
    fn fits(&self, stream: &SpikeStream, key: &str, size: (usize, usize)) -> Result<(), DataError> {
        let g = stream.geometry();
        let got = (g.width(), g.height());
        let fits = fits_frames(self.align.as_ref(), got, size);
        if fits.map_err(|source| self.misplaced(key, source))? {
            return Ok(());
        }
        let (root, frame) = (self.root.clone(), self.name(key));
        Err(DataError::SpikeShape { root, frame, got, expected: size })
    }

    fn misplaced(&self, key: &str, source: RegistrationError) -> DataError {
        DataError::SpikeAlign { root: self.root.clone(), frame: self.name(key), source }
    }

    /// The stream of a frame.
    ///
    /// # Errors
    ///
    /// Says that it is not there or cannot be read.
    pub fn open(&self, key: &str) -> Result<SpikeStream, DataError> {
        let name = self.name(key);
        let inner = match name.rsplit_once('/') {
            Some((clip, frame)) => format!("{clip}/{INNER}/{frame}"),
            None => format!("{INNER}/{name}"),
        };
        let mut paths = [name, inner].into_iter().map(|name| StarredTree::file(&self.root, &name));
        let Some(path) = paths.find(|path| path.is_file()) else {
            return Err(DataError::MissingStream {
                root: self.root.clone(),
                frame: self.name(key),
            });
        };
        Ok(SpikeStream::find(&path, &self.stated)?)
    }

    /// The same streams, read as `geometry` says.
    pub(super) fn read_as(&self, geometry: Geometry) -> Self {
        let stated = Stated {
            size: Some((geometry.width(), geometry.height())),
            stored_width: Some(geometry.stored_width()),
            camera: None,
            config: None,
            order: geometry.order(),
            upright: geometry.upright(),
        };
        Self { stated, ..self.clone() }
    }

    fn name(&self, key: &str) -> String {
        format!("{key}.{}", self.extension)
    }
}

/// The streams beside the frames of a clip.
#[derive(Clone, Debug, PartialEq)]
pub struct SpikeClip {
    tree: SpikeTree,
    /// The clip's folder, where it has one.
    folder: Option<String>,
}

impl SpikeClip {
    /// Channels that its streams become.
    pub fn channels(&self) -> usize {
        self.tree.channels
    }

    /// Looks at the streams of all these frames, whose pictures are files of this size.
    ///
    /// # Errors
    ///
    /// Says which stream is not there, cannot be read, is too short or has another shape than frames.
    pub fn look(&self, frames: &[PathBuf], size: (usize, usize)) -> Result<(), DataError> {
        frames.iter().try_for_each(|frame| self.tree.look(&self.key(frame), size))
    }

    /// A frame, whose picture is the file `path`, with the channels of its stream behind R, G, B.
    ///
    /// # Errors
    ///
    /// Says that the stream is not there, cannot be read, or has another shape than the frame.
    pub fn beside(&self, frame: Frame, path: &Path) -> Result<Frame, DataError> {
        let (width, height) = (frame.width(), frame.height());
        let whole = Region { left: 0, top: 0, width, height };
        self.tree.behind(frame, &self.key(path), ((width, height), whole), false)
    }

    fn key(&self, frame: &Path) -> String {
        let stem = frame.file_stem().unwrap_or_default().to_string_lossy();
        match &self.folder {
            None => stem.into_owned(),
            Some(folder) => format!("{folder}/{stem}"),
        }
    }
}
