//! Where the tokens of a window lie, and what the bias and the mask add between them.

use cubecl::prelude::*;

use crate::window_attention::{MASKED, WindowGeometry};

/// Most units of a cube; each has a query or a key of its own.
const UNITS: usize = 128;

/// Values that a cube may have in its own memory: 30 KiB, as GPUs have 32 at least.
const SHARED: usize = 7680;

/// Fewest tokens that a cube has there at a time: as many as a unit weighs at once.
pub(super) const LEAST_TILE: usize = 8;

/// Frames, rows and columns of a map, how far it is rolled, and windows of all clips.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(super) struct Map {
    frames: usize,
    height: usize,
    width: usize,
    shift_frames: usize,
    shift_height: usize,
    shift_width: usize,
    pub(super) windows: usize,
}

/// What a kernel is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Attention {
    window: [usize; 3],
    full: [usize; 3],
    pub(super) heads: usize,
    /// Channels of a head.
    pub(super) depth: usize,
    /// Between the two frames of a window, without bias.
    pub(super) mutual: bool,
    /// Whether tokens of different regions meet.
    rolled: bool,
    /// Tokens that a cube has in its own memory at a time.
    pub(super) tile: usize,
    /// Whether a cube has a copy of its head's column of the table there, too.
    copies: bool,
}

impl Attention {
    pub(super) fn new(geometry: &WindowGeometry, mutual: bool) -> Self {
        let depth = geometry.channels / geometry.heads;
        let tile = [32, 16, 8].into_iter().find(|tile| 2 * tile * (depth + 2) <= SHARED);
        let tile = tile.unwrap_or(LEAST_TILE);
        let rows = geometry.table_rows();
        Self {
            tile,
            copies: !mutual && rows + 2 * tile * (depth + 2) <= SHARED,
            window: geometry.window,
            full: geometry.full_window,
            heads: geometry.heads,
            depth,
            mutual,
            rolled: geometry.shift != [0; 3],
        }
    }

    /// Tokens of a window.
    pub(super) fn tokens(&self) -> usize {
        self.window.iter().product()
    }

    /// Tokens that attend to the same tokens.
    pub(super) fn side(&self) -> usize {
        if self.mutual { self.tokens() / 2 } else { self.tokens() }
    }

    /// Units of a cube.
    pub(super) fn units(&self) -> usize {
        UNITS.min(self.side().next_multiple_of(32))
    }

    /// Cubes that the tokens of a side take.
    pub(super) fn blocks(&self) -> usize {
        self.side().div_ceil(self.units())
    }

    pub(super) fn sides(&self) -> usize {
        if self.mutual { 2 } else { 1 }
    }

    /// Cubes in which every token of every window and head has a unit.
    pub(super) fn query_cubes(&self, geometry: &WindowGeometry) -> usize {
        geometry.batch * geometry.windows() * self.heads * self.sides() * self.blocks()
    }

    /// Cubes in which every pair of tokens of a window has a unit, for every head.
    pub(super) fn pair_cubes(&self) -> usize {
        self.heads * self.tokens().div_ceil(super::backward::PAIRS).pow(2)
    }

    /// Rows of the table of the bias.
    pub(super) fn rows(&self) -> usize {
        self.full.iter().map(|size| 2 * size - 1).product()
    }

    /// Values of a cube's copy of the table; 1 where it has none.
    pub(super) fn copied(&self) -> usize {
        if self.copies { self.rows() } else { 1 }
    }

    /// The row of the table between a token and itself.
    pub(super) fn centre(&self) -> usize {
        let [d, h, w] = self.full;
        ((d - 1) * (2 * h - 1) + h - 1) * (2 * w - 1) + w - 1
    }
}

/// A token of a window.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Token {
    /// Its place among the tokens of all clips.
    pub(super) at: usize,
    /// A query's, plus [`Attention::centre`], minus a key's is their row of the table.
    pub(super) code: u32,
    /// Tokens of different regions were brought together by the roll.
    pub(super) region: u32,
}

