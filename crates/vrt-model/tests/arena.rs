//! Whole networks whose activations lie in an arena, tile behind tile.

#[path = "support/clips.rs"]
mod clips;
mod support;

use vrt_kernels::{Arena, Precision, fused};
use vrt_model::cost::arena_bytes;
use vrt_testing::{Fixture, NETWORKS};

use clips::{clip, restored};

/// All of them differ in what they are made of, two are enough for what products multiply.
fn precisions(name: &str) -> &'static [Precision] {
    let both = &[Precision::F32, Precision::Bf16];
    if ["deblur", "sr_x2_spike"].contains(&name) { both } else { &both[..1] }
}

/// In an arena that is marked where nothing has been written, with room for everything and with room
/// for some of it; the second time with weights that are packed already.
#[test]
fn networks_write_all_that_they_read_and_find_it_unchanged() {
    for name in NETWORKS {
        let Some(fixture) = Fixture::try_load(&format!("models/{name}")) else { continue };
        let (network, clip) = (support::network(&fixture), clip(&fixture));
        let [_, d, h, w, _] = clip.dims();
        let bytes = arena_bytes(network.config(), [d, h, w]);
        for precision in precisions(name) {
            let values = || -> Vec<f32> {
                let y = restored(&network, &clip, *precision).into_data();
                y.try_to_vec().expect("f32 values")
            };
            let expected = values();
            for (room, times) in [(bytes, 2), (bytes / 3, 1)] {
                let arena = Arena::marked();
                arena.plan(room);
                let again = || fused::Panels::scope(values);
                for time in 0..times {
                    let found = arena.scope(again);
                    assert!(arena.reached() > room / 4, "{name}: hardly anything lay there");
                    assert_eq!(found.len(), expected.len(), "{name}");
                    assert!(
                        found.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits()),
                        "{name} in {precision}, room for {room} bytes, time {time}"
                    );
                }
            }
        }
    }
}
