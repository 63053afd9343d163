//! `vrt data simulate-spikes`, and the spike camera of `vrt data simulate`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use vrt::between::AlongMotion;
use vrt_video::{Light, SimulateError, SpikeCamera, SpikeSetOptions, simulate_spikes};

use crate::cli::{Failure, GlobalOptions, output};

const HELP: &str = "\
SOURCE is a folder of clips (clip/frame.png) of a fast camera, or one video. A blurred frame is the \
mean of --frames frames, the sharp one is that in the middle, and its stream is what a spike camera \
saw in the same time: --instants frames of spikes for every frame of SOURCE, between which pictures \
are moved along the motion that SpyNet sees.

DEST is laid out as the public GoPro set with spikes is: rgb/PART/CLIP/sharp and blur, \
spike/PART/CLIP/spike/000000.dat, a config.yaml in each clip's folder, and the clip list \
meta_info_PART.txt. It must be new or empty. The \
same options and frames make the same set.

Examples:
  vrt data simulate-spikes GoPro_240fps trainsets/spikes --frames 11 --spike-shrink 2
  vrt data simulate-spikes fast.mp4 testsets/fast --part test --frames 7 --seed 3
  vrt data check --gt 'trainsets/spikes/rgb/train/*/sharp' --lq 'trainsets/spikes/rgb/train/*/blur' \\
      --spike trainsets/spikes/spike/train --meta-info trainsets/spikes/meta_info_train.txt";

/// Flags of `vrt data simulate-spikes`.
#[derive(Args, Clone, Debug)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// Folder of clips, or a video
    source: PathBuf,
    /// Folder to write the set to
    destination: PathBuf,
    /// Frames that a blurred one is the mean of, an odd number
    #[arg(long, value_name = "N", default_value_t = 11)]
    frames: usize,
    /// Frames from the first of a mean to the first of the next [default: as many as a mean has]
    #[arg(long, value_name = "N")]
    step: Option<usize>,
    /// Frames of spikes for every frame
    #[arg(long, value_name = "N", default_value_t = 8)]
    instants: usize,
    /// What a blurred frame is the mean of: samples as stored, or light by the curve of sRGB
    #[arg(long, value_enum, default_value = "gamma")]
    light: LightName,
    /// Name of the part, a folder: train or test
    #[arg(long, default_value = "train")]
    part: String,
    /// What settles all that is drawn
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    camera: CameraOptions,
}

/// Flags about a spike camera that is simulated.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "The spike camera")]
pub(crate) struct CameraOptions {
    /// Sides of frames by those of the sensor
    #[arg(long, value_name = "N", default_value_t = 1)]
    spike_shrink: usize,
    /// What its pixels gather: grey as stored, as in public sets, or light by the curve of sRGB
    #[arg(long, value_enum, default_value = "gamma")]
    spike_light: LightName,
    /// What makes a pixel fire; white adds 1 in a frame. Brightness is read as if it were 2: with
    /// 4, half of it is
    #[arg(long, value_name = "LIGHT", default_value_t = 2.0)]
    spike_threshold: f32,
    /// What is left in a pixel that has fired
    #[arg(long, value_enum, default_value = "subtract")]
    spike_reset: ResetName,
    /// What darkness adds in a frame, on average
    #[arg(long, value_name = "LIGHT", default_value_t = 0.0)]
    spike_dark: f32,
}

/// Names of [`Light`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LightName {
    Gamma,
    Linear,
}

/// Names of what is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ResetName {
    /// What it had above the threshold
    Subtract,
    /// Nothing
    Zero,
}

impl From<LightName> for Light {
    fn from(name: LightName) -> Self {
        match name {
            LightName::Gamma => Self::Gamma,
            LightName::Linear => Self::Linear,
        }
    }
}

impl CameraOptions {
    pub(super) fn camera(&self) -> SpikeCamera {
        SpikeCamera {
            shrink: self.spike_shrink,
            light: self.spike_light.into(),
            threshold: self.spike_threshold,
            reset_to_zero: self.spike_reset == ResetName::Zero,
            dark: self.spike_dark,
        }
    }
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, global: &GlobalOptions) -> Result<(), Failure> {
    let options = SpikeSetOptions {
        frames: arguments.frames,
        step: arguments.step.unwrap_or(arguments.frames),
        instants: arguments.instants,
        light: arguments.light.into(),
        camera: arguments.camera.camera(),
        part: arguments.part.clone(),
        seed: arguments.seed,
    };
    let mut between = AlongMotion::new(&global.device.first().open()?)?;
    let Arguments { source, destination, .. } = arguments;
    let on_clip = &mut |clip: &str| global.tell(clip);
    let set = simulate_spikes(source, destination, &options, &mut between, on_clip);
    let set = set.map_err(refused)?;
    set.warnings.iter().for_each(|warning| global.tell(&format!("warning: {warning}")));
    if global.json {
        return Ok(output::json(&set)?);
    }
    Ok(output::result(&format!(
        "{}: {} clips, {} frames, each with {} of spikes; streams in {}",
        set.frames_root.display(),
        set.clips,
        set.frames,
        set.spike_frames,
        set.spikes_root.display()
    ))?)
}

/// What was stated is wrong usage; what is found in files is not.
pub(super) fn refused(error: SimulateError) -> Failure {
    match error {
        SimulateError::Option { .. } => Failure::Usage(error.to_string()),
        error => Failure::failed(error),
    }
}
