use proptest::prelude::*;

use super::*;
use crate::config::VrtFields;
use crate::config::tests::valid_fields;
use crate::presets::Preset;

fn flops(id: &str, size: [usize; 3]) -> Flops {
    Flops::of(&Preset::parse(id).expect("a preset").config(), size)
}

fn tera(flops: u128) -> f64 {
    flops as f64 / 1e12
}

#[test]
fn work_of_006_is_as_measured() {
    let flops = flops("006", [6, 256, 256]);
    assert!((tera(flops.total()) - 8.93).abs() < 0.01, "{}", tera(flops.total()));
    let shares = [
        (Work::Offsets, 27.0),
        (Work::Mlp, 22.0),
        (Work::Qkv, 15.0),
        (Work::SelfAttention, 14.0),
        (Work::MutualAttention, 2.0),
        (Work::Projection, 5.0),
        (Work::Flow, 5.0),
        (Work::Fuse, 5.0),
        (Work::Deform, 3.0),
        (Work::Other, 2.0),
    ];
    for (work, percent) in shares {
        let share = 100.0 * flops.share(work);
        assert!((share - percent).abs() < 1.0, "{work}: {share} %, expected {percent} %");
    }
}

#[test]
fn work_of_smaller_clips_is_as_measured() {
    let deblurring = tera(flops("006", [6, 64, 64]).total());
    assert!((deblurring - 0.56).abs() < 0.005, "{deblurring}");
    let larger = tera(flops("001", [6, 64, 64]).total());
    assert!((larger - 1.12).abs() < 0.005, "{larger}");
}

#[test]
fn parameters_add_up_in_both_tables() {
    for preset in Preset::all() {
        let config = preset.config();
        let all = config.tensors().iter().map(|spec| spec.len()).sum::<usize>();
        assert_eq!(parameters_by_part(&config).values().sum::<usize>(), all, "{}", preset.id);
        assert_eq!(parameters_by_work(&config).values().sum::<usize>(), all, "{}", preset.id);
    }
    let flow = parameters_by_part(&Preset::all()[5].config())[&Part::Flow];
    assert_eq!(flow, 1_440_300);
}

