//! Networks that are part of this program, for those who bring no weights.

use std::path::PathBuf;

use vrt_model::Checkpoint;
use vrt_model::checkpoint::CheckpointError;

/// Every built-in network. To add one: its file in `crates/vrt/weights`, as `vrt convert` writes it
/// with `--dtype f16 --without-flow`, and an entry here.
static BUILT_IN: [BuiltIn; 5] = [
    network(
        "restore",
        BuiltInTask::Restore,
        "less motion blur, noise and compression",
        include_bytes!("../../weights/restore.safetensors"),
    ),
    network(
        "denoise",
        BuiltInTask::Denoise,
        "less noise, of a level that is given (--sigma)",
        include_bytes!("../../weights/denoise.safetensors"),
    ),
    network(
        "upscale",
        BuiltInTask::Upscale,
        "twice as wide and high",
        include_bytes!("../../weights/upscale.safetensors"),
    ),
    network(
        "deblur",
        BuiltInTask::Restore,
        "less blur of fast motion",
        include_bytes!("../../weights/deblur.safetensors"),
    ),
    network(
        WITH_SPIKES,
        BuiltInTask::Restore,
        "less blur of fast motion, with the streams of a spike camera (--spike)",
        include_bytes!("../../weights/deblur-spike.safetensors"),
    ),
];

/// The one that takes spikes beside frames.
pub const WITH_SPIKES: &str = "deblur-spike";

/// The flow network of those that come without one.
static FLOW: &[u8] = include_bytes!("../../../../weights/spynet.safetensors");

/// What a built-in network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BuiltInTask {
    /// Makes frames of the same size better, whatever is wrong with them: the one that is taken
    /// where nothing is said.
    Restore,
    /// Removes noise of a known level.
    Denoise,
    /// Enlarges frames.
    Upscale,
}

impl BuiltInTask {
    /// Every task.
    pub const ALL: [Self; 3] = [Self::Restore, Self::Denoise, Self::Upscale];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Restore => "restore",
            Self::Denoise => "denoise",
            Self::Upscale => "upscale",
        }
    }
}

/// A network that is part of this program.
#[derive(Clone, Copy)]
pub struct BuiltIn {
    /// What it is called; lower case.
    pub name: &'static str,
    /// What it does; the first of a task is the one that the task's name means.
    pub task: BuiltInTask,
    /// The same in words.
    pub about: &'static str,
    /// Its `.safetensors` file.
    bytes: &'static [u8],
}

/// A built-in network, whose `bytes` are a `.safetensors` file.
pub const fn network(
    name: &'static str,
    task: BuiltInTask,
    about: &'static str,
    bytes: &'static [u8],
) -> BuiltIn {
    BuiltIn { name, task, about, bytes }
}

/// Every network of this build.
pub fn all() -> &'static [BuiltIn] {
    &BUILT_IN
}

/// The flow network that built-in ones share, its tensors named as in their files.
///
/// # Errors
///
/// If it is damaged.
pub fn flow() -> Result<Checkpoint, CheckpointError> {
    let mut flow = Checkpoint::default();
    flow.merge_flow(Checkpoint::from_bytes("built-in SpyNet".as_ref(), FLOW)?)?;
    Ok(flow)
}

impl BuiltIn {
    /// Bytes of its file.
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// What stands for its file in messages.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("built-in network {}", self.name))
    }

    /// Opens its weights and, if they leave it out, the flow network that built-in ones share, with
    /// the checks of a file from a stranger.
    ///
    /// # Errors
    ///
    /// If they are damaged.
    pub fn open(&self) -> Result<Checkpoint, CheckpointError> {
        let mut checkpoint = Checkpoint::from_bytes(&self.path(), self.bytes)?;
        if !checkpoint.has_flow() {
            checkpoint.merge_flow(flow()?)?;
        }
        Ok(checkpoint)
    }
}

impl std::fmt::Debug for BuiltIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, task, about, bytes } = self;
        let mut text = f.debug_struct("BuiltIn");
        text.field("name", name).field("task", task).field("about", about);
        text.field("bytes", &bytes.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use vrt_model::checkpoint::{Element, account};
    use vrt_model::config::Task;

    use super::*;

    /// What is built in is downloaded by everybody: the networks of the tasks with their SpyNet, and
    /// the one with spikes.
    const MOST_BYTES: u64 = 16_000_000;
    const MOST_WITH_SPIKES: u64 = 8_000_000;

    #[test]
    fn every_built_in_network_is_whole_small_and_of_its_task() {
        for network in all() {
            let checkpoint = network.open().unwrap();
            let config = checkpoint.config().unwrap();
            account(&config, &checkpoint).unwrap();
            let fits = match network.task {
                BuiltInTask::Restore => config.task() == Task::Deblurring,
                BuiltInTask::Denoise => config.task() == Task::Denoising,
                BuiltInTask::Upscale => config.task() == Task::SuperResolution,
            };
            assert!(fits, "{network:?} is for {:?}", config.task());
            for (name, tensor) in checkpoint.tensors() {
                if !name.starts_with("spynet.") {
                    assert_eq!(tensor.element(), Element::F16, "{name} of {network:?}");
                }
                let values = checkpoint.read(name).unwrap();
                assert!(values.iter().all(|value| value.is_finite()), "{name} of {network:?}");
            }
        }
    }

    #[test]
    fn there_is_a_network_for_every_task_and_together_they_are_small() {
        let of_task = |task| all().iter().find(|network| network.task == task);
        let first = BuiltInTask::ALL.map(|task| of_task(task).expect("one for each task").size());
        let bytes = first.iter().sum::<u64>() + FLOW.len() as u64;
        assert!(bytes <= MOST_BYTES, "{bytes}");
        let with_spikes = all().iter().find(|network| network.name == WITH_SPIKES);
        let with_spikes = with_spikes.expect("one with spikes");
        assert!(with_spikes.size() <= MOST_WITH_SPIKES, "{with_spikes:?}");
        let config = with_spikes.open().unwrap().config().unwrap();
        assert!(config.spike_channels() > 0);
    }

    #[test]
    fn names_are_lower_case_and_unlike_each_other_and_published_ones() {
        for (i, network) in all().iter().enumerate() {
            assert_eq!(network.name, network.name.to_lowercase());
            assert!(all()[..i].iter().all(|other| other.name != network.name), "{network:?}");
            assert!(crate::models::Published::parse(network.name).is_none(), "{network:?}");
        }
    }
}
