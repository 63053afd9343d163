//! Between RGB in 0…1 and `YCbCr` codes.

use crate::{Matrix, Range};

/// Frames of more rows than this count as high definition where a file states no matrix.
const STANDARD_DEFINITION_ROWS: usize = 576;

impl Matrix {
    /// The matrix that players take where a file states none: BT.709 above 576 rows, else BT.601.
    pub fn for_height(rows: usize) -> Self {
        if rows > STANDARD_DEFINITION_ROWS { Self::Bt709 } else { Self::Bt601 }
    }

    /// Weights of red and blue in luma.
    fn weights(self) -> (f32, f32) {
        match self {
            Self::Bt601 => (0.299, 0.114),
            Self::Bt709 | Self::Rgb => (0.2126, 0.0722),
            Self::Bt2020 => (0.2627, 0.0593),
        }
    }
}

/// How codes of one depth stand for colours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Codes {
    red: f32,
    green: f32,
    blue: f32,
    luma_zero: f32,
    luma_span: f32,
    chroma_zero: f32,
    chroma_span: f32,
}

impl Codes {
    pub(crate) fn new(matrix: Matrix, range: Range, bit_depth: u8) -> Self {
        let (red, blue) = matrix.weights();
        let bits = f32::from(bit_depth);
        let step = (bits - 8.0).exp2();
        let (luma_zero, luma_span, chroma_span) = match range {
            Range::Limited => (16.0 * step, 219.0 * step, 224.0 * step),
            Range::Full => (0.0, bits.exp2() - 1.0, bits.exp2() - 1.0),
        };
        let (green, chroma_zero) = (1.0 - red - blue, 128.0 * step);
        Self { red, green, blue, luma_zero, luma_span, chroma_zero, chroma_span }
    }

    /// The code of no colour.
    pub(crate) fn chroma_zero(&self) -> f32 {
        self.chroma_zero
    }

    /// RGB in 0…1; codes outside the RGB cube go to its surface.
    pub(crate) fn to_rgb(self, [y, cb, cr]: [f32; 3]) -> [f32; 3] {
        let y = (y - self.luma_zero) / self.luma_span;
        let cb = (cb - self.chroma_zero) / self.chroma_span;
        let cr = (cr - self.chroma_zero) / self.chroma_span;
        let red = y + 2.0 * (1.0 - self.red) * cr;
        let blue = y + 2.0 * (1.0 - self.blue) * cb;
        let green = (y - self.red * red - self.blue * blue) / self.green;
        [red, green, blue].map(|value| value.clamp(0.0, 1.0))
    }

    /// Codes, not rounded; not-a-number counts as 0.
    pub(crate) fn to_codes(self, rgb: [f32; 3]) -> [f32; 3] {
        let [red, green, blue] = rgb.map(|value| if value > 0.0 { value.min(1.0) } else { 0.0 });
        let y = self.red * red + self.green * green + self.blue * blue;
        let cb = (blue - y) / (2.0 * (1.0 - self.blue));
        let cr = (red - y) / (2.0 * (1.0 - self.red));
        [
            y * self.luma_span + self.luma_zero,
            cb * self.chroma_span + self.chroma_zero,
            cr * self.chroma_span + self.chroma_zero,
        ]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn primaries_have_the_codes_of_the_standards() {
        // Rounded from ITU-R BT.709-6, BT.601-7 (625 and 525 share the matrix) and BT.2020-2.
        let limited = |matrix, depth, rgb| {
            Codes::new(matrix, Range::Limited, depth).to_codes(rgb).map(f32::round)
        };
        assert_eq!(limited(Matrix::Bt709, 8, [1., 0., 0.]), [63., 102., 240.]);
        assert_eq!(limited(Matrix::Bt709, 8, [0., 1., 0.]), [173., 42., 26.]);
        assert_eq!(limited(Matrix::Bt709, 8, [0., 0., 1.]), [32., 240., 118.]);
        assert_eq!(limited(Matrix::Bt601, 8, [1., 0., 0.]), [81., 90., 240.]);
        assert_eq!(limited(Matrix::Bt601, 8, [0., 0., 1.]), [41., 240., 110.]);
        assert_eq!(limited(Matrix::Bt2020, 10, [1., 0., 0.]), [294., 387., 960.]);
        assert_eq!(limited(Matrix::Bt2020, 10, [1., 1., 1.]), [940., 512., 512.]);
        let full = Codes::new(Matrix::Bt601, Range::Full, 8).to_codes([1., 1., 1.]);
        assert_eq!(full.map(f32::round), [255., 128., 128.]);
    }

    #[test]
    fn the_matrix_follows_the_height_where_none_is_stated() {
        assert_eq!(Matrix::for_height(576), Matrix::Bt601);
        assert_eq!(Matrix::for_height(577), Matrix::Bt709);
    }

    proptest! {
        #[test]
        fn colours_come_back(
            rgb in prop::array::uniform3(0f32..=1.0),
            depth in 8u8..=16,
            full: bool,
            matrix in prop::sample::select(vec![Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020]),
        ) {
            let range = if full { Range::Full } else { Range::Limited };
            let codes = Codes::new(matrix, range, depth);
            let back = codes.to_rgb(codes.to_codes(rgb));
            for (value, back) in rgb.iter().zip(back) {
                prop_assert!((value - back).abs() < 4e-6, "{rgb:?} {back}");
            }
        }
    }
}
