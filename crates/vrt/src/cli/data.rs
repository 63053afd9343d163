//! `vrt data`: frames to train on, regrouped, checked, made worse and simulated.

mod check;
mod degrade;
mod prepare;
mod simulate;
mod spikes;

use clap::{Args, Subcommand};

use super::{Failure, GlobalOptions};

/// Flags of `vrt data`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Regroups a published download, or folders of frames, into trees with clip lists
    Prepare(prepare::Arguments),
    /// Looks whether every pair of frames is there, can be decoded and fits
    Check(check::Arguments),
    /// Makes clips worse: smaller, blurred, noisy or compressed
    Degrade(degrade::Arguments),
    /// Makes blurred clips and their sharp truth of still pictures
    Simulate(simulate::Arguments),
    /// Makes blurred frames and streams of spikes of the frames of a fast camera
    SimulateSpikes(spikes::Arguments),
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, global: &GlobalOptions) -> Result<(), Failure> {
    match &arguments.command {
        Command::Prepare(arguments) => prepare::run(arguments, global),
        Command::Check(arguments) => check::run(arguments, global),
        Command::Degrade(arguments) => degrade::run(arguments, global),
        Command::Simulate(arguments) => simulate::run(arguments, global),
        Command::SimulateSpikes(arguments) => spikes::run(arguments, global),
    }
}
