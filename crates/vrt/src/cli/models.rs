//! `vrt models`: networks by name, and the cache of fetched ones.

mod cache;
mod fetch;
mod list;

use std::path::Path;

use clap::{Args, Subcommand, ValueEnum};
use vrt::models::{self, BuiltInTask, NoWeights, Published, Weights, builtin};

use super::{Failure, GlobalOptions};

const HELP: &str = "\
Without a subcommand: lists the networks that are built in, and the published ones with size, \
licence and whether they are in the cache.

Published checkpoints are the work of the authors of VRT and under CC BY-NC 4.0. They come from \
their releases, or from a mirror (--from), are checked tensor by tensor, and are then known to all \
commands by name: --weights 006.

The cache is the folder of --cache, else of the variable VRT_CACHE, else vrt in the user's cache \
folder (XDG_CACHE_HOME, ~/.cache).

Examples:
  vrt models
  vrt models fetch 006 --accept-licence
  vrt models check
  vrt models path 006";

/// Flags of `vrt models`.
#[derive(Args, Clone, Debug)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Option<Action>,
}

/// What to do with them.
#[derive(Clone, Debug, Subcommand)]
enum Action {
    /// Lists what is built in, in the cache, and published
    List,
    /// Fetches a published checkpoint into the cache
    Fetch(fetch::Arguments),
    /// Holds fetched checkpoints to the digests they came with
    Check(cache::CheckArguments),
    /// Prints where a fetched checkpoint is
    Path(cache::OneArgument),
    /// Removes a fetched checkpoint, or what there is of it
    Remove(cache::OneArgument),
}

/// Names of [`BuiltInTask`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum TaskName {
    /// Better frames of the same size
    #[default]
    Restore,
    /// Less noise, of the level of --sigma
    Denoise,
    /// Larger frames
    Upscale,
}

impl From<TaskName> for BuiltInTask {
    fn from(name: TaskName) -> Self {
        match name {
            TaskName::Restore => Self::Restore,
            TaskName::Denoise => Self::Denoise,
            TaskName::Upscale => Self::Upscale,
        }
    }
}

/// Runs the command.
pub(crate) fn run(arguments: &Arguments, global: &GlobalOptions) -> Result<(), Failure> {
    match &arguments.action {
        None | Some(Action::List) => list::run(global),
        Some(Action::Fetch(arguments)) => fetch::run(arguments, global),
        Some(Action::Check(arguments)) => cache::check(arguments, global),
        Some(Action::Path(argument)) => cache::path(argument, global),
        Some(Action::Remove(argument)) => cache::remove(argument, global),
    }
}

/// The weights that a flag names: a file, a built-in network, or a published one in the cache.
pub(crate) fn find(named: &Path, global: &GlobalOptions) -> Result<Weights, NoWeights> {
    models::find(named, builtin::all(), cache::of(global).ok().as_ref())
}

/// The weights where none are named.
pub(crate) fn for_task(task: TaskName) -> Result<Weights, NoWeights> {
    models::for_task(task.into(), builtin::all())
}

/// A published network from its name on the command line.
fn published(name: &str) -> Result<Published, String> {
    Published::parse(name).ok_or_else(|| {
        let names = Published::all().flat_map(|known| [known.id(), known.name()]);
        let nearest = vrt_model::similar::nearest(name, names);
        let nearest = nearest.map_or_else(String::new, |near| format!("did you mean {near}? "));
        format!("no published network is called so; {nearest}`vrt models` lists them")
    })
}
