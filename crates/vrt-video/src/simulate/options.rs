//! What clips are to be made.

use serde::Serialize;
use vrt_spike::Geometry;

use super::SimulateError;
use crate::spikes::MAX_SPIKE_FRAMES;
use crate::{Programs, SpikeCamera};

/// The most clips: their names have six digits.
const MAX_CLIPS: usize = 1_000_000;

/// The most frames of a clip.
const MAX_FRAMES: usize = 10_000;

/// Sides that frames can have.
const SIDES: [usize; 2] = [32, 4096];

/// The longest blur, in pixels.
const LONGEST_BLUR: f64 = 64.0;

/// The strongest noise, of 255.
const STRONGEST_NOISE: f64 = 64.0;

/// Which stills are used: every tenth in the order of names is kept for testing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Those to train on.
    #[default]
    Train,
    /// Those to test on.
    Test,
    /// All of them.
    All,
}

impl Part {
    /// Whether the still `at` this place belongs to it.
    pub(super) fn has(self, at: usize) -> bool {
        let tests = at % 10 == 9;
        match self {
            Self::Train => !tests,
            Self::Test => tests,
            Self::All => true,
        }
    }
}

/// A spike camera beside the one that films.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SpikesBeside {
    /// Frames of it in every exposure of the other one.
    pub frames: usize,
    /// The camera.
    #[serde(flatten)]
    pub camera: SpikeCamera,
}

/// What clips are to be made. Every clip depends on these, its number and the stills alone, but not
/// on how many clips there are.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SimulationOptions {
    /// How many clips.
    pub clips: usize,
    /// Frames of each.
    pub frames: usize,
    /// Columns of sharp frames.
    pub width: usize,
    /// Rows of sharp frames.
    pub height: usize,
    /// What settles everything that is drawn.
    pub seed: u64,
    /// Which stills are used.
    pub part: Part,
    /// By how much sharp frames are larger than degraded ones: 1 or 2.
    pub upscale: usize,
    /// The least that is drawn for the longest blur of a moving clip's layer, in pixels; a still that
    /// is too small for the way has less.
    pub min_blur: f64,
    /// The longest blur of an exposure, in pixels.
    pub max_blur: f64,
    /// Share of clips that hardly move, without noise and compression.
    pub still_share: f64,
    /// The strongest noise: its standard deviation in middle grey, of 255.
    pub noise: f64,
    /// Share of the other clips that are compressed.
    pub compress_share: f64,
    /// A spike camera beside the other one, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spikes: Option<SpikesBeside>,
    /// Where ffmpeg is.
    #[serde(skip)]
    pub programs: Programs,
}

impl Default for SimulationOptions {
    fn default() -> Self {
        Self {
            clips: 100,
            frames: 16,
            width: 192,
            height: 192,
            seed: 0,
            part: Part::Train,
            upscale: 1,
            min_blur: 2.0,
            max_blur: 20.0,
            still_share: 0.15,
            noise: 4.0,
            compress_share: 0.5,
            spikes: None,
            programs: Programs::default(),
        }
    }
}

impl SimulationOptions {
    /// # Errors
    ///
    /// Names an option that cannot be.
    pub(super) fn check(&self) -> Result<(), SimulateError> {
        for (option, count, most) in
            [("clips", self.clips, MAX_CLIPS), ("frames", self.frames, MAX_FRAMES)]
        {
            let reason = || format!("1 to {most} are made");
            refuse(!(1..=most).contains(&count), option, count, reason)?;
        }
        refuse(!matches!(self.upscale, 1 | 2), "upscale", self.upscale, || "it is 1 or 2".into())?;
        let [least, most] = SIDES;
        for (option, side) in [("width", self.width), ("height", self.height)] {
            let reason = || format!("{least} to {most} pixels are made");
            refuse(!(least..=most).contains(&side), option, side, reason)?;
            let reason = || format!("it is divided by {} for degraded frames", self.upscale);
            refuse(!side.is_multiple_of(self.upscale), option, side, reason)?;
        }
        for (option, share) in
            [("still_share", self.still_share), ("compress_share", self.compress_share)]
        {
            let reason = || "a share is a number from 0 to 1".into();
            refuse(!(0.0..=1.0).contains(&share), option, share, reason)?;
        }
        let blur = self.max_blur;
        let reason = || format!("it is 1 to {LONGEST_BLUR} pixels");
        refuse(!(1.0..=LONGEST_BLUR).contains(&blur), "max_blur", blur, reason)?;
        let least = self.min_blur;
        let reason = || format!("it is more than 0 and at most max_blur, {blur} pixels");
        refuse(!(least > 0.0 && least <= blur), "min_blur", least, reason)?;
        let reason = || format!("a deviation of 255 is a number from 0 to {STRONGEST_NOISE}");
        refuse(!(0.0..=STRONGEST_NOISE).contains(&self.noise), "noise", self.noise, reason)?;
        self.check_spikes()
    }

    fn check_spikes(&self) -> Result<(), SimulateError> {
        let Some(SpikesBeside { frames, camera }) = &self.spikes else { return Ok(()) };
        if let Some((option, value, reason)) = camera.problem() {
            return Err(SimulateError::Option { option, value, reason });
        }
        let reason = || format!("a frame has 1 to {MAX_SPIKE_FRAMES} of spikes");
        refuse(!(1..=MAX_SPIKE_FRAMES).contains(frames), "spikes", frames, reason)?;
        self.geometry(camera).map(drop)
    }

    /// How the frames of a spike camera lie beside these.
    pub(super) fn geometry(&self, camera: &SpikeCamera) -> Result<Geometry, SimulateError> {
        camera.geometry(self.size()).map_err(|reason| SimulateError::Option {
            option: "size",
            value: format!("{}x{}", self.width, self.height),
            reason,
        })
    }

    /// Width and height of sharp frames.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }
}

fn refuse(
    wrong: bool,
    option: &'static str,
    value: impl ToString,
    reason: impl Fn() -> String,
) -> Result<(), SimulateError> {
    if wrong {
        return Err(SimulateError::Option { option, value: value.to_string(), reason: reason() });
    }
    Ok(())
}
