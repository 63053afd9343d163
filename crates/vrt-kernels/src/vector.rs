//! Vectors of `f32`, one type a level, and the step of a product's depth: what the inner loop of a
//! product is written in.

use crate::element::{Element, Pair};
#[cfg(target_arch = "x86_64")]
use crate::exponential::Scaled;
use crate::exponential::{Computed, Powers};
use crate::level::Level;

/// `LANES` values that one instruction works on.
///
/// A value of a level's type may exist only where that level's instructions are allowed: inside
/// the functions that [`multiply`](crate::product::multiply) and [`with_vectors`] choose from after
/// asking the processor. This is what makes the instructions in the implementations sound.
pub(crate) trait Vector: Copy {
    /// Values of a vector.
    const LANES: usize;

    /// How powers of two are found here.
    type Powers: Powers;

    /// `value` in every lane.
    fn splat(value: f32) -> Self;

    /// The first values of a slice that has at least [`Self::LANES`].
    fn load(values: &[f32]) -> Self;

    /// Writes the lanes to the front of a slice that has at least [`Self::LANES`].
    fn store(self, values: &mut [f32]);

    /// `self · factor + sum`, rounded once where the level has the instruction.
    fn mul_add(self, factor: Self, sum: Self) -> Self;

    /// The values of a slice of at most [`Self::LANES`], and zeros behind them.
    #[inline(always)]
    fn load_first(values: &[f32]) -> Self {
        let mut whole = [0.0; MOST_LANES];
        whole[..values.len()].copy_from_slice(values);
        Self::load(&whole)
    }

    /// Writes the first lanes to a slice of at most [`Self::LANES`].
    #[inline(always)]
    fn store_first(self, values: &mut [f32]) {
        debug_assert!(values.len() <= Self::LANES, "more values than lanes");
        let mut whole = [0.0; MOST_LANES];
        self.store(&mut whole);
        values.copy_from_slice(&whole[..values.len()]);
    }

    /// The values from `first` on, and zeros where there are no more.
    #[inline(always)]
    fn load_at(values: &[f32], first: usize) -> Self {
        let values = &values[first.min(values.len())..];
        match values.len() {
            // Processors read no lane of a place that is no memory, but take a hundred cycles for it.
            0 => Self::splat(0.0),
            len if len < Self::LANES => Self::load_first(values),
            _ => Self::load(values),
        }
    }

    /// Writes the lanes to the places from `first` on, as far as there are some.
    #[inline(always)]
    fn store_at(self, values: &mut [f32], first: usize) {
        let first = first.min(values.len());
        let values = &mut values[first..];
        match values.len() {
            0 => {}
            len if len < Self::LANES => self.store_first(values),
            _ => self.store(values),
        }
    }

    /// The sum of all lanes, by halves: a few steps behind one another in place of as many as lanes.
    #[inline(always)]
    fn total(self) -> f32 {
        let mut lanes = [0.0; MOST_LANES];
        self.store(&mut lanes);
        for half in [8, 4, 2, 1] {
            for l in 0..half {
                lanes[l] += lanes[l + half];
            }
        }
        lanes[0]
    }
}

/// Something that is done with the vectors of a level. Bodies, and all that they call, must be
/// `#[inline(always)]`.
pub(crate) trait Body {
    /// Does it.
    fn run<V: Vector>(self);
}

