//! One test a fixture in `fixtures/modules`.

use burn::tensor::Tensor;
use vrt_kernels::{WarpMode, composed, ops};
use vrt_testing::{Fixture, assert_close};

use super::{
    Check, FLOW_GRADIENT, MODULE, built, channels_first, channels_last, check_input,
    check_input_within, every_way, frame_first, frame_last, input, on_processors, tensor, values,
};
use crate::align::{Align, AlignShape, Neighbours};
use crate::attention::{Attention, AttentionShape, Windows};
use crate::block::{Group, GroupShape, ResidualGroup};
use crate::config::Resample;
use crate::flow::{Flows, SpyNet};
use crate::pass::Pass;
use crate::positions::SineCode;
use crate::reconstruct::Upsample;
use crate::stage::{Stage, StageShape};

fn warp_fixture(name: &str, mode: WarpMode) {
    let fixture = Fixture::load(&format!("modules/{name}"));
    let (x, flow) = (input::<4>(&fixture, "x"), input::<4>(&fixture, "flow"));
    let run = |warp: fn(Tensor<4>, Tensor<4>, WarpMode) -> Tensor<4>| {
        let y = frame_first(warp(frame_last(x.clone()), flow.clone(), mode));
        let golden = fixture.tensor("out.y");
        assert_close(name, &values(y.clone()), &golden.values, MODULE);
        let grads = (y * tensor::<4>(fixture.tensor("probe.y"))).sum().backward();
        check_input(&fixture, &grads, "x", &x);
        match mode {
            WarpMode::Nearest4 => {
                let largest = flow.grad(&grads).map_or(0.0, |g| g.abs().max().into_scalar::<f32>());
                assert_eq!(largest, 0.0, "no gradient flows to the flow through nearest4");
            }
            _ => check_input(&fixture, &grads, "flow", &flow),
        }
    };
    run(ops::warp);
    run(composed::warp);
}

#[test]
fn flow_warp_bilinear_zeros() {
    every_way(|| warp_fixture("flow_warp_bilinear_zeros", WarpMode::BilinearZeros));
}

#[test]
fn flow_warp_bilinear_border() {
    every_way(|| warp_fixture("flow_warp_bilinear_border", WarpMode::BilinearBorder));
}

#[test]
fn flow_warp_nearest4() {
    every_way(|| warp_fixture("flow_warp_nearest4_zeros", WarpMode::Nearest4));
}

#[test]
fn spynet() {
    every_way(spynet_fixture);
}

fn spynet_fixture() {
    let fixture = Fixture::load("modules/spynet");
    let (spynet, names) = built(&fixture, |b| SpyNet::new(b, "spynet", false));
    let names = names.into_iter().map(|(id, name)| (id, name.replacen("spynet.", "", 1))).collect();
    let (reference, other) = (input::<4>(&fixture, "ref"), input::<4>(&fixture, "supp"));
    let [one, two] = [&reference, &other].map(|x| spynet.pyramid(frame_last(x.clone())));
    let flows = spynet.forward(&one, &two);
    let mut check = Check::new(&fixture).within(FLOW_GRADIENT);
    for (i, flow) in flows.into_iter().enumerate() {
        check.output(&format!("flow{i}"), frame_first(flow));
    }
    let grads = check.gradients(&spynet, &names);
    check_input_within(&fixture, &grads, ("ref", &reference), FLOW_GRADIENT);
    check_input_within(&fixture, &grads, ("supp", &other), FLOW_GRADIENT);
}

fn alignment_fixture(name: &str) {
    let fixture = Fixture::load(&format!("modules/{name}"));
    let text = fixture.metadata("max_residue_magnitude").as_f64();
    let shape = AlignShape {
        channels: fixture.number("in_channels"),
        reach: fixture.number("pa_frames") / 2,
        groups: fixture.number("deformable_groups"),
        max_offset: text.expect("a number"),
    };
    let (align, names) = built(&fixture, |b| Align::new(b, shape));
    let inputs = |prefix: &str| -> Vec<Tensor<4>> {
        (0..shape.reach).map(|i| input(&fixture, &format!("{prefix}{i}"))).collect()
    };
    let (features, warped, flows) = (inputs("x"), inputs("warped"), inputs("flow"));
    let current = input::<4>(&fixture, "current");
    let last = |v: &[Tensor<4>]| v.iter().cloned().map(frame_last).collect();
    let neighbours =
        Neighbours { features: last(&features), warped: last(&warped), flows: last(&flows) };
    let y = align.fuse(neighbours, frame_last(current.clone()), &mut Pass::Restore);
    let mut check = Check::new(&fixture);
    check.output("y", frame_first(y));
    let grads = check.gradients(&align, &names);
    check_input(&fixture, &grads, "current", &current);
    for (prefix, tensors) in [("x", features), ("warped", warped), ("flow", flows)] {
        for (i, x) in tensors.iter().enumerate() {
            check_input(&fixture, &grads, &format!("{prefix}{i}"), x);
        }
    }
}

