//! Streams of spikes in NumPy's files and beside side files: whatever they hold, reading them ends in
//! an answer.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vrt_spike::{Method, SpikeStream, Stated};

fuzz_target!(|input: (u8, &[u8], &[u8])| {
    let (kind, bytes, side_file) = input;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(["a.npy", "a.npz", "a.dat"][usize::from(kind) % 3]);
    std::fs::write(&path, bytes).expect("written");
    std::fs::write(folder.path().join("config.yaml"), side_file).expect("written");
    if let Ok(mut stream) = SpikeStream::find(&path, &Stated::default()) {
        let at = stream.frames() / 2;
        for method in [Method::Mean, Method::PLAYBACK, Method::Interval] {
            let _ = stream.intensity(method, at, 2.0);
        }
    }
});
