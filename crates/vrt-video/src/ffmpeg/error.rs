//! What goes wrong with video files, for a person.

use std::io;
use std::path::PathBuf;

/// Why a video file could not be read or written through ffmpeg, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FfmpegError {
    /// ffmpeg or ffprobe is not installed.
    #[error(
        "the program {program:?} was not found; video files need ffmpeg: install it \
         (Debian, Ubuntu: `apt install ffmpeg`; macOS: `brew install ffmpeg`; \
         Windows: `winget install ffmpeg`) or state where it is"
    )]
    Missing {
        /// The name or path that was tried.
        program: PathBuf,
    },
    /// The program is there and did not run.
    #[error("the program {program:?} could not be run: {source}")]
    Run {
        /// The name or path that was tried.
        program: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file holds no video that ffmpeg can read.
    #[error("{path:?} is not a video that can be read: {reason}")]
    NotVideo {
        /// The input.
        path: PathBuf,
        /// What was found instead, in ffprobe's words where it has some.
        reason: String,
    },
    /// Interlaced material.
    #[error(
        "{path:?} is interlaced (field order {field_order}): restoring needs whole frames; \
         deinterlace it first (`ffmpeg -i IN -vf bwdif -c:v libx264 -crf 10 -c:a copy OUT.mkv`), \
         or, if its pictures are whole, mark it so (`-vf setfield=prog` instead of `-vf bwdif`)"
    )]
    Interlaced {
        /// The input.
        path: PathBuf,
        /// ffprobe's word for it: `tt`, `bb`, `tb` or `bt`.
        field_order: String,
    },
    /// High dynamic range.
    #[error(
        "{path:?} is high dynamic range ({transfer}): the networks know standard range only, and \
         clipping would destroy the picture; convert it first (`ffmpeg -i IN -vf \
         zscale=t=linear:npl=100,tonemap=hable,zscale=t=bt709:m=bt709:p=bt709:r=tv,format=yuv420p10le \
         -c:v libx265 -crf 10 -c:a copy OUT.mkv`)"
    )]
    HighDynamicRange {
        /// The input.
        path: PathBuf,
        /// `smpte2084`, `arib-std-b67` or `Dolby Vision profile 5`.
        transfer: String,
    },
    /// A colour matrix that is not handled.
    #[error(
        "{path:?} has the colour matrix {matrix}, which is not handled; convert it first \
         (`ffmpeg -i IN -vf scale=out_color_matrix=bt709,setparams=colorspace=bt709 \
         -c:v libx264 -crf 10 -c:a copy OUT.mkv`)"
    )]
    Matrix {
        /// The input.
        path: PathBuf,
        /// ffprobe's name for it.
        matrix: String,
    },
    /// A frame cannot be decoded, or the file ends too early.
    #[error("{path:?} cannot be read on after {good} whole frames: {reason}")]
    Decode {
        /// The input.
        path: PathBuf,
        /// Frames delivered before.
        good: u64,
        /// ffmpeg's last words and its exit state.
        reason: String,
    },
    /// Nobody chose a codec and there is no default for the container.
    #[error(
        "{path:?}: no default video codec for this kind of file; state a codec's arguments, or use \
         .mp4, .mkv, .mov, .webm or .y4m for a video, a folder or .png for pictures"
    )]
    NoCodec {
        /// The output.
        path: PathBuf,
    },
    /// The installed ffmpeg has none of the encoders that would do.
    #[error(
        "{path:?}: the installed ffmpeg has none of the encoders {wanted}; install a complete \
         ffmpeg, or state the arguments of an encoder that it has"
    )]
    NoEncoder {
        /// The output.
        path: PathBuf,
        /// The encoders that would do.
        wanted: String,
    },
    /// The encoder ended by itself.
    #[error("{path:?} could not be encoded, {frames} frames were handed over: {reason}; {kept}")]
    Encode {
        /// The output.
        path: PathBuf,
        /// Frames handed over before.
        frames: u64,
        /// ffmpeg's last words and its exit state.
        reason: String,
        /// What is left on disk, and where.
        kept: Kept,
    },
    /// The file was finished before its first frame.
    #[error("{path:?} was not written: there was no frame")]
    NoFrames {
        /// The output.
        path: PathBuf,
    },
}

/// What an encoder that failed has left on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Nothing of use.
    Nothing,
    /// The frames encoded so far, under this name.
    Partial(PathBuf),
}

impl std::fmt::Display for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nothing => write!(f, "nothing was kept"),
            Self::Partial(path) => write!(f, "what was encoded so far is kept in {path:?}"),
        }
    }
}
