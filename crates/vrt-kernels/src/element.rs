//! What products multiply: values in `f32`, or pairs of them rounded to bfloat16.

use std::cell::Cell;
use std::fmt::Debug;
use std::thread::LocalKey;

use bytemuck::{Pod, Zeroable};

use crate::level::{Level, at_every_level};
use crate::outer::{Lines, Table};
use crate::parallel::Kept;
use crate::product::{Product, Rows};
#[cfg(target_arch = "x86_64")]
use crate::vector::{Avx2, Avx512, Avx512Bf16};
use crate::vector::{Portable, SplitPairs, Step};

/// An element of the matrices that products multiply: one or more values that follow each other
/// along the depth.
pub(crate) trait Element: Pod + Default + Debug + PartialEq + Send + Sync {
    /// Values of an element.
    const TERMS: usize;

    /// The products of each level.
    type Portable: Step<Element = Self>;
    #[cfg(target_arch = "x86_64")]
    type Avx2: Step<Element = Self>;
    #[cfg(target_arch = "x86_64")]
    type Avx512: Step<Element = Self>;
    #[cfg(target_arch = "x86_64")]
    type Avx512Bf16: Step<Element = Self>;

    /// A product of these, where they are pairs: AMX multiplies nothing else.
    fn pairs(product: Product<'_, Self>) -> Option<Product<'_, Pair>>;

    /// Buffers that each thread keeps between calls.
    fn kept() -> &'static LocalKey<Kept<Self>>;

    /// Elements of a row of `len` values.
    fn units(len: usize) -> usize {
        len.div_ceil(Self::TERMS)
    }

    /// Elements of the buffer that [`Self::rows`] needs.
    fn rounded_len(sizes: [usize; 2]) -> usize;

    /// Rows of `sizes[1]` values, `stride` apart, as elements: where they are, or in `rounded`.
    fn rows<'a>(
        level: Level,
        values: &'a [f32],
        sizes: [usize; 2],
        stride: usize,
        rounded: &'a mut [Self],
    ) -> Rows<'a, Self>;

    /// Writes one row of values to [`Self::units`] elements.
    fn write(level: Level, values: &[f32], out: &mut [Self]);

    /// Writes elements across rows: `out[i]` holds value `i` of [`Self::TERMS`] rows of `values`,
    /// `stride` apart; of those beyond the first `rows` it holds zero.
    fn write_across(level: Level, values: &[f32], rows: usize, stride: usize, out: &mut [Self]);

    /// Elements of the buffer that [`Self::lines`] needs.
    fn lines_len(sizes: [usize; 2]) -> usize;

    /// Rows as lines of elements across [`Self::TERMS`] rows: where they are, or in `rounded`.
    fn lines<'a>(level: Level, table: Table<'a>, rounded: &'a mut [Self]) -> Lines<'a, Self>;
}

thread_local! {
    static FLOATS: Kept<f32> = const { Cell::new(Vec::new()) };
    static PAIRS: Kept<Pair> = const { Cell::new(Vec::new()) };
}

impl Element for f32 {
    const TERMS: usize = 1;

    type Portable = Portable;
    #[cfg(target_arch = "x86_64")]
    type Avx2 = Avx2;
    #[cfg(target_arch = "x86_64")]
    type Avx512 = Avx512;
    #[cfg(target_arch = "x86_64")]
    type Avx512Bf16 = Avx512;

    fn pairs(_: Product<'_, Self>) -> Option<Product<'_, Pair>> {
        None
    }

    fn kept() -> &'static LocalKey<Kept<Self>> {
        &FLOATS
    }

    fn rounded_len(_: [usize; 2]) -> usize {
        0
    }

    fn rows<'a>(
        _: Level,
        values: &'a [f32],
        sizes: [usize; 2],
        stride: usize,
        _: &'a mut [f32],
    ) -> Rows<'a, f32> {
        Rows::strided(values, sizes, stride)
    }

    fn write(_: Level, values: &[f32], out: &mut [f32]) {
        out.copy_from_slice(values);
    }

    fn write_across(_: Level, values: &[f32], _: usize, _: usize, out: &mut [f32]) {
        out.copy_from_slice(&values[..out.len()]);
    }

    fn lines_len(_: [usize; 2]) -> usize {
        0
    }

    fn lines<'a>(_: Level, table: Table<'a>, _: &'a mut [f32]) -> Lines<'a, f32> {
        let Table { values, rows: count, len, stride } = table;
        Lines { values, count, len, stride }
    }
}

/// Two bfloat16 that follow each other, the upper halves of the bits of two `f32`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[repr(C, align(4))]
pub(crate) struct Pair([u16; 2]);

// SAFETY: two zeros are a pair.
unsafe impl Zeroable for Pair {}
// SAFETY: all bits are a pair, and it has no others than its two halves, which fill its four bytes.
unsafe impl Pod for Pair {}

