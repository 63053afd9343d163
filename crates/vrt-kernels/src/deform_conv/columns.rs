//! What each output pixel sees, one column a pixel: `[weight group, tap, channel of the group]`.

use std::ops::Range;

use super::{DeformGeometry, DeformInputs};
use crate::bilinear::{Corners, add_scaled, blend, dot_blend};
use crate::level::at_every_level;

/// Input channels that share samples and lie together in a column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    offset_group: usize,
    /// First input channel.
    channel: usize,
    /// Number of channels.
    len: usize,
    /// Place in a column of the first tap.
    first: usize,
    /// From tap to tap in a column.
    step: usize,
    /// Whether [`WIDE`] channels may be read and written in place of the run's: those too many
    /// belong to runs that are written later.
    wide: bool,
}

/// Channels of a run that are blended at once where it is shorter.
const WIDE: usize = 8;

/// How the columns of all pixels are laid out.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    /// The runs that both partitions of the input channels leave whole, in the order of channels.
    runs: Vec<Run>,
    /// Row and column of each tap, from the first one.
    taps: Vec<[f32; 2]>,
}

impl Layout {
    pub(super) fn new(g: &DeformGeometry) -> Self {
        let [rows, columns] = g.kernel;
        let taps = (0..rows * columns)
            .map(|tap| [(tap / columns) as f32, (tap % columns) as f32])
            .collect();
        Self { runs: runs(g), taps }
    }
}

fn runs(g: &DeformGeometry) -> Vec<Run> {
    let per_offset = g.in_channels / g.offset_groups;
    let per_weight = g.in_channels / g.weight_groups;
    let mut runs = Vec::new();
    let mut channel = 0;
    while channel < g.in_channels {
        let (offset_group, weight_group) = (channel / per_offset, channel / per_weight);
        let end = ((offset_group + 1) * per_offset).min((weight_group + 1) * per_weight);
        let (len, place) = (end - channel, channel % per_weight);
        runs.push(Run {
            offset_group,
            channel,
            len,
            first: weight_group * g.taps() * per_weight + place,
            step: per_weight,
            wide: len <= WIDE && place + WIDE <= per_weight,
        });
        channel = end;
    }
    runs
}

/// Output pixels of one frame, and what they read there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pixels<'a> {
    geometry: &'a DeformGeometry,
    layout: &'a Layout,
    /// The frame of the input.
    frame: &'a [f32],
    /// Offsets and masks of the pixels.
    offset: &'a [f32],
    mask: &'a [f32],
    /// First pixel, counted in the frame.
    first: usize,
}

/// One pixel of [`Pixels`].
#[derive(Clone, Copy, Debug)]
struct Pixel<'a> {
    /// Row and column of the first tap in the map, without offset.
    corner: [f32; 2],
    offset: &'a [[f32; 2]],
    mask: &'a [f32],
}

/// What one tap of an output pixel reads of the map.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// Place in the pixel's mask.
    index: usize,
    /// Place in the pixel's column.
    column: usize,
    mask: f32,
    corners: Option<Corners>,
}

impl<'a> Pixels<'a> {
    /// The pixels `range`, counted over all frames, which must lie in one frame.
    pub(super) fn new(
        geometry: &'a DeformGeometry,
        layout: &'a Layout,
        inputs: DeformInputs<'a>,
        range: Range<usize>,
    ) -> Self {
        let frame = range.start / geometry.out_frame_pixels();
        let samples = range.start * geometry.samples()..range.end * geometry.samples();
        let offset = &inputs.offset[2 * samples.start..2 * samples.end];
        let frame_values = &inputs.x[frame * geometry.frame_len()..][..geometry.frame_len()];
        let first = range.start % geometry.out_frame_pixels();
        Self { geometry, layout, frame: frame_values, offset, mask: &inputs.mask[samples], first }
    }

