//! Products of pairs of bfloat16 by AMX: registers that hold tiles of sixteen rows, and an
//! instruction that multiplies two of them.
//!
//! Blocks of 32 rows are brought together, padded to whole tiles; panels are tiles as they lie. A
//! block's product with a panel of 32 columns is four tiles of sums, which go by way of memory to
//! the output.

use std::arch::asm;
use std::cell::Cell;
use std::marker::PhantomData;

use super::{Product, Rows, Start};
use crate::element::Pair;
use crate::parallel::{Kept, with_kept};

#[cfg(all(test, target_os = "linux"))]
mod emulated;

/// Rows of a tile, and pairs, or sums, of a row of it.
const SIDE: usize = 16;
/// Rows, and columns, of a block: two tiles each.
const BLOCK: usize = 2 * SIDE;
/// Bytes of a tile's row.
const ROW_BYTES: u16 = 64;

thread_local! {
    static GATHERED: Kept<Pair> = const { Cell::new(Vec::new()) };
}

/// Whether the processor has AMX with bfloat16, and the system lets this process use it. Linux wants
/// to be asked, once. Tests play it where the processor has it not.
#[cfg(target_os = "linux")]
pub(crate) fn is_usable() -> bool {
    #[cfg(test)]
    if !has_tiles() {
        emulated::begin();
        return true;
    }
    has_tiles() && is_permitted()
}

/// Other systems are not known to keep tiles across a change of threads.
#[cfg(not(target_os = "linux"))]
pub(crate) fn is_usable() -> bool {
    false
}

#[cfg(target_os = "linux")]
pub(crate) fn has_tiles() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count, __get_cpuid_max, _xgetbv};

    const OSXSAVE: u32 = 1 << 27;
    /// AMX-BF16 and AMX-TILE.
    const AMX: u32 = 1 << 22 | 1 << 24;
    /// Configuration and data of tiles.
    const STATES: u64 = 1 << 17 | 1 << 18;
    if __get_cpuid_max(0).0 < 7 || __cpuid(1).ecx & OSXSAVE == 0 {
        return false;
    }
    // SAFETY: the system has set OSXSAVE, so that the processor has the instruction.
    let kept = unsafe { _xgetbv(0) };
    kept & STATES == STATES && __cpuid_count(7, 0).edx & AMX == AMX
}

/// Asks Linux to keep tiles for this process.
#[cfg(target_os = "linux")]
fn is_permitted() -> bool {
    const ARCH_PRCTL: usize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const XTILEDATA: usize = 18;
    let mut result = ARCH_PRCTL;
    // SAFETY: the call reads and writes no memory of this process; kernels that do not know it, or
    // refuse, say so in the result. The kernel changes `rcx` and `r11`.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XTILEDATA,
            out("rcx") _,
            out("r11") _,
            options(nostack),
        );
    }
    result == 0
}

