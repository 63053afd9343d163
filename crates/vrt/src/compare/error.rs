//! What goes wrong between clips.

use std::io;
use std::path::PathBuf;

use vrt_video::{Frame, VideoError, Written};

/// Why clips could not be compared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// A clip cannot be read, or the output not be written.
    #[error(transparent)]
    Video(#[from] VideoError),
    /// Too few clips, or too many for a layout.
    #[error("{given} clips are given; {needed}")]
    Count {
        /// How many clips there are.
        given: usize,
        /// What would do.
        needed: &'static str,
    },
    /// Two clips of different shape.
    #[error(
        "{first:?} is {}×{}, {other:?} is {}×{}: clips of one aspect ratio can be compared; crop or \
         scale one of them", first_size.0, first_size.1, other_size.0, other_size.1
    )]
    Aspect {
        /// One clip.
        first: PathBuf,
        /// Its width and height.
        first_size: (usize, usize),
        /// The other clip.
        other: PathBuf,
        /// Its width and height.
        other_size: (usize, usize),
    },
    /// Two clips of different speed.
    #[error(
        "{first:?} has {first_rate:.3} frames a second, {other:?} {other_rate:.3}: their frames do \
         not show the same moments; bring them to one rate, or take frames of one out"
    )]
    Rates {
        /// One clip.
        first: PathBuf,
        /// Its frames per second.
        first_rate: f64,
        /// The other clip.
        other: PathBuf,
        /// Its frames per second.
        other_rate: f64,
    },
    /// The pictures of a video would be too large.
    #[error(
        "the comparison would be {width}×{height}; {} pixels are the most, compare fewer clips",
        Frame::MAX_PIXELS
    )]
    TooLarge {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
    },
    /// No clip holds a frame, or one of them holds none.
    #[error("{path:?} holds no frame")]
    NoFrame {
        /// The clip.
        path: PathBuf,
    },
    /// The output would replace a clip while it is read.
    #[error("{path:?} is one of the clips and the output; state another output")]
    SameFile {
        /// The file or folder.
        path: PathBuf,
    },
    /// The output would change a clip while it is read.
    #[error(
        "the output {output:?} would lie among pictures of {clip:?}, and could replace them; state \
         another output"
    )]
    Entangled {
        /// The picture or folder.
        output: PathBuf,
        /// The clip.
        clip: PathBuf,
    },
    /// A page cannot be written.
    #[error("the page {path:?} cannot be written: {source}")]
    Page {
        /// The page.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A picture cannot be stored in a page.
    #[error("frame {frame} of {path:?} cannot be stored in a page: {source}")]
    Store {
        /// The clip.
        path: PathBuf,
        /// Its frame, counted from 0.
        frame: u64,
        /// Why.
        source: io::Error,
    },
    /// Not even one frame of each clip fits into a page.
    #[error(
        "one frame of each clip takes {needed} bytes in a page, where {allowed} are allowed; allow \
         more (--max-mb), or compare fewer clips"
    )]
    NoRoom {
        /// Bytes of one frame of each clip.
        needed: u64,
        /// Bytes that may be taken.
        allowed: u64,
    },
    /// A frame cannot be compared with the truth.
    #[error("{clip:?}, frame {frame}: {source}")]
    Score {
        /// The clip.
        clip: PathBuf,
        /// The frame, counted from 0.
        frame: u64,
        /// Why.
        source: VideoError,
    },
    /// Somebody ended the run.
    #[error("stopped after {frames} frames: {}", left_in_words(.written.as_ref()))]
    Stopped {
        /// Frames that were compared.
        frames: u64,
        /// What is whole.
        written: Option<Written>,
    },
    /// A clip failed after frames had been written.
    #[error("{cause}; {}", kept_in_words(.written))]
    Partial {
        /// Why it failed.
        cause: Box<Self>,
        /// What is whole.
        written: Written,
    },
    /// A clip failed, and what was written could not be completed.
    #[error("{first}; besides, what was written could not be completed: {second}")]
    Both {
        /// Why it failed.
        first: Box<Self>,
        /// What went wrong with the output then.
        second: Box<Self>,
    },
}

impl CompareError {
    /// This error, with what is left of an output that was stopped because of it.
    pub(super) fn keeping(self, stopped: Result<Option<Written>, Self>) -> Self {
        match stopped {
            Ok(Some(written)) => Self::Partial { cause: Box::new(self), written },
            Ok(None) => self,
            Err(second) => Self::Both { first: Box::new(self), second: Box::new(second) },
        }
    }
}

fn kept_in_words(written: &Written) -> String {
    let frames = match written.frames {
        1 => "1 frame is".to_owned(),
        frames => format!("{frames} frames are"),
    };
    match &written.path {
        Some(path) => format!("{frames} whole, in {path:?}"),
        None => format!("{frames} written"),
    }
}

fn left_in_words(written: Option<&Written>) -> String {
    match written.and_then(|written| written.path.as_ref()) {
        Some(path) => format!("they are in {path:?}"),
        None => "nothing is written".to_owned(),
    }
}
