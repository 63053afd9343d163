//! Threads: the pool, how they treat tiny numbers, and how work is cut.
//!
//! Work is cut by sizes alone, never by the number of threads, so that a result is the same on
//! every pool.

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::marker::PhantomData;
use std::thread::LocalKey;

use rayon::prelude::*;

use crate::aligned;

/// The pool of threads cannot be set up.
#[derive(Debug)]
pub struct ConfigureError(rayon::ThreadPoolBuildError);

impl fmt::Display for ConfigureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot set up the threads ({}); set them up once, before any computation",
            self.0
        )
    }
}

impl Error for ConfigureError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

/// Starts the process's pool with `threads` workers (`None`: one per processor, or as
/// `RAYON_NUM_THREADS` says) that flush subnormal numbers to zero, and gives their number.
///
/// Without this call kernels still flush inside their own tasks, but other users of the pool,
/// such as matrix products of the tensor library, do not.
///
/// # Errors
///
/// If the pool exists already, or the system refuses the threads.
pub fn configure(threads: Option<usize>) -> Result<usize, ConfigureError> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads.unwrap_or(0))
        .thread_name(|index| format!("vrt-{index}"))
        .start_handler(|_| std::mem::forget(FlushToZero::enter()))
        .build_global()
        .map_err(ConfigureError)?;
    Ok(rayon::current_num_threads())
}

/// Calls `work` with subnormal numbers, read and written, taken for zero on this thread.
///
/// Subnormal numbers cost up to a hundred times as much as others on some processors, and are far
/// below what a picture can show.
pub fn with_flush_to_zero<T>(work: impl FnOnce() -> T) -> T {
    // The optimiser knows nothing of the register and may move arithmetic past its change, but not
    // out of a function that it must not inline.
    #[inline(never)]
    fn opaque<T>(work: impl FnOnce() -> T) -> T {
        work()
    }
    let _guard = FlushToZero::enter();
    opaque(work)
}

/// Subnormal numbers are flushed on this thread until the guard is dropped.
struct FlushToZero {
    before: float_control::Control,
    // Belongs to the thread that made it.
    _not_send: PhantomData<*const ()>,
}

impl FlushToZero {
    fn enter() -> Self {
        let before = float_control::get();
        if before & float_control::FLUSH != float_control::FLUSH {
            float_control::set(before | float_control::FLUSH);
        }
        Self { before, _not_send: PhantomData }
    }
}

impl Drop for FlushToZero {
    fn drop(&mut self) {
        if self.before & float_control::FLUSH != float_control::FLUSH {
            float_control::set(self.before);
        }
    }
}

/// The register that says how this thread computes with floats.
#[cfg(target_arch = "x86_64")]
mod float_control {
    use std::arch::asm;

    pub(super) type Control = u32;

    /// Results (bit 15) and inputs (bit 6) that are subnormal become zero.
    pub(super) const FLUSH: Control = (1 << 15) | (1 << 6);

    pub(super) fn get() -> Control {
        let mut control: Control = 0;
        // SAFETY: stmxcsr writes the four bytes that the pointer names, which are `control`.
        unsafe {
            asm!("stmxcsr [{}]", in(reg) &raw mut control, options(nostack, preserves_flags));
        }
        control
    }

    pub(super) fn set(control: Control) {
        // SAFETY: the callers set bits 15 and 6 of a value that `get` read, or give such a value
        // back, so no reserved bit is set and no exception is unmasked. Memory is only read.
        unsafe {
            asm!("ldmxcsr [{}]", in(reg) &raw const control, options(nostack, preserves_flags));
        }
    }
}

/// The register that says how this thread computes with floats.
#[cfg(target_arch = "aarch64")]
mod float_control {
    use std::arch::asm;

    pub(super) type Control = u64;

    /// FZ: inputs and results that are subnormal become zero.
    pub(super) const FLUSH: Control = 1 << 24;

    pub(super) fn get() -> Control {
        let control: Control;
        // SAFETY: reads a register that user code may read; no memory is touched.
        unsafe { asm!("mrs {}, fpcr", out(reg) control, options(nostack, nomem, preserves_flags)) }
        control
    }

    pub(super) fn set(control: Control) {
        // SAFETY: the callers set bit 24 of a value that `get` read, or give such a value back,
        // so no trap is enabled and no reserved bit is set.
        unsafe { asm!("msr fpcr, {}", in(reg) control, options(nostack, nomem, preserves_flags)) }
    }
}

/// Other processors keep their treatment of subnormal numbers.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod float_control {
    pub(super) type Control = u32;
    pub(super) const FLUSH: Control = 0;

    pub(super) fn get() -> Control {
        0
    }

    pub(super) fn set(_: Control) {}
}

/// Calls `work(index, part)` on parts of `len` values (the last may be shorter), in parallel.
pub(crate) fn for_each_part(
    values: &mut [f32],
    len: usize,
    work: impl Fn(usize, &mut [f32]) + Sync,
) {
    let parts = values.par_chunks_mut(len.max(1)).enumerate();
    parts.for_each(|(index, part)| with_flush_to_zero(|| work(index, part)));
}

