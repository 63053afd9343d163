//! How the frames of a stream lie in it.

use std::fmt;
use std::ops::Range;

/// Longest side of a sensor, header columns included.
const MAX_SIDE: usize = 1 << 14;

/// Which bit of a byte is its first pixel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BitOrder {
    /// The least significant one.
    #[default]
    LeastFirst,
    /// The most significant one.
    MostFirst,
}

/// How the frames of a stream lie in it: back to back, row by row, eight pixels a byte.
///
/// Every row may end in columns that are no pixels, such as a camera's header. Rows are stored from
/// the bottom up, unless the geometry says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Geometry {
    width: usize,
    height: usize,
    stored_width: usize,
    order: BitOrder,
    upright: bool,
}

/// Sizes that no stream can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GeometryError {
    /// A side is zero or too long.
    #[error("spike frames of {width}×{height} are none: sides are 1 to {MAX_SIDE} pixels")]
    Side {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
    },
    /// Fewer columns are stored than shown.
    #[error("spike frames are stored {stored} columns wide, less than the {width} of the picture")]
    Stored {
        /// Columns in the file.
        stored: usize,
        /// Columns of the picture.
        width: usize,
    },
    /// Frames do not end with a byte.
    #[error(
        "a spike frame of {stored}×{height} is {bits} bits, no whole number of bytes: state the \
         columns that are stored, header columns included"
    )]
    Bytes {
        /// Columns in the file.
        stored: usize,
        /// Rows.
        height: usize,
        /// Bits of a frame.
        bits: usize,
    },
}

/// A camera, or a public set of streams, whose geometry is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Camera {
    /// What it is called here.
    pub name: &'static str,
    /// Columns of the picture.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Columns in the file.
    pub stored_width: usize,
}

impl Camera {
    /// All that are known.
    pub const KNOWN: [Self; 6] = [
        Self { name: "400x250", width: 400, height: 250, stored_width: 416 },
        Self { name: "1000x1000", width: 1000, height: 1000, stored_width: 1024 },
        Self { name: "gopro", width: 640, height: 360, stored_width: 640 },
        Self { name: "x4k1000fps", width: 384, height: 384, stored_width: 384 },
        Self { name: "400x250-cropped", width: 400, height: 250, stored_width: 400 },
        Self { name: "1000x1000-cropped", width: 1000, height: 1000, stored_width: 1000 },
    ];

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::KNOWN.into_iter().find(|camera| camera.name == name)
    }

    /// How its frames lie in a stream.
    pub fn geometry(self) -> Geometry {
        let Self { width, height, stored_width, .. } = self;
        Geometry { width, height, stored_width, order: BitOrder::LeastFirst, upright: false }
    }
}

impl Geometry {
    /// Frames of so many columns and rows without a header, the least significant bit first, from
    /// the bottom up.
    ///
    /// # Errors
    ///
    /// Fails if there are no such frames.
    pub fn new(width: usize, height: usize) -> Result<Self, GeometryError> {
        Self::stored(width, height, width)
    }

    /// The same where every row is stored with `stored_width` columns, of which the first `width`
    /// are pixels.
    ///
    /// # Errors
    ///
    /// Fails if there are no such frames.
    pub fn stored(width: usize, height: usize, stored_width: usize) -> Result<Self, GeometryError> {
        let side = 1..=MAX_SIDE;
        if !side.contains(&width) || !side.contains(&height) || stored_width > MAX_SIDE {
            return Err(GeometryError::Side { width: width.max(stored_width), height });
        }
        if stored_width < width {
            return Err(GeometryError::Stored { stored: stored_width, width });
        }
        let bits = stored_width * height;
        if !bits.is_multiple_of(8) {
            return Err(GeometryError::Bytes { stored: stored_width, height, bits });
        }
        Ok(Self { width, height, stored_width, order: BitOrder::LeastFirst, upright: false })
    }

    /// The same with this order of bits.
    #[must_use]
    pub fn with_order(self, order: BitOrder) -> Self {
        Self { order, ..self }
    }

    /// The same with rows stored from the top down, or from the bottom up.
    #[must_use]
    pub fn with_upright(self, upright: bool) -> Self {
        Self { upright, ..self }
    }

    /// Columns of the picture.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Columns in the file.
    pub fn stored_width(&self) -> usize {
        self.stored_width
    }

    /// Which bit of a byte is its first pixel.
    pub fn order(&self) -> BitOrder {
        self.order
    }

    /// Whether rows are stored from the top down.
    pub fn upright(&self) -> bool {
        self.upright
    }

    /// Pixels of the picture.
    pub fn pixels(&self) -> usize {
        self.width * self.height
    }

    /// Bytes of a frame.
    pub fn frame_bytes(&self) -> usize {
        self.stored_width * self.height / 8
    }

    /// Frames that so many bytes are, if that is a whole number.
    pub fn frames_in(&self, bytes: u64) -> Option<u64> {
        let frame = self.frame_bytes() as u64;
        bytes.is_multiple_of(frame).then_some(bytes / frame)
    }

    /// Places in a frame, in the order of its bits, of the pixels of row `y`, counted from the top.
    pub(crate) fn row(&self, y: usize) -> Range<usize> {
        let stored = if self.upright { y } else { self.height - 1 - y };
        stored * self.stored_width..stored * self.stored_width + self.width
    }

    /// Which pixel of a byte bit `bit` is, counted from the least significant one.
    #[inline(always)]
    pub(crate) fn bit(&self, bit: usize) -> usize {
        match self.order {
            BitOrder::LeastFirst => bit,
            BitOrder::MostFirst => 7 - bit,
        }
    }

    /// What is at every pixel, row by row from the top, of values that lie as the bits of a frame.
    pub(crate) fn picture<T: Copy, U>(&self, stored: &[T], value: impl Fn(T) -> U) -> Vec<U> {
        let rows = (0..self.height).flat_map(|y| &stored[self.row(y)]);
        rows.map(|stored| value(*stored)).collect()
    }
}

impl fmt::Display for Geometry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}×{}", self.width, self.height)?;
        if self.stored_width != self.width {
            write!(f, " (stored {} wide)", self.stored_width)?;
        }
        Ok(())
    }
}
