//! `vrt data degrade`: clips become worse.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use vrt_video::{Degradation, Light, Programs, degrade_set};

use crate::cli::{Failure, GlobalOptions, output};

const HELP: &str = "\
Every folder of pictures below SOURCE is a clip; DEST gets the same folders with PNG files of 8 \
bits under the same names. DEST must be new or empty.

Examples:
  vrt data degrade trainsets/REDS/train_sharp trainsets/REDS/x4 --bicubic 4
  vrt data degrade udm10/GT udm10/BDx4 --blur-down
  vrt data degrade highspeed blurred --motion-blur 7 --light linear --sharp sharp
  vrt data degrade sharp compressed --compress 35";

/// Flags of `vrt data degrade`.
#[derive(Args, Clone, Debug)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// Folder of clips
    source: PathBuf,
    /// Folder to write them to
    destination: PathBuf,
    #[command(flatten)]
    kind: Kind,
    /// With --noise: what settles it; every clip begins with it anew [default: 0]
    #[arg(long)]
    seed: Option<u32>,
    /// With --motion-blur: what is added up, samples as stored, or light by the curve of sRGB
    /// [default: gamma]
    #[arg(long, value_enum)]
    light: Option<LightName>,
    /// With --motion-blur: frames from the first of a mean to the first of the next [default: as
    /// many as a mean has]
    #[arg(long, value_name = "FRAMES")]
    step: Option<NonZeroUsize>,
    /// With --motion-blur: folder for the middle frame of each mean, under the mean's name
    #[arg(long, value_name = "DIR")]
    sharp: Option<PathBuf>,
}

/// One degradation.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
struct Kind {
    /// Sides divided by 2, 3 or 4, as MATLAB's imresize does it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(2..=4))]
    bicubic: Option<u8>,
    /// Gaussian blur of σ 1.6 and every fourth pixel (BD)
    #[arg(long)]
    blur_down: bool,
    /// Gaussian noise of this deviation, of 255
    #[arg(long, value_name = "SIGMA")]
    noise: Option<f32>,
    /// The mean of this many frames; frames are numbered anew
    #[arg(long, value_name = "FRAMES")]
    motion_blur: Option<NonZeroUsize>,
    /// H.264 at this constant rate factor (0 … 51), and back
    #[arg(long, value_name = "CRF", value_parser = clap::value_parser!(u8).range(0..=51))]
    compress: Option<u8>,
}

/// Names of what is added up.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum LightName {
    Gamma,
    Linear,
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, global: &GlobalOptions) -> Result<(), Failure> {
    refuse_idle(arguments)?;
    let degradation = degradation(arguments)?;
    let Arguments { source, destination, .. } = arguments;
    let done = degrade_set(source, destination, &degradation, &mut |clip| {
        global.tell(&format!("{}: {} frames", clip.name, clip.frames.len()));
    })?;
    if global.json {
        return Ok(output::json(&done)?);
    }
    let words = format!("{}: {} clips, {} frames", destination.display(), done.clips, done.frames);
    Ok(output::result(&words)?)
}

/// A flag that would change nothing is a mistake.
fn refuse_idle(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { kind, seed, light, step, sharp, .. } = arguments;
    let of_blur =
        [("--light", light.is_some()), ("--step", step.is_some()), ("--sharp", sharp.is_some())];
    let idle = of_blur.into_iter().find(|(_, given)| *given && kind.motion_blur.is_none());
    if let Some((flag, _)) = idle {
        return Err(Failure::Usage(format!("{flag} is for --motion-blur")));
    }
    if seed.is_some() && kind.noise.is_none() {
        return Err(Failure::Usage("--seed is for --noise".to_owned()));
    }
    Ok(())
}

fn degradation(arguments: &Arguments) -> Result<Degradation, Failure> {
    let Kind { bicubic, blur_down: _, noise, motion_blur, compress } = arguments.kind;
    if let Some(factor) = bicubic {
        return Ok(Degradation::Bicubic { factor: usize::from(factor) });
    }
    if let Some(sigma) = noise {
        if !(sigma >= 0.0 && sigma.is_finite()) {
            let message = format!("--noise is {sigma}; a deviation is a number from 0 on");
            return Err(Failure::Usage(message));
        }
        return Ok(Degradation::Noise { sigma, seed: arguments.seed.unwrap_or(0) });
    }
    if let Some(frames) = motion_blur {
        return Ok(Degradation::MotionBlur {
            frames: frames.get(),
            light: match arguments.light {
                None | Some(LightName::Gamma) => Light::Gamma,
                Some(LightName::Linear) => Light::Linear,
            },
            step: arguments.step.unwrap_or(frames).get(),
            sharp: arguments.sharp.clone(),
        });
    }
    if let Some(crf) = compress {
        return Ok(Degradation::Compress { crf, programs: Programs::default() });
    }
    Ok(Degradation::BlurDown)
}
