//! Published files, files that are wrong, and the law that a resolved file is the same recipe.

use std::path::Path;

use proptest::prelude::*;
use vrt_spike::{BitOrder, Method};

use super::*;

/// A valid file of a small network. Tests change pieces of it.
pub(crate) const SAMPLE: &str = r#"{
    "task": "small" // a comment
    , "model": "vrt"
    , "gpu_ids": [0]
    , "scale": 1
    , "path": { "root": "runs//of//mine", "pretrained_netG": null }
    , "datasets": {
        "train": {
            "dataset_type": "VideoRecurrentTrainDataset"
            , "dataroot_gt": "sharp"
            , "dataroot_lq": "blurred"
            , "meta_info_file": "list.txt"
            , "filename_tmpl": "06d"
            , "io_backend": {"type": "disk"}
            , "num_frame": 6
            , "gt_size": 64
            , "use_hflip": true
            , "dataloader_batch_size": 4
        }
        , "test": {
            "dataset_type": "VideoRecurrentTestDataset"
            , "dataroot_gt": "test/sharp"
            , "dataroot_lq": "test/blurred"
        }
    }
    , "netG": {
        "net_type": "vrt"
        , "window_size": [6,8,8]
        , "depths": [4,4,4,4,4,4,4, 2,2]
        , "embed_dims": [12,12,12,12,12,12,12, 18,18]
        , "num_heads": [3,3,3,3,3,3,3, 3,3]
        , "pa_frames": 2
        , "deformable_groups": 4
    }
    , "train": {
        "G_lossfn_type": "charbonnier"
        , "G_charbonnier_eps": 1e-9
        , "G_optimizer_lr": 4e-4
        , "G_optimizer_betas": [0.9,0.99]
        , "fix_iter": 20
        , "fix_lr_mul": 0.125
        , "fix_keys": ["spynet", "deform"]
        , "total_iter": 300
        , "G_scheduler_type": "CosineAnnealingWarmRestarts"
        , "G_scheduler_periods": 300
        , "checkpoint_save": 100
    }
    , "val": { "num_frame_testing": 12, "size_patch_testing": 64 }
}"#;

fn parse(text: &str) -> Result<Parsed, RecipeError> {
    Recipe::parse(Path::new("options.json"), text, &[])
}

fn sample() -> Recipe {
    parse(SAMPLE).expect("valid").recipe
}

fn set(text: &str, overrides: &[&str]) -> Result<Parsed, RecipeError> {
    let overrides: Vec<_> = overrides.iter().map(|text| text.parse().expect("a key")).collect();
    Recipe::parse(Path::new("options.json"), text, &overrides)
}

#[test]
fn published_files_are_accepted_and_say_the_same_resolved() {
    let Some(shared) = vrt_testing::shared_root() else {
        eprintln!("SKIPPED: the published option files are not on this machine");
        return;
    };
    let mut found = 0;
    for entry in std::fs::read_dir(shared.join("reference/options")).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|ending| ending != "json") {
            continue;
        }
        let Parsed { recipe, notes } = Recipe::read(&path, &[]).unwrap_or_else(|e| panic!("{e}"));
        assert!(notes.iter().any(|note| note.key == "gpu_ids"), "{notes:?}");
        assert_eq!(parse(&recipe.resolved()).expect("valid").recipe, recipe, "{path:?}");
        assert!(recipe.missing(true).iter().any(|lost| lost.key == "datasets.train.dataroot_gt"));
        found += 1;
    }
    assert_eq!(found, 9);
}

