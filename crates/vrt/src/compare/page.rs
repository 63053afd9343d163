//! One file of HTML with everything in it.
//!
//! The page is `page/page.html` with style, script and data put into it; names are data, which
//! neither end a script nor begin an element.

use std::fs::Permissions;
use std::io::{self, BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine};
use rayon::prelude::*;
use serde::Serialize;
use vrt_video::{BitDepth, Frame, Scores, VideoError, Written, encode_jpeg, encode_picture};

use super::album::{Album, Pictures};
use super::reel::{Moment, Reel, Size};
use super::{ClipReport, CompareError, Findings, Made, Maker, PageOptions, PictureForm};

const TEMPLATE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// Collects pictures, and writes the page in the end.
pub(super) struct PageMaker {
    output: PathBuf,
    overwrite: bool,
    options: PageOptions,
    paths: Vec<PathBuf>,
    /// Of the largest clip.
    size: Size,
    rate: Option<f64>,
    album: Album,
}

impl PageMaker {
    /// A page at `output` with the clips of `reel`.
    pub(super) fn new(reel: &Reel, output: &Path, options: PageOptions, overwrite: bool) -> Self {
        let strands = reel.strands();
        Self {
            output: output.to_path_buf(),
            overwrite,
            options,
            paths: strands.iter().map(|strand| strand.path.clone()).collect(),
            size: reel.sizes().into_iter().max().unwrap_or((1, 1)),
            rate: strands.iter().find_map(|strand| strand.rate()),
            album: Album::new(options.frames, options.max_bytes, reel.total()),
        }
    }
}

impl Maker for PageMaker {
    fn take(&mut self, moment: &Moment) -> Result<(), CompareError> {
        let frame = moment.frame;
        if !self.album.wants(frame) {
            return Ok(());
        }
        let form = self.options.picture;
        let urls = moment.pictures.par_iter().zip(&self.paths).map(|(picture, path)| {
            let stored = data_url(&picture.frame, form);
            stored.map_err(|source| CompareError::Store { path: path.clone(), frame, source })
        });
        let urls = urls.collect::<Result<_, _>>()?;
        self.album.add(Pictures { frame, urls })
    }

    fn finish(self: Box<Self>, found: &Findings<'_>) -> Result<Made, CompareError> {
        let Self { output, overwrite, options, size, rate, album, .. } = *self;
        let (pictures, crowded) = album.finish();
        let shown = pictures.len() as u64;
        let left_out = crowded.then(|| left_out_in_words(shown, found.frames, &options));
        let notes: Vec<_> = left_out.flatten().into_iter().collect();
        let facts = Facts {
            width: size.0,
            height: size.1,
            rate,
            total: found.frames,
            frames: pictures.iter().map(|it| it.frame).collect(),
            clips: found.clips.iter().map(ClipFacts::of).collect(),
            notes: notes_of_page(found, &notes, shown),
        };
        let failed = |source| CompareError::Page { path: output.clone(), source };
        let mut file = begin(&output).map_err(failed)?;
        write_page(&mut file, &facts, &pictures).map_err(failed)?;
        let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
        let named = if overwrite { file.persist(&output) } else { file.persist_noclobber(&output) };
        named.map_err(|error| failed(error.error))?;
        Ok(Made { shown, notes })
    }

    fn stop(self: Box<Self>) -> Result<Option<Written>, CompareError> {
        Ok(None)
    }
}

/// What a page lacks for want of room, of clips that have so many frames.
fn left_out_in_words(shown: u64, frames: u64, options: &PageOptions) -> Option<String> {
    let wanted = frames.min(NonZeroUsize::get(options.frames) as u64);
    let words = format!(
        "{shown} frames are in the page instead of {}: more would take over {} MB of pictures; allow \
         more with --max-mb, or state fewer --frames",
        wanted,
        options.max_bytes / 1_000_000
    );
    // Room may have been short on the way, where a clip is not as long as it says.
    (shown < wanted).then_some(words)
}

fn notes_of_page(found: &Findings<'_>, notes: &[String], shown: u64) -> Vec<String> {
    let mut all = found.notes.to_vec();
    if shown < found.frames && notes.is_empty() {
        all.push(format!("{shown} of {} frames are in this page", found.frames));
    }
    all.extend_from_slice(notes);
    all
}

