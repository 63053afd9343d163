//! Reads a feature map along a flow field.
//!
//! For a pixel at column `x` and row `y` of frame `b`, with `(fx, fy) = flow[b, y, x]` in pixels,
//! the map is read at `(x + fx, y + fy)`, pixel centres at whole numbers. What happens between
//! pixels and outside the map is the [`WarpMode`]. The sum is taken in `f32`.

use std::ops::Range;

use crate::level::{Level, at_every_level};
use crate::parallel::{for_each_band, for_each_part};

mod backward;
mod forward;
#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;

use backward::{SourceRow, flow_row, scatter};
use forward::forward_row;
pub(crate) use forward::onto_map;

/// How a map is read between its pixels and outside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WarpMode {
    /// Bilinear; each of the four neighbours contributes zero where it lies outside.
    BilinearZeros,
    /// Bilinear; the place is moved to the nearest one on the map first. The flow has no gradient
    /// where that happens, nor on the border itself.
    BilinearBorder,
    /// The four neighbours themselves, side by side: (floor x, floor y), (floor x, ceil y),
    /// (ceil x, floor y), (ceil x, ceil y); zero outside. The flow has no gradient.
    Nearest4,
}

impl WarpMode {
    /// Values per channel of the map: 4 for [`WarpMode::Nearest4`], else 1.
    pub fn samples(self) -> usize {
        match self {
            Self::BilinearZeros | Self::BilinearBorder => 1,
            Self::Nearest4 => 4,
        }
    }
}

/// The sizes of a warp.
///
/// # Shapes
///
/// - `x`: `[batch, height, width, channels]`
/// - `flow`: `[batch, height, width, 2]`, along x then y, in pixels
/// - output: `[batch, height, width, mode.samples() · channels]`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WarpGeometry {
    /// Frames, each with its flow.
    pub batch: usize,
    /// Rows of a frame.
    pub height: usize,
    /// Columns of a frame.
    pub width: usize,
    /// Values of a pixel.
    pub channels: usize,
    /// How the map is read.
    pub mode: WarpMode,
}

impl WarpGeometry {
    /// Values of the map.
    pub fn x_len(&self) -> usize {
        self.pixels() * self.channels
    }

    /// Values of the flow field.
    pub fn flow_len(&self) -> usize {
        self.pixels() * 2
    }

    /// Values of the output.
    pub fn out_len(&self) -> usize {
        self.pixels() * self.out_channels()
    }

    /// Values of an output pixel.
    pub fn out_channels(&self) -> usize {
        self.mode.samples() * self.channels
    }

    fn pixels(&self) -> usize {
        self.batch * self.height * self.width
    }

    fn frame_len(&self) -> usize {
        self.height * self.width * self.channels
    }

    fn flow_row_len(&self) -> usize {
        self.width * 2
    }

    fn out_row_len(&self) -> usize {
        self.width * self.out_channels()
    }

    /// The frame that row `index` of all frames is of, and which of its rows it is.
    pub(crate) fn source<'a>(&self, x: &'a [f32], index: usize) -> (&'a [f32], usize) {
        let frame = &x[index / self.height * self.frame_len()..][..self.frame_len()];
        (frame, index % self.height)
    }

    /// The flow of row `index` of all frames.
    pub(crate) fn flow_row<'a>(&self, flow: &'a [f32], index: usize) -> &'a [f32] {
        &flow[index * self.flow_row_len()..][..self.flow_row_len()]
    }

    pub(crate) fn check(&self, x: usize, flow: usize, out: usize) {
        assert_eq!(x, self.x_len(), "warp: the map does not have the sizes {self:?}");
        assert_eq!(flow, self.flow_len(), "warp: the flow does not have the sizes {self:?}");
        assert_eq!(out, self.out_len(), "warp: the output does not have the sizes {self:?}");
    }
}

