//! Spikes of every pixel over many frames, 64 pixels at a time.
//!
//! Bit `p` of plane `k` is bit `k` of the count of pixel `p`: adding a frame to 64 counts takes a few
//! logical operations (a carry-save adder), and counts are only written out once in 255 frames.

use rayon::prelude::*;

use crate::geometry::{BitOrder, Geometry};

/// Bytes of a frame whose counts are summed by one task: its planes stay in the first-level cache.
const BLOCK: usize = 512;
const WORDS: usize = BLOCK / 8;

/// Planes of a count.
const PLANES: usize = 8;

/// Most frames that planes can count.
const MOST: usize = (1 << PLANES) - 1;

/// Frames that are added at once.
const GROUP: usize = 8;

/// What stands in for the bytes behind a frame's last whole word.
type Word = [u8; 8];

/// Bit `i` of a byte, as byte `i` of a word: the least significant bit first.
const SPREAD: [u64; 256] = spread();

const fn spread() -> [u64; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut bit = 0;
        while bit < 8 {
            table[byte] |= ((byte as u64 >> bit) & 1) << (8 * bit);
            bit += 1;
        }
        byte += 1;
    }
    table
}

/// Adds the spikes of `frames` to `sums`, which lie as the bits of a frame do.
///
/// # Panics
///
/// Panics if `frames` are no whole number of frames, or `sums` are not eight a byte of one.
pub(crate) fn count(frames: &[u8], geometry: Geometry, sums: &mut [u32]) {
    let len = geometry.frame_bytes();
    assert_eq!(frames.len() % len, 0, "{} bytes are no frames of {geometry}", frames.len());
    assert_eq!(sums.len(), 8 * len, "sums are not those of {geometry}");
    sums.par_chunks_mut(8 * BLOCK).enumerate().for_each(|(block, sums)| {
        let columns = block * BLOCK..block * BLOCK + sums.len() / 8;
        for frames in frames.chunks(MOST * len) {
            let parts: Vec<&[u8]> =
                frames.chunks_exact(len).map(|frame| &frame[columns.clone()]).collect();
            Planes::of(&parts).add_to(sums, geometry.order());
        }
    });
}

/// The counts of up to 8·[`BLOCK`] pixels.
struct Planes([[u64; WORDS]; PLANES]);

impl Planes {
    /// The counts of at most [`MOST`] parts of frames.
    fn of(parts: &[&[u8]]) -> Self {
        let mut planes = Self([[0; WORDS]; PLANES]);
        let mut groups = parts.chunks_exact(GROUP);
        for group in &mut groups {
            let parts: [_; GROUP] = std::array::from_fn(|i| group[i].as_chunks::<8>());
            let words = parts.map(|(words, _)| words);
            planes.add_group(words, 0);
            if !parts[0].1.is_empty() {
                let rests = parts.map(|(_, rest)| filled(rest));
                planes.add_group(rests.each_ref().map(std::slice::from_ref), words[0].len());
            }
        }
        for part in groups.remainder() {
            let (words, rest) = part.as_chunks::<8>();
            planes.add(words, 0);
            if !rest.is_empty() {
                planes.add(&[filled(rest)], words.len());
            }
        }
        planes
    }

    /// Adds one frame's words to the counts from word `first` on.
    fn add(&mut self, words: &[Word], first: usize) {
        for (i, word) in words.iter().enumerate() {
            self.carry(0, first + i, u64::from_le_bytes(*word));
        }
    }

    /// Adds `bits` to a plane, and what that carries to the next ones.
    #[inline(always)]
    fn carry(&mut self, from: usize, at: usize, mut bits: u64) {
        for plane in &mut self.0[from..] {
            let carried = plane[at] & bits;
            plane[at] ^= bits;
            bits = carried;
        }
    }

    /// The same for eight frames at once: seven adders, of which one carries to the planes above 4.
    fn add_group(&mut self, words: [&[Word]; GROUP], first: usize) {
        let count = words[0].len();
        let words = words.map(|words| &words[..count]);
        for i in 0..count {
            let at = first + i;
            let x = words.map(|words| u64::from_le_bytes(words[i]));
            let [ones, twos, fours] = [self.0[0][at], self.0[1][at], self.0[2][at]];
            let (ones, a) = add3(ones, x[0], x[1]);
            let (ones, b) = add3(ones, x[2], x[3]);
            let (twos, c) = add3(twos, a, b);
            let (ones, a) = add3(ones, x[4], x[5]);
            let (ones, b) = add3(ones, x[6], x[7]);
            let (twos, d) = add3(twos, a, b);
            let (fours, eights) = add3(fours, c, d);
            (self.0[0][at], self.0[1][at], self.0[2][at]) = (ones, twos, fours);
            self.carry(3, at, eights);
        }
    }

    /// Adds the counts to `sums`, one a pixel.
    fn add_to(&self, sums: &mut [u32], order: BitOrder) {
        let (bytes, _) = sums.as_chunks_mut::<8>();
        for (at, sums) in bytes.iter_mut().enumerate() {
            let (word, shift) = (at / 8, 8 * (at % 8));
            let mut counts = 0;
            for (k, plane) in self.0.iter().enumerate() {
                counts += SPREAD[(plane[word] >> shift) as usize & 255] << k;
            }
            let mut counts = counts.to_le_bytes();
            if order == BitOrder::MostFirst {
                counts.reverse();
            }
            sums.iter_mut().zip(counts).for_each(|(sum, count)| *sum += u32::from(count));
        }
    }
}

/// The sum of three bits in each place, and what it carries.
#[inline(always)]
fn add3(a: u64, b: u64, c: u64) -> (u64, u64) {
    let half = a ^ b;
    (half ^ c, (a & b) | (half & c))
}

/// A word that begins with these bytes.
fn filled(bytes: &[u8]) -> Word {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    word
}
