//! The name a person may have meant.

/// The known name most like `wanted`, unless none is like it at all: more than a third of the
/// letters would have to change.
pub fn nearest<S: AsRef<str>>(wanted: &str, known: impl IntoIterator<Item = S>) -> Option<String> {
    let distances = known.into_iter().map(|name| (distance(wanted, name.as_ref()), name));
    let (changes, name) = distances.min_by_key(|(changes, _)| *changes)?;
    let name = name.as_ref();
    let letters = wanted.chars().count().max(name.chars().count());
    (3 * changes <= letters).then(|| name.to_owned())
}

/// Letters to insert, delete or replace to get from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_changed_letters() {
        for (from, to, changes) in
            [("", "abc", 3), ("abc", "abc", 0), ("depth", "depths", 1), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(from, to), changes, "{from} {to}");
            assert_eq!(distance(to, from), changes, "{to} {from}");
        }
    }

    #[test]
    fn only_a_similar_name_is_suggested() {
        let known = ["depths", "embed_dims", "num_heads"];
        assert_eq!(nearest("dephts", known).as_deref(), Some("depths"));
        assert_eq!(nearest("embeddims", known).as_deref(), Some("embed_dims"));
        assert_eq!(nearest("spynet", known), None);
    }
}