/// What `ldtilecfg` reads.
#[repr(C, align(64))]
struct Configuration {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Eight whole tiles.
static WHOLE: Configuration = Configuration {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [
        ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES, ROW_BYTES, 0,
        0, 0, 0, 0, 0, 0, 0,
    ],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// This thread has eight whole tiles until it is dropped.
struct Tiles {
    // Belongs to the thread that made it.
    _not_send: PhantomData<*const ()>,
}

impl Tiles {
    #[target_feature(enable = "avx512f")]
    fn configure() -> Self {
        // SAFETY: `multiply`, the only caller, runs where AMX may be used; the configuration is 64
        // bytes that the instruction accepts.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const WHOLE, options(nostack, readonly)) };
        Self { _not_send: PhantomData }
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: as in `configure`; nobody else's tiles are in use on this thread.
        unsafe { asm!("tilerelease", options(nostack, nomem)) };
    }
}

/// As [`multiply`](super::multiply), where AMX [is usable](is_usable).
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
pub(super) fn multiply(product: Product<'_, Pair>, out: &mut [f32], stride: usize) {
    let Product { rows, right, .. } = product;
    let depth = rows.parts * rows.part_len;
    assert!(
        depth > 0 && right.sizes.depth.div_ceil(2) == depth && right.sizes.width == BLOCK,
        "product: rows of {depth} pairs and a right matrix of {:?}",
        right.sizes
    );
    let padded = depth.next_multiple_of(SIDE);
    let _tiles = Tiles::configure();
    with_kept(&GATHERED, [BLOCK * padded], |[gathered]| {
        for first in (0..rows.count).step_by(BLOCK) {
            let count = BLOCK.min(rows.count - first);
            gather(&rows, [first, count], padded, gathered);
            for (index, panel) in right.panels.chunks_exact(depth * BLOCK).enumerate() {
                let mut sums = Sums([0.0; BLOCK * BLOCK]);
                multiply_block(gathered, panel, &mut sums);
                let (column, columns) = right.sizes.panel_columns(index);
                let place = Place { row: first, rows: count, column, columns };
                put(&sums, &product, place, out, stride);
            }
        }
    });
}

/// Brings rows together, zeros behind each.
#[inline(always)]
fn gather(rows: &Rows<'_, Pair>, [first, count]: [usize; 2], padded: usize, gathered: &mut [Pair]) {
    let starts: [usize; BLOCK] = rows.starts(first, count);
    let depth = rows.parts * rows.part_len;
    for (row, start) in gathered.chunks_exact_mut(padded).zip(starts) {
        let (inside, beyond) = row.split_at_mut(depth);
        for (part, to) in inside.chunks_exact_mut(rows.part_len).enumerate() {
            to.copy_from_slice(&rows.values[start + part * rows.part_stride..][..rows.part_len]);
        }
        beyond.fill(Pair::default());
    }
}

/// Sums of a block, row by row.
#[repr(align(64))]
struct Sums([f32; BLOCK * BLOCK]);

/// Rows of a panel behind its last whole tile, and zeros.
#[repr(align(64))]
struct Tail([Pair; SIDE * BLOCK]);

/// Multiplies gathered rows, of whole tiles, with a panel of as many rows or, in its last tile, fewer.
#[inline(always)]
fn multiply_block(gathered: &[Pair], panel: &[Pair], sums: &mut Sums) {
    let padded = gathered.len() / BLOCK;
    let (whole, rest) = panel.as_chunks::<{ SIDE * BLOCK }>();
    let steps = whole.len() + usize::from(!rest.is_empty());
    assert!(gathered.len() == BLOCK * padded && padded == steps * SIDE);
    let mut tail = Tail([Pair::default(); SIDE * BLOCK]);
    tail.0[..rest.len()].copy_from_slice(rest);
    let sums = sums.0.as_mut_ptr();
    let ends = if rest.is_empty() { std::ptr::null() } else { tail.0.as_ptr() };
    // SAFETY: the caller's caller has made sure that AMX may be used, and configured eight tiles of
    // sixteen rows of 64 bytes. Each step reads such tiles of both halves of the gathered rows, from
    // their start 64 bytes further on for every step, of which a row has as many as there are steps,
    // by the assertion above; and two of the panel, side by side in sixteen rows of 128 bytes, of
    // which there are `whole.len()`, then those of the tail. The sums are 32 rows of 128 bytes, in
    // which four tiles fit. No other memory is touched; the tiles that change are named.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "test {whole}, {whole}",
            "jz 3f",
            "2:",
            "tileloadd tmm4, [{top} + {row_bytes}*1]",
            "tileloadd tmm5, [{bottom} + {row_bytes}*1]",
            "tileloadd tmm6, [{panel} + {panel_bytes}*1]",
            "tileloadd tmm7, [{panel} + {panel_bytes}*1 + 64]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {top}, 64",
            "add {bottom}, 64",
            "add {panel}, 2048",
            "dec {whole}",
            "jnz 2b",
            "3:",
            "test {ends}, {ends}",
            "jz 4f",
            "tileloadd tmm4, [{top} + {row_bytes}*1]",
            "tileloadd tmm5, [{bottom} + {row_bytes}*1]",
            "tileloadd tmm6, [{ends} + {panel_bytes}*1]",
            "tileloadd tmm7, [{ends} + {panel_bytes}*1 + 64]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "4:",
            "tilestored [{sums} + {panel_bytes}*1], tmm0",
            "tilestored [{sums} + {panel_bytes}*1 + 64], tmm1",
            "tilestored [{lower} + {panel_bytes}*1], tmm2",
            "tilestored [{lower} + {panel_bytes}*1 + 64], tmm3",
            whole = inout(reg) whole.len() => _,
            top = inout(reg) gathered.as_ptr() => _,
            bottom = inout(reg) gathered[SIDE * padded..].as_ptr() => _,
            panel = inout(reg) panel.as_ptr() => _,
            ends = in(reg) ends,
            row_bytes = in(reg) padded * size_of::<Pair>(),
            panel_bytes = in(reg) BLOCK * size_of::<Pair>(),
            sums = in(reg) sums,
            lower = in(reg) sums.wrapping_add(SIDE * BLOCK),
            out("tmm0") _,
            out("tmm1") _,
            out("tmm2") _,
            out("tmm3") _,
            out("tmm4") _,
            out("tmm5") _,
            out("tmm6") _,
            out("tmm7") _,
            options(nostack),
        );
    }
}

/// Where a block lies in the output.
#[derive(Clone, Copy, Debug)]
struct Place {
    row: usize,
    rows: usize,
    column: usize,
    columns: usize,
}

/// Writes what a block's sums make with what the product starts from.
#[inline(always)]
fn put(sums: &Sums, product: &Product<'_, Pair>, place: Place, out: &mut [f32], stride: usize) {
    let Place { row, rows, column, columns } = place;
    let lines = sums.0.chunks_exact(BLOCK).take(rows).enumerate();
    for (i, sums) in lines {
        let out = &mut out[(row + i) * stride + column..][..columns];
        match product.start {
            Start::Output => {}
            Start::Bias if product.right.bias.is_empty() => out.fill(0.0),
            Start::Bias => out.copy_from_slice(&product.right.bias[column..][..columns]),
            Start::Matrix(values, stride) => {
                out.copy_from_slice(&values[(row + i) * stride + column..][..columns]);
            }
        }
        for (value, sum) in out.iter_mut().zip(sums) {
            *value += sum;
        }
    }
}
