//! Chooses tiles for the memory there is.

use serde::Serialize;
use vrt_model::config::VrtConfig;
use vrt_model::cost;
use vrt_model::tiled::{ClipSize, PlanError, PlanLimits, TileSpec, plan};

use super::options::{Budget, Overlap, TileChoice};
use super::run::FRAMES_AROUND;
use super::{FRAMES_READ_AHEAD, FRAMES_TO_WRITE};
use crate::memory::Memory;

/// Most frames of a tile that is planned: longer windows hardly help, and show progress late.
const MAX_FRAMES: usize = 24;

/// Copies of the frames of a window that are held beside the network, in input size: those that
/// are collected, the window, a tile of it, and what the decoder and its buffers hold.
const INPUT_COPIES: u64 = 4;

/// The same in output size: the window put together, finished frames, and a tile of them.
const OUTPUT_COPIES: u64 = 3;

/// Bytes of a sample.
const SAMPLE_BYTES: u64 = 4;

/// Tiles, and what they are expected to need.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TilePlan {
    /// Sizes and overlaps.
    pub spec: TileSpec,
    /// Bytes that they may take, and are expected to; `None` where either is not known.
    pub memory: Option<PlannedMemory>,
}

/// What a plan was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedMemory {
    /// Bytes that the run may take.
    pub budget: u64,
    /// Bytes that it is expected to take.
    pub predicted: u64,
}

/// Why tiles could not be planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TilePlanError {
    /// Nothing fits.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The system does not say what is free.
    #[error("how much memory is free is not known here; state how much may be used (--memory)")]
    MemoryUnknown,
    /// The stated tiles need more than what was stated.
    #[error(
        "the tiles of --tile need about {} MiB of memory, --memory allows {}; state smaller tiles, \
         or leave --tile to be planned",
        .0.predicted >> 20, .0.budget >> 20
    )]
    TooLarge(PlannedMemory),
}

/// The tiles of a run over a clip of this size.
///
/// # Errors
///
/// If not even the smallest tile fits into memory, or stated ones do not fit into what was stated;
/// if the overlap leaves no tile, or it is not known how much memory is free.
pub fn plan_tiles(
    config: &VrtConfig,
    clip: ClipSize,
    choice: TileChoice,
) -> Result<TilePlan, TilePlanError> {
    let (memory, overlap) = match choice {
        TileChoice::Given { spec, memory, refuses } => {
            return check_tiles(config, clip, spec, (memory, refuses));
        }
        TileChoice::Auto { memory, overlap } => (memory, overlap),
    };
    let of = memory.or_else(Needs::usual).ok_or(TilePlanError::MemoryUnknown)?;
    let (budget, needs) = (of.bytes(), Needs { config, clip, of });
    let peak = |frames, height, width| needs.bytes(frames, height, width);
    let spec = match config.fused_frames() {
        // Every window has the frames that the network sees.
        Some(_) => {
            needs.most_frames(FRAMES_AROUND, FRAMES_AROUND)?;
            let limits = limits(FRAMES_AROUND, FRAMES_AROUND, Overlap { frames: 0, ..overlap });
            plan(budget, ClipSize { frames: None, ..clip }, limits, peak)?
        }
        None => {
            let window = config.window()[0];
            let most = needs.most_frames(window, MAX_FRAMES)?;
            plan(budget, clip, limits(window, most, overlap), peak)?
        }
    };
    let predicted = needs.of(spec, spec.frames());
    Ok(TilePlan { spec, memory: Some(PlannedMemory { budget, predicted }) })
}

/// Stated tiles, and what they need.
fn check_tiles(
    config: &VrtConfig,
    clip: ClipSize,
    spec: TileSpec,
    (memory, refuses): (Option<Budget>, bool),
) -> Result<TilePlan, TilePlanError> {
    let whole = config.fused_frames().map(|_| FRAMES_AROUND).or(clip.frames);
    let frames = if spec.frames() == 0 { whole } else { Some(spec.frames()) };
    let (Some(frames), Some(of)) = (frames, memory.or_else(Needs::usual)) else {
        return Ok(TilePlan { spec, memory: None });
    };
    let (budget, predicted) = (of.bytes(), Needs { config, clip, of }.of(spec, frames));
    let memory = PlannedMemory { budget, predicted };
    match refuses && predicted > budget {
        true => Err(TilePlanError::TooLarge(memory)),
        false => Ok(TilePlan { spec, memory: Some(memory) }),
    }
}

