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
