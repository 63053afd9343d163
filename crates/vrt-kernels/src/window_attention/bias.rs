//! The bias of self attention, laid out as the logits of a panel of queries start from it.

use std::f32::consts::LOG2_E;

use super::WindowGeometry;
use crate::aligned::Aligned;
use crate::parallel::for_each_part;
use crate::product::Start;

/// Where the bias of a panel of queries lies: for each head rows of a frame of queries, one row for
/// each key.
///
/// The bias depends on the distance of two tokens. Where the window has the full one's rows and
/// columns, keys of all frame distances lie one behind the other, `[2·Wd − 1, Wh · Ww]` rows, and
/// the keys of a window are some of them, from a place that depends on the queries' frame. Other
/// windows number their tokens in a way that mixes frames: there each frame of queries has rows of
/// its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BiasLayout {
    heads: usize,
    /// Rows of a head.
    rows: usize,
    /// Queries of a frame.
    plane: usize,
    frames: usize,
    by_distance: bool,
}

impl BiasLayout {
    pub(crate) fn new(g: &WindowGeometry) -> Self {
        let (frames, plane, tokens) = (g.window[0], g.plane(), g.tokens());
        let by_distance = g.window[1..] == g.full_window[1..];
        let rows = if by_distance { (2 * frames - 1) * plane } else { frames * tokens };
        Self { heads: g.heads, rows, plane, frames, by_distance }
    }

    /// Values of all heads.
    pub(crate) fn len(&self) -> usize {
        self.heads * self.rows * self.plane
    }

    /// Queries of a frame: from row to row.
    pub(crate) fn plane(&self) -> usize {
        self.plane
    }

    /// Where the first key's row is for some queries of a head: those of a frame, from some place
    /// on.
    pub(crate) fn at(&self, head: usize, frame: usize, first: usize) -> usize {
        let row = if self.by_distance {
            (self.frames - 1 - frame) * self.plane
        } else {
            frame * self.frames * self.plane
        };
        (head * self.rows + row) * self.plane + first
    }

    /// First query's token and the key's token of a row of a head.
    fn tokens(&self, row: usize) -> [usize; 2] {
        if self.by_distance {
            // The key's frame less the queries', plus the largest distance.
            let (distance, key) = (row / self.plane, row % self.plane);
            let behind = (self.frames - 1).saturating_sub(distance);
            [behind * self.plane, (distance + behind + 1 - self.frames) * self.plane + key]
        } else {
            let tokens = self.frames * self.plane;
            [row / tokens * self.plane, row % tokens]
        }
    }

    /// Adds values in this layout to the rows of the table that they belong to.
    pub(crate) fn fold(&self, g: &WindowGeometry, values: &[f32], table: &mut [f32]) {
        let (places, centre) = (g.table_places(), g.table_centre());
        for (index, row) in values.chunks_exact(self.plane).enumerate() {
            let head = index / self.rows;
            let [first, key] = self.tokens(index % self.rows);
            for (value, query) in row.iter().zip(&places[first..]) {
                table[(query + centre - places[key]) * self.heads + head] += value;
            }
        }
    }
}

/// The bias of self attention, with the factor of logits in powers of two.
#[derive(Debug)]
pub(crate) struct BiasPlanes {
    values: Aligned<f32>,
    layout: BiasLayout,
}

impl BiasPlanes {
    /// From the table.
    pub(crate) fn new(g: &WindowGeometry, table: &[f32]) -> Self {
        let layout = BiasLayout::new(g);
        let (places, centre) = (g.table_places(), g.table_centre());
        let mut values = Aligned::passing(layout.len());
        for_each_part(&mut values, layout.plane, |index, out| {
            let head = index / layout.rows;
            let [first, key] = layout.tokens(index % layout.rows);
            for (value, query) in out.iter_mut().zip(&places[first..]) {
                *value = LOG2_E * table[(query + centre - places[key]) * g.heads + head];
            }
        });
        Self { values, layout }
    }

    pub(crate) fn layout(&self) -> &BiasLayout {
        &self.layout
    }

    /// What the logits of some queries of a head start from.
    pub(super) fn start(&self, head: usize, frame: usize, first: usize) -> Start<'_> {
        Start::Matrix(&self.values[self.layout.at(head, frame, first)..], self.layout.plane)
    }
}

#[cfg(test)]
mod tests {
    use vrt_testing::Random;

    use super::*;

    #[test]
    fn every_pair_of_tokens_starts_from_its_row_of_the_table() {
        let full = [6, 2, 4];
        for window in [full, [3, 2, 4], [2, 2, 4], [3, 2, 2]] {
            let g = WindowGeometry {
                batch: 1,
                map: window,
                window,
                full_window: full,
                shift: [0; 3],
                heads: 2,
                channels: 2,
            };
            let table = Random::new(1).values(g.table_len(), 1.0);
            let (bias, plane) = (BiasPlanes::new(&g, &table), g.plane());
            let rows = g.relative_index();
            let rows = rows.chunks_exact(g.tokens()).enumerate();
            for ((query, rows), head) in rows.flat_map(|row| [(row, 0), (row, 1)]) {
                let start = bias.start(head, query / plane, query % plane);
                let Start::Matrix(found, stride) = start else { panic!("a matrix") };
                let found: Vec<f32> = found.iter().step_by(stride).copied().collect();
                let expected: Vec<f32> =
                    rows.iter().map(|row| LOG2_E * table[row * 2 + head]).collect();
                assert_eq!(found[..g.tokens()], expected, "{window:?}: query {query}");
            }
        }
    }
}