fn limits(window_frames: usize, max_frames: usize, overlap: Overlap) -> PlanLimits {
    PlanLimits {
        window_frames,
        max_frames,
        overlap_frames: overlap.frames,
        overlap_size: overlap.size,
    }
}

/// Predicts what a run needs.
struct Needs<'a> {
    config: &'a VrtConfig,
    clip: ClipSize,
    /// Of which memory.
    of: Budget,
}

impl Needs<'_> {
    /// A safe share of what the machine has free, where it tells.
    fn usual() -> Option<Budget> {
        Some(Budget::Machine(Memory::now()?.usable()))
    }

    /// Bytes for tiles that have so many frames.
    fn of(&self, spec: TileSpec, frames: usize) -> u64 {
        let side = |side: usize| if spec.size() == 0 { side } else { spec.size().min(side) };
        self.bytes(frames, side(self.clip.height), side(self.clip.width))
    }

    /// Bytes for tiles of so many frames, rows and columns: the network's and, of the machine's, the
    /// frames' around.
    fn bytes(&self, frames: usize, height: usize, width: usize) -> u64 {
        let size = [frames, height, width];
        match self.of {
            Budget::Gpu { .. } => cost::gpu_peak_bytes(self.config, size),
            Budget::Machine(_) => {
                cost::peak_bytes(self.config, size).saturating_add(self.held_frames(frames as u64))
            }
        }
    }

    /// How many frames, from a window's to `most`, a tile may have where a GPU restores and the
    /// machine holds whole frames.
    fn most_frames(&self, window: usize, most: usize) -> Result<usize, PlanError> {
        let Budget::Gpu { devices, .. } = self.of else { return Ok(most) };
        let Some(Budget::Machine(budget)) = Self::usual() else { return Ok(most) };
        self.frames_within(budget, devices, window, most)
    }

    /// The same in so many bytes of the machine's, for so many GPUs.
    fn frames_within(
        &self,
        budget: u64,
        devices: usize,
        window: usize,
        most: usize,
    ) -> Result<usize, PlanError> {
        let held = |frames: usize| self.held_frames(frames as u64).saturating_mul(devices as u64);
        (window..=most).rev().find(|frames| held(*frames) <= budget).ok_or_else(|| {
            let ClipSize { height, width, .. } = self.clip;
            PlanError::NothingFits { frames: window, height, width, needed: held(window), budget }
        })
    }

    /// Whole frames that windows of `frames` frames, the queues and both ends hold.
    fn held_frames(&self, frames: u64) -> u64 {
        let pixels = (self.clip.height as u64).saturating_mul(self.clip.width as u64);
        let input = pixels.saturating_mul(self.config.input_channels() as u64 * SAMPLE_BYTES);
        let scale = self.config.upscale() as u64;
        let output = pixels.saturating_mul(3 * SAMPLE_BYTES * scale * scale);
        let inputs = INPUT_COPIES * frames + FRAMES_READ_AHEAD as u64;
        let outputs = OUTPUT_COPIES * frames + FRAMES_TO_WRITE as u64;
        input.saturating_mul(inputs).saturating_add(output.saturating_mul(outputs))
    }
}

#[cfg(test)]
mod tests {
    use vrt_model::presets::Preset;

    use super::*;

    #[test]
    fn windows_for_gpus_are_as_long_as_the_machine_holds() {
        let config = Preset::parse("001").unwrap().config();
        let clip = ClipSize { frames: Some(1000), height: 720, width: 1280 };
        let of = Budget::Gpu { bytes: 80 << 30, devices: 1 };
        let needs = Needs { config: &config, clip, of };
        let (window, budget) = (6, 12 << 30);
        let frames = |devices| needs.frames_within(budget, devices, window, 100).unwrap();
        let (one, two) = (frames(1), frames(2));
        assert!(window < two && two < one && one < 100, "{one} {two}");
        assert!(needs.held_frames(one as u64) <= budget);
        assert!(needs.held_frames(one as u64 + 1) > budget);
        // The network's share is the GPU's.
        let tile = needs.bytes(window, 64, 64);
        assert_eq!(tile, cost::gpu_peak_bytes(&config, [window, 64, 64]));
        let none = needs.frames_within(1 << 20, 1, window, 100);
        assert!(matches!(none, Err(PlanError::NothingFits { frames: 6, .. })), "{none:?}");
    }
}