#[test]
fn keys_arrive_where_they_belong() {
    let recipe = sample();
    assert_eq!(recipe.default_run_dir(), Path::new("runs//of//mine/small"));
    let train = &recipe.train;
    assert_eq!(train.loss, LossKind::Charbonnier { epsilon_squared: 1e-9 });
    assert_eq!(train.slow.keys, ["spynet", "deform"]);
    assert_eq!((train.slow.factor, train.slow.from_step), (0.125, 20));
    assert_eq!(train.adam.betas, [0.9, 0.99]);
    assert_eq!((train.save_every, train.test_every, train.clip_norm), (Some(100), None, None));
    let TrainingData::Videos(videos) = &recipe.data.source else { panic!("{:?}", recipe.data) };
    assert_eq!((videos.digits, videos.crop, videos.frames), (6, 64, 6));
    assert!(videos.flip && !videos.rotate);
    let tile = recipe.validation.tile;
    assert_eq!((tile.frames(), tile.size()), (12, 64));
    assert_eq!((tile.overlap_frames(), tile.overlap_size()), (2, 20));
}

#[test]
fn keys_can_be_set_from_outside_and_are_checked_alike() {
    let more = ["train.total_iter=7", "task=other", "train.fix_keys=[]", "val.save_img=true"];
    let recipe = set(SAMPLE, &more).expect("valid").recipe;
    assert_eq!((recipe.train.total_steps, recipe.task.as_str()), (7, "other"));
    assert!(recipe.train.slow.keys.is_empty() && recipe.validation.save_images);
    let error = set(SAMPLE, &["train.totl_iter=7"]).expect_err("unknown").to_string();
    assert!(error.contains("train.totl_iter") && error.contains("train.total_iter"), "{error}");
    let error = set(SAMPLE, &["task.name=7"]).expect_err("no section").to_string();
    assert!(error.contains("task is no section"), "{error}");
    for text in ["train.total_iter", "=3", "train..x=3", ""] {
        let error = text.parse::<Override>().expect_err("no key").to_string();
        assert!(error.contains("section.key=value"), "{error}");
    }
}

#[test]
fn a_run_may_end_before_frozen_parameters_are_trained() {
    let parsed = set(SAMPLE, &["train.total_iter=7"]).expect("valid");
    assert!(parsed.notes.iter().any(|note| note.key == "train.fix_iter"), "{:?}", parsed.notes);
}

#[test]
fn what_was_set_from_outside_is_not_blamed_on_the_file() {
    let error = set(SAMPLE, &["train.acumulate=2"]).expect_err("nobody knows it").to_string();
    assert!(error.contains("(given by --set): train.acumulate"), "{error}");
    let text = SAMPLE.replace("\"use_hflip\"", "\"use_flip\"");
    let error = set(&text, &["train.acumulate=2"]).expect_err("nobody knows both").to_string();
    let by_set: Vec<_> = error.lines().filter(|line| line.ends_with("(given by --set)")).collect();
    assert!(matches!(by_set[..], [line] if line.contains("train.acumulate")), "{error}");
}

#[test]
fn one_mistake_is_told_once() {
    for (right, wrong) in [
        ("\"VideoRecurrentTrainDataset\"", "\"VideoDataset\""),
        ("\"gt_size\": ", "\"gt_size\": -"),
    ] {
        let text = SAMPLE.replace(right, wrong);
        assert_ne!(text, SAMPLE);
        let error = set(&text, &[]).expect_err("it is wrong");
        assert_eq!(error.problems.len(), 1, "{error}");
    }
}

#[test]
fn a_mark_of_utf_8_is_passed_over() {
    assert!(set(&format!("\u{feff}{SAMPLE}"), &[]).is_ok());
}

#[test]
fn without_keys_of_its_own_there_is_no_second_group() {
    let recipe = set(SAMPLE, &["train.fix_keys=[]", "train.fix_iter=-1"]).expect("valid").recipe;
    assert_eq!(recipe.train.slow, Slow { factor: 1.0, ..Slow::default() });
}

