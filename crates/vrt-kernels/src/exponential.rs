//! The exponential of numbers that are not positive, without branches.

use crate::level::mul_add;

/// Below this the exponential is taken for zero; it is next to the smallest normal number there.
const SMALLEST_EXPONENT: f32 = -87.0;

/// `eˣ` for `x` of at most 0, within two units in the last place; zero below −87.
#[inline(always)]
pub(crate) fn exp<const FUSED: bool>(x: f32) -> f32 {
    // Adding 1.5 · 2²³ leaves the nearest whole number in the lowest bits.
    const ROUNDER: f32 = 12_582_912.0;
    // ln 2 in two parts; the first has so few bits that its products below are exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let shifted = mul_add::<FUSED>(x, std::f32::consts::LOG2_E, ROUNDER);
    let twos = shifted - ROUNDER;
    let rest = mul_add::<FUSED>(twos, -LN_2_HIGH, x);
    let rest = mul_add::<FUSED>(twos, -LN_2_LOW, rest);
    // Taylor's series: |rest| is at most ln 2 / 2, where the next term is below 6e-9.
    let mut sum = 1.0 / 5040.0;
    for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        sum = mul_add::<FUSED>(sum, rest, coefficient);
    }
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits()));
    if x < SMALLEST_EXPONENT { 0.0 } else { sum * power }
}

/// Terms that make [`exp2`] exact to two units in the last place.
pub(crate) const EXACT: usize = 7;
/// Terms for results that are rounded to bfloat16: exact to 8e-5, a fiftieth of its steps.
pub(crate) const ROUNDED: usize = 4;

/// Below this the power of two is taken for zero; it is next to the smallest normal number there.
const SMALLEST_TWOS: f32 = -126.0;

/// `2ˣ` for `x` of at most 0 by a polynomial of so many `TERMS`; zero below −126.
#[inline(always)]
pub(crate) fn exp2<const FUSED: bool, const TERMS: usize>(x: f32) -> f32 {
    // Both of least largest relative error on −½…½, where `x` lies from the nearest whole number;
    // the longer one is 1 at 0.
    const SHORT: [f32; ROUNDED] = [0.055_171_65, 0.242_611_14, 0.693_261, 0.999_928_1];
    const LONG: [f32; EXACT] = [
        1.535_336e-4,
        1.339_887_5e-3,
        9.618_437e-3,
        5.550_332_5e-2,
        0.240_226_48,
        std::f32::consts::LN_2,
        1.0,
    ];
    const ROUNDER: f32 = 12_582_912.0;
    let shifted = x + ROUNDER;
    let rest = x - (shifted - ROUNDER);
    let sum = if TERMS == ROUNDED {
        polynomial::<FUSED, _>(rest, SHORT)
    } else {
        polynomial::<FUSED, _>(rest, LONG)
    };
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits()));
    if x < SMALLEST_TWOS { 0.0 } else { sum * power }
}

/// The polynomial with these coefficients, that of the highest power first.
#[inline(always)]
fn polynomial<const FUSED: bool, const TERMS: usize>(x: f32, coefficients: [f32; TERMS]) -> f32 {
    let mut sum = coefficients[0];
    for coefficient in &coefficients[1..] {
        sum = mul_add::<FUSED>(sum, x, *coefficient);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative error of two units in the last place.
    const BOUND: f64 = 2.0 * f32::EPSILON as f64;

    fn check<const FUSED: bool>(x: f32) {
        let (actual, expected) = (f64::from(exp::<FUSED>(x)), f64::from(x).exp());
        if x < SMALLEST_EXPONENT {
            assert_eq!(actual, 0.0, "exp({x})");
        } else {
            assert!((actual - expected).abs() <= BOUND * expected, "exp({x}) is {actual}");
        }
    }

    #[test]
    fn the_exponential_is_within_two_units() {
        // Every 401st float from −0 to −110.
        let mut bits = (-0.0_f32).to_bits();
        while f32::from_bits(bits) > -110.0 {
            check::<true>(f32::from_bits(bits));
            check::<false>(f32::from_bits(bits));
            bits += 401;
        }
        assert_eq!(exp::<true>(0.0), 1.0);
        assert_eq!(exp::<false>(f32::NEG_INFINITY), 0.0);
        assert!(exp::<false>(f32::NAN).is_nan());
    }

    #[test]
    fn powers_of_two_are_within_their_bounds() {
        let mut bits = (-0.0_f32).to_bits();
        while f32::from_bits(bits) > -150.0 {
            let x = f32::from_bits(bits);
            let exact = [exp2::<true, EXACT>(x), exp2::<false, EXACT>(x)];
            let rounded = [exp2::<true, ROUNDED>(x), exp2::<false, ROUNDED>(x)];
            let expected = if x < SMALLEST_TWOS { 0.0 } else { f64::from(x).exp2() };
            for (values, bound) in [(exact, BOUND), (rounded, 8e-5)] {
                for value in values {
                    let error = (f64::from(value) - expected).abs();
                    assert!(error <= bound * expected, "2^{x} is {value}");
                }
            }
            bits += 401;
        }
        assert_eq!(exp2::<true, EXACT>(0.0), 1.0);
        assert_eq!(exp2::<true, ROUNDED>(f32::NEG_INFINITY), 0.0);
        assert!(exp2::<false, EXACT>(f32::NAN).is_nan());
    }
}
