//! Vectors of `f32`, one type a level: what the inner loop of a product is written in.

/// `LANES` values that one instruction works on.
///
/// A value of a level's type may exist only where that level's instructions are allowed: inside
/// the functions that [`at_every_vector`] makes, which ask the processor first. This is what makes
/// the instructions in the implementations sound.
pub(crate) trait Vector: Copy {
    /// Values of a vector.
    const LANES: usize;

    /// `value` in every lane.
    fn splat(value: f32) -> Self;

    /// The first values of a slice that has at least [`Self::LANES`].
    fn load(values: &[f32]) -> Self;

    /// Writes the lanes to the front of a slice that has at least [`Self::LANES`].
    fn store(self, values: &mut [f32]);

    /// `self · factor + sum`, rounded once where the level has the instruction.
    fn mul_add(self, factor: Self, sum: Self) -> Self;
}

/// Four lanes of whatever the target always has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portable([f32; 4]);

impl Vector for Portable {
    const LANES: usize = 4;

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
    ($name:ident, $register:ident, $lanes:literal, $what:literal,
     $splat:ident, $load:ident, $store:ident, $mul_add:ident) => {
        #[doc = $what]
        #[derive(Clone, Copy, Debug)]
        pub(crate) struct $name(std::arch::x86_64::$register);

        impl Vector for $name {
            const LANES: usize = $lanes;

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
        }
    };
}

#[cfg(target_arch = "x86_64")]
intrinsics!(
    Avx2,
    __m256,
    8,
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
    "Sixteen lanes of AVX-512.",
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_fmadd_ps
);

/// Makes a function that runs `$body::<Vector, ROWS>` compiled for the level it is given, where
/// `ROWS` rows of two vectors are what the level's registers hold of a product.
///
/// As in [`at_every_level`](crate::level::at_every_level), `$body` and all that it calls must be
/// `#[inline(always)]`.
macro_rules! at_every_vector {
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) = $body:ident;
    ) => {
        $(#[$meta])*
        $vis fn $name(level: $crate::level::Level, $($arg: $type),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $type),*) {
                $body::<$crate::vector::Avx2, 6>($($arg),*);
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
            fn avx512($($arg: $type),*) {
                $body::<$crate::vector::Avx512, 12>($($arg),*);
            }
            assert!(level.is_available(), "this processor does not run the level {level}");
            match level {
                // SAFETY: the assertion above proves that this processor has AVX2 and FMA.
                #[cfg(target_arch = "x86_64")]
                $crate::level::Level::Avx2 => unsafe { avx2($($arg),*) },
                // SAFETY: the assertion above proves that this processor has AVX-512 F, BW, DQ
                // and VL, AVX2 and FMA.
                #[cfg(target_arch = "x86_64")]
                $crate::level::Level::Avx512 => unsafe { avx512($($arg),*) },
                _ => $body::<$crate::vector::Portable, 4>($($arg),*),
            }
        }
    };
}
pub(crate) use at_every_vector;