/// Does something with the largest vectors of a level.
pub(crate) fn with_vectors(level: Level, body: impl Body) {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn avx2(body: impl Body) {
        body.run::<Avx2>();
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
    fn avx512(body: impl Body) {
        body.run::<Avx512>();
    }
    assert!(level.is_available(), "this processor does not run the level {level}");
    match level {
        // SAFETY: the assertion above proves that this processor has AVX2 and FMA.
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => unsafe { avx2(body) },
        // SAFETY: the assertion above proves that this processor has AVX-512 F, BW, DQ and VL, AVX2
        // and FMA.
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 | Level::Avx512Bf16 | Level::Amx => unsafe { avx512(body) },
        _ => body.run::<Portable>(),
    }
}

/// Four lanes of whatever the target always has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portable([f32; 4]);

impl Vector for Portable {
    const LANES: usize = 4;

    type Powers = Computed<{ Level::PORTABLE_FUSED }>;

    #[inline(always)]
    fn splat(value: f32) -> Self {
        Self([value; 4])
    }

    #[inline(always)]
    fn load(values: &[f32]) -> Self {
        Self([values[0], values[1], values[2], values[3]])
    }

    #[inline(always)]
    fn store(self, values: &mut [f32]) {
        values[..4].copy_from_slice(&self.0);
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, sum: Self) -> Self {
        const FUSED: bool = crate::level::Level::PORTABLE_FUSED;
        let lane = |i: usize| crate::level::mul_add::<FUSED>(self.0[i], factor.0[i], sum.0[i]);
        Self([lane(0), lane(1), lane(2), lane(3)])
    }
}

/// A vector type over x86-64 intrinsics of one width.
#[cfg(target_arch = "x86_64")]
macro_rules! intrinsics {
    ($name:ident, $register:ident, $lanes:literal, $powers:ty, $what:literal,
     $splat:ident, $load:ident, $store:ident, $mul_add:ident $(, $first:item)*) => {
        #[doc = $what]
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct $name(std::arch::x86_64::$register);

        impl Vector for $name {
            const LANES: usize = $lanes;

            type Powers = $powers;

            #[inline(always)]
            fn splat(value: f32) -> Self {
                // SAFETY: the level is allowed here, see the trait.
                Self(unsafe { std::arch::x86_64::$splat(value) })
            }

            #[inline(always)]
            fn load(values: &[f32]) -> Self {
                let values = &values[..Self::LANES];
                // SAFETY: the level is allowed here, see the trait; the slice has all the values,
                // and this load needs no alignment.
                Self(unsafe { std::arch::x86_64::$load(values.as_ptr()) })
            }

            #[inline(always)]
            fn store(self, values: &mut [f32]) {
                let values = &mut values[..Self::LANES];
                // SAFETY: the level is allowed here, see the trait; the slice has room for all the
                // values, and this store needs no alignment.
                unsafe { std::arch::x86_64::$store(values.as_mut_ptr(), self.0) }
            }

            #[inline(always)]
            fn mul_add(self, factor: Self, sum: Self) -> Self {
                // SAFETY: the level is allowed here, see the trait.
                Self(unsafe { std::arch::x86_64::$mul_add(self.0, factor.0, sum.0) })
            }

            $($first)*
        }
    };
}

#[cfg(target_arch = "x86_64")]
intrinsics!(
    Avx2,
    __m256,
    8,
    Computed<true>,
    "Eight lanes of AVX2 and FMA.",
    _mm256_set1_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_fmadd_ps
);
#[cfg(target_arch = "x86_64")]
intrinsics!(
    Avx512,
    __m512,
    16,
    Scaled,
    "Sixteen lanes of AVX-512.",
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_fmadd_ps,
    #[inline(always)]
    fn load_first(values: &[f32]) -> Self {
        let lanes = first_lanes(values.len());
        // SAFETY: the level is allowed here, see the trait; only as many lanes are read as the slice has
        // values.
        Self(unsafe { std::arch::x86_64::_mm512_maskz_loadu_ps(lanes, values.as_ptr()) })
    },
    #[inline(always)]
    fn store_first(self, values: &mut [f32]) {
        let lanes = first_lanes(values.len());
        // SAFETY: the level is allowed here, see the trait; only as many lanes are written as the slice
        // has values.
        unsafe { std::arch::x86_64::_mm512_mask_storeu_ps(values.as_mut_ptr(), lanes, self.0) }
    },
    #[inline(always)]
    fn total(self) -> f32 {
        // SAFETY: the level is allowed here, see the trait.
        unsafe { std::arch::x86_64::_mm512_reduce_add_ps(self.0) }
    }
);

#[cfg(target_arch = "x86_64")]
impl Avx512 {
    /// What each lane has more than the nearest whole number: −½…½.
    #[inline(always)]
    pub(crate) fn behind_nearest(self) -> Self {
        // SAFETY: the level is allowed here, see the trait.
        Self(unsafe { std::arch::x86_64::_mm512_reduce_ps::<0>(self.0) })
    }

    /// Each lane times two to the power of a whole number.
    #[inline(always)]
    pub(crate) fn times_power(self, whole: Self) -> Self {
        // SAFETY: the level is allowed here, see the trait.
        Self(unsafe { std::arch::x86_64::_mm512_scalef_ps(self.0, whole.0) })
    }
}

/// The mask of the first lanes, at most sixteen.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn first_lanes(count: usize) -> u16 {
    ((1_u32 << count.min(16)) - 1) as u16
}

