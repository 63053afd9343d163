//! AMX for tests on processors without it: what they do not know ends in a handler of the signal for
//! that, which does by hand what the instruction says. Intel's manual is what it follows
//! (Architectures Software Developer's Manual, volume 2: LDTILECFG, TILELOADD, TDPBF16PS …).
//!
//! It is as slow as it sounds, and tells nothing of speed.

use std::cell::UnsafeCell;
use std::sync::Once;

use libc::{REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
use libc::{REG_RAX, REG_RBP, REG_RBX, REG_RCX, REG_RDI, REG_RDX, REG_RIP, REG_RSI, REG_RSP};
use libc::{SA_SIGINFO, SIG_DFL, SIGILL, c_int, c_void, siginfo_t, ucontext_t};

/// Where the registers of instructions lie among those of a context, by their numbers.
const REGISTERS: [c_int; 16] = [
    REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8, REG_R9,
    REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
];

/// Rows of a tile, and values of 32 bits of a row.
const SIDE: usize = 16;

/// A thread's tiles, row by row.
struct State {
    configured: bool,
    tiles: [[u32; SIDE * SIDE]; 8],
}

thread_local! {
    static STATE: UnsafeCell<State> =
        const { UnsafeCell::new(State { configured: false, tiles: [[0; SIDE * SIDE]; 8] }) };
}

/// From now on, instructions of AMX do what they say.
pub(super) fn begin() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: zeros are a value of the type: no flags, an empty mask.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handle as *const () as usize;
        action.sa_flags = SA_SIGINFO;
        // SAFETY: the handler takes what `SA_SIGINFO` hands it.
        let set = unsafe { libc::sigaction(SIGILL, &raw const action, std::ptr::null_mut()) };
        assert_eq!(set, 0, "no handler can be set");
    });
}

extern "C" fn handle(_: c_int, _: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel hands the handler a context of the thread that it interrupts, which nobody
    // else holds.
    let context = unsafe { &mut *context.cast::<ucontext_t>() };
    let registers = &mut context.uc_mcontext.gregs;
    let at = registers[REG_RIP as usize];
    let length = STATE.with(|state| {
        // SAFETY: the handler is not interrupted by itself, and nothing else has the state.
        let state = unsafe { &mut *state.get() };
        Instruction::read(at as usize).and_then(|instruction| instruction.run(state, registers))
    });
    match length {
        Some(length) => registers[REG_RIP as usize] = at + length as i64,
        // None of these: it ends as it would without a handler.
        None => {
            // SAFETY: the default is a valid disposition.
            unsafe { libc::signal(SIGILL, SIG_DFL) };
        }
    }
}

/// An instruction with a prefix of three bytes, which all of AMX have.
struct Instruction {
    at: usize,
    /// The prefix that its last two bits stand for: none, 66, F3, F2.
    kind: u8,
    opcode: u8,
    /// Extensions of `reg`, index and `rm`, and the register of the prefix.
    extended: [u8; 3],
    second: u8,
    modrm: u8,
}

fn byte(at: usize) -> u8 {
    // SAFETY: the processor has just tried to run the instruction that these bytes belong to, or, for
    // the last few, code that follows it: `Instruction` reads no further than its operand asks.
    unsafe { std::ptr::read(at as *const u8) }
}

impl Instruction {
    fn read(at: usize) -> Option<Self> {
        let [first, second, third] = [0, 1, 2].map(|i| byte(at + i));
        // Of the map 0F38, without W.
        if first != 0xc4 || second & 0x1f != 2 || third & 0x84 != 0 {
            return None;
        }
        let extended = [7, 6, 5].map(|bit| (!second >> bit & 1) << 3);
        let (kind, second) = (third & 3, !third >> 3 & 15);
        Some(Self { at, kind, opcode: byte(at + 3), extended, second, modrm: byte(at + 4) })
    }

    fn reg(&self) -> usize {
        usize::from((self.modrm >> 3 & 7) | self.extended[0])
    }

    fn rm(&self) -> usize {
        usize::from((self.modrm & 7) | self.extended[2])
    }

    fn is_register(&self) -> bool {
        self.modrm >> 6 == 3
    }

