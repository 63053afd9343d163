//! A stream in a file, of which only what is asked for is in memory.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::array;
use crate::config::{Stated, settle};
use crate::count::count;
use crate::error::SpikeError;
use crate::geometry::Geometry;
use crate::intensity::{Intensity, Method, Nearest};
use crate::packed::Packed;

/// Bytes of a file that are read at a time.
const CHUNK: usize = 8 << 20;

/// A stream of spikes in a file: frames back to back without a header, or an array of NumPy, which
/// is read whole.
#[derive(Debug)]
pub struct SpikeStream {
    source: Source,
    path: PathBuf,
    geometry: Geometry,
    frames: u64,
}

#[derive(Debug)]
enum Source {
    File(File),
    Memory(Packed),
}

impl SpikeStream {
    /// The stream in a file: `.npy` and `.npz` say themselves what they hold, of others `stated`
    /// and a side file do ([`settle`]).
    ///
    /// # Errors
    ///
    /// As [`settle`] and [`SpikeStream::open`].
    pub fn find(path: &Path, stated: &Stated) -> Result<Self, SpikeError> {
        if !array::is_array(path) {
            return Self::open(path, settle(path, stated)?);
        }
        let packed = array::read(path)?;
        let (path, frames) = (path.to_path_buf(), packed.frames() as u64);
        if frames == 0 {
            return Err(SpikeError::Empty { path });
        }
        let geometry = packed.geometry();
        Ok(Self { source: Source::Memory(packed), path, geometry, frames })
    }