/// What is replaced in the sample, by what, and what the message has to have in it.
const MISTAKES: [(&str, &str, &[&str]); 36] = [
    (
        "\"G_lossfn_type\"",
        "\"G_lossfn_typ\"",
        &["train.G_lossfn_typ", "did you mean train.G_lossfn_type?"],
    ),
    ("\"use_hflip\"", "\"use_flip\"", &["datasets.train.use_flip", "use_hflip"]),
    (
        "\"num_frame_testing\"",
        "\"num_frames_testing\"",
        &["val.num_frames_testing", "val.num_frame_testing"],
    ),
    ("\"window_size\"", "\"windowsize\"", &["netG", "windowsize", "window_size"]),
    ("\"model\"", "\"modell\"", &["modell", "did you mean model?"]),
    (
        "\"val\": {",
        "\"val\": { \"G_lossfn_type\": \"l1\",",
        &["val.G_lossfn_type", "did you mean train.G_lossfn_type?"],
    ),
    ("\"val\": {", "\"val\": { \"xyzzy\": 1,", &["val.xyzzy", "remove it"]),
    ("\"charbonnier\"", "\"charbonier\"", &["train.G_lossfn_type", "did you mean charbonnier?"]),
    (
        "\"total_iter\": 300",
        "\"total_iter\": \"300\"",
        &["train.total_iter is \"300\"", "whole number"],
    ),
    ("\"total_iter\": 300", "\"total_iter\": 0", &["train.total_iter is 0", "from 1"]),
    (
        "\"fix_keys\": [",
        "\"fix_keys\": [\"spinet\",",
        &["train.fix_keys has \"spinet\"", "no parameter's name", "correct it"],
    ),
    (
        "\"use_hflip\": true",
        "\"use_hflip\": 1",
        &["datasets.train.use_hflip is 1", "true or false"],
    ),
    ("\"gt_size\": 64", "\"gt_size\": 4", &["datasets.train.gt_size is 4", "at least 8"]),
    ("\"scale\": 1", "\"scale\": 3", &["datasets.train.gt_size is 64", "scale 3", "63"]),
    ("\"gt_size\": 64", "\"gt_size\": 0", &["datasets.train.gt_size is 0", "at least 1"]),
    (", \"gt_size\": 64", "", &["datasets.train.gt_size is missing"]),
    (
        "\"dataloader_batch_size\": 4",
        "\"dataloader_batch_size\": 0",
        &["dataloader_batch_size is 0"],
    ),
    (
        "\"checkpoint_save\"",
        "\"accumulate\": 3, \"checkpoint_save\"",
        &["train.accumulate is 3", "batch of 4"],
    ),
    (
        "\"fix_keys\": [\"spynet\", \"deform\"]",
        "\"fix_keys\": \"spynet\"",
        &["train.fix_keys is \"spynet\"", "list of texts"],
    ),
    ("[0.9,0.99]", "[0.9]", &["train.G_optimizer_betas", "two numbers"]),
    ("[0.9,0.99]", "[0.9, 1.0]", &["train.G_optimizer_betas", "below 1"]),
    ("4e-4", "-4e-4", &["train.G_optimizer_lr", "above 0"]),
    ("1e-9", "0", &["train.G_charbonnier_eps is 0", "small number"]),
    (", \"G_scheduler_periods\": 300", "", &["train.G_scheduler_periods is missing"]),
    (
        "\"CosineAnnealingWarmRestarts\"",
        "\"CosineAnnealing\"",
        &["train.G_scheduler_type", "CosineAnnealingWarmRestarts"],
    ),
    (
        "\"CosineAnnealingWarmRestarts\"",
        "\"MultiStepLR\"",
        &["train.G_scheduler_milestones is missing"],
    ),
    (
        "\"checkpoint_save\": 100",
        "\"checkpoint_save\": 0",
        &["train.checkpoint_save is 0", "remove the key"],
    ),
    ("\"06d\"", "\"6\"", &["datasets.train.filename_tmpl", "08d"]),
    (
        "{\"type\": \"disk\"}",
        "{\"type\": \"petrel\"}",
        &["datasets.train.io_backend.type", "disk, lmdb"],
    ),
    ("\"num_frame\": 6", "\"num_frame\": 1", &["datasets.train.num_frame", "at least 2"]),
    (
        "\"VideoRecurrentTrainDataset\"",
        "\"VideoRecurrentTrainNonblindDenoisingDataset\"",
        &["dataset_type", "netG.nonblind_denoising"],
    ),
    (
        "\"pa_frames\": 2",
        "\"pa_frames\": 0",
        &["dataset_type", "VideoRecurrentTrainVimeoVFIDataset"],
    ),
    (
        "\"num_frame_testing\": 12",
        "\"num_frame_testing\": 2, \"num_frame_overlapping\": 2",
        &["val.num_frame_overlapping is 2", "at most 1"],
    ),
    (
        "\"size_patch_testing\": 64",
        "\"size_patch_testing\": 16",
        &["val.size_patch_testing is 16", "20 pixels"],
    ),
    ("\"task\": \"small\"", "\"task\": \"../small\"", &["task is \"../small\"", "folder"]),
    ("\"scale\": 1", "\"scale\": 1, \"scale\": 1", &["scale stands twice"]),
];

