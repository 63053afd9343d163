//! Any bytes as a `.safetensors` file, and as the header and values of one.

#![no_main]

use libfuzzer_sys::fuzz_target;

mod open;

fuzz_target!(|data: &[u8]| {
    open::bytes(data);
    // The first line is the header: its length is right, whatever it says.
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let file = [&(end as u64).to_le_bytes()[..], data].concat();
    open::bytes(&file);
});
