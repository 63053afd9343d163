//! What may be chosen for a run.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use vrt_model::config::VrtConfig;
use vrt_model::tiled::{SpecError, TileSpec, Tiling};
use vrt_video::{BitDepth, Programs, Ratio, StreamInfo};

use super::error::OptionsError;
use super::run::FRAMES_AROUND;
use super::spike::SpikeInput;

/// Largest noise level, in codes of 8 bits.
const MAX_SIGMA: f64 = 255.0;

/// Frames and pixels that neighbouring tiles share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// Frames that windows in time share.
    pub frames: usize,
    /// Rows or columns that tiles share, in pixels of the input.
    pub size: usize,
}

impl Default for Overlap {
    /// What shows no seam: less leaves too little around the borders of tiles, more is only slower.
    fn default() -> Self {
        Self { frames: 2, size: 64 }
    }
}

impl Overlap {
    /// Tiles of `frames` frames and `size` rows and columns (0: all) that share this.
    ///
    /// # Errors
    ///
    /// If tiles would not advance.
    pub fn of(self, frames: usize, size: usize) -> Result<TileSpec, SpecError> {
        TileSpec::new(frames, size, self.frames, self.size)
    }

    /// What published results were made with.
    pub const PUBLISHED: Self = Self { frames: 2, size: 20 };

    /// The same, or less where tiles would not advance.
    pub fn at_most_for(self, frames: usize, size: usize) -> Self {
        let below = |overlap: usize, tile: usize| match tile {
            0 => overlap,
            tile => overlap.min(tile - 1),
        };
        Self { frames: below(self.frames, frames), size: below(self.size, size) }
    }

    /// The same, in space at most half a tile.
    pub fn at_most_half_of(self, size: usize) -> Self {
        if size == 0 { self } else { Self { size: self.size.min(size / 2), ..self } }
    }
}

/// Memory that a run may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// Bytes of the machine's: for tiles, and whole frames around them.
    Machine(u64),
    /// A GPU's: for tiles alone.
    Gpu {
        /// Bytes.
        bytes: u64,
        /// GPUs, each of which has a window of frames in the machine's memory.
        devices: usize,
    },
}

impl Budget {
    /// How much.
    pub fn bytes(self) -> u64 {
        match self {
            Self::Machine(bytes) | Self::Gpu { bytes, .. } => bytes,
        }
    }
}

/// How large tiles are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TileChoice {
    /// As large as fits into memory, with the least work done twice.
    Auto {
        /// What the run may take; a safe share of what the machine has free if `None`.
        memory: Option<Budget>,
        /// What tiles share.
        overlap: Overlap,
    },
    /// These.
    Given {
        /// Sizes and overlaps.
        spec: TileSpec,
        /// What the run may take; a safe share of what the machine has free if `None`.
        memory: Option<Budget>,
        /// Whether tiles that need more are refused.
        refuses: bool,
    },
}

impl TileChoice {
    /// These tiles, whatever they need.
    pub fn given(spec: TileSpec) -> Self {
        Self::Given { spec, memory: None, refuses: false }
    }
}

impl Default for TileChoice {
    fn default() -> Self {
        Self::Auto { memory: None, overlap: Overlap::default() }
    }
}

/// How a video is restored.
#[derive(Clone, Debug)]
pub struct RestoreOptions {
    /// How tiles are put together.
    pub tiling: Tiling,
    /// How large tiles are.
    pub tile: TileChoice,
    /// Whether scene cuts are looked for, which no window then reaches across.
    pub scene_cuts: bool,
    /// Level of the noise for networks that want it: its standard deviation in codes of 8 bits.
    pub sigma: Option<f64>,
    /// Spikes of a camera beside, for networks that want them.
    pub spike: Option<SpikeInput>,
    /// Restore only this many frames.
    pub frames: Option<u64>,
    /// Bits per sample of written pictures; as many as the input's if `None`.
    pub bit_depth: Option<BitDepth>,
    /// Frames per second of a folder of pictures; 25 if `None`.
    pub frame_rate: Option<Ratio>,
    /// Arguments of ffmpeg's encoder in place of the default ones.
    pub encoder_arguments: Option<Vec<String>>,
    /// Whether an output that is there may be replaced.
    pub overwrite: bool,
    /// Where ffmpeg and ffprobe are.
    pub programs: Programs,
    /// Set by anyone to end the run after the tile under way; what is whole then is kept.
    pub stop: Arc<AtomicBool>,
}

impl Default for RestoreOptions {
    fn default() -> Self {
        Self {
            tiling: Tiling::default(),
            tile: TileChoice::default(),
            scene_cuts: true,
            sigma: None,
            spike: None,
            frames: None,
            bit_depth: None,
            frame_rate: None,
            encoder_arguments: None,
            overwrite: false,
            programs: Programs::default(),
            stop: Arc::default(),
        }
    }
}

impl RestoreOptions {
    /// Whether a network of `config` can be run with these options.
    ///
    /// # Errors
    ///
    /// Says which option is missing, is one too many or does not fit.
    pub fn check(&self, config: &VrtConfig) -> Result<(), OptionsError> {
        match (config.noise_map(), self.sigma) {
            (true, None) => return Err(OptionsError::SigmaMissing),
            (false, Some(_)) => return Err(OptionsError::SigmaUnused),
            (true, Some(sigma)) if !(0.0..=MAX_SIGMA).contains(&sigma) => {
                return Err(OptionsError::SigmaRange(sigma));
            }
            _ => {}
        }
        match (config.spike_channels(), &self.spike) {
            (0, Some(_)) => return Err(OptionsError::SpikeUnused),
            (1.., None) => return Err(OptionsError::SpikeMissing),
            (0, None) | (1.., Some(_)) => {}
        }
        self.check_interpolation(config)
    }

    fn check_interpolation(&self, config: &VrtConfig) -> Result<(), OptionsError> {
        let Some(frames) = config.fused_frames() else {
            return Ok(());
        };
        let channels = config.input_channels();
        if frames != FRAMES_AROUND || channels != config.out_channels() {
            return Err(OptionsError::Interpolation { frames, channels });
        }
        match self.tile {
            TileChoice::Given { spec, .. } if ![0, FRAMES_AROUND].contains(&spec.frames()) => {
                Err(OptionsError::InterpolationTile(spec.frames()))
            }
            _ => Ok(()),
        }
    }

    /// Bits per sample of pictures made from a stream of `info`.
    pub(super) fn bit_depth_for(&self, info: &StreamInfo) -> BitDepth {
        self.bit_depth.unwrap_or(match info.bit_depth {
            0..=8 => BitDepth::Eight,
            _ => BitDepth::Sixteen,
        })
    }
}
