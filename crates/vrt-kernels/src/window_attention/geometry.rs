//! Sizes of a map and its windows, and where the tokens of a window lie.

use std::cell::Cell;

use crate::parallel::{Kept, with_kept};

thread_local! {
    /// Regions of a window's tokens.
    static REGIONS: Kept<u8> = const { Cell::new(Vec::new()) };
}

/// The sizes of attention in windows.
///
/// # Shapes
///
/// With `map = [d, h, w]`:
///
/// - `qkv`: `[batch, d, h, w, 3 · channels]`: queries, keys, values; in each the heads, in each
///   the channels of a head
/// - output: `[batch, d, h, w, channels]`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WindowGeometry {
    /// Clips.
    pub batch: usize,
    /// Frames, rows and columns of the map, multiples of `window`.
    pub map: [usize; 3],
    /// Frames, rows and columns of a window, after it has shrunk to a small map.
    pub window: [usize; 3],
    /// Frames, rows and columns of the window that the table of the bias was made for.
    pub full_window: [usize; 3],
    /// How far the map is rolled towards its start, per axis, below `window`.
    pub shift: [usize; 3],
    /// Heads.
    pub heads: usize,
    /// Values of a token, of all heads together.
    pub channels: usize,
}

impl WindowGeometry {
    /// Windows of one clip.
    pub fn windows(&self) -> usize {
        self.windows_per_axis().iter().product()
    }

    /// Tokens of a window.
    pub fn tokens(&self) -> usize {
        self.window.iter().product()
    }

    /// Values of the queries, keys and values together.
    pub fn qkv_len(&self) -> usize {
        3 * self.out_len()
    }

    /// Values of the output.
    pub fn out_len(&self) -> usize {
        self.batch * self.map_tokens() * self.channels
    }

    /// Values of the table of the bias.
    pub fn table_len(&self) -> usize {
        self.table_rows() * self.heads
    }

    /// Rows of the table of the bias: distances that two tokens of the full window can have.
    pub fn table_rows(&self) -> usize {
        self.full_window.iter().map(|size| 2 * size - 1).product()
    }

    /// Tokens of a frame of a window.
    pub(crate) fn plane(&self) -> usize {
        self.window[1] * self.window[2]
    }

    /// Channels of a head.
    pub(crate) fn head_channels(&self) -> usize {
        self.channels / self.heads
    }

    /// Factor on the queries: 1 / √(channels of a head).
    pub(crate) fn scale(&self) -> f32 {
        (self.head_channels() as f32).sqrt().recip()
    }

    fn map_tokens(&self) -> usize {
        self.map.iter().product()
    }

    fn windows_per_axis(&self) -> [usize; 3] {
        std::array::from_fn(|axis| self.map[axis] / self.window[axis])
    }

    /// For each pair (query, key) of tokens of a window, `[tokens, tokens]`, the row of the table.
    ///
    /// Along each axis it counts `query − key + size − 1`, frames outermost. A shrunken window
    /// numbers its tokens as the full one does, so its index is the corner of the full index.
    pub fn relative_index(&self) -> Vec<usize> {
        let places = self.table_places();
        let centre = self.table_centre();
        let keys = |query: usize| places.iter().map(move |key| query + centre - key);
        places.iter().flat_map(|query| keys(*query)).collect()
    }

    /// A number for each token such that a query's, plus [`Self::table_centre`], minus a key's is
    /// the row of the table.
    pub(super) fn table_places(&self) -> Vec<usize> {
        let full = self.full_window;
        (0..self.tokens()).map(|token| self.table_row(split(token, full))).collect()
    }

    /// Row of the table for a token and itself.
    pub(super) fn table_centre(&self) -> usize {
        self.table_row(self.full_window.map(|size| size - 1))
    }

    fn table_row(&self, [d, h, w]: [usize; 3]) -> usize {
        let [_, height, width] = self.full_window;
        (d * (2 * height - 1) + h) * (2 * width - 1) + w
    }

    /// For each token of each window of a clip, `[windows, tokens]`, a number for its region;
    /// `None` where the map is not rolled, so that there is only one.
    ///
    /// Along each rolled axis the last `shift` places of the map are one region, those before them
    /// in the last window a second, all others a third.
    pub fn regions(&self) -> Option<Vec<u8>> {
        if self.shift == [0; 3] {
            return None;
        }
        let mut regions = Vec::with_capacity(self.map_tokens());
        for window in 0..self.windows() {
            self.for_rolled(window, |place| regions.push(self.region(place)));
        }
        Some(regions)
    }