/// Refuses an output that is there already.
pub(super) fn refuse_existing(output: &Path, overwrite: bool) -> Result<(), CompareError> {
    if !overwrite && output.symlink_metadata().is_ok() {
        return Err(VideoError::Exists { path: output.to_path_buf() }.into());
    }
    let failed = |source| CompareError::Page { path: output.to_path_buf(), source };
    if output.is_dir() {
        return Err(failed(io::ErrorKind::IsADirectory.into()));
    }
    // A folder that takes no file is told before the work.
    begin(output).map(drop).map_err(failed)
}

/// A hidden file beside `output`, removed again unless it is named.
fn begin(output: &Path) -> io::Result<BufWriter<tempfile::NamedTempFile>> {
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut builder = tempfile::Builder::new();
    builder.prefix(".vrt-").suffix(".html");
    if let Some(permissions) = ordinary_permissions() {
        builder.permissions(permissions);
    }
    builder.tempfile_in(folder.unwrap_or_else(|| Path::new("."))).map(BufWriter::new)
}

/// What any new file gets before the user's mask: temporary files are private otherwise.
fn ordinary_permissions() -> Option<Permissions> {
    #[cfg(unix)]
    {
        Some(std::os::unix::fs::PermissionsExt::from_mode(0o666))
    }
    #[cfg(not(unix))]
    {
        None
    }
}

/// A picture as a page holds it.
fn data_url(frame: &Frame, form: PictureForm) -> io::Result<String> {
    let (kind, bytes) = match form {
        PictureForm::Jpeg(quality) => ("jpeg", encode_jpeg(frame, quality)?),
        PictureForm::Png => ("png", encode_picture(frame, BitDepth::Eight)?),
    };
    let mut url = format!("data:image/{kind};base64,");
    BASE64_STANDARD.encode_string(bytes, &mut url);
    Ok(url)
}

/// What the script of a page is told.
#[derive(Serialize)]
struct Facts {
    width: usize,
    height: usize,
    rate: Option<f64>,
    /// Frames of the clips.
    total: u64,
    /// Those that are in the page.
    frames: Vec<u64>,
    clips: Vec<ClipFacts>,
    notes: Vec<String>,
}

#[derive(Serialize)]
struct ClipFacts {
    name: String,
    width: usize,
    height: usize,
    mean: Option<Scores>,
    /// Of every frame, in decibels; infinite ones become `null`.
    psnr: Vec<f64>,
    ssim: Vec<f64>,
}

impl ClipFacts {
    fn of(clip: &ClipReport) -> Self {
        let rounded = |value: f64, steps: f64| (value * steps).round() / steps;
        let scores = clip.frames.iter().map(|frame| frame.scores);
        Self {
            name: clip.name.clone(),
            width: clip.width,
            height: clip.height,
            mean: clip.mean,
            psnr: scores.clone().map(|scores| rounded(scores.psnr, 1e4)).collect(),
            ssim: scores.map(|scores| rounded(scores.ssim, 1e6)).collect(),
        }
    }
}

/// Writes the template with what belongs into it.
fn write_page(writer: &mut impl Write, facts: &Facts, pictures: &[Pictures]) -> io::Result<()> {
    let mut rest = TEMPLATE;
    while let Some((before, after)) = rest.split_once("{{") {
        writer.write_all(before.as_bytes())?;
        let (name, after) = after.split_once("}}").unwrap_or((after, ""));
        match name {
            "title" => writer.write_all(escaped(&title(facts)).as_bytes())?,
            "style" => writer.write_all(STYLE.trim_end().as_bytes())?,
            "script" => writer.write_all(SCRIPT.trim_end().as_bytes())?,
            "facts" => writer.write_all(script_data(facts)?.as_bytes())?,
            "pictures" => write_pictures(writer, pictures)?,
            other => return Err(io::Error::other(format!("the template names {other:?}"))),
        }
        rest = after;
    }
    writer.write_all(rest.as_bytes())?;
    writer.flush()
}

fn title(facts: &Facts) -> String {
    let names: Vec<_> = facts.clips.iter().map(|clip| clip.name.as_str()).collect();
    format!("{} – comparison", names.join(", "))
}

/// A list of lists, picture by picture.
fn write_pictures(writer: &mut impl Write, pictures: &[Pictures]) -> io::Result<()> {
    writer.write_all(b"[")?;
    for (place, moment) in pictures.iter().enumerate() {
        let comma = if place == 0 { "\n" } else { ",\n" };
        writer.write_all(comma.as_bytes())?;
        writer.write_all(script_data(&moment.urls)?.as_bytes())?;
    }
    writer.write_all(b"\n]")
}

