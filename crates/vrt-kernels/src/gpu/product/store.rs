//! Where a product's values go, and what becomes of them on the way.

use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::tile::Sizes;
use crate::gpu::gate::gated;
use crate::gpu::launch::buffer;

/// What happens to the values of a product on their way to memory.
#[derive(Clone, Copy, Debug)]
pub(in crate::gpu) enum Store<'a> {
    /// Nothing: they lie row by row.
    Rows,
    /// A leaky ReLU and a pixel shuffle, of a map's places; see
    /// [`Enlarging`](crate::conv::Enlarging).
    Shuffled {
        factor: usize,
        slope: f32,
        /// Width of the map.
        width: usize,
    },
    /// They are added to values that lie as they do.
    Onto(&'a CubeTensor),
    /// Outputs are those of two layers in turn, the gate first, and what they make together is kept;
    /// this is weight and bias of the second. There is one group.
    Gated([&'a CubeTensor; 2]),
}

/// Which of [`Store`]: what a kernel is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Way {
    Rows,
    Shuffled,
    Onto,
    Gated,
}

impl Way {
    /// Outputs that become one value.
    pub(super) fn outputs(self) -> usize {
        if self == Self::Gated { 2 } else { 1 }
    }
}

impl Store<'_> {
    pub(super) fn way(&self) -> Way {
        match self {
            Self::Rows => Way::Rows,
            // Then values stay where they are.
            Self::Shuffled { factor: 1, slope: 1.0, .. } => Way::Rows,
            Self::Shuffled { .. } => Way::Shuffled,
            Self::Onto(_) => Way::Onto,
            Self::Gated(_) => Way::Gated,
        }
    }

    /// What a kernel reads for it; `other` where there is nothing.
    pub(super) fn buffers(&self, other: &CubeTensor) -> [BufferArg; 2] {
        match self {
            Self::Onto(residual) => [buffer(residual), buffer(other)],
            Self::Gated(layer) => layer.map(buffer),
            _ => [buffer(other), buffer(other)],
        }
    }

    pub(super) fn launch(&self) -> StoreArgsLaunch {
        match *self {
            Self::Shuffled { factor, slope, width } => StoreArgsLaunch::new(factor, slope, width),
            _ => StoreArgsLaunch::new(1, 1.0, 1),
        }
    }
}

/// A [`Store`], as kernels see it.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(super) struct StoreArgs {
    factor: usize,
    slope: f32,
    width: usize,
}

/// The factor of an output of a group on an input.
#[cube]
pub(super) fn factor(
    weight: &[f32],
    beside: &[f32],
    place: (usize, usize, usize),
    sizes: &Sizes,
    #[comptime] way: Way,
) -> f32 {
    let (group, output, input) = place;
    if comptime!(way == Way::Gated) {
        let at = output / 2 * sizes.inputs + input;
        if output % 2 == 0 { weight[at] } else { beside[at] }
    } else {
        weight[(group * sizes.outputs + output) * sizes.inputs + input]
    }
}

/// Which value of a product.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Place {
    pub(super) row: usize,
    pub(super) group: usize,
    /// The output of the group; that of a gate, if there are gates.
    pub(super) output: usize,
}

/// Puts the sum of an output where it goes; with gates, that of a gate and that of the output behind
/// it.
#[cube]
pub(super) fn put(
    out: &mut [f32],
    sums: (f32, f32),
    bias: &[f32],
    beside: &[f32],
    beside_bias: &[f32],
    place: &Place,
    sizes: &Sizes,
    store: &StoreArgs,
    #[comptime] has_bias: bool,
    #[comptime] way: Way,
) {
    let columns = sizes.groups * sizes.outputs;
    let column = place.group * sizes.outputs + place.output;
    if comptime!(way == Way::Gated) {
        let (gate, value) = (sums.0 + bias[column / 2], sums.1 + beside_bias[column / 2]);
        out[(place.row * columns + column) / 2] = gated(gate, value);
    } else {
        let mut sum = sums.0;
        if has_bias {
            sum += bias[column];
        }
        let at = place.row * columns + column;
        if comptime!(way == Way::Shuffled) {
            put_shuffled(out, sum, place.row, column, columns, store);
        } else if comptime!(way == Way::Onto) {
            out[at] = beside[at] + sum;
        } else {
            out[at] = sum;
        }
    }
}

#[cube]
fn put_shuffled(
    out: &mut [f32],
    sum: f32,
    row: usize,
    column: usize,
    columns: usize,
    store: &StoreArgs,
) {
    let factor = store.factor;
    let (channel, part) = (column / (factor * factor), column % (factor * factor));
    let (x, line) = (row % store.width, row / store.width);
    // Lines of all frames lie one behind the other, enlarged or not.
    let (at_line, at_x) = (line * factor + part / factor, x * factor + part % factor);
    let pixel = at_line * (store.width * factor) + at_x;
    let kept = select(sum < 0.0f32, sum * store.slope, sum);
    out[pixel * (columns / (factor * factor)) + channel] = kept;
}
