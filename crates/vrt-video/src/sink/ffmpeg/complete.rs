//! The last step of a file: encoded pictures, and everything else of the original.

use std::path::Path;
use std::process::Command;

use crate::FrameRate;
use crate::ffmpeg::{Programs, capture, file_argument};
use crate::probe::{OtherStream, Probe};

use super::codec::Container;

/// Offsets between pictures and sound below this are rounding.
const LEAST_OFFSET: f64 = 0.0005;

/// What is put together.
#[derive(Debug)]
pub(super) struct Completion<'a> {
    /// The encoded pictures, alone in a file.
    pub(super) pictures: &'a Path,
    /// Where sound, subtitles, chapters and tags come from.
    pub(super) original: Option<&'a Probe>,
    /// How long the pictures are shown.
    pub(super) seconds: f64,
    /// The kind of file.
    pub(super) container: Container,
    /// Where ffmpeg is.
    pub(super) programs: &'a Programs,
}

/// How much of the original is tried to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effort {
    /// Everything, sound as it is.
    Copy,
    /// Sound encoded again, no subtitles.
    EncodeSound,
    /// Pictures and tags only.
    PicturesOnly,
}

/// What becomes of a stream of subtitles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subtitle {
    Copy,
    Convert(&'static str),
    Drop,
}

