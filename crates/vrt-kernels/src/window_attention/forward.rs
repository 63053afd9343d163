//! The forward pass on a whole map.

use super::bias::BiasPlanes;
use super::window::{Columns, Heads};
use super::{Attention, WindowGeometry};
use crate::level::Level;
use crate::parallel::{SharedOutput, for_each_index, with_scratch};

/// A task takes a window: gathers it, attends, and scatters what it found.
pub(super) fn attend(
    level: Level,
    geometry: &WindowGeometry,
    attention: Attention<'_>,
    qkv: &[f32],
    out: &mut [f32],
) {
    let bias = attention.planes(geometry);
    let heads = Heads { level, geometry, attention, bias: bias.as_ref() };
    let (tokens, channels) = (geometry.tokens(), geometry.channels);
    let output = SharedOutput::new(out);
    for_each_index(geometry.batch * geometry.windows(), |window| {
        let lens = [3 * tokens * channels, tokens * channels];
        with_scratch(lens, |[gathered, found]| {
            let places = geometry.token_places(window);
            for (place, row) in places.iter().zip(gathered.chunks_exact_mut(3 * channels)) {
                row.copy_from_slice(&qkv[place * 3 * channels..][..3 * channels]);
                row[..channels].iter_mut().for_each(|query| *query *= Heads::scale(geometry));
            }
            geometry.with_regions(window, |regions| {
                let mut columns = Columns { values: &mut *found, stride: channels };
                heads.attend::<f32>(gathered, regions, &mut columns);
            });
            let rows = found.chunks_exact(channels);
            for (place, row) in places.iter().zip(rows) {
                // SAFETY: each token is in one window, so no other task writes here.
                unsafe { output.write(place * channels, row) };
            }
        });
    });
}

impl Attention<'_> {
    /// The bias as the forward pass takes it.
    pub(crate) fn planes(&self, g: &WindowGeometry) -> Option<BiasPlanes> {
        match self {
            Attention::SelfBiased { table } => Some(BiasPlanes::new(g, table)),
            Attention::Mutual => None,
        }
    }
}
