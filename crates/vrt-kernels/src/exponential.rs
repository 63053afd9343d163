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
}
