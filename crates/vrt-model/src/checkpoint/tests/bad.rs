//! Files that are no checkpoints, or mean harm.

use super::*;

fn open_bytes(bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
    let folder = folder();
    let path = folder.path().join("a.pth");
    fs::write(&path, bytes).expect("written");
    let checkpoint = Checkpoint::open(&path)?;
    // Values too: a file may be damaged there only.
    for (name, tensor) in checkpoint.tensors() {
        if tensor.element().is_float() {
            checkpoint.read(name)?;
        }
    }
    Ok(checkpoint)
}

fn written(pth: bool) -> Vec<u8> {
    let folder = folder();
    let path = folder.path().join("a");
    let (config, weights) = (small(), filled(&small()));
    match pth {
        true => weights.write_pth(&path, &config, Existing::Keep),
        false => weights.write_safetensors(&path, &config, Existing::Keep),
    }
    .expect("written");
    fs::read(path).expect("a file")
}

/// The pickle that Python makes of an object which asks for `os.system(command)` when read.
fn os_system(command: &str) -> Pickle {
    let mut pickle = Pickle::new();
    pickle.global("posix", "system");
    pickle.mark();
    pickle.text(command).expect("short");
    pickle.tuple();
    pickle.call();
    pickle
}

#[test]
fn a_pickle_that_calls_the_system_is_refused_and_not_run() {
    let folder = folder();
    let proof = folder.path().join("proof");
    let command = format!("touch '{}'", proof.display());
    let error = open_bytes(&os_system(&command).finish()).expect_err("no weights");
    let text = error.to_string();
    assert!(text.contains("posix.system") && text.contains("nothing in it was run"), "{text}");
    // The same beside weights.
    let mut pickle = Pickle::new();
    pickle.empty_dict();
    pickle.mark();
    pickle.text("params").expect("short");
    let harm = os_system(&command).finish();
    let mut bytes = pickle.finish();
    bytes.pop();
    bytes.extend(&harm[2..harm.len() - 1]);
    bytes.extend(*b"u.");
    let error = open_bytes(&bytes).expect_err("no weights");
    assert!(matches!(error, CheckpointError::Empty { .. }), "{error}");
    assert!(!proof.exists(), "the command was run");
}

#[test]
fn files_of_other_kinds_are_told() {
    let cases: [(&[u8], &str); 6] = [
        (b"", "empty"),
        (b"hello, I am a text that somebody named .pth by mistake", "text"),
        (b"<!DOCTYPE html><html>not found</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "LFS"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "picture"),
        (b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "damaged"),
    ];
    for (bytes, part) in cases {
        let error = open_bytes(bytes).expect_err(part).to_string();
        assert!(error.contains(part) && error.contains("a.pth"), "{part} is not in: {error}");
    }
    let folder = folder();
    for path in [folder.path().to_owned(), folder.path().join("missing.pth")] {
        let error = Checkpoint::open(&path).expect_err("no file");
        assert!(matches!(error, CheckpointError::Io { .. }), "{error}");
    }
}

#[test]
fn a_cut_file_is_an_error_wherever_it_is_cut() {
    let legacy = forms::legacy(&[(Some("params"), &[("a.weight", &[1.0, 2.0])])]);
    open_bytes(&legacy).expect("whole");
    for len in 0..legacy.len() {
        open_bytes(&legacy[..len]).expect_err("cut");
    }
    for pth in [true, false] {
        let bytes = written(pth);
        open_bytes(&bytes).expect("whole");
        for len in (0..64).chain((64..bytes.len()).step_by(4099)).chain([bytes.len() - 1]) {
            open_bytes(&bytes[..len]).expect_err("cut");
        }
    }
}

#[test]
fn a_header_that_promises_more_than_there_is_is_refused() {
    let mut bytes = written(false);
    bytes[0..8].copy_from_slice(&99_000_000_u64.to_le_bytes());
    let error = open_bytes(&bytes).expect_err("a lie").to_string();
    assert!(error.contains("header"), "{error}");
    let mut bytes = written(false);
    bytes.extend([0; 4]);
    open_bytes(&bytes).expect_err("bytes that belong to nothing");
}

#[test]
fn a_small_file_cannot_claim_much_memory() {
    // A tensor of 2^30 values that all share the one stored, as `expand` makes them.
    let mut pickle = Pickle::new();
    pickle.empty_dict();
    pickle.mark();
    pickle.text("a.weight").expect("short");
    pickle.global("torch._utils", "_rebuild_tensor_v2");
    pickle.mark();
    pickle.mark();
    pickle.text("storage").expect("short");
    pickle.global("torch", "FloatStorage");
    pickle.text("0").expect("short");
    pickle.text("cpu").expect("short");
    pickle.number(1).expect("small");
    pickle.tuple();
    pickle.persistent();
    pickle.number(0).expect("small");
    pickle.numbers(&[1 << 15, 1 << 15]).expect("small");
    pickle.numbers(&[0, 0]).expect("small");
    pickle.no();
    pickle.empty_ordered_dict();
    pickle.tuple();
    pickle.call();
    pickle.set_items();
    let folder = folder();
    let path = folder.path().join("bomb.pth");
    let mut archive = zip::ZipWriter::new(fs::File::create(&path).expect("a file"));
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, bytes) in [("x/data.pkl", pickle.finish()), ("x/data/0", vec![0; 4])] {
        archive.start_file(name, stored).expect("added");
        std::io::Write::write_all(&mut archive, &bytes).expect("written");
    }
    archive.finish().expect("written");
    let error = Checkpoint::open(&path).expect_err("too much");
    assert!(matches!(error, CheckpointError::TooLarge { claimed: 0x1_0000_0000, .. }), "{error}");
}

