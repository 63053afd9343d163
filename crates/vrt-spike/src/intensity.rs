//! Pictures of a stream.

use crate::geometry::Geometry;

/// What a pixel that fires in every frame is worth, as published: one that fires in half of them is
/// white.
pub const CEILING: f32 = 2.0;

/// How a picture is made of spikes. All values are times the ceiling, and at most 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Spikes a frame over the whole stream.
    Mean,
    /// Spikes a frame around the time of the picture ("texture from playback"): of so many frames
    /// before and after it, of those that there are.
    Playback {
        /// Frames on each side.
        half_window: u64,
    },
    /// One over the frames between the last spike until the time of the picture and the next one
    /// ("texture from interval"); 0 where one of them is missing or further than
    /// [`LONGEST_WAIT`](Self::LONGEST_WAIT) frames away.
    Interval,
}

impl Method {
    /// [`Method::Playback`] over 20 frames on each side, as published.
    pub const PLAYBACK: Self = Self::Playback { half_window: 20 };

    /// Frames on each side in which [`Method::Interval`] looks for a spike: pixels that wait longer
    /// are black in 8 bits.
    pub const LONGEST_WAIT: u64 = 1024;
}

/// A picture of a stream: rows of values from the top, 0 black … 1 white.
#[derive(Clone, Debug, PartialEq)]
pub struct Intensity {
    width: usize,
    height: usize,
    values: Vec<f32>,
}

impl Intensity {
    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The values, row by row from the top.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// The values alone.
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }

    /// From spikes of pixels, which lie as the bits of a frame do, over so many frames.
    pub(crate) fn of_sums(geometry: Geometry, sums: &[u32], frames: u64, ceiling: f32) -> Self {
        let factor = f64::from(ceiling) / frames as f64;
        let value = |sum: u32| (f64::from(sum) * factor).min(1.0) as f32;
        Self::of(geometry, geometry.picture(sums, value))
    }

    fn of(geometry: Geometry, values: Vec<f32>) -> Self {
        Self { width: geometry.width(), height: geometry.height(), values }
    }
}

/// Distances of the nearest spikes on one side, found frame by frame. Values lie as the bits of a
/// frame do.
#[derive(Clone, Debug)]
pub(crate) struct Nearest {
    /// Pixels that have fired.
    found: Vec<u8>,
    /// 0 where none was found.
    distances: Vec<u32>,
    missing: usize,
}

impl Nearest {
    /// Columns that are no pixels count as found.
    pub(crate) fn new(geometry: Geometry) -> Self {
        let bytes = geometry.frame_bytes();
        let mut found = vec![u8::MAX; bytes];
        for place in (0..geometry.height()).flat_map(|y| geometry.row(y)) {
            found[place / 8] &= !(1 << geometry.bit(place % 8));
        }
        Self { found, distances: vec![0; 8 * bytes], missing: geometry.pixels() }
    }

    /// Looks at a frame at this distance; frames come nearest first.
    pub(crate) fn look(&mut self, frame: &[u8], geometry: Geometry, distance: u32) {
        let bits = self.distances.as_chunks_mut::<8>().0;
        for ((found, frame), distances) in self.found.iter_mut().zip(frame).zip(bits) {
            let mut new = frame & !*found;
            *found |= new;
            self.missing -= new.count_ones() as usize;
            while new != 0 {
                let bit = new.trailing_zeros() as usize;
                distances[geometry.bit(bit)] = distance;
                new &= new - 1;
            }
        }
    }

    /// Whether every pixel has been found.
    pub(crate) fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// The picture of the intervals between spikes before and after. Distances are 1 in the first
    /// frame that was looked at: the one of the picture, and the one behind it.
    pub(crate) fn intervals(before: &Self, after: &Self, g: Geometry, ceiling: f32) -> Intensity {
        let pairs: Vec<[u32; 2]> =
            before.distances.iter().zip(&after.distances).map(|(a, b)| [*a, *b]).collect();
        let value = |[before, after]: [u32; 2]| match (before, after) {
            (0, _) | (_, 0) => 0.0,
            (before, after) => (ceiling / (before + after - 1) as f32).min(1.0),
        };
        Intensity::of(g, g.picture(&pairs, value))
    }
}
