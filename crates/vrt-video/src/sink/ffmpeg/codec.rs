//! Which encoder, with which pixels, in which container.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

use crate::ffmpeg::{
    FfmpegError, Layout, Programs, SCALE_FLAGS, YuvLayout, bit_depth_of, capture, chroma_of, is_rgb,
};
use crate::{Matrix, Range, Ratio, SinkOptions, StreamInfo, Transfer};

/// A kind of file, told by its extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Container {
    /// `.mp4`, `.m4v`, `.mov`, `.3gp`.
    Mp4,
    /// `.mkv`.
    Matroska,
    /// `.webm`.
    WebM,
    /// `.avi`.
    Avi,
    /// `.flv`.
    Flash,
    /// `.ts`, `.m2ts`, `.mts`.
    Transport,
    /// `.nut`.
    Nut,
    /// Anything else: needs arguments of its own.
    Other,
}

impl Container {
    pub(super) fn of(path: &Path) -> Self {
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        match extension.as_str() {
            "mp4" | "m4v" | "mov" | "3gp" => Self::Mp4,
            "mkv" => Self::Matroska,
            "webm" => Self::WebM,
            "avi" => Self::Avi,
            "flv" => Self::Flash,
            "ts" | "m2ts" | "mts" => Self::Transport,
            "nut" => Self::Nut,
            _ => Self::Other,
        }
    }

    /// Has each frame a time of its own?
    pub(super) fn keeps_times(self) -> bool {
        self != Self::Avi
    }

    /// Is it first written in fragments, so that a run that is cut off leaves a playable file?
    pub(super) fn is_fragmented(self) -> bool {
        self == Self::Mp4
    }

    /// Arguments for the first writing: every frame is on disk as soon as it is encoded, so that a
    /// run that is cut off loses only what the encoder still holds.
    pub(super) fn arguments(self) -> Vec<&'static str> {
        let mut arguments = vec!["-flush_packets", "1"];
        arguments.extend_from_slice(match self {
            // The head waits for the first fragment: only then does it know the shift that
            // reordered frames need.
            Self::Mp4 => &["-movflags", "+frag_every_frame+delay_moov"],
            Self::Matroska | Self::WebM => &["-cluster_time_limit", "0"],
            // The container counts frames: reordered ones confuse players.
            Self::Avi => &["-bf", "0"],
            _ => &[],
        });
        arguments
    }
}

/// An encoder and what it is fed with.
#[derive(Clone, Debug)]
pub(super) struct Codec {
    /// Arguments that name and tune the encoder, and the pixel format.
    pub(super) arguments: Vec<String>,
    /// What crosses the pipe.
    pub(super) layout: Layout,
    /// What could not be kept.
    pub(super) warnings: Vec<String>,
    pixel_format: String,
}

/// An encoder that would do, and its arguments.
struct Choice {
    name: &'static str,
    arguments: &'static str,
    /// Needs no even sizes for 4:2:0.
    takes_odd: bool,
}

/// Near-lossless: the difference to the restored frames is below what is seen.
///
/// What an encoder looks ahead, and what its threads hold, is lost when it is killed; restoring a
/// frame takes longer than encoding it, so a short look ahead costs no time.
const X264: Choice = Choice {
    name: "libx264",
    arguments: "-preset medium -crf 12 -rc-lookahead 4 -threads 4 -x264-params sync-lookahead=0",
    takes_odd: false,
};
const X265: Choice = Choice {
    name: "libx265",
    arguments: "-preset medium -crf 12 \
                -x265-params log-level=error:rc-lookahead=5:bframes=3:frame-threads=1",
    takes_odd: false,
};
const VP9: Choice = Choice {
    name: "libvpx-vp9",
    arguments: "-crf 15 -b:v 0 -row-mt 1 -deadline good -cpu-used 3 -lag-in-frames 4",
    takes_odd: true,
};
const MPEG4: Choice = Choice { name: "mpeg4", arguments: "-q:v 2", takes_odd: true };

