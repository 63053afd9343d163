//! Compares clips frame by frame: side by side in a video, or in a page for a browser.
//!
//! ```text
//! clips, truth ─► reel: one frame of each ─► scores beside the truth
//!                                   └─────► montage ─► FrameSink     (a video)
//!                                   └─────► album ─► page            (one file of HTML)
//! ```
//!
//! Frame *n* of one clip is shown with frame *n* of the others. Frames are read one by one; a page
//! is held in memory until its pictures are chosen, and is as large as its options allow.

mod album;
mod error;
mod letters;
mod montage;
mod page;
mod reel;
mod scoring;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;
use vrt_video::{FrameScore, JpegQuality, Programs, Ratio, Scores, Written, is_picture};

pub use error::CompareError;

use montage::VideoMaker;
use page::PageMaker;
use reel::{Moment, Reel};
use scoring::Scorer;

/// What the truth is called among the clips of a page.
const TRUTH: &str = "truth";

/// A clip and what it is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clip {
    /// What [`vrt_video::open`] takes.
    pub path: PathBuf,
    /// For people: any text.
    pub name: String,
}

/// How clips are compared.
#[derive(Clone, Debug)]
pub struct CompareOptions {
    /// What is made.
    pub form: Form,
    /// Replace what is there.
    pub overwrite: bool,
    /// Ends the run early when it is set.
    pub stop: Arc<AtomicBool>,
    /// Where ffmpeg and ffprobe are.
    pub programs: Programs,
}

/// What a comparison becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// What [`vrt_video::create`] makes of the output's name.
    Video {
        /// Where the clips are in it.
        layout: Layout,
        /// Frames per second where no clip states any; 25 if this is `None`, too.
        rate: Option<Ratio>,
    },
    /// A page for a browser that needs nothing beside itself.
    Page(PageOptions),
}

/// Where the clips are in a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One beside the other.
    Side,
    /// Two in one place: the first one left of a line that moves across while the clip lasts.
    Wipe,
}

/// What a page holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageOptions {
    /// At most this many frames of each clip, evenly spaced.
    pub frames: NonZeroUsize,
    /// At most this many bytes of pictures, as they are written in the page.
    pub max_bytes: u64,
    /// How they are stored.
    pub picture: PictureForm,
}

/// How pictures are stored in a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureForm {
    /// JPEG.
    Jpeg(JpegQuality),
    /// PNG, which changes nothing.
    Png,
}

/// What was compared.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CompareReport {
    /// The file that was written, or folder.
    pub output: PathBuf,
    /// Frames that all clips have.
    pub frames: u64,
    /// Frames that are in the output.
    pub shown: u64,
    /// In the order they were given in.
    pub clips: Vec<ClipReport>,
    /// What a person should know: other lengths, frames left out.
    pub notes: Vec<String>,
}

/// What was found about a clip.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClipReport {
    /// What it is called.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Means over the frames, if there is a truth of this size.
    pub mean: Option<Scores>,
    /// Scores of each frame, likewise.
    pub frames: Vec<FrameScore>,
}

/// What is made of the frames.
trait Maker {
    /// Takes the next frame of each clip.
    fn take(&mut self, moment: &Moment) -> Result<(), CompareError>;

    /// Completes the output.
    fn finish(self: Box<Self>, found: &Findings<'_>) -> Result<Made, CompareError>;

    /// Completes what there is of an output that was stopped, if that is of use.
    fn stop(self: Box<Self>) -> Result<Option<Written>, CompareError>;
}

/// What was found about the clips.
struct Findings<'a> {
    /// With the truth behind them, if there is one.
    clips: &'a [ClipReport],
    /// Frames that all of them have.
    frames: u64,
    notes: &'a [String],
}

/// What has been made.
struct Made {
    shown: u64,
    notes: Vec<String>,
}

