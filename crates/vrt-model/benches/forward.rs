//! Seconds of a whole forward pass of published networks with random weights.
//!
//! `cargo bench -p vrt-model` prints them; BENCHMARKS.md says what they mean.

use burn::tensor::{Device, Tensor};
use divan::Bencher;
use vrt_model::presets::Preset;
use vrt_model::{Pass, Vrt};

// As in the program: fresh pages for every temporary cost as much as the arithmetic.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Presets and clips, `frames × rows × columns`.
const CASES: [(&str, [usize; 3]); 3] =
    [("006", [6, 64, 64]), ("006", [6, 128, 128]), ("001", [6, 64, 64])];

fn main() {
    vrt_kernels::parallel::configure(None).expect("threads");
    divan::main();
}

#[divan::bench(args = CASES.map(|(name, size)| format!("{name} at {}x{}x{}", size[0], size[1], size[2])), sample_count = 5, sample_size = 1)]
fn forward(bencher: Bencher<'_, '_>, case: &str) {
    let place = |(name, size): &(&str, [usize; 3])| {
        case == format!("{name} at {}x{}x{}", size[0], size[1], size[2])
    };
    let (name, [d, h, w]) = *CASES.iter().find(|case| place(case)).expect("a case");
    let device = Device::flex();
    let config = Preset::parse(name).expect("a preset").config();
    let network = Vrt::with_seed(&config, 1, &device).network;
    let x = Tensor::<5>::full([1, d, h, w, config.input_channels()], 0.5, &device);
    bencher.bench_local(|| network.forward(x.clone(), &mut Pass::Restore).into_data());
}
