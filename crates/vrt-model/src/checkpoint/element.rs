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
    /// 32-bit integers.
    I32,
    /// 16-bit integers.
    I16,
    /// 8-bit integers.
    I8,
    /// 64-bit integers without a sign.
    U64,
    /// 32-bit integers without a sign.
    U32,
    /// 16-bit integers without a sign.
    U16,
    /// 8-bit integers without a sign.
    U8,
    /// True or false, one byte each.
    Bool,
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
            Self::I64 | Self::I32 | Self::I16 | Self::I8 => {
                write!(f, "{}-bit integers", self.bits())
            }
            Self::U64 | Self::U32 | Self::U16 | Self::U8 => {
                write!(f, "{}-bit integers without a sign", self.bits())
            }
            Self::Bool => f.write_str("true or false"),
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
            DType::I32 => Self::I32,
            DType::I16 => Self::I16,
            DType::I8 => Self::I8,
            DType::U64 => Self::U64,
            DType::U32 => Self::U32,
            DType::U16 => Self::U16,
            DType::U8 => Self::U8,
            DType::Bool => Self::Bool,
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
            Dtype::I32 => Self::I32,
            Dtype::I16 => Self::I16,
            Dtype::I8 => Self::I8,
            Dtype::U64 => Self::U64,
            Dtype::U32 => Self::U32,
            Dtype::U16 => Self::U16,
            Dtype::U8 => Self::U8,
            Dtype::BOOL => Self::Bool,
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
            Self::F64 | Self::I64 | Self::U64 => 64,
            Self::F32 | Self::I32 | Self::U32 => 32,
            Self::F16 | Self::Bf16 | Self::I16 | Self::U16 => 16,
            Self::I8 | Self::U8 | Self::Bool => 8,
            Self::Other { bits } => bits,
        }
    }

    /// How values of this kind are written: floats as 32-bit ones, others as they are.
    pub(super) fn written(self) -> Self {
        if self.is_float() { Self::F32 } else { self }
    }

    /// The name of such values in `.safetensors` files, if this program writes them.
    pub(super) fn dtype(self) -> Option<Dtype> {
        Some(match self {
            Self::F64 => Dtype::F64,
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
            Self::Bf16 => Dtype::BF16,
            Self::I64 => Dtype::I64,
            Self::I32 => Dtype::I32,
            Self::I16 => Dtype::I16,
            Self::I8 => Dtype::I8,
            Self::U64 => Dtype::U64,
            Self::U32 => Dtype::U32,
            Self::U16 => Dtype::U16,
            Self::U8 => Dtype::U8,
            Self::Bool => Dtype::BOOL,
            Self::Other { .. } => return None,
        })
    }

    /// PyTorch's name for storages of such values, if every version of it has one.
    pub(super) fn torch_storage(self) -> Option<&'static str> {
        Some(match self {
            Self::F64 => "DoubleStorage",
            Self::F32 => "FloatStorage",
            Self::F16 => "HalfStorage",
            Self::Bf16 => "BFloat16Storage",
            Self::I64 => "LongStorage",
            Self::I32 => "IntStorage",
            Self::I16 => "ShortStorage",
            Self::I8 => "CharStorage",
            Self::U8 => "ByteStorage",
            Self::Bool => "BoolStorage",
            Self::U64 | Self::U32 | Self::U16 | Self::Other { .. } => return None,
        })
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
            _ => None,
        }
    }
}
