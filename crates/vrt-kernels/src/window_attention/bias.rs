//! The bias of self attention, laid out as the logits of a panel of queries start from it.

use std::f32::consts::LOG2_E;

use super::WindowGeometry;
use crate::parallel::for_each_part;
use crate::product::Start;

/// For each head rows of a frame of queries, one row for each key.
///
/// The bias depends on the distance of two tokens. Where the window has the full one's rows and
/// columns, keys of all frame distances lie one behind the other, `[2·Wd − 1, Wh · Ww]` rows, and
/// the keys of a window are some of them, from a place that depends on the queries' frame. Other
/// windows number their tokens in a way that mixes frames: there each frame of queries has rows of
/// its own.
#[derive(Debug)]
pub(crate) struct BiasPlanes {
    values: Vec<f32>,
    /// Rows of a head.
    rows: usize,
    /// Queries of a frame.
    plane: usize,
    frames: usize,
    by_distance: bool,
}

impl BiasPlanes {
    /// From the table, with the factor of logits in powers of two.
    pub(crate) fn new(g: &WindowGeometry, table: &[f32]) -> Self {
        let (frames, plane, tokens) = (g.window[0], g.plane(), g.tokens());
        let by_distance = g.window[1..] == g.full_window[1..];
        let rows = if by_distance { (2 * frames - 1) * plane } else { frames * tokens };
        let (places, centre) = (g.table_places(), g.table_centre());
        let mut values = vec![0.0; g.heads * rows * plane];
        for_each_part(&mut values, plane, |index, out| {
            let (head, row) = (index / rows, index % rows);
            let (first, key) = if by_distance {
                // The key's frame less the queries', plus the largest distance.
                let (distance, key) = (row / plane, row % plane);
                let behind = (frames - 1).saturating_sub(distance);
                (behind * plane, (distance + behind + 1 - frames) * plane + key)
            } else {
                (row / tokens * plane, row % tokens)
            };
            for (value, query) in out.iter_mut().zip(&places[first..]) {
                *value = LOG2_E * table[(query + centre - places[key]) * g.heads + head];
            }
        });
        Self { values, rows, plane, frames, by_distance }
    }

    /// What the logits of some queries of a head start from: those of a frame, from some place on.
    pub(super) fn start(&self, head: usize, frame: usize, first: usize) -> Start<'_> {
        let row = if self.by_distance {
            (self.frames - 1 - frame) * self.plane
        } else {
            frame * self.frames * self.plane
        };
        let at = (head * self.rows + row) * self.plane + first;
        Start::Matrix(&self.values[at..], self.plane)
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
