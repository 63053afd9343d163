//! Any bytes as a YUV4MPEG2 stream.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use vrt_video::{FrameSource, Y4mOptions, Y4mSource};

/// Frames of a stream that are read: small ones can be many.
const FRAMES: usize = 4;

fuzz_target!(|data: &[u8]| {
    let Ok(mut source) = Y4mSource::new(data, Path::new("stdin"), Y4mOptions::default()) else {
        return;
    };
    for _ in 0..FRAMES {
        let Ok(Some(_)) = source.next_frame() else { return };
    }
});
