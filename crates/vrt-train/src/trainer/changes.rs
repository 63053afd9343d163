//! What a run is told that it was not before.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// What the second of two option files has otherwise, key by key.
pub(super) fn changes(before: &str, now: &str) -> Vec<String> {
    let [before, now] = [before, now].map(|text| {
        let mut keys = BTreeMap::new();
        leaves(&serde_json::from_str(text).unwrap_or_default(), "", &mut keys);
        keys
    });
    let all: BTreeSet<_> = before.keys().chain(now.keys()).collect();
    let all = all.into_iter().filter(|key| before.get(*key) != now.get(*key));
    let value = |value: Option<&String>| value.cloned().unwrap_or_else(|| "nothing".to_owned());
    all.map(|key| format!("{key} {}, was {}", value(now.get(key)), value(before.get(key))))
        .collect()
}

/// All values that are no sections, as JSON, by their keys with those of their sections.
fn leaves(value: &Value, key: &str, into: &mut BTreeMap<String, String>) {
    let Value::Object(section) = value else {
        into.insert(key.to_owned(), value.to_string());
        return;
    };
    for (name, value) in section {
        let dot = if key.is_empty() { "" } else { "." };
        leaves(value, &format!("{key}{dot}{name}"), into);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_by_key() {
        let before = r#"{"datasets": {"train": {"gt_size": 64}}, "train": {"E_decay": 0}}"#;
        let now = r#"{"datasets": {"train": {"gt_size": 96}}, "train": {"seed": 1}}"#;
        let expected = [
            "datasets.train.gt_size 96, was 64",
            "train.E_decay nothing, was 0",
            "train.seed 1, was nothing",
        ];
        assert_eq!(changes(before, now), expected);
        assert!(changes(before, before).is_empty());
    }
}
