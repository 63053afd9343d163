//! Reads samples ahead of the step, on threads of its own, in bounded memory.
//!
//! What a sample is depends on its position alone; threads only change when it is ready.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::chance::{Purpose, generator};
use crate::order::{Order, Place, Shard};
use crate::samples::{Sample, SampleError, Samples};

/// Batches that may be ready or under way beside the one that is trained with.
const BATCHES_AHEAD: usize = 2;

/// A sample to read.
#[derive(Clone, Copy, Debug)]
struct Job {
    /// Counts this rank's samples, from where reading began.
    index: u64,
    place: Place,
    /// Which sample of the set.
    sample: usize,
}

/// What a thread reads with.
struct Worker {
    set: Arc<dyn Samples>,
    seed: u64,
    to_do: Receiver<Job>,
    finished: Sender<(u64, Result<Sample, SampleError>)>,
}

impl Worker {
    fn run(self) {
        for Job { index, place, sample } in self.to_do {
            let mut random = generator(self.seed, Purpose::Sample, [place.epoch, place.index]);
            let read = self.set.sample(sample, &mut random);
            // Nobody listens any more once the run ends.
            if self.finished.send((index, read)).is_err() {
                return;
            }
        }
    }
}

/// Samples in order of position, read ahead.
#[derive(Debug)]
pub struct Prefetch {
    order: Order,
    shard: Shard,
    start: u64,
    /// Samples that were asked for, and those that were handed out.
    asked: u64,
    given: u64,
    jobs: Sender<Job>,
    done: Receiver<(u64, Result<Sample, SampleError>)>,
    /// Samples that are ready before their turn.
    waiting: BTreeMap<u64, Result<Sample, SampleError>>,
}

/// How samples are read.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Seed of all chance.
    pub seed: u64,
    /// Whether the order is drawn anew for each epoch.
    pub shuffle: bool,
    /// Threads.
    pub workers: usize,
    /// Whose samples.
    pub shard: Shard,
}

/// No more samples come.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrefetchError {
    /// A sample cannot be read.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// The system gives no threads, or they ended.
    #[error("the threads that read samples ended: {0}")]
    Threads(String),
}

impl Prefetch {
    /// Begins to read at the batch that starts at `position`.
    ///
    /// # Errors
    ///
    /// If the system refuses threads.
    ///
    /// # Panics
    ///
    /// Panics if the set is empty.
    pub fn new(
        set: &Arc<dyn Samples>,
        reading: Reading,
        position: u64,
    ) -> Result<Self, PrefetchError> {
        let Reading { seed, shuffle, workers, shard } = reading;
        let (jobs, to_do) = unbounded::<Job>();
        let (finished, done) = unbounded();
        for i in 0..workers.max(1) {
            let worker = Worker {
                set: Arc::clone(set),
                seed,
                to_do: to_do.clone(),
                finished: finished.clone(),
            };
            let work = move || worker.run();
            let name = format!("read-{i}");
            thread::Builder::new()
                .name(name)
                .spawn(work)
                .map_err(|error| PrefetchError::Threads(error.to_string()))?;
        }
        let order = Order::new(seed, set.len(), shuffle);
        let waiting = BTreeMap::new();
        let (start, asked, given) = (position, 0, 0);
        Ok(Self { order, shard, start, asked, given, jobs, done, waiting })
    }

    /// The next batch of this rank.
    ///
    /// # Errors
    ///
    /// If one of its samples cannot be read.
    pub fn batch(&mut self) -> Result<Vec<Sample>, PrefetchError> {
        (0..self.shard.share()).map(|_| self.next()).collect()
    }

