//! Flags about tiles, shared by the commands that restore.

use std::path::Path;

use clap::{Args, ValueEnum};
use vrt::device::{OpenDevices, is_processor};
use vrt::restore::{Budget, Overlap, TileChoice};
use vrt_model::VrtConfig;
use vrt_model::presets::Preset;
use vrt_model::tiled::Tiling;

use super::Failure;
use super::values::{Bytes, FramesAndSize, Tile};

/// Memory that is planned for on a GPU, whose free memory cannot be asked for.
pub(super) const GPU_MEMORY: u64 = 8 << 30;

/// How a clip is cut into tiles.
#[derive(Args, Clone, Debug)]
pub(crate) struct TileOptions {
    /// How tiles are put together: without seams, or as published numbers were made
    #[arg(long, value_enum, default_value_t)]
    pub(crate) tiling: TilingName,
    /// Frames of a tile, and its rows and columns, in the input (0: all), or auto: what fits into
    /// memory [default: auto; the published tiles with --tiling published]
    #[arg(long, value_name = "FRAMES,SIZE|auto")]
    pub(crate) tile: Option<Tile>,
    /// Frames and pixels that neighbouring tiles share [default: 2,64; 2,20 with --tiling published]
    #[arg(long, value_name = "FRAMES,SIZE")]
    pub(crate) overlap: Option<FramesAndSize>,
    /// Memory that tiles are planned for, such as 4G or 512M, the GPU's where one restores [default:
    /// a safe share of what is free, or of what the GPU has]; stated tiles that need more are refused
    #[arg(long, value_name = "BYTES")]
    pub(crate) memory: Option<Bytes>,
}

/// Names of [`Tiling`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum TilingName {
    /// Tiles fade into each other in space and time
    #[default]
    Seamless,
    /// Fixed steps, plain averages, hard borders
    Published,
}

impl From<TilingName> for Tiling {
    fn from(name: TilingName) -> Self {
        match name {
            TilingName::Seamless => Self::Seamless,
            TilingName::Published => Self::Published,
        }
    }
}

impl TileOptions {
    pub(crate) fn tiling(&self) -> Tiling {
        self.tiling.into()
    }

    /// The tiles that are asked for; `warn` hears what a person should know about them.
    pub(crate) fn choose(
        &self,
        network: &Recognised<'_>,
        devices: &OpenDevices,
        warn: &mut dyn FnMut(&str),
    ) -> Result<TileChoice, Failure> {
        match (self.tile, self.tiling) {
            (Some(Tile::Sizes(FramesAndSize { frames, size })), _) => {
                self.given(frames, size, devices)
            }
            (None, TilingName::Published) => match network.preset(warn) {
                Some(preset) => self.given(preset.tile.frames, preset.tile.size, devices),
                None => {
                    warn("the network is no published one: tiles are planned for the memory");
                    Ok(self.auto(devices, warn))
                }
            },
            _ => Ok(self.auto(devices, warn)),
        }
    }

    fn given(
        &self,
        frames: usize,
        size: usize,
        devices: &OpenDevices,
    ) -> Result<TileChoice, Failure> {
        let spec = match self.overlap {
            Some(overlap) => {
                Overlap { frames: overlap.frames, size: overlap.size }.of(frames, size)
            }
            None => self.usual_overlap(size).at_most_for(frames, size).of(frames, size),
        };
        let spec =
            spec.map_err(|error| Failure::Usage(format!("--tile and --overlap: {error}")))?;
        // Nothing is planned: nobody is told if a GPU does not say what it has.
        let memory = self.memory(devices, &mut |_| ());
        Ok(TileChoice::Given { spec, memory, refuses: self.memory.is_some() })
    }

    /// What tiles of `size` share if nothing else is stated.
    fn usual_overlap(&self, size: usize) -> Overlap {
        match self.tiling {
            TilingName::Published => Overlap::PUBLISHED,
            TilingName::Seamless => Overlap::default().at_most_half_of(size),
        }
    }

    /// The memory that is stated, of the devices that restore.
    fn stated(&self, devices: &OpenDevices) -> Option<Budget> {
        let Bytes(bytes) = self.memory?;
        Some(match on_processor(devices) {
            true => Budget::Machine(bytes),
            false => Budget::Gpu { bytes, devices: devices.list.len() },
        })
    }

    /// The memory that is stated, or what GPUs have.
    fn memory(&self, devices: &OpenDevices, warn: &mut dyn FnMut(&str)) -> Option<Budget> {
        self.stated(devices).or_else(|| {
            if on_processor(devices) {
                return None;
            }
            let bytes = devices.usable_memory().unwrap_or_else(|| {
                warn(
                    "the GPU does not say how much memory it has: tiles are planned for 8 GiB; \
                     state --memory to use more or less",
                );
                GPU_MEMORY
            });
            Some(Budget::Gpu { bytes, devices: devices.list.len() })
        })
    }