    /// The stream in a file whose frames lie as `geometry` says.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, is empty, or is no whole number of such frames; then the
    /// error names the known geometries that it would fit.
    pub fn open(path: &Path, geometry: Geometry) -> Result<Self, SpikeError> {
        let io = |source| SpikeError::Io { path: path.to_path_buf(), source };
        let file = File::open(path).map_err(io)?;
        let bytes = file.metadata().map_err(io)?.len();
        let path = path.to_path_buf();
        match geometry.frames_in(bytes) {
            None => Err(SpikeError::Size { path, bytes, geometry }),
            Some(0) => Err(SpikeError::Empty { path }),
            Some(frames) => Ok(Self { source: Source::File(file), path, geometry, frames }),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How its frames lie.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// How many frames it has.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Some of its frames.
    ///
    /// # Errors
    ///
    /// Fails if there are no such frames, or they cannot be read.
    pub fn read(&mut self, frames: Range<u64>) -> Result<Packed, SpikeError> {
        if frames.end > self.frames || frames.start > frames.end {
            return Err(self.no_frame(frames.end.max(frames.start)));
        }
        let len = self.geometry.frame_bytes();
        let count = (frames.end - frames.start) as usize * len;
        let file = match &mut self.source {
            Source::File(file) => file,
            Source::Memory(packed) => {
                let bytes = &packed.bytes()[frames.start as usize * len..][..count];
                return Ok(Packed::new(self.geometry, bytes.to_vec()));
            }
        };
        let mut bytes = vec![0; count];
        let read = file.seek(SeekFrom::Start(frames.start * len as u64));
        let read = read.and_then(|_| file.read_exact(&mut bytes));
        read.map_err(|source| SpikeError::Io { path: self.path.clone(), source })?;
        Ok(Packed::new(self.geometry, bytes))
    }

    /// The picture at the time of frame `at`, which [`Method::Mean`] does not depend on. A pixel
    /// that fires in every frame is worth `ceiling` ([`CEILING`](crate::CEILING) as published).
    ///
    /// # Errors
    ///
    /// Fails if there is no such frame, or the file cannot be read.
    pub fn intensity(
        &mut self,
        method: Method,
        at: u64,
        ceiling: f32,
    ) -> Result<Intensity, SpikeError> {
        if at >= self.frames {
            return Err(self.no_frame(at));
        }
        match method {
            Method::Mean => self.mean_of(0..self.frames, ceiling),
            Method::Playback { half_window } => {
                let end = at.saturating_add(half_window).saturating_add(1).min(self.frames);
                self.mean_of(at.saturating_sub(half_window)..end, ceiling)
            }
            Method::Interval => self.intervals(at, ceiling),
        }
    }

    /// What a network with so many spike channels sees: the picture in the middle of the stream, or
    /// several of as many equal parts ([`bins`](Self::bins)).
    ///
    /// # Errors
    ///
    /// As [`bins`](Self::bins).
    pub fn channels(
        &mut self,
        channels: usize,
        method: Method,
        ceiling: f32,
    ) -> Result<Vec<Intensity>, SpikeError> {
        match channels {
            1 => Ok(vec![self.intensity(method, self.frames / 2, ceiling)?]),
            bins => self.bins(bins, ceiling),
        }
    }

    /// Whether it can be cut into so many parts.
    ///
    /// # Errors
    ///
    /// Fails if there are fewer frames than parts, or none are asked for.
    pub fn holds(&self, bins: usize) -> Result<(), SpikeError> {
        let frames = self.frames;
        if bins == 0 || bins as u64 > frames {
            return Err(SpikeError::Bins { path: self.path.clone(), bins, frames });
        }
        Ok(())
    }

    /// Pictures of as many equal parts of the stream, one behind the other.
    ///
    /// # Errors
    ///
    /// Fails if there are fewer frames than parts, or the file cannot be read.
    pub fn bins(&mut self, bins: usize, ceiling: f32) -> Result<Vec<Intensity>, SpikeError> {
        self.holds(bins)?;
        let (count, frames) = (bins as u64, self.frames);
        // In u128: a long stream's frames times bins may not fit in 64 bits.
        let start = |bin: u64| (u128::from(bin) * u128::from(frames) / u128::from(count)) as u64;
        (0..count).map(|bin| self.mean_of(start(bin)..start(bin + 1), ceiling)).collect()
    }

    /// Spikes of every pixel over some frames, which lie as the bits of a frame do.
    pub(crate) fn sums(&mut self, frames: Range<u64>) -> Result<Vec<u32>, SpikeError> {
        let mut sums = vec![0; 8 * self.geometry.frame_bytes()];
        for part in self.parts(frames) {
            count(self.read(part)?.bytes(), self.geometry, &mut sums);
        }
        Ok(sums)
    }

    /// These frames in parts that are read at a time, some megabytes each.
    pub fn parts(&self, frames: Range<u64>) -> impl Iterator<Item = Range<u64>> + use<> {
        let step = (CHUNK / self.geometry.frame_bytes()).max(1) as u64;
        let end = frames.end;
        let starts = (0..).map(move |i| frames.start + i * step);
        starts.take_while(move |start| *start < end).map(move |s| s..end.min(s + step))
    }

    /// How often pixels fire in some frames.
    ///
    /// # Errors
    ///
    /// Fails if there is none, the stream has not all of them, or the file cannot be read.
    pub fn mean_of(&mut self, frames: Range<u64>, ceiling: f32) -> Result<Intensity, SpikeError> {
        if frames.is_empty() || frames.end > self.frames {
            let (path, at) = (self.path.clone(), frames.end.max(frames.start));
            return Err(SpikeError::Time { path, at, frames: self.frames });
        }
        let sums = self.sums(frames.clone())?;
        Ok(Intensity::of_sums(self.geometry, &sums, frames.end - frames.start, ceiling))
    }

    fn intervals(&mut self, at: u64, ceiling: f32) -> Result<Intensity, SpikeError> {
        let g = self.geometry;
        let [mut before, mut after] = [(); 2].map(|()| Nearest::new(g));
        // Backwards from the frame itself, and forwards from the one behind it.
        let first = (at + 1).saturating_sub(Method::LONGEST_WAIT);
        let mut end = at + 1;
        while end > first && !before.is_complete() {
            let start = end.saturating_sub(SEARCHED).max(first);
            let found = self.read(start..end)?;
            for (i, frame) in found.bytes().chunks_exact(g.frame_bytes()).rev().enumerate() {
                before.look(frame, g, (at + 1 - end) as u32 + i as u32 + 1);
            }
            end = start;
        }
        let last = self.frames.min(at + 1 + Method::LONGEST_WAIT);
        let mut start = at + 1;
        while start < last && !after.is_complete() {
            let end = last.min(start + SEARCHED);
            let found = self.read(start..end)?;
            for (i, frame) in found.bytes().chunks_exact(g.frame_bytes()).enumerate() {
                after.look(frame, g, (start - at - 1) as u32 + i as u32 + 1);
            }
            start = end;
        }
        Ok(Nearest::intervals(&before, &after, g, ceiling))
    }

    fn no_frame(&self, at: u64) -> SpikeError {
        SpikeError::Time { path: self.path.clone(), at, frames: self.frames }
    }
}

/// Frames that are read at a time in search of spikes.
const SEARCHED: u64 = 32;
