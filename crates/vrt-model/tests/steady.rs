//! What passes behind the first ones ask of the allocator.

#[path = "support/clips.rs"]
mod clips;
mod support;

use vrt_kernels::allocator::{Allocator, Counted};
use vrt_kernels::{Arena, Precision, fused};
use vrt_model::cost::arena_bytes;
use vrt_testing::{Fixture, NETWORKS};

#[global_allocator]
static ALLOCATOR: Counted<Allocator> = Counted::new(Allocator);

/// Bytes of a list of an operation's inputs, or of the places of a window's tokens: the largest there are.
/// No map, nothing packed for a call and no scratch of a window is as small.
const LIST: u64 = 6 << 10;

/// What does not lie in the arena are tensors' own sizes, and lists that are as long for a large clip as
/// for a small one.
#[test]
fn passes_ask_for_no_buffers_when_they_have_an_arena() {
    // One thread finds the buffers again that it has kept.
    vrt_kernels::parallel::configure(Some(1)).expect("no pool before");
    // The small ones.
    for name in &NETWORKS[..4] {
        let Some(fixture) = Fixture::try_load(&format!("models/{name}")) else { continue };
        let (network, clip) = (support::network(&fixture), clips::clip(&fixture));
        let [_, d, h, w, _] = clip.dims();
        let arena = Arena::new();
        arena.plan(arena_bytes(network.config(), [d, h, w]));
        for precision in [Precision::F32, Precision::Bf16] {
            let asked_for = || {
                let (before, _) = (ALLOCATOR.bytes(), ALLOCATOR.largest());
                fused::Panels::scope(|| clips::restored(&network, &clip, precision));
                [ALLOCATOR.bytes() - before, ALLOCATOR.largest()]
            };
            // The first time, layers are packed and threads take their buffers.
            let [_, [without, _]] = [(); 2].map(|()| asked_for());
            let [_, [within, largest]] = arena.scope(|| [(); 2].map(|()| asked_for()));
            assert!(largest <= LIST, "{name} in {precision}: a piece of {largest} bytes");
            assert!(6 * within < without, "{name} in {precision}: {within} of {without} bytes");
        }
    }
}
