use proptest::prelude::*;

use super::*;

/// Fields of small valid networks of every kind.
pub(crate) fn valid_fields() -> impl Strategy<Value = VrtFields> {
    let kind = (0_usize..4, prop::sample::select(vec![1_usize, 2, 3, 4, 8]), 3_usize..8);
    let shape = (
        prop::array::uniform4(1_usize..4),
        1_usize..4,
        prop::collection::vec(1_usize..9, SCALED_STAGES),
        prop::collection::vec((1_usize..6, any::<bool>()), 1..5),
    );
    let rest = (any::<[bool; 4]>(), 2_usize..9, 1_usize..9, 1_usize..3);
    (kind, shape, rest).prop_map(|((reach, upscale, in_channels), shape, rest)| {
        let (widths, refined, depths, refine) = shape;
        let ([noise_map, folded, trails, coarse_flow], frames, side, heads) = rest;
        let reach = Reach::from_frames(reach).expect("0 to 3");
        let aligned = reach != Reach::None;
        let folds = aligned && folded && upscale <= 2;
        // 12 divides by every reach, by 4, and by the heads and groups below.
        let [a, b, c, d] = widths.map(|n| 12 * n);
        let entries = SCALED_STAGES + refine.len();
        let mut embed_dims = vec![a, b, c, d, c, b, a];
        embed_dims.resize(entries, 6 * refined);
        VrtFields {
            upscale: if aligned { upscale } else { 1 },
            in_channels: if aligned { in_channels } else { RGB_CHANNELS },
            noise_map: aligned && noise_map,
            fold: if folds { FOLD } else { 1 },
            trails: folds && trails,
            coarse_flow: folds && coarse_flow,
            window: [frames, side, side],
            depths: depths.into_iter().chain(refine.iter().map(|&(n, _)| n)).collect(),
            embed_dims,
            heads: vec![heads; entries],
            independent: (SCALED_STAGES..entries)
                .filter(|&i| refine[i - SCALED_STAGES].1)
                .collect(),
            reach,
            fused_frames: (!aligned).then_some(frames + 1),
            deformable_groups: 4,
            ..VrtFields::default()
        }
    })
}

fn problems(fields: VrtFields) -> Vec<ConfigProblem> {
    VrtConfig::new(fields).expect_err("not a network").problems().to_vec()
}

proptest! {
    #[test]
    fn valid_fields_make_a_configuration_that_makes_itself(fields in valid_fields()) {
        let config = VrtConfig::new(fields).expect("valid");
        let again = VrtConfig::new(config.fields().clone()).expect("valid");
        prop_assert_eq!(again, config);
    }

    #[test]
    fn stages_chain_and_blocks_add_up(fields in valid_fields()) {
        let config = VrtConfig::new(fields).expect("valid");
        let mut inputs = config.first_channels();
        for stage in config.stages() {
            prop_assert_eq!(stage.inputs, inputs);
            let blocks = stage.pair_blocks + stage.clip_blocks;
            prop_assert_eq!(blocks, config.fields().depths[stage.index]);
            prop_assert!(stage.clip_blocks > 0);
            inputs = stage.channels;
        }
        prop_assert_eq!(config.widen()[0], inputs);
        for entry in config.refine() {
            prop_assert_eq!(entry.channels, config.widen()[1]);
        }
        let rates = config.drop_path_rates();
        prop_assert_eq!(rates.len(), config.fields().depths.iter().sum::<usize>());
        prop_assert!(rates.is_sorted() && rates[0] == 0.0);
    }

    #[test]
    fn padded_sizes_hold_the_clip_and_every_window(
        fields in valid_fields(),
        size in prop::array::uniform3(1_usize..700),
    ) {
        let config = VrtConfig::new(fields).expect("valid");
        let [d, h, w] = config.padded(size);
        prop_assert!(d == size[0].max(2) && h >= size[1] && w >= size[2]);
        let multiple = 8 * config.fold();
        prop_assert!(h % multiple == 0 && w % multiple == 0);
        let [_, wh, ww] = config.window();
        prop_assert!(h / multiple >= wh && w / multiple >= ww);
        prop_assert_eq!(config.padded([d, h, w]), [d, h, w]);
    }

    #[test]
    fn no_number_makes_checking_panic(
        numbers in prop::collection::vec(any::<usize>(), 9),
        ratios in prop::array::uniform3(any::<f64>()),
        reach in 0_usize..4,
    ) {
        let [mlp_ratio, mul_attn_ratio, drop_path_rate] = ratios;
        let fields = VrtFields {
            embed_dims: numbers.clone(),
            depths: numbers.clone(),
            heads: numbers.clone(),
            independent: numbers.clone(),
            window: [numbers[0], numbers[1], numbers[2]],
            in_channels: numbers[3],
            deformable_groups: numbers[4],
            reach: Reach::from_frames(reach).expect("0 to 3"),
            mlp_ratio,
            mul_attn_ratio,
            drop_path_rate,
            ..VrtFields::default()
        };
        // Whatever the answer: it is one.
        let _ = VrtConfig::new(fields).map_err(|error| error.to_string());
    }
}

