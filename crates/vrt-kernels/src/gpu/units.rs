//! Matrix units: what multiplies small matrices of 16-bit floats at once, and sums in `f32`.

use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::{DeviceProperties, ElemType, FloatKind};
use cubecl::prelude::*;

use crate::precision::Precision;

/// Most rows, columns and inputs of a small matrix.
pub(super) const LARGEST: usize = 16;

/// The small matrices that a plane, the units that step together, multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct MatrixUnits {
    pub(super) format: Format,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) inputs: usize,
    /// Units of a plane, at most: it may have fewer.
    pub(super) plane: usize,
}

impl MatrixUnits {
    /// Those that multiply numbers of a precision; none for `f32`, or where a device has none that
    /// kernels are written for.
    pub(super) fn of(properties: &DeviceProperties, precision: Precision) -> Option<Self> {
        let format = match precision {
            Precision::F32 => return None,
            Precision::F16 => Format::F16,
            Precision::Bf16 => Format::Bf16,
        };
        let (factor, sum) = (ElemType::Float(format.kind()), ElemType::Float(FloatKind::F32));
        let plane = properties.hardware.plane_size_max as usize;
        let fitting = properties.features.matmul.cmma.iter().filter_map(|config| {
            let types = [config.a_type, config.b_type, config.cd_type] == [factor, factor, sum];
            let sizes = [config.m, config.n, config.k].map(|size| size as usize);
            let known = sizes.iter().all(|size| [8, LARGEST].contains(size));
            let [rows, columns, inputs] = sizes;
            (types && known).then_some(Self { format, rows, columns, inputs, plane })
        });
        fitting.max_by_key(|units| units.rows * units.columns * units.inputs)
    }

    /// Those that multiply numbers of the precision of now on the device of a tensor.
    pub(super) fn now(like: &CubeTensor) -> Option<Self> {
        Self::of(like.client.properties(), Precision::current())
    }
}

/// The numbers that matrix units multiply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Format {
    F16,
    Bf16,
}

impl Format {
    fn kind(self) -> FloatKind {
        match self {
            Self::F16 => FloatKind::F16,
            Self::Bf16 => FloatKind::BF16,
        }
    }
}

/// The largest number of f16.
const LARGEST_HALF: f32 = 65504.0;

/// The nearest number of a format; beyond f16's last one that, not infinity. What is no number stays
/// none.
#[cube]
pub(super) fn rounded<E: Float>(value: f32, #[comptime] format: Format) -> E {
    if comptime!(format == Format::F16) {
        let held = min(max(value, -LARGEST_HALF), LARGEST_HALF);
        E::cast_from(select(value.is_nan(), value, held))
    } else {
        E::cast_from(value)
    }
}

/// The plane that this unit belongs to.
#[cube]
pub(super) fn plane() -> usize {
    usize::cast_from(UNIT_POS) / usize::cast_from(PLANE_DIM)
}

/// How lines of a side of a product lie in a cube's own memory: rows of the left side, columns of
/// the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Side {
    /// From a line, or an input, to the next.
    pub(super) stride: usize,
    /// Whether the inputs of a line lie one behind the other, or the lines of an input.
    pub(super) by_lines: bool,
    /// Lines that a plane multiplies.
    pub(super) lines: usize,
}

impl Side {
    fn layout(&self, is_left: bool) -> cmma::MatrixLayout {
        match self.by_lines == is_left {
            true => cmma::MatrixLayout::RowMajor,
            false => cmma::MatrixLayout::ColMajor,
        }
    }

    /// From a line to the next, and from an input to the next.
    fn steps(&self) -> (usize, usize) {
        if self.by_lines { (self.stride, 1) } else { (1, self.stride) }
    }
}

/// The products that a plane sums: of both sides, so many inputs at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Block {
    pub(super) units: MatrixUnits,
    pub(super) left: Side,
    pub(super) right: Side,
    pub(super) inputs: usize,
}

impl Block {
    /// Small matrices of sums, down and across.
    pub(super) fn down(&self) -> usize {
        self.left.lines / self.units.rows
    }

    pub(super) fn across(&self) -> usize {
        self.right.lines / self.units.columns
    }

    /// Values of a small matrix of sums.
    pub(super) fn small(&self) -> usize {
        self.units.rows * self.units.columns
    }
}

/// Sums of a plane, in registers: small matrices, row by row.
pub(super) type Sums = Sequence<cmma::Matrix<f32>>;

#[cube]
pub(super) fn no_sums(#[comptime] block: Block) -> Sums {
    let mut sums = Sequence::<cmma::Matrix<f32>>::new();
    #[unroll]
    for _ in 0..comptime!(block.down() * block.across()) {
        sums.push(cmma::Matrix::<f32>::from_value(
            cmma::MatrixIdent::Accumulator,
            comptime!(block.units.rows),
            comptime!(block.units.columns),
            comptime!(block.units.inputs),
            cmma::MatrixLayout::Undefined,
            0.0f32,
        ));
    }
    sums
}

