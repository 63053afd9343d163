//! What a published network with weights of a file makes of a clip in it, as `tools/peer/distance.py`
//! asks for it.
//!
//! ```sh
//! cargo run --example answer -- --preset 006 in.safetensors out.f32 --bf16
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use burn::tensor::{Device, Tensor, TensorData};
use clap::Parser;
use vrt_kernels::Precision;
use vrt_kernels::allocator::Allocator;
use vrt_model::presets::Preset;
use vrt_model::{Pass, Values, Vrt};
use vrt_testing::{Golden, read_tensors};

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

/// Runs a published network once.
#[derive(Debug, Parser)]
struct Arguments {
    /// The network, 001 to 009.
    #[arg(long, default_value = "006")]
    preset: String,
    /// A file with its parameters, under their published names, and the clip `x`, `[1, frames,
    /// channels, rows, columns]`; all in f32.
    tensors: PathBuf,
    /// Where the answer goes: f32, little-endian, ordered as the clip is.
    output: PathBuf,
    /// Compute in bf16 instead of f32.
    #[arg(long)]
    bf16: bool,
}

struct Stored(BTreeMap<String, Golden>);

impl Values for Stored {
    fn values(&mut self, name: &str, _: &[usize]) -> Option<Vec<f32>> {
        self.0.remove(name).map(|tensor| tensor.values)
    }
}

fn main() -> Result<(), String> {
    let arguments = Arguments::parse();
    let config = Preset::parse(&arguments.preset).map_err(|error| error.to_string())?.config();
    let mut stored = Stored(read_tensors(&arguments.tensors));
    let clip = stored.0.remove("x").ok_or("there is no clip `x` in the file")?;
    let named = Vrt::with_values(&config, &mut stored, &Device::flex());
    if !named.missing.is_empty() {
        return Err(format!("parameters that are not in the file: {:?}", named.missing));
    }
    let precision = if arguments.bf16 { Precision::Bf16 } else { Precision::F32 };
    let clip = Tensor::<5>::from_data(TensorData::new(clip.values, clip.shape), &Device::flex());
    let clip = clip.permute([0, 1, 3, 4, 2]);
    let answer = precision.scope(|| named.network.forward(clip, &mut Pass::Restore));
    let answer = answer.permute([0, 1, 4, 2, 3]).into_data();
    let values: Vec<f32> = answer.try_to_vec().map_err(|error| format!("{error:?}"))?;
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    fs::write(&arguments.output, bytes)
        .map_err(|error| format!("{}: {error}", arguments.output.display()))
}
