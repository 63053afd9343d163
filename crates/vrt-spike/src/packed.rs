//! Frames of spikes in memory.

use crate::count::count;
use crate::geometry::Geometry;
use crate::intensity::Intensity;

/// Some frames of a stream in memory, as they lie in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    geometry: Geometry,
    bytes: Vec<u8>,
}

impl Packed {
    /// Frames made of `bytes`, as they lie in a file.
    ///
    /// # Panics
    ///
    /// Panics if these are no whole number of frames.
    pub fn new(geometry: Geometry, bytes: Vec<u8>) -> Self {
        assert!(
            geometry.frames_in(bytes.len() as u64).is_some(),
            "{} bytes are no frames of {geometry}",
            bytes.len()
        );
        Self { geometry, bytes }
    }

    /// Frames made of one value a pixel, row by row from the top, frame by frame: a spike where it
    /// is not zero. Columns that are no pixels are zero.
    ///
    /// # Panics
    ///
    /// Panics if there are parts of frames.
    pub fn of_values(geometry: Geometry, values: &[u8]) -> Self {
        let (frames, rest) = (values.len() / geometry.pixels(), values.len() % geometry.pixels());
        assert_eq!(rest, 0, "{} values are no frames of {geometry}", values.len());
        let mut bytes = vec![0; frames * geometry.frame_bytes()];
        let stored = bytes.chunks_exact_mut(geometry.frame_bytes());
        for (values, stored) in values.chunks_exact(geometry.pixels()).zip(stored) {
            for (y, values) in values.chunks_exact(geometry.width()).enumerate() {
                let places = geometry.row(y);
                for (place, _) in places.zip(values).filter(|(_, value)| **value != 0) {
                    stored[place / 8] |= mask(geometry, place);
                }
            }
        }
        Self { geometry, bytes }
    }

    /// How the frames lie.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// How many there are.
    pub fn frames(&self) -> usize {
        self.bytes.len() / self.geometry.frame_bytes()
    }

    /// The frames as they lie in a file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// One value a pixel, 0 or 1, row by row from the top, frame by frame.
    pub fn values(&self) -> Vec<u8> {
        let g = self.geometry;
        let frames = self.bytes.chunks_exact(g.frame_bytes());
        let rows = frames.flat_map(|frame| (0..g.height()).map(move |y| (frame, g.row(y))));
        let bit = |frame: &[u8], place: usize| frame[place / 8] & mask(g, place) != 0;
        rows.flat_map(|(frame, places)| places.map(move |place| u8::from(bit(frame, place))))
            .collect()
    }

    /// Whether pixel (`x`, `y`), counted from the top left, fires in a frame.
    ///
    /// # Panics
    ///
    /// Panics if there is no such pixel or frame.
    pub fn fires(&self, frame: usize, x: usize, y: usize) -> bool {
        let g = self.geometry;
        assert!(x < g.width() && y < g.height(), "{g} has no pixel ({x}, {y})");
        let place = g.row(y).start + x;
        let frame = &self.bytes[frame * g.frame_bytes()..][..g.frame_bytes()];
        frame[place / 8] & mask(g, place) != 0
    }

    /// Spikes of every pixel, row by row from the top.
    pub fn counts(&self) -> Vec<u32> {
        self.geometry.picture(&self.sums(), |sum| sum)
    }

    /// The picture of all these frames: spikes a frame, times the ceiling.
    ///
    /// # Panics
    ///
    /// Panics if there is no frame.
    pub fn mean(&self, ceiling: f32) -> Intensity {
        assert!(self.frames() > 0, "no frames have no mean");
        Intensity::of_sums(self.geometry, &self.sums(), self.frames() as u64, ceiling)
    }

    /// Spikes of every pixel, which lie as the bits of a frame do.
    fn sums(&self) -> Vec<u32> {
        let mut sums = vec![0; 8 * self.geometry.frame_bytes()];
        count(&self.bytes, self.geometry, &mut sums);
        sums
    }
}

/// The bit of a byte that is the pixel at `place`.
fn mask(geometry: Geometry, place: usize) -> u8 {
    1 << geometry.bit(place % 8)
}
