//! The sections `datasets.train` and `datasets.test`.

mod test;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use vrt_model::VrtConfig;

pub(super) use test::check_test;
pub use test::{TestKind, TestSet};

use super::Data;
use super::section::{Findings, Section};

/// A key, the path it names, and what to say if that is not there.
pub(super) type Wanted<'a> = (&'static str, &'a Path, &'static str);

/// Where samples come from.
#[derive(Clone, Debug, PartialEq)]
pub enum TrainingData {
    /// Clips of a list, cropped at random.
    Videos(Box<VideoData>),
    /// The clips of one file, as they are: `in.lq` and `in.gt`, each `[clips, frames, channels,
    /// height, width]`, in a `.safetensors` file.
    Fixed {
        /// The file.
        path: PathBuf,
    },
}

/// What a set does to its clips.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SetKind {
    /// Runs of frames out of long clips.
    Recurrent,
    /// Whole sequences of Vimeo-90K.
    Vimeo,
    /// Sequences of Vimeo-90K with frames left out.
    Interpolation,
    /// Runs of frames with Gaussian noise, and a map of its level.
    Denoising {
        /// Least and greatest σ, in steps of 255.
        sigma: [f64; 2],
    },
}

/// How frames are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// A folder of folders of pictures.
    Disk,
    /// An LMDB environment of encoded pictures.
    Lmdb,
}

/// Clips of REDS that are not trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeldOut {
    /// None is held out.
    Nothing,
    /// Clips 000, 011, 015 and 020.
    Reds4,
    /// The 30 official validation clips.
    Official,
}

/// Names of picture files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameFiles {
    /// Digits of a frame's number (`filename_tmpl` is `08d` for 8).
    pub digits: usize,
    /// Ending, without a dot.
    pub extension: String,
}

/// Training clips on disk.
#[derive(Clone, Debug, PartialEq)]
pub struct VideoData {
    /// What the set does to its clips.
    pub kind: SetKind,
    /// The frames to come close to.
    pub sharp: PathBuf,
    /// The frames that the network sees.
    pub degraded: PathBuf,
    /// How both are stored.
    pub storage: Storage,
    /// The list of clips.
    pub meta_info: PathBuf,
    /// Names of frames.
    pub files: FrameFiles,
    /// Frames of a sample.
    pub frames: usize,
    /// Rows and columns of a sample's sharp frames.
    pub crop: usize,
    /// Distances of frames that are drawn from.
    pub intervals: Vec<usize>,
    /// Whether clips run backwards by a coin.
    pub random_reverse: bool,
    /// Whether frames are flipped left to right by a coin.
    pub flip: bool,
    /// Whether frames are flipped top to bottom and transposed, each by a coin.
    pub rotate: bool,
    /// Clips that are left out.
    pub held_out: HeldOut,
    /// Whether the clip is followed by itself backwards.
    pub mirror: bool,
    /// Whether brightness, contrast and colours are changed at random.
    pub color_jitter: bool,
    /// Every how many frames the network sees one.
    pub temporal_scale: usize,
}

impl VideoData {
    /// Frames of a sample that the network sees.
    pub fn seen_frames(&self) -> usize {
        match self.kind {
            SetKind::Interpolation => self.frames.div_ceil(self.temporal_scale),
            _ if self.mirror => 2 * self.frames,
            _ => self.frames,
        }
    }
}

impl TrainingData {
    pub(super) fn paths<'a>(&'a self, wanted: &mut Vec<Wanted<'a>>) {
        let folder = "there is no such folder: correct the path of the frames";
        match self {
            Self::Fixed { path } => {
                let what = "there is no such file: correct the path of the batch";
                wanted.push(("datasets.train.batch_file", path, what));
            }
            Self::Videos(videos) => {
                wanted.push(("datasets.train.dataroot_gt", &videos.sharp, folder));
                wanted.push(("datasets.train.dataroot_lq", &videos.degraded, folder));
                let list = "there is no such list of clips: correct the path; `vrt data prepare` \
                            writes one";
                wanted.push(("datasets.train.meta_info_file", &videos.meta_info, list));
            }
        }
    }
}