impl Pair {
    #[inline(always)]
    fn of(first: f32, second: f32) -> Self {
        Self([round(first), round(second)])
    }

    /// The same of values that are no less than zero; the larger of two that are as near. Of what is
    /// not a number some becomes zero: exponentials add to sums beside it, which tell.
    #[inline(always)]
    pub(crate) fn of_positive(first: f32, second: f32) -> Self {
        const HALF: u32 = 1 << 15;
        let low = first.to_bits().wrapping_add(HALF) >> 16;
        let high = second.to_bits().wrapping_add(HALF) >> 16;
        Self([low as u16, high as u16])
    }

    /// The first value.
    #[inline(always)]
    pub(crate) fn first(self) -> f32 {
        f32::from_bits(u32::from(self.0[0]) << 16)
    }

    /// The second value.
    #[inline(always)]
    pub(crate) fn second(self) -> f32 {
        f32::from_bits(u32::from(self.0[1]) << 16)
    }

    /// Both, the first in the lower half.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(crate) fn bits(self) -> u32 {
        u32::from(self.0[0]) | u32::from(self.0[1]) << 16
    }
}

/// The nearest bfloat16, the even one of two; not-a-number stays so.
#[inline(always)]
fn round(value: f32) -> u16 {
    if value.is_nan() { (value.to_bits() >> 16) as u16 | 0x40 } else { round_finite(value) }
}