    /// Address, what the index register adds for each row, and bytes of the instruction.
    fn memory(&self, registers: &[i64]) -> Option<(usize, usize, usize)> {
        let value = |number: usize| registers[REGISTERS[number] as usize] as usize;
        let (mode, mut end) = (self.modrm >> 6, self.at + 5);
        let (mut base, mut row) = (self.rm(), 0);
        if self.modrm & 7 == 4 {
            let sib = byte(end);
            end += 1;
            base = usize::from((sib & 7) | self.extended[2]);
            let index = usize::from((sib >> 3 & 7) | self.extended[1]);
            row = if index == 4 { 0 } else { value(index) << (sib >> 6) };
        }
        let displacement = match mode {
            0 if base & 7 == 5 => return None,
            0 => 0,
            1 => isize::from(byte(end) as i8),
            _ => i32::from_le_bytes([0, 1, 2, 3].map(|i| byte(end + i))) as isize,
        };
        end += [0, 1, 4][usize::from(mode.min(2))];
        Some((value(base).wrapping_add_signed(displacement), row, end - self.at))
    }

    /// Does what it says; its length, or `None` if it is none of those that kernels use.
    fn run(&self, state: &mut State, registers: &[i64]) -> Option<usize> {
        let registered = self.is_register();
        match (self.opcode, self.kind, registered) {
            (0x49, 0, false) => {
                let (address, _, length) = self.memory(registers)?;
                state.configure(address)?;
                Some(length)
            }
            (0x49, 0, true) => {
                state.configured = false;
                Some(5)
            }
            _ if !state.configured => None,
            (0x49, 3, true) => {
                state.tiles[self.reg()].fill(0);
                Some(5)
            }
            (0x4b, 3, false) => {
                let (address, stride, length) = self.memory(registers)?;
                for (row, values) in state.tiles[self.reg()].chunks_exact_mut(SIDE).enumerate() {
                    let from = (address + row * stride) as *const u32;
                    // SAFETY: the instruction reads these 64 bytes; whoever runs it vouches for them.
                    unsafe { from.copy_to_nonoverlapping(values.as_mut_ptr(), SIDE) };
                }
                Some(length)
            }
            (0x4b, 2, false) => {
                let (address, stride, length) = self.memory(registers)?;
                for (row, values) in state.tiles[self.reg()].chunks_exact(SIDE).enumerate() {
                    let to = (address + row * stride) as *mut u32;
                    // SAFETY: the instruction writes these 64 bytes; whoever runs it vouches for them.
                    unsafe { to.copy_from_nonoverlapping(values.as_ptr(), SIDE) };
                }
                Some(length)
            }
            (0x5c, 2, true) => {
                state.multiply(self.reg(), self.rm(), usize::from(self.second));
                Some(5)
            }
            _ => None,
        }
    }
}

impl State {
    /// Takes a configuration of eight whole tiles; nobody uses others.
    fn configure(&mut self, address: usize) -> Option<()> {
        let at = |offset: usize| byte(address + offset);
        let whole = |tile: usize| {
            let bytes = u16::from_le_bytes([at(16 + 2 * tile), at(17 + 2 * tile)]);
            (bytes, at(48 + tile)) == (64, 16)
        };
        let valid = at(0) == 1 && at(1) == 0 && (2..16).all(|offset| at(offset) == 0);
        let unused = (32..48).chain(56..64).all(|offset| at(offset) == 0);
        self.configured = valid && unused && (0..8).all(whole);
        self.tiles = [[0; SIDE * SIDE]; 8];
        self.configured.then_some(())
    }

    /// Adds to each sum the products of pairs of bfloat16, the lower halves first.
    fn multiply(&mut self, sums: usize, left: usize, right: usize) {
        let halves = |bits: u32| [f32::from_bits(bits << 16), f32::from_bits(bits & 0xffff_0000)];
        let (left, right) = (self.tiles[left], self.tiles[right]);
        for (row, sums) in self.tiles[sums].chunks_exact_mut(SIDE).enumerate() {
            for (k, right) in right.chunks_exact(SIDE).enumerate() {
                let left = halves(left[row * SIDE + k]);
                for (sum, right) in sums.iter_mut().zip(right) {
                    let right = halves(*right);
                    let first = left[0].mul_add(right[0], f32::from_bits(*sum));
                    *sum = left[1].mul_add(right[1], first).to_bits();
                }
            }
        }
    }
}