impl Codec {
    /// The caller's own arguments, or the first encoder that suits `container` and is installed.
    ///
    /// Sources of 8 bits become H.264 of 8 bits, which everything plays; deeper ones HEVC of 10
    /// bits where the container takes it; WebM is VP9 of either.
    pub(super) fn choose(
        target: &Path,
        container: Container,
        info: &StreamInfo,
        options: &SinkOptions,
    ) -> Result<Self, FfmpegError> {
        let plain = matches!(container, Container::Avi | Container::Flash) || is_plain(target);
        let deep = info.bit_depth > 8 && !plain;
        let odd = info.width % 2 == 1 || info.height % 2 == 1;
        if let Some(own) = &options.codec_arguments {
            return Ok(Self::own(own, pixel_format(deep, odd), info));
        }
        let choices: &[Choice] = match (container, deep) {
            (Container::Other, _) => {
                return Err(FfmpegError::NoCodec { path: target.to_path_buf() });
            }
            (Container::WebM, _) => &[VP9],
            _ if plain => &[X264, MPEG4],
            (_, true) => &[X265, VP9, X264, MPEG4],
            (_, false) => &[X264, X265, VP9, MPEG4],
        };
        let installed = encoders(&options.programs)?;
        let Some(choice) = choices.iter().find(|choice| installed.contains(choice.name)) else {
            let names: Vec<_> = choices.iter().map(|choice| choice.name).collect();
            let path = target.to_path_buf();
            return Err(FfmpegError::NoEncoder { path, wanted: names.join(", ") });
        };
        let deep = deep && !matches!(choice.name, "libx264" | "mpeg4");
        let mut own = vec!["-c:v".to_owned(), choice.name.to_owned()];
        own.extend(choice.arguments.split_whitespace().map(str::to_owned));
        if choice.name == "libx265" && container == Container::Mp4 {
            // The tag that Apple's players ask for.
            own.extend(["-tag:v".to_owned(), "hvc1".to_owned()]);
        }
        let mut codec = Self::own(&own, pixel_format(deep, odd && !choice.takes_odd), info);
        if choice.name != choices[0].name {
            codec.warnings.push(format!(
                "{target:?}: the installed ffmpeg has no {}, so {} is used",
                choices[0].name, choice.name
            ));
        }
        if info.bit_depth > 8 && plain {
            codec.warnings.push(format!(
                "{target:?}: this kind of file takes 8 bits a sample, the source has {}; use .mp4 \
                 or .mkv to keep more",
                info.bit_depth
            ));
        }
        Ok(codec)
    }

    /// With arguments as stated; `default` is the pixel format where they state none.
    fn own(arguments: &[String], default: &str, info: &StreamInfo) -> Self {
        let stated = arguments.iter().position(|argument| argument == "-pix_fmt");
        let stated = stated.and_then(|place| arguments.get(place + 1));
        let pixel_format = stated.map_or(default, String::as_str).to_owned();
        let bit_depth = bit_depth_of(&pixel_format);
        let layout = if is_rgb(&pixel_format) {
            if bit_depth == 8 { Layout::Rgb8 } else { Layout::Rgb16 }
        } else {
            Layout::Yuv(YuvLayout {
                matrix: matrix_of(info),
                range: info.color.range.unwrap_or(Range::Limited),
                bit_depth,
                whole_chroma: chroma_of(&pixel_format) == (false, false),
            })
        };
        let mut arguments = arguments.to_vec();
        if stated.is_none() {
            arguments.extend(["-pix_fmt".to_owned(), pixel_format.clone()]);
        }
        Self { arguments, layout, warnings: Vec::new(), pixel_format }
    }

    /// From raw pictures to the encoder's, with the tags they are to carry.
    pub(super) fn filters(&self, info: &StreamInfo) -> String {
        let scale = match self.layout {
            // Both ranges are stated alike, so that codes are only shifted to fewer bits.
            Layout::Yuv(_) => {
                let place = |halved, place| if halved { place } else { -513 };
                let (across, down) = chroma_of(&self.pixel_format);
                format!(
                    "scale=flags={SCALE_FLAGS}:in_range=tv:out_range=tv:out_h_chr_pos={}:\
                     out_v_chr_pos={}",
                    place(across, 0),
                    place(down, 128)
                )
            }
            Layout::Rgb8 | Layout::Rgb16 => format!("scale=flags={SCALE_FLAGS}"),
        };
        let Ratio { numerator, denominator } =
            info.sample_aspect.unwrap_or(Ratio { numerator: 1, denominator: 1 });
        let tags = self.tags(info).join(":");
        format!(
            "{scale},format={},setparams={tags},setsar=r={numerator}/{denominator}:max=1000000",
            self.pixel_format
        )
    }

