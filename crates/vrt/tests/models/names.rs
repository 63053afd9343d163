//! What a person means by weights.

use std::fs::{self, File};
use std::path::Path;

use tempfile::tempdir;
use vrt::models::{
    BuiltIn, BuiltInTask, Cache, Checked, NoWeights, Published, RemoveError, Weights, builtin,
    find, for_task,
};
use vrt::weights::{Architecture, settle};
use vrt_model::checkpoint::{Existing, Floats};

use crate::weights::{checkpoint, weights_file};

/// A table of one network, with the weights of a fixture in 16 bits.
fn built_in(name: &'static str) -> &'static [BuiltIn] {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.safetensors");
    let weights = checkpoint("deblur");
    let config = weights.config().unwrap();
    weights.write_safetensors_as(&path, &config, Floats::F16.into(), Existing::Keep).unwrap();
    let bytes = fs::read(path).unwrap().leak();
    vec![builtin::network(name, BuiltInTask::Restore, "better frames", bytes)].leak()
}

fn no_weights(named: &str, built_in: &'static [BuiltIn], cache: &Cache) -> NoWeights {
    find(Path::new(named), built_in, Some(cache)).expect_err(named)
}

#[test]
fn a_built_in_network_is_found_by_name_and_by_task_and_is_whole() {
    let table = built_in("restore");
    let cache = Cache::new("/no/such/folder");
    let named = find(Path::new("Restore"), table, Some(&cache)).unwrap();
    for weights in [named, for_task(BuiltInTask::Restore, table).unwrap()] {
        assert!(matches!(weights, Weights::BuiltIn(_)), "{weights:?}");
        let opened = weights.open(None).unwrap();
        let (config, opened) = settle(opened, &Architecture::Recognised).unwrap();
        let exact = checkpoint("deblur");
        assert!(config.same_network(&exact.config().unwrap()));
        for (name, values) in opened.parameters(&config).unwrap() {
            for (half, value) in values.iter().zip(exact.read(&name).unwrap()) {
                // Half of the last of 11 bits, and the smallest step near nothing.
                let step = value.abs() / 2048.0 + 3e-8;
                assert!((half - value).abs() <= step, "{name}: {half} {value}");
            }
        }
    }
    let other = for_task(BuiltInTask::Denoise, table).unwrap_err();
    assert_eq!(other, NoWeights::NotBuiltIn { task: "denoise" });
}

#[test]
fn the_name_of_a_task_means_its_network_whatever_that_is_called() {
    let table = vec![builtin::network("x4", BuiltInTask::Upscale, "", &[])].leak();
    for name in ["x4", "upscale", "Upscale"] {
        let found = find(Path::new(name), table, None).unwrap();
        assert!(matches!(found, Weights::BuiltIn(network) if network.name == "x4"), "{name}");
    }
    let error = find(Path::new("denoise"), table, None).unwrap_err();
    assert_eq!(error, NoWeights::NotBuiltIn { task: "denoise" });
}

#[test]
fn what_another_process_fetches_is_not_removed() {
    let folder = tempdir().unwrap();
    let cache = Cache::new(folder.path());
    let path = cache.path(Published::parse("009").unwrap());
    let beside = |ending: &str| path.with_added_extension(ending);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    for ending in ["part", "part.json", "json.new"] {
        fs::write(beside(ending), "begun").unwrap();
    }
    let lock = File::create(beside("lock")).unwrap();
    lock.lock().unwrap();
    let network = Published::parse("009").unwrap();
    let error = cache.remove(network).unwrap_err();
    assert!(matches!(error, RemoveError::Busy { .. }), "{error}");
    assert!(beside("part").exists());
    drop(lock);
    assert!(cache.remove(network).unwrap());
    let left = fs::read_dir(path.parent().unwrap()).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, [beside("lock")]);
}

#[test]
fn damaged_built_in_weights_are_an_error_that_names_them() {
    let table = vec![builtin::network("odd", BuiltInTask::Upscale, "", &[1, 2, 3])].leak();
    let error = for_task(BuiltInTask::Upscale, table).unwrap().open(None).unwrap_err();
    assert!(error.to_string().contains("built-in network odd"), "{error}");
}