#[inline(always)]
fn round_finite(value: f32) -> u16 {
    let bits = value.to_bits();
    (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

/// A row of odd length ends with a zero.
#[inline(always)]
fn round_row(values: &[f32], out: &mut [Pair]) {
    let (body, tail) = values.as_chunks::<2>();
    let (pairs, last) = out.split_at_mut(body.len());
    for (pair, values) in pairs.iter_mut().zip(body) {
        *pair = Pair::of(values[0], values[1]);
    }
    if let ([value], [last]) = (tail, last) {
        *last = Pair::of(*value, 0.0);
    }
}

at_every_level! {
    fn round_rows_widely(
        values: &[f32],
        sizes: [usize; 2],
        stride: usize,
        out: &mut [Pair],
    ) = round_rows_body;
}

/// Rows `[count, len]` of values, `stride` apart, to rows of pairs that follow each other.
fn round_rows(
    level: Level,
    values: &[f32],
    [count, len]: [usize; 2],
    stride: usize,
    out: &mut [Pair],
) {
    #[cfg(target_arch = "x86_64")]
    if level.multiplies_bf16() && level.is_available() {
        // SAFETY: the condition above proves that this processor has AVX-512 F and BF16.
        return unsafe { native::round_rows(values, [count, len], stride, out) };
    }
    round_rows_widely(level, values, [count, len], stride, out);
}

/// Rounding by the processor's own instruction.
#[cfg(target_arch = "x86_64")]
mod native {
    use std::arch::x86_64::{
        __m512bh, __m512i, _mm512_cvtne2ps_pbh, _mm512_mask_storeu_epi32, _mm512_maskz_loadu_ps,
    };

    use super::{Element, Pair};
    use crate::vector::first_lanes;

    /// Values of a vector.
    const LANES: usize = 16;

    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) fn round_rows(
        values: &[f32],
        [count, len]: [usize; 2],
        stride: usize,
        out: &mut [Pair],
    ) {
        if len == 0 {
            return;
        }
        for (row, out) in (0..count).zip(out.chunks_exact_mut(Pair::units(len))) {
            let values = values[row * stride..][..len].chunks(2 * LANES);
            for (values, out) in values.zip(out.chunks_mut(LANES)) {
                let (low, high) = values.split_at(values.len().min(LANES));
                let [low, high] = [low, high].map(|half| {
                    // SAFETY: only as many lanes are read as the slice has values.
                    unsafe { _mm512_maskz_loadu_ps(first_lanes(half.len()), half.as_ptr()) }
                });
                let pairs = _mm512_cvtne2ps_pbh(high, low);
                // SAFETY: two views of the same 512 bits, of which every pattern is a value.
                let pairs = unsafe { std::mem::transmute::<__m512bh, __m512i>(pairs) };
                let lanes = first_lanes(out.len());
                // SAFETY: only as many lanes are written as the slice has pairs, of 32 bits each.
                unsafe { _mm512_mask_storeu_epi32(out.as_mut_ptr().cast(), lanes, pairs) };
            }
        }
    }
}

#[inline(always)]
fn round_rows_body<const FUSED: bool>(
    values: &[f32],
    [count, len]: [usize; 2],
    stride: usize,
    out: &mut [Pair],
) {
    if len == 0 {
        return;
    }
    let rows = out.chunks_exact_mut(Pair::units(len));
    for (row, out) in (0..count).zip(rows) {
        round_row(&values[row * stride..][..len], out);
    }
}

at_every_level! {
    /// Pairs of the values of two rows; the second row's are zero if `rows` is one.
    fn round_across(
        values: &[f32],
        rows: usize,
        stride: usize,
        out: &mut [Pair],
    ) = round_across_body;
}

#[inline(always)]
fn round_across_body<const FUSED: bool>(
    values: &[f32],
    rows: usize,
    stride: usize,
    out: &mut [Pair],
) {
    let first = &values[..out.len()];
    if rows == 1 {
        for (pair, first) in out.iter_mut().zip(first) {
            *pair = Pair::of(*first, 0.0);
        }
        return;
    }
    let second = &values[stride..][..out.len()];
    for i in 0..out.len() {
        out[i] = Pair::of(first[i], second[i]);
    }
}

impl Element for Pair {
    const TERMS: usize = 2;

    type Portable = SplitPairs<Portable>;
    #[cfg(target_arch = "x86_64")]
    type Avx2 = SplitPairs<Avx2>;
    #[cfg(target_arch = "x86_64")]
    type Avx512 = SplitPairs<Avx512>;
    #[cfg(target_arch = "x86_64")]
    type Avx512Bf16 = Avx512Bf16;

    fn pairs(product: Product<'_, Self>) -> Option<Product<'_, Pair>> {
        Some(product)
    }

    fn kept() -> &'static LocalKey<Kept<Self>> {
        &PAIRS
    }

    fn rounded_len([count, len]: [usize; 2]) -> usize {
        count * Self::units(len)
    }

    fn rows<'a>(
        level: Level,
        values: &'a [f32],
        sizes: [usize; 2],
        stride: usize,
        rounded: &'a mut [Pair],
    ) -> Rows<'a, Pair> {
        round_rows(level, values, sizes, stride, rounded);
        Rows::dense(rounded, [sizes[0], Self::units(sizes[1])])
    }

    fn write(level: Level, values: &[f32], out: &mut [Pair]) {
        round_rows(level, values, [1, values.len()], values.len(), out);
    }

    fn write_across(level: Level, values: &[f32], rows: usize, stride: usize, out: &mut [Pair]) {
        round_across(level, values, rows, stride, out);
    }

    fn lines_len([count, len]: [usize; 2]) -> usize {
        Self::units(count) * len
    }

    fn lines<'a>(level: Level, table: Table<'a>, rounded: &'a mut [Self]) -> Lines<'a, Self> {
        let Table { values, rows: count, len, stride } = table;
        let units = Self::units(count);
        for (unit, line) in rounded[..units * len].chunks_exact_mut(len).enumerate() {
            let first = unit * Self::TERMS;
            let rows = Self::TERMS.min(count - first);
            Self::write_across(level, &values[first * stride..], rows, stride, line);
        }
        Lines { values: rounded, count: units, len, stride: len }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rounding_is_to_nearest_even(bits: u32) {
            let value = f32::from_bits(bits);
            let rounded = f32::from_bits(u32::from(round(value)) << 16);
            prop_assert_eq!(value.is_nan(), rounded.is_nan());
            if !value.is_nan() {
                // What the half crate, an independent implementation, says.
                prop_assert_eq!(rounded.to_bits() >> 16, u32::from(half::bf16::from_f32(value).to_bits()));
            }
        }

        #[test]
        fn positive_numbers_are_rounded_to_nearest(bits in [0_u32..0x7f80_0000, 0_u32..0x7f80_0000]) {
            let values = bits.map(f32::from_bits);
            let pair = Pair::of_positive(values[0], values[1]);
            for (value, found) in values.into_iter().zip([pair.first(), pair.second()]) {
                let even = half::bf16::from_f32(value);
                // Half-way between two, the even one may be the smaller.
                let tie = value.to_bits() & 0xffff == 0x8000;
                let expected = if tie { value.to_bits() / 0x10000 + 1 } else { even.to_bits().into() };
                prop_assert_eq!(found.to_bits() >> 16, expected);
            }
        }

        #[test]
        fn rows_of_pairs_hold_the_values_and_a_zero_behind_an_odd_one(
            count in 0_usize..5, len in 1_usize..70, gap in 0_usize..3, seed: u64,
        ) {
            let stride = len + gap;
            let values = vrt_testing::Random::new(seed).values(count * stride + len, 1.0);
            for level in Level::available() {
                let mut rounded = vec![Pair::of(f32::NAN, f32::NAN); Pair::rounded_len([count, len])];
                let rows = Pair::rows(level, &values, [count, len], stride, &mut rounded);
                for i in 0..count {
                    let row = &rows.values[i * len.div_ceil(2)..][..len.div_ceil(2)];
                    let flat = row.iter().flat_map(|pair| [pair.first(), pair.second()]);
                    for (k, value) in flat.enumerate() {
                        let wanted = if k < len { values[i * stride + k] } else { 0.0 };
                        prop_assert_eq!(value, half::bf16::from_f32(wanted).to_f32());
                    }
                }
            }
        }
    }
}
