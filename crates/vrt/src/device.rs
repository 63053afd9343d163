//! Where a network is computed: the processor, or a GPU that this build knows.

use std::fmt;
use std::str::FromStr;

use burn::tensor::Device;
#[cfg(feature = "gpu")]
use burn::tensor::DeviceType;
use serde::Serialize;
#[cfg(feature = "gpu")]
use vrt_kernels::{Precision, precisions};

use crate::memory::USABLE_PERCENT;

/// A kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// The processor: always there.
    Cpu,
    /// NVIDIA GPUs through CUDA; feature `cuda`.
    Cuda,
    /// GPUs through Vulkan; feature `vulkan`.
    Vulkan,
    /// Apple's GPUs; feature `metal`.
    Metal,
    /// AMD GPUs through ROCm; feature `rocm`.
    Rocm,
    /// GPUs through whatever the system has for them, Vulkan, Metal or Direct3D; feature `wgpu`.
    Wgpu,
}

impl DeviceKind {
    /// Every kind, the processor first.
    pub const ALL: [Self; 6] =
        [Self::Cpu, Self::Cuda, Self::Vulkan, Self::Metal, Self::Rocm, Self::Wgpu];

    /// Its name on the command line, which is also the name of its feature.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Vulkan => "vulkan",
            Self::Metal => "metal",
            Self::Rocm => "rocm",
            Self::Wgpu => "wgpu",
        }
    }

    /// Whether this build can use such devices.
    pub fn is_compiled_in(self) -> bool {
        match self {
            Self::Cpu => true,
            Self::Cuda => cfg!(feature = "cuda"),
            Self::Vulkan => cfg!(feature = "vulkan"),
            Self::Metal => cfg!(feature = "metal"),
            Self::Rocm => cfg!(feature = "rocm"),
            Self::Wgpu => cfg!(feature = "wgpu"),
        }
    }

    /// The devices of this kind on this machine; none if the kind is not compiled in or its driver
    /// is missing.
    pub fn found(self) -> Vec<Device> {
        match self {
            Self::Cpu => vec![Device::flex()],
            #[cfg(feature = "cuda")]
            Self::Cuda => vrt_kernels::gpu::found(DeviceType::Cuda),
            #[cfg(feature = "vulkan")]
            Self::Vulkan => vrt_kernels::gpu::found(DeviceType::Vulkan),
            #[cfg(feature = "metal")]
            Self::Metal => vrt_kernels::gpu::found(DeviceType::Metal),
            #[cfg(feature = "rocm")]
            Self::Rocm => vrt_kernels::gpu::found(DeviceType::Rocm),
            #[cfg(feature = "wgpu")]
            Self::Wgpu => vrt_kernels::gpu::found(DeviceType::Wgpu),
            #[allow(unreachable_patterns, reason = "kinds are features of this build")]
            _ => Vec::new(),
        }
    }
}

/// Whether a device is the processor.
pub fn is_processor(device: &Device) -> bool {
    vrt_kernels::fused::serves(device)
}

/// What a GPU says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gpu {
    /// Its name.
    pub name: String,
    /// Bytes of its memory, where it tells.
    pub memory: Option<u64>,
    /// Names of the precisions that it multiplies in, the fastest first.
    pub precisions: Vec<String>,
}

impl Gpu {
    /// Asks a device; `None` where it is none, or does not answer.
    pub fn of(device: &Device) -> Option<Self> {
        #[cfg(feature = "gpu")]
        {
            let vrt_kernels::gpu::Description { name, memory } =
                vrt_kernels::gpu::describe(device)?;
            let precisions = precisions(device).iter().map(Precision::to_string).collect();
            Some(Self { name, memory, precisions })
        }
        #[cfg(not(feature = "gpu"))]
        {
            let _ = device;
            None
        }
    }

