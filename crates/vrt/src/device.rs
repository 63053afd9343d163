//! Where a network is computed: the processor, or a GPU that this build knows.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

use burn::tensor::Device;

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
}

impl DeviceKind {
    /// Every kind, the processor first.
    pub const ALL: [Self; 5] = [Self::Cpu, Self::Cuda, Self::Vulkan, Self::Metal, Self::Rocm];

    /// Its name on the command line, which is also the name of its feature.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Vulkan => "vulkan",
            Self::Metal => "metal",
            Self::Rocm => "rocm",
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
        }
    }

    /// The devices of this kind on this machine; none if the kind is not compiled in or its driver
    /// is missing.
    pub fn found(self) -> Vec<Device> {
        match self {
            Self::Cpu => vec![Device::flex()],
            gpu => quietly(|| enumerate(gpu)).unwrap_or_default(),
        }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The GPUs of a kind, in the driver's order.
fn enumerate(kind: DeviceKind) -> Vec<Device> {
    match kind {
        #[cfg(feature = "cuda")]
        DeviceKind::Cuda => Device::enumerate(burn::tensor::DeviceType::Cuda).into_iter().collect(),
        #[cfg(feature = "vulkan")]
        DeviceKind::Vulkan => {
            Device::enumerate(burn::tensor::DeviceType::Vulkan).into_iter().collect()
        }
        #[cfg(feature = "metal")]
        DeviceKind::Metal => {
            Device::enumerate(burn::tensor::DeviceType::Metal).into_iter().collect()
        }
        #[cfg(feature = "rocm")]
        DeviceKind::Rocm => Device::enumerate(burn::tensor::DeviceType::Rocm).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// Runs `look`; a panic of it is `None`, and is not printed. Drivers that are not installed panic
/// in the libraries that load them.
fn quietly<T>(look: impl FnOnce() -> T) -> Option<T> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let seen = catch_unwind(AssertUnwindSafe(look)).ok();
    std::panic::set_hook(hook);
    seen
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
    #[error("{0:?} is no device; devices are cpu, cuda[:n], vulkan[:n], metal[:n] and rocm[:n]")]
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
    /// If this build or this machine does not have it.
    pub fn open(self) -> Result<Device, DeviceError> {
        if !self.kind.is_compiled_in() {
            return Err(DeviceError::NotCompiledIn(self.kind));
        }
        let devices = self.kind.found();
        let found = devices.len();
        devices.into_iter().nth(self.index).ok_or(DeviceError::NotThere { choice: self, found })
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
    fn a_panic_while_looking_is_nothing_found() {
        assert_eq!(quietly(|| panic!("no driver")), None::<()>);
        assert_eq!(quietly(|| 7), Some(7));
    }
}
