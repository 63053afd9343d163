//! Tiles in space: one clip of large frames, restored in squares.

use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use super::axis::{AxisCut, AxisTile};
use super::lanes::restore_pieces;
use super::{ClipModel, Done, FailedWindow, TileSpec, TiledError, Tiling};
use crate::volume::{Volume, VolumeError};

/// Restores one clip, all its frames at once, in tiles of `spec.size()` rows and columns.
///
/// See [`restore_windows`].
///
/// # Errors
///
/// As there.
pub fn restore_window<M: ClipModel>(
    model: &M,
    clip: Volume,
    spec: &TileSpec,
    tiling: Tiling,
    watch: &mut dyn FnMut(Done) -> ControlFlow<()>,
) -> Result<Volume, TiledError<M::Error>> {
    let restored = restore_windows(model, vec![clip], spec, tiling, watch);
    let mut restored = restored.map_err(|failed| failed.source)?;
    Ok(restored.pop().unwrap_or_else(|| unreachable!("one clip went in")))
}

/// Restores clips, all frames of each at once, in tiles of `spec.size()` rows and columns. The model
/// and its [helpers](ClipModel::helpers) restore tiles of all clips side by side; the result does
/// not depend on how many there are.
///
/// `watch` hears how far it is, at least before the first tile and after each, and says whether to
/// go on.
///
/// # Shapes
///
/// - each clip: `[d, h, w, c]`
/// - its output: `[d', scale·h, scale·w, c']`, with the model's `d'` and `c'`
///
/// # Errors
///
/// If a model fails, its output does not fit, memory is short, or `watch` said to break off; then
/// with the clip that it was.
pub fn restore_windows<M: ClipModel>(
    model: &M,
    clips: Vec<Volume>,
    spec: &TileSpec,
    tiling: Tiling,
    watch: &mut dyn FnMut(Done) -> ControlFlow<()>,
) -> Result<Vec<Volume>, FailedWindow<M::Error>> {
    let cut = |(window, clip): (usize, Volume)| {
        Cut::new(model, clip, spec, tiling)
            .map_err(|error| FailedWindow { window, source: error.into() })
    };
    let windows = clips.into_iter().enumerate().map(cut).collect::<Result<Vec<_>, _>>()?;
    let places = |(window, cut): (usize, &Cut)| (0..cut.pieces()).map(move |piece| (window, piece));
    let pieces: Vec<_> = windows.iter().enumerate().flat_map(places).collect();
    let mut sums: Vec<Option<Volume>> = windows.iter().map(|_| None).collect();
    let mut put = |at: usize, tile: Volume| {
        let (window, piece): (usize, usize) = pieces[at];
        windows[window].put(piece, tile, &mut sums[window])
    };
    let cut = |at: usize| {
        let (window, piece) = pieces[at];
        windows[window].piece(piece)
    };
    restore_pieces(model, pieces.len(), &cut, &mut put, watch)
        .map_err(|(piece, source)| FailedWindow { window: pieces[piece].0, source })?;
    let whole = |sum: Option<Volume>| sum.unwrap_or_else(|| unreachable!("a clip has a tile"));
    Ok(sums.into_iter().map(whole).collect())
}

/// How a clip is cut into tiles.
enum Cut {
    /// Not at all: the clip, taken when it is restored, and the height and width of its output.
    Whole(Mutex<Option<Volume>>, [usize; 2]),
    Tiles(Volume, Grid),
}

impl Cut {
    fn new<M: ClipModel>(
        model: &M,
        clip: Volume,
        spec: &TileSpec,
        tiling: Tiling,
    ) -> Result<Self, VolumeError> {
        let [_, height, width, _] = clip.dims();
        let output = [height * model.scale(), width * model.scale()];
        if spec.size() == 0 {
            let clip = clip.mirror_end(completed(model, [height, width], tiling))?;
            return Ok(Self::Whole(Mutex::new(Some(clip)), output));
        }
        let cut = |len| {
            let (tile, overlap) = (spec.size(), spec.overlap_size());
            AxisCut { len, tile, overlap, scale: model.scale() }.tiles(tiling)
        };
        let grid = Grid { rows: cut(height), columns: cut(width), output };
        Ok(match grid.len() {
            1 => Self::Whole(Mutex::new(Some(clip)), output),
            _ => Self::Tiles(clip, grid),
        })
    }

    fn pieces(&self) -> usize {
        match self {
            Self::Whole(..) => 1,
            Self::Tiles(_, grid) => grid.len(),
        }
    }

    /// What goes to a model.
    fn piece(&self, piece: usize) -> Volume {
        match self {
            Self::Whole(clip, _) => {
                let clip = clip.lock().unwrap_or_else(PoisonError::into_inner).take();
                clip.unwrap_or_else(|| unreachable!("a piece is restored once"))
            }
            Self::Tiles(clip, grid) => {
                let (row, column) = grid.at(piece);
                clip.crop(
                    0..clip.frames(),
                    row.start..row.start + row.len,
                    column.start..column.start + column.len,
                )
            }
        }
    }

    /// Adds what came back to what is restored of the clip.
    fn put<E: std::error::Error>(
        &self,
        piece: usize,
        tile: Volume,
        sum: &mut Option<Volume>,
    ) -> Result<(), TiledError<E>> {
        match self {
            Self::Whole(_, [rows, columns]) => {
                let fits = [tile.height(), tile.width()] == [*rows, *columns];
                let frames = 0..tile.frames();
                *sum = Some(if fits { tile } else { tile.crop(frames, 0..*rows, 0..*columns) });
                Ok(())
            }
            Self::Tiles(_, grid) => grid.put(piece, &tile, sum),
        }
    }
}

/// What a whole frame is completed by: published tiling fills attention windows.
fn completed<M: ClipModel>(model: &M, [height, width]: [usize; 2], tiling: Tiling) -> [usize; 3] {
    let [_, rows, columns] = model.window();
    match tiling {
        Tiling::Published => {
            [0, missing_to_multiple(height, rows), missing_to_multiple(width, columns)]
        }
        Tiling::Seamless => [0; 3],
    }
}

/// What `len` lacks to the next multiple of `window`.
pub(super) fn missing_to_multiple(len: usize, window: usize) -> usize {
    len.next_multiple_of(window.max(1)) - len
}

pub(super) fn check_dims<E: std::error::Error>(
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
    fn len(&self) -> usize {
        self.rows.len() * self.columns.len()
    }

    fn at(&self, piece: usize) -> (&AxisTile, &AxisTile) {
        (&self.rows[piece / self.columns.len()], &self.columns[piece % self.columns.len()])
    }

    fn put<E: std::error::Error>(
        &self,
        piece: usize,
        tile: &Volume,
        sum: &mut Option<Volume>,
    ) -> Result<(), TiledError<E>> {
        let sum = match sum {
            Some(sum) => sum,
            // The first tile tells the frames and channels of the output.
            none => none.insert(self.empty_output(tile)?),
        };
        let [_, height, width, _] = tile.dims();
        let [frames, .., channels] = sum.dims();
        check_dims([frames, height, width, channels], tile.dims())?;
        let (row, column) = self.at(piece);
        add_weighted(sum, tile, row, column);
        Ok(())
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
