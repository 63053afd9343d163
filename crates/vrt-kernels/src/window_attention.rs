//! Attention inside shifted three-dimensional windows (sections 3.2 and 3.3 of arXiv:2201.12288).
//!
//! The map is rolled by the shift and cut into windows. In each window and head, with queries `q`,
//! keys `k` and values `v` of its tokens, `out = softmax(q·kᵀ / √(channels / heads) + bias + mask)·v`.
//! The bias depends on the distance of two tokens; the mask is −100 between tokens that the roll
//! brought together from different ends of the map, and 0 else. Nothing is rolled in memory: a
//! window's tokens are found by their places, and the output lies where the input did.

use crate::level::Level;

mod backward;
mod bias;
mod down;
mod forward;
mod geometry;
mod gradient;
#[cfg(test)]
pub(crate) mod reference;
#[cfg(test)]
mod tests;
mod window;

pub(crate) use bias::{BiasLayout, BiasPlanes};
pub(crate) use down::Probability;
pub use geometry::WindowGeometry;
pub(crate) use gradient::{Found, Sinks};
pub(crate) use window::{Columns, Heads};

/// What the mask adds between tokens of different regions.
pub const MASKED: f32 = -100.0;

/// Which tokens of a window attend to which.
#[derive(Clone, Copy, Debug)]
pub enum Attention<'a> {
    /// Every token to every token, with a bias by distance.
    SelfBiased {
        /// `[(2·Wd−1)·(2·Wh−1)·(2·Ww−1), heads]` of the full window: row
        /// [`WindowGeometry::relative_index`] for a pair of tokens.
        table: &'a [f32],
    },
    /// In windows of two frames each frame to the other one, without bias: the first half of a
    /// window's output is what the second frame's queries find in the first frame, and the other
    /// way round. Both use the mask among tokens of the first frame.
    Mutual,
}

/// Attention from the tokens of one range to those of another, both of one length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Direction {
    /// First token that asks.
    query: usize,
    /// First token that is asked.
    key: usize,
    /// First token of the output.
    out: usize,
    /// Tokens of each.
    len: usize,
}

impl Attention<'_> {
    /// The attentions that make up one window of `tokens` tokens.
    fn directions(&self, tokens: usize) -> impl Iterator<Item = Direction> + use<> {
        let half = tokens / 2;
        let directions = match self {
            Self::SelfBiased { .. } => {
                [Some(Direction { query: 0, key: 0, out: 0, len: tokens }), None]
            }
            Self::Mutual => [
                Some(Direction { query: half, key: 0, out: 0, len: half }),
                Some(Direction { query: 0, key: half, out: half, len: half }),
            ],
        };
        directions.into_iter().flatten()
    }

    pub(crate) fn check(&self, geometry: &WindowGeometry) {
        match self {
            Self::SelfBiased { table } => {
                geometry.check_bias();
                let len = geometry.table_len();
                assert_eq!(
                    table.len(),
                    len,
                    "window_attention: the table does not fit {geometry:?}"
                );
            }
            Self::Mutual => assert_eq!(
                geometry.window[0], 2,
                "window_attention: mutual attention needs windows of two frames: {geometry:?}"
            ),
        }
    }
}

/// Writes the attention of `qkv` to `out`; see the [module](self) for the formula and
/// [`WindowGeometry`] for the shapes.
///
/// # Panics
///
/// Panics if a slice does not have the length that `geometry` says, the window does not divide the
/// map, a shift is not smaller than its window, the heads do not divide the channels, the window
/// is larger than the full one, or mutual attention gets windows that do not hold two frames.
pub fn window_attention(
    geometry: &WindowGeometry,
    attention: Attention<'_>,
    qkv: &[f32],
    out: &mut [f32],
) {
    forward_at(Level::current(), geometry, attention, qkv, out);
}

fn forward_at(
    level: Level,
    geometry: &WindowGeometry,
    attention: Attention<'_>,
    qkv: &[f32],
    out: &mut [f32],
) {
    geometry.check(qkv.len(), out.len());
    attention.check(geometry);
    forward::attend(level, geometry, attention, qkv, out);
}

/// The gradients that a backward pass of [`window_attention`] is to write, each of the length of
/// what it belongs to; all values are overwritten.
#[derive(Debug, Default)]
pub struct WindowGradients<'a> {
    /// Of the queries, keys and values.
    pub qkv: Option<&'a mut [f32]>,
    /// Of the table of the bias; must be `None` for [`Attention::Mutual`].
    pub table: Option<&'a mut [f32]>,
}

/// The gradients of [`window_attention`] from `grad_out`, that of the output. The probabilities
/// are computed again.
///
/// The result does not depend on the number of threads.
///
/// # Panics
///
/// As [`window_attention`], and if a gradient of the table is wanted where there is no table.
pub fn window_attention_backward(
    geometry: &WindowGeometry,
    attention: Attention<'_>,
    qkv: &[f32],
    grad_out: &[f32],
    wanted: WindowGradients<'_>,
) {
    backward_at(Level::current(), geometry, attention, [qkv, grad_out], wanted);
}

fn backward_at(
    level: Level,
    geometry: &WindowGeometry,
    attention: Attention<'_>,
    [qkv, grad_out]: [&[f32]; 2],
    wanted: WindowGradients<'_>,
) {
    geometry.check(qkv.len(), grad_out.len());
    attention.check(geometry);
    if let Some(grad) = &wanted.qkv {
        assert_eq!(grad.len(), qkv.len(), "window_attention: qkv and its gradient differ in size");
    }
    if let Some(grad) = &wanted.table {
        let Attention::SelfBiased { table } = attention else {
            panic!("window_attention: mutual attention has no table");
        };
        assert_eq!(grad.len(), table.len(), "window_attention: the table's gradient does not fit");
    }
    if wanted.qkv.is_some() || wanted.table.is_some() {
        backward::gradients(level, geometry, attention, [qkv, grad_out], wanted);
    }
}
