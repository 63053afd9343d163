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

/// What does not lie in the arena are lists of places and shapes, the code of places in a window, and
/// the pictures and flows, of three and two channels, that Burn's own operations make.
#[test]
fn passes_ask_for_little_when_they_have_an_arena() {
    // One thread finds the buffers again that it has kept.
    vrt_kernels::parallel::configure(Some(1)).expect("no pool before");
    // The small ones.
    for name in &NETWORKS[..4] {
        let Some(fixture) = Fixture::try_load(&format!("models/{name}")) else { continue };
        let (network, clip) = (support::network(&fixture), clips::clip(&fixture));
        let [_, d, h, w, _] = clip.dims();
        // Everything lies there, however small.
        let arena = Arena::marked();
        arena.plan(arena_bytes(network.config(), [d, h, w]));
        for precision in [Precision::F32, Precision::Bf16] {
            let asked_for = || {
                let before = ALLOCATOR.bytes();
                fused::Panels::scope(|| clips::restored(&network, &clip, precision));
                ALLOCATOR.bytes() - before
            };
            // The first time, layers are packed and threads take their buffers.
            let [_, without] = [(); 2].map(|()| asked_for());
            let [_, within] = arena.scope(|| [(); 2].map(|()| asked_for()));
            assert!(6 * within < without, "{name} in {precision}: {within} of {without} bytes");
        }
    }
}
