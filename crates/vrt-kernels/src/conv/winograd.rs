//! Convolutions by Winograd's minimal filtering, F(4×4, 3×3) of Lavin and Gray
//! ([arXiv:1509.09308](https://arxiv.org/abs/1509.09308)): a tile of 4×4 outputs from 36 products for
//! each pair of channels instead of 144. Larger kernels are cut into pieces of three by three taps,
//! whose sums are the same tiles': those of seven by seven take 324 products instead of 784.
//!
//! A tile of 6×6 inputs, a filter and a tile of sums are polynomials' values at six points along
//! either axis; for each of the 36 pairs of points the channels of many tiles times those of the
//! filters are a matrix product. Sums are in `f32`. For 242 channels they are off by 1.4e-6 of what
//! is usual (root mean square), and by 2.9e-6 of the largest sum at worst; tap by tap it is 0.8e-6
//! and 1.6e-6.

use std::ops::Range;

use super::enlarge::put;
use super::{ConvGeometry, Enlarging, Source, Strip};
use crate::aligned::Aligned;
use crate::element::Element;
use crate::level::Level;
use crate::parallel::{SharedOutput, for_each_index, for_each_part, with_scratch};
use crate::product::{PanelSizes, Product, Right, Rows, Start, multiply};
use crate::vector::{MOST_LANES, with_vectors};

use transforms::{FilterTransform, InputTransform, OutputTransform};

mod transforms;

/// Outputs of a tile along an axis.
const OUT: usize = 4;
/// Inputs that they see.
const IN: usize = OUT + 2;
/// Points of the transform.
const POINTS: usize = IN * IN;
/// Values of a task's transformed inputs, where so many make [`FEWEST_TILES`]: they stay in the
/// second-level cache.
const TASK_VALUES: usize = 3 << 16;
/// Fewest tiles of a task, and most; multiples of the rows that products hold in registers.
const FEWEST_TILES: usize = 12;
/// See [`FEWEST_TILES`].
const MOST_TILES: usize = 48;
/// Tasks that small maps are cut into, for machines with many threads.
const TASKS: usize = 32;
/// Output channels whose sums a task holds at a time: whole panels of products, or fewer where less
/// than a vector would be left.
const BLOCKS: [usize; 2] = [128, 96];
/// Rows and columns of a piece of a kernel.
const PIECE: usize = 3;
/// Fewest inputs, outputs, and tiles in all, for which transforming pays. The outputs fill a vector.
const FEWEST: [usize; 3] = [32, MOST_LANES, 96];

/// Whether a convolution is faster this way, with elements of this kind. AMX multiplies pairs an order
/// of magnitude faster than `f32`, other levels only about twice as fast.
pub(super) fn pays<E: Element>(level: Level, g: &ConvGeometry) -> bool {
    let [inputs, outputs, tiles] = FEWEST;
    g.kernel.iter().all(|size| *size >= PIECE)
        && g.in_channels >= inputs
        && g.out_channels >= outputs
        && Tiles::of(g).count() >= tiles
        && !(E::TERMS > 1 && level == Level::Amx)
}

/// Pieces of a kernel, down and across.
fn pieces(g: &ConvGeometry) -> [usize; 2] {
    g.kernel.map(|size| size.div_ceil(PIECE))
}

/// What products sum over: the inputs of all pieces.
fn depth(g: &ConvGeometry) -> usize {
    pieces(g).iter().product::<usize>() * g.in_channels
}

/// Filters `[outputs, inputs, rows, columns]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filters<'a> {
    pub(super) weight: &'a [f32],
    /// Of the convolution that carries gradients back, whose inputs are the outputs and that sees
    /// taps in the opposite order.
    pub(super) turned: bool,
}

/// The tiles of all frames of an output.
#[derive(Clone, Copy, Debug)]
struct Tiles {
    frames: usize,
    down: usize,
    across: usize,
}

impl Tiles {
    fn of(g: &ConvGeometry) -> Self {
        let [down, across] = [g.out_height(), g.out_width()].map(|size| size.div_ceil(OUT));
        Self { frames: g.batch, down, across }
    }

    fn count(&self) -> usize {
        self.frames * self.down * self.across
    }

    /// Frame, first row and first column.
    fn place(&self, tile: usize) -> [usize; 3] {
        let (row, column) = (tile / self.across, tile % self.across);
        [row / self.down, row % self.down * OUT, column * OUT]
    }
}

/// Filters of some outputs at all points.
struct Block {
    /// These outputs.
    outputs: Range<usize>,
    sizes: PanelSizes,
    /// For each point the matrix `[depth, outputs of the block]` in panels.
    points: Aligned<f32>,
}

