//! What passes behind the first ones ask of the allocator.

#[path = "support/clips.rs"]
mod clips;
mod support;

use burn::tensor::{Device, Tensor, TensorData};
use vrt_kernels::allocator::{Allocator, Counted};
use vrt_kernels::{Arena, Precision, fused};
use vrt_model::config::{Reach, VrtFields};
use vrt_model::cost::arena_bytes;
use vrt_model::{Values, Vrt, VrtConfig};
use vrt_testing::{Fixture, NETWORKS, Random};

#[global_allocator]
static ALLOCATOR: Counted<Allocator> = Counted::new(Allocator);

/// Bytes of the largest lists: an operation's inputs, places of a window's tokens.
const LIST: u64 = 6 << 10;

/// What does not lie in the arena are tensors' own sizes, and lists that are as long for large pictures
/// as for small ones.
#[test]
fn passes_ask_for_no_buffers_when_they_have_an_arena() {
    // One thread finds the buffers again that it has kept.
    vrt_kernels::parallel::configure(Some(1)).expect("no pool before");
    // The small ones.
    for name in &NETWORKS[..4] {
        let Some(fixture) = Fixture::try_load(&format!("models/{name}")) else { continue };
        check(name, &support::network(&fixture), &clips::clip(&fixture));
    }
    for channels in [3, 3 + 4] {
        let (network, clip) = along_motion(channels);
        check(&format!("{channels} channels along motion"), &network, &clip);
    }
}

fn check(name: &str, network: &Vrt, clip: &Tensor<5>) {
    let [_, d, h, w, _] = clip.dims();
    // Everything lies there, however small.
    let arena = Arena::marked();
    arena.plan(arena_bytes(network.config(), [d, h, w]));
    for precision in [Precision::F32, Precision::Bf16] {
        let asked_for = || {
            let (before, _) = (ALLOCATOR.bytes(), ALLOCATOR.largest());
            fused::Panels::scope(|| clips::restored(network, clip, precision));
            [ALLOCATOR.bytes() - before, ALLOCATOR.largest()]
        };
        // The first time, layers are packed and threads take their buffers.
        let [_, [without, _]] = [(); 2].map(|()| asked_for());
        let [_, [within, largest]] = arena.scope(|| [(); 2].map(|()| asked_for()));
        assert!(largest <= LIST, "{name} in {precision}: a piece of {largest} bytes");
        assert!(6 * within < without, "{name} in {precision}: {within} of {without} bytes");
    }
}

/// A network that folds pictures and sees them along their motion, and a clip for it.
fn along_motion(in_channels: usize) -> (Vrt, Tensor<5>) {
    let config = VrtConfig::new(VrtFields {
        in_channels,
        fold: 2,
        trails: true,
        window: [2, 4, 4],
        depths: vec![2, 1, 1, 1, 1, 1, 1, 1],
        embed_dims: vec![16; 8],
        heads: vec![2; 8],
        independent: vec![],
        reach: Reach::One,
        deformable_groups: 4,
        ..VrtFields::default()
    });
    let config = config.expect("a network");
    let mut values = Drawn(Random::new(5));
    let network = Vrt::with_values(&config, &mut values, &Device::flex()).network;
    let dims = [1, 4, 70, 64, config.input_channels()];
    let samples = Random::new(6).values(dims.iter().product(), 0.5);
    (network, Tensor::from_data(TensorData::new(samples, dims), &Device::flex()))
}

struct Drawn(Random);

impl Values for Drawn {
    fn values(&mut self, _: &str, shape: &[usize]) -> Option<Vec<f32>> {
        let inputs: usize = shape[1..].iter().product();
        Some(self.0.values(shape.iter().product(), 1.0 / (inputs.max(16) as f32).sqrt()))
    }
}