/// Calls `work(index)` for all indices below `count`, in parallel.
pub(crate) fn for_each_index(count: usize, work: impl Fn(usize) + Sync) {
    (0..count).into_par_iter().for_each(|index| with_flush_to_zero(|| work(index)));
}

/// As many zeros, written by all threads: what is large is fresh memory, and half of what it costs is
/// the system's clearing of pages when they are touched first.
pub(crate) fn zeros(len: usize) -> Vec<f32> {
    const TASK: usize = 1 << 16;
    let mut values = Vec::with_capacity(len);
    if len < 2 * TASK {
        values.resize(len, 0.0);
        return values;
    }
    let room = &mut values.spare_capacity_mut()[..len];
    room.par_chunks_mut(TASK).for_each(|part| {
        for value in part {
            value.write(0.0);
        }
    });
    // SAFETY: the loop above has written the first `len` values, and there is room for them.
    unsafe { values.set_len(len) };
    values
}

/// A band of rows of one frame.
#[derive(Debug)]
pub(crate) struct Band<'a> {
    pub(crate) frame: usize,
    /// First row of the band in its frame.
    pub(crate) row: usize,
    /// The band's values, a whole number of rows.
    pub(crate) values: &'a mut [f32],
}

/// Cuts frames of `height` rows of `row_len` values into bands of at most `rows` rows and calls
/// `work` on each, in parallel. No band crosses two frames.
pub(crate) fn for_each_band(
    values: &mut [f32],
    [height, row_len]: [usize; 2],
    rows: usize,
    work: impl Fn(Band<'_>) + Sync,
) {
    if height * row_len == 0 {
        return;
    }
    let frames = values.par_chunks_exact_mut(height * row_len).enumerate();
    frames.for_each(|(frame, values)| {
        let bands = values.par_chunks_mut(rows * row_len).enumerate();
        bands.for_each(|(index, values)| {
            let band = Band { frame, row: index * rows, values };
            with_flush_to_zero(|| work(band));
        });
    });
}

/// Adds to `total` what `work(part, sum)` adds to `sum` (zero at first), for all parts.
///
/// Parts run in parallel; their sums are added in order, so the result does not depend on the
/// number of threads. Takes memory for `parts` copies of `total`, which the thread keeps.
pub(crate) fn sum_parts(total: &mut [f32], parts: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
    let len = total.len();
    if len == 0 {
        return;
    }
    with_scratch([parts * len], |[sums]| {
        for_each_part(sums, len, |part, sum| {
            sum.fill(0.0);
            work(part, sum);
        });
        const BLOCK: usize = 4096;
        for_each_part(total, BLOCK, |block, total| {
            for sum in sums.chunks_exact(len) {
                let sum = &sum[block * BLOCK..][..total.len()];
                total.iter_mut().zip(sum).for_each(|(total, value)| *total += value);
            }
        });
    });
}

/// A buffer that many tasks write and read, each its own places.
#[derive(Debug)]
pub(crate) struct SharedOutput<'a> {
    start: *mut f32,
    len: usize,
    _values: PhantomData<&'a mut [f32]>,
}

// SAFETY: the pointer is only used by `write` and `read`, whose callers promise that no thread
// writes a place that another one touches; the borrow in `_values` keeps everybody else out.
unsafe impl Sync for SharedOutput<'_> {}

impl<'a> SharedOutput<'a> {
    pub(crate) fn new(values: &'a mut [f32]) -> Self {
        Self { start: values.as_mut_ptr(), len: values.len(), _values: PhantomData }
    }

    /// Copies `values` to the places from `at` on.
    ///
    /// # Safety
    ///
    /// No other thread writes any of these places during the call.
    pub(crate) unsafe fn write(&self, at: usize, values: &[f32]) {
        let place = self.places("write", at, values.len());
        // SAFETY: `places` keeps the copy inside the buffer; the caller keeps other threads away;
        // `values` cannot overlap, since the buffer is mutably borrowed by `_values`.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), place, values.len()) }
    }

    /// Copies every `step`-th of `values` to the places from `at` on.
    ///
    /// # Safety
    ///
    /// No other thread writes any of these places during the call.
    pub(crate) unsafe fn write_every(&self, at: usize, values: &[f32], step: usize) {
        let place = self.places("write", at, values.len().div_ceil(step));
        for (i, value) in values.iter().step_by(step).enumerate() {
            // SAFETY: `places` keeps as many places as there are values inside the buffer.
            let place = unsafe { place.add(i) };
            // SAFETY: the caller keeps other threads away.
            unsafe { place.write(*value) }
        }
    }

    /// Copies the values from `at` on to `values`.
    ///
    /// # Safety
    ///
    /// No other thread writes any of these places during the call.
    pub(crate) unsafe fn read(&self, at: usize, values: &mut [f32]) {
        let place = self.places("read", at, values.len());
        // SAFETY: `places` keeps the copy inside the buffer, which is initialised; the caller
        // keeps writers away; `values` cannot overlap, since `_values` borrows the buffer.
        unsafe { std::ptr::copy_nonoverlapping(place, values.as_mut_ptr(), values.len()) }
    }