/// JSON that can stand in a `script` element: nothing in it ends the element.
fn script_data(value: &impl Serialize) -> io::Result<String> {
    let json = serde_json::to_string(value).map_err(io::Error::other)?;
    // Outside of strings, JSON has none of these.
    Ok(json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"))
}

/// Text that can stand in HTML.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vrt_video::JpegQuality;

    use super::*;

    fn page(name: &str) -> String {
        let clip = |name: &str| ClipFacts {
            name: name.to_owned(),
            width: 4,
            height: 2,
            mean: None,
            psnr: vec![f64::INFINITY, 31.5],
            ssim: vec![1.0, 0.5],
        };
        let facts = Facts {
            width: 4,
            height: 2,
            rate: None,
            total: 2,
            frames: vec![0, 1],
            clips: vec![clip(name), clip("b")],
            notes: vec![name.to_owned()],
        };
        let frame = Frame::filled(4, 2, 3, 0.5);
        let url = data_url(&frame, PictureForm::Jpeg(JpegQuality::FINE)).unwrap();
        let moment = |frame| Pictures { frame, urls: vec![url.clone(); 2] };
        let mut page = Vec::new();
        write_page(&mut page, &facts, &[moment(0), moment(1)]).unwrap();
        String::from_utf8(page).unwrap()
    }

    /// What stands between `<script … id="NAME">` and the next end of a script.
    fn data(page: &str, name: &str) -> serde_json::Value {
        let (_, rest) = page.split_once(&format!("id=\"{name}\">")).unwrap();
        serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
    }

    #[test]
    fn a_page_needs_nothing_beside_itself() {
        let page = page("a");
        let markup = page.replace("http://www.w3.org/2000/svg", "");
        for outside in ["http:", "https:", "<link", "@import", "url(", " src=", "eval(", "{{"] {
            assert!(!markup.contains(outside), "{outside}");
        }
        assert_eq!(page.matches("</script").count(), 3);
        assert_eq!(data(&page, "pictures").as_array().unwrap().len(), 2);
        let facts = data(&page, "facts");
        assert_eq!(facts["clips"][0]["psnr"], serde_json::json!([null, 31.5]));
    }

    #[test]
    fn only_frames_that_were_wanted_are_missed() {
        let options = PageOptions {
            frames: NonZeroUsize::new(24).unwrap(),
            max_bytes: 3_000_000,
            picture: PictureForm::Png,
        };
        for (shown, frames) in [(24, 24), (24, 120), (7, 7)] {
            assert_eq!(left_out_in_words(shown, frames, &options), None, "{shown} of {frames}");
        }
        for (shown, frames, wanted) in [(23, 120, "24"), (7, 9, "9")] {
            let words = left_out_in_words(shown, frames, &options).unwrap();
            assert!(words.contains(&format!("instead of {wanted}:")), "{words}");
            assert!(words.contains("3 MB"), "{words}");
        }
    }

    #[test]
    fn pictures_come_back_from_their_urls() {
        let frame = Frame::filled(16, 8, 3, 0.25);
        for form in [PictureForm::Png, PictureForm::Jpeg(JpegQuality::FINE)] {
            let url = data_url(&frame, form).unwrap();
            let (head, text) = url.split_once(',').unwrap();
            let extension = head.strip_prefix("data:image/").unwrap().strip_suffix(";base64");
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("picture").with_extension(extension.unwrap());
            std::fs::write(&path, BASE64_STANDARD.decode(text).unwrap()).unwrap();
            let back = vrt_video::read_picture(&path, vrt_video::PictureChannels::Rgb).unwrap();
            assert_eq!((back.width(), back.height()), (16, 8));
            assert!(back.samples().iter().all(|sample| (sample - 0.25).abs() < 0.01), "{head}");
        }
    }

    proptest! {
        #[test]
        fn names_are_text_whatever_they_say(name in r#"([<>&"'/{}!\\-]|script|facts|[a-c \n])*"#) {
            let page = page(&name);
            let plain = super::tests::page("");
            for mark in ["<script", "</script", "<!--", "</title", "<body", "<img"] {
                prop_assert_eq!(page.matches(mark).count(), plain.matches(mark).count(), "{}", mark);
            }
            prop_assert_eq!(&data(&page, "facts")["clips"][0]["name"], &name);
            let (_, title) = page.split_once("<title>").unwrap();
            let title = title.split_once("</title>").unwrap().0;
            prop_assert!(!title.contains(['<', '>', '"', '\'']), "{}", title);
        }
    }
}