    fn tags(&self, info: &StreamInfo) -> Vec<String> {
        let mut tags = vec!["field_mode=prog".to_owned()];
        let primaries = info.color.primaries.as_ref().map(|primaries| primaries.0.as_str());
        match self.layout {
            Layout::Yuv(codes) => {
                let range = if codes.range == Range::Full { "pc" } else { "tv" };
                let matrix = match codes.matrix {
                    Matrix::Bt601 if primaries == Some("bt470bg") => "bt470bg",
                    Matrix::Bt601 => "smpte170m",
                    Matrix::Bt2020 => "bt2020nc",
                    Matrix::Bt709 | Matrix::Rgb => "bt709",
                };
                tags.extend([format!("range={range}"), format!("colorspace={matrix}")]);
            }
            Layout::Rgb8 | Layout::Rgb16 => tags.push("range=pc:colorspace=gbr".to_owned()),
        }
        if let Some(name) = primaries.filter(|name| PRIMARIES.contains(name)) {
            tags.push(format!("color_primaries={name}"));
        }
        let transfer = match &info.color.transfer {
            Some(Transfer::Pq) => Some("smpte2084"),
            Some(Transfer::Hlg) => Some("arib-std-b67"),
            Some(Transfer::Sdr(name)) => Some(name.as_str()),
            None => None,
        };
        if let Some(name) = transfer.filter(|name| TRANSFERS.contains(name)) {
            tags.push(format!("color_trc={name}"));
        }
        tags
    }
}

/// Names of primaries that `setparams` takes.
const PRIMARIES: [&str; 10] = [
    "bt709",
    "bt470m",
    "bt470bg",
    "smpte170m",
    "smpte240m",
    "film",
    "bt2020",
    "smpte428",
    "smpte431",
    "smpte432",
];

/// Names of transfers that `setparams` takes.
const TRANSFERS: [&str; 16] = [
    "bt709",
    "bt470m",
    "bt470bg",
    "smpte170m",
    "smpte240m",
    "linear",
    "log100",
    "log316",
    "iec61966-2-4",
    "bt1361e",
    "iec61966-2-1",
    "bt2020-10",
    "bt2020-12",
    "smpte2084",
    "smpte428",
    "arib-std-b67",
];

/// Is `target` of the MP4 kinds whose muxers take H.264 and MPEG-4 only?
fn is_plain(target: &Path) -> bool {
    let extension = target.extension().unwrap_or_default();
    ["m4v", "3gp"].iter().any(|plain| extension.eq_ignore_ascii_case(plain))
}

fn matrix_of(info: &StreamInfo) -> Matrix {
    let stated = info.color.matrix.filter(|matrix| *matrix != Matrix::Rgb);
    stated.unwrap_or(Matrix::for_height(info.height))
}

fn pixel_format(deep: bool, odd: bool) -> &'static str {
    match (deep, odd) {
        (false, false) => "yuv420p",
        // Half of an odd size is no whole number of chroma samples.
        (false, true) => "yuv444p",
        (true, false) => "yuv420p10le",
        (true, true) => "yuv444p10le",
    }
}

/// Names of the encoders that the installed ffmpeg has.
fn encoders(programs: &Programs) -> Result<HashSet<String>, FfmpegError> {
    let captured = capture(Command::new(&programs.ffmpeg).args(["-hide_banner", "-encoders"]))?;
    let text = String::from_utf8_lossy(&captured.stdout).into_owned();
    let video = text.lines().filter(|line| line.trim_start().starts_with('V'));
    Ok(video.filter_map(|line| line.split_whitespace().nth(1)).map(str::to_owned).collect())
}