    /// The place `at`, from which on there are `len` values in the buffer.
    fn places(&self, what: &str, at: usize, len: usize) -> *mut f32 {
        let inside = at <= self.len && len <= self.len - at;
        assert!(inside, "{what} of {len} values at {at} in {}", self.len);
        // SAFETY: `at` is at most `len` by the assertion, so the place is inside the buffer.
        unsafe { self.start.add(at) }
    }
}

/// Buffers that a thread keeps between calls, the one to be taken next last.
pub(crate) type Kept<T> = Cell<Vec<Vec<T>>>;

thread_local! {
    static SCRATCH: Kept<f32> = const { Cell::new(Vec::new()) };
}

/// Calls `work` with buffers of the given lengths that this thread keeps between calls, each from a
/// line of the caches on.
///
/// What they hold is left from earlier calls: write before reading.
pub(crate) fn with_scratch<const N: usize, T>(
    lens: [usize; N],
    work: impl FnOnce([&mut [f32]; N]) -> T,
) -> T {
    with_kept(&SCRATCH, lens, work)
}

/// The same with buffers of `kept`.
pub(crate) fn with_kept<E: Copy + Default + 'static, const N: usize, T>(
    kept: &'static LocalKey<Kept<E>>,
    lens: [usize; N],
    work: impl FnOnce([&mut [E]; N]) -> T,
) -> T {
    // Taken out, not borrowed: a nested call takes those behind, and each depth of calls finds its
    // own again.
    let mut stack = kept.take();
    let mut buffers: [Vec<E>; N] = std::array::from_fn(|_| stack.pop().unwrap_or_default());
    kept.set(stack);
    for (buffer, len) in buffers.iter_mut().zip(lens) {
        let len = len + aligned::room::<E>();
        if buffer.len() < len {
            buffer.resize(len, E::default());
        }
    }
    let mut lens = lens.into_iter();
    let result = work(buffers.each_mut().map(|buffer| {
        let len = lens.next().unwrap_or(0);
        let first = aligned::first(buffer);
        &mut buffer[first..first + len]
    }));
    let mut stack = kept.take();
    stack.extend(buffers.into_iter().rev());
    kept.set(stack);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn halved_smallest() -> f32 {
        std::hint::black_box(f32::MIN_POSITIVE) * std::hint::black_box(0.5)
    }

    #[test]
    fn tiny_numbers_are_flushed_inside_and_kept_outside() {
        assert!(halved_smallest() > 0.0);
        assert_eq!(with_flush_to_zero(halved_smallest), 0.0);
        assert!(halved_smallest() > 0.0);
        let nested = with_flush_to_zero(|| {
            with_flush_to_zero(|| ());
            halved_smallest()
        });
        assert_eq!(nested, 0.0, "the inner guard must leave the outer one in force");
    }

    #[test]
    fn a_task_flushes_on_every_thread() {
        let mut values = vec![1.0; 100];
        for_each_part(&mut values, 3, |_, part| part.fill(halved_smallest()));
        assert!(values.iter().all(|value| *value == 0.0));
    }

    #[test]
    fn bands_cover_each_row_once_and_stay_in_their_frame() {
        let mut values = vec![0.0; 3 * 7 * 2];
        for_each_band(&mut values, [7, 2], 3, |band| {
            for (i, row) in band.values.chunks_exact_mut(2).enumerate() {
                row.iter_mut().for_each(|v| *v += (band.frame * 7 + band.row + i) as f32);
            }
        });
        let expected: Vec<f32> = (0..42).map(|i| (i / 2) as f32).collect();
        assert_eq!(values, expected);
    }

    #[test]
    fn zeros_are_zeros_however_many() {
        for len in [0, 1, 1 << 17, (1 << 18) + 7] {
            let values = zeros(len);
            assert!(values.len() == len && values.iter().all(|value| value.to_bits() == 0));
        }
    }

    #[test]
    fn parts_are_added_in_order() {
        let mut total = vec![1.0; 5000];
        sum_parts(&mut total, 3, |part, sum| sum.fill(part as f32));
        assert!(total.iter().all(|value| *value == 4.0));
    }

    #[test]
    fn scratch_nests_and_starts_at_lines() {
        let sum = with_scratch([4, 2], |[a, b]| {
            assert!([&*a, &*b].iter().all(|buffer| buffer.as_ptr().addr() % 64 == 0));
            a.fill(1.0);
            b.fill(2.0);
            for _ in 0..2 {
                with_scratch([8], |[c]| c.fill(9.0));
            }
            a.iter().sum::<f32>() + b.iter().sum::<f32>()
        });
        assert_eq!(sum, 8.0);
    }

    #[test]
    #[should_panic(expected = "write of 2 values")]
    fn a_write_outside_the_buffer_is_refused() {
        let mut values = [0.0; 3];
        let output = SharedOutput::new(&mut values);
        // SAFETY: there is no other thread.
        unsafe { output.write(2, &[1.0, 1.0]) }
    }
}
