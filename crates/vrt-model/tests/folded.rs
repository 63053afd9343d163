//! Networks that fold two rows and two columns of a picture into one: pictures keep their size or
//! are enlarged, and both forms of the network compute the same.

use burn::tensor::{Device, Tensor, TensorData};
use vrt_kernels::fused;
use vrt_model::config::{Reach, VrtFields};
use vrt_model::{Pass, Values, Vrt, VrtConfig};
use vrt_testing::Random;

/// Values of any size, but for a last layer that is all zeros if `silent`.
struct Drawn {
    random: Random,
    silent: bool,
}

impl Values for Drawn {
    fn values(&mut self, name: &str, shape: &[usize]) -> Option<Vec<f32>> {
        let len = shape.iter().product();
        if self.silent && name.starts_with("conv_last") {
            return Some(vec![0.0; len]);
        }
        let inputs: usize = shape[1..].iter().product();
        Some(self.random.values(len, 1.0 / (inputs.max(16) as f32).sqrt()))
    }
}

fn config(noise_map: bool, upscale: usize) -> VrtConfig {
    let config = VrtConfig::new(VrtFields {
        upscale,
        in_channels: 3,
        noise_map,
        fold: 2,
        window: [2, 2, 2],
        depths: vec![2, 1, 1, 1, 1, 1, 1, 1],
        embed_dims: vec![8; 8],
        heads: vec![2; 8],
        independent: vec![],
        reach: Reach::One,
        deformable_groups: 4,
        ..VrtFields::default()
    });
    config.expect("a network")
}

fn network(config: &VrtConfig, silent: bool) -> Vrt {
    let mut values = Drawn { random: Random::new(5), silent };
    Vrt::with_values(config, &mut values, &Device::flex()).network
}

fn clip(dims: [usize; 5]) -> Tensor<5> {
    let values = Random::new(6).values(dims.iter().product(), 0.5);
    let values: Vec<f32> = values.into_iter().map(|value| value + 0.5).collect();
    Tensor::from_data(TensorData::new(values, dims), &Device::flex())
}

fn values(tensor: Tensor<5>) -> Vec<f32> {
    tensor.into_data().try_to_vec().expect("f32 values")
}

#[test]
fn a_network_that_answers_nothing_gives_pictures_of_any_size_back() {
    for (noise_map, [h, w]) in [(false, [32, 32]), (false, [37, 50]), (true, [33, 34])] {
        let config = config(noise_map, 1);
        let x = clip([2, 3, h, w, config.input_channels()]);
        let y = network(&config, true).forward(x.clone(), &mut Pass::Restore);
        assert_eq!(y.dims(), [2, 3, h, w, 3]);
        assert_eq!(values(y), values(x.narrow(4, 0, 3)));
    }
}

#[test]
fn an_enlarging_network_that_answers_nothing_interpolates() {
    let config = config(false, 2);
    let network = network(&config, true);
    let flat = Tensor::full([1, 2, 33, 38, 3], 0.25, &Device::flex());
    let y = network.forward(flat, &mut Pass::Restore);
    assert_eq!(y.dims(), [1, 2, 66, 76, 3]);
    assert!(values(y).iter().all(|value| (value - 0.25).abs() < 1e-6));
    // Of a ramp, pixels inside lie a quarter and three quarters of the way to the next one.
    let row: Vec<f32> = (0..32).flat_map(|x| [x as f32; 3]).collect();
    let ramp = TensorData::new(row.repeat(2 * 32), [1, 2, 32, 32, 3]);
    let y = values(network.forward(Tensor::from_data(ramp, &Device::flex()), &mut Pass::Restore));
    for x in 1..63 {
        let expected = (x as f32 - 0.5) / 2.0;
        assert!((y[(64 + x) * 3] - expected).abs() < 1e-4, "{x}: {}", y[(64 + x) * 3]);
    }
}

#[test]
fn a_folded_network_starts_by_changing_nothing() {
    for trails in [false, true] {
        let fields = VrtFields { trails, ..config(false, 1).fields().clone() };
        let config = VrtConfig::new(fields).expect("a network");
        let x = clip([1, 2, 32, 32, 3]);
        let network = Vrt::with_seed(&config, 3, &Device::flex()).network;
        assert_eq!(values(network.forward(x.clone(), &mut Pass::Restore)), values(x));
    }
}

#[test]
fn the_composed_network_is_the_fused_one() {
    for (noise_map, upscale, coarse_flow, trails) in [
        (false, 1, false, false),
        (false, 1, true, true),
        (true, 1, true, false),
        (false, 2, false, false),
        (true, 2, true, true),
    ] {
        let fields = config(noise_map, upscale).fields().clone();
        let fields = VrtFields { coarse_flow, trails, ..fields };
        let config = VrtConfig::new(fields).expect("a network");
        let network = network(&config, false);
        let x = clip([1, 3, 32, 48, config.input_channels()]);
        let fused = values(network.forward(x.clone(), &mut Pass::Restore));
        let composed = values(fused::without(|| network.forward(x.clone(), &mut Pass::Restore)));
        let scale = composed.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
        let apart = fused.iter().zip(&composed).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-4 * scale, "{apart} of {scale}");
        let pixels = x.dims()[1..4].iter().product::<usize>() * upscale * upscale;
        assert_eq!(fused.len(), 3 * pixels);
        let same = values(x.narrow(4, 0, 3));
        assert_ne!(fused, same, "the network has done nothing");
    }
}

#[test]
fn every_place_of_a_picture_has_its_own_answer() {
    // The four pixels that are one to the network come out of different channels: a picture that
    // is flat is not answered with a flat one.
    let config = config(false, 1);
    let x = Tensor::full([1, 2, 32, 32, 3], 0.5, &Device::flex());
    let y = values(network(&config, false).forward(x, &mut Pass::Restore));
    let row = &y[32 * 16 * 3..][..32 * 3];
    assert_ne!(row[16 * 3], row[17 * 3], "two columns of one place have one answer");
}

#[test]
fn all_sixteen_pixels_of_a_place_have_answers_of_their_own() {
    let config = config(false, 2);
    let x = Tensor::full([1, 2, 32, 32, 3], 0.5, &Device::flex());
    let y = values(network(&config, false).forward(x, &mut Pass::Restore));
    let pixel = |row: usize, column: usize| y[((32 + row) * 64 + 32 + column) * 3];
    let mut place: Vec<f32> = (0..16).map(|at| pixel(at / 4, at % 4)).collect();
    place.sort_by(f32::total_cmp);
    place.dedup();
    assert_eq!(place.len(), 16);
}