#[test]
fn folding_costs_a_quarter_but_for_the_first_and_last_convolution() {
    let unfolded = Preset::parse("006").expect("a preset").config();
    let fields = VrtFields { fold: 2, ..unfolded.fields().clone() };
    let folded = VrtConfig::new(fields).expect("a network");
    let [d, h, w] = [6, 128, 192];
    let quarter = Flops::of(&unfolded, [d, h / 2, w / 2]);
    let more = |before: usize, after: usize| (after - before) as u128;
    let inputs = more(unfolded.first_conv_inputs(), folded.first_conv_inputs());
    let outputs = more(3, 12);
    let places = (d * h / 2 * w / 2) as u128;
    let ends = 2 * 9 * places * unfolded.first_channels() as u128 * (inputs + outputs);
    assert_eq!(Flops::of(&folded, [d, h, w]).total(), quarter.total() + ends);
    // A picture of the same size takes less; one of four times the size takes more.
    let size = [d, 256, 256];
    assert!(peak_bytes(&folded, size) < peak_bytes(&unfolded, size));
    assert!(peak_bytes(&folded, size) > peak_bytes(&unfolded, [d, 128, 128]));
    let step = |config, size| {
        step_bytes(config, Step { size, clips: 1, keeps: &[false; 13], averages: false })
    };
    assert!(step(&folded, size) < step(&unfolded, size));
    assert!(step(&folded, size) > step(&unfolded, [d, 128, 128]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_larger_clip_costs_no_less(
        fields in valid_fields(),
        size in prop::array::uniform3(1_usize..300),
        axis in 0_usize..3,
    ) {
        let config = VrtConfig::new(fields).expect("valid");
        let mut larger = size;
        larger[axis] *= 2;
        prop_assert!(Flops::of(&config, larger).total() >= Flops::of(&config, size).total());
        prop_assert!(peak_bytes(&config, larger) >= peak_bytes(&config, size));
        prop_assert!(gpu_peak_bytes(&config, larger) >= gpu_peak_bytes(&config, size));
    }

    #[test]
    fn kinds_of_work_add_up(fields in valid_fields()) {
        let flops = Flops::of(&VrtConfig::new(fields).expect("valid"), [6, 64, 64]);
        prop_assert_eq!(flops.iter().map(|(_, count)| count).sum::<u128>(), flops.total());
        let shares = flops.iter().map(|(work, _)| flops.share(work)).sum::<f64>();
        prop_assert!((shares - 1.0).abs() < 1e-9);
    }

    #[test]
    fn work_on_whole_windows_grows_with_the_pixels(rows in 1_usize..5, columns in 1_usize..5) {
        let whole = |h: usize, w: usize| flops("006", [6, 64 * h, 64 * w]).total();
        prop_assert_eq!(whole(rows, columns), (rows * columns) as u128 * whole(1, 1));
    }
}

/// Peaks of forward passes, read from the system on a machine with two threads: with AVX2 alone, then
/// with AVX-512 in f32 and in bf16.
#[test]
fn predicted_memory_is_near_what_was_measured() {
    const MEASURED_KIB: [(&str, [usize; 3], [u64; 3]); 3] = [
        ("006", [6, 64, 64], [278_788, 279_056, 250_196]),
        ("006", [6, 128, 128], [503_744, 514_484, 484_436]),
        ("001", [6, 64, 64], [565_908, 558_032, 528_588]),
    ];
    for (preset, size, measured) in MEASURED_KIB {
        let config = Preset::parse(preset).expect("a preset").config();
        let predicted = peak_bytes(&config, size) as f64 / 1024.0;
        for measured in measured {
            let off = predicted / measured as f64 - 1.0;
            assert!(off.abs() < 0.15, "{preset} at {size:?}: {predicted} KiB, off by {off}");
        }
    }
}

/// Memory that the allocator of a GPU held, of Mesa's llvmpipe, after a forward pass.
#[test]
fn predicted_memory_of_a_gpu_holds_what_was_measured() {
    for (preset, size, measured) in [
        ("006", [6, 64, 64], 228_080_672_u64),
        ("006", [6, 96, 96], 422_070_784),
        ("001", [6, 64, 64], 240_677_536),
        ("001", [6, 64, 96], 293_115_296),
    ] {
        let config = Preset::parse(preset).expect("a preset").config();
        let off = gpu_peak_bytes(&config, size) as f64 / measured as f64 - 1.0;
        assert!((0.0..0.3).contains(&off), "{preset} at {size:?}: off by {off}");
    }
}

#[test]
fn memory_holds_at_least_the_weights_and_the_clip() {
    for preset in Preset::all() {
        let config = preset.config();
        let parameters = config.tensors().iter().map(|spec| spec.len() as u64).sum::<u64>();
        let values = 6 * 128 * 128 * config.input_channels() as u64;
        assert!(peak_bytes(&config, [6, 128, 128]) > 4 * (parameters + values), "{}", preset.id);
    }
}

/// Of the deblurring network with what attention found kept, or not.
fn step_of(size: [usize; 3], clips: usize, keeps: bool, averages: bool) -> u64 {
    let config = Preset::parse("006").expect("a preset").config();
    let keeps = vec![keeps; config.fields().depths.len()];
    step_bytes(&config, Step { size, clips, keeps: &keeps, averages })
}

#[test]
fn a_training_step_takes_what_it_keeps() {
    let least = step_of([6, 64, 64], 1, false, false);
    // Measured: 1.31 GB of memory (to 1.33), 1.88 GB with what attention found.
    assert!((1.13e9..1.53e9).contains(&(least as f64)), "{least}");
    let kept = step_of([6, 64, 64], 1, true, false);
    assert!((1.60e9..2.16e9).contains(&(kept as f64)), "{kept}");
    // An average of the weights is as large as they are.
    let config = Preset::parse("006").expect("a preset").config();
    let weights: usize = config.tensors().iter().map(|spec| spec.len()).sum();
    assert_eq!(step_of([6, 64, 64], 1, false, true) - least, 4 * weights as u64);
    // Two clips take as much as one of twice the rows, but for the flow network's margins.
    let [clips, rows] =
        [step_of([6, 64, 64], 2, false, false), step_of([6, 128, 64], 1, false, false)];
    assert!(clips.abs_diff(rows) < clips / 20, "{clips} {rows}");
}
