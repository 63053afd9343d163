//! Ranks that are processes, on one machine or many, connected by MPI.
//!
//! An operation of MPI that fails ends all ranks with MPI's message: that is how MPI libraries are
//! set up, and why such failures are not errors here. A rank that dies is noticed by `mpirun`,
//! which says so and ends the others.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ::mpi::Threading;
use ::mpi::environment::Universe;
use ::mpi::topology::SimpleCommunicator;
use ::mpi::traits::{Communicator, CommunicatorCollectives, Root};

use super::exchange::{self, CHUNK, Exchange};
use super::launch::Launch;
use super::{Call, Collective, CollectiveError};

/// The exit code of a program that panics.
const PANICKED: i32 = 101;

/// This process among those that `mpirun`, or `srun` with MPI, has started.
///
/// Dropping it waits for all ranks. One that has failed ends them by [`Collective::abandon`] before
/// that; one that panics ends them by itself.
pub struct Mpi {
    // MPI is told that calls come from any thread, one at a time: the lock keeps that promise.
    universe: Mutex<Universe>,
    rank: usize,
    size: usize,
}

impl Mpi {
    /// Joins the other ranks, and holds what a launcher said to what MPI says.
    ///
    /// # Errors
    ///
    /// - [`CollectiveError::StartedBefore`]: a process joins once
    /// - [`CollectiveError::OneThread`]: the MPI library does not work with threads
    /// - [`CollectiveError::OtherWorld`]: MPI does not see the ranks that `launch` speaks of
    pub fn start(launch: Option<&Launch>) -> Result<Self, CollectiveError> {
        let (universe, threading) = ::mpi::initialize_with_threading(Threading::Serialized)
            .ok_or(CollectiveError::StartedBefore)?;
        if threading < Threading::Serialized {
            return Err(CollectiveError::OneThread);
        }
        let world = universe.world();
        // MPI counts in non-negative `int`s.
        let [rank, size] = [world.rank(), world.size()].map(|n| n.unsigned_abs() as usize);
        if let Some(launch) = launch.filter(|launch| (launch.rank(), launch.size()) != (rank, size))
        {
            return Err(CollectiveError::OtherWorld {
                launcher: launch.launcher(),
                rank: launch.rank(),
                size: launch.size(),
                mpi_rank: rank,
                mpi_size: size,
            });
        }
        Ok(Self { universe: Mutex::new(universe), rank, size })
    }

    /// All ranks, and the right to call MPI.
    fn world(&self) -> (MutexGuard<'_, Universe>, SimpleCommunicator) {
        let universe = self.universe.lock().unwrap_or_else(PoisonError::into_inner);
        let world = universe.world();
        (universe, world)
    }
}

impl fmt::Debug for Mpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mpi").field("rank", &self.rank).field("size", &self.size).finish()
    }
}

impl Drop for Mpi {
    fn drop(&mut self) {
        // Leaving MPI waits for the other ranks, and they wait for this one's values.
        if std::thread::panicking() {
            self.abandon(PANICKED);
        }
    }
}

impl Exchange for Mpi {
    fn ranks(&self) -> usize {
        self.size
    }

    fn calls(&self, own: Call) -> Result<Vec<Call>, CollectiveError> {
        let (_lock, world) = self.world();
        let mut all = vec![0; 3 * self.size];
        world.all_gather_into(&own.words()[..], &mut all[..]);
        let (all, _) = all.as_chunks::<3>();
        all.iter().enumerate().map(|(rank, words)| Call::of_words(rank, *words)).collect()
    }

    fn all_to_all(&self, sent: &[f32], received: &mut [f32]) -> Result<(), CollectiveError> {
        let (_lock, world) = self.world();
        world.all_to_all_into(sent, received);
        Ok(())
    }

    fn all_gather(&self, part: &[f32], whole: &mut [f32]) -> Result<(), CollectiveError> {
        let (_lock, world) = self.world();
        world.all_gather_into(part, whole);
        Ok(())
    }

    fn spread(&self, values: &mut [f32], root: usize) -> Result<(), CollectiveError> {
        let (_lock, world) = self.world();
        let root = i32::try_from(root)
            .map_err(|_| CollectiveError::NoSuchRank { root, size: self.size })?;
        world.process_at_rank(root).broadcast_into(values);
        Ok(())
    }
}

impl Collective for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
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

    fn abandon(&self, code: i32) {
        self.world().1.abort(code)
    }
}
