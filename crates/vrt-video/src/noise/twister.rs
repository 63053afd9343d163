//! The 32-bit Mersenne twister (Matsumoto and Nishimura 1998).

/// Words of state.
const LEN: usize = 624;

/// Distance of the word that is mixed in.
const MIDDLE: usize = 397;

/// A generator whose sequence the seed settles, on every machine.
#[derive(Clone)]
pub(super) struct Twister {
    state: [u32; LEN],
    given: usize,
}

impl std::fmt::Debug for Twister {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Twister").field("given", &self.given).finish_non_exhaustive()
    }
}

impl Twister {
    pub(super) fn new(seed: u32) -> Self {
        let mut state = [seed; LEN];
        for at in 1..LEN {
            let last = state[at - 1];
            state[at] = (last ^ (last >> 30)).wrapping_mul(1_812_433_253).wrapping_add(at as u32);
        }
        Self { state, given: LEN }
    }

    fn turn(&mut self) {
        for at in 0..LEN {
            let pair = (self.state[at] & 0x8000_0000) | (self.state[(at + 1) % LEN] & 0x7fff_ffff);
            let twist = if pair & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[at] = self.state[(at + MIDDLE) % LEN] ^ (pair >> 1) ^ twist;
        }
        self.given = 0;
    }

    /// 32 random bits.
    pub(super) fn next(&mut self) -> u32 {
        if self.given == LEN {
            self.turn();
        }
        let mut word = self.state[self.given];
        self.given += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    /// A number in 0…1 without 1, of the 24 bits that `f32` holds.
    pub(super) fn next_uniform(&mut self) -> f32 {
        (self.next() & 0x00ff_ffff) as f32 / 16_777_216.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_that_of_the_cpp_standard() {
        // [rand.predef]: the 10000th number of a default mt19937, whose seed is 5489.
        let mut twister = Twister::new(5489);
        let last = (0..10_000).map(|_| twister.next()).last();
        assert_eq!(last, Some(4_123_659_995));
    }

    #[test]
    fn uniform_numbers_never_reach_one() {
        let mut twister = Twister::new(1);
        let numbers: Vec<f32> = (0..4000).map(|_| twister.next_uniform()).collect();
        assert!(numbers.iter().all(|number| (0.0..1.0).contains(number)));
        let mean = numbers.iter().sum::<f32>() / 4000.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
    }
}