#[test]
fn a_file_wins_and_a_published_name_means_the_cache() {
    let folder = tempdir().unwrap();
    let cache = Cache::new(folder.path().join("cache"));
    let file = folder.path().join("006");
    weights_file("deblur", &file);
    let found = find(&file, built_in("006"), Some(&cache)).unwrap();
    assert!(matches!(&found, Weights::File(path) if *path == file));
    found.open(None).unwrap();

    let network = Published::parse("006").unwrap();
    for name in ["006", "006_VRT_videodeblurring_GoPro", "006_vrt_videodeblurring_gopro"] {
        let error = no_weights(name, &[], &cache).to_string();
        assert!(error.contains("`vrt models fetch 006`"), "{error}");
        assert!(error.contains(cache.folder().to_str().unwrap()), "{error}");
    }
    fs::create_dir_all(cache.path(network).parent().unwrap()).unwrap();
    fs::write(cache.path(network), "weights").unwrap();
    for name in ["006", "006_VRT_videodeblurring_GoPro"] {
        let found = find(Path::new(name), &[], Some(&cache)).unwrap();
        assert!(matches!(found, Weights::File(path) if path == cache.path(network)));
    }
    // A path that leads nowhere is not quietly something else.
    for path in ["zoo/006_VRT_videodeblurring_GoPro.pth", "006.pth"] {
        let error = no_weights(path, &[], &cache);
        assert!(matches!(error, NoWeights::NoFile { published: Some("006"), .. }), "{error}");
        assert!(error.to_string().contains(path), "{error}");
    }
    assert!(find(Path::new("006"), &[], None).is_err());
}

#[test]
fn an_unknown_name_is_answered_with_a_similar_one() {
    let (table, cache) = (built_in("restore"), Cache::new("/no/such/folder"));
    for (name, nearest) in [
        ("restor", "restore"),
        ("006_VRT_videodeblurring_GoPr", "006_VRT_videodeblurring_GoPro"),
        ("06", "006"),
    ] {
        let error = no_weights(name, table, &cache);
        let text = error.to_string();
        assert!(text.contains(&format!("did you mean {nearest}?")), "{text}");
    }
    let error = no_weights("zebra", table, &cache);
    assert!(matches!(error, NoWeights::Unknown { nearest: None, .. }), "{error}");
    let error = no_weights("upscale", table, &cache);
    assert_eq!(error, NoWeights::NotBuiltIn { task: "upscale" });
    for named in ["", "..", "/", "a/b", "\u{fffd}", "mine.safetensors"] {
        find(Path::new(named), table, Some(&cache)).expect_err(named);
    }
}

#[test]
fn a_file_put_into_the_cache_by_hand_is_held_to_its_network() {
    let folder = tempdir().unwrap();
    let cache = Cache::new(folder.path());
    let network = Published::parse("009").unwrap();
    cache.check(network).expect_err("nothing is there");
    fs::create_dir_all(cache.path(network).parent().unwrap()).unwrap();
    fs::write(cache.path(network), "<html>not found</html>").unwrap();
    let error = cache.check(network).expect_err("a page").to_string();
    assert!(error.contains("web page"), "{error}");
    assert_eq!(cache.record(network), None);
    // Weights, but of a smaller network.
    let weights = checkpoint("interpolate");
    let config = weights.config().unwrap();
    weights.write_pth(&cache.path(network), &config, Existing::Replace).unwrap();
    cache.check(network).expect_err("another network");
    crate::program::write_009(&cache.path(network), 0.0);
    let Checked::Recorded(record) = cache.check(network).unwrap() else { panic!("recorded") };
    assert_eq!(record.source, None);
    assert_eq!(cache.check(network).unwrap(), Checked::Same(record.clone()));
    crate::program::write_009(&cache.path(network), f32::NAN);
    assert!(matches!(cache.check(network).unwrap(), Checked::Changed { .. }));
    fs::remove_file(cache.path(network).with_added_extension("json")).unwrap();
    let error = cache.check(network).expect_err("no numbers").to_string();
    assert!(error.contains("no numbers"), "{error}");
    assert!(error.contains(cache.path(network).to_str().unwrap()), "{error}");
    assert!(cache.remove(network).unwrap());
    assert!(!cache.remove(network).unwrap());
}
