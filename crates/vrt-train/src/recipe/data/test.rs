//! The section `datasets.test`: clips that the network is tried on.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use vrt_model::VrtConfig;
use vrt_video::{Backend, SpikeTree};

use super::{Findings, Section, Spiked, Wanted, spikes, storage, storage_to_json};

/// How the clips of a test set are read.
#[derive(Clone, Debug, PartialEq)]
pub enum TestKind {
    /// Clips of frames, with and without the fault.
    Clips,
    /// Sequences of Vimeo-90K, whose frame in the middle is scored.
    Vimeo {
        /// The list of sequences; all without one.
        meta_info: Option<PathBuf>,
        /// Every how many frames the network sees one: 2 for interpolation.
        temporal_scale: usize,
        /// How the sequence goes on behind its end.
        beyond: Beyond,
    },
}

/// How a sequence goes on behind its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Beyond {
    /// It ends.
    #[default]
    Nothing,
    /// By its last frame once more (`pad_sequence`).
    LastFrame,
    /// By itself backwards (`mirror_sequence`).
    Mirror,
}

/// Clips that the network is tried on.
#[derive(Clone, Debug, PartialEq)]
pub struct TestSet {
    /// How clips are read.
    pub kind: TestKind,
    /// The true frames.
    pub sharp: PathBuf,
    /// The frames to restore.
    pub degraded: PathBuf,
    /// What both are kept in.
    pub backend: Backend,
    /// Noise that is added to the true frames, σ in steps of 255; the frames of `degraded` are
    /// then not read.
    pub sigma: Option<f64>,
    /// Streams of spikes beside the frames to restore.
    pub spikes: Option<SpikeTree>,
    /// Frames of a clip that are looked at; all without a number.
    pub frames: Option<usize>,
}

const KINDS: [(&str, bool); 2] =
    [("VideoRecurrentTestDataset", false), ("VideoTestVimeo90KDataset", true)];

pub(in super::super) fn read(
    keys: Map<String, Value>,
    network: Option<&VrtConfig>,
    findings: &mut Findings,
) -> Option<TestSet> {
    let mut s = Section::new("datasets.test", keys, findings);
    s.unused("name", "sets are told apart by their section");
    s.unused("cache_data", "frames are read when they are needed");
    let vimeo = s.choice("dataset_type", &KINDS, None);
    if vimeo != Some(true) {
        for key in ["meta_info_file", "pad_sequence", "mirror_sequence", "temporal_scale"] {
            s.unused(key, "only VideoTestVimeo90KDataset looks at it");
        }
    }
    let meta_info = s.optional("meta_info_file");
    let beyond = match (s.or("pad_sequence", false), s.or("mirror_sequence", false)) {
        (_, true) => Beyond::Mirror,
        (true, false) => Beyond::LastFrame,
        (false, false) => Beyond::Nothing,
    };
    let temporal_scale = s.count("temporal_scale", Some(1));
    let kind = vimeo.map(|vimeo| match vimeo {
        true => TestKind::Vimeo { meta_info, temporal_scale, beyond },
        false => TestKind::Clips,
    });
    let sharp = s.needed("dataroot_gt", PathBuf::new());
    let degraded = s.or("dataroot_lq", sharp.clone());
    let backend = storage(&mut s).unwrap_or_else(|| by_name(&sharp));
    let sigma = s.amount("sigma", 0.0);
    let noisy = network.is_some_and(VrtConfig::noise_map);
    // Published files say −1 for all.
    let frames = s.or("num_frame", -1_i64);
    if frames == 0 || frames < -1 {
        s.problem("num_frame", format!("is {frames}: write how many frames, or -1 for all"));
    }
    let spikes = spikes::read(&mut s, network.map_or(0, VrtConfig::spike_channels));
    s.finish();
    let sigma = (noisy || sigma > 0.0).then_some(sigma);
    let frames = usize::try_from(frames).ok();
    Some(TestSet { kind: kind?, sharp, degraded, backend, sigma, spikes, frames })
}

/// What frames are kept in where the file does not say: environments have names that end in `.lmdb`.
fn by_name(root: &Path) -> Backend {
    match root.extension().is_some_and(|ending| ending == "lmdb") {
        true => Backend::Lmdb,
        false => Backend::Disk,
    }
}

/// Whether a test set fits the network.
pub(in super::super) fn check_test(test: &TestSet, network: &VrtConfig, findings: &mut Findings) {
    let key = "datasets.test.dataset_type";
    let between = network.fused_frames().is_some();
    match &test.kind {
        TestKind::Clips if between => {
            let what = "has whole clips, but the network makes the frame between others: take \
                        VideoTestVimeo90KDataset";
            findings.problem(key, what);
        }
        TestKind::Vimeo { temporal_scale, .. } if between != (*temporal_scale > 1) => {
            let what = format!(
                "is {temporal_scale}: write 2 for networks that make the frame between others, \
                 1 for all others"
            );
            findings.problem("datasets.test.temporal_scale", what);
        }
        _ => {}
    }
    if test.sigma.is_some() && network.upscale() > 1 {
        let what = "is for networks that keep the size of frames: remove it";
        findings.problem("datasets.test.sigma", what);
    }
    let spiked = Spiked {
        section: "datasets.test",
        spikes: test.spikes.as_ref(),
        kind: (test.kind == TestKind::Clips, "VideoRecurrentTestDataset"),
        without: "remove datasets.test",
    };
    spikes::check(&spiked, network, findings);
}

impl TestSet {
    pub(in super::super) fn paths<'a>(&'a self, wanted: &mut Vec<Wanted<'a>>) {
        let folder = "there is no such folder: correct the path of the frames, or remove \
                      datasets.test to train without trials";
        wanted.push(("datasets.test.dataroot_gt", &self.sharp, folder));
        if self.sigma.is_none() {
            wanted.push(("datasets.test.dataroot_lq", &self.degraded, folder));
        }
        if let Some(spikes) = &self.spikes {
            wanted.push(("datasets.test.dataroot_spike", &spikes.root, folder));
        }
        if let TestKind::Vimeo { meta_info: Some(list), .. } = &self.kind {
            let what = "there is no such list of clips: correct the path, or write null for all";
            wanted.push(("datasets.test.meta_info_file", list, what));
        }
    }

    /// The section that [`read`] takes.
    pub(in super::super) fn to_json(&self) -> Value {
        let mut section = json!({
            "dataroot_gt": self.sharp,
            "dataroot_lq": self.degraded,
            "io_backend": storage_to_json(self.backend),
            "num_frame": self.frames.map_or(json!(-1), |frames| json!(frames)),
        });
        if let Some(sigma) = self.sigma {
            section["sigma"] = sigma.into();
        }
        if let Some(spikes) = &self.spikes {
            spikes::to_json(spikes, &mut section);
        }
        section["dataset_type"] = match &self.kind {
            TestKind::Clips => KINDS[0].0.into(),
            TestKind::Vimeo { meta_info, temporal_scale, beyond } => {
                section["meta_info_file"] = json!(meta_info);
                section["temporal_scale"] = (*temporal_scale).into();
                section["pad_sequence"] = (*beyond == Beyond::LastFrame).into();
                section["mirror_sequence"] = (*beyond == Beyond::Mirror).into();
                KINDS[1].0.into()
            }
        };
        section
    }
}
