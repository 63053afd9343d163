//! Which vector instructions the kernels use, chosen once when the program runs.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::scope::with_value;

/// A set of vector instructions, from the smallest to the largest.
///
/// Every kernel has one body, which is compiled once per level; levels differ in width and in
/// whether a product and a sum are rounded once (fused) or twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// What the target always has: SSE2 on x86-64, NEON on AArch64.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
    /// The same with BF16: products of pairs of bfloat16.
    Avx512Bf16,
    /// The same with AMX: products of tiles of such pairs.
    Amx,
}

/// Held by [`CURRENT`] and [`DETECTED`] until they are set.
const UNKNOWN: u8 = u8::MAX;

thread_local! {
    static SCOPED: Cell<Option<Level>> = const { Cell::new(None) };
}

static DETECTED: AtomicU8 = AtomicU8::new(UNKNOWN);
static CURRENT: AtomicU8 = AtomicU8::new(UNKNOWN);

impl Level {
    const ALL: [Self; 5] = [Self::Portable, Self::Avx2, Self::Avx512, Self::Avx512Bf16, Self::Amx];

    /// Whether the portable body may round a product and a sum once.
    ///
    /// Where the target does not always have the instruction, `f32::mul_add` is a slow call.
    pub(crate) const PORTABLE_FUSED: bool =
        cfg!(any(target_arch = "aarch64", target_feature = "fma"));

    /// The largest level that this processor runs.
    pub fn detect() -> Self {
        if let Some(level) = Self::from_code(DETECTED.load(Ordering::Relaxed)) {
            return level;
        }
        let level = ask_processor();
        DETECTED.store(level as u8, Ordering::Relaxed);
        level
    }

    /// The levels that this processor runs, smallest first.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|level| level.is_available())
    }

    /// Whether this processor runs the level.
    pub fn is_available(self) -> bool {
        self <= Self::detect()
    }

    /// The level of the kernels that this thread calls: that of the innermost
    /// [scope](Self::scope), else the [forced](Self::force) one, else the largest there is.
    pub fn current() -> Self {
        let forced = || Self::from_code(CURRENT.load(Ordering::Relaxed));
        SCOPED.get().or_else(forced).unwrap_or_else(Self::detect)
    }

    /// Calls `work`, whose kernels use this level on whatever thread they run.
    ///
    /// # Panics
    ///
    /// Panics if this processor does not run the level; see [`Level::available`].
    pub fn scope<T>(self, work: impl FnOnce() -> T) -> T {
        assert!(self.is_available(), "this processor does not run the level {self}");
        with_value(&SCOPED, Some(self), work)
    }

    /// Whether the level has instructions that multiply bfloat16; others widen them first.
    pub fn multiplies_bf16(self) -> bool {
        self >= Self::Avx512Bf16
    }

    /// Makes every kernel of the process use `level` from now on.
    ///
    /// # Panics
    ///
    /// Panics if this processor does not run `level`; see [`Level::available`].
    pub fn force(level: Self) {
        assert!(level.is_available(), "this processor does not run the level {level}");
        CURRENT.store(level as u8, Ordering::Relaxed);
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|level| *level as u8 == code)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Bf16 => "avx512-bf16",
            Self::Amx => "amx-bf16",
        })
    }
}

#[cfg(target_arch = "x86_64")]
fn ask_processor() -> Level {
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let avx512 = avx2
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    let bf16 = avx512 && is_x86_feature_detected!("avx512bf16");
    let amx = bf16 && crate::product::amx::is_usable();
    match (amx, bf16, avx512, avx2) {
        (true, ..) => Level::Amx,
        (_, true, ..) => Level::Avx512Bf16,
        (_, _, true, _) => Level::Avx512,
        (.., true) => Level::Avx2,
        _ => Level::Portable,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn ask_processor() -> Level {
    Level::Portable
}

/// `a · b + c`, rounded once if `FUSED`.
#[inline(always)]
pub(crate) fn mul_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// Makes a function that runs `$body::<FUSED>` compiled for the level it is given.
///
/// `$body` and all that it calls must be `#[inline(always)]` functions, or they are compiled for
/// the smallest level only, where a fused product and sum is a slow call. Closures cannot be marked
/// so: loops over many values are loops, not calls of closures.
macro_rules! at_every_level {
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) = $body:ident;
    ) => {
        $(#[$meta])*
        $vis fn $name(level: $crate::level::Level, $($arg: $type),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $type),*) {
                $body::<true>($($arg),*);
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
            fn avx512($($arg: $type),*) {
                $body::<true>($($arg),*);
            }
            assert!(level.is_available(), "this processor does not run the level {level}");
            match level {
                // SAFETY: the assertion above proves that this processor has AVX2 and FMA.
                #[cfg(target_arch = "x86_64")]
                $crate::level::Level::Avx2 => unsafe { avx2($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                $crate::level::Level::Avx512
                | $crate::level::Level::Avx512Bf16
                | $crate::level::Level::Amx => {
                    // SAFETY: the assertion above proves that this processor has AVX-512 F, BW,
                    // DQ and VL, AVX2 and FMA.
                    unsafe { avx512($($arg),*) }
                }
                _ => $body::<{ $crate::level::Level::PORTABLE_FUSED }>($($arg),*),
            }
        }
    };
}
pub(crate) use at_every_level;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn portable_is_always_available_and_the_detected_level_is_the_last() {
        let levels: Vec<_> = Level::available().collect();
        assert_eq!(levels.first(), Some(&Level::Portable));
        assert_eq!(levels.last(), Some(&Level::detect()));
    }

    /// Tests play it, unless the processor has it and the system refuses it.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    #[test]
    fn amx_is_tested_wherever_pairs_are_multiplied() {
        if Level::Avx512Bf16.is_available() && !Level::Amx.is_available() {
            assert!(crate::product::amx::has_tiles(), "nobody plays it");
        }
    }

    #[test]
    fn a_scope_ends_as_it_began() {
        let before = Level::current();
        Level::Portable.scope(|| {
            assert_eq!(Level::current(), Level::Portable);
            before.scope(|| assert_eq!(Level::current(), before));
            assert_eq!(Level::current(), Level::Portable);
        });
        assert_eq!(Level::current(), before);
    }

    #[test]
    fn a_level_survives_its_code() {
        for level in Level::ALL {
            assert_eq!(Level::from_code(level as u8), Some(level));
        }
        assert_eq!(Level::from_code(UNKNOWN), None);
    }
}
