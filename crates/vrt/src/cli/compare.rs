//! `vrt compare`: clips beside each other, in a video or in a page.

use std::io::{self, IsTerminal};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use vrt::compare::{
    Clip, CompareOptions, CompareReport, Form, Layout, PageOptions, PictureForm, compare,
};
use vrt_video::{JpegQuality, Programs};

use super::stop::stop_on_signals;
use super::table::Table;
use super::values::Rate;
use super::{Failure, GlobalOptions, output};

/// Frames of a page, if nothing else is said.
const PAGE_FRAMES: NonZeroUsize = NonZeroUsize::new(24).expect("24 is not 0");

/// Megabytes of pictures in a page, if nothing else is said.
const PAGE_MEGABYTES: u64 = 64;

/// The most of them: browsers hold no text of more than 2²⁹ letters, and the pictures are one.
const MOST_MEGABYTES: u64 = 500;

/// The most frames of a page.
const MOST_FRAMES: i64 = 100_000;

/// Bytes of a megabyte.
const MEGABYTE: u64 = 1_000_000;

/// Extensions of pages.
const PAGE_EXTENSIONS: [&str; 2] = ["html", "htm"];

const HELP: &str = "\
Clips are videos, folders of pictures or .y4m files, compared frame by frame. OUT.html is a page \
for a browser that needs nothing beside itself: two clips under a line to drag, zoom, frame by \
frame; with --truth also PSNR and SSIM of every frame, as vrt eval has them. Any other OUT is a \
video (or folder, or .y4m) with the rate and sound of the first clip.

Smaller clips of one aspect ratio are enlarged by repeating pixels. The frames that all clips have \
are compared.

Examples:
  vrt compare blurred.mp4 restored.mp4 -o look.html
  vrt compare input/ mine/ theirs/ -o look.html --truth sharp/ --names input,mine,theirs
  vrt compare blurred.mp4 restored.mp4 -o wipe.mp4 --layout wipe";

/// Flags of `vrt compare`.
#[derive(Args, Clone, Debug)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// Clips: two or more, or one and a truth
    #[arg(value_name = "CLIP", required = true)]
    clips: Vec<PathBuf>,
    /// Where to write: a page (.html), or a video
    #[arg(long, short, value_name = "OUT")]
    output: PathBuf,
    /// The truth, which clips of its size get scores beside
    #[arg(long, value_name = "CLIP")]
    truth: Option<PathBuf>,
    /// Names of the clips, with commas between them [default: file names]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    names: Option<Vec<String>>,
    /// Videos: where the clips are [default: side]
    #[arg(long, value_enum, value_name = "NAME")]
    layout: Option<LayoutName>,
    /// Videos: frames per second, where no clip states any [default: 25]
    #[arg(long, value_name = "RATE")]
    fps: Option<Rate>,
    /// Pages: at most so many frames, evenly spaced [default: 24]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MOST_FRAMES))]
    frames: Option<u32>,
    /// Pages: at most so many megabytes of pictures; frames are left out beyond [default: 64]
    #[arg(
        long,
        value_name = "MB",
        value_parser = clap::value_parser!(u64).range(1..=MOST_MEGABYTES)
    )]
    max_mb: Option<u64>,
    /// Pages: store pictures as PNG, bit for bit, instead of JPEG
    #[arg(long)]
    lossless: bool,
    /// Replace the output if it exists
    #[arg(long)]
    overwrite: bool,
}

/// Names of [`Layout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LayoutName {
    /// One beside the other, the truth last
    Side,
    /// Two in one place, divided by a line that moves across while the clip lasts
    Wipe,
}

impl From<LayoutName> for Layout {
    fn from(name: LayoutName) -> Self {
        match name {
            LayoutName::Side => Self::Side,
            LayoutName::Wipe => Self::Wipe,
        }
    }
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, global: &GlobalOptions) -> Result<(), Failure> {
    let Arguments { output, truth, overwrite, .. } = arguments;
    let options = CompareOptions {
        form: form(arguments)?,
        overwrite: *overwrite,
        stop: stop_on_signals()?,
        programs: Programs::default(),
    };
    let clips = clips(arguments)?;
    let bar = bar(global);
    let report = compare(&clips, truth.as_deref(), output, &options, &mut |done, total| {
        if let Some(total) = total {
            bar.set_length(total);
        }
        bar.set_position(done);
    });
    bar.finish_and_clear();
    let report = report?;
    for note in report.notes.iter().filter(|_| !global.quiet) {
        output::message(&format!("note: {note}"));
    }
    if global.json {
        return Ok(output::json(&report)?);
    }
    Ok(output::result(&in_words(&report))?)
}