/// Adds the products of what both sides hold from a line on each; all units of a plane together.
#[cube]
pub(super) fn add_products<E: Float>(
    sums: &mut Sums,
    left: &Shared<[E]>,
    right: &Shared<[E]>,
    first_left: usize,
    first_right: usize,
    #[comptime] block: Block,
) {
    let (m, n, k) = comptime!((block.units.rows, block.units.columns, block.units.inputs));
    let (left_line, left_input) = comptime!(block.left.steps());
    let (right_line, right_input) = comptime!(block.right.steps());
    #[unroll]
    for step in 0..comptime!(block.inputs / k) {
        let mut columns = Sequence::<cmma::Matrix<E>>::new();
        #[unroll]
        for j in 0..comptime!(block.across()) {
            let at = (first_right + j * n) * right_line + step * k * right_input;
            columns.push(cmma::Matrix::<E>::from_slice(
                cmma::MatrixIdent::B,
                m,
                n,
                k,
                comptime!(block.right.layout(false)),
                &right[at..right.len()],
                comptime!(block.right.stride as u32),
            ));
        }
        #[unroll]
        for i in 0..comptime!(block.down()) {
            let at = (first_left + i * m) * left_line + step * k * left_input;
            let rows = cmma::Matrix::<E>::from_slice(
                cmma::MatrixIdent::A,
                m,
                n,
                k,
                comptime!(block.left.layout(true)),
                &left[at..left.len()],
                comptime!(block.left.stride as u32),
            );
            #[unroll]
            for j in 0..comptime!(block.across()) {
                let sum = sums.index(i * comptime!(block.across()) + j);
                cmma::execute(&rows, columns.index(j), sum, sum);
            }
        }
    }
}

/// A small matrix of sums of each plane on its way out of registers.
#[derive(CubeType)]
pub(super) struct Small {
    values: Shared<[f32]>,
}

#[cube]
impl Small {
    pub(super) fn new(#[comptime] planes: usize, #[comptime] block: Block) -> Small {
        let len = comptime!(planes * block.small());
        Small { values: Shared::new_aligned_slice(len, 32usize) }
    }

    /// Puts a small matrix of each plane here; all units of a cube together.
    pub(super) fn put(
        &mut self,
        sum: &cmma::Matrix<f32>,
        #[comptime] planes: usize,
        #[comptime] block: Block,
    ) {
        let small = comptime!(block.small());
        sync_cube();
        if plane() < planes {
            let at = plane() * small;
            cmma::store(
                &mut self.values[at..at + small],
                sum,
                comptime!(block.units.columns as u32),
                cmma::MatrixLayout::RowMajor,
            );
        }
        sync_cube();
    }

    /// Value `at` of this unit's plane's matrix.
    pub(super) fn get(&self, at: usize, #[comptime] block: Block) -> f32 {
        self.values[plane() * comptime!(block.small()) + at]
    }
}

/// The first value of its plane's small matrix that this unit deals with, every [`PLANE_DIM`]th
/// from there on; behind the last one where the plane has none.
#[cube]
pub(super) fn first_value(#[comptime] planes: usize, #[comptime] block: Block) -> usize {
    let own = usize::cast_from(UNIT_POS) % usize::cast_from(PLANE_DIM);
    select(plane() < planes, own, comptime!(block.small()).runtime())
}

/// Sums of a plane that lie in a cube's own memory, from `start` on, rows `stride` apart.
#[cube]
pub(super) fn load_sums(
    from: &Shared<[f32]>,
    start: usize,
    #[comptime] stride: usize,
    #[comptime] block: Block,
) -> Sums {
    let (m, n) = comptime!((block.units.rows, block.units.columns));
    let mut sums = Sequence::<cmma::Matrix<f32>>::new();
    #[unroll]
    for i in 0..comptime!(block.down()) {
        #[unroll]
        for j in 0..comptime!(block.across()) {
            let at = start + i * m * stride + j * n;
            sums.push(cmma::Matrix::<f32>::from_slice(
                cmma::MatrixIdent::Accumulator,
                m,
                n,
                comptime!(block.units.inputs),
                cmma::MatrixLayout::RowMajor,
                &from[at..from.len()],
                comptime!(stride as u32),
            ));
        }
    }
    sums
}

/// Puts sums of a plane where [`load_sums`] reads them.
#[cube]
pub(super) fn store_sums(
    sums: &Sums,
    to: &mut Shared<[f32]>,
    start: usize,
    #[comptime] stride: usize,
    #[comptime] block: Block,
) {
    let (m, n) = comptime!((block.units.rows, block.units.columns));
    #[unroll]
    for i in 0..comptime!(block.down()) {
        #[unroll]
        for j in 0..comptime!(block.across()) {
            let at = start + i * m * stride + j * n;
            let end = to.len();
            cmma::store(
                &mut to[at..end],
                sums.index(i * comptime!(block.across()) + j),
                comptime!(stride as u32),
                cmma::MatrixLayout::RowMajor,
            );
        }
    }
}
