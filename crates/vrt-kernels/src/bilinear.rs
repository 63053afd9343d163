//! Interpolation between the four neighbours of a place in a map: shared by the warp and the
//! deformable convolution.

use crate::level::mul_add;

/// The four pixels around a place, in the order top left, top right, bottom left, bottom right.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Corners {
    /// Row of each corner, moved into the map where it lies outside.
    pub(crate) rows: [usize; 4],
    /// Column of each corner, moved into the map where it lies outside.
    pub(crate) columns: [usize; 4],
    /// 1 where the corner lies in the map, else 0.
    inside: [f32; 4],
    /// Way from the left corners to the place, 0…1.
    to_right: f32,
    /// Way from the top corners to the place, 0…1.
    to_bottom: f32,
}

impl Corners {
    /// The corners around `(x, y)` in a map `height × width`; `None` where all of them are
    /// outside, or a coordinate is not a number.
    #[inline(always)]
    pub(crate) fn around(x: f32, y: f32, [height, width]: [usize; 2]) -> Option<Self> {
        // The comparison fails for NaN too. At exactly −1 the value is zero but its slope is not.
        let near = x >= -1.0 && x < width as f32 && y >= -1.0 && y < height as f32;
        if !near {
            return None;
        }
        let (left, top) = (x.floor(), y.floor());
        let (column, column_in) = neighbours(left, width);
        let (row, row_in) = neighbours(top, height);
        Some(Self {
            rows: [row[0], row[0], row[1], row[1]],
            columns: [column[0], column[1], column[0], column[1]],
            inside: [
                row_in[0] * column_in[0],
                row_in[0] * column_in[1],
                row_in[1] * column_in[0],
                row_in[1] * column_in[1],
            ],
            to_right: x - left,
            to_bottom: y - top,
        })
    }

    /// What each corner contributes to the value; zero outside the map.
    #[inline(always)]
    pub(crate) fn weights(&self) -> [f32; 4] {
        let (right, bottom) = (self.to_right, self.to_bottom);
        let (left, top) = (1.0 - right, 1.0 - bottom);
        self.masked([left * top, right * top, left * bottom, right * bottom])
    }

    /// What each corner contributes to the slope along x.
    #[inline(always)]
    pub(crate) fn slopes_x(&self) -> [f32; 4] {
        let bottom = self.to_bottom;
        let top = 1.0 - bottom;
        self.masked([-top, top, -bottom, bottom])
    }

    /// What each corner contributes to the slope along y.
    #[inline(always)]
    pub(crate) fn slopes_y(&self) -> [f32; 4] {
        let right = self.to_right;
        let left = 1.0 - right;
        self.masked([-left, -right, left, right])
    }

    #[inline(always)]
    fn masked(&self, weights: [f32; 4]) -> [f32; 4] {
        let [a, b, c, d] = weights;
        let inside = self.inside;
        [a * inside[0], b * inside[1], c * inside[2], d * inside[3]]
    }

    /// `len` values of each corner from `channel` on, in a map of `channels` a pixel.
    #[inline(always)]
    pub(crate) fn values<'a>(
        &self,
        map: &'a [f32],
        [width, channels]: [usize; 2],
        channel: usize,
        len: usize,
    ) -> [&'a [f32]; 4] {
        let [top, bottom] = [self.rows[0] * width, self.rows[2] * width];
        let [left, right] = [self.columns[0], self.columns[1]];
        let at = |pixel: usize| &map[pixel * channels + channel..][..len];
        [at(top + left), at(top + right), at(bottom + left), at(bottom + right)]
    }
}

/// The whole place `low` (from −1 to `size` − 1) and the next one, moved inside, and whether each
/// was inside.
#[inline(always)]
fn neighbours(low: f32, size: usize) -> ([usize; 2], [f32; 2]) {
    // From 0 to `size`: one above the place, so that it is not negative.
    let above = (low + 1.0) as usize;
    let last = size - 1;
    let places = [above.saturating_sub(1), above.min(last)];
    (places, [f32::from(u8::from(above >= 1)), f32::from(u8::from(above <= last))])
}

