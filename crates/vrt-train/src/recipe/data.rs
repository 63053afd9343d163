//! The sections `datasets.train` and `datasets.test`.

mod spikes;
mod test;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use vrt_model::VrtConfig;
use vrt_video::{Backend, FrameRoot, HeldOut, SetKind, TrainingSetOptions};

pub(super) use test::check_test;
pub use test::{Beyond, TestKind, TestSet};

use spikes::Spiked;

use super::Data;
use super::section::{Findings, Section};

/// A key, the path it names, and what to say if that is not there.
pub(super) type Wanted<'a> = (&'static str, &'a Path, &'static str);

/// Where samples come from.
#[derive(Clone, Debug, PartialEq)]
pub enum TrainingData {
    /// Clips of a list, cropped at random.
    Videos(Box<TrainingSetOptions>),
    /// The clips of one file, as they are: `in.lq` and `in.gt`, each `[clips, frames, channels,
    /// height, width]`, in a `.safetensors` file.
    Fixed {
        /// The file.
        path: PathBuf,
    },
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
                wanted.push(("datasets.train.dataroot_gt", &videos.sharp.path, folder));
                if !matches!(videos.kind, SetKind::Denoising { .. }) {
                    let path = &videos.degraded.path;
                    wanted.push(("datasets.train.dataroot_lq", path, folder));
                }
                let list = "there is no such list of clips: correct the path; `vrt data prepare` \
                            writes one";
                wanted.push(("datasets.train.meta_info_file", &videos.meta_info, list));
                if let Some(spikes) = &videos.spikes {
                    let what = "there is no such folder: correct the path of the streams";
                    wanted.push(("datasets.train.dataroot_spike", &spikes.root, what));
                }
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
    let sizes = network.map_or([1, 0], |network| [network.upscale(), network.spike_channels()]);
    let data = train.and_then(|keys| train_section(keys, sizes, findings));
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

/// `[scale, channels]` are the enlargement and the spike channels of the network.
fn train_section(
    keys: Map<String, Value>,
    network: [usize; 2],
    findings: &mut Findings,
) -> Option<Data> {
    let mut s = Section::new("datasets.train", keys, findings);
    s.unused("name", "sets are told apart by their section");
    s.unused("test_mode", "the section says what a set is for");
    let shuffle = s.or("dataloader_shuffle", true);
    let workers = s.or("dataloader_num_workers", 2_usize).max(1);
    let batch = s.count("dataloader_batch_size", None);
    let kind = s.choice("dataset_type", &KINDS, None);
    let source = kind.map(|kind| match kind {
        KindName::Fixed => TrainingData::Fixed { path: fixed(&mut s) },
        kind => TrainingData::Videos(Box::new(videos(&mut s, kind, network))),
    });
    if source.is_none() {
        // What the rest means is known once the type is.
        let keys = VIDEO_KEYS.into_iter().chain([spikes::ROOT, "batch_file"]).chain(spikes::KEYS);
        keys.for_each(|key| s.unused(key, "no type of set is known"));
    }
    s.finish();
    Some(Data { source: source?, shuffle, workers, batch })
}

/// Keys of video sets, which a fixed batch does not look at.
const VIDEO_KEYS: [&str; 19] = [
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
    "mirror_sequence",
    "color_jitter",
    "temporal_scale",
    "sigma_min",
    "sigma_max",
];

fn fixed(s: &mut Section<'_>) -> PathBuf {
    for key in VIDEO_KEYS.into_iter().chain([spikes::ROOT]).chain(spikes::KEYS) {
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
    if kind != KindName::Interpolation {
        s.unused("color_jitter", "only the set for interpolation changes colours");
    }
}

fn videos(
    s: &mut Section<'_>,
    kind: KindName,
    [scale, channels]: [usize; 2],
) -> TrainingSetOptions {
    idle(s, kind);
    let backend = storage(s).unwrap_or(Backend::Disk);
    let mut root = |key| FrameRoot { path: s.needed(key, PathBuf::new()), backend };
    let (sharp, degraded) = (root("dataroot_gt"), root("dataroot_lq"));
    let intervals: Vec<usize> = s.or("interval_list", vec![1]);
    if intervals.is_empty() || intervals.contains(&0) {
        s.problem("interval_list", "needs numbers of frames from 1, such as [1]");
    }
    let held_out = [("REDS4", HeldOut::Reds4), ("official", HeldOut::RedsOfficial)];
    let [mirror, repeat_last] = ["mirror_sequence", "pad_sequence"].map(|key| s.or(key, false));
    if mirror && repeat_last {
        let what = "is true, and so is mirror_sequence: clips are continued in one way, choose it";
        s.problem("pad_sequence", what);
    }
    let (digits, extension) = files(s);
    let spikes = spikes::read(s, channels);
    TrainingSetOptions {
        kind: match kind {
            KindName::Vimeo => SetKind::Vimeo,
            KindName::Interpolation => SetKind::Interpolation,
            KindName::Denoising => SetKind::Denoising { sigma: sigma(s) },
            KindName::Recurrent | KindName::Fixed => SetKind::Recurrent,
        },
        sharp,
        degraded,
        spikes,
        meta_info: s.needed("meta_info_file", PathBuf::new()),
        digits,
        extension,
        frames: s.count("num_frame", None),
        crop: s.count("gt_size", None),
        scale,
        intervals,
        random_reverse: s.or("random_reverse", false),
        flip: s.or("use_hflip", false),
        rotate: s.or("use_rot", false),
        held_out: s.choice("val_partition", &held_out, Some(HeldOut::None)).unwrap_or_default(),
        mirror,
        repeat_last,
        color_jitter: s.or("color_jitter", false) && kind == KindName::Interpolation,
        temporal_scale: s.count("temporal_scale", Some(1)),
    }
}

/// `sigma_min` and `sigma_max`, in steps of 255.
fn sigma(s: &mut Section<'_>) -> [f32; 2] {
    let [least, greatest] = [s.amount("sigma_min", 0.0), s.amount("sigma_max", 50.0)];
    if least > greatest {
        let what = format!("is {least}, above sigma_max, which is {greatest}: swap them");
        s.problem("sigma_min", what);
    }
    [least as f32, greatest as f32]
}

const BACKENDS: [(&str, Backend); 2] = [("disk", Backend::Disk), ("lmdb", Backend::Lmdb)];

/// `io_backend`, a section of its own; `None` where the file is silent.
fn storage(s: &mut Section<'_>) -> Option<Backend> {
    let keys = s.inner("io_backend")?;
    let name = s.name("io_backend");
    let mut inner = Section::new(&name, keys, s.findings);
    let backend = inner.choice("type", &BACKENDS, None).unwrap_or(Backend::Disk);
    inner.finish();
    Some(backend)
}

/// The section that [`storage`] takes.
fn storage_to_json(backend: Backend) -> Value {
    let name = BACKENDS.iter().find(|(_, known)| *known == backend).map(|(name, _)| *name);
    json!({ "type": name })
}

/// `filename_tmpl`, as `08d`, and `filename_ext`.
fn files(s: &mut Section<'_>) -> (usize, String) {
    let template = s.or("filename_tmpl", "08d".to_owned());
    let digits = template.strip_suffix('d').and_then(|digits| digits.parse().ok());
    let digits = digits.filter(|digits| (1..=19).contains(digits));
    if digits.is_none() {
        let what = format!("is {template:?}: write the digits of a frame's number, as \"08d\"");
        s.problem("filename_tmpl", what);
    }
    let extension = s.or("filename_ext", "png".to_owned());
    (digits.unwrap_or(8), extension.trim_start_matches('.').to_owned())
}

/// Whether a set fits the network.
pub(super) fn check(videos: &TrainingSetOptions, network: &VrtConfig, findings: &mut Findings) {
    let (key, scale) = ("datasets.train.gt_size", network.upscale());
    let crop = videos.crop;
    let [_, rows, columns] = network.window();
    let window = rows.max(columns) * network.fold();
    if findings.problems.iter().any(|problem| problem.key == key) {
        // What it should be is not known.
    } else if !crop.is_multiple_of(scale) {
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
            network.size_multiple() * rows.max(columns)
        );
        findings.note(key, why);
    }
    check_kind(videos, network, findings);
    check_frames(videos, network, findings);
}

/// Whether the set makes what the network takes.
fn check_kind(videos: &TrainingSetOptions, network: &VrtConfig, findings: &mut Findings) {
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
    let spiked = Spiked {
        section: "datasets.train",
        spikes: videos.spikes.as_ref(),
        kind: (videos.kind == SetKind::Recurrent, "VideoRecurrentTrainDataset"),
        without: "train it from a FixedBatch",
    };
    spikes::check(&spiked, network, findings);
}

fn check_frames(videos: &TrainingSetOptions, network: &VrtConfig, findings: &mut Findings) {
    let (seen, _) = videos.frames_out();
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
            TrainingData::Videos(videos) => videos_to_json(videos),
        };
        section["dataloader_shuffle"] = self.shuffle.into();
        section["dataloader_num_workers"] = self.workers.into();
        section["dataloader_batch_size"] = self.batch.into();
        section
    }
}