/// What the name of the output asks for, once the flags fit it.
fn form(arguments: &Arguments) -> Result<Form, Failure> {
    let Arguments { output, layout, fps, frames, max_mb, lossless, .. } = arguments;
    let usage = |text: String| Err(Failure::Usage(text));
    if output == Path::new("-") {
        return usage("results go to standard output; write the comparison to a file".to_owned());
    }
    let extension = output.extension().and_then(|extension| extension.to_str());
    let extension = extension.map(str::to_ascii_lowercase).unwrap_or_default();
    let is_page = PAGE_EXTENSIONS.contains(&extension.as_str());
    let of_videos = [("--layout", layout.is_some()), ("--fps", fps.is_some())];
    let of_pages =
        [("--frames", frames.is_some()), ("--max-mb", max_mb.is_some()), ("--lossless", *lossless)];
    let given = |flags: &[(&'static str, bool)]| flags.iter().find(|(_, given)| *given).copied();
    match (is_page, given(&of_videos), given(&of_pages)) {
        (true, Some((flag, _)), _) => return usage(format!("{flag} is for videos, not for pages")),
        (false, _, Some((flag, _))) => {
            return usage(format!("{flag} is for pages: an output that ends in .html"));
        }
        _ => {}
    }
    if !is_page {
        let layout = layout.unwrap_or(LayoutName::Side).into();
        return Ok(Form::Video { layout, rate: fps.map(|Rate(ratio)| ratio) });
    }
    Ok(Form::Page(PageOptions {
        frames: frames.and_then(|most| NonZeroUsize::new(most as usize)).unwrap_or(PAGE_FRAMES),
        max_bytes: max_mb.unwrap_or(PAGE_MEGABYTES) * MEGABYTE,
        picture: match lossless {
            true => PictureForm::Png,
            false => PictureForm::Jpeg(JpegQuality::FINE),
        },
    }))
}

/// The clips with their names.
fn clips(arguments: &Arguments) -> Result<Vec<Clip>, Failure> {
    let Arguments { clips: paths, truth, names, layout, .. } = arguments;
    let given = paths.len();
    if given + usize::from(truth.is_some()) < 2 {
        return Err(Failure::Usage("state two clips, or one and its --truth".to_owned()));
    }
    if given > 2 && *layout == Some(LayoutName::Wipe) {
        return Err(Failure::Usage(format!("a wipe shows two clips; {given} are given")));
    }
    let names = match names {
        None => default_names(paths),
        Some(names) if names.len() == given => names.clone(),
        Some(names) => {
            let text = format!("--names has {} names, but there are {given} clips", names.len());
            return Err(Failure::Usage(text));
        }
    };
    let clips = paths.iter().zip(names);
    Ok(clips.map(|(path, name)| Clip { path: path.clone(), name }).collect())
}

/// File names, or whole paths where two of them are the same.
fn default_names(paths: &[PathBuf]) -> Vec<String> {
    let file_name = |path: &PathBuf| {
        let name = path.file_name().unwrap_or(path.as_os_str());
        name.to_string_lossy().into_owned()
    };
    let names: Vec<String> = paths.iter().map(file_name).collect();
    let twice = |name: &String| names.iter().filter(|other| *other == name).count() > 1;
    let names = paths.iter().zip(&names);
    names
        .map(|(path, name)| if twice(name) { path.display().to_string() } else { name.clone() })
        .collect()
}

fn bar(global: &GlobalOptions) -> ProgressBar {
    match global.json || global.quiet || !io::stderr().is_terminal() {
        true => ProgressBar::hidden(),
        false => ProgressBar::no_length(),
    }
}

fn in_words(report: &CompareReport) -> String {
    let CompareReport { output, frames, shown, clips, .. } = report;
    let place = output.display();
    let line = match shown == frames {
        true => format!("{frames} frames, in {place}"),
        false => format!("{frames} frames, {shown} of them in {place}"),
    };
    if clips.iter().all(|clip| clip.mean.is_none()) {
        return line;
    }
    let mut table = Table::new(["clip", "size", "PSNR", "SSIM", "PSNR-Y", "SSIM-Y"]);
    for clip in clips {
        let size = format!("{}×{}", clip.width, clip.height);
        let scores = match clip.mean {
            None => ["–"; 4].map(str::to_owned),
            Some(mean) => {
                let decibels = |value: f64| format!("{value:.4}");
                let share = |value: f64| format!("{value:.6}");
                [decibels(mean.psnr), share(mean.ssim), decibels(mean.psnr_y), share(mean.ssim_y)]
            }
        };
        table.row([clip.name.clone(), size].into_iter().chain(scores));
    }
    format!("{table}{line}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clips_are_called_by_their_files_unless_that_says_nothing() {
        let names = |paths: &[&str]| {
            default_names(&paths.iter().map(PathBuf::from).collect::<Vec<_>>()).join(" ")
        };
        assert_eq!(names(&["x/a.mp4", "y/b.mp4", "frames/"]), "a.mp4 b.mp4 frames");
        assert_eq!(names(&["x/a.mp4", "y/a.mp4", "b"]), "x/a.mp4 y/a.mp4 b");
        assert_eq!(names(&["..", "."]), ".. .");
    }
}