    fn auto(&self, devices: &OpenDevices, warn: &mut dyn FnMut(&str)) -> TileChoice {
        let overlap = self.overlap.map(|FramesAndSize { frames, size }| Overlap { frames, size });
        let overlap = overlap.unwrap_or_else(|| self.usual_overlap(0));
        let memory = self.memory(devices, warn);
        TileChoice::Auto { memory, overlap }
    }
}

fn on_processor(devices: &OpenDevices) -> bool {
    devices.list.iter().all(is_processor)
}

/// A network, and what tells which published one it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recognised<'a> {
    /// Its file.
    pub(crate) weights: &'a Path,
    /// Its architecture.
    pub(crate) config: &'a VrtConfig,
    /// What the user says it is.
    pub(crate) preset: Option<&'static Preset>,
}

impl Recognised<'_> {
    /// The published network that this is: stated, named like its file, or of its architecture.
    fn preset(&self, warn: &mut dyn FnMut(&str)) -> Option<&'static Preset> {
        let fits = |preset: &&'static Preset| preset.config().same_network(self.config);
        let file = self.weights.file_name().unwrap_or_default().to_string_lossy();
        let named = self.preset.or_else(|| Preset::parse(&file).ok().filter(fits));
        if named.is_some() {
            return named;
        }
        let alike: Vec<_> = Preset::matching(self.config).collect();
        let first = *alike.first()?;
        if alike.iter().any(|preset| preset.tile != first.tile) {
            let names: Vec<_> = alike.iter().map(|preset| preset.id).collect();
            warn(&format!(
                "the weights may be those of {}, published with different tiles: taking those of \
                 {}; state another with --preset or --tile",
                names.join(", "),
                first.id
            ));
        }
        Some(first)
    }
}

#[cfg(test)]
mod tests {
    use vrt::device::Devices;
    use vrt_model::tiled::TileSpec;

    use super::*;

    const NOTHING: TileOptions =
        TileOptions { tiling: TilingName::Seamless, tile: None, overlap: None, memory: None };

    fn processor() -> OpenDevices {
        Devices::default().open().unwrap()
    }

    fn choose(options: &TileOptions, file: &str, preset: &str) -> (TileChoice, usize) {
        let config = Preset::parse(preset).unwrap().config();
        let network = Recognised { weights: Path::new(file), config: &config, preset: None };
        let mut warnings = 0;
        let choice = options.choose(&network, &processor(), &mut |_| warnings += 1);
        (choice.unwrap(), warnings)
    }

    fn given(frames: usize, size: usize, overlap_frames: usize, overlap_size: usize) -> TileChoice {
        TileChoice::given(TileSpec::new(frames, size, overlap_frames, overlap_size).unwrap())
    }

    #[test]
    fn tiles_are_planned_unless_stated() {
        assert_eq!(choose(&NOTHING, "a.pth", "006").0, TileChoice::default());
        let memory = TileOptions { memory: Some(Bytes(7)), ..NOTHING };
        let overlap = Overlap::default();
        assert_eq!(
            choose(&memory, "a.pth", "006").0,
            TileChoice::Auto { memory: Some(Budget::Machine(7)), overlap }
        );
        let sizes = Tile::Sizes(FramesAndSize { frames: 2, size: 64 });
        let stated = TileOptions { tile: Some(sizes), ..NOTHING };
        assert_eq!(choose(&stated, "a.pth", "006").0, given(2, 64, 1, 32));
    }

    #[test]
    fn published_tiles_follow_the_name_of_the_file_then_the_architecture() {
        let published = TileOptions { tiling: TilingName::Published, ..NOTHING };
        assert_eq!(choose(&published, "x/001.pth", "001"), (given(40, 128, 2, 20), 0));
        let file = "x/006_VRT_videodeblurring_GoPro.pth";
        assert_eq!(choose(&published, file, "006"), (given(18, 192, 2, 20), 0));
        let (choice, warnings) = choose(&published, "mine.pth", "006");
        assert_eq!((choice, warnings), (given(12, 256, 2, 20), 1));
    }

    #[test]
    fn an_overlap_that_was_asked_for_is_not_changed() {
        let overlap = Some(FramesAndSize { frames: 2, size: 20 });
        let sizes = Tile::Sizes(FramesAndSize { frames: 2, size: 64 });
        let options = TileOptions { tile: Some(sizes), overlap, ..NOTHING };
        let config = Preset::parse("006").unwrap().config();
        let network = Recognised { weights: Path::new("a"), config: &config, preset: None };
        let failure = options.choose(&network, &processor(), &mut |_| {}).unwrap_err();
        assert!(matches!(failure, Failure::Usage(_)), "{failure}");
    }
}
