//! Ranks that are threads of one process.

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::exchange::{self, CHUNK, Exchange};
use super::{Call, Collective, CollectiveError};

/// One of several ranks in a process; made by [`group`], for a thread of its own.
///
/// When one is dropped, the others' next operation is an error.
#[derive(Debug)]
pub struct LocalRank {
    rank: usize,
    calls: Lanes<Call>,
    values: Lanes<Vec<f32>>,
}

/// The ranks of a group of `size`, in order.
///
/// # Panics
///
/// Panics if `size` is zero.
pub fn group(size: usize) -> Vec<LocalRank> {
    assert!(size > 0, "a group has at least one rank");
    let lanes = Lanes::group(size).into_iter().zip(Lanes::group(size));
    lanes.enumerate().map(|(rank, (calls, values))| LocalRank { rank, calls, values }).collect()
}

/// A channel from one rank to every rank and from every rank to it.
#[derive(Debug)]
struct Lanes<T> {
    to: Vec<Sender<T>>,
    from: Vec<Receiver<T>>,
}

impl<T> Lanes<T> {
    /// The lanes of every rank of a group.
    fn group(size: usize) -> Vec<Self> {
        let mut group: Vec<_> =
            (0..size).map(|_| Self { to: Vec::new(), from: Vec::new() }).collect();
        for from in 0..size {
            for to in 0..size {
                let (sender, receiver) = unbounded();
                group[from].to.push(sender);
                group[to].from.push(receiver);
            }
        }
        group
    }

    /// Sends to every rank, in order, also if one is gone: the others wait for it.
    fn send(&self, messages: impl Iterator<Item = T>) -> Result<(), CollectiveError> {
        let mut gone = None;
        for (rank, (to, message)) in self.to.iter().zip(messages).enumerate() {
            if to.send(message).is_err() {
                gone = gone.or(Some(rank));
            }
        }
        gone.map_or(Ok(()), |rank| Err(CollectiveError::Gone { rank }))
    }

    /// The next message of a rank.
    fn receive(&self, rank: usize) -> Result<T, CollectiveError> {
        self.from[rank].recv().map_err(|_| CollectiveError::Gone { rank })
    }
}

impl Exchange for LocalRank {
    fn ranks(&self) -> usize {
        self.calls.to.len()
    }

    fn calls(&self, own: Call) -> Result<Vec<Call>, CollectiveError> {
        self.calls.send(std::iter::repeat(own))?;
        (0..self.ranks()).map(|rank| self.calls.receive(rank)).collect()
    }

    fn all_to_all(&self, sent: &[f32], received: &mut [f32]) -> Result<(), CollectiveError> {
        let part = sent.len() / self.ranks();
        self.values.send(sent.chunks_exact(part).map(<[f32]>::to_vec))?;
        for (rank, part) in received.chunks_exact_mut(part).enumerate() {
            part.copy_from_slice(&self.values.receive(rank)?);
        }
        Ok(())
    }

    fn all_gather(&self, part: &[f32], whole: &mut [f32]) -> Result<(), CollectiveError> {
        self.all_to_all(&part.repeat(self.ranks()), whole)
    }

    fn spread(&self, values: &mut [f32], root: usize) -> Result<(), CollectiveError> {
        if self.rank == root {
            self.values.send(std::iter::repeat_with(|| values.to_vec()))?;
        }
        values.copy_from_slice(&self.values.receive(root)?);
        Ok(())
    }
}

impl Collective for LocalRank {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.ranks()
    }

    fn sum(&self, values: &mut [f32]) -> Result<(), CollectiveError> {
        exchange::sum(self, values, CHUNK)
    }

    fn broadcast(&self, values: &mut [f32], root: usize) -> Result<(), CollectiveError> {
        exchange::broadcast(self, values, root)
    }

    fn barrier(&self) -> Result<(), CollectiveError> {
        exchange::barrier(self)
    }

    fn abandon(&self, _code: i32) {}
}
