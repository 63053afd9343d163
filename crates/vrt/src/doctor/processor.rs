//! The processor and what the kernels use of it.

use serde::Serialize;
use sysinfo::{CpuRefreshKind, System};
use vrt_kernels::{Level, Precision};

/// Cores, instructions and threads.
#[derive(Clone, Debug, Serialize)]
pub struct ProcessorReport {
    /// What the processor calls itself; empty where it does not say.
    pub model: String,
    /// Architecture that this program was built for, for example `x86_64`.
    pub architecture: &'static str,
    /// Cores, where the system tells them from threads.
    pub cores: Option<usize>,
    /// Hardware threads that this process may use.
    pub processors: usize,
    /// Vector instructions found, of those that matter here.
    pub features: Vec<&'static str>,
    /// Kernel levels that the processor runs, smallest first.
    pub levels: Vec<String>,
    /// The level that the kernels use.
    pub level: String,
    /// What `--precision auto` computes with on it.
    pub precision: String,
    /// Threads that a run computes with.
    pub threads: usize,
}

pub(super) fn examine() -> ProcessorReport {
    ProcessorReport {
        model: model().unwrap_or_default(),
        architecture: std::env::consts::ARCH,
        cores: System::physical_core_count().ok(),
        processors: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        features: features(),
        levels: Level::available().map(|level| level.to_string()).collect(),
        level: Level::current().to_string(),
        precision: Precision::fastest().to_string(),
        threads: rayon::current_num_threads(),
    }
}

/// What the first processor calls itself.
fn model() -> Option<String> {
    let mut system = System::new().ok()?;
    system.refresh_cpu_list(CpuRefreshKind::nothing());
    Some(system.cpus().first()?.brand().trim().to_owned())
}

/// The names of those features that `$detect` finds.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! found {
    ($detect:ident: $($name:tt),* $(,)?) => {
        [$(($name, std::arch::$detect!($name))),*]
            .into_iter()
            .filter_map(|(name, found)| found.then_some(name))
            .collect()
    };
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<&'static str> {
    found!(
        is_x86_feature_detected:
        "sse4.2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl",
        "avx512vnni", "avx512bf16", "avx512fp16",
    )
}

#[cfg(target_arch = "aarch64")]
fn features() -> Vec<&'static str> {
    found!(is_aarch64_feature_detected: "neon", "dotprod", "fp16", "bf16", "i8mm", "sve", "sve2")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn features() -> Vec<&'static str> {
    Vec::new()
}
