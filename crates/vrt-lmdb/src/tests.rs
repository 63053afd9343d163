//! Environments that py-lmdb wrote, that were damaged, and that this crate wrote.

use std::path::{Path, PathBuf};

use crate::{Environment, LmdbError, Writer};
use proptest::prelude::*;
use tempfile::TempDir;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/lmdb/frames.lmdb")
}

/// An environment of these bytes.
fn made_of(bytes: &[u8]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("data.mdb"), bytes).unwrap();
    folder
}

fn fixture_bytes() -> Vec<u8> {
    std::fs::read(fixture().join("data.mdb")).unwrap()
}

/// Keys as `meta_info.txt` lists them.
fn listed() -> Vec<String> {
    let list = std::fs::read_to_string(fixture().join("meta_info.txt")).unwrap();
    list.lines().map(|line| line.split('.').next().unwrap().to_owned()).collect()
}

#[test]
fn what_py_lmdb_wrote_is_read() {
    let environment = Environment::open(&fixture()).unwrap();
    assert_eq!(environment.keys().unwrap(), listed());
    assert_eq!(environment.len().unwrap(), 10);
    for key in listed() {
        let value = environment.get(&key).unwrap().unwrap();
        assert!(value.starts_with(b"\x89PNG") && value.ends_with(b"IEND\xae\x42\x60\x82"), "{key}");
        // Stored without compression: rows of three bytes a pixel and one more.
        let samples = if key.starts_with("000") { 16 * (3 * 24 + 1) } else { 32 * (3 * 48 + 1) };
        assert!((samples..samples + 100).contains(&value.len()), "{key}: {}", value.len());
    }
}

#[test]
fn a_missing_key_is_none() {
    let environment = Environment::open(&fixture()).unwrap();
    for key in ["000/00000008", "zzz", "a key with blanks"] {
        assert_eq!(environment.get(key).unwrap(), None);
        assert!(!environment.contains(key).unwrap());
    }
    assert!(environment.contains("000/00000007").unwrap());
    assert_eq!(environment.get(&"k".repeat(600)).unwrap(), None);
    let error = environment.get("").unwrap_err();
    assert!(error.to_string().contains("frames.lmdb"), "{error}");
}

#[test]
fn reading_leaves_no_trace() {
    let folder = made_of(&fixture_bytes());
    let environment = Environment::open(folder.path()).unwrap();
    environment.get("000/00000000").unwrap();
    drop(environment);
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
    assert_eq!(std::fs::read(folder.path().join("data.mdb")).unwrap(), fixture_bytes());
}

#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_written_is_read() {
    use std::os::unix::fs::PermissionsExt;
    let folder = made_of(&fixture_bytes());
    let mode = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(&folder.path().join("data.mdb"), 0o444);
    mode(folder.path(), 0o555);
    let found = Environment::open(folder.path()).and_then(|environment| environment.len());
    mode(folder.path(), 0o755);
    assert_eq!(found.unwrap(), 10);
}

#[test]
fn one_environment_is_opened_as_often_as_wanted() {
    let folder = made_of(&fixture_bytes());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let environment = Environment::open(folder.path()).unwrap();
                    let shared = environment.clone();
                    drop(environment);
                    assert!(shared.get("000/00000003").unwrap().is_some());
                }
            });
        }
    });
}

#[test]
fn a_file_that_was_cut_off_is_told() {
    let whole = fixture_bytes();
    for len in [8192, 20_000, whole.len() - 4096, whole.len() - 1] {
        let folder = made_of(&whole[..len]);
        let error = Environment::open(folder.path()).unwrap_err();
        assert!(
            matches!(error, LmdbError::Truncated { found, needed, .. }
            if found == len as u64 && needed == whole.len() as u64),
            "{error}"
        );
        assert!(error.to_string().contains("copy it again"), "{error}");
    }
    for len in [0, 10, 151, 4096, 4200] {
        let error = Environment::open(made_of(&whole[..len]).path()).unwrap_err();
        assert!(matches!(error, LmdbError::NotLmdb { .. }), "{len}: {error}");
    }
}