    /// Bytes that tiles are planned for: the rest is the driver's, and what predictions miss.
    pub fn usable(&self) -> Option<u64> {
        Some(self.memory? / 100 * USABLE_PERCENT)
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A device to compute on, as the command line names it: `cpu`, `cuda`, `cuda:1`, `vulkan:0` …
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceChoice {
    /// The kind.
    pub kind: DeviceKind,
    /// Which one of its kind, from 0.
    pub index: usize,
}

impl Default for DeviceChoice {
    fn default() -> Self {
        Self { kind: DeviceKind::Cpu, index: 0 }
    }
}

/// Why a device cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The text names no device.
    #[error(
        "{0:?} is no device; devices are cpu, cuda[:n], vulkan[:n], metal[:n], rocm[:n] and wgpu[:n]"
    )]
    Unknown(String),
    /// The build leaves the kind out.
    #[error(
        "this program was built without {0}; build it with `--features {0}`, or use `--device cpu`"
    )]
    NotCompiledIn(DeviceKind),
    /// There is no such device.
    #[error(
        "the device {choice} is not there: {}; `vrt doctor` lists what is",
        found_in_words(.choice.kind, *.found)
    )]
    NotThere {
        /// What was asked for.
        choice: DeviceChoice,
        /// Devices of its kind.
        found: usize,
    },
    /// The device does not compute what it should.
    #[error(
        "{0} did not multiply two small matrices rightly, if at all: it may be in use, or its \
         driver may be broken or too old; update that, or use --device cpu"
    )]
    Wrong(DeviceChoice),
}

/// Why a list of devices is none to compute on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DevicesError {
    /// One of them is none.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// They are of several kinds, on which the same numbers would come out differently.
    #[error(
        "{0} and {1} are of different kinds, and which of them restores what would change the \
         result; name devices of one kind"
    )]
    Mixed(DeviceChoice, DeviceChoice),
    /// The processor is there once.
    #[error("the processor is one device; --threads says how much of it is used")]
    Processors,
}

fn found_in_words(kind: DeviceKind, found: usize) -> String {
    match found {
        0 => format!("no {kind} device or driver was found"),
        1 => format!("the only {kind} device is {kind}:0"),
        _ => format!("{kind} devices are {kind}:0 to {kind}:{}", found - 1),
    }
}

impl DeviceChoice {
    /// Opens the device.
    ///
    /// # Errors
    ///
    /// If this build or this machine does not have it, or it does not multiply rightly.
    pub fn open(self) -> Result<Device, DeviceError> {
        if !self.kind.is_compiled_in() {
            return Err(DeviceError::NotCompiledIn(self.kind));
        }
        let devices = self.kind.found();
        let found = devices.len();
        let device = devices.into_iter().nth(self.index);
        let device = device.ok_or(DeviceError::NotThere { choice: self, found })?;
        #[cfg(feature = "gpu")]
        if self.kind != DeviceKind::Cpu && !vrt_kernels::gpu::multiplies(&device) {
            return Err(DeviceError::Wrong(self));
        }
        Ok(device)
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.index) {
            (DeviceKind::Cpu, _) => f.write_str("cpu"),
            (kind, index) => write!(f, "{kind}:{index}"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = DeviceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || DeviceError::Unknown(text.to_owned());
        let (name, index) = match text.split_once(':') {
            Some((name, index)) => (name, index.parse().map_err(|_| unknown())?),
            None => (text, 0),
        };
        let kind = DeviceKind::ALL.into_iter().find(|kind| kind.name() == name);
        let kind = kind.filter(|kind| *kind != DeviceKind::Cpu || index == 0);
        Ok(Self { kind: kind.ok_or_else(unknown)?, index })
    }
}

/// Devices of one kind that share the work, as the command line names them: `cpu`, `cuda:1`,
/// `cuda:0,cuda:1`. A GPU that is named twice restores two tiles at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Devices {
    first: DeviceChoice,
    others: Vec<DeviceChoice>,
}

impl Devices {
    /// The first one.
    pub fn first(&self) -> DeviceChoice {
        self.first
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = DeviceChoice> + '_ {
        std::iter::once(self.first).chain(self.others.iter().copied())
    }

    /// The device of one of several processes on a machine, by its rank there: they take them in turn.
    pub fn of_rank(&self, rank: usize) -> DeviceChoice {
        match rank % (1 + self.others.len()) {
            0 => self.first,
            n => self.others[n - 1],
        }
    }

    /// Opens all.
    ///
    /// # Errors
    ///
    /// As [`DeviceChoice::open`].
    pub fn open(&self) -> Result<OpenDevices, DeviceError> {
        let list = self.iter().map(DeviceChoice::open).collect::<Result<_, _>>()?;
        Ok(OpenDevices { list, at_once: self.most_at_once() })
    }

    /// How often the one that is named most often is.
    fn most_at_once(&self) -> usize {
        let named = |choice| self.iter().filter(|other| *other == choice).count();
        self.iter().map(named).max().unwrap_or(1)
    }
}

