//! Trials between steps, on folders and LMDB environments.

use vrt_testing::workspace_root;
use vrt_video::{Backend, BitDepth, FrameRoot, FrameTree, SetScore, write_picture};

use super::*;

/// The scores of the one trial of a run on a test set.
fn tried(bench: &Bench, test: Value, sets: &[&str]) -> SetScore {
    let mut options = small(&bench.path("batch.safetensors"), 1);
    options["datasets"]["test"] = test;
    options["train"]["checkpoint_test"] = 1.into();
    let (summary, mut seen) = bench.run(&options, sets, false, None);
    assert_eq!(summary.unwrap().step, 1);
    let scores = seen.scores.pop().unwrap();
    assert!(seen.scores.is_empty());
    scores
}

#[test]
fn environments_score_as_folders_of_their_frames() {
    let bench = Bench::new();
    bench.batch(1, &[]);
    let sharp = workspace_root().join("fixtures/lmdb/frames.lmdb");
    // Twice the same frames, in an environment and in folders each.
    let degraded = bench.path("degraded.lmdb");
    std::fs::create_dir(&degraded).unwrap();
    std::fs::copy(sharp.join("data.mdb"), degraded.join("data.mdb")).unwrap();
    let tree = FrameTree::open(&FrameRoot { path: sharp.clone(), backend: Backend::Lmdb }).unwrap();
    for path in tree.clips().unwrap().into_iter().flat_map(|clip| clip.frames) {
        let file = path.strip_prefix(&sharp).unwrap().with_extension("png");
        for folder in ["sharp", "degraded"].map(|name| bench.path(name)) {
            let file = folder.join(&file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            write_picture(&file, &tree.read(&path).unwrap(), BitDepth::Eight, false).unwrap();
        }
    }
    let ends = |bench: &Bench| std::fs::remove_dir_all(bench.path("run")).unwrap();
    let clips = "VideoRecurrentTestDataset";
    let folders = json!({
        "dataset_type": clips,
        "dataroot_gt": bench.path("sharp"),
        "dataroot_lq": bench.path("degraded"),
        "num_frame": 3,
    });
    let expected = tried(&bench, folders, &[]);
    assert_eq!(expected.clips.iter().map(|clip| clip.frames.len()).sum::<usize>(), 5);
    ends(&bench);
    let environments = json!({
        "dataset_type": clips,
        "io_backend": { "type": "lmdb" },
        "dataroot_gt": sharp,
        "dataroot_lq": degraded,
        "num_frame": 3,
    });
    assert_eq!(tried(&bench, environments, &["val.save_img=true"]), expected);
    assert!(bench.path("run/images/1/deep/001/00000001.png").exists());
    ends(&bench);
    // Known by its name; the truth is what is restored.
    let alone = json!({ "dataset_type": clips, "dataroot_gt": sharp, "num_frame": 3 });
    assert_eq!(tried(&bench, alone, &[]), expected);
    ends(&bench);
    let list = bench.path("list.txt");
    std::fs::write(&list, "deep/001 2 (32,48,3)\n").unwrap();
    let listed = json!({
        "dataset_type": "VideoTestVimeo90KDataset",
        "dataroot_gt": sharp,
        "dataroot_lq": degraded,
        "meta_info_file": list,
    });
    let scores = tried(&bench, listed, &[]);
    assert_eq!((scores.clips.len(), scores.clips[0].name.as_str()), (1, "deep/001"));
    assert_eq!(scores.clips[0].frames[0], expected.clips[1].frames[1]);
}

#[test]
fn what_is_no_environment_is_said_before_the_first_step() {
    let bench = Bench::new();
    let mut options = small(&bench.batch(1, &[]), 1);
    std::fs::create_dir_all(bench.path("frames")).unwrap();
    options["datasets"]["test"] = json!({
        "dataset_type": "VideoRecurrentTestDataset",
        "io_backend": { "type": "lmdb" },
        "dataroot_gt": bench.path("frames"),
    });
    let (summary, seen) = bench.run(&options, &[], false, None);
    let error = summary.unwrap_err().to_string();
    assert!(error.contains("validation") && error.contains("no file data.mdb"), "{error}");
    assert!(seen.steps.is_empty());
}
