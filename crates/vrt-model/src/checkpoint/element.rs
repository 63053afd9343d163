//! How values are stored, and what they are as 32-bit floats.

use std::fmt;

use half::{bf16, f16};
use pytorch_reader::DType;
use safetensors::Dtype;

/// The type of a stored tensor's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Element {
    /// 64-bit floats.
    F64,
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// 16-bit floats with the range of 32-bit ones.
    Bf16,
    /// 64-bit integers.
    I64,
    /// Something else, with the bits of one value.
    Other {
        /// Bits of one value.
        bits: usize,
    },
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::F64 => f.write_str("64-bit floats"),
            Self::F32 => f.write_str("32-bit floats"),
            Self::F16 => f.write_str("16-bit floats"),
            Self::Bf16 => f.write_str("bfloat16 values"),
            Self::I64 => f.write_str("64-bit integers"),
            Self::Other { bits } => write!(f, "{bits}-bit values of another kind"),
        }
    }
}

impl From<DType> for Element {
    fn from(kind: DType) -> Self {
        match kind {
            DType::F64 => Self::F64,
            DType::F32 => Self::F32,
            DType::F16 => Self::F16,
            DType::BF16 => Self::Bf16,
            DType::I64 => Self::I64,
            other => Self::Other { bits: 8 * other.size() },
        }
    }
}

impl From<Dtype> for Element {
    fn from(kind: Dtype) -> Self {
        match kind {
            Dtype::F64 => Self::F64,
            Dtype::F32 => Self::F32,
            Dtype::F16 => Self::F16,
            Dtype::BF16 => Self::Bf16,
            Dtype::I64 => Self::I64,
            other => Self::Other { bits: other.bitsize() },
        }
    }
}

impl Element {
    /// Whether values are floats that weights can be.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::Bf16)
    }

    /// Bits of one value.
    pub fn bits(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 64,
            Self::F32 => 32,
            Self::F16 | Self::Bf16 => 16,
            Self::Other { bits } => bits,
        }
    }

    /// The little-endian values in `bytes` as 32-bit floats, rounded to nearest; `None` unless
    /// they are floats.
    pub(super) fn floats(self, bytes: &[u8]) -> Option<Vec<f32>> {
        fn each<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
            let (values, _) = bytes.as_chunks::<N>();
            values.iter().map(|bytes| value(*bytes)).collect()
        }
        match self {
            Self::F64 => Some(each(bytes, |b| f64::from_le_bytes(b) as f32)),
            Self::F32 => Some(each(bytes, f32::from_le_bytes)),
            Self::F16 => Some(each(bytes, |b| f16::from_le_bytes(b).to_f32())),
            Self::Bf16 => Some(each(bytes, |b| bf16::from_le_bytes(b).to_f32())),
            Self::I64 | Self::Other { .. } => None,
        }
    }
}
