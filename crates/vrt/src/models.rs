//! Networks by name: what is built in, what is published, and what of it is in the cache.
//!
//! [`find`] says what a person means by weights: a file, a built-in network, or a published one.
//! Published checkpoints are not part of this program: [`fetch_published`] gets one from where its
//! authors keep it, once their [licence] was accepted.

pub mod builtin;
pub mod cache;
pub mod digest;
pub mod fetch;
pub mod licence;
pub mod published;

use std::path::{Path, PathBuf};

pub use builtin::{BuiltIn, BuiltInTask};
pub use cache::{Cache, CheckError, Checked, Record, RemoveError};
pub use digest::Sha256;
pub use fetch::{FetchError, FetchEvent, FetchOptions, Fetched};
pub use published::{Published, fetch_published};

use vrt_model::Checkpoint;
use vrt_model::similar::nearest;

use crate::weights::{WeightsError, merge_flow, open_weights};

/// Endings of files of weights: a name with one of them means a file.
const ENDINGS: [&str; 3] = ["pth", "pt", "safetensors"];

/// Where weights are.
#[derive(Clone, Debug)]
pub enum Weights {
    /// In a file.
    File(PathBuf),
    /// In this program.
    BuiltIn(&'static BuiltIn),
}

impl Weights {
    /// The file, or what stands for it in messages.
    pub fn path(&self) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::BuiltIn(network) => network.path(),
        }
    }

    /// Opens the weights; `flow` is a file of SpyNet's, for checkpoints that leave them out.
    ///
    /// # Errors
    ///
    /// If a file cannot be read or is no checkpoint.
    pub fn open(&self, flow: Option<&Path>) -> Result<Checkpoint, WeightsError> {
        match self {
            Self::File(path) => open_weights(path, flow),
            Self::BuiltIn(network) => merge_flow(network.open()?, flow),
        }
    }
}

/// Why there are no weights of a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoWeights {
    /// A published network that is not in the cache.
    #[error(
        "{name} is published, but not in the cache{}; fetch it with `vrt models fetch {id}`",
        .folder.as_ref().map_or_else(String::new, |folder| format!(" ({})", folder.display()))
    )]
    NotFetched {
        /// Its short name.
        id: &'static str,
        /// Its full name.
        name: &'static str,
        /// The cache, if there is one.
        folder: Option<PathBuf>,
    },
    /// The build holds no network for a task.
    #[error(
        "no network for {task:?} is built into this program: name a file, or a published network \
         such as 006 (`vrt models` lists them)"
    )]
    NotBuiltIn {
        /// The task's name.
        task: &'static str,
    },
    /// A path that leads nowhere.
    #[error("there is no file {}{}", path.display(), .published.map_or_else(String::new, of_the_name))]
    NoFile {
        /// The path.
        path: PathBuf,
        /// The published network whose file is called so.
        published: Option<&'static str>,
    },
    /// A name that nothing has.
    #[error(
        "there is no file and no network {name:?}; {}`vrt models` lists the networks",
        .nearest.as_ref().map_or_else(String::new, |name| format!("did you mean {name}? "))
    )]
    Unknown {
        /// The name.
        name: String,
        /// The most similar name there is.
        nearest: Option<String>,
    },
}

fn of_the_name(id: &str) -> String {
    format!(
        "; a published network is called so: `vrt models fetch {id}` gets it, and {id} names it"
    )
}

/// What `named` means: a file if there is one, else one of the networks `built_in`, else a
/// published one in `cache`, else the network of a task.
///
/// # Errors
///
/// If it means nothing, or a published network that is not in the cache.
pub fn find(
    named: &Path,
    built_in: &'static [BuiltIn],
    cache: Option<&Cache>,
) -> Result<Weights, NoWeights> {
    // A folder may well be called as a network.
    if named.exists() && !named.is_dir() {
        return Ok(Weights::File(named.to_owned()));
    }
    let name = named.to_string_lossy().to_lowercase();
    if let Some(network) = built_in.iter().find(|network| network.name == name) {
        return Ok(Weights::BuiltIn(network));
    }
    if is_path(named) {
        let file = named.file_name().unwrap_or_default().to_string_lossy();
        let published = Published::parse(&file).map(Published::id);
        return Err(NoWeights::NoFile { path: named.to_owned(), published });
    }
    if let Some(network) = Published::parse(&name) {
        let held = cache.and_then(|cache| cache.held(network));
        return held.map(Weights::File).ok_or_else(|| NoWeights::NotFetched {
            id: network.id(),
            name: network.name(),
            folder: cache.map(|cache| cache.folder().to_owned()),
        });
    }
    if let Some(task) = BuiltInTask::ALL.iter().find(|task| task.name() == name) {
        return for_task(*task, built_in);
    }
    let built_in = built_in.iter().map(|network| network.name);
    let names = built_in.chain(Published::all().flat_map(|network| [network.id(), network.name()]));
    let names = names.map(|known| (known.to_lowercase(), known)).collect::<Vec<_>>();
    let nearest = nearest(&name, names.iter().map(|(lower, _)| lower));
    let nearest = nearest.and_then(|nearest| names.iter().find(|(lower, _)| *lower == nearest));
    let nearest = nearest.map(|(_, known)| (*known).to_owned());
    Err(NoWeights::Unknown { name: named.to_string_lossy().into_owned(), nearest })
}

/// The network that restores where none is named.
///
/// # Errors
///
/// If none of `built_in` is for `task`.
pub fn for_task(task: BuiltInTask, built_in: &'static [BuiltIn]) -> Result<Weights, NoWeights> {
    let network = built_in.iter().find(|network| network.task == task);
    network.map(Weights::BuiltIn).ok_or(NoWeights::NotBuiltIn { task: task.name() })
}

/// Whether this cannot be the name of a network: it leads into a folder, or ends as files do.
fn is_path(named: &Path) -> bool {
    let ending = named.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    named.components().count() != 1 || ENDINGS.contains(&ending.as_str())
}