#[test]
fn alignment_of_one_neighbour_a_side() {
    every_way(|| alignment_fixture("dcn_pa2"));
}

#[test]
fn alignment_of_two_neighbours_a_side() {
    every_way(|| alignment_fixture("dcn_pa4"));
}

#[test]
fn alignment_of_three_neighbours_a_side() {
    every_way(|| alignment_fixture("dcn_pa6"));
}

fn triple(fixture: &Fixture, key: &str) -> [usize; 3] {
    let value = fixture.metadata(key);
    let list = value.as_array().expect("a list");
    std::array::from_fn(|i| list[i].as_u64().expect("a number") as usize)
}

fn attention_shape(fixture: &Fixture) -> AttentionShape {
    AttentionShape {
        channels: fixture.number("dim"),
        heads: fixture.number("num_heads"),
        window: triple(fixture, "window_size"),
        mutual: fixture.metadata("mut_attn").as_bool().expect("a truth value"),
    }
}

/// Attention on windows `[n, tokens, c]` laid side by side as the frames of a map one window
/// large: window `i` is sample `i` of the batch.
fn attention_fixture(name: &str, tokens: [usize; 3]) {
    let fixture = Fixture::load(&format!("modules/{name}"));
    let shape = attention_shape(&fixture);
    let (attention, names) = built(&fixture, |b| Attention::new(b, shape, SineCode::default()));
    let x = input::<3>(&fixture, "x");
    let [n, all, c] = x.dims();
    let [d, h, w] = tokens;
    let map = x.clone().reshape([n, d, h, w, c]);
    let windows = Windows::new(tokens, shape.window, false);
    let y = match fixture.find("in.mask") {
        None => attention.forward(map, windows),
        Some(mask) => attention.masked(map, windows, tensor::<3>(mask)),
    };
    let mut check = Check::new(&fixture);
    check.output("y", y.reshape([n, all, c]));
    let grads = check.gradients(&attention, &names);
    check_input(&fixture, &grads, "x", &x);
}

#[test]
fn attention_among_all_tokens() {
    every_way(|| attention_fixture("window_attention_self", [6, 8, 8]));
}

#[test]
fn attention_in_one_frame() {
    every_way(|| attention_fixture("window_attention_frame", [1, 8, 8]));
}

#[test]
fn attention_in_a_shrunken_window() {
    every_way(|| attention_fixture("window_attention_self_short", [4, 8, 8]));
}

#[test]
fn attention_between_two_frames() {
    every_way(|| attention_fixture("window_attention_mutual", [2, 8, 8]));
}

#[test]
fn masked_attention_among_all_tokens() {
    on_processors(|| attention_fixture("window_attention_self_mask", [6, 8, 8]));
}

#[test]
fn masked_attention_in_one_frame() {
    on_processors(|| attention_fixture("window_attention_frame_mask", [1, 8, 8]));
}

#[test]
fn masked_attention_in_a_shrunken_window() {
    on_processors(|| attention_fixture("window_attention_self_short_mask", [4, 8, 8]));
}

#[test]
fn masked_attention_between_two_frames() {
    on_processors(|| attention_fixture("window_attention_mutual_mask", [2, 8, 8]));
}

fn group_shape(attention: AttentionShape, depth: usize) -> GroupShape {
    GroupShape { attention, hidden: 2 * attention.channels, drop_path: vec![0.0; depth] }
}

fn group_fixture(name: &str) {
    let fixture = Fixture::load(&format!("modules/{name}"));
    let shape = group_shape(attention_shape(&fixture), fixture.number("depth"));
    let (group, names) = built(&fixture, |b| Group::new(b, &shape));
    let x = input::<5>(&fixture, "x");
    let y = group.forward(channels_last(x.clone()), &mut Pass::Restore);
    let mut check = Check::new(&fixture);
    check.output("y", channels_first(y));
    let grads = check.gradients(&group, &names);
    check_input(&fixture, &grads, "x", &x);
}