    /// Pixels of `frame` from pixel `first` on, as many as there are masks for.
    pub(super) fn of_frame(
        geometry: &'a DeformGeometry,
        layout: &'a Layout,
        frame: &'a [f32],
        [offset, mask]: [&'a [f32]; 2],
        first: usize,
    ) -> Self {
        Self { geometry, layout, frame, offset, mask, first }
    }

    #[inline(always)]
    fn pixel(&self, pixel: usize) -> Pixel<'a> {
        let g = self.geometry;
        let (at, width, samples) = (self.first + pixel, g.out_width(), g.samples());
        let (offset, _) = self.offset[2 * pixel * samples..][..2 * samples].as_chunks::<2>();
        let corner =
            [(at / width) as f32 - g.padding[0] as f32, (at % width) as f32 - g.padding[1] as f32];
        Pixel { corner, offset, mask: &self.mask[pixel * samples..][..samples] }
    }

    /// What tap `tap`, at `place` in the kernel, reads for the channels of `run`.
    #[inline(always)]
    fn sample(&self, pixel: &Pixel<'a>, run: &Run, tap: usize, place: [f32; 2]) -> Sample {
        let g = self.geometry;
        let index = run.offset_group * self.layout.taps.len() + tap;
        let [dy, dx] = pixel.offset[index];
        let y = pixel.corner[0] + place[0] + dy;
        let x = pixel.corner[1] + place[1] + dx;
        Sample {
            index,
            column: run.first + tap * run.step,
            mask: pixel.mask[index],
            corners: Corners::around(x, y, [g.height, g.width]),
        }
    }

    #[inline(always)]
    fn values(&self, corners: &Corners, run: &Run) -> [&'a [f32]; 4] {
        let layout = [self.geometry.width, self.geometry.in_channels];
        corners.values(self.frame, layout, run.channel, run.len)
    }

    /// Rows of the map that the pixels read.
    pub(super) fn reach(&self) -> Range<usize> {
        let g = self.geometry;
        let mut reach = g.height..0;
        let (offset, _) = self.offset.as_chunks::<2>();
        for (pixel, offset) in offset.chunks_exact(g.samples()).enumerate() {
            let top = self.pixel(pixel).corner[0];
            for ([place, _], [dy, _]) in self.layout.taps.iter().cycle().zip(offset) {
                let y = top + place + dy;
                if y >= -1.0 && y < g.height as f32 {
                    let below = (y.floor() + 1.0) as usize;
                    reach.start = reach.start.min(below.saturating_sub(1));
                    reach.end = reach.end.max((below + 1).min(g.height));
                }
            }
        }
        reach
    }
}