impl Completion<'_> {
    /// Writes `whole`; returns what could not be kept as it was.
    ///
    /// A container that cannot hold the original's sound or subtitles costs those, with a word,
    /// and never the pictures.
    pub(super) fn run(&self, whole: &Path) -> Result<Vec<String>, String> {
        let mut warnings = self.standing_warnings();
        let copied = self.attempt(whole, Effort::Copy);
        let Err(copy_said) = copied else {
            return Ok(warnings);
        };
        if self.original.is_none_or(|original| original.audio.is_empty()) {
            return self.last_attempt(whole, warnings, &copy_said);
        }
        match self.attempt(whole, Effort::EncodeSound) {
            Ok(()) => {
                warnings.push(format!(
                    "the sound was encoded again, and subtitles left out, because copying them \
                     failed: {copy_said}"
                ));
                Ok(warnings)
            }
            Err(_) => self.last_attempt(whole, warnings, &copy_said),
        }
    }

    fn last_attempt(
        &self,
        whole: &Path,
        mut warnings: Vec<String>,
        said: &str,
    ) -> Result<Vec<String>, String> {
        self.attempt(whole, Effort::PicturesOnly)?;
        warnings.push(format!("sound and subtitles were left out: {said}"));
        Ok(warnings)
    }

    fn attempt(&self, whole: &Path, effort: Effort) -> Result<(), String> {
        let mut command = Command::new(&self.programs.ffmpeg);
        command.args(["-hide_banner", "-nostdin", "-nostats", "-loglevel", "level+error", "-y"]);
        command.args(["-protocol_whitelist", "file,crypto,data"]);
        if let Some(offset) = self.offset() {
            command.args(["-itsoffset", &format!("{offset:.6}")]);
        }
        command.arg("-i").arg(file_argument(self.pictures));
        if let Some(original) = self.original {
            command.args(["-protocol_whitelist", "file,crypto,data", "-i"]);
            command.arg(file_argument(&original.path));
        }
        command.args(["-map", "0:v:0", "-c", "copy"]);
        if let Some(original) = self.original {
            command.args(self.original_arguments(original, effort));
        }
        if self.container == Container::Mp4 {
            command.args(["-movflags", "+faststart"]);
        }
        command.arg(file_argument(whole));
        let captured = capture(&mut command).map_err(|error| error.to_string())?;
        if captured.status.success() {
            return Ok(());
        }
        Err(captured.tail.with_state(Some(captured.status)))
    }

    fn original_arguments(&self, original: &Probe, effort: Effort) -> Vec<String> {
        let mut arguments: Vec<String> =
            ["-map_metadata", "1", "-map_chapters", "1"].into_iter().map(str::to_owned).collect();
        let mut add = |text: String| arguments.extend(text.split(' ').map(str::to_owned));
        if effort != Effort::PicturesOnly {
            original.audio.iter().for_each(|stream| add(format!("-map 1:{}", stream.index)));
        }
        if effort == Effort::EncodeSound {
            add(format!("-c:a {}", self.sound_encoder()));
        }
        if effort == Effort::Copy {
            let kept = original.subtitles.iter().map(|stream| (stream, self.subtitle(stream)));
            for (place, (stream, fate)) in kept.filter(|(_, f)| *f != Subtitle::Drop).enumerate() {
                add(format!("-map 1:{}", stream.index));
                if let Subtitle::Convert(codec) = fate {
                    add(format!("-c:s:{place} {codec}"));
                }
            }
            if self.container == Container::Matroska {
                add("-map 1:t?".to_owned());
            }
        }
        if let Some(end) = self.cut(original) {
            add(format!("-t {end:.6}"));
        }
        let tags = [("language", &original.video.language), ("title", &original.video.title)];
        for (key, value) in tags {
            if let Some(value) = value {
                arguments.extend(["-metadata:s:v:0".to_owned(), format!("{key}={value}")]);
            }
        }
        arguments
    }

    /// How much later than the file's other streams the pictures start.
    fn offset(&self) -> Option<f64> {
        let original = self.original?;
        let offset = original.video.start - original.start;
        (offset.abs() > LEAST_OFFSET).then_some(offset)
    }

    /// Where to end, if the pictures end before those of the original do.
    fn cut(&self, original: &Probe) -> Option<f64> {
        let video = &original.video;
        let (FrameRate::Constant(rate) | FrameRate::Variable(rate)) = video.frame_rate;
        let frame = f64::from(rate.denominator) / f64::from(rate.numerator);
        let offset = self.offset().unwrap_or(0.0);
        let length = video.duration.or_else(|| original.duration.map(|whole| whole - offset))?;
        (self.seconds + 1.5 * frame < length).then_some(self.seconds + offset)
    }

    fn sound_encoder(&self) -> &'static str {
        match self.container {
            Container::WebM => "libopus",
            Container::Avi => "libmp3lame",
            Container::Matroska | Container::Nut => "flac",
            _ => "aac",
        }
    }

    fn subtitle(&self, stream: &OtherStream) -> Subtitle {
        let codec = stream.codec.as_str();
        let is_text = matches!(codec, "subrip" | "ass" | "ssa" | "webvtt" | "mov_text" | "text");
        match self.container {
            Container::Mp4 if codec == "mov_text" => Subtitle::Copy,
            Container::Mp4 if is_text => Subtitle::Convert("mov_text"),
            Container::Matroska if codec == "mov_text" => Subtitle::Convert("srt"),
            Container::Matroska if codec == "eia_608" => Subtitle::Drop,
            Container::Matroska => Subtitle::Copy,
            Container::WebM if codec == "webvtt" => Subtitle::Copy,
            Container::WebM if is_text => Subtitle::Convert("webvtt"),
            Container::Transport if codec == "dvb_subtitle" => Subtitle::Copy,
            _ => Subtitle::Drop,
        }
    }

    /// What is known to be changed or left out before anything is tried.
    fn standing_warnings(&self) -> Vec<String> {
        let Some(original) = self.original else {
            return Vec::new();
        };
        let subtitles = original.subtitles.iter().filter_map(|stream| {
            let OtherStream { index, codec, .. } = stream;
            match self.subtitle(stream) {
                Subtitle::Copy => None,
                Subtitle::Convert(to) => {
                    Some(format!("subtitles (stream {index}, {codec}) were converted to {to}"))
                }
                Subtitle::Drop => Some(format!(
                    "subtitles (stream {index}, {codec}) were left out: this kind of file cannot \
                     hold them"
                )),
            }
        });
        let others = original.others.iter().filter(|stream| !self.is_kept(original, stream));
        let others = others.map(|OtherStream { index, kind, codec }| {
            format!("stream {index} ({kind} {codec}) was left out")
        });
        subtitles.chain(others).collect()
    }

    fn is_kept(&self, original: &Probe, stream: &OtherStream) -> bool {
        // Chapters of MP4 files are doubled by a stream of their titles.
        let titles = stream.kind == "data" && original.chapters > 0;
        titles || (stream.kind == "attachment" && self.container == Container::Matroska)
    }
}
