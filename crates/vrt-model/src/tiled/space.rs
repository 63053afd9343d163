//! Tiles in space: one clip of large frames, restored in squares.

use std::ops::ControlFlow;

use super::axis::{AxisCut, AxisTile};
use super::{ClipModel, Done, TileSpec, TiledError, Tiling};
use crate::volume::{Volume, VolumeError};

/// Restores one clip, all its frames at once, in tiles of `spec.size()` rows and columns.
///
/// `watch` hears how far it is, at least before the first tile and after each, and says whether to
/// go on.
///
/// # Shapes
///
/// - `clip`: `[d, h, w, c]`
/// - output: `[d', scale·h, scale·w, c']`, with the model's `d'` and `c'`
///
/// # Errors
///
/// If the model fails, its output does not fit, memory is short, or `watch` said to break off.
pub fn restore_window<M: ClipModel>(
    model: &M,
    clip: Volume,
    spec: &TileSpec,
    tiling: Tiling,
    watch: &mut dyn FnMut(Done) -> ControlFlow<()>,
) -> Result<Volume, TiledError<M::Error>> {
    if spec.size() == 0 {
        return restore_whole(model, clip, tiling, &mut Tiles { done: 0, of: 1, watch });
    }
    let [_, height, width, _] = clip.dims();
    let cut = |len| AxisCut {
        len,
        tile: spec.size(),
        overlap: spec.overlap_size(),
        scale: model.scale(),
    };
    let grid = Grid {
        rows: cut(height).tiles(tiling),
        columns: cut(width).tiles(tiling),
        output: [height * model.scale(), width * model.scale()],
    };
    let of = grid.rows.len() * grid.columns.len();
    grid.restore(model, clip, &mut Tiles { done: 0, of, watch })
}

/// Counts tiles for whoever watches.
struct Tiles<'a> {
    done: usize,
    of: usize,
    watch: &'a mut dyn FnMut(Done) -> ControlFlow<()>,
}

impl Tiles<'_> {
    /// Tells that `share` of the tile under way is restored.
    fn tell(&mut self, share: f32) -> ControlFlow<()> {
        let Self { done: tiles, of, .. } = *self;
        (self.watch)(Done { tiles, of, share: (tiles as f32 + share) / of as f32 })
    }

    /// Runs the model on the next tile and holds it to its scale.
    fn restore<M: ClipModel>(
        &mut self,
        model: &M,
        tile: Volume,
    ) -> Result<Volume, TiledError<M::Error>> {
        let (height, width) = (tile.height() * model.scale(), tile.width() * model.scale());
        if self.tell(0.0).is_break() {
            return Err(TiledError::Stopped);
        }
        let restored = model.restore_watched(tile, &mut |share| self.tell(share));
        let restored = restored.map_err(TiledError::Model)?.ok_or(TiledError::Stopped)?;
        let [frames, _, _, channels] = restored.dims();
        check_dims([frames, height, width, channels], restored.dims())?;
        self.done += 1;
        // A tile that is done is kept; whether to go on is asked before the next one.
        let _ = self.tell(0.0);
        Ok(restored)
    }
}

/// The frame as one tile; published tiling completes it to whole attention windows first.
fn restore_whole<M: ClipModel>(
    model: &M,
    clip: Volume,
    tiling: Tiling,
    tiles: &mut Tiles<'_>,
) -> Result<Volume, TiledError<M::Error>> {
    let [_, height, width, _] = clip.dims();
    let [_, window_rows, window_columns] = model.window();
    let pad = match tiling {
        Tiling::Published => [
            0,
            missing_to_multiple(height, window_rows),
            missing_to_multiple(width, window_columns),
        ],
        Tiling::Seamless => [0; 3],
    };
    let restored = tiles.restore(model, clip.mirror_end(pad)?)?;
    let (rows, columns) = (height * model.scale(), width * model.scale());
    if [restored.height(), restored.width()] == [rows, columns] {
        return Ok(restored);
    }
    Ok(restored.crop(0..restored.frames(), 0..rows, 0..columns))
}

/// What `len` lacks to the next multiple of `window`.
pub(super) fn missing_to_multiple(len: usize, window: usize) -> usize {
    len.next_multiple_of(window.max(1)) - len
}

fn check_dims<E: std::error::Error>(
    expected: [usize; 4],
    got: [usize; 4],
) -> Result<(), TiledError<E>> {
    if expected == got { Ok(()) } else { Err(TiledError::TileShape { expected, got }) }
}

/// Tiles of a frame: every cut of the rows with every cut of the columns.
struct Grid {
    rows: Vec<AxisTile>,
    columns: Vec<AxisTile>,
    /// Height and width of the output.
    output: [usize; 2],
}

impl Grid {
    fn restore<M: ClipModel>(
        &self,
        model: &M,
        clip: Volume,
        tiles: &mut Tiles<'_>,
    ) -> Result<Volume, TiledError<M::Error>> {
        if tiles.of == 1 {
            return tiles.restore(model, clip);
        }
        let mut sum: Option<Volume> = None;
        let pairs =
            self.rows.iter().flat_map(|row| self.columns.iter().map(move |column| (row, column)));
        for (row, column) in pairs {
            let tile = clip.crop(
                0..clip.frames(),
                row.start..row.start + row.len,
                column.start..column.start + column.len,
            );
            let tile = tiles.restore(model, tile)?;
            let sum = match &mut sum {
                Some(sum) => sum,
                // The first tile tells the frames and channels of the output.
                none => none.insert(self.empty_output(&tile)?),
            };
            let [_, height, width, _] = tile.dims();
            let [frames, .., channels] = sum.dims();
            check_dims([frames, height, width, channels], tile.dims())?;
            add_weighted(sum, &tile, row, column);
        }
        Ok(sum.expect("an axis has at least one tile"))
    }

    fn empty_output(&self, tile: &Volume) -> Result<Volume, VolumeError> {
        let [height, width] = self.output;
        Volume::filled([tile.frames(), height, width, tile.channels()], 0.0)
    }
}

/// Adds a restored tile to the frames it belongs to.
fn add_weighted(sum: &mut Volume, tile: &Volume, row: &AxisTile, column: &AxisTile) {
    let channels = sum.channels();
    let (frame_len, row_len) = (sum.frame_len(), sum.row_len());
    // Tile sides and weights have one length in output pixels, and the scale is their ratio.
    let top = row.start * (tile.height() / row.len);
    let left = column.start * (tile.width() / column.len) * channels;
    let frames = sum.samples_mut().chunks_exact_mut(frame_len);
    for (frame, tile_frame) in frames.zip(tile.iter_frames()) {
        let rows = frame[top * row_len..].chunks_exact_mut(row_len);
        let tile_rows = tile_frame.chunks_exact(tile.row_len());
        for ((out, tile_row), &weight) in rows.zip(tile_rows).zip(&row.weights) {
            if weight > 0.0 {
                add_row(&mut out[left..], tile_row, weight, &column.weights);
            }
        }
    }
}

/// Adds one row of a tile; places without weight are left out, so that not even a NaN at a
/// discarded border reaches the frame.
fn add_row(out: &mut [f32], tile: &[f32], row_weight: f32, weights: &[f32]) {
    let channels = tile.len() / weights.len();
    let pixels = out.chunks_exact_mut(channels).zip(tile.chunks_exact(channels));
    for ((out, tile), &weight) in pixels.zip(weights) {
        if weight == 0.0 {
            continue;
        }
        for (out, sample) in out.iter_mut().zip(tile) {
            *out += row_weight * weight * sample;
        }
    }
}
