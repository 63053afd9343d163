//! Any bytes as a `.pth` file, and as the index of one.

#![no_main]

use std::io::{Cursor, Write};

use libfuzzer_sys::fuzz_target;
use zip::CompressionMethod::Stored;
use zip::write::{SimpleFileOptions, ZipWriter};

mod open;

fuzz_target!(|data: &[u8]| {
    open::bytes(data);
    open::bytes(&archive(data));
});

/// An archive with `index` for its index and eight values in its only storage.
fn archive(index: &[u8]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(Stored);
    for (name, bytes) in [("x/data.pkl", index), ("x/data/0", &[0; 32])] {
        archive.start_file(name, options).expect("an entry");
        archive.write_all(bytes).expect("memory");
    }
    archive.finish().expect("memory").into_inner()
}