/// `out = Σ weight · corner`, channel by channel.
#[inline(always)]
pub(crate) fn blend<const FUSED: bool>(out: &mut [f32], corners: [&[f32]; 4], weights: [f32; 4]) {
    match out.len() {
        16.. => blend_lanes::<FUSED, 16>(out, corners, weights),
        8.. => blend_lanes::<FUSED, 8>(out, corners, weights),
        4.. => blend_lanes::<FUSED, 4>(out, corners, weights),
        _ => blend_lanes::<FUSED, 1>(out, corners, weights),
    }
}

/// The same for at least `L` channels; the last `L` of them may overlap those before, so that no
/// channel is left for a slower loop.
#[inline(always)]
fn blend_lanes<const FUSED: bool, const L: usize>(
    out: &mut [f32],
    corners: [&[f32]; 4],
    weights: [f32; 4],
) {
    let len = out.len();
    for first in (0..len).step_by(L) {
        let first = first.min(len - L);
        // Not `map`, which is not inlined where larger instructions are allowed than its own.
        let mut chunks = [&[0.0; L]; 4];
        for (chunk, corner) in chunks.iter_mut().zip(corners) {
            let Some(found) = corner[first..].first_chunk::<L>() else { return };
            *chunk = found;
        }
        let [a, b, c, d] = chunks;
        // Stored at once: the compiler does not know that no corner lies in `out`.
        let mut found = [0.0; L];
        for i in 0..L {
            let top = mul_add::<FUSED>(weights[1], b[i], weights[0] * a[i]);
            let three = mul_add::<FUSED>(weights[2], c[i], top);
            found[i] = mul_add::<FUSED>(weights[3], d[i], three);
        }
        out[first..first + L].copy_from_slice(&found);
    }
}

/// Sums kept side by side, so that the loop over channels runs in vectors.
const LANES: usize = 16;

/// `Σ_channel grad · (Σ_corner weight · corner)` for `N` sets of weights.
#[inline(always)]
pub(crate) fn dot_blend<const FUSED: bool, const N: usize>(
    grad: &[f32],
    corners: [&[f32]; 4],
    weights: [[f32; 4]; N],
) -> [f32; N] {
    let mut sums = [[0.0_f32; LANES]; N];
    let (body, tail) = grad.as_chunks::<LANES>();
    let [a, b, c, d] = corners;
    let (a, b) = (a[..grad.len()].as_chunks::<LANES>(), b[..grad.len()].as_chunks::<LANES>());
    let (c, d) = (c[..grad.len()].as_chunks::<LANES>(), d[..grad.len()].as_chunks::<LANES>());
    for (i, grad) in body.iter().enumerate() {
        add_products::<FUSED, N>(&mut sums, grad, [&a.0[i], &b.0[i], &c.0[i], &d.0[i]], &weights);
    }
    add_products::<FUSED, N>(&mut sums, tail, [a.1, b.1, c.1, d.1], &weights);
    let mut totals = [0.0; N];
    for (total, lanes) in totals.iter_mut().zip(&sums) {
        *total = lanes.iter().sum();
    }
    totals
}

#[inline(always)]
fn add_products<const FUSED: bool, const N: usize>(
    sums: &mut [[f32; LANES]; N],
    grad: &[f32],
    [a, b, c, d]: [&[f32]; 4],
    weights: &[[f32; 4]; N],
) {
    for (sums, weights) in sums.iter_mut().zip(weights) {
        let corners = a.iter().zip(b).zip(c.iter().zip(d));
        for ((sum, grad), ((a, b), (c, d))) in sums.iter_mut().zip(grad).zip(corners) {
            let top = mul_add::<FUSED>(weights[1], *b, weights[0] * *a);
            let three = mul_add::<FUSED>(weights[2], *c, top);
            let value = mul_add::<FUSED>(weights[3], *d, three);
            *sum = mul_add::<FUSED>(*grad, value, *sum);
        }
    }
}

/// `sum += weight · values`.
#[inline(always)]
pub(crate) fn add_scaled<const FUSED: bool>(sum: &mut [f32], weight: f32, values: &[f32]) {
    for (sum, value) in sum.iter_mut().zip(values) {
        *sum = mul_add::<FUSED>(weight, *value, *sum);
    }
}
