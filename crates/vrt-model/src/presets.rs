//! The nine published networks, and the RGB+spike networks this project adds, by name.

use crate::config::{RGB_CHANNELS, Reach, SCALED_STAGES, Task, VrtConfig, VrtFields};

/// Tiles as published results were made: sizes in frames and in pixels of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedTile {
    /// Frames of a tile; 0 for the whole clip.
    pub frames: usize,
    /// Rows and columns of a tile; 0 for the whole frame.
    pub size: usize,
    /// Frames that neighbouring tiles share.
    pub overlap_frames: usize,
    /// Rows or columns that neighbouring tiles share.
    pub overlap_size: usize,
}

/// A network with a name.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// Short name, such as `006`.
    pub id: &'static str,
    /// Full name: that of the published file without `.pth`.
    pub name: &'static str,
    /// What it is for, in words.
    pub about: &'static str,
    /// Frames of a clip it was trained on.
    pub frames: usize,
    /// Tiles of the published results.
    pub tile: PublishedTile,
    fields: fn() -> VrtFields,
}

/// No preset has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no preset {name:?}; {}", suggestion(.nearest.as_deref()))]
pub struct UnknownPreset {
    /// What was asked for.
    pub name: String,
    /// The most similar name there is.
    pub nearest: Option<String>,
}

fn suggestion(nearest: Option<&str>) -> String {
    let ids: Vec<_> = Preset::all().iter().map(|preset| preset.id).collect();
    let known = format!("presets are {}", ids.join(", "));
    nearest.map_or(known.clone(), |nearest| format!("did you mean {nearest}? {known}"))
}

impl Preset {
    /// Every preset, the published ones first.
    pub fn all() -> &'static [Self] {
        &PRESETS
    }

    /// The preset of this name: short, full, or the published file with its ending and folder.
    ///
    /// # Errors
    ///
    /// Fails with the most similar name if there is none.
    pub fn parse(name: &str) -> Result<&'static Self, UnknownPreset> {
        let wanted = name.rsplit(['/', '\\']).next().unwrap_or(name).to_ascii_lowercase();
        let wanted = wanted.trim_end_matches(".pth").trim_end_matches(".safetensors");
        let names = |preset: &Self| [preset.id, preset.name].map(str::to_ascii_lowercase);
        let found = PRESETS.iter().find(|preset| names(preset).iter().any(|n| n == wanted));
        found.ok_or_else(|| {
            let known = PRESETS.iter().flat_map(names);
            let nearest = crate::similar::nearest(wanted, known);
            UnknownPreset { name: name.to_owned(), nearest }
        })
    }

    /// The presets that are this network, whatever their drop path rates; several share one
    /// architecture.
    pub fn matching(config: &VrtConfig) -> impl Iterator<Item = &'static Self> {
        PRESETS.iter().filter(move |preset| preset.config().same_network(config))
    }

    /// Its configuration.
    ///
    /// # Panics
    ///
    /// Never: every preset is valid, which the tests hold.
    pub fn config(&self) -> VrtConfig {
        VrtConfig::new((self.fields)())
            .unwrap_or_else(|error| panic!("preset {}: {error}", self.id))
    }

    /// What it is for.
    pub fn task(&self) -> Task {
        self.config().task()
    }
}

const fn tile(frames: usize, size: usize) -> PublishedTile {
    PublishedTile { frames, size, overlap_frames: 2, overlap_size: 20 }
}

/// The whole clip at once.
const WHOLE: PublishedTile =
    PublishedTile { frames: 0, size: 0, overlap_frames: 0, overlap_size: 0 };

