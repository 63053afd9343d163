//! Gradients on a whole map. A task takes a run of windows, so that the table's gradient has few
//! partial sums and one order of summation.

use super::bias::BiasLayout;
use super::gradient::{Found, Sinks};
use super::window::{Columns, Heads};
use super::{Attention, WindowGeometry, WindowGradients};
use crate::level::Level;
use crate::parallel::{SharedOutput, sum_parts, with_scratch};

/// Runs of windows that the work is cut into.
const RUNS: usize = 16;

pub(super) fn gradients(
    level: Level,
    geometry: &WindowGeometry,
    attention: Attention<'_>,
    [qkv, grad_out]: [&[f32]; 2],
    wanted: WindowGradients<'_>,
) {
    let mut unwanted = Vec::new();
    let grad_qkv = wanted.qkv.unwrap_or_else(|| {
        unwanted.resize(qkv.len(), 0.0);
        &mut unwanted
    });
    let bias = attention.planes(geometry);
    let backward = Backward {
        heads: Heads { level, geometry, attention, bias: bias.as_ref() },
        qkv,
        grad_out,
        output: SharedOutput::new(grad_qkv),
    };
    let windows = geometry.batch * geometry.windows();
    let runs = windows.min(RUNS);
    let layout = BiasLayout::new(geometry);
    // One value more, so that there is a sum where there is no bias.
    let mut sums = vec![0.0; 1 + if wanted.table.is_some() { layout.len() } else { 0 }];
    sum_parts(&mut sums, runs, |run, sum| {
        for window in run * windows / runs..(run + 1) * windows / runs {
            backward.window(window, &mut sum[1..]);
        }
    });
    if let Some(table) = wanted.table {
        table.fill(0.0);
        layout.fold(geometry, &sums[1..], table);
    }
}

struct Backward<'a> {
    heads: Heads<'a>,
    qkv: &'a [f32],
    grad_out: &'a [f32],
    output: SharedOutput<'a>,
}

impl Backward<'_> {
    /// Writes the gradients of a window and adds that of the bias.
    fn window(&self, window: usize, bias: &mut [f32]) {
        let g = self.heads.geometry;
        let (channels, len) = (g.channels, g.tokens() * g.channels);
        let places = g.token_places(window);
        with_scratch([3 * len, len, len, 3 * len], |[qkv, values, grad, grad_qkv]| {
            let rows = qkv.chunks_exact_mut(3 * channels).zip(grad.chunks_exact_mut(channels));
            for (place, (qkv, grad)) in places.iter().zip(rows) {
                qkv.copy_from_slice(&self.qkv[place * 3 * channels..][..3 * channels]);
                qkv[..channels].iter_mut().for_each(|query| *query *= Heads::scale(g));
                grad.copy_from_slice(&self.grad_out[place * channels..][..channels]);
            }
            g.with_regions(window, |regions| {
                let mut columns = Columns { values: &mut *values, stride: channels };
                self.heads.attend::<f32>(qkv, regions, &mut columns);
                let found = Found { values, grad, stride: channels };
                let mut sinks = Sinks { qkv: &mut *grad_qkv, bias };
                self.heads.gradients::<f32>(qkv, regions, found, &mut sinks);
            });
            let rows = grad_qkv.chunks_exact(3 * channels);
            for (place, row) in places.iter().zip(rows) {
                // SAFETY: each token is in one window, and a window is in one run, so no other
                // task writes here.
                unsafe { self.output.write(place * 3 * channels, row) };
            }
        });
    }
}