impl Block {
    fn new(level: Level, g: &ConvGeometry, filters: Filters<'_>, outputs: Range<usize>) -> Self {
        let (depth, count) = (depth(g), outputs.len());
        let sizes = PanelSizes::new(level, [depth, count]);
        let mut points = Aligned::passing(POINTS * sizes.len::<f32>());
        with_scratch([depth * POINTS * count], |[values]| {
            for_each_part(values, POINTS * count, |at, points| {
                let (piece, input) = (at / g.in_channels, at % g.in_channels);
                let outputs = outputs.clone();
                with_vectors(level, FilterTransform { filters, g, piece, input, outputs, points });
            });
            let values = &*values;
            for_each_part(&mut points, sizes.len::<f32>(), |point, panels| {
                sizes.pack(level, &values[point * count..], POINTS * count, panels);
            });
        });
        Self { outputs, sizes, points }
    }

    /// The matrix of each point.
    fn points(&self) -> impl Iterator<Item = Right<'_, f32>> {
        let panels = self.points.chunks_exact(self.sizes.len::<f32>());
        panels.map(|panels| Right { sizes: self.sizes, panels, bias: &[] })
    }
}

/// All filters at all points.
fn blocks(level: Level, g: &ConvGeometry, filters: Filters<'_>) -> Vec<Block> {
    assert!(g.out_channels >= MOST_LANES, "conv2d: outputs that fill no vector: {g:?}");
    let mut blocks = Vec::new();
    let mut first = 0;
    while first < g.out_channels {
        let end = first + block_len(g.out_channels - first);
        blocks.push(Block::new(level, g, filters, first..end));
        first = end;
    }
    blocks
}

/// Outputs of the next block, of so many that are left.
fn block_len(left: usize) -> usize {
    let [most, fewer] = BLOCKS;
    if left <= most {
        left
    } else if left < most + MOST_LANES {
        fewer
    } else {
        most
    }
}

