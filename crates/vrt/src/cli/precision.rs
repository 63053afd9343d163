//! The flag `--precision`.

use clap::ValueEnum;
use vrt::device::{DeviceChoice, DeviceKind};
use vrt_kernels::Precision;
use vrt_model::tiled::Tiling;

use super::Failure;

/// Names of the numbers that a network may be computed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum PrecisionName {
    /// bf16 where the processor multiplies it natively and tiles are not the published ones, else
    /// f32
    #[default]
    Auto,
    /// 32-bit floats
    F32,
    /// Products of 16-bit floats of 8 bits precision, summed in 32 bits
    Bf16,
}

impl PrecisionName {
    /// What it means on a device, for tiles put together in some way.
    pub(crate) fn choose(self, device: DeviceChoice, tiling: Tiling) -> Result<Precision, Failure> {
        let on_cpu = device.kind == DeviceKind::Cpu;
        match self {
            Self::F32 => Ok(Precision::F32),
            Self::Bf16 if on_cpu => Ok(Precision::Bf16),
            Self::Bf16 => Err(Failure::Failed(
                format!("the device {device} computes in f32 only; use --precision f32 or auto")
                    .into(),
            )),
            Self::Auto if on_cpu && tiling == Tiling::Seamless => Ok(Precision::fastest()),
            Self::Auto => Ok(Precision::F32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_is_f32_for_published_tiles_and_on_gpus() {
        let cpu = DeviceChoice::default();
        let gpu = DeviceChoice { kind: DeviceKind::Vulkan, index: 0 };
        let choose = |name: PrecisionName, device, tiling| name.choose(device, tiling).ok();
        let (auto, bf16) = (PrecisionName::Auto, PrecisionName::Bf16);
        assert_eq!(choose(auto, cpu, Tiling::Published), Some(Precision::F32));
        assert_eq!(choose(auto, cpu, Tiling::Seamless), Some(Precision::fastest()));
        assert_eq!(choose(auto, gpu, Tiling::Seamless), Some(Precision::F32));
        assert_eq!(choose(bf16, cpu, Tiling::Published), Some(Precision::Bf16));
        assert_eq!(choose(bf16, gpu, Tiling::Seamless), None);
    }
}