/// A `.pth` archive whose index is this.
fn archive_of(index: &[u8], method: zip::CompressionMethod) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_method(method);
    archive.start_file("x/data.pkl", options).expect("added");
    std::io::Write::write_all(&mut archive, index).expect("written");
    archive.finish().expect("written").into_inner()
}

#[test]
fn an_index_that_unpacks_to_much_more_is_refused_unread() {
    // Each of these operations puts an empty list on the reader's stack.
    let mut index = vec![b']'; 8 << 20];
    index[..2].copy_from_slice(&[0x80, 2]);
    let packed = archive_of(&index, zip::CompressionMethod::Deflated);
    assert!(packed.len() < 100_000, "{}", packed.len());
    let large = archive_of(&index, zip::CompressionMethod::Stored);
    for (bytes, part) in [(packed, "is compressed"), (large, "larger than 4 MiB")] {
        let error = open_bytes(&bytes).expect_err(part);
        assert!(matches!(error, CheckpointError::NotCheckpoint { .. }), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn a_large_pickle_alone_is_refused_unread() {
    let mut pickle = vec![b']'; 5 << 20];
    pickle[..2].copy_from_slice(&[0x80, 2]);
    let error = open_bytes(&pickle).expect_err("no tensors");
    assert!(matches!(error, CheckpointError::NotCheckpoint { .. }), "{error}");
}

#[test]
fn a_tar_archive_is_refused_unread() {
    let mut tar = vec![0; 1536];
    tar[..8].copy_from_slice(b"storages");
    tar[257..262].copy_from_slice(b"ustar");
    let error = open_bytes(&tar).expect_err("a tar archive").to_string();
    assert!(error.contains("tar archive") && error.contains("save it again"), "{error}");
}

#[test]
fn sizes_that_cannot_be_multiplied_are_an_error() {
    let folder = folder();
    let [plain, again, pth] = ["a", "b", "c"].map(|name| folder.path().join(name));
    let shape = vec![0, 1 << 30, 1 << 30, 1 << 30];
    let weights = Checkpoint::from_values([("a.weight".to_owned(), shape.clone(), Vec::new())]);
    weights.write_plain_safetensors(&plain, Existing::Keep).expect("written");
    let read = Checkpoint::open(&plain).expect("readable");
    read.write_plain_safetensors(&again, Existing::Keep).expect("written");
    assert_eq!(fs::read(&plain).expect("a file"), fs::read(&again).expect("a file"));
    let error = read.write_plain_pth(&pth, Existing::Keep).expect_err("steps of 2^90");
    assert!(error.to_string().contains("larger than the form can count"), "{error}");
    assert!(!pth.exists());
    // Steps of 2^60 can be counted.
    let weights = Checkpoint::from_values([("a.weight".to_owned(), shape[..3].to_vec(), vec![])]);
    weights.write_plain_pth(&pth, Existing::Keep).expect("written");
    let read = Checkpoint::open(&pth).expect("readable");
    assert_eq!(read.tensors()["a.weight"].shape(), &shape[..3]);
    assert!(read.read("a.weight").expect("readable").is_empty());
}

/// Networks that differ in every part that some have and others have not.
fn variants() -> [VrtConfig; 4] {
    let aligned = VrtFields { reach: Reach::One, deformable_groups: 2, ..small().fields().clone() };
    let larger = VrtFields { upscale: 4, in_channels: 4, ..aligned.clone() };
    let noisy = VrtFields { noise_map: true, reach: Reach::Two, ..aligned.clone() };
    let triple = VrtFields { upscale: 3, independent: vec![], ..aligned };
    let [larger, noisy, triple] =
        [larger, noisy, triple].map(|fields| VrtConfig::new(fields).expect("valid"));
    [small(), larger, noisy, triple]
}

#[test]
fn the_one_tensor_that_is_missing_is_named() {
    for config in variants() {
        let mut weights = filled(&config);
        for spec in config.tensors() {
            let taken = weights.tensors.remove(&spec.name).expect("a tensor");
            let found = weights.config().map_err(|error| error.to_string());
            let held = found
                .and_then(|found| account(&found, &weights).map_err(|error| error.to_string()));
            let error = held.expect_err(&spec.name);
            let mut words = error.split(|c: char| c.is_whitespace() || ",:".contains(c));
            assert!(words.any(|word| word == spec.name), "{} is not in: {error}", spec.name);
            weights.tensors.insert(spec.name, taken);
        }
    }
}

#[test]
fn another_network_is_named_by_what_is_missing() {
    let other = vrt_testing::workspace_root().join("weights/spynet.safetensors");
    let error = Checkpoint::open(&other).expect("readable").config().expect_err("SpyNet alone");
    let text = error.to_string();
    assert!(text.contains("conv_first.weight") && text.contains("basic_module"), "{text}");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        // Whatever the answer: it is one.
        let _ = open_bytes(&bytes).map_err(|error| error.to_string());
    }

    #[test]
    fn no_change_of_a_file_makes_it_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = forms::legacy(&[(Some("params"), &[("a.weight", &[1.0, 2.0])])]);
        for (index, byte) in changes {
            *index.get_mut(&mut bytes) = byte;
        }
        let _ = open_bytes(&bytes).map_err(|error| error.to_string());
    }
}