/// One step of the depth of a product: what is multiplied, in registers, and how it is added.
///
/// As with [`Vector`], values of a level's types exist only where its instructions are allowed.
pub(crate) trait Step {
    /// What the matrices hold.
    type Element: Element;
    /// What sums are kept in.
    type Sum: Vector;
    /// Elements in registers, as many as a sum has lanes.
    type Factor: Copy;

    /// `element` in every lane.
    fn spread(element: Self::Element) -> Self::Factor;

    /// The first elements of a slice that has at least as many as a sum has lanes.
    fn fetch(elements: &[Self::Element]) -> Self::Factor;

    /// `sum` and, lane by lane, the products of the elements' terms.
    fn add_product(a: Self::Factor, b: Self::Factor, sum: Self::Sum) -> Self::Sum;
}

impl<V: Vector> Step for V {
    type Element = f32;
    type Sum = V;
    type Factor = V;

    #[inline(always)]
    fn spread(element: f32) -> V {
        V::splat(element)
    }

    #[inline(always)]
    fn fetch(elements: &[f32]) -> V {
        V::load(elements)
    }

    #[inline(always)]
    fn add_product(a: V, b: V, sum: V) -> V {
        a.mul_add(b, sum)
    }
}

/// Lanes of the widest vector.
pub(crate) const MOST_LANES: usize = 16;

/// Pairs on levels that have no instruction for them: widened to `f32`, term by term.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SplitPairs<V>(std::marker::PhantomData<V>);

impl<V: Vector> Step for SplitPairs<V> {
    type Element = Pair;
    type Sum = V;
    type Factor = [V; 2];

    #[inline(always)]
    fn spread(element: Pair) -> [V; 2] {
        [V::splat(element.first()), V::splat(element.second())]
    }

    #[inline(always)]
    fn fetch(elements: &[Pair]) -> [V; 2] {
        let mut terms = [[0.0; MOST_LANES]; 2];
        let elements = &elements[..V::LANES];
        for (i, pair) in elements.iter().enumerate() {
            terms[0][i] = pair.first();
            terms[1][i] = pair.second();
        }
        [V::load(&terms[0]), V::load(&terms[1])]
    }

    #[inline(always)]
    fn add_product(a: [V; 2], b: [V; 2], sum: V) -> V {
        a[1].mul_add(b[1], a[0].mul_add(b[0], sum))
    }
}

/// Sixteen lanes of AVX-512, and its instruction that adds products of pairs of bfloat16.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512Bf16;

#[cfg(target_arch = "x86_64")]
impl Step for Avx512Bf16 {
    type Element = Pair;
    type Sum = Avx512;
    type Factor = std::arch::x86_64::__m512i;

    #[inline(always)]
    fn spread(element: Pair) -> Self::Factor {
        // SAFETY: the level is allowed here, see the trait.
        unsafe { std::arch::x86_64::_mm512_set1_epi32(element.bits() as i32) }
    }

    #[inline(always)]
    fn fetch(elements: &[Pair]) -> Self::Factor {
        let elements = &elements[..Avx512::LANES];
        // SAFETY: the level is allowed here, see the trait; the slice has sixteen pairs of 32 bits
        // each, and this load needs no alignment.
        unsafe { std::arch::x86_64::_mm512_loadu_epi32(elements.as_ptr().cast()) }
    }

    #[inline(always)]
    fn add_product(a: Self::Factor, b: Self::Factor, sum: Avx512) -> Avx512 {
        use std::arch::x86_64::{__m512bh, __m512i, _mm512_dpbf16_ps};
        // SAFETY: two views of the same 512 bits, of which every pattern is a value.
        let [a, b] = [a, b].map(|bits| unsafe { std::mem::transmute::<__m512i, __m512bh>(bits) });
        // SAFETY: the level is allowed here, see the trait.
        Avx512(unsafe { _mm512_dpbf16_ps(sum.0, a, b) })
    }
}
