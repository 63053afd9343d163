//! What goes wrong with frames, for a person.

use std::io;
use std::path::PathBuf;

/// Why frames could not be read or written: which file, which frame, and what to do.
///
/// Frames are counted from 0.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VideoError {
    /// A video file, or the ffmpeg that reads and writes it.
    #[error(transparent)]
    Ffmpeg(#[from] crate::FfmpegError),
    /// A stream of spikes.
    #[error(transparent)]
    Spikes(#[from] vrt_spike::SpikeError),
    /// A file or folder cannot be opened or read.
    #[error("{path:?} cannot be read: {source}")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A folder without a single picture.
    #[error("{path:?} holds no picture; frames are PNG, JPEG, TIFF, WebP or BMP files in it")]
    NoPictures {
        /// The folder.
        path: PathBuf,
    },
    /// A path of clips with two stars.
    #[error("{path:?} has two stars: one stands for the clip, whatever its depth; take one out")]
    TwoStars {
        /// The path.
        path: PathBuf,
    },
    /// Two pictures of a folder differ only in the extension.
    #[error("{first:?} and {second:?} are two frames of one name; keep one of them in this folder")]
    SameName {
        /// One of them.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// A picture cannot be decoded.
    #[error(
        "the picture {path:?} (frame {frame}) cannot be decoded: {reason}; replace it or take it \
         out of the folder"
    )]
    Picture {
        /// The file.
        path: PathBuf,
        /// Its place in the folder.
        frame: u64,
        /// What the decoder says.
        reason: String,
    },
    /// The pictures of a folder are not of one size.
    #[error(
        "the frames differ in size: {first:?} is {}×{}, {other:?} is {}×{}; one clip has one size: \
         scale or crop them, or put them into folders of their own",
        first_size.0, first_size.1, other_size.0, other_size.1
    )]
    MixedSizes {
        /// The first picture.
        first: PathBuf,
        /// Its width and height.
        first_size: (usize, usize),
        /// The first picture of another size.
        other: PathBuf,
        /// Its width and height.
        other_size: (usize, usize),
    },
    /// What should be written is there already.
    #[error("{path:?} exists already; state another name, or ask for it to be overwritten")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The folder to write to holds something already.
    #[error(
        "the folder {path:?} is not empty; state another one, empty it, or ask for frames in it to be \
         overwritten (--overwrite, where a command has it)"
    )]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// The output cannot be begun.
    #[error("{path:?} cannot be written: {source}")]
    Create {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A frame cannot be written.
    #[error(
        "frame {frame} cannot be written to {path:?}: {source}; the {frame} frames before it are \
         whole"
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// Frames written before it, all of them whole.
        frame: u64,
        /// What the system says.
        source: io::Error,
    },
    /// A frame does not fit the output that was begun.
    #[error(
        "{path:?}: frame {frame} is {got}, but {expected} was expected (width×height×channels)"
    )]
    FrameShape {
        /// The output.
        path: PathBuf,
        /// Frames written before it.
        frame: u64,
        /// The frame's size.
        got: String,
        /// What fits.
        expected: String,
    },
    /// More than one frame for one picture file.
    #[error("{path:?} takes one frame; state a folder or a video file for more")]
    OnePicture {
        /// The picture.
        path: PathBuf,
    },
    /// The head of a YUV4MPEG2 stream is wrong, or asks for what is not handled.
    #[error("{path:?} is not a YUV4MPEG2 stream that can be read: {reason}")]
    Y4mHeader {
        /// The file, or `standard input`.
        path: PathBuf,
        /// What is wrong and what would do.
        reason: String,
    },
    /// A frame of a YUV4MPEG2 stream cannot be read.
    #[error("{path:?} cannot be read on after {frame} whole frames: {reason}")]
    Y4mFrame {
        /// The file, or `standard input`.
        path: PathBuf,
        /// The frame that failed: as many were delivered before it.
        frame: u64,
        /// What is wrong.
        reason: String,
    },
    /// Two pictures that should be compared are not of one size.
    #[error(
        "only pictures of one size can be compared: the truth is {truth}, the other {output} \
         (width×height×channels)"
    )]
    Compare {
        /// The truth's size.
        truth: String,
        /// The other's size.
        output: String,
    },
    /// A picture is smaller than the window of SSIM.
    #[error("SSIM needs pictures of at least {least}×{least} pixels, this one is {width}×{height}")]
    TooSmallForSsim {
        /// Rows and columns of the window.
        least: usize,
        /// Columns of the picture.
        width: usize,
        /// Rows of the picture.
        height: usize,
    },
    /// A clip has fewer frames than are averaged.
    #[error("the clip {path:?} has {frames} frames, and means of {needed} were asked for")]
    ShortClip {
        /// The clip's folder.
        path: PathBuf,
        /// Its frames.
        frames: usize,
        /// Frames of a mean.
        needed: usize,
    },
    /// Clips or frames of one tree have no counterpart in the other.
    #[error(
        "{truth:?} and {input:?} do not fit together: {}; both need the same clips (folders) and \
         frames (file names)",
        missing.join("; ")
    )]
    Unpaired {
        /// The tree with the truth.
        truth: PathBuf,
        /// The tree that is compared with it.
        input: PathBuf,
        /// What is missing where, one entry a clip.
        missing: Vec<String>,
    },
}

/// `width×height×channels` of a frame, as errors state it.
pub(crate) fn shape_of(frame: &crate::Frame) -> String {
    format!("{}×{}×{}", frame.width(), frame.height(), frame.channels())
}
