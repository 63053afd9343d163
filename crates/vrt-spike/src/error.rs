//! What can be wrong with a stream.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use crate::Camera;
use crate::geometry::{Geometry, GeometryError};

/// Why a stream cannot be read, written or made a picture of.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpikeError {
    /// The file system says no.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// There is something already.
    #[error("{path} exists: choose another name, or have it replaced (--overwrite)", path = .path.display())]
    Exists {
        /// Which file.
        path: PathBuf,
    },
    /// The file is no whole number of frames.
    #[error(
        "{path}: {bytes} bytes are no whole number of frames of {geometry} ({frame} bytes each){fitting}",
        path = .path.display(),
        frame = .geometry.frame_bytes(),
        fitting = fitting(*.bytes)
    )]
    Size {
        /// Which file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
        /// What was asked for.
        geometry: Geometry,
    },
    /// There is no frame.
    #[error("{path}: the stream is empty", path = .path.display())]
    Empty {
        /// Which file.
        path: PathBuf,
    },
    /// A time outside of the stream.
    #[error(
        "{path}: there is no frame {at}: the stream has {frames}, from 0 to {last}",
        path = .path.display(),
        last = .frames - 1
    )]
    Time {
        /// Which file.
        path: PathBuf,
        /// The frame that was asked for.
        at: u64,
        /// Frames of the stream.
        frames: u64,
    },
    /// An array of NumPy that is none of spikes.
    #[error("{path}: {reason}", path = .path.display())]
    Array {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody says how frames lie.
    #[error(
        "{path}: state the size of its frames (a config.yaml beside it with spike_w and spike_h \
         does, too){fitting}",
        path = .path.display(),
        fitting = fitting(*.bytes)
    )]
    NoGeometry {
        /// Which file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
    },
    /// Sizes that no frame has.
    #[error("{path}: {source}", path = .path.display())]
    Geometry {
        /// The stream, or the file that states them.
        path: PathBuf,
        /// Why not.
        source: GeometryError,
    },
    /// A side file that does not say what it should.
    #[error("{path}: {reason}", path = .path.display())]
    Config {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// More bins than frames, or none.
    #[error(
        "{path}: {frames} frames cannot be cut into {bins} bins: state 1 to {frames}",
        path = .path.display()
    )]
    Bins {
        /// Which file.
        path: PathBuf,
        /// Bins that were asked for.
        bins: usize,
        /// Frames of the stream.
        frames: u64,
    },
}

/// Which known geometries a file of this length would fit.
fn fitting(bytes: u64) -> String {
    let mut text = String::new();
    for camera in Camera::KNOWN {
        let geometry = camera.geometry();
        if let Some(frames) = geometry.frames_in(bytes).filter(|frames| *frames > 0) {
            let lead = if text.is_empty() { "; it would be" } else { " or" };
            // Writing to a text cannot fail.
            let _ = write!(text, "{lead} {frames} of {geometry}");
        }
    }
    if text.is_empty() { "; no known camera's frames fit it either".to_owned() } else { text }
}