static PRESETS: [Preset; 11] = [
    Preset {
        id: "001",
        name: "001_VRT_videosr_bi_REDS_6frames",
        about: "super-resolution ×4, bicubic, trained on 6 frames of REDS",
        frames: 6,
        tile: tile(40, 128),
        fields: || super_resolution(6, Reach::One, 12),
    },
    Preset {
        id: "002",
        name: "002_VRT_videosr_bi_REDS_16frames",
        about: "super-resolution ×4, bicubic, trained on 16 frames of REDS",
        frames: 16,
        tile: tile(40, 128),
        fields: || super_resolution(8, Reach::Three, 24),
    },
    Preset {
        id: "003",
        name: "003_VRT_videosr_bi_Vimeo_7frames",
        about: "super-resolution ×4, bicubic, trained on Vimeo-90K",
        frames: 8,
        tile: tile(32, 128),
        fields: || super_resolution(8, Reach::Two, 16),
    },
    Preset {
        id: "004",
        name: "004_VRT_videosr_bd_Vimeo_7frames",
        about: "super-resolution ×4, blurred and downsampled, trained on Vimeo-90K",
        frames: 8,
        tile: tile(32, 128),
        fields: || super_resolution(8, Reach::Two, 16),
    },
    Preset {
        id: "005",
        name: "005_VRT_videodeblurring_DVD",
        about: "deblurring, trained on DVD",
        frames: 6,
        tile: tile(12, 256),
        fields: same_size,
    },
    Preset {
        id: "006",
        name: "006_VRT_videodeblurring_GoPro",
        about: "deblurring, trained on GoPro",
        frames: 6,
        tile: tile(18, 192),
        fields: same_size,
    },
    Preset {
        id: "007",
        name: "007_VRT_videodeblurring_REDS",
        about: "deblurring, trained on REDS",
        frames: 6,
        tile: tile(12, 256),
        fields: same_size,
    },
    Preset {
        id: "008",
        name: "008_VRT_videodenoising_DAVIS",
        about: "denoising with a known noise level, trained on DAVIS",
        frames: 6,
        tile: tile(12, 256),
        fields: || VrtFields { noise_map: true, ..same_size() },
    },
    Preset {
        id: "009",
        name: "009_VRT_videofi_Vimeo_4frames",
        about: "one new frame between four, trained on Vimeo-90K",
        frames: 4,
        tile: WHOLE,
        fields: || VrtFields {
            window: [4, 8, 8],
            independent: Vec::new(),
            reach: Reach::None,
            ..same_size()
        },
    },
    Preset {
        id: "006-spike",
        name: "006_VRT_videodeblurring_GoPro_spike",
        about: "deblurring with a spike channel, the size of 006",
        frames: 6,
        tile: tile(18, 192),
        fields: || VrtFields { in_channels: RGB_CHANNELS + 1, ..same_size() },
    },
    Preset {
        id: "deblur-spike",
        name: "VRT_videodeblurring_spike",
        about: "deblurring with a spike channel, the default for training",
        frames: 6,
        tile: tile(18, 192),
        fields: VrtFields::default,
    },
];

/// Super-resolution ×4, in windows of `frames`.
fn super_resolution(frames: usize, reach: Reach, groups: usize) -> VrtFields {
    VrtFields {
        upscale: 4,
        in_channels: RGB_CHANNELS,
        window: [frames, 8, 8],
        reach,
        deformable_groups: groups,
        ..VrtFields::default()
    }
}

/// Deblurring, with fewer and narrower stages than super-resolution.
fn same_size() -> VrtFields {
    let entries = |scaled, refining| [vec![scaled; SCALED_STAGES], vec![refining; 4]].concat();
    VrtFields {
        in_channels: RGB_CHANNELS,
        depths: entries(8, 4),
        embed_dims: entries(96, 120),
        heads: entries(6, 6),
        independent: vec![9, 10],
        deformable_groups: 16,
        ..VrtFields::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_a_network_with_names_of_its_own() {
        let mut names = Vec::new();
        for preset in Preset::all() {
            let found: Vec<_> = Preset::matching(&preset.config()).map(|p| p.id).collect();
            assert!(found.contains(&preset.id), "{}: {found:?}", preset.id);
            names.extend([preset.id, preset.name]);
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 2 * Preset::all().len());
    }

    #[test]
    fn presets_are_found_by_id_name_and_file() {
        let files =
            ["006", "006_VRT_videodeblurring_GoPro", "zoo/006_vrt_videodeblurring_gopro.pth"];
        for name in files {
            assert_eq!(Preset::parse(name).map(|preset| preset.id), Ok("006"), "{name}");
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_a_similar_one() {
        let error = Preset::parse("006_VRT_videodeblurring_GoPr").expect_err("no such preset");
        assert_eq!(error.nearest.as_deref(), Some("006_vrt_videodeblurring_gopro"));
        assert!(error.to_string().contains("deblur-spike"), "{error}");
        assert_eq!(Preset::parse("zebra").expect_err("no such preset").nearest, None);
    }

    #[test]
    fn deblurring_presets_share_one_network() {
        let ids: Vec<_> = Preset::matching(&Preset::all()[4].config()).map(|p| p.id).collect();
        assert_eq!(ids, ["005", "006", "007"]);
    }

    #[test]
    fn tasks_follow_from_the_configuration() {
        let tasks: Vec<_> = Preset::all().iter().map(Preset::task).collect();
        assert_eq!(&tasks[..4], [Task::SuperResolution; 4]);
        assert_eq!(&tasks[4..7], [Task::Deblurring; 3]);
        assert_eq!(&tasks[7..9], [Task::Denoising, Task::Interpolation]);
        assert_eq!(&tasks[9..], [Task::Deblurring; 2]);
    }
}