/// Compares `clips` frame by frame, with scores beside `truth` where there is one, and writes
/// `output`; `on_frame` hears how many frames are done, and of how many where that is known.
///
/// Clips of different size are shown at the size of the largest. Only clips of the truth's size
/// get scores, which are those of [`vrt_video::score`].
///
/// # Errors
///
/// If a clip cannot be read, sizes or frame rates do not fit together, or the output is there
/// already, is one of the clips, would replace pictures of them, or cannot be written. What was
/// written of a video before a clip failed stays, and the error says where.
pub fn compare(
    clips: &[Clip],
    truth: Option<&Path>,
    output: &Path,
    options: &CompareOptions,
    on_frame: &mut dyn FnMut(u64, Option<u64>),
) -> Result<CompareReport, CompareError> {
    let truth = truth.map(|path| Clip { path: path.to_path_buf(), name: TRUTH.to_owned() });
    let all: Vec<Clip> = clips.iter().chain(&truth).cloned().collect();
    refuse_same(&all, output)?;
    if let Form::Page(_) = options.form {
        page::refuse_existing(output, options.overwrite)?;
    }
    let mut reel = Reel::open(&all, &options.programs)?;
    let mut scorer = Scorer::new(&reel.sizes(), truth.is_some());
    let mut maker = maker(&reel, clips.len(), output, options)?;
    let mut frames = 0;
    loop {
        let moment = match next_scored(&mut reel, &mut scorer, &all) {
            Ok(Some(moment)) => moment,
            Ok(None) => break,
            Err(cause) => return Err(cause.keeping(maker.stop())),
        };
        if options.stop.load(Ordering::Relaxed) {
            return Err(CompareError::Stopped { frames, written: maker.stop()? });
        }
        maker.take(&moment)?;
        frames += 1;
        on_frame(frames, reel.total());
    }
    if frames == 0 {
        return Err(CompareError::NoFrame { path: reel.ended_first().path.clone() });
    }
    let mut notes = reel.notes(frames);
    notes.extend(scorer.notes(&all));
    let mut reports = scorer.reports(&all, &reel.sizes());
    let made = maker.finish(&Findings { clips: &reports, frames, notes: &notes })?;
    notes.extend(made.notes);
    reports.truncate(clips.len());
    let output = output.to_path_buf();
    Ok(CompareReport { output, frames, shown: made.shown, clips: reports, notes })
}

/// The next frame of each clip, once it is scored.
fn next_scored(
    reel: &mut Reel,
    scorer: &mut Scorer,
    clips: &[Clip],
) -> Result<Option<Moment>, CompareError> {
    let moment = reel.next()?;
    if let Some(moment) = &moment {
        scorer.score(moment, clips)?;
    }
    Ok(moment)
}

/// What makes the output; the first `compared` clips of the reel are not the truth.
fn maker(
    reel: &Reel,
    compared: usize,
    output: &Path,
    options: &CompareOptions,
) -> Result<Box<dyn Maker>, CompareError> {
    Ok(match options.form {
        Form::Video { layout, rate } => {
            Box::new(VideoMaker::begin(reel, compared, output, (layout, rate), options)?)
        }
        Form::Page(page) => Box::new(PageMaker::new(reel, output, page, options.overwrite)),
    })
}

/// An output that replaces a clip, or pictures of one, would destroy what it is made of.
fn refuse_same(clips: &[Clip], output: &Path) -> Result<(), CompareError> {
    // Where there is no folder to write into, nothing can be lost.
    let Some(target) = resolved(output) else {
        return Ok(());
    };
    for Clip { path, .. } in clips {
        let Ok(clip) = path.canonicalize() else {
            continue;
        };
        if clip == target {
            return Err(CompareError::SameFile { path: path.clone() });
        }
        let into_clip = clip.is_dir() && is_picture(&target) && target.parent() == Some(&clip);
        let over_clip = target.is_dir() && is_picture(&clip) && clip.parent() == Some(&target);
        if into_clip || over_clip {
            let (output, clip) = (output.to_path_buf(), path.clone());
            return Err(CompareError::Entangled { output, clip });
        }
    }
    Ok(())
}

/// Where `output` is or will be, if its folder exists.
fn resolved(output: &Path) -> Option<PathBuf> {
    if let Ok(there) = output.canonicalize() {
        return Some(there);
    }
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new(".")).canonicalize().ok()?;
    Some(folder.join(output.file_name()?))
}