#[test]
fn mistakes_are_named_with_file_key_and_remedy() {
    for (from, to, expected) in MISTAKES {
        assert!(SAMPLE.contains(from), "{from}");
        let error = parse(&SAMPLE.replace(from, to)).expect_err(to).to_string();
        assert!(error.contains("options.json"), "{error}");
        for part in expected {
            assert!(error.contains(part), "{to}: {part:?} is not in {error:?}");
        }
    }
}

/// The sample with a network of `channels` inputs and these keys in its training set.
fn with_spikes(channels: usize, keys: &str) -> String {
    let text = SAMPLE.replace("\"scale\": 1", &format!("\"scale\": 1, \"n_channels\": {channels}"));
    let test = text.find(", \"test\": {").expect("a test set");
    let end = test + text[test..].find('}').expect("its end") + 1;
    let text = format!("{}{}", &text[..test], &text[end..]);
    text.replace("\"num_frame\": 6", &format!("\"num_frame\": 6{keys}"))
}

#[test]
fn spikes_are_read_and_written_out() {
    let keys = r#", "dataroot_spike": "spikes", "spike_w": 640, "spike_h": 360, "spike_method": "tfi",
        "spike_bit_order": "msb", "spike_upright": true, "spike_ext": ".npy""#;
    let recipe = parse(&with_spikes(5, keys)).expect("valid").recipe;
    let TrainingData::Videos(videos) = &recipe.data.source else { panic!("videos") };
    let spikes = videos.spikes.as_ref().expect("spikes");
    assert_eq!((spikes.channels, spikes.stated.size), (2, Some((640, 360))));
    assert_eq!((spikes.stated.order, spikes.stated.upright), (BitOrder::MostFirst, true));
    assert_eq!((spikes.method, spikes.extension.as_str()), (Method::Interval, "npy"));
    let missing: Vec<_> = recipe.missing(true).into_iter().map(|problem| problem.key).collect();
    assert!(missing.contains(&"datasets.train.dataroot_spike".to_owned()), "{missing:?}");
    for keys in [keys, r#", "dataroot_spike": "spikes", "spike_half_window": 7"#] {
        let recipe = parse(&with_spikes(4, keys)).expect("valid").recipe;
        let again = parse(&recipe.resolved()).expect("valid");
        assert_eq!(again.recipe, recipe);
        assert!(again.notes.is_empty(), "{:?}", again.notes);
    }
}

#[test]
fn a_registration_of_spikes_is_read_and_written_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("align.txt");
    let keys = format!(r#", "dataroot_spike": "spikes", "spike_align": {file:?}"#);
    let error = parse(&with_spikes(4, &keys)).expect_err("no such file").to_string();
    assert!(error.contains("spike_align") && error.contains("align.txt"), "{error}");
    std::fs::write(&file, "0.5 0 12  0 0.5 3").expect("written");
    let recipe = parse(&with_spikes(4, &keys)).expect("valid").recipe;
    let TrainingData::Videos(videos) = &recipe.data.source else { panic!("videos") };
    let align = videos.spikes.as_ref().and_then(|spikes| spikes.align.as_ref());
    assert_eq!(align.map(|align| align.path()), Some(file.as_path()));
    let again = parse(&recipe.resolved()).expect("valid");
    assert_eq!(again.recipe, recipe);
}