/// The convolution of the joined `sources`, and what comes behind it.
pub(super) fn convolve(
    level: Level,
    g: &ConvGeometry,
    sources: &[Source<'_>],
    (filters, bias): (Filters<'_>, Option<&[f32]>),
    then: Enlarging,
    out: &mut [f32],
) {
    let filters = blocks(level, g, filters);
    let tiles = Tiles::of(g);
    let fitting = TASK_VALUES / (POINTS * depth(g)) / FEWEST_TILES * FEWEST_TILES;
    let spread = tiles.count().div_ceil(TASKS).next_multiple_of(FEWEST_TILES);
    let per_task = fitting.min(spread).clamp(FEWEST_TILES, MOST_TILES);
    let out = SharedOutput::new(out);
    for_each_index(tiles.count().div_ceil(per_task), |task| {
        let first = task * per_task;
        let count = per_task.min(tiles.count() - first);
        let task = Task { level, g, tiles, first, count };
        task.run(sources, &filters, bias, |place, values| {
            task.write(then, place, values, &out);
        });
    });
}

/// Tiles of a strip.
const STRIP_TILES: usize = 32;

/// The same without what comes behind it; each strip of whole tiles is given to `work` when it is made.
/// Every place of the output is in one strip, and given once.
pub(super) fn in_strips(
    level: Level,
    g: &ConvGeometry,
    source: Source<'_>,
    (filters, bias): (Filters<'_>, Option<&[f32]>),
    work: impl Fn(Strip, &[f32]) + Sync,
) {
    let filters = blocks(level, g, filters);
    let tiles = Tiles::of(g);
    // Some whole rows of tiles, or a part of one.
    let [down, across] =
        [(STRIP_TILES / tiles.across).clamp(1, tiles.down), tiles.across.min(STRIP_TILES)];
    let [rows, columns] = [tiles.down.div_ceil(down), tiles.across.div_ceil(across)];
    for_each_index(g.batch * rows * columns, |index| {
        let [frame, row, column] =
            [index / columns / rows, index / columns % rows * down, index % columns * across];
        let [down, across] = [down.min(tiles.down - row), across.min(tiles.across - column)];
        let first = (frame * tiles.down + row) * tiles.across + column;
        let task = Task { level, g, tiles, first, count: down * across };
        let [row, column] = [row * OUT, column * OUT];
        let strip = Strip {
            frame,
            row,
            column,
            rows: (down * OUT).min(g.out_height() - row),
            columns: (across * OUT).min(g.out_width() - column),
        };
        with_scratch([strip.rows * strip.columns * g.out_channels], |[values]| {
            task.run(&[source], &filters, bias, |place, tile| {
                let (row, column) = (place.row - strip.row, place.column - strip.column);
                let inside = [strip.rows - row, strip.columns - column];
                for_each_pixel(tile, inside, |y, x, pixel| {
                    let at = (row + y) * strip.columns + column + x;
                    let values = &mut values[at * g.out_channels + place.channel..];
                    values[..pixel.len()].copy_from_slice(pixel);
                });
            });
            work(strip, values);
        });
    });
}

/// Some tiles.
#[derive(Clone, Copy)]
struct Task<'a> {
    level: Level,
    g: &'a ConvGeometry,
    tiles: Tiles,
    first: usize,
    count: usize,
}

/// Where a tile's outputs belong: the frame, the first row and column, and the first channel.
#[derive(Clone, Copy)]
struct Place {
    frame: usize,
    row: usize,
    column: usize,
    channel: usize,
}

impl Task<'_> {
    /// Calls `put` with the outputs of each tile, `[4, 4, channels]`, for some channels at a time.
    fn run(
        &self,
        sources: &[Source<'_>],
        filters: &[Block],
        bias: Option<&[f32]>,
        mut put: impl FnMut(Place, &mut [f32]),
    ) {
        let (depth, widest) = (depth(self.g), BLOCKS[0].min(self.g.out_channels));
        let plane = self.count * depth;
        let lens = [POINTS * plane, POINTS * self.count * widest, OUT * OUT * widest];
        with_scratch(lens, |[seen, sums, tile]| {
            self.transform(sources, seen);
            for block in filters {
                let (channel, channels) = (block.outputs.start, block.outputs.len());
                let plane_out = self.count * channels;
                let sums = &mut sums[..POINTS * plane_out];
                let planes = seen.chunks_exact(plane).zip(sums.chunks_exact_mut(plane_out));
                for (right, (seen, sums)) in block.points().zip(planes) {
                    let rows = Rows::dense(seen, [self.count, depth]);
                    let product = Product { rows, right, start: Start::Bias };
                    multiply(self.level, product, sums, channels);
                }
                let bias = bias.map(|bias| &bias[channel..channel + channels]);
                let tile = &mut tile[..OUT * OUT * channels];
                for index in 0..self.count {
                    let sums = sums[index * channels..].chunks(plane_out);
                    let mut at: [&[f32]; POINTS] = [&[]; POINTS];
                    at.iter_mut().zip(sums).for_each(|(at, sums)| *at = &sums[..channels]);
                    with_vectors(self.level, OutputTransform { sums: &at, bias, out: tile });
                    let [frame, row, column] = self.tiles.place(self.first + index);
                    put(Place { frame, row, column, channel }, tile);
                }
            }
        });
    }

    /// Writes what all tiles see, at all points: `[points, tiles, pieces · inputs]`.
    fn transform(&self, sources: &[Source<'_>], seen: &mut [f32]) {
        let (depth, [down, across]) = (depth(self.g), pieces(self.g));
        for index in 0..self.count {
            let [frame, row, column] = self.tiles.place(self.first + index);
            let mut at = index * depth;
            for piece in 0..down * across {
                let [y, x] = [piece / across * PIECE, piece % across * PIECE];
                for source in sources {
                    let pixels = self.pixels(source, [frame, row + y, column + x]);
                    let (channels, plane) = (source.channels, self.count * depth);
                    let out = &mut seen[at..];
                    let pixels = &pixels;
                    with_vectors(self.level, InputTransform { pixels, channels, plane, out });
                    at += channels;
                }
            }
        }
    }

    /// The pixels of a source that a tile sees at a place; empty outside the map.
    fn pixels<'a>(
        &self,
        source: &Source<'a>,
        [frame, row, column]: [usize; 3],
    ) -> [&'a [f32]; POINTS] {
        let g = self.g;
        let inside = |first: usize, offset: usize, padding: usize, size: usize| {
            (first + offset).checked_sub(padding).filter(|place| *place < size)
        };
        let mut pixels: [&[f32]; POINTS] = [&[]; POINTS];
        for (index, pixel) in pixels.iter_mut().enumerate() {
            let y = inside(row, index / IN, g.padding[0], g.height);
            let x = inside(column, index % IN, g.padding[1], g.width);
            if let (Some(y), Some(x)) = (y, x) {
                let at = ((frame * g.height + y) * g.width + x) * source.channels;
                *pixel = &source.values[at..at + source.channels];
            }
        }
        pixels
    }

    /// Writes a tile's outputs, as far as there are such, with what comes behind the convolution.
    fn write(&self, then: Enlarging, place: Place, tile: &mut [f32], out: &SharedOutput<'_>) {
        let g = self.g;
        then.activate(self.level, tile);
        let inside = [g.out_height() - place.row, g.out_width() - place.column];
        for_each_pixel(tile, inside, |y, x, pixel| {
            let row = place.frame * g.out_height() + place.row + y;
            let pixel = (row, place.column + x, pixel);
            // SAFETY: each place belongs to one tile, and each tile to one task.
            unsafe { put(g, then.factor, pixel, place.channel, out) };
        });
    }
}

/// Calls `work` with row, column and channels of each pixel of a tile, as far as there are such.
fn for_each_pixel(
    tile: &[f32],
    [rows, columns]: [usize; 2],
    mut work: impl FnMut(usize, usize, &[f32]),
) {
    let channels = tile.len() / (OUT * OUT);
    for (y, line) in tile.chunks_exact(OUT * channels).enumerate().take(rows) {
        for (x, pixel) in line.chunks_exact(channels).enumerate().take(columns) {
            work(y, x, pixel);
        }
    }
}
