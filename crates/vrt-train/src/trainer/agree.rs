//! Whether all ranks were told the same.

use serde_json::Value;

use crate::ranks::{Collective, CollectiveError};
use crate::recipe::Recipe;

use super::TrainError;

/// Holds the options of all ranks to each other, but for paths, which may differ between machines.
pub(super) fn agree(recipe: &Recipe, ranks: &dyn Collective) -> Result<(), TrainError> {
    match first_to_differ(mark(&recipe.resolved()), ranks)? {
        Some(rank) => Err(TrainError::OtherOptions { rank }),
        None => Ok(()),
    }
}

/// Holds the numbers of samples of all ranks to each other: the order is drawn from them.
pub(super) fn agree_on(samples: usize, ranks: &dyn Collective) -> Result<(), TrainError> {
    let mark = crc32c::crc32c(&(samples as u64).to_le_bytes());
    match first_to_differ(mark, ranks)? {
        Some(rank) => Err(TrainError::OtherSamples { rank }),
        None => Ok(()),
    }
}

/// The first rank whose mark is not that of rank 0, the same on all ranks.
fn first_to_differ(own: u32, ranks: &dyn Collective) -> Result<Option<usize>, CollectiveError> {
    // Halves are numbers that an `f32` takes.
    let own = [own >> 16, own & 0xffff].map(|half| half as f32);
    let mut firsts = own;
    ranks.broadcast(&mut firsts, 0)?;
    let mut differs = vec![0.0; ranks.size()];
    differs[ranks.rank()] = f32::from(u8::from(own != firsts));
    ranks.sum(&mut differs)?;
    Ok(differs.iter().position(|differs| *differs > 0.0))
}

/// A number for what options say beside paths.
fn mark(resolved: &str) -> u32 {
    let mut options: Value = serde_json::from_str(resolved).unwrap_or_default();
    if let Value::Object(options) = &mut options {
        options.remove("path");
        options.get_mut("datasets").map(forget_paths);
        options.get_mut("netG").and_then(Value::as_object_mut).map(|net| net.remove("spynet_path"));
    }
    crc32c::crc32c(options.to_string().as_bytes())
}

/// Keys of sets that are paths.
const PATHS: [&str; 6] =
    ["dataroot_gt", "dataroot_lq", "dataroot_spike", "meta_info_file", "batch_file", "spike_align"];

/// Takes the paths out of a section and those in it.
fn forget_paths(value: &mut Value) {
    let Value::Object(section) = value else { return };
    section.retain(|key, _| !PATHS.contains(&key.as_str()));
    section.values_mut().for_each(forget_paths);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ranks::local::group;

    const OPTIONS: &str = r#"{"path": {"root": "a"}, "datasets": {"train": {"dataroot_gt": "b",
        "gt_size": 64, "filename_ext": "png"}}, "netG": {"depths": [8], "spynet_path": "c"}, "train": {"E_decay": 0}}"#;

    #[test]
    fn paths_may_differ_and_numbers_may_not() {
        for (old, new, same) in [
            (r#""root": "a""#, r#""root": "x""#, true),
            (r#""b""#, r#""/mnt/b""#, true),
            (r#""c""#, r#""/mnt/c""#, true),
            ("64", "96", false),
            ("png", "jpg", false),
            ("[8]", "[4]", false),
            (r#""E_decay": 0"#, r#""E_decay": 0.9"#, false),
        ] {
            let other = OPTIONS.replace(old, new);
            assert_ne!(other, OPTIONS);
            assert_eq!(mark(&other) == mark(OPTIONS), same, "{old} {new}");
        }
    }

    #[test]
    fn all_ranks_hear_who_differs() {
        for (marks, first) in
            [([7, 7, 7], None), ([7, 7, 8], Some(2)), ([0xffff_fff0, 1, 0], Some(1))]
        {
            let found: Vec<_> = std::thread::scope(|scope| {
                let start = |rank: crate::ranks::local::LocalRank| {
                    scope.spawn(move || first_to_differ(marks[rank.rank()], &rank))
                };
                let threads: Vec<_> = group(3).into_iter().map(start).collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).collect()
            });
            assert_eq!(found, vec![Ok(first); 3]);
        }
    }
}
