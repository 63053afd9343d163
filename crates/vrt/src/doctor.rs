//! What this machine offers, and what a run on it would use.

mod devices;
mod ffmpeg;
mod processor;

use serde::Serialize;
use vrt_video::Programs;

use crate::memory::Memory;

pub use devices::DeviceReport;
pub use ffmpeg::{EncoderReport, FfmpegReport, ProgramReport};
pub use processor::ProcessorReport;

/// Everything that decides whether and how fast a clip is restored here.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Version of this program.
    pub version: &'static str,
    /// Cores, instructions and threads.
    pub processor: ProcessorReport,
    /// Each kind of device that `--device` names.
    pub devices: Vec<DeviceReport>,
    /// Programs that read and write video files.
    pub ffmpeg: FfmpegReport,
    /// Memory, now; `None` where the system cannot be asked.
    pub memory: Option<MemoryReport>,
}

/// Memory in bytes, now.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct MemoryReport {
    /// Of the machine.
    pub total: u64,
    /// That the machine can still hand out.
    pub available: u64,
    /// What the control group of this process (a container, a batch job) may take, where that is
    /// less than the machine has.
    pub limit: Option<u64>,
    /// What a run on the processor plans its tiles for when `--memory` does not say.
    pub usable: u64,
}

impl From<Memory> for MemoryReport {
    fn from(memory: Memory) -> Self {
        let Memory { total, available, limit, .. } = memory;
        Self { total, available, limit, usable: memory.usable() }
    }
}

/// Looks at this machine: asks the processor and the system, and runs ffmpeg and ffprobe for their
/// versions.
///
/// A program or device that is missing is part of the report, not an error.
pub fn examine(programs: &Programs) -> Report {
    Report {
        version: env!("CARGO_PKG_VERSION"),
        processor: processor::examine(),
        devices: devices::examine(),
        ffmpeg: ffmpeg::examine(programs),
        memory: Memory::now().map(MemoryReport::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_in_use_is_one_that_the_processor_runs() {
        let report = processor::examine();
        assert!(report.levels.contains(&report.level));
        assert_eq!(report.levels[0], "portable");
        assert!(report.threads > 0);
    }

    #[test]
    fn avx512_is_used_exactly_where_its_features_are_found() {
        let report = processor::examine();
        let needed = ["avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl"];
        let has_all = needed.iter().all(|name| report.features.contains(name));
        assert_eq!(report.levels.iter().any(|level| level == "avx512"), has_all);
    }

    #[test]
    fn a_program_that_is_missing_is_reported_with_the_way_to_install_it() {
        let programs = Programs {
            ffmpeg: "/no/such/place/ffmpeg".into(),
            ffprobe: "/no/such/place/ffprobe".into(),
        };
        let report = ffmpeg::examine(&programs);
        assert!(report.ffmpeg.version.is_none());
        let problem = report.ffmpeg.problem.expect("a missing program is a problem");
        assert!(problem.contains("install"), "{problem}");
        assert!(report.encoders.iter().all(|encoder| !encoder.found));
    }

    #[test]
    fn the_cpu_is_always_there() {
        let cpu = devices::examine().into_iter().find(|device| device.kind == "cpu");
        assert!(cpu.is_some_and(|cpu| cpu.compiled_in && cpu.found == 1));
    }
}