/// Reads both sections; `None` for what is too wrong to go on with.
pub(super) fn read(
    mut datasets: Section<'_>,
    network: Option<&VrtConfig>,
) -> (Option<Data>, Option<TestSet>) {
    let train = datasets.inner("train");
    let test = datasets.inner("test");
    if train.is_none() {
        datasets.problem("train", "is missing: write where the training clips are");
    }
    let findings = datasets.finish();
    let data = train.and_then(|keys| train_section(keys, findings));
    let test = test.and_then(|keys| test::read(keys, network, findings));
    (data, test)
}

#[derive(Clone, Copy, PartialEq)]
enum KindName {
    Recurrent,
    Vimeo,
    Interpolation,
    Denoising,
    Fixed,
}

const KINDS: [(&str, KindName); 5] = [
    ("VideoRecurrentTrainDataset", KindName::Recurrent),
    ("VideoRecurrentTrainVimeoDataset", KindName::Vimeo),
    ("VideoRecurrentTrainVimeoVFIDataset", KindName::Interpolation),
    ("VideoRecurrentTrainNonblindDenoisingDataset", KindName::Denoising),
    ("FixedBatch", KindName::Fixed),
];

fn train_section(keys: Map<String, Value>, findings: &mut Findings) -> Option<Data> {
    let mut s = Section::new("datasets.train", keys, findings);
    s.unused("name", "sets are told apart by their section");
    s.unused("test_mode", "the section says what a set is for");
    let shuffle = s.or("dataloader_shuffle", true);
    let workers = s.or("dataloader_num_workers", 2_usize).max(1);
    let batch = s.count("dataloader_batch_size", None);
    let kind = s.choice("dataset_type", &KINDS, None);
    let source = kind.map(|kind| match kind {
        KindName::Fixed => TrainingData::Fixed { path: fixed(&mut s) },
        kind => TrainingData::Videos(Box::new(videos(&mut s, kind))),
    });
    s.finish();
    Some(Data { source: source?, shuffle, workers, batch })
}

/// Keys of video sets, which a fixed batch does not look at.
const VIDEO_KEYS: [&str; 18] = [
    "dataroot_gt",
    "dataroot_lq",
    "io_backend",
    "meta_info_file",
    "filename_tmpl",
    "filename_ext",
    "num_frame",
    "gt_size",
    "interval_list",
    "random_reverse",
    "use_hflip",
    "use_rot",
    "val_partition",
    "pad_sequence",
    "color_jitter",
    "temporal_scale",
    "sigma_min",
    "sigma_max",
];

fn fixed(s: &mut Section<'_>) -> PathBuf {
    for key in VIDEO_KEYS {
        s.unused(key, "a FixedBatch has its clips as they are");
    }
    s.needed("batch_file", PathBuf::new())
}

/// Notes on keys that only other kinds of sets look at.
fn idle(s: &mut Section<'_>, kind: KindName) {
    s.unused("batch_file", "only a FixedBatch is read from one file");
    if kind != KindName::Denoising {
        for key in ["sigma_min", "sigma_max"] {
            s.unused(key, "only the set for denoising adds noise");
        }
    }
    if kind == KindName::Recurrent || kind == KindName::Denoising {
        s.unused("pad_sequence", "only the sets of Vimeo-90K run clips forth and back");
    }
    if kind != KindName::Interpolation {
        s.unused("color_jitter", "only the set for interpolation changes colours");
    }
}

