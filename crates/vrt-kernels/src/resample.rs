//! Changes of a picture's size: bilinear, and means of 2×2 pixels.

use crate::parallel::{for_each_part, with_scratch};

/// Where the samples of a resized axis lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Align {
    /// The outer edges of both axes coincide (`align_corners` false).
    Edges,
    /// The centres of both axes' first and last samples coincide (`align_corners` true).
    Corners,
}

/// An axis of a picture, before and behind a change of its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Axis {
    /// Samples there are.
    from: usize,
    /// The first of them, which are resized; the others are dropped.
    seen: usize,
    /// Samples that these become.
    to: usize,
    /// The same, with the last one repeated.
    size: usize,
    align: Align,
}

impl Axis {
    /// `from` samples to `to` of them; none become none.
    pub fn resized(from: usize, to: usize, align: Align) -> Self {
        Self { from, seen: from, to, size: to, align }
    }

    /// Means of two samples each; the last of an odd number is dropped.
    pub fn halved(from: usize) -> Self {
        let to = from / 2;
        // Edges of twice as many coincide: each lies in the middle of two.
        Self { from, seen: 2 * to, to, size: to, align: Align::Edges }
    }

    /// The same, and then the last sample again until there are `size`, if there are less.
    #[must_use]
    pub fn extended(self, size: usize) -> Self {
        Self { size: self.size.max(size), ..self }
    }

    /// Samples there are before.
    pub fn from(&self) -> usize {
        self.from
    }

    /// Samples there are behind.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether it stays as it is.
    pub fn stays(&self) -> bool {
        [self.seen, self.to, self.size] == [self.from; 3]
    }

    /// How many pairs of samples it makes means of, if it does nothing else.
    #[cfg(feature = "burn")]
    pub(crate) fn pairs(&self) -> Option<usize> {
        let halves = self.align == Align::Edges && self.seen == 2 * self.to;
        (halves && self.to > 0 && self.size == self.to).then_some(self.to)
    }

    /// The two samples that sample `index` lies between, and how far behind the first one, 0…1.
    #[inline(always)]
    pub(crate) fn taps(&self, index: usize) -> (usize, usize, f32) {
        let (index, last) = (index.min(self.to - 1) as f32, self.seen - 1);
        let place = match self.align {
            Align::Edges => {
                let scale = self.seen as f32 / self.to as f32;
                (scale * (index + 0.5) - 0.5).clamp(0.0, last as f32)
            }
            Align::Corners if self.to == 1 => 0.0,
            Align::Corners => index * (last as f32 / (self.to - 1) as f32),
        };
        let low = (place as usize).min(last);
        (low, (low + 1).min(last), place - low as f32)
    }
}

/// Most channels that a [`Change`] has.
const CHANGED: usize = 4;

/// What becomes of values behind a change of size: `(value − minus) · times`, channel by channel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    minus: [f32; CHANGED],
    times: [f32; CHANGED],
    /// None for any, which stay what they are.
    channels: Option<usize>,
}

impl Change {
    /// Nothing.
    pub const NONE: Self = Self { minus: [0.0; CHANGED], times: [1.0; CHANGED], channels: None };

    /// Of one to four channels.
    pub fn new<const C: usize>(minus: [f32; C], times: [f32; C]) -> Self {
        const { assert!(C > 0 && C <= CHANGED, "one to four channels are changed") };
        let mut change = Self { channels: Some(C), ..Self::NONE };
        change.minus[..C].copy_from_slice(&minus);
        change.times[..C].copy_from_slice(&times);
        change
    }

    /// What is taken off and multiplied with, channel by channel; `None` if values stay.
    pub fn parts(&self) -> Option<[&[f32]; 2]> {
        self.channels.map(|channels| [&self.minus[..channels], &self.times[..channels]])
    }
}