#[test]
fn sixteen_groups_cannot_cut_120_channels() {
    let found = problems(VrtFields { deformable_groups: 16, ..VrtFields::default() });
    assert_eq!(found.len(), SCALED_STAGES);
    let expected = ConfigProblem::Groups { entry: 0, channels: 120, reach: 1, groups: 16 };
    assert_eq!(found[0], expected);
}

#[test]
fn all_problems_are_listed_at_once() {
    let error = VrtConfig::new(VrtFields {
        upscale: 5,
        in_channels: 2,
        heads: vec![7; 13],
        independent: vec![3],
        ..VrtFields::default()
    });
    let text = error.expect_err("not a network").to_string();
    for part in ["upscale is 5", "in_chans is 2", "divide into 7 heads", "names entry 3"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

#[test]
fn a_reach_of_two_needs_offsets_in_pairs() {
    let odd = VrtFields { reach: Reach::Two, deformable_groups: 5, ..VrtFields::default() };
    assert_eq!(problems(odd), [ConfigProblem::OffsetParts { groups: 5, reach: 2 }]);
}

#[test]
fn added_stages_have_one_width() {
    let mut fields = VrtFields::default();
    fields.embed_dims[5] = 60;
    fields.embed_dims[9] = 120;
    let found = problems(fields);
    assert_eq!(found.len(), 2, "{found:?}");
    let unequal = ConfigProblem::Unequal { entry: 5, channels: 60, like: 1, expected: 120 };
    assert_eq!(found[0], unequal);
}

#[test]
fn lists_of_different_lengths_are_refused() {
    let fields = VrtFields { depths: vec![4; 9], ..VrtFields::default() };
    let lengths = ConfigProblem::Lengths { depths: 9, embed_dims: 13, heads: 13 };
    assert_eq!(problems(fields), [lengths]);
}

#[test]
fn interpolation_takes_rgb_only() {
    let fields = VrtFields { reach: Reach::None, noise_map: true, ..VrtFields::default() };
    let whats = [
        ConfigProblem::WithoutAlignment { what: "noise map" },
        ConfigProblem::WithoutAlignment { what: "spike channels" },
    ];
    assert_eq!(problems(fields), whats);
}

#[test]
fn a_configuration_knows_its_task() {
    let config = |change: fn(&mut VrtFields)| {
        let mut fields = VrtFields { in_channels: 3, ..VrtFields::default() };
        change(&mut fields);
        VrtConfig::new(fields).expect("valid").task()
    };
    assert_eq!(config(|_| ()), Task::Deblurring);
    assert_eq!(config(|fields| fields.upscale = 4), Task::SuperResolution);
    assert_eq!(config(|fields| fields.noise_map = true), Task::Denoising);
    assert_eq!(config(|fields| fields.reach = Reach::None), Task::Interpolation);
}
