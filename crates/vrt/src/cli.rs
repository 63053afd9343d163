//! The command line: flags become options of the library, results become text.
//!
//! Results go to standard output, progress and messages to standard error. Exit codes: 0 done,
//! 1 failed or stopped early, 2 wrong usage.

mod compare;
mod convert;
mod data;
mod doctor;
mod evaluate;
mod failure;
mod info;
mod models;
mod network;
mod output;
mod precision;
mod progress;
mod restore;
mod spike;
mod stop;
mod table;
mod tile;
mod train;
mod values;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use vrt::device::Devices;

pub(crate) use failure::Failure;

const EXAMPLES: &str = "\
Examples:
  vrt restore old.mp4 -o better.mp4
  vrt models fetch 006
  vrt restore blurred.mp4 -o sharp.mp4 --weights 006
  vrt restore frames/ -o restored/ --weights sr.safetensors --tile auto --memory 4G
  vrt eval --gt sharp/ --input blurred/ --weights deblur.safetensors
  vrt compare shaky.mp4 sharp.mp4 -o look.html
  vrt train options.json --run-dir runs/first
  vrt data prepare GOPRO_Large trainsets/GoPro --layout gopro --lmdb
  vrt info 006 --size 6,256x256
  vrt doctor

Exit codes: 0 done, 1 failed or stopped early, 2 wrong usage.";

/// Restores video with the Video Restoration Transformer.
#[derive(Debug, Parser)]
#[command(name = "vrt", version, about, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: GlobalOptions,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Command {
    /// Restores a video, a folder of frames or a stream
    Restore(restore::Arguments),
    /// Scores restored frames against the truth: PSNR and SSIM as published
    Eval(evaluate::Arguments),
    /// Compares clips: side by side in a video, or under a wipe in a page
    Compare(compare::Arguments),
    /// Trains a network: an option file in, weights out
    Train(train::Arguments),
    /// Prepares, checks and degrades frames to train on
    Data(data::Arguments),
    /// Streams of spike cameras: what they are like, and pictures of them
    Spike(spike::Arguments),
    /// Converts weights between .pth and .safetensors
    Convert(convert::Arguments),
    /// Networks by name: built in, published, in the cache
    Models(models::Arguments),
    /// Describes a network: architecture, parameters, operations, memory
    Info(info::Arguments),
    /// Tells what this machine offers: processor, devices, ffmpeg, memory
    Doctor(doctor::Arguments),
}

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub(crate) struct GlobalOptions {
    /// Print JSON on standard output, and nothing else there
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Say nothing but results and errors
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// Threads to compute with [default: one per processor; ranks of torchrun share processors]
    #[arg(long, value_name = "N", global = true)]
    pub(crate) threads: Option<NonZeroUsize>,
    /// Device to compute on: cpu, cuda[:n], vulkan[:n], metal[:n], rocm[:n] or wgpu[:n]; several,
    /// as in cuda:0,cuda:1, share tiles, or batches of training
    #[arg(long, value_name = "DEVICE", default_value = "cpu", global = true)]
    pub(crate) device: Devices,
    /// Folder of fetched networks [default: VRT_CACHE, else vrt in the user's cache folder]
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) cache: Option<PathBuf>,
}

impl GlobalOptions {
    /// Tells a person, on standard error, unless nobody wants to hear.
    fn tell(&self, text: &str) {
        if !self.quiet && !self.json {
            output::message(text);
        }
    }
}

/// Runs the command line of this process.
pub(crate) fn main() -> ExitCode {
    // Wrong usage ends here, with exit code 2.
    let Arguments { command, global } = Arguments::parse();
    match run(&command, &global) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(&global),
    }
}

fn run(command: &Command, global: &GlobalOptions) -> Result<(), Failure> {
    let threads = global.threads.or_else(|| match command {
        Command::Train(_) => train::threads(),
        _ => None,
    });
    vrt_kernels::parallel::configure(threads.map(NonZeroUsize::get)).map_err(Failure::failed)?;
    match command {
        Command::Restore(arguments) => restore::run(arguments, global),
        Command::Eval(arguments) => evaluate::run(arguments, global),
        Command::Compare(arguments) => compare::run(arguments, global),
        Command::Train(arguments) => train::run(arguments, global),
        Command::Data(arguments) => data::run(arguments, global),
        Command::Spike(arguments) => spike::run(arguments, global),
        Command::Convert(arguments) => convert::run(arguments, global),
        Command::Models(arguments) => models::run(arguments, global),
        Command::Info(arguments) => info::run(arguments, global),
        Command::Doctor(arguments) => doctor::run(arguments, global),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn flags_and_defaults_agree() {
        Arguments::command().debug_assert();
    }
}
