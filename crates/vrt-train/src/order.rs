//! Which sample comes when: epochs of all samples one behind the other, without an end.

use rand::RngExt;

use crate::chance::{Purpose, generator};

/// A sample's place in the endless stream of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Which pass over all samples, from 0.
    pub epoch: u64,
    /// Which sample of that pass, from 0.
    pub index: u64,
}

/// The order of `samples` samples.
#[derive(Clone, Debug)]
pub struct Order {
    seed: u64,
    samples: usize,
    shuffle: bool,
    /// The epoch that was asked for last, and its order.
    drawn: Option<(u64, Vec<usize>)>,
}

impl Order {
    /// The order that follows from a seed; the order of the list itself without `shuffle`.
    ///
    /// # Panics
    ///
    /// Panics if there are no samples.
    pub fn new(seed: u64, samples: usize, shuffle: bool) -> Self {
        assert!(samples > 0, "an order of no samples");
        Self { seed, samples, shuffle, drawn: None }
    }

    /// The place of the sample that `position` others come before.
    pub fn place(&self, position: u64) -> Place {
        let samples = self.samples as u64;
        Place { epoch: position / samples, index: position % samples }
    }

    /// The sample at a place, an index into the set.
    pub fn sample(&mut self, place: Place) -> usize {
        let at = place.index as usize;
        if !self.shuffle {
            return at;
        }
        if self.drawn.as_ref().is_none_or(|(epoch, _)| *epoch != place.epoch) {
            self.drawn = Some((place.epoch, self.draw(place.epoch)));
        }
        self.drawn.as_ref().map_or(at, |(_, order)| order[at])
    }

    /// A permutation: Fisher and Yates.
    fn draw(&self, epoch: u64) -> Vec<usize> {
        let mut random = generator(self.seed, Purpose::Order, [epoch, 0]);
        let mut order: Vec<usize> = (0..self.samples).collect();
        for last in (1..order.len()).rev() {
            order.swap(last, random.random_range(0..=last));
        }
        order
    }
}

/// The samples of one rank: from each batch its share, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which rank, from 0.
    pub rank: usize,
    /// Ranks in all.
    pub ranks: usize,
    /// Samples of a batch over all ranks; a multiple of `ranks`.
    pub batch: usize,
}

impl Shard {
    /// Samples of a batch that this rank has.
    pub fn share(self) -> usize {
        self.batch / self.ranks
    }

    /// The position of this rank's sample `index`, counted from the batch at position `start`.
    pub fn position(self, start: u64, index: u64) -> u64 {
        let share = self.share() as u64;
        let (batch, within) = (index / share, index % share);
        start + batch * self.batch as u64 + self.rank as u64 * share + within
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_epoch_has_every_sample_once(seed in any::<u64>(), samples in 1..60_usize, epoch in 0..5_u64) {
            let mut order = Order::new(seed, samples, true);
            let first = epoch * samples as u64;
            let mut seen: Vec<_> = (first..first + samples as u64)
                .map(|position| order.sample(order.place(position)))
                .collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..samples).collect::<Vec<_>>());
        }

        #[test]
        fn the_order_does_not_depend_on_where_one_begins(seed in any::<u64>(), start in 0..200_u64) {
            let mut whole = Order::new(seed, 17, true);
            let all: Vec<_> = (0..260).map(|at| whole.sample(whole.place(at))).collect();
            let mut later = Order::new(seed, 17, true);
            for position in start..start + 50 {
                prop_assert_eq!(later.sample(later.place(position)), all[position as usize]);
            }
        }

        #[test]
        fn ranks_share_each_batch(ranks in 1..5_usize, share in 1..4_usize, start in 0..9_u64) {
            let batch = ranks * share;
            let mut seen: Vec<_> = (0..ranks)
                .flat_map(|rank| {
                    let shard = Shard { rank, ranks, batch };
                    (0..2 * share as u64).map(move |index| shard.position(start, index))
                })
                .collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (start..start + 2 * batch as u64).collect::<Vec<_>>());
        }
    }

    #[test]
    fn epochs_differ_and_lists_keep_their_order_unless_shuffled() {
        let mut order = Order::new(3, 50, true);
        let epoch = |order: &mut Order, n: u64| -> Vec<usize> {
            (0..50).map(|at| order.sample(Place { epoch: n, index: at })).collect()
        };
        assert_ne!(epoch(&mut order, 0), epoch(&mut order, 1));
        let mut list = Order::new(3, 50, false);
        assert_eq!(epoch(&mut list, 1), (0..50).collect::<Vec<_>>());
    }
}
