//! Times forward passes of a published network with random weights, none of them zero, and prints
//! one line of JSON: `{"seconds": [4.1, 4.2], "peak_bytes": 240000000}`.
//!
//! ```sh
//! cargo run --release --example forward -- --preset 006 --size 6x64x64 --threads 2 --runs 5
//! ```

use std::time::Instant;

use burn::tensor::{Device, Tensor, TensorData};
use clap::Parser;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vrt_kernels::allocator::Allocator;
use vrt_kernels::{Arena, Level, Precision, fused};
use vrt_model::cost::arena_bytes;
use vrt_model::presets::Preset;
use vrt_model::{Pass, Values, Vrt};

// As in the program: fresh pages for every temporary cost as much as the arithmetic.
#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// Times forward passes of a published network with random weights.
#[derive(Debug, Parser)]
struct Arguments {
    /// The network, 001 to 009.
    #[arg(long, default_value = "006")]
    preset: String,
    /// Frames, rows and columns.
    #[arg(long, default_value = "6x64x64")]
    size: String,
    /// Threads; one per processor by default.
    #[arg(long)]
    threads: Option<usize>,
    /// Timed passes, behind one that is not.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Time the first pass too: for large sizes, where it does not matter.
    #[arg(long)]
    cold: bool,
    /// Compute in bf16 instead of f32.
    #[arg(long)]
    bf16: bool,
    /// Compute in f16 instead of f32: on GPUs.
    #[arg(long, conflicts_with = "bf16")]
    f16: bool,
    /// Vector instructions, such as avx2; the largest there are by default.
    #[arg(long)]
    level: Option<String>,
    /// Compute on a GPU: the number of one of those that this build can use.
    #[arg(long)]
    gpu: Option<usize>,
}

/// Weights as far from zero as a trained network's. Those that training starts from would not do:
/// the last offset layers are zero there, and what leads to them is left out.
struct Drawn(ChaCha8Rng);

impl Values for Drawn {
    fn values(&mut self, _: &str, shape: &[usize]) -> Option<Vec<f32>> {
        let fan_in = shape[1..].iter().product::<usize>();
        let bound = (fan_in.max(2) as f32).sqrt().recip();
        Some((0..shape.iter().product()).map(|_| self.0.random_range(-bound..bound)).collect())
    }
}

impl Drawn {
    fn clip(&mut self, shape: [usize; 5], device: &Device) -> Tensor<5> {
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| self.0.random()).collect();
        Tensor::from_data(TensorData::new(values, shape), device)
    }
}

fn main() -> Result<(), String> {
    let arguments = Arguments::parse();
    vrt_kernels::parallel::configure(arguments.threads).map_err(|error| error.to_string())?;
    if let Some(name) = &arguments.level {
        let level = Level::available().find(|level| level.to_string() == *name);
        Level::force(level.ok_or("this processor does not run such a level")?);
    }
    let size: Result<Vec<usize>, _> = arguments.size.split('x').map(str::parse).collect();
    let [d, h, w] = size.ok().and_then(|size| size.try_into().ok()).ok_or("sizes are DxHxW")?;
    let preset = Preset::parse(&arguments.preset).map_err(|error| error.to_string())?;
    let (config, device) = (preset.config(), device(arguments.gpu)?);
    let mut weights = Drawn(ChaCha8Rng::seed_from_u64(1));
    let network = Vrt::with_values(&config, &mut weights, &device).network;
    let x = weights.clip([1, d, h, w, config.input_channels()], &device);
    let precision = match (arguments.bf16, arguments.f16) {
        (true, _) => Precision::Bf16,
        (_, true) => Precision::F16,
        _ => Precision::F32,
    };
    let arena = Arena::new();
    arena.plan(arena_bytes(&config, [d, h, w]));
    let pass = || {
        let start = Instant::now();
        let forward = || network.forward(x.clone(), &mut Pass::Restore);
        let forward = || fused::Panels::scope(forward);
        let y = arena.scope(|| precision.scope(forward)).into_data();
        assert!(!y.shape().is_empty(), "the network made nothing");
        start.elapsed().as_secs_f64()
    };
    if !arguments.cold {
        pass();
    }
    let seconds: Vec<f64> = (0..arguments.runs).map(|_| pass()).collect();
    let line = serde_json::json!({ "seconds": seconds, "peak_bytes": peak_bytes(&device) });
    serde_json::to_writer(std::io::stdout(), &line).map_err(|error| error.to_string())
}

fn device(gpu: Option<usize>) -> Result<Device, String> {
    let Some(index) = gpu else { return Ok(Device::flex()) };
    let found = vrt_kernels::gpus().into_iter().nth(index);
    found.ok_or_else(|| format!("there is no GPU {index} that this build knows"))
}

/// The memory that a GPU's allocator holds, which it does not give back; on a processor the most
/// that the process has had, where the system says so.
fn peak_bytes(device: &Device) -> Option<u64> {
    if let Some(usage) = device.memory_pool_usage() {
        return Some(usage.bytes_reserved);
    }
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}