/// A token of a window; windows are counted over all clips.
#[cube]
pub(super) fn token(number: usize, window: usize, map: &Map, #[comptime] kind: Attention) -> Token {
    let [wd, wh, ww] = comptime!(kind.window);
    let [_, fh, fw] = comptime!(kind.full);
    let (rows, columns) = (map.height / wh, map.width / ww);
    let of_clip = map.frames / wd * rows * columns;
    let (clip, window) = (window / of_clip, window % of_clip);
    let frame = window / (rows * columns) * wd + number / (wh * ww);
    let row = window / columns % rows * wh + number / ww % wh;
    let column = window % columns * ww + number % ww;
    let at_frame = (frame + map.shift_frames) % map.frames;
    let at_row = (row + map.shift_height) % map.height;
    let at_column = (column + map.shift_width) % map.width;
    let (d, h, w) = (number / (fh * fw), number / fw % fh, number % fw);
    let code = (d * comptime!(2 * fh - 1) + h) * comptime!(2 * fw - 1) + w;
    let mut region = 0u32;
    if comptime!(kind.rolled) {
        region = along(frame, map.frames, wd, map.shift_frames) * 9u32
            + along(row, map.height, wh, map.shift_height) * 3u32
            + along(column, map.width, ww, map.shift_width);
    }
    Token {
        at: ((clip * map.frames + at_frame) * map.height + at_row) * map.width + at_column,
        code: u32::cast_from(code),
        region,
    }
}

/// The region of a place along an axis; see [`WindowGeometry::regions`].
#[cube]
fn along(place: usize, size: usize, window: usize, shift: usize) -> u32 {
    let in_last_window = select(place + window >= size, 1u32, 0u32);
    let in_tail = select(place + shift >= size, 1u32, 0u32);
    select(shift == 0, 0u32, in_last_window + in_tail)
}

/// The region that the mask goes by: in mutual attention that of the first frame's token.
#[cube]
pub(super) fn mask_region(
    number: usize,
    window: usize,
    map: &Map,
    #[comptime] kind: Attention,
) -> u32 {
    if comptime!(kind.mutual) {
        token(number % comptime!(kind.side()), window, map, kind).region
    } else {
        token(number, window, map, kind).region
    }
}

/// What a cube's units look the bias up in: a copy of a head's column of the table, or the table.
#[cube]
pub(super) fn copy_bias(
    table: &[f32],
    copy: &mut Shared<[f32]>,
    head: usize,
    #[comptime] kind: Attention,
) {
    if comptime!(kind.copies) {
        let unit = usize::cast_from(UNIT_POS);
        for row in range_stepped(unit, comptime!(kind.rows()), usize::cast_from(CUBE_DIM)) {
            copy[row] = table[row * comptime!(kind.heads) + head];
        }
    }
}

/// What the bias and the mask add to a logit, from the codes and regions of query and key.
#[cube]
pub(super) fn added(
    table: &[f32],
    copy: &Shared<[f32]>,
    head: usize,
    codes: (u32, u32),
    regions: (u32, u32),
    #[comptime] kind: Attention,
) -> f32 {
    if comptime!(kind.copies) {
        copy[table_row(codes, kind)] + masked(regions, kind)
    } else {
        added_by_table(table, head, codes, regions, kind)
    }
}

/// The same where a cube has no copy of its column of the table.
#[cube]
pub(super) fn added_by_table(
    table: &[f32],
    head: usize,
    codes: (u32, u32),
    regions: (u32, u32),
    #[comptime] kind: Attention,
) -> f32 {
    let mut sum = masked(regions, kind);
    if comptime!(!kind.mutual) {
        sum += table[table_row(codes, kind) * comptime!(kind.heads) + head];
    }
    sum
}

/// The row of the table between a query and a key of these codes.
#[cube]
pub(super) fn table_row(codes: (u32, u32), #[comptime] kind: Attention) -> usize {
    usize::cast_from(codes.0 + comptime!(kind.centre() as u32) - codes.1)
}

#[cube]
fn masked(regions: (u32, u32), #[comptime] kind: Attention) -> f32 {
    if comptime!(kind.rolled) {
        select(regions.0 == regions.1, 0.0f32, MASKED)
    } else {
        0.0f32.runtime()
    }
}
