//! The flag `--precision`.

use burn::tensor::Device;
use clap::ValueEnum;
use vrt::device::Gpu;
use vrt_kernels::{Precision, precisions};
use vrt_model::tiled::Tiling;

use super::Failure;

/// Names of the numbers that a network may be computed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum PrecisionName {
    /// The fastest that the device multiplies natively, bf16 before f16; f32 for published tiles
    #[default]
    Auto,
    /// 32-bit floats
    F32,
    /// Products of 16-bit floats of 8 bits precision, summed in 32 bits
    Bf16,
    /// Products of 16-bit floats of 11 bits precision, summed in 32 bits: GPUs alone
    F16,
}

impl PrecisionName {
    /// What it means on devices, for tiles put together in some way.
    pub(crate) fn choose(self, devices: &[Device], tiling: Tiling) -> Result<Precision, Failure> {
        let precision = match self {
            Self::F32 => Precision::F32,
            Self::Bf16 => Precision::Bf16,
            Self::F16 => Precision::F16,
            Self::Auto if tiling == Tiling::Published => Precision::F32,
            Self::Auto => return Ok(fastest(devices)),
        };
        devices
            .iter()
            .try_for_each(|device| check(device, precision, "use --precision auto"))
            .map(|()| precision)
    }
}

/// The precision to prefer of those that all devices multiply in.
pub(crate) fn fastest(devices: &[Device]) -> Precision {
    let mut of_each = devices.iter().map(precisions);
    let first = of_each.next().unwrap_or_default();
    let others: Vec<_> = of_each.collect();
    let shared = |precision: &Precision| others.iter().all(|other| other.contains(precision));
    first.into_iter().find(shared).unwrap_or_default()
}

/// Says whether a device multiplies in a precision, and else the `remedy`.
pub(crate) fn check(device: &Device, precision: Precision, remedy: &str) -> Result<(), Failure> {
    let known = precisions(device);
    if known.contains(&precision) {
        return Ok(());
    }
    let name = Gpu::of(device).map_or_else(|| "the processor".to_owned(), |gpu| gpu.name);
    let names: Vec<_> = known.iter().map(Precision::to_string).collect();
    let names = names.join(" and ");
    Err(Failure::Failed(
        format!("{name} multiplies in {names}, not in {precision}; {remedy}").into(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auto_is_the_fastest_but_f32_for_published_tiles() {
        let cpu = [Device::flex()];
        let choose = |name: PrecisionName, tiling| name.choose(&cpu, tiling).ok();
        let (auto, bf16) = (PrecisionName::Auto, PrecisionName::Bf16);
        assert_eq!(choose(auto, Tiling::Published), Some(Precision::F32));
        assert_eq!(choose(auto, Tiling::Seamless), Some(Precision::fastest()));
        assert_eq!(choose(bf16, Tiling::Published), Some(Precision::Bf16));
        assert_eq!(choose(PrecisionName::F16, Tiling::Seamless), None);
    }
}
