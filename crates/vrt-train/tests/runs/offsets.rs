//! Runs whose offset layers explode.

use super::*;

#[test]
fn offsets_that_explode_send_the_run_back_once_and_then_end_it() {
    let bench = Bench::new();
    let mut options = small(&bench.batch(3, &[]), 2);
    let (summary, seen) = bench.run(&options, &[], false, None);
    assert!(seen.went_back.is_empty(), "{seen:?}");
    // The weights of that run, with the offset layers of one stage blown up.
    let weights = Checkpoint::open(&summary.unwrap().weights).unwrap();
    let recipe =
        Recipe::parse(Path::new("options.json"), &options.to_string(), &[]).unwrap().recipe;
    let parameters = weights.parameters(&recipe.network).unwrap().into_iter();
    let tensors = parameters.map(|(name, mut values)| {
        let shape = weights.tensors()[&name].shape().to_vec();
        if name.starts_with("stage5.pa_deform.conv_offset.6") {
            values.iter_mut().for_each(|value| *value *= 1e6);
        }
        (name, shape, values)
    });
    let start = bench.path("blown.safetensors");
    Checkpoint::from_values(tensors).write_plain_safetensors(&start, Existing::Keep).unwrap();
    std::fs::remove_dir_all(bench.path("run")).unwrap();
    options["path"] = json!({ "pretrained_netG": start });

    let (summary, seen) = bench.run(&options, &[], false, None);
    let [(1, 0, Trouble::Offsets { stage: 5, mean, limit: 100.0 })] = seen.went_back[..] else {
        panic!("{seen:?}")
    };
    assert!(mean > 100.0);
    let error = summary.unwrap_err();
    let TrainError::Diverged { step: 1, to: 0, trouble: Trouble::Offsets { stage: 5, .. } } = error
    else {
        panic!("{error}")
    };
    for part in
        ["step 1", "stage 5", "train.offset_limit", "train.G_optimizer_lr", "state of step 0"]
    {
        assert!(error.to_string().contains(part), "{part:?} is not in {error}");
    }
    assert!(bench.path("run/states/0.safetensors").exists());
    let journal = std::fs::read_to_string(bench.path("run/journal.jsonl")).unwrap();
    let line: Value = serde_json::from_str(journal.lines().next().unwrap()).unwrap();
    assert_eq!((&line["event"], &line["failed"]), (&json!("went back"), &json!(1)));
    assert!(line["reason"].as_str().unwrap().contains("stage 5"), "{line}");

    std::fs::remove_dir_all(bench.path("run")).unwrap();
    let (summary, _) = bench.run(&options, &["train.offset_limit=0"], false, None);
    assert_eq!(summary.unwrap().step, 2, "nobody looks");
}

#[test]
fn looking_at_offsets_changes_no_weights() {
    let bench = Bench::new();
    let options = small(&bench.batch(2, &[]), 3);
    let weights = [50, 0].map(|limit| {
        let set = format!("train.offset_limit={limit}");
        let (summary, _) = bench.run(&options, &[&set], false, None);
        let weights = std::fs::read(summary.unwrap().weights).unwrap();
        std::fs::remove_dir_all(bench.path("run")).unwrap();
        weights
    });
    assert!(weights[0] == weights[1]);
}

#[test]
fn offsets_that_explode_take_all_ranks_back_and_end_them_alike() {
    let bench = Bench::new();
    let mut options = small(&bench.batch(4, &[]), 9);
    options["datasets"]["train"]["dataloader_batch_size"] = 2.into();
    // Offsets are zero in the first step, and anything is too far in the second.
    options["train"]["offset_limit"] = 1e-9.into();
    let found = together(&bench, &options, 2);
    let said: Vec<_> = found
        .into_iter()
        .map(|(summary, seen)| {
            let [(2, 0, trouble @ Trouble::Offsets { .. })] = seen.went_back[..] else {
                panic!("{seen:?}")
            };
            let error = summary.unwrap_err();
            assert!(matches!(error, TrainError::Diverged { step: 2, to: 0, .. }), "{error}");
            (trouble, error.to_string())
        })
        .collect();
    assert_eq!(said[0], said[1]);
}
