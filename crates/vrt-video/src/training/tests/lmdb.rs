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
    let message = TrainingSet::open(options.clone()).unwrap_err().to_string();
    assert!(message.contains("frames.lmdb") && message.contains("000/00000008"), "{message}");

    let (_root, missing) = from_py_lmdb("002 9 (16,24,3) 00000000\n");
    let message = TrainingSet::open(missing).unwrap_err().to_string();
    assert!(message.contains("002/00000000"), "{message}");

    let tree = FrameRoot { path: "/no/such.lmdb".into(), backend: Backend::Lmdb };
    let options = TrainingSetOptions { sharp: tree, ..options };
    let message = TrainingSet::open(options.clone()).unwrap_err().to_string();
    assert!(message.contains("/no/such.lmdb/data.mdb"), "{message}");

    let folder = tempfile::tempdir().unwrap();
    let tree = FrameRoot { path: folder.path().into(), backend: Backend::Lmdb };
    let options = TrainingSetOptions { sharp: tree, ..options };
    let message = TrainingSet::open(options.clone()).unwrap_err().to_string();
    assert!(message.contains("set io_backend to {\"type\": \"disk\"}"), "{message}");

    let tree = FrameRoot { backend: Backend::Disk, ..fixture() };
    let message =
        TrainingSet::open(TrainingSetOptions { sharp: tree, ..options }).unwrap_err().to_string();
    assert!(message.contains("set io_backend to {\"type\": \"lmdb\"}"), "{message}");
}

fn fixture() -> FrameRoot {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/lmdb/frames.lmdb");
    FrameRoot { path, backend: Backend::Lmdb }
}

/// An environment with these values.
fn written(entries: &[(&str, &[u8])]) -> (TempDir, FrameRoot) {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("some.lmdb");
    let bytes = entries.iter().map(|(_, value)| value.len() as u64).sum();
    let mut writer = vrt_lmdb::Writer::create(&path, entries.len() as u64, bytes).unwrap();
    writer.write(entries.iter().copied()).unwrap();
    drop(writer);
    (root, FrameRoot { path, backend: Backend::Lmdb })
}

#[test]
fn whole_clips_of_an_environment_are_those_of_folders() {
    let environment = FrameTree::open(&fixture()).unwrap();
    let clips = environment.clips().unwrap();
    let names: Vec<_> = clips.iter().map(|clip| (clip.name.as_str(), clip.frames.len())).collect();
    assert_eq!(names, [("000", 8), ("deep/001", 2)]);
    let folders = tempfile::tempdir().unwrap();
    for path in clips.iter().flat_map(|clip| &clip.frames) {
        let name = path.strip_prefix(fixture().path).unwrap().with_extension("png");
        write(&folders.path().join(name), &environment.read(path).unwrap());
    }
    let root = FrameRoot { path: folders.path().to_path_buf(), backend: Backend::Disk };
    let folders = FrameTree::open(&root).unwrap();
    let pairs = environment.pair(&folders, crate::Pairing::Same).unwrap();
    let listed: Vec<_> = pairs.iter().map(|clip| (clip.name.as_str(), clip.frames.len())).collect();
    assert_eq!(listed, names);
    for (place, clip) in pairs.iter().enumerate() {
        for (number, pair) in clip.frames.iter().enumerate() {
            let frame = environment.read(&pair.truth).unwrap();
            assert_eq!(frame, folders.read(&pair.input).unwrap());
            assert_eq!(codes(&frame)[frame.width() + 2], [2, 1, CLIP_STEP * place + number]);
        }
    }
}

#[test]
fn frames_of_an_environment_are_in_natural_order_and_missing_ones_are_named() {
    let (_one, root) = written(&[("c/10", b"x"), ("c/9", b"x"), ("c10/1", b"x"), ("c9/1", b"x")]);
    let tree = FrameTree::open(&root).unwrap();
    let clips = tree.clips().unwrap();
    let names: Vec<_> = clips.iter().map(|clip| clip.name.as_str()).collect();
    assert_eq!(names, ["c", "c9", "c10"]);
    assert_eq!(clips[0].frames, ["c/9", "c/10"].map(|key| root.path.join(key)));
    let message = tree.read(&clips[0].frames[0]).unwrap_err().to_string();
    assert!(message.contains("some.lmdb") && message.contains("c/9"), "{message}");
    let message = tree.read(&root.path.join("c/11")).unwrap_err().to_string();
    assert!(message.contains("no frame c/11"), "{message}");
    let (_other, fewer) = written(&[("c/10", b"x"), ("c10/1", b"x"), ("c9/1", b"x")]);
    let fewer = FrameTree::open(&fewer).unwrap();
    let message = tree.pair(&fewer, crate::Pairing::Same).unwrap_err().to_string();
    assert!(message.contains("the frames 9 are not in"), "{message}");
    let (_alone, alone) = written(&[("1", b"x"), ("2", b"x")]);
    let clips = FrameTree::open(&alone).unwrap().clips().unwrap();
    assert_eq!((clips[0].name.as_str(), clips[0].frames.len()), ("some.lmdb", 2));
}

#[test]
fn keys_that_are_no_frames_below_the_root_are_refused() {
    for key in ["../up/1", "/etc/1", "a//1", "a/", "a/./1", "a\\b/1"] {
        let (_root, root) = written(&[("a/1", b"x"), (key, b"x")]);
        let error = FrameTree::open(&root).unwrap().clips().unwrap_err();
        assert!(matches!(&error, DataError::Key { key: named, .. } if named == key), "{error}");
    }
    let (_root, root) = written(&[("a/1.png", b"x"), ("a/1.jpg", b"x")]);
    let message = FrameTree::open(&root).unwrap().clips().unwrap_err().to_string();
    assert!(message.contains("two frames of one name"), "{message}");
    let (_root, root) = written(&[]);
    assert!(FrameTree::open(&root).unwrap().clips().is_err());
    let gone = FrameRoot { path: "/no/such.lmdb".into(), backend: Backend::Lmdb };
    assert!(FrameTree::open(&gone).unwrap_err().to_string().contains("/no/such.lmdb"));
}