#[test]
fn group_of_blocks() {
    every_way(|| group_fixture("tmsag_self"));
}

#[test]
fn group_of_blocks_on_a_padded_map() {
    every_way(|| group_fixture("tmsag_padded"));
}

#[test]
fn group_of_blocks_on_more_frames_than_a_window() {
    every_way(|| group_fixture("tmsag_long"));
}

#[test]
fn group_of_mutual_blocks() {
    every_way(|| group_fixture("tmsag_mutual"));
}

#[test]
fn group_of_mutual_blocks_on_a_padded_map() {
    every_way(|| group_fixture("tmsag_mutual_padded"));
}

#[test]
fn residual_group() {
    let fixture = Fixture::load("modules/rtmsa");
    let attention = AttentionShape {
        channels: fixture.number("dim"),
        heads: fixture.number("num_heads"),
        window: triple(&fixture, "window_size"),
        mutual: false,
    };
    let shape = group_shape(attention, fixture.number("depth"));
    let (group, names) = built(&fixture, |b| ResidualGroup::new(b, &shape));
    let x = input::<5>(&fixture, "x");
    let y = group.forward(channels_last(x.clone()), &mut Pass::Restore);
    let mut check = Check::new(&fixture);
    check.output("y", channels_first(y));
    let grads = check.gradients(&group, &names);
    check_input(&fixture, &grads, "x", &x);
}

fn stage_fixture(name: &str, resample: Resample) {
    let fixture = Fixture::load(&format!("modules/{name}"));
    let (channels, depth) = (fixture.number("dim"), fixture.number("depth"));
    let pairs = depth * 3 / 4;
    let reach = fixture.number("pa_frames") / 2;
    let attention = |window, mutual| AttentionShape {
        channels,
        heads: fixture.number("num_heads"),
        window,
        mutual,
    };
    let shape = StageShape {
        resample,
        inputs: fixture.number("in_dim"),
        pairs: group_shape(attention([2, 8, 8], true), pairs),
        clips: group_shape(attention(triple(&fixture, "window_size"), false), depth - pairs),
        align: Some(AlignShape {
            channels,
            reach,
            groups: fixture.number("deformable_groups"),
            max_offset: fixture.metadata("max_residue_magnitude").as_f64().expect("a number"),
        }),
        halvings: 0,
    };
    let (stage, names) = built(&fixture, |b| Stage::new(b, &shape));
    let x = input::<5>(&fixture, "x");
    let (later, earlier) = (input::<5>(&fixture, "fb"), input::<5>(&fixture, "ff"));
    // Flow fixtures are `[b, d − 1, 2, h, w]`.
    let flow = |flow: &Tensor<5>| flow.clone().permute([0, 1, 3, 4, 2]);
    let flows = Flows::new(flow(&later), flow(&earlier), reach);
    let y = stage.forward(channels_last(x.clone()), Some(&flows), &mut Pass::Restore);
    let mut check = Check::new(&fixture);
    check.output("y", channels_first(y));
    let grads = check.gradients(&stage, &names);
    check_input(&fixture, &grads, "x", &x);
    check_input(&fixture, &grads, "fb", &later);
    check_input(&fixture, &grads, "ff", &earlier);
}

#[test]
fn stage_of_the_same_size() {
    every_way(|| stage_fixture("stage_none", Resample::Keep));
}

#[test]
fn stage_that_halves() {
    every_way(|| stage_fixture("stage_down", Resample::Down));
}

#[test]
fn stage_that_doubles() {
    every_way(|| stage_fixture("stage_up", Resample::Up));
}

fn upsample_fixture(name: &str) {
    let fixture = Fixture::load(&format!("modules/{name}"));
    let (scale, width) = (fixture.number("scale"), fixture.number("num_feat"));
    let (upsample, names) = built(&fixture, |b| Upsample::new(b, scale, width));
    let x = input::<5>(&fixture, "x");
    let y = upsample.forward(channels_last(x.clone()));
    let mut check = Check::new(&fixture);
    check.output("y", channels_first(y));
    let grads = check.gradients(&upsample, &names);
    check_input(&fixture, &grads, "x", &x);
}

#[test]
fn upsampling_by_two() {
    every_way(|| upsample_fixture("upsample_x2"));
}

#[test]
fn upsampling_by_three() {
    every_way(|| upsample_fixture("upsample_x3"));
}

#[test]
fn upsampling_by_four() {
    every_way(|| upsample_fixture("upsample_x4"));
}
