//! The exponential of numbers that are not positive, without branches.

use crate::level::mul_add;
#[cfg(target_arch = "x86_64")]
use crate::vector::{Avx512, Vector};

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

/// Terms that make powers of two exact to two units in the last place.
pub(crate) const EXACT: usize = 7;
/// Terms for results that are rounded to bfloat16: exact to 8e-5, a fiftieth of its steps.
pub(crate) const ROUNDED: usize = 4;

/// Coefficients of polynomials for `2ˣ`, both of least largest relative error on −½…½, where `x` lies
/// from the nearest whole number; the longer one is 1 at 0.
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

/// Those of so many terms.
const fn coefficients<const TERMS: usize>() -> &'static [f32] {
    assert!(TERMS == ROUNDED || TERMS == EXACT, "there is no such polynomial");
    if TERMS == ROUNDED { &SHORT } else { &LONG }
}

/// Below this the power of two is taken for zero; it is next to the smallest normal number there.
const SMALLEST_TWOS: f32 = -126.0;

/// How a level finds powers of two. As with [`Vector`](crate::vector::Vector), whose type it is, it may be
/// called only where the level's instructions are allowed.
pub(crate) trait Powers {
    /// `2ˣ` for each `x`, which is at most 0, by a polynomial of so many `TERMS`; zero, or next to it,
    /// below −126.
    fn of<const TERMS: usize, const L: usize>(x: [f32; L]) -> [f32; L];
}

/// By arithmetic that every level has.
pub(crate) struct Computed<const FUSED: bool>;

impl<const FUSED: bool> Powers for Computed<FUSED> {
    #[inline(always)]
    fn of<const TERMS: usize, const L: usize>(x: [f32; L]) -> [f32; L] {
        let mut powers = [0.0; L];
        for l in 0..L {
            powers[l] = exp2::<FUSED, TERMS>(x[l]);
        }
        powers
    }
}

#[inline(always)]
fn exp2<const FUSED: bool, const TERMS: usize>(x: f32) -> f32 {
    const ROUNDER: f32 = 12_582_912.0;
    let shifted = x + ROUNDER;
    let rest = x - (shifted - ROUNDER);
    let sum = polynomial::<FUSED, TERMS>(rest);
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits()));
    if x < SMALLEST_TWOS { 0.0 } else { sum * power }
}

/// The polynomial of so many terms.
#[inline(always)]
fn polynomial<const FUSED: bool, const TERMS: usize>(x: f32) -> f32 {
    let coefficients = coefficients::<TERMS>();
    let mut sum = coefficients[0];
    for coefficient in &coefficients[1..] {
        sum = mul_add::<FUSED>(sum, x, *coefficient);
    }
    sum
}

/// By AVX-512's instructions that take numbers apart and scale them by powers of two.
#[cfg(target_arch = "x86_64")]
pub(crate) struct Scaled;

#[cfg(target_arch = "x86_64")]
impl Powers for Scaled {
    #[inline(always)]
    fn of<const TERMS: usize, const L: usize>(x: [f32; L]) -> [f32; L] {
        let mut powers = [0.0; L];
        let (numbers, others) = x.as_chunks::<{ Avx512::LANES }>();
        let (found, last) = powers.as_chunks_mut::<{ Avx512::LANES }>();
        for (found, numbers) in found.iter_mut().zip(numbers) {
            scaled::<TERMS>(numbers, found);
        }
        for (found, number) in last.iter_mut().zip(others) {
            *found = exp2::<true, TERMS>(*number);
        }
        powers
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn scaled<const TERMS: usize>(x: &[f32; Avx512::LANES], powers: &mut [f32; Avx512::LANES]) {
    let (x, coefficients) = (Avx512::load(x), coefficients::<TERMS>());
    let rest = x.behind_nearest();
    let mut sum = Avx512::splat(coefficients[0]);
    for coefficient in &coefficients[1..] {
        sum = sum.mul_add(rest, Avx512::splat(*coefficient));
    }
    let whole = rest.mul_add(Avx512::splat(-1.0), x);
    sum.times_power(whole).store(powers);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::level::Level;
    use crate::vector::{Body, Vector, with_vectors};

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
            for (values, bound) in [(exact, BOUND), (rounded, 8e-5)] {
                values.into_iter().for_each(|value| check_power(x, value, bound));
            }
            bits += 401;
        }
        assert_eq!(exp2::<true, EXACT>(0.0), 1.0);
        assert_eq!(exp2::<true, ROUNDED>(f32::NEG_INFINITY), 0.0);
        assert!(exp2::<false, EXACT>(f32::NAN).is_nan());
    }

    /// Holds `2^x` to the truth: next to zero below the smallest that there are.
    fn check_power(x: f32, value: f32, bound: f64) {
        if x < SMALLEST_TWOS {
            return assert!((0.0..=f32::MIN_POSITIVE).contains(&value), "2^{x} is {value}");
        }
        let expected = f64::from(x).exp2();
        let error = (f64::from(value) - expected).abs();
        assert!(error <= bound * expected, "2^{x} is {value}");
    }

    /// Numbers to their powers, all at once and one by one.
    struct All<'a, const TERMS: usize>(&'a mut [f32]);

    impl<const TERMS: usize> Body for All<'_, TERMS> {
        #[inline(always)]
        fn run<V: Vector>(self) {
            let (many, one) = self.0.as_chunks_mut::<35>();
            for numbers in many {
                *numbers = V::Powers::of::<TERMS, 35>(*numbers);
            }
            for number in one {
                [*number] = V::Powers::of::<TERMS, 1>([*number]);
            }
        }
    }

    #[test]
    fn powers_of_every_level_are_within_their_bounds() {
        let numbers: Vec<f32> = (0..35_007).map(|i| i as f32 * -0.004).collect();
        for level in Level::available() {
            let (mut exact, mut rounded) = (numbers.clone(), numbers.clone());
            with_vectors(level, All::<EXACT>(&mut exact));
            with_vectors(level, All::<ROUNDED>(&mut rounded));
            for ((x, exact), rounded) in numbers.iter().zip(&exact).zip(&rounded) {
                check_power(*x, *exact, BOUND);
                check_power(*x, *rounded, 8e-5);
            }
            assert_eq!(exact[0], 1.0, "{level}");
            let mut special = [f32::NEG_INFINITY, f32::NAN].repeat(35);
            with_vectors(level, All::<ROUNDED>(&mut special));
            assert!(special.iter().step_by(2).all(|power| *power == 0.0), "{level}");
            assert!(special.iter().skip(1).step_by(2).all(|power| power.is_nan()), "{level}");
        }
    }
}
