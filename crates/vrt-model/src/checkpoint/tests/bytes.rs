//! Files that are in memory, values of 16 bits, and networks that only their text tells.

use half::f16;

use super::*;

fn file_of(config: &VrtConfig, floats: Floats) -> Vec<u8> {
    let folder = folder();
    let path = folder.path().join("a.safetensors");
    filled(config)
        .write_safetensors_as(&path, config, floats.into(), Existing::Keep)
        .expect("written");
    fs::read(path).expect("a file")
}

#[test]
fn bytes_in_memory_are_the_file_on_disk() {
    for floats in [Floats::F32, Floats::F16] {
        let bytes = file_of(&small(), floats);
        let folder = folder();
        let path = folder.path().join("a.safetensors");
        fs::write(&path, &bytes).expect("written");
        let (disk, memory) = (Checkpoint::open(&path), Checkpoint::from_bytes(&path, &bytes));
        let (disk, memory) = (disk.expect("readable"), memory.expect("readable"));
        assert_eq!(all_values(&memory), all_values(&disk));
        assert_eq!(memory.metadata(), disk.metadata());
        assert_eq!(memory.config().expect("recognised"), small());
        account(&small(), &memory).expect("whole");
    }
}

#[test]
fn bytes_in_memory_are_held_to_what_they_claim() {
    let bytes = file_of(&small(), Floats::F16);
    let open = |bytes: &[u8]| Checkpoint::from_bytes(Path::new("built-in"), bytes);
    for len in (0..64).chain((64..bytes.len()).step_by(997)).chain([bytes.len() - 1]) {
        let error = open(&bytes[..len]).expect_err("cut").to_string();
        assert!(error.starts_with("built-in: "), "{error}");
    }
    let longer = [&bytes[..], &[0; 2]].concat();
    open(&longer).expect_err("bytes that belong to nothing");
    let error = open(b"PK\x03\x04 and more of another form").expect_err("an archive");
    assert!(matches!(error, CheckpointError::NotCheckpoint { .. }), "{error}");
}

#[test]
fn sixteen_bits_are_half_the_size_and_the_nearest_values() {
    let (exact, half) = (file_of(&small(), Floats::F32), file_of(&small(), Floats::F16));
    // The index of so small a network is larger than its values, and shrinks by some digits.
    let values = small().tensors().iter().map(TensorSpec::len).sum::<usize>();
    let saved = exact.len() - half.len();
    assert!((2 * values..3 * values).contains(&saved), "{saved} of {}", 4 * values);
    let weights = filled(&small());
    let rounded = Checkpoint::from_bytes(Path::new("a"), &half).expect("readable");
    for (name, tensor) in rounded.tensors() {
        assert_eq!(tensor.element(), Element::F16, "{name}");
    }
    for (name, values) in all_values(&weights) {
        let nearest: Vec<_> = values.iter().map(|v| f16::from_f32(*v).to_f32()).collect();
        assert_eq!(rounded.read(&name).expect("readable"), nearest, "{name}");
    }
}

#[test]
fn a_value_that_sixteen_bits_do_not_reach_is_an_error_and_leaves_no_file() {
    let folder = folder();
    let path = folder.path().join("a.safetensors");
    let config = small();
    let tensors = config.tensors().into_iter().map(|spec| {
        let value = if spec.name == "norm.weight" { 70_000.0 } else { 0.5 };
        (spec.name.clone(), spec.shape.clone(), vec![value; spec.len()])
    });
    let weights = Checkpoint::from_values(tensors);
    let error = weights.write_safetensors_as(&path, &config, Floats::F16.into(), Existing::Keep);
    let error = error.expect_err("too large");
    assert!(
        matches!(&error, CheckpointError::TooLargeForHalf { name, .. } if name == "norm.weight")
    );
    assert!(!path.exists());
    weights.write_safetensors(&path, &config, Existing::Keep).expect("written");
}

#[test]
fn a_network_that_shapes_do_not_tell_is_taken_from_its_text() {
    let fields = VrtFields { window: [2, 2, 4], ..small().fields().clone() };
    let config = VrtConfig::new(fields).expect("valid");
    let bytes = file_of(&config, Floats::F16);
    let mut weights = Checkpoint::from_bytes(Path::new("a"), &bytes).expect("readable");
    assert!(recognise(&weights.shapes()).is_err(), "windows are not square");
    assert_eq!(weights.config().expect("stated"), config);
    // Text that does not fit the tensors is worth nothing.
    weights.set_metadata(CONFIG_KEY, option_file::to_json(&small()).to_string());
    weights.config().expect_err("another network is stated");
}

#[test]
fn what_shapes_leave_open_is_as_stated() {
    let fields = VrtFields {
        fold: 2,
        window: [2, 2, 2],
        reach: Reach::One,
        deformable_groups: 2,
        ..small().fields().clone()
    };
    for (in_channels, trails, coarse_flow) in
        [(3, false, true), (3, true, false), (17, true, true), (4, true, true)]
    {
        let fields = VrtFields { in_channels, trails, coarse_flow, ..fields.clone() };
        let config = VrtConfig::new(fields).expect("valid");
        let bytes = file_of(&config, Floats::F16);
        let mut weights = Checkpoint::from_bytes(Path::new("a"), &bytes).expect("readable");
        assert_eq!(weights.config().expect("stated"), config);
        // A network of other tensors is worth nothing.
        weights.set_metadata(CONFIG_KEY, option_file::to_json(&small()).to_string());
        assert_ne!(weights.config().expect("recognised"), small());
    }
}
