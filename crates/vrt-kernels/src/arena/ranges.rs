//! Which lines of an arena are free.

use std::collections::BTreeMap;
use std::ops::Range;

/// Free ranges of `0..len`, none of which touches another.
#[derive(Debug)]
pub(super) struct Ranges {
    /// From first to end.
    free: BTreeMap<usize, usize>,
    /// The end of the highest range that was ever taken.
    reached: usize,
}

impl Ranges {
    /// All of `0..len`.
    pub(super) fn new(len: usize) -> Self {
        Self { free: BTreeMap::from([(0, len)]), reached: 0 }
    }

    /// The lowest free range of this length, which is not zero: what lies high up is touched only when it must be.
    pub(super) fn take(&mut self, len: usize) -> Option<Range<usize>> {
        let fits = |(first, end): (&usize, &usize)| (end - first >= len).then_some((*first, *end));
        let (first, end) = self.free.iter().find_map(fits)?;
        self.free.remove(&first);
        self.reached = self.reached.max(first + len);
        if first + len < end {
            self.free.insert(first + len, end);
        }
        Some(first..first + len)
    }

    /// The end of the highest range that was ever taken.
    pub(super) fn reached(&self) -> usize {
        self.reached
    }

    /// Takes back what [`take`](Self::take) gave.
    pub(super) fn give_back(&mut self, range: Range<usize>) {
        let Range { start: mut first, end } = range;
        let end = self.free.remove(&end).unwrap_or(end);
        if let Some((before, before_end)) = self.free.range(..first).next_back()
            && *before_end == first
        {
            first = *before;
        }
        self.free.insert(first, end);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ranges_are_inside_apart_and_all_come_back(
            steps in prop::collection::vec((any::<bool>(), 1usize..40, any::<prop::sample::Index>()), 1..200),
        ) {
            let mut ranges = Ranges::new(256);
            let mut taken: Vec<Range<usize>> = Vec::new();
            for (takes, len, which) in steps {
                if takes {
                    let free = 256 - taken.iter().map(Range::len).sum::<usize>();
                    let Some(range) = ranges.take(len) else {
                        let longest = ranges.free.iter().map(|(first, end)| end - first).max();
                        prop_assert!(longest.unwrap_or(0) < len);
                        continue;
                    };
                    prop_assert!(range.len() == len && range.end <= 256 && len <= free);
                    prop_assert!(ranges.reached() >= range.end);
                    for other in &taken {
                        prop_assert!(range.end <= other.start || other.end <= range.start);
                    }
                    taken.push(range);
                } else if !taken.is_empty() {
                    ranges.give_back(taken.swap_remove(which.index(taken.len())));
                }
            }
            taken.into_iter().for_each(|range| ranges.give_back(range));
            prop_assert_eq!(ranges.free, BTreeMap::from([(0, 256)]));
        }
    }
}
