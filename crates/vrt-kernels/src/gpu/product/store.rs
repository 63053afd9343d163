//! Where a product's values go.

use cubecl::prelude::*;

/// What happens to the values of a product of a map's places on their way to memory: a leaky ReLU and
/// a pixel shuffle; see [`Enlarging`](crate::conv::Enlarging).
#[derive(Clone, Copy, Debug)]
pub(in crate::gpu) struct Store {
    pub(in crate::gpu) factor: usize,
    pub(in crate::gpu) slope: f32,
    /// Width of the map.
    pub(in crate::gpu) width: usize,
}

impl Store {
    /// Values as they are, row by row.
    pub(super) const ROWS: Self = Self { factor: 1, slope: 1.0, width: 1 };

    pub(super) fn shuffles(&self) -> bool {
        self.factor > 1 || self.slope != 1.0
    }

    pub(super) fn launch(&self) -> StoreArgsLaunch {
        StoreArgsLaunch::new(self.factor, self.slope, self.width)
    }
}

/// A [`Store`], as kernels see it.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(super) struct StoreArgs {
    factor: usize,
    slope: f32,
    width: usize,
}

/// Puts a value of a row, of so many columns.
#[cube]
pub(super) fn put(
    out: &mut [f32],
    value: f32,
    row: usize,
    column: usize,
    columns: usize,
    store: &StoreArgs,
    #[comptime] shuffles: bool,
) {
    if comptime!(!shuffles) {
        out[row * columns + column] = value;
    } else {
        let factor = store.factor;
        let (channel, part) = (column / (factor * factor), column % (factor * factor));
        let (x, line) = (row % store.width, row / store.width);
        // Lines of all frames lie one behind the other, enlarged or not.
        let (at_line, at_x) = (line * factor + part / factor, x * factor + part % factor);
        let pixel = at_line * (store.width * factor) + at_x;
        let kept = select(value < 0.0f32, value * store.slope, value);
        out[pixel * (columns / (factor * factor)) + channel] = kept;
    }
}