at_every_level! {
    /// Writes the columns of `pixels`.
    pub(super) fn gather(pixels: Pixels<'_>, columns: &mut [f32]) = gather_body;
}

#[inline(always)]
fn gather_body<const FUSED: bool>(pixels: Pixels<'_>, columns: &mut [f32]) {
    let len = pixels.geometry.column_len();
    for (index, column) in columns.chunks_exact_mut(len).enumerate() {
        let pixel = pixels.pixel(index);
        for run in &pixels.layout.runs {
            for first in (0..pixels.layout.taps.len()).step_by(BATCH) {
                gather_batch::<FUSED>(&pixels, &pixel, (run, first), column);
            }
        }
    }
}

/// What some taps of a pixel, from `first` on, see of a run of channels.
#[inline(always)]
fn gather_batch<const FUSED: bool>(
    pixels: &Pixels<'_>,
    pixel: &Pixel<'_>,
    (run, first): (&Run, usize),
    column: &mut [f32],
) {
    let (all, g) = (&pixels.layout.taps, pixels.geometry);
    let samples = run.offset_group * all.len() + first;
    let (offset, mask) = (&pixel.offset[samples..], &pixel.mask[samples..]);
    let taps = &all[first..all.len().min(first + BATCH)];
    let places = Batch::of(g, pixel.corner, taps, (offset, mask));
    for tap in 0..taps.len() {
        let seen = &mut column[run.first + (first + tap) * run.step..];
        if run.wide {
            // A number of channels that the compiler knows.
            see::<FUSED>(pixels, &places, (run, tap), &mut seen[..WIDE]);
        } else {
            see::<FUSED>(pixels, &places, (run, tap), &mut seen[..run.len]);
        }
    }
}

/// What a tap sees of some channels.
#[inline(always)]
fn see<const FUSED: bool>(
    pixels: &Pixels<'_>,
    places: &Batch,
    (run, tap): (&Run, usize),
    seen: &mut [f32],
) {
    if !places.near[tap] {
        seen.fill(0.0);
        return;
    }
    // Not `map`, which is called instead of inlined where larger instructions are allowed than its own,
    // and would copy all taps of all corners for each one.
    let (mut values, mut weights): ([&[f32]; 4], _) = ([&[]; 4], [0.0; 4]);
    for i in 0..4 {
        let at = places.pixels[i][tap] as usize * pixels.geometry.in_channels + run.channel;
        values[i] = &pixels.frame[at..][..seen.len()];
        weights[i] = places.weights[i][tap];
    }
    blend::<FUSED>(seen, values, weights);
}

/// Taps whose places are computed side by side.
const BATCH: usize = 16;

/// What some taps of a pixel read of the map, each part side by side.
struct Batch {
    /// Whether any corner is inside.
    near: [bool; BATCH],
    /// Top left, top right, bottom left, bottom right, moved inside.
    pixels: [[u32; BATCH]; 4],
    /// The factor on each; zero outside.
    weights: [[f32; BATCH]; 4],
}

impl Batch {
    /// As [`Corners::around`], times the mask.
    #[inline(always)]
    fn of(
        g: &DeformGeometry,
        corner: [f32; 2],
        taps: &[[f32; 2]],
        (offset, mask): (&[[f32; 2]], &[f32]),
    ) -> Self {
        let (mut y, mut x, mut factor) = ([0.0; BATCH], [0.0; BATCH], [0.0; BATCH]);
        for (tap, place) in taps.iter().enumerate() {
            y[tap] = corner[0] + place[0] + offset[tap][0];
            x[tap] = corner[1] + place[1] + offset[tap][1];
            factor[tap] = mask[tap];
        }
        let (height, width) = (g.height as f32, g.width as f32);
        let mut batch =
            Self { near: [false; BATCH], pixels: [[0; BATCH]; 4], weights: [[0.0; BATCH]; 4] };
        for i in 0..BATCH {
            // Comparisons fail for NaN too; all of them are made, side by side.
            batch.near[i] = (x[i] >= -1.0) & (x[i] < width) & (y[i] >= -1.0) & (y[i] < height);
        }
        let (x, y) = (Line::of(x, width), Line::of(y, height));
        for corner in 0..4 {
            let ((rows, down), (columns, across)) = (y.side(corner / 2), x.side(corner % 2));
            for i in 0..BATCH {
                batch.pixels[corner][i] = rows[i] * g.width as u32 + columns[i];
                batch.weights[corner][i] = across[i] * down[i] * factor[i];
            }
        }
        batch
    }
}

/// What some places on an axis lie between.
struct Line {
    /// Whole places below and above, moved to 0…`size` − 1.
    whole: [[u32; BATCH]; 2],
    /// The share of each, zero outside.
    shares: [[f32; BATCH]; 2],
}

impl Line {
    #[inline(always)]
    fn of(places: [f32; BATCH], size: f32) -> Self {
        let mut line = Self { whole: [[0; BATCH]; 2], shares: [[0.0; BATCH]; 2] };
        for (i, place) in places.iter().enumerate() {
            let low = place.floor();
            let behind = place - low;
            let (below, is_below) = inside(low, size);
            let (above, is_above) = inside(low + 1.0, size);
            line.whole[0][i] = below;
            line.whole[1][i] = above;
            line.shares[0][i] = (1.0 - behind) * is_below;
            line.shares[1][i] = behind * is_above;
        }
        line
    }

    #[inline(always)]
    fn side(&self, side: usize) -> (&[u32; BATCH], &[f32; BATCH]) {
        (&self.whole[side], &self.shares[side])
    }
}

/// A whole place moved to 0…`size` − 1, and 1 if it was there, else 0.
#[inline(always)]
fn inside(place: f32, size: f32) -> (u32, f32) {
    // Adding 2²³ leaves a whole number in the lowest bits: a cast looks for what is not a number, one by
    // one.
    const WHOLE: f32 = 8_388_608.0;
    let last = size - 1.0;
    let above = if place > 0.0 { place } else { 0.0 };
    let moved = if above < last { above } else { last };
    let bits = (moved + WHOLE).to_bits() - WHOLE.to_bits();
    (bits, if moved == place { 1.0 } else { 0.0 })
}

at_every_level! {
    /// Writes the gradient of each sample's place and mask, (dy, dx, mask), from the gradient of
    /// the columns of `pixels`.
    pub(super) fn sample_gradients(
        pixels: Pixels<'_>,
        grad_columns: &[f32],
        grads: &mut [f32],
    ) = sample_gradients_body;
}

#[inline(always)]
fn sample_gradients_body<const FUSED: bool>(
    pixels: Pixels<'_>,
    grad_columns: &[f32],
    grads: &mut [f32],
) {
    grads.fill(0.0);
    let (grads, _) = grads.as_chunks_mut::<3>();
    let columns = grad_columns.chunks_exact(pixels.geometry.column_len());
    let grads = grads.chunks_exact_mut(pixels.geometry.samples());
    for (index, (column, grads)) in columns.zip(grads).enumerate() {
        let pixel = pixels.pixel(index);
        for run in &pixels.layout.runs {
            for (tap, place) in pixels.layout.taps.iter().enumerate() {
                let sample = pixels.sample(&pixel, run, tap, *place);
                let Some(corners) = sample.corners else {
                    continue;
                };
                let grad = &column[sample.column..][..run.len];
                let weights = [corners.slopes_y(), corners.slopes_x(), corners.weights()];
                let values = pixels.values(&corners, run);
                let [along_y, along_x, value] = dot_blend::<FUSED, 3>(grad, values, weights);
                // Added: a weight group may cut an offset group into several runs.
                let sums = &mut grads[sample.index];
                sums[0] += along_y * sample.mask;
                sums[1] += along_x * sample.mask;
                sums[2] += value;
            }
        }
    }
}

at_every_level! {
    /// Adds what the gradient of the columns of `pixels` gives to the rows `rows` of the map.
    pub(super) fn scatter(
        pixels: Pixels<'_>,
        grad_columns: &[f32],
        rows: Range<usize>,
        grad_x: &mut [f32],
    ) = scatter_body;
}

#[inline(always)]
fn scatter_body<const FUSED: bool>(
    pixels: Pixels<'_>,
    grad_columns: &[f32],
    rows: Range<usize>,
    grad_x: &mut [f32],
) {
    let g = pixels.geometry;
    for (index, column) in grad_columns.chunks_exact(g.column_len()).enumerate() {
        let pixel = pixels.pixel(index);
        for run in &pixels.layout.runs {
            for (tap, place) in pixels.layout.taps.iter().enumerate() {
                let sample = pixels.sample(&pixel, run, tap, *place);
                let Some(corners) = sample.corners else {
                    continue;
                };
                let grad = &column[sample.column..][..run.len];
                let places = corners.rows.into_iter().zip(corners.columns);
                for (place, weight) in places.zip(corners.weights()) {
                    let weight = weight * sample.mask;
                    add_corner::<FUSED>(g, run, (&rows, grad_x), place, (weight, grad));
                }
            }
        }
    }
}

/// Adds `weight · grad` to a run of channels of the pixel at (row, column), if it is in the rows
/// that are summed.
#[inline(always)]
fn add_corner<const FUSED: bool>(
    g: &DeformGeometry,
    run: &Run,
    (rows, grad_x): (&Range<usize>, &mut [f32]),
    (row, column): (usize, usize),
    (weight, grad): (f32, &[f32]),
) {
    if weight != 0.0 && rows.contains(&row) {
        let at = ((row - rows.start) * g.width + column) * g.in_channels + run.channel;
        add_scaled::<FUSED>(&mut grad_x[at..at + run.len], weight, grad);
    }
}