fn videos(s: &mut Section<'_>, kind: KindName) -> VideoData {
    idle(s, kind);
    let sigma = [s.amount("sigma_min", 0.0), s.amount("sigma_max", 50.0)];
    if sigma[0] > sigma[1] {
        let what = format!("is {}, above sigma_max, which is {}: swap them", sigma[0], sigma[1]);
        s.problem("sigma_min", what);
    }
    let temporal_scale = s.count("temporal_scale", Some(1));
    let intervals: Vec<usize> = s.or("interval_list", vec![1]);
    if intervals.is_empty() || intervals.contains(&0) {
        s.problem("interval_list", "needs numbers of frames from 1, such as [1]");
    }
    let held_out = [("REDS4", HeldOut::Reds4), ("official", HeldOut::Official)];
    VideoData {
        kind: match kind {
            KindName::Vimeo => SetKind::Vimeo,
            KindName::Interpolation => SetKind::Interpolation,
            KindName::Denoising => SetKind::Denoising { sigma },
            KindName::Recurrent | KindName::Fixed => SetKind::Recurrent,
        },
        sharp: s.needed("dataroot_gt", PathBuf::new()),
        degraded: s.needed("dataroot_lq", PathBuf::new()),
        storage: storage(s),
        meta_info: s.needed("meta_info_file", PathBuf::new()),
        files: files(s),
        frames: s.count("num_frame", None),
        crop: s.count("gt_size", None),
        intervals,
        random_reverse: s.or("random_reverse", false),
        flip: s.or("use_hflip", false),
        rotate: s.or("use_rot", false),
        held_out: s
            .choice("val_partition", &held_out, Some(HeldOut::Nothing))
            .unwrap_or(HeldOut::Nothing),
        mirror: s.or("pad_sequence", false)
            && matches!(kind, KindName::Vimeo | KindName::Interpolation),
        color_jitter: s.or("color_jitter", false) && kind == KindName::Interpolation,
        temporal_scale,
    }
}

/// `io_backend`, a section of its own.
fn storage(s: &mut Section<'_>) -> Storage {
    let Some(keys) = s.inner("io_backend") else { return Storage::Disk };
    let name = s.name("io_backend");
    let mut inner = Section::new(&name, keys, s.findings);
    let types = [("disk", Storage::Disk), ("lmdb", Storage::Lmdb)];
    let storage = inner.choice("type", &types, None).unwrap_or(Storage::Disk);
    inner.finish();
    storage
}

/// `filename_tmpl`, as `08d`, and `filename_ext`.
fn files(s: &mut Section<'_>) -> FrameFiles {
    let template = s.or("filename_tmpl", "08d".to_owned());
    let digits = template.strip_suffix('d').and_then(|digits| digits.parse().ok());
    let digits = digits.filter(|digits| (1..=20).contains(digits));
    if digits.is_none() {
        let what = format!("is {template:?}: write the digits of a frame's number, as \"08d\"");
        s.problem("filename_tmpl", what);
    }
    let extension = s.or("filename_ext", "png".to_owned());
    FrameFiles {
        digits: digits.unwrap_or(8),
        extension: extension.trim_start_matches('.').to_owned(),
    }
}

/// Whether a set fits the network.
pub(super) fn check(videos: &VideoData, network: &VrtConfig, findings: &mut Findings) {
    let (key, scale) = ("datasets.train.gt_size", network.upscale());
    let crop = videos.crop;
    let [_, rows, columns] = network.window();
    let window = rows.max(columns);
    if !crop.is_multiple_of(scale) {
        let near = (crop / scale).max(1) * scale;
        findings.problem(
            key,
            format!("is {crop}, no multiple of the scale {scale}: write for example {near}"),
        );
    } else if crop / scale < window {
        let what = format!(
            "is {crop}: crops of {} pixels are smaller than a window of attention, {window} \
             pixels; write at least {}",
            crop / scale,
            window * scale
        );
        findings.problem(key, what);
    } else if network.padded([2, crop / scale, crop / scale])[1..] != [crop / scale; 2] {
        let why = format!(
            "crops of {} pixels are padded before the network, which wants multiples of {} from {}",
            crop / scale,
            network.size_multiple(),
            network.size_multiple() * window
        );
        findings.note(key, why);
    }
    check_kind(videos, network, findings);
    check_frames(videos, network, findings);
}

