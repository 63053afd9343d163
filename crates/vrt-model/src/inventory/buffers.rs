//! The constants that published checkpoints hold: they follow from the configuration.

use crate::config::RGB_CHANNELS;
use crate::positions::sine_code;

/// What SpyNet's input is normalised with.
const FLOW_MEAN: [f32; RGB_CHANNELS] = [0.485, 0.456, 0.406];
const FLOW_STD: [f32; RGB_CHANNELS] = [0.229, 0.224, 0.225];

/// A constant of a published checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Buffer {
    /// For each pair of tokens of a window, the row of the position table.
    RelativeIndex {
        /// Frames, rows and columns of the window.
        window: [usize; 3],
    },
    /// The sine code that mutual attention adds to the tokens of one frame.
    SineCode {
        /// Rows of the window.
        height: usize,
        /// Columns of the window.
        width: usize,
        /// Channels of the features.
        channels: usize,
    },
    /// Mean of the pictures that flow is estimated on.
    FlowMean,
    /// Standard deviation of the same.
    FlowStd,
}

/// Values of a constant, row-major.
#[derive(Clone, Debug, PartialEq)]
pub enum BufferValues {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 64-bit integers.
    I64(Vec<i64>),
}

impl Buffer {
    /// Sizes, outermost first.
    pub fn shape(&self) -> Vec<usize> {
        match *self {
            Self::RelativeIndex { window } => vec![window.iter().product(); 2],
            Self::SineCode { height, width, channels } => vec![1, height * width, channels],
            Self::FlowMean | Self::FlowStd => vec![1, RGB_CHANNELS, 1, 1],
        }
    }

    /// Bytes that its values take.
    pub fn bytes(&self) -> usize {
        let each = match self {
            Self::RelativeIndex { .. } => size_of::<i64>(),
            Self::SineCode { .. } | Self::FlowMean | Self::FlowStd => size_of::<f32>(),
        };
        each * self.shape().iter().product::<usize>()
    }

    /// PyTorch's name for storages of such values.
    pub(crate) fn torch_storage(&self) -> &'static str {
        match self {
            Self::RelativeIndex { .. } => "LongStorage",
            Self::SineCode { .. } | Self::FlowMean | Self::FlowStd => "FloatStorage",
        }
    }

    /// The values themselves.
    pub fn values(&self) -> BufferValues {
        match *self {
            Self::RelativeIndex { window } => BufferValues::I64(relative_index(window)),
            Self::SineCode { height, width, channels } => {
                BufferValues::F32(sine_code(height, width, channels))
            }
            Self::FlowMean => BufferValues::F32(FLOW_MEAN.to_vec()),
            Self::FlowStd => BufferValues::F32(FLOW_STD.to_vec()),
        }
    }
}

/// The row of the position table for each query and key of a window, `[tokens, tokens]`.
fn relative_index(window: [usize; 3]) -> Vec<i64> {
    let [d, h, w] = window;
    let tokens = d * h * w;
    let place = |token: usize| [token / (h * w), token / w % h, token % w];
    let mut index = Vec::with_capacity(tokens * tokens);
    for query in (0..tokens).map(place) {
        index.extend((0..tokens).map(place).map(|key| {
            let row = (0..3).fold(0, |row, axis| {
                let offset = query[axis] + window[axis] - 1 - key[axis];
                row * (2 * window[axis] - 1) + offset
            });
            row as i64
        }));
    }
    index
}