    /// The region of a place in the rolled map.
    fn region(&self, place: [usize; 3]) -> u8 {
        let along = |axis: usize| {
            let (size, shift) = (self.map[axis], self.shift[axis]);
            let in_last_window = u8::from(place[axis] >= size - self.window[axis]);
            let in_tail = u8::from(place[axis] >= size - shift);
            if shift == 0 { 0 } else { in_last_window + in_tail }
        };
        (along(0) * 3 + along(1)) * 3 + along(2)
    }

    /// Calls `work` with the regions of a window's tokens; `None` where there is only one. Windows are
    /// numbered over all clips.
    pub(crate) fn with_regions<T>(
        &self,
        window: usize,
        work: impl FnOnce(Option<&[u8]>) -> T,
    ) -> T {
        let (window, per_axis) = (window % self.windows(), self.windows_per_axis());
        let place = split(window, per_axis);
        // Others than the last along a rolled axis lie in one.
        let several = (0..3).any(|axis| self.shift[axis] > 0 && place[axis] + 1 == per_axis[axis]);
        if !several {
            return work(None);
        }
        with_kept(&REGIONS, [self.tokens()], |[regions]| {
            let mut token = 0;
            self.for_rolled(window, |place| {
                regions[token] = self.region(place);
                token += 1;
            });
            work(Some(regions))
        })
    }

    /// Calls `work` with frame, row and column of each token of a window of a clip in the rolled map.
    fn for_rolled(&self, window: usize, mut work: impl FnMut([usize; 3])) {
        let window = split(window, self.windows_per_axis());
        let [frames, rows, columns] = std::array::from_fn(|axis| {
            let (first, size) = (window[axis] * self.window[axis], self.window[axis]);
            first..first + size
        });
        for frame in frames {
            for row in rows.clone() {
                columns.clone().for_each(|column| work([frame, row, column]));
            }
        }
    }

    /// Where each token of a window lies, counted over the tokens of all clips. Windows are
    /// numbered over all clips.
    pub(super) fn token_places(&self, window: usize) -> Vec<usize> {
        let clip = window / self.windows();
        let mut places = Vec::with_capacity(self.tokens());
        self.for_tokens(window, |place| {
            places.push(
                place.iter().zip(self.map).fold(clip, |sum, (place, size)| sum * size + place),
            );
        });
        places
    }

    /// Calls `work` with frame, row and column of each token of a window in the map of its clip.
    pub(crate) fn for_tokens(&self, window: usize, mut work: impl FnMut([usize; 3])) {
        self.for_rolled(window % self.windows(), |rolled| {
            work(std::array::from_fn(|axis| {
                // At most once around: a shift is smaller than a window.
                let place = rolled[axis] + self.shift[axis];
                if place < self.map[axis] { place } else { place - self.map[axis] }
            }));
        });
    }

    pub(crate) fn check(&self, qkv: usize, out: usize) {
        for axis in 0..3 {
            let (size, window) = (self.map[axis], self.window[axis]);
            assert!(
                window > 0 && size >= window && size.is_multiple_of(window),
                "window_attention: the window does not divide the map: {self:?}"
            );
            assert!(
                self.shift[axis] < window,
                "window_attention: a shift must be smaller than the window: {self:?}"
            );
        }
        assert!(
            self.heads > 0
                && self.channels >= self.heads
                && self.channels.is_multiple_of(self.heads),
            "window_attention: the heads do not divide the channels: {self:?}"
        );
        assert_eq!(qkv, self.qkv_len(), "window_attention: qkv does not have the sizes {self:?}");
        assert_eq!(out, self.out_len(), "window_attention: the output does not fit {self:?}");
    }

    pub(crate) fn check_bias(&self) {
        assert!(
            self.full_window.iter().zip(self.window).all(|(full, window)| *full >= window),
            "window_attention: the window is larger than the full one: {self:?}"
        );
    }
}

/// The coordinates of place `index` in a box of `sizes`, last axis fastest.
fn split(index: usize, [_, height, width]: [usize; 3]) -> [usize; 3] {
    [index / (height * width), index / width % height, index % width]
}
