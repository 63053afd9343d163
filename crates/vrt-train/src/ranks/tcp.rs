//! Ranks that are processes, on one machine or many, connected by TCP: for launchers that start
//! processes and do not connect them, as torchrun, and for programs without MPI.
//!
//! Every rank has a connection to every other. A rank that dies closes its connections, which is an
//! error to the others; that a machine is gone is noticed within five minutes (on Linux). As with
//! MPI, nothing is encrypted and whoever reaches the ports is trusted: this is for networks of
//! clusters, which strangers do not reach.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::exchange::{self, CHUNK, Exchange};
use super::launch::Master;
use super::{Call, Collective, CollectiveError, Waiting};

mod error;
mod meeting;
mod socket;
#[cfg(test)]
mod tests;
mod words;

pub use self::error::{MeetingError, Ports};

/// Bytes that a connection takes before anybody reads them.
const SMALL: usize = 4096;

/// One of several processes that are connected by TCP.
///
/// When one is dropped, the others' next operation is an error.
#[derive(Debug)]
pub struct Tcp {
    rank: usize,
    /// A connection to every rank; none to itself.
    links: Vec<Option<TcpStream>>,
    /// Held during an operation: one at a time. An error behind which ranks do not understand each
    /// other any more stays.
    turn: Mutex<Result<(), CollectiveError>>,
}

impl Tcp {
    /// Meets the other ranks: the first listens at the port of `master`, or at another one of
    /// [`Ports`], and tells the others where they find each other, at ports of their own.
    ///
    /// # Errors
    ///
    /// [`CollectiveError::Meeting`] if they have not all come in time.
    ///
    /// # Panics
    ///
    /// Panics if `rank` is not below `size`.
    pub fn start(
        rank: usize,
        size: usize,
        master: &Master,
        waiting: Waiting<'_>,
    ) -> Result<Self, CollectiveError> {
        assert!(rank < size, "rank {rank} of {size}");
        let links = meeting::meet(rank, size, master, waiting)?;
        Ok(Self { rank, links, turn: Mutex::new(Ok(())) })
    }

    /// Does one operation, unless one before it was lost.
    fn take_turn(
        &self,
        operation: impl FnOnce() -> Result<(), CollectiveError>,
    ) -> Result<(), CollectiveError> {
        let mut turn: MutexGuard<'_, _> = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        turn.clone()?;
        let done = operation();
        // All ranks know of the others, and nothing else is on the way.
        let goes_on = matches!(
            done,
            Ok(()) | Err(CollectiveError::Differs { .. } | CollectiveError::NoSuchRank { .. })
        );
        if !goes_on {
            turn.clone_from(&done);
        }
        done
    }

    /// The connection to another rank.
    fn link(&self, rank: usize) -> Result<&TcpStream, CollectiveError> {
        self.links[rank].as_ref().ok_or(CollectiveError::Gone { rank })
    }

    fn send(&self, rank: usize, bytes: &[u8]) -> Result<(), CollectiveError> {
        self.link(rank)?.write_all(bytes).map_err(|error| lost(rank, &error))
    }

    fn receive(&self, rank: usize, bytes: &mut [u8]) -> Result<(), CollectiveError> {
        self.link(rank)?.read_exact(bytes).map_err(|error| lost(rank, &error))
    }

    /// The other ranks in pairs, whom to send to and whom to hear from at the same time: every rank
    /// sends to one and hears from one in every round.
    fn rounds(&self) -> impl Iterator<Item = (usize, usize)> {
        let (rank, size) = (self.rank, self.links.len());
        (1..size).map(move |away| ((rank + away) % size, (rank + size - away) % size))
    }

    /// Sends to one rank while it receives from another: neither waits for the other to be read.
    fn pass(
        &self,
        (to, sent): (usize, &[f32]),
        (from, received): (usize, &mut [f32]),
    ) -> Result<(), CollectiveError> {
        let (sent, received) = (bytemuck::cast_slice(sent), bytemuck::cast_slice_mut(received));
        if sent.len() <= SMALL {
            self.send(to, sent)?;
            return self.receive(from, received);
        }
        std::thread::scope(|scope| {
            let sending = std::thread::Builder::new().spawn_scoped(scope, || self.send(to, sent));
            let sending = sending.map_err(|error| lost(to, &error))?;
            let received = self.receive(from, received);
            let sent = sending.join().unwrap_or(Err(CollectiveError::Gone { rank: to }));
            received.and(sent)
        })
    }
}

/// What an error of a connection says about the rank at its other end.
fn lost(rank: usize, error: &io::Error) -> CollectiveError {
    match error.kind() {
        ErrorKind::UnexpectedEof
        | ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::BrokenPipe
        | ErrorKind::NotConnected => CollectiveError::Gone { rank },
        _ => CollectiveError::Unreachable { rank, why: error.to_string() },
    }
}

impl Exchange for Tcp {
    fn ranks(&self) -> usize {
        self.links.len()
    }

    fn calls(&self, own: Call) -> Result<Vec<Call>, CollectiveError> {
        // A few bytes, far fewer than [`SMALL`].
        let words = own.words();
        for (to, _) in self.rounds() {
            self.send(to, bytemuck::bytes_of(&words))?;
        }
        let mut calls = vec![own; self.ranks()];
        for (_, from) in self.rounds() {
            let mut words = [0; 3];
            self.receive(from, bytemuck::bytes_of_mut(&mut words))?;
            calls[from] = Call::of_words(from, words)?;
        }
        Ok(calls)
    }

    fn all_to_all(&self, sent: &[f32], received: &mut [f32]) -> Result<(), CollectiveError> {
        let part = sent.len() / self.ranks();
        let of = |rank: usize| rank * part..(rank + 1) * part;
        received[of(self.rank)].copy_from_slice(&sent[of(self.rank)]);
        self.rounds().try_for_each(|(to, from)| {
            self.pass((to, &sent[of(to)]), (from, &mut received[of(from)]))
        })
    }

    fn all_gather(&self, part: &[f32], whole: &mut [f32]) -> Result<(), CollectiveError> {
        let of = |rank: usize| rank * part.len()..(rank + 1) * part.len();
        whole[of(self.rank)].copy_from_slice(part);
        self.rounds().try_for_each(|(to, from)| self.pass((to, part), (from, &mut whole[of(from)])))
    }

    fn spread(&self, values: &mut [f32], root: usize) -> Result<(), CollectiveError> {
        let bytes = bytemuck::cast_slice_mut(values);
        if self.rank != root {
            return self.receive(root, bytes);
        }
        self.rounds().try_for_each(|(to, _)| self.send(to, bytes))
    }
}

impl Collective for Tcp {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.links.len()
    }

    fn sum(&self, values: &mut [f32]) -> Result<(), CollectiveError> {
        self.take_turn(|| exchange::sum(self, values, CHUNK))
    }

    fn broadcast(&self, values: &mut [f32], root: usize) -> Result<(), CollectiveError> {
        self.take_turn(|| exchange::broadcast(self, values, root))
    }

    fn barrier(&self) -> Result<(), CollectiveError> {
        self.take_turn(|| exchange::barrier(self))
    }

    /// Closes the connections: the others end by the error that it is to them.
    fn abandon(&self, _code: i32) {
        for link in self.links.iter().flatten() {
            // One that is closed already is what is wanted.
            drop::<io::Result<()>>(link.shutdown(Shutdown::Both));
        }
    }
}
