//! Times training steps of a published network with random weights on one random clip: forward
//! pass, Charbonnier loss, backward pass, Adam. Prints one line of JSON:
//! `{"seconds": [14.1, 14.2], "peak_bytes": 1240000000}`.
//!
//! ```sh
//! cargo run --release --example train_step -- --preset 006 --size 6x64x64 --threads 2 --runs 3
//! ```

use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor};
use clap::Parser;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use vrt_kernels::{Level, Precision, fused};
use vrt_model::presets::Preset;
use vrt_model::{Pass, Vrt};

// As in the program: fresh pages for every temporary cost as much as the arithmetic.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Times training steps of a published network with random weights.
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
    /// Timed steps, behind one that is not.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Compute in bf16 instead of f32.
    #[arg(long)]
    bf16: bool,
    /// Vector instructions, such as avx2; the largest there are by default.
    #[arg(long)]
    level: Option<String>,
    /// Compose the tensor library's operations instead of ours.
    #[arg(long)]
    composed: bool,
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
    let (config, device) = (preset.config(), Device::flex().autodiff());
    let mut network = Vrt::with_seed(&config, 1, &device).network;
    let mut random = [ChaCha8Rng::seed_from_u64(1)];
    let clip = |channels, scale| {
        let shape = [1, d, scale * h, scale * w, channels];
        Tensor::<5>::random(shape, Distribution::Uniform(0.0, 1.0), &device)
    };
    let (x, truth) = (clip(config.input_channels(), 1), clip(3, config.upscale()));
    let precision = if arguments.bf16 { Precision::Bf16 } else { Precision::F32 };
    let mut step = |network: Vrt| {
        let start = Instant::now();
        let y = precision.scope(|| network.forward(x.clone(), &mut Pass::Train(&mut random)));
        let loss = ((y - truth.clone()).square() + 1e-9).sqrt().mean();
        let grads = loss.backward();
        drop(grads);
        (network, start.elapsed().as_secs_f64())
    };
    let mut seconds = Vec::new();
    for _ in 0..=arguments.runs {
        let (next, taken) =
            if arguments.composed { fused::without(|| step(network)) } else { step(network) };
        network = next;
        seconds.push(taken);
    }
    let line = serde_json::json!({ "seconds": seconds[1..], "peak_bytes": peak_bytes() });
    serde_json::to_writer(std::io::stdout(), &line).map_err(|error| error.to_string())
}

/// The most memory that the process has had, where the system says so.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}
