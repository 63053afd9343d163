//! The forms that weights come in: containers, prefixes, old files, other floats.

use super::*;

const ARCHIVE_MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// One tensor to put into a hand-made file: name and values.
type Named<'a> = (&'a str, &'a [f32]);

/// Appends a dictionary of tensors; storages are numbered from `first`.
fn dictionary(pickle: &mut Pickle, tensors: &[Named<'_>], first: usize) {
    pickle.empty_ordered_dict();
    pickle.mark();
    for (i, (name, values)) in tensors.iter().enumerate() {
        pickle.text(name).expect("short");
        let key = (first + i).to_string();
        pickle.tensor(&key, "FloatStorage", &[values.len()]).expect("small");
    }
    pickle.set_items();
}

fn le_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The pickle of weights: each container with its tensors, or the tensors alone.
fn weights_pickle(containers: &[(Option<&str>, &[Named<'_>])]) -> Vec<u8> {
    let mut pickle = Pickle::new();
    if let [(None, tensors)] = containers {
        dictionary(&mut pickle, tensors, 0);
        return pickle.finish();
    }
    pickle.empty_dict();
    pickle.mark();
    let mut first = 0;
    for (name, tensors) in containers {
        pickle.text(name.expect("a name")).expect("short");
        dictionary(&mut pickle, tensors, first);
        first += tensors.len();
    }
    pickle.set_items();
    pickle.finish()
}

/// A `.pth` file as PyTorch writes it since 1.6.
fn archive(path: &Path, containers: &[(Option<&str>, &[Named<'_>])]) {
    use std::io::Write;
    let mut archive = zip::ZipWriter::new(fs::File::create(path).expect("a file"));
    let stored =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut add = |name: String, bytes: &[u8]| {
        archive.start_file(name, stored).expect("added");
        archive.write_all(bytes).expect("written");
    };
    add("x/data.pkl".to_owned(), &weights_pickle(containers));
    let all = containers.iter().flat_map(|(_, tensors)| tensors.iter());
    for (key, (_, values)) in all.enumerate() {
        add(format!("x/data/{key}"), &le_bytes(values));
    }
    add("x/version".to_owned(), b"3\n");
    archive.finish().expect("written");
}

/// The same in the form of PyTorch before 1.6: pickles one after the other, then the values.
pub(super) fn legacy(containers: &[(Option<&str>, &[Named<'_>])]) -> Vec<u8> {
    let mut file = vec![0x80, 2, 0x8a, 10];
    file.extend(ARCHIVE_MAGIC);
    file.push(b'.');
    let mut version = Pickle::new();
    version.number(1001).expect("small");
    file.extend(version.finish());
    let mut system = Pickle::new();
    system.empty_dict();
    system.mark();
    system.text("little_endian").expect("short");
    let mut system = system.finish();
    system.pop();
    system.extend([0x88, b'u', b'.']);
    file.extend(system);
    file.extend(weights_pickle(containers));
    let all: Vec<_> = containers.iter().flat_map(|(_, tensors)| tensors.iter()).collect();
    let mut keys = vec![0x80, 2, b']', b'('];
    for key in 0..all.len() {
        let mut text = Pickle::new();
        text.text(&key.to_string()).expect("short");
        let text = text.finish();
        keys.extend(&text[2..text.len() - 1]);
    }
    keys.extend(*b"e.");
    file.extend(keys);
    for (_, values) in all {
        file.extend((values.len() as i64).to_le_bytes());
        file.extend(le_bytes(values));
    }
    file
}

fn read_a(path: &Path, which: Which) -> Result<Vec<f32>, CheckpointError> {
    Checkpoint::open_which(path, which)?.read("a.weight")
}

#[test]
fn weights_are_found_bare_wrapped_and_in_containers() {
    let folder = folder();
    let path = folder.path().join("a.pth");
    let values: &[f32] = &[1.0, -2.5, 3.25];
    for name in ["a.weight", "module.a.weight"] {
        for container in [None, Some("params"), Some("params_ema"), Some("state_dict")] {
            archive(&path, &[(container, &[(name, values)])]);
            let found = read_a(&path, Which::Best).expect("readable");
            assert_eq!(found, values, "{container:?} {name}");
            fs::write(&path, legacy(&[(container, &[(name, values)])])).expect("written");
            let found = read_a(&path, Which::Best).expect("readable");
            assert_eq!(found, values, "legacy {container:?} {name}");
        }
    }
}

#[test]
fn of_two_sets_the_averaged_one_is_read_unless_told_otherwise() {
    let folder = folder();
    let path = folder.path().join("a.pth");
    let (last, averaged): (&[f32], &[f32]) = (&[1.0], &[2.0]);
    let sets: [(Option<&str>, &[Named<'_>]); 2] =
        [(Some("params"), &[("a.weight", last)]), (Some("params_ema"), &[("a.weight", averaged)])];
    archive(&path, &sets);
    assert_eq!(read_a(&path, Which::Best).expect("readable"), averaged);
    assert_eq!(read_a(&path, Which::Averaged).expect("readable"), averaged);
    assert_eq!(read_a(&path, Which::Params).expect("readable"), last);
    archive(&path, &sets[..1]);
    assert_eq!(read_a(&path, Which::Best).expect("readable"), last);
    let error = read_a(&path, Which::Averaged).expect_err("there is none");
    assert!(error.to_string().contains("params_ema"), "{error}");
    archive(&path, &sets[1..]);
    assert!(matches!(read_a(&path, Which::Params), Err(CheckpointError::NoSuchWeights { .. })));
}

#[test]
fn one_name_twice_is_refused() {
    let folder = folder();
    let path = folder.path().join("a.pth");
    let values: &[f32] = &[1.0];
    archive(&path, &[(None, &[("a.weight", values), ("module.a.weight", values)])]);
    let error = Checkpoint::open(&path).expect_err("two of one name");
    assert!(matches!(&error, CheckpointError::Twice { name, .. } if name == "a.weight"), "{error}");
}

/// A `.safetensors` file of other things than 32-bit floats: name, type, bytes of two values.
fn mixed(kinds: &[(&str, safetensors::Dtype, Vec<u8>)]) -> Vec<u8> {
    let views = kinds.iter().map(|(name, kind, bytes)| {
        (*name, safetensors::tensor::TensorView::new(*kind, vec![2, 1], bytes).expect("a view"))
    });
    safetensors::serialize(views.collect::<Vec<_>>(), None).expect("a file")
}

#[test]
fn integers_stay_what_they_are_in_both_forms() {
    use pytorch_reader::DType;
    use safetensors::Dtype;
    let kinds = [
        ("long", Dtype::I64, DType::I64, [-3_i64, 1 << 40].map(i64::to_le_bytes).concat()),
        ("int", Dtype::I32, DType::I32, [-3_i32, 70_000].map(i32::to_le_bytes).concat()),
        ("short", Dtype::I16, DType::I16, [-3_i16, 300].map(i16::to_le_bytes).concat()),
        ("char", Dtype::I8, DType::I8, vec![0x80, 7]),
        ("byte", Dtype::U8, DType::U8, vec![0, 255]),
        ("bool", Dtype::BOOL, DType::Bool, vec![1, 0]),
        ("float", Dtype::F32, DType::F32, [0.5_f32, -2.0].map(f32::to_le_bytes).concat()),
    ];
    let folder = folder();
    let [plain, pth, back] = ["a", "b", "c"].map(|name| folder.path().join(name));
    let views: Vec<_> = kinds.iter().map(|(name, kind, _, b)| (*name, *kind, b.clone())).collect();
    fs::write(&plain, mixed(&views)).expect("written");
    Checkpoint::open(&plain).expect("readable").write_plain_pth(&pth, Existing::Keep).expect("pth");
    let read = Checkpoint::open(&pth).expect("readable");
    read.write_plain_safetensors(&back, Existing::Keep).expect("safetensors");
    let torch = pytorch_reader::PytorchReader::with_top_level_key(&pth, "params").expect("pth");
    let bytes = fs::read(&back).expect("a file");
    let again = safetensors::SafeTensors::deserialize(&bytes).expect("a safetensors file");
    for (name, kind, stored, values) in kinds {
        let tensor = torch.get(name).expect(name);
        assert_eq!((tensor.dtype(), tensor.shape()), (stored, &[2, 1][..]), "{name}");
        let view = again.tensor(name).expect(name);
        assert_eq!((view.dtype(), view.data()), (kind, &values[..]), "{name}");
    }
}

#[test]
fn values_without_a_name_in_the_form_are_an_error() {
    let folder = folder();
    let [plain, to] = ["a", "b"].map(|name| folder.path().join(name));
    fs::write(&plain, mixed(&[("u", safetensors::Dtype::U16, vec![0; 4])])).expect("written");
    let read = Checkpoint::open(&plain).expect("readable");
    let error = read.write_plain_pth(&to, Existing::Keep).expect_err("no storage");
    assert!(matches!(error, CheckpointError::NotInForm { form: ".pth", .. }), "{error}");
    read.write_plain_safetensors(&to, Existing::Keep).expect("written");
    fs::write(&plain, mixed(&[("f", safetensors::Dtype::F8_E5M2, vec![0; 2])])).expect("written");
    let read = Checkpoint::open(&plain).expect("readable");
    let error = read.write_plain_safetensors(&to, Existing::Replace).expect_err("not known");
    assert!(matches!(error, CheckpointError::NotInForm { .. }), "{error}");
}

#[test]
fn the_same_weights_give_the_same_bytes() {
    let folder = folder();
    let (config, mut weights) = (small(), filled(&small()));
    for key in ["one", "two", "three", "four", "five", "six", "seven"] {
        weights.set_metadata(key, "text".to_owned());
    }
    let written = |write: &dyn Fn(&Path)| {
        let path = folder.path().join("a");
        write(&path);
        fs::read(&path).expect("a file")
    };
    let kept = Existing::Replace;
    let forms: [&dyn Fn(&Path); 3] = [
        &|path| weights.write_safetensors(path, &config, kept).expect("written"),
        &|path| weights.write_plain_safetensors(path, kept).expect("written"),
        &|path| weights.write_pth(path, &config, kept).expect("written"),
    ];
    for write in forms {
        let first = written(write);
        for _ in 0..3 {
            assert!(written(write) == first, "the bytes differ");
        }
    }
    // Times in an archive are exact to two seconds, so two writes need not show them.
    let archive = zip::ZipArchive::new(fs::File::open(folder.path().join("a")).expect("a file"));
    let mut archive = archive.expect("an archive");
    let time = archive.by_index(0).expect("an entry").last_modified();
    assert!(time.is_none_or(|time| time == zip::DateTime::default()), "{time:?}");
}

proptest! {
    #[test]
    fn halves_and_doubles_are_read_as_floats(values in prop::collection::vec(-1e4_f32..1e4, 1..9)) {
        use safetensors::Dtype;
        let folder = folder();
        let path = folder.path().join("a.bin");
        let cast = |kind| -> (Vec<u8>, Vec<f32>) {
            let each = |v: &f32| match kind {
                Dtype::F64 => (f64::from(*v).to_le_bytes().to_vec(), *v),
                Dtype::F16 => {
                    let half = half::f16::from_f32(*v);
                    (half.to_le_bytes().to_vec(), half.to_f32())
                }
                Dtype::BF16 => {
                    let half = half::bf16::from_f32(*v);
                    (half.to_le_bytes().to_vec(), half.to_f32())
                }
                _ => (v.to_le_bytes().to_vec(), *v),
            };
            let (bytes, values): (Vec<_>, Vec<_>) = values.iter().map(each).unzip();
            (bytes.concat(), values)
        };
        for kind in [Dtype::F64, Dtype::F32, Dtype::F16, Dtype::BF16] {
            let (bytes, expected) = cast(kind);
            let view = safetensors::tensor::TensorView::new(kind, vec![values.len()], &bytes)
                .expect("a view");
            let file = safetensors::serialize([("module.a.weight", view)], None).expect("a file");
            fs::write(&path, file).expect("written");
            prop_assert_eq!(read_a(&path, Which::Best).expect("readable"), expected);
        }
    }
}