/// The sizes of a change of size.
///
/// # Shapes
///
/// - `x`: `[batch, rows.from, columns.from, channels]`
/// - output: `[batch, rows.size, columns.size, channels]`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Resampling {
    /// Pictures.
    pub batch: usize,
    /// Along a column.
    pub rows: Axis,
    /// Along a row.
    pub columns: Axis,
    /// Values of a pixel.
    pub channels: usize,
    /// Done to the values at last.
    pub change: Change,
}

/// Values that one task makes.
const TASK: usize = 1 << 12;

impl Resampling {
    /// Values of a picture before.
    fn picture(&self) -> usize {
        self.rows.from * self.row()
    }

    /// Values of a row before.
    fn row(&self) -> usize {
        self.columns.from * self.channels
    }

    /// Values of a row behind.
    fn out_row(&self) -> usize {
        self.columns.size * self.channels
    }

    fn check(&self, x: usize, out: usize) {
        assert_eq!(x, self.batch * self.picture(), "resample: {self:?} is not of {x} values");
        let len = self.batch * self.rows.size * self.out_row();
        assert_eq!(out, len, "resample: {self:?} does not make {out} values");
        let some = |axis: &Axis| axis.size == 0 || axis.seen > 0 && axis.to > 0;
        assert!(
            some(&self.rows) && some(&self.columns),
            "resample: something of nothing: {self:?}"
        );
        let channels = self.change.channels.unwrap_or(self.channels);
        assert_eq!(channels, self.channels, "resample: a change of {channels} channels");
    }
}

/// Changes the size of `x` into `out`; see [`Resampling`] for the shapes.
///
/// # Panics
///
/// Panics if a slice does not have the length that `geometry` says.
pub fn resample(geometry: &Resampling, x: &[f32], out: &mut [f32]) {
    geometry.check(x.len(), out.len());
    let row_len = geometry.out_row();
    let rows = (TASK / row_len.max(1)).max(1);
    for_each_part(out, rows * row_len, |task, out| {
        with_scratch([geometry.row()], |[mixed]| {
            for (row, out) in out.chunks_exact_mut(row_len.max(1)).enumerate() {
                resample_row(geometry, x, task * rows + row, mixed, out);
            }
        });
    });
}

/// A row of the output, numbered over all pictures.
fn resample_row(g: &Resampling, x: &[f32], index: usize, mixed: &mut [f32], out: &mut [f32]) {
    let x = &x[index / g.rows.size * g.picture()..][..g.picture()];
    let (above, below, share) = g.rows.taps(index % g.rows.size);
    let [above, below] = [above, below].map(|row| &x[row * g.row()..][..g.row()]);
    for ((mixed, above), below) in mixed.iter_mut().zip(above).zip(below) {
        *mixed = above * (1.0 - share) + below * share;
    }
    for (column, out) in out.chunks_exact_mut(g.channels).enumerate() {
        let (left, right, share) = g.columns.taps(column);
        let [left, right] = [left, right].map(|at| &mixed[at * g.channels..][..g.channels]);
        for ((out, left), right) in out.iter_mut().zip(left).zip(right) {
            *out = left * (1.0 - share) + right * share;
        }
        let changes = g.change.minus.iter().zip(&g.change.times);
        for (out, (minus, times)) in out.iter_mut().zip(changes) {
            *out = (*out - minus) * times;
        }
    }
}

/// Writes the gradient of [`resample`]'s input to `grad_x`, from that of its output.
///
/// # Panics
///
/// As [`resample`].
pub fn resample_backward(geometry: &Resampling, grad: &[f32], grad_x: &mut [f32]) {
    let g = geometry;
    g.check(grad_x.len(), grad.len());
    let out_len = g.rows.size * g.out_row();
    for_each_part(grad_x, g.picture(), |picture, grad_x| {
        grad_x.fill(0.0);
        let grad = &grad[picture * out_len..][..out_len];
        for (row, grad) in grad.chunks_exact(g.out_row().max(1)).enumerate() {
            let (above, below, share) = g.rows.taps(row);
            scatter_row(g, grad, 1.0 - share, &mut grad_x[above * g.row()..][..g.row()]);
            scatter_row(g, grad, share, &mut grad_x[below * g.row()..][..g.row()]);
        }
    });
}

