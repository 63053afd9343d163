//! Times training steps of a published network with random weights on one random clip: forward
//! pass, Charbonnier loss, backward pass, Adam, as `vrt train` does them. Prints one line of JSON:
//! `{"seconds": [14.1, 14.2], "peak_bytes": 1240000000}`.
//!
//! ```sh
//! cargo run --release --example train_step -- --preset 006 --size 6x64x64 --threads 2 --runs 3
//! ```

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use burn::tensor::Device;
use clap::Parser;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use vrt_kernels::{Level, fused};
use vrt_model::option_file;
use vrt_model::presets::Preset;
use vrt_model::volume::Volume;
use vrt_train::Recipe;
use vrt_train::samples::{Batch, Sample};
use vrt_train::start::start;
use vrt_train::step::{Learner, State};

// As in the program: fresh pages for every temporary cost as much as the arithmetic.
#[global_allocator]
static ALLOCATOR: vrt_kernels::allocator::Allocator = vrt_kernels::allocator::Allocator;

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
    /// Keep what attention found for the backward pass, instead of finding it again.
    #[arg(long)]
    keep: bool,
    /// Chance that the last block's branches are dropped, and not computed; 0.2 as published.
    #[arg(long, value_name = "RATE", default_value_t = 0.0)]
    drop_path: f64,
    /// Compute on a GPU: the number of one of those that this build can use.
    #[arg(long)]
    gpu: Option<usize>,
}

fn main() -> Result<(), String> {
    let arguments = Arguments::parse();
    vrt_kernels::parallel::configure(arguments.threads).map_err(|error| error.to_string())?;
    if let Some(name) = &arguments.level {
        let level = Level::available().find(|level| level.to_string() == *name);
        Level::force(level.ok_or("this processor does not run such a level")?);
    }
    let recipe = recipe(&arguments)?;
    let batch = batch(&arguments, &recipe)?;
    let device = device(arguments.gpu)?;
    let started = start(&recipe, &device.clone().autodiff()).map_err(|error| error.to_string())?;
    let learner = Learner::new(&recipe, &started.named, &device.clone().autodiff(), 1);
    let mut state = State::new(started.named.network, learner.parameters(), None);
    let stop = AtomicBool::new(false);
    let step = |state: State| {
        let start = Instant::now();
        let state = learner.prepare(state);
        let gradients = learner.gradients(&state, &batch, 0, &stop);
        let gradients = gradients.map_err(|error| error.to_string())?;
        let (state, _) = learner.update(state, gradients).map_err(|(_, why)| why.to_string())?;
        Ok::<_, String>((state, start.elapsed().as_secs_f64()))
    };
    let mut seconds = Vec::new();
    for _ in 0..=arguments.runs {
        let taken;
        (state, taken) = match arguments.composed {
            true => fused::without(|| step(state))?,
            false => step(state)?,
        };
        seconds.push(taken);
    }
    let line = json!({ "seconds": seconds[1..], "peak_bytes": peak_bytes(&device) });
    serde_json::to_writer(std::io::stdout(), &line).map_err(|error| error.to_string())
}

/// Training of the preset on one batch.
fn recipe(arguments: &Arguments) -> Result<Recipe, String> {
    let preset = Preset::parse(&arguments.preset).map_err(|error| error.to_string())?;
    let mut network = option_file::to_json(&preset.config());
    network["use_checkpoint_attn"] = (!arguments.keep).into();
    network["drop_path_rate"] = arguments.drop_path.into();
    let options = json!({
        "task": "step",
        "scale": preset.config().upscale(),
        "datasets": { "train": {
            "dataset_type": "FixedBatch",
            "batch_file": "",
            "dataloader_batch_size": 1,
        } },
        "netG": network,
        "train": {
            "G_lossfn_type": "charbonnier",
            "G_optimizer_lr": 4e-4,
            "G_optimizer_betas": [0.9, 0.99],
            "total_iter": 300_000,
            "G_scheduler_type": "CosineAnnealingWarmRestarts",
            "G_scheduler_periods": 300_000,
            "precision": if arguments.bf16 { "bf16" } else { "f32" },
        },
    });
    let parsed = Recipe::parse(Path::new("options"), &options.to_string(), &[]);
    Ok(parsed.map_err(|error| error.to_string())?.recipe)
}

/// A clip of random values and another one as its truth.
fn batch(arguments: &Arguments, recipe: &Recipe) -> Result<Batch, String> {
    let size: Result<Vec<usize>, _> = arguments.size.split('x').map(str::parse).collect();
    let [d, h, w] = size.ok().and_then(|size| size.try_into().ok()).ok_or("sizes are DxHxW")?;
    let (network, scale) = (&recipe.network, recipe.network.upscale());
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut clip = |dims: [usize; 4]| {
        let values = (0..dims.iter().product()).map(|_| random.random::<f32>()).collect();
        Volume::new(dims, values).map_err(|error| error.to_string())
    };
    let frames = if network.fused_frames().is_some() { 1 } else { d };
    let degraded = clip([d, h, w, network.input_channels()])?;
    let sharp = clip([frames, scale * h, scale * w, network.out_channels()])?;
    let sample = Sample { key: "random".to_owned(), degraded, sharp };
    Batch::new(vec![sample], network).map_err(|error| error.to_string())
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