/// Reads `x` along `flow` into `out`; see the [module](self) for the formula and
/// [`WarpGeometry`] for the shapes. A flow that is not a number reads as far outside.
///
/// # Panics
///
/// Panics if a slice does not have the length that `geometry` says.
pub fn warp(geometry: &WarpGeometry, x: &[f32], flow: &[f32], out: &mut [f32]) {
    warp_at(Level::current(), geometry, x, flow, out);
}

fn warp_at(level: Level, geometry: &WarpGeometry, x: &[f32], flow: &[f32], out: &mut [f32]) {
    geometry.check(x.len(), flow.len(), out.len());
    for_each_part(out, geometry.out_row_len(), |index, out| {
        let (frame, row) = geometry.source(x, index);
        warp_row(level, geometry, frame, row, geometry.flow_row(flow, index), out);
    });
}

at_every_level! {
    /// One row of the output.
    fn warp_row(
        geometry: &WarpGeometry,
        frame: &[f32],
        row: usize,
        flow: &[f32],
        out: &mut [f32],
    ) = forward_row;
}

/// The gradients of [`warp`] from `grad_out`, that of the output. Each wanted gradient is
/// overwritten; for [`WarpMode::Nearest4`] that of the flow is zero.
///
/// The result does not depend on the number of threads.
///
/// # Panics
///
/// Panics if a slice does not have the length that `geometry` says.
pub fn warp_backward(
    geometry: &WarpGeometry,
    x: &[f32],
    flow: &[f32],
    grad_out: &[f32],
    grad_x: Option<&mut [f32]>,
    grad_flow: Option<&mut [f32]>,
) {
    geometry.check(x.len(), flow.len(), grad_out.len());
    let level = Level::current();
    if let Some(grad_x) = grad_x {
        grad_x_at(level, geometry, flow, grad_out, grad_x);
    }
    if let Some(grad_flow) = grad_flow {
        grad_flow_at(level, geometry, x, flow, grad_out, grad_flow);
    }
}

fn grad_flow_at(
    level: Level,
    geometry: &WarpGeometry,
    x: &[f32],
    flow: &[f32],
    grad_out: &[f32],
    grad_flow: &mut [f32],
) {
    assert_eq!(grad_flow.len(), flow.len(), "warp: the flow and its gradient differ in size");
    for_each_part(grad_flow, geometry.flow_row_len(), |index, grad_flow| {
        let (frame, _) = geometry.source(x, index);
        let source = backward::SourceRow::of(geometry, flow, grad_out, index);
        grad_flow_row(level, geometry, frame, source, grad_flow);
    });
}

at_every_level! {
    /// One row of the gradient of the flow.
    fn grad_flow_row(
        geometry: &WarpGeometry,
        frame: &[f32],
        source: SourceRow<'_>,
        grad_flow: &mut [f32],
    ) = flow_row;
}

/// Rows of the map whose gradient one task sums up.
const BAND_ROWS: usize = 8;

fn grad_x_at(
    level: Level,
    geometry: &WarpGeometry,
    flow: &[f32],
    grad_out: &[f32],
    grad_x: &mut [f32],
) {
    assert_eq!(grad_x.len(), geometry.x_len(), "warp: the map and its gradient differ in size");
    let reached = backward::reached_rows(geometry, flow);
    let sizes = [geometry.height, geometry.width * geometry.channels];
    for_each_band(grad_x, sizes, BAND_ROWS, |band| {
        band.values.fill(0.0);
        let rows = band.row..band.row + band.values.len() / sizes[1];
        let first = band.frame * geometry.height;
        for (row, reached) in (first..).zip(&reached[first..first + geometry.height]) {
            if reached.start < rows.end && rows.start < reached.end {
                let source = SourceRow::of(geometry, flow, grad_out, row);
                scatter_row(level, geometry, source, rows.clone(), band.values);
            }
        }
    });
}

at_every_level! {
    /// Adds what one row of the output's gradient gives to the rows `rows` of the map's.
    fn scatter_row(
        geometry: &WarpGeometry,
        source: SourceRow<'_>,
        rows: Range<usize>,
        grad_x: &mut [f32],
    ) = scatter;
}