/// Whether the set makes what the network takes.
fn check_kind(videos: &VideoData, network: &VrtConfig, findings: &mut Findings) {
    let key = "datasets.train.dataset_type";
    let noisy = matches!(videos.kind, SetKind::Denoising { .. });
    if noisy != network.noise_map() {
        let what = if noisy {
            "makes a map of the noise level, which the network does not take: set \
             netG.nonblind_denoising, or take another set"
        } else {
            "makes no map of the noise level, which the network takes: take \
             VideoRecurrentTrainNonblindDenoisingDataset, or unset netG.nonblind_denoising"
        };
        findings.problem(key, what);
    }
    let between = videos.kind == SetKind::Interpolation;
    if between != network.fused_frames().is_some() {
        let what = if between {
            "leaves frames out, which the network does not make: set netG.pa_frames to 0, or take \
             another set"
        } else {
            "has no frames left out, which the network makes (netG.pa_frames 0): take \
             VideoRecurrentTrainVimeoVFIDataset, or set netG.pa_frames"
        };
        findings.problem(key, what);
    }
    if network.spike_channels() > 0 {
        let what = format!(
            "has RGB frames, but the network takes {} channels: train it from a FixedBatch",
            network.in_channels()
        );
        findings.problem(key, what);
    }
}

fn check_frames(videos: &VideoData, network: &VrtConfig, findings: &mut Findings) {
    let seen = videos.seen_frames();
    match network.fused_frames() {
        Some(fused) if videos.kind == SetKind::Interpolation && seen != fused => {
            let what = format!(
                "is {}: every {}th of them (temporal_scale) makes {seen} frames, where the \
                 network (netG.img_size) fuses {fused}",
                videos.frames, videos.temporal_scale
            );
            findings.problem("datasets.train.num_frame", what);
        }
        None if seen < 2 => {
            let what =
                format!("is {}: write at least 2, the network compares frames", videos.frames);
            findings.problem("datasets.train.num_frame", what);
        }
        _ => {}
    }
    if videos.kind != SetKind::Interpolation && videos.temporal_scale != 1 {
        let what = format!(
            "is {}: only VideoRecurrentTrainVimeoVFIDataset leaves frames out; write 1 or remove it",
            videos.temporal_scale
        );
        findings.problem("datasets.train.temporal_scale", what);
    }
}

impl Data {
    /// The section `datasets.train` that [`read`] takes.
    pub(super) fn to_json(&self) -> Value {
        let mut section = match &self.source {
            TrainingData::Fixed { path } => {
                json!({ "dataset_type": "FixedBatch", "batch_file": path })
            }
            TrainingData::Videos(videos) => videos.to_json(),
        };
        section["dataloader_shuffle"] = self.shuffle.into();
        section["dataloader_num_workers"] = self.workers.into();
        section["dataloader_batch_size"] = self.batch.into();
        section
    }
}

impl VideoData {
    fn to_json(&self) -> Value {
        let kind = match self.kind {
            SetKind::Recurrent => KindName::Recurrent,
            SetKind::Vimeo => KindName::Vimeo,
            SetKind::Interpolation => KindName::Interpolation,
            SetKind::Denoising { .. } => KindName::Denoising,
        };
        let name = KINDS.iter().find(|(_, known)| *known == kind).map(|(name, _)| *name);
        let mut section = json!({
            "dataset_type": name,
            "dataroot_gt": self.sharp,
            "dataroot_lq": self.degraded,
            "io_backend": { "type": match self.storage { Storage::Disk => "disk", Storage::Lmdb => "lmdb" } },
            "meta_info_file": self.meta_info,
            "filename_tmpl": format!("{:02}d", self.files.digits),
            "filename_ext": self.files.extension,
            "num_frame": self.frames,
            "gt_size": self.crop,
            "interval_list": self.intervals,
            "random_reverse": self.random_reverse,
            "use_hflip": self.flip,
            "use_rot": self.rotate,
            "val_partition": match self.held_out {
                HeldOut::Nothing => None,
                HeldOut::Reds4 => Some("REDS4"),
                HeldOut::Official => Some("official"),
            },
            "temporal_scale": self.temporal_scale,
        });
        if matches!(self.kind, SetKind::Vimeo | SetKind::Interpolation) {
            section["pad_sequence"] = self.mirror.into();
        }
        if self.kind == SetKind::Interpolation {
            section["color_jitter"] = self.color_jitter.into();
        }
        if let SetKind::Denoising { sigma: [least, greatest] } = self.kind {
            section["sigma_min"] = least.into();
            section["sigma_max"] = greatest.into();
        }
        section
    }
}