/// Adds what a row of the output's gradient gives to a row of the input's that has this part in it.
fn scatter_row(g: &Resampling, grad: &[f32], part: f32, grad_x: &mut [f32]) {
    for (column, grad) in grad.chunks_exact(g.channels).enumerate() {
        let (left, right, share) = g.columns.taps(column);
        for (at, part) in [(left, part * (1.0 - share)), (right, part * share)] {
            let places = &mut grad_x[at * g.channels..][..g.channels];
            let factors = g.change.times.iter().copied().chain(std::iter::repeat(1.0));
            for ((place, grad), times) in places.iter_mut().zip(grad).zip(factors) {
                *place += part * times * grad;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resampled(axes: [Axis; 2], change: Change, x: &[f32]) -> Vec<f32> {
        let [rows, columns] = axes;
        let pixels = rows.from() * columns.from();
        let channels = change.channels.unwrap_or(1);
        let batch = x.len() / pixels / channels;
        let geometry = Resampling { batch, rows, columns, channels, change };
        let mut out = vec![f32::NAN; batch * rows.size() * columns.size() * channels];
        resample(&geometry, x, &mut out);
        out
    }

    fn along(axis: Axis, x: &[f32]) -> Vec<f32> {
        let still = Axis::resized(1, 1, Align::Edges);
        let found = resampled([still, axis], Change::NONE, x);
        assert_eq!(found, resampled([axis, still], Change::NONE, x), "rows are as columns");
        found
    }

    #[test]
    fn edges_or_corners_stay_where_they_are() {
        let x = [0.0, 4.0, 8.0];
        assert_eq!(along(Axis::resized(3, 6, Align::Edges), &x), [0.0, 1.0, 3.0, 5.0, 7.0, 8.0]);
        assert_eq!(along(Axis::resized(3, 5, Align::Corners), &x), [0.0, 2.0, 4.0, 6.0, 8.0]);
        assert_eq!(along(Axis::resized(3, 1, Align::Edges), &x), [4.0]);
        assert_eq!(along(Axis::resized(3, 1, Align::Corners), &x), [0.0]);
        for align in [Align::Edges, Align::Corners] {
            assert_eq!(along(Axis::resized(1, 3, align), &[5.0]), [5.0; 3]);
            assert_eq!(along(Axis::resized(3, 3, align), &x), x);
        }
    }

    #[test]
    fn halves_are_means_of_pairs() {
        assert_eq!(along(Axis::halved(5), &[1.0, 3.0, 10.0, 20.0, 99.0]), [2.0, 15.0]);
        assert_eq!(along(Axis::halved(1), &[1.0]), [0.0; 0]);
    }

    #[test]
    fn the_last_sample_is_repeated() {
        let axis = Axis::resized(2, 4, Align::Corners).extended(6);
        let found = along(axis, &[0.0, 3.0]);
        assert_eq!(found, [0.0, 1.0, 2.0, 3.0, 3.0, 3.0]);
        assert_eq!(axis.extended(2), axis);
        assert!(!axis.stays() && Axis::resized(4, 4, Align::Edges).stays());
        assert!(!Axis::halved(5).stays());
    }

    #[test]
    fn channels_are_changed_each_its_own_way() {
        let axes = [Axis::halved(2), Axis::resized(1, 2, Align::Edges)];
        let change = Change::new([1.0, 10.0], [2.0, 0.5]);
        let found = resampled(axes, change, &[1.0, 20.0, 3.0, 40.0]);
        assert_eq!(found, [2.0, 10.0, 2.0, 10.0]);
    }

    #[test]
    #[should_panic(expected = "a change of 2 channels")]
    fn a_change_is_of_as_many_channels() {
        let (rows, columns) = (Axis::halved(2), Axis::halved(2));
        let change = Change::new([0.0; 2], [1.0; 2]);
        let geometry = Resampling { batch: 1, rows, columns, channels: 3, change };
        resample(&geometry, &[0.0; 12], &mut [0.0; 3]);
    }
}