#[test]
fn other_files_and_none_are_told() {
    let error = Environment::open(Path::new("/no/such/set.lmdb")).unwrap_err();
    assert!(error.to_string().contains("/no/such/set.lmdb/data.mdb"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data.mdb")).unwrap();
    let error = Environment::open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("not a file"), "{error}");
    let error = Environment::open(made_of(&[7; 9000]).path()).unwrap_err();
    assert!(error.to_string().contains("first bytes"), "{error}");

    let mut swapped = fixture_bytes();
    swapped[16..20].reverse();
    let error = Environment::open(made_of(&swapped).path()).unwrap_err();
    assert!(error.to_string().contains("other byte order"), "{error}");
    let mut newer = fixture_bytes();
    newer[20] = 2;
    let error = Environment::open(made_of(&newer).path()).unwrap_err();
    assert!(error.to_string().contains("version 2"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]
    /// Whatever bytes are wrong: an error, or values that are there or not, and never a crash.
    #[test]
    fn damage_is_survived(
        places in prop::collection::vec((0usize..14, 0usize..160, any::<u8>()), 1..12),
        anywhere in prop::collection::vec((0usize..57_344, any::<u8>()), 0..40),
    ) {
        let mut bytes = fixture_bytes();
        for (page, at, value) in places {
            bytes[page * 4096 + at] = value;
        }
        for (at, value) in anywhere {
            bytes[at] = value;
        }
        let folder = made_of(&bytes);
        match Environment::open(folder.path()) {
            Err(error) => prop_assert!(error.to_string().contains(folder.path().to_str().unwrap())),
            Ok(environment) => {
                for key in listed() {
                    let _ = environment.get(&key);
                }
                let _ = environment.keys();
            }
        }
    }
}

#[test]
fn damage_to_every_page_that_leads_to_values_is_told() {
    let whole = fixture_bytes();
    let mut found = 0;
    for page in 2..14 {
        // A page's number, what it is, its list of nodes, and its last node.
        for at in [0, 10, 12, 16] {
            let mut bytes = whole.clone();
            bytes[page * 4096 + at] ^= 0x41;
            let Err(error) = Environment::open(made_of(&bytes).path()) else { continue };
            assert!(matches!(error, LmdbError::Damaged { .. }), "{error}");
            assert!(error.to_string().contains("is damaged: page"), "{error}");
            found += 1;
        }
    }
    // One branch and four leaves, each in four ways.
    assert!(found >= 18, "{found}");
}

#[test]
fn what_is_written_is_read() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("made.lmdb");
    let entries: Vec<(String, Vec<u8>)> = (0..300usize)
        .map(|at| (format!("clip{}/{:08}", at / 100, at), vec![at as u8; 37 * at]))
        .collect();
    let bytes = entries.iter().map(|(_, value)| value.len() as u64).sum();
    let mut writer = Writer::create(&path, 300, bytes).unwrap();
    for batch in entries.chunks(64) {
        writer.write(batch.iter().map(|(key, value)| (key.as_str(), value.as_slice()))).unwrap();
    }
    drop(writer);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let ordinary = root.path().join("file");
        std::fs::write(&ordinary, "").unwrap();
        assert_eq!(mode(&path.join("data.mdb")), mode(&ordinary), "others may not read it");
    }
    let environment = Environment::open(&path).unwrap();
    let keys: Vec<_> = entries.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(environment.keys().unwrap(), keys);
    for (key, value) in &entries {
        assert_eq!(environment.get(key).unwrap().as_ref(), Some(value), "{key}");
    }
    let mut bad = Writer::create(&root.path().join("bad.lmdb"), 1, 1).unwrap();
    let error = bad.write([("", &b"value"[..])]).unwrap_err();
    assert!(
        error.to_string().contains("bad.lmdb") && error.to_string().contains("\"\""),
        "{error}"
    );
    let error = Writer::create(&path, 1, 1).unwrap_err();
    assert!(matches!(error, LmdbError::Exists { .. }), "{error}");
}

#[test]
fn a_set_without_entries_is_one() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("empty.lmdb");
    drop(Writer::create(&path, 0, 0).unwrap());
    let environment = Environment::open(&path).unwrap();
    assert!(environment.is_empty().unwrap());
    assert_eq!(environment.get("a").unwrap(), None);
}
