//! Sets in LMDB environments.

use super::*;

/// The fixture that py-lmdb wrote: the clip 000 has eight frames like those of the folders here.
fn from_py_lmdb(list: &str) -> (TempDir, TrainingSetOptions) {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("list.txt");
    std::fs::write(&path, list).unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/lmdb/frames.lmdb");
    let tree = FrameRoot { path: fixture, backend: Backend::Lmdb };
    let options = options(root.path(), SetKind::Recurrent);
    // Both at once: sets whose degraded frames are made up have one environment for both.
    let both = TrainingSetOptions { sharp: tree.clone(), degraded: tree, ..options };
    (root, both)
}

#[test]
fn frames_that_py_lmdb_wrote_are_drawn() {
    let (_root, options) = from_py_lmdb("000 8 (16,24,3) 00000000\n");
    let set = TrainingSet::open(options).unwrap();
    assert_eq!(set.len(), 8);
    for index in 0..5 {
        let sample = set.sample(index, &mut random(7)).unwrap();
        assert_eq!(blues(&sample.sharp), (index..index + 4).collect::<Vec<_>>());
        assert_eq!(sample.degraded, sample.sharp);
        let pixels = codes(&sample.sharp[0]);
        assert!(pixels[1][0] == pixels[0][0] + 1 && pixels[8][1] == pixels[0][1] + 1);
    }
}

#[test]
fn keys_with_folders_and_sizes_of_their_own_are_drawn() {
    let (_root, options) = from_py_lmdb("deep/001 2 (32,48,3) 00000000\n");
    let options = TrainingSetOptions { frames: 2, crop: 32, ..options };
    let set = TrainingSet::open(options).unwrap();
    assert_eq!(blues(&set.sample(0, &mut random(0)).unwrap().sharp), [40, 41]);
}

#[test]
fn missing_keys_and_environments_are_named() {
    let (_root, options) = from_py_lmdb("000 9 (16,24,3) 00000000\n");
    let set = TrainingSet::open(options.clone()).unwrap();
    let message = set.sample(5, &mut random(0)).unwrap_err().to_string();
    assert!(message.contains("frames.lmdb") && message.contains("000/00000008"), "{message}");

    let (_root, missing) = from_py_lmdb("002 9 (16,24,3) 00000000\n");
    let message = TrainingSet::open(missing).unwrap_err().to_string();
    assert!(message.contains("002/00000000"), "{message}");

    let tree = FrameRoot { path: "/no/such.lmdb".into(), backend: Backend::Lmdb };
    let message =
        TrainingSet::open(TrainingSetOptions { sharp: tree, ..options }).unwrap_err().to_string();
    assert!(message.contains("/no/such.lmdb/data.mdb"), "{message}");
}