/// Devices that are open.
#[derive(Clone, Debug)]
pub struct OpenDevices {
    /// In the order of their names; at least one.
    pub list: Vec<Device>,
    /// Tiles that one of them has at a time, at most.
    at_once: usize,
}

impl OpenDevices {
    /// Bytes that a tile may take on any of these GPUs; `None` where one does not tell.
    pub fn usable_memory(&self) -> Option<u64> {
        let of_each = self.list.iter().map(|device| Gpu::of(device)?.usable());
        Some(of_each.min().flatten()? / self.at_once as u64)
    }
}

impl fmt::Display for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        self.others.iter().try_for_each(|other| write!(f, ",{other}"))
    }
}

impl FromStr for Devices {
    type Err = DevicesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut named = text.split(',').map(str::parse::<DeviceChoice>);
        let first = named.next().unwrap_or_else(|| text.parse())?;
        let others = named.collect::<Result<Vec<_>, _>>()?;
        if let Some(other) = others.iter().find(|other| other.kind != first.kind) {
            return Err(DevicesError::Mixed(first, *other));
        }
        match first.kind == DeviceKind::Cpu && !others.is_empty() {
            true => Err(DevicesError::Processors),
            false => Ok(Self { first, others }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_devices_are_one() {
        for (text, kind, index) in [
            ("cpu", DeviceKind::Cpu, 0),
            ("cuda:0", DeviceKind::Cuda, 0),
            ("vulkan:12", DeviceKind::Vulkan, 12),
            ("metal:1", DeviceKind::Metal, 1),
            ("rocm:3", DeviceKind::Rocm, 3),
            ("wgpu:0", DeviceKind::Wgpu, 0),
        ] {
            let choice = DeviceChoice { kind, index };
            assert_eq!(text.parse(), Ok(choice));
            assert_eq!(choice.to_string(), text);
        }
        assert_eq!("cuda".parse(), "cuda:0".parse::<DeviceChoice>());
    }

    #[test]
    fn what_names_no_device_is_an_error() {
        for text in ["", "gpu", "cuda:", "cuda:-1", "cuda:x", "CPU", "cpu:1", "cuda:0:1"] {
            assert_eq!(text.parse::<DeviceChoice>(), Err(DeviceError::Unknown(text.to_owned())));
        }
    }

    #[test]
    fn the_processor_opens_and_other_kinds_say_why_not() {
        assert!(DeviceChoice::default().open().is_ok());
        for kind in DeviceKind::ALL.into_iter().filter(|kind| !kind.is_compiled_in()) {
            let error = DeviceChoice { kind, index: 0 }.open().unwrap_err();
            assert_eq!(error, DeviceError::NotCompiledIn(kind));
            assert!(error.to_string().contains(&format!("--features {kind}")), "{error}");
        }
    }

    #[test]
    fn a_device_beyond_the_last_is_an_error_that_counts() {
        let choice = DeviceChoice { kind: DeviceKind::Cpu, index: 1 };
        assert_eq!(choice.open().unwrap_err(), DeviceError::NotThere { choice, found: 1 });
    }

    #[test]
    fn several_devices_are_named_one_behind_the_other() {
        let devices: Devices = "cuda:1,cuda,cuda:1".parse().unwrap();
        assert_eq!(devices.to_string(), "cuda:1,cuda:0,cuda:1");
        assert_eq!(devices.first().index, 1);
        assert_eq!(devices.most_at_once(), 2);
        let of_ranks: Vec<_> = (0..5).map(|rank| devices.of_rank(rank).index).collect();
        assert_eq!(of_ranks, [1, 0, 1, 1, 0]);
        assert_eq!("cpu".parse(), Ok(Devices::default()));
        let [cuda, vulkan] = ["cuda:0", "vulkan:0"].map(|text| text.parse().unwrap());
        assert_eq!("cuda,vulkan".parse::<Devices>(), Err(DevicesError::Mixed(cuda, vulkan)));
        assert_eq!("cpu,cpu".parse::<Devices>(), Err(DevicesError::Processors));
        for text in ["", "cuda,", ",cuda", "cuda,,cuda", "cuda, cuda:1"] {
            assert!(matches!(text.parse::<Devices>(), Err(DevicesError::Device(_))), "{text}");
        }
    }
}