    fn next(&mut self) -> Result<Sample, PrefetchError> {
        let ended = || PrefetchError::Threads("none is left".to_owned());
        let ahead = ((BATCHES_AHEAD + 1) * self.shard.share()) as u64;
        while self.asked < self.given + ahead {
            let place = self.order.place(self.shard.position(self.start, self.asked));
            let job = Job { index: self.asked, place, sample: self.order.sample(place) };
            self.jobs.send(job).map_err(|_| ended())?;
            self.asked += 1;
        }
        let sample = loop {
            if let Some(sample) = self.waiting.remove(&self.given) {
                break sample?;
            }
            let (index, sample) = self.done.recv().map_err(|_| ended())?;
            self.waiting.insert(index, sample);
        };
        self.given += 1;
        Ok(sample)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use rand::RngExt;
    use rand_chacha::ChaCha8Rng;
    use vrt_model::volume::Volume;

    use super::*;

    /// Samples that tell their index and a number that was drawn; late at random, so that threads
    /// overtake each other.
    struct Numbers {
        read: AtomicU64,
        broken: Option<usize>,
    }

    impl Samples for Numbers {
        fn len(&self) -> usize {
            10
        }

        fn sample(&self, index: usize, random: &mut ChaCha8Rng) -> Result<Sample, SampleError> {
            let read = self.read.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_micros(read * 7919 % 400));
            if self.broken == Some(index) {
                return Err(SampleError::Source("broken".into()));
            }
            let value = Volume::filled([1, 1, 1, 1], random.random()).unwrap();
            Ok(Sample { key: index.to_string(), degraded: value.clone(), sharp: value })
        }
    }

    fn read(workers: usize, shard: Shard, start: u64, batches: usize) -> Vec<(String, f32)> {
        let set: Arc<dyn Samples> = Arc::new(Numbers { read: AtomicU64::new(0), broken: None });
        let reading = Reading { seed: 5, shuffle: true, workers, shard };
        let mut prefetch = Prefetch::new(&set, reading, start).unwrap();
        let samples = (0..batches).flat_map(|_| prefetch.batch().unwrap());
        samples.map(|sample| (sample.key, sample.sharp.samples()[0])).collect()
    }

    const ALONE: Shard = Shard { rank: 0, ranks: 1, batch: 4 };

    #[test]
    fn samples_depend_on_their_position_alone() {
        let all = read(1, ALONE, 0, 8);
        assert_eq!(read(3, ALONE, 0, 8), all);
        assert_eq!(read(2, ALONE, 12, 5), all[12..]);
        let ranks: Vec<_> =
            (0..2).map(|rank| read(2, Shard { rank, ranks: 2, ..ALONE }, 0, 8)).collect();
        for batch in 0..8 {
            assert_eq!(ranks[0][2 * batch..][..2], all[4 * batch..][..2]);
            assert_eq!(ranks[1][2 * batch..][..2], all[4 * batch + 2..][..2]);
        }
    }

    #[test]
    fn memory_is_bounded() {
        let numbers = Arc::new(Numbers { read: AtomicU64::new(0), broken: None });
        let set: Arc<dyn Samples> = Arc::clone(&numbers) as _;
        let reading = Reading { seed: 5, shuffle: false, workers: 3, shard: ALONE };
        let mut prefetch = Prefetch::new(&set, reading, 0).unwrap();
        prefetch.batch().unwrap();
        thread::sleep(Duration::from_millis(20));
        let most = ((BATCHES_AHEAD + 1) * 4 + 3) as u64;
        assert!(numbers.read.load(Ordering::Relaxed) <= most);
    }

    #[test]
    fn a_sample_that_cannot_be_read_ends_the_batch_it_is_in() {
        let set: Arc<dyn Samples> = Arc::new(Numbers { read: AtomicU64::new(0), broken: Some(5) });
        let reading = Reading { seed: 5, shuffle: false, workers: 2, shard: ALONE };
        let mut prefetch = Prefetch::new(&set, reading, 0).unwrap();
        assert_eq!(prefetch.batch().unwrap().len(), 4);
        assert_eq!(prefetch.batch().unwrap_err().to_string(), "broken");
    }
}