fn videos_to_json(videos: &TrainingSetOptions) -> Value {
    let kind = match videos.kind {
        SetKind::Recurrent => KindName::Recurrent,
        SetKind::Vimeo => KindName::Vimeo,
        SetKind::Interpolation => KindName::Interpolation,
        SetKind::Denoising { .. } => KindName::Denoising,
    };
    let name = KINDS.iter().find(|(_, known)| *known == kind).map(|(name, _)| *name);
    let mut section = json!({
        "dataset_type": name,
        "dataroot_gt": videos.sharp.path,
        "dataroot_lq": videos.degraded.path,
        "io_backend": storage_to_json(videos.sharp.backend),
        "meta_info_file": videos.meta_info,
        "filename_tmpl": format!("{:02}d", videos.digits),
        "filename_ext": videos.extension,
        "num_frame": videos.frames,
        "gt_size": videos.crop,
        "interval_list": videos.intervals,
        "random_reverse": videos.random_reverse,
        "use_hflip": videos.flip,
        "use_rot": videos.rotate,
        "pad_sequence": videos.repeat_last,
        "mirror_sequence": videos.mirror,
        "val_partition": match videos.held_out {
            HeldOut::None => None,
            HeldOut::Reds4 => Some("REDS4"),
            HeldOut::RedsOfficial => Some("official"),
        },
        "temporal_scale": videos.temporal_scale,
    });
    if videos.kind == SetKind::Interpolation {
        section["color_jitter"] = videos.color_jitter.into();
    }
    if let Some(spikes) = &videos.spikes {
        spikes::to_json(spikes, &mut section);
    }
    if let SetKind::Denoising { sigma: [least, greatest] } = videos.kind {
        section["sigma_min"] = least.into();
        section["sigma_max"] = greatest.into();
    }
    section
}
