//! The last step of a file: encoded pictures, and everything else of the original.

use std::path::Path;
use std::process::Command;

use crate::FrameRate;
use crate::ffmpeg::{Programs, capture, file_argument};
use crate::probe::{OtherStream, Probe};

use super::codec::Container;

/// Offsets between pictures and sound below this are rounding.
const LEAST_OFFSET: f64 = 0.0005;

/// The same between frames of a variable rate.
const LEAST_STEP: f64 = 0.005;

/// What is put together.
#[derive(Debug)]
pub(super) struct Completion<'a> {
    /// The encoded pictures, alone in a file.
    pub(super) pictures: &'a Path,
    /// Where sound, subtitles, chapters and tags come from.
    pub(super) original: Option<&'a Probe>,
    /// Seconds from the start of the original's pictures to that of these.
    pub(super) start: f64,
    /// Seconds from the first picture to the last.
    pub(super) last_shown: f64,
    /// How long the pictures are shown.
    pub(super) seconds: f64,
    /// The kind of file.
    pub(super) container: Container,
    /// Where ffmpeg is.
    pub(super) programs: &'a Programs,
}

/// How much of the original is tried to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Effort {
    sound: Sound,
    subtitles: bool,
}

/// What becomes of the sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sound {
    Copy,
    Encode,
    Drop,
}

/// What is tried, from everything to pictures and tags alone.
const EFFORTS: [Effort; 6] = [
    Effort { sound: Sound::Copy, subtitles: true },
    Effort { sound: Sound::Encode, subtitles: true },
    Effort { sound: Sound::Copy, subtitles: false },
    Effort { sound: Sound::Encode, subtitles: false },
    Effort { sound: Sound::Drop, subtitles: true },
    Effort { sound: Sound::Drop, subtitles: false },
];

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
    ///
    /// # Errors
    ///
    /// Why the pictures alone could not be written either, in ffmpeg's words.
    pub(super) fn run(&self, whole: &Path) -> Result<Vec<String>, String> {
        let mut first_said = None;
        let mut last_said = String::new();
        for effort in EFFORTS.into_iter().filter(|effort| self.makes_sense(*effort)) {
            match self.attempt(whole, effort) {
                Ok(()) => return Ok(self.warnings(effort, first_said.as_deref())),
                Err(said) => {
                    first_said.get_or_insert_with(|| said.clone());
                    last_said = said;
                }
            }
        }
        Err(last_said)
    }

    /// Is there anything that this effort treats unlike a greater one?
    fn makes_sense(&self, effort: Effort) -> bool {
        let sound = self.original.is_some_and(|original| !original.audio.is_empty());
        let subtitles = self.original.is_some_and(|original| {
            let mut kept = original.subtitles.iter().map(|stream| self.subtitle(stream));
            let attached = || original.others.iter().any(|other| self.is_attached(other));
            kept.any(|fate| fate != Subtitle::Drop) || attached()
        });
        (sound || effort.sound == Sound::Copy) && (subtitles || effort.subtitles)
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
        if effort.sound != Sound::Drop {
            original.audio.iter().for_each(|stream| add(format!("-map 1:{}", stream.index)));
        }
        if effort.sound == Sound::Encode {
            add(format!("-c:a {}", self.sound_encoder()));
        }
        if effort.subtitles {
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
        let offset = original.video.start - original.start + self.start;
        (offset.abs() > LEAST_OFFSET).then_some(offset)
    }

    /// Where to end, if there are pictures of the original behind the last of these.
    ///
    /// That the original's last picture is shown for longer is no reason: the sound goes on then.
    fn cut(&self, original: &Probe) -> Option<f64> {
        let video = &original.video;
        let (FrameRate::Constant(rate) | FrameRate::Variable(rate)) = video.frame_rate;
        let frame = f64::from(rate.denominator) / f64::from(rate.numerator);
        let offset = self.offset().unwrap_or(0.0);
        let ended_early = match (video.last_shown, video.frame_rate) {
            (Some(last), FrameRate::Constant(_)) => {
                self.start + self.last_shown + 0.5 * frame < last
            }
            (Some(last), FrameRate::Variable(_)) => {
                self.start + self.last_shown + LEAST_STEP < last
            }
            (None, _) => {
                let whole = original.duration.map(|whole| whole - offset);
                self.seconds + 1.5 * frame < video.duration.or(whole)?
            }
        };
        ended_early.then_some(self.seconds + offset)
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

    /// What `effort` has changed or left out, and what the greatest one `said` if it failed.
    fn warnings(&self, effort: Effort, said: Option<&str>) -> Vec<String> {
        let Some(original) = self.original else {
            return Vec::new();
        };
        let sound = match effort.sound {
            Sound::Copy => None,
            Sound::Encode => Some("the sound was encoded again"),
            Sound::Drop => Some("the sound was left out"),
        };
        let because = said.map_or_else(String::new, |said| format!(", because {said}"));
        let sound = sound.map(|what| format!("{what}{because}"));
        let subtitles = original.subtitles.iter().filter_map(|stream| {
            let OtherStream { index, codec, .. } = stream;
            let what = format!("subtitles (stream {index}, {codec})");
            match self.subtitle(stream) {
                Subtitle::Drop => {
                    Some(format!("{what} were left out: this kind of file cannot hold them"))
                }
                _ if !effort.subtitles => Some(format!("{what} were left out{because}")),
                Subtitle::Copy => None,
                Subtitle::Convert(to) => Some(format!("{what} were converted to {to}")),
            }
        });
        let others = original.others.iter().filter(|stream| {
            // Chapters of MP4 files are doubled by a stream of their titles.
            let titles = stream.kind == "data" && original.chapters > 0;
            let attached = effort.subtitles && self.is_attached(stream);
            !(titles || attached)
        });
        let others = others.map(|OtherStream { index, kind, codec }| {
            format!("stream {index} ({kind} {codec}) was left out")
        });
        sound.into_iter().chain(subtitles).chain(others).collect()
    }

    /// Is `stream` a file that goes along with the subtitles?
    fn is_attached(&self, stream: &OtherStream) -> bool {
        stream.kind == "attachment" && self.container == Container::Matroska
    }
}