#[test]
fn spikes_that_do_not_fit_are_named_with_a_remedy() {
    let spikes = ", \"dataroot_spike\": \"spikes\"";
    let cases = [
        (4, String::new(), "dataroot_spike where the streams"),
        (3, spikes.to_owned(), "netG.in_chans to 4"),
        (4, format!("{spikes}, \"spike_w\": 640"), "goes with spike_h"),
        (4, format!("{spikes}, \"spike_method\": \"tfx\""), "did you mean tfp?"),
        (4, format!("{spikes}, \"spike_with\": 640"), "spike_w"),
    ];
    for (channels, keys, message) in cases {
        let error = parse(&with_spikes(channels, &keys)).expect_err(message).to_string();
        assert!(error.contains(message), "{message} is not in: {error}");
    }
    let idle = parse(&with_spikes(3, ", \"spike_w\": 640")).expect("valid");
    assert!(idle.notes.iter().any(|note| note.key == "datasets.train.spike_w"), "{:?}", idle.notes);
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let text = SAMPLE.replace("\"use_hflip\"", "\"use_flip\"").replace("4e-4", "0");
    let error = parse(&text).expect_err("two mistakes");
    assert_eq!(error.problems.len(), 2, "{error}");
}

#[test]
fn files_that_are_not_there_are_named_with_their_keys() {
    let error = Recipe::read(Path::new("/no/such/options.json"), &[]).expect_err("no file");
    assert!(error.to_string().contains("/no/such/options.json"), "{error}");
    let recipe = set(SAMPLE, &["netG.spynet_path=/no/such.pth"]).expect("valid").recipe;
    let keys: Vec<_> = recipe.missing(true).into_iter().map(|problem| problem.key).collect();
    let data = [
        "datasets.train.dataroot_gt",
        "datasets.train.dataroot_lq",
        "datasets.train.meta_info_file",
        "datasets.test.dataroot_gt",
        "datasets.test.dataroot_lq",
    ];
    assert_eq!(keys[0], "netG.spynet_path");
    assert_eq!(keys[1..], data);
    // A run that goes on has its weights.
    let keys: Vec<_> = recipe.missing(false).into_iter().map(|problem| problem.key).collect();
    assert_eq!(keys, data);
}

proptest! {
    #[test]
    fn a_resolved_file_is_the_same_recipe(
        loss in prop::sample::select(vec!["l1", "l2", "l2sum", "ssim", "charbonnier"]),
        (lr, decay, weight) in (1e-6..1.0_f64, 0.0..1.0_f64, 0.1..10.0_f64),
        multistep in any::<bool>(),
        milestones in prop::collection::vec(1..400_u64, 0..4),
        (reverse, rotate, save) in any::<(bool, bool, bool)>(),
        (seed, clip) in (any::<u32>(), prop::option::of(0.01..9.0_f64)),
        limit in prop::option::of(prop_oneof![Just(0.0), 1.0..99.0_f64]),
    ) {
        let mut sets = vec![
            format!("train.G_lossfn_type={loss}"),
            format!("train.G_optimizer_lr={lr}"),
            format!("train.E_decay={decay}"),
            format!("train.G_lossfn_weight={weight}"),
            format!("train.manual_seed={seed}"),
            format!("datasets.train.random_reverse={reverse}"),
            format!("datasets.train.use_rot={rotate}"),
            format!("val.save_img={save}"),
        ];
        if multistep {
            sets.push("train.G_scheduler_type=MultiStepLR".to_owned());
            sets.push(format!("train.G_scheduler_milestones={milestones:?}"));
        }
        if let Some(limit) = limit {
            sets.push(format!("train.offset_limit={limit}"));
        }
        if let Some(clip) = clip {
            sets.push(format!("train.G_optimizer_clipgrad={clip}"));
        }
        let sets: Vec<_> = sets.iter().map(String::as_str).collect();
        let recipe = set(SAMPLE, &sets).expect("valid").recipe;
        let again = parse(&recipe.resolved()).expect("valid");
        prop_assert_eq!(again.recipe, recipe);
        prop_assert!(again.notes.is_empty(), "{:?}", again.notes);
    }
}
