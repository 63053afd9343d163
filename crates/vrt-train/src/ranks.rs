//! One training run in several processes, its ranks: who they are and how they add up gradients.
//!
//! [`launch::detect`] says which rank a launcher made of this process, [`connect`] makes of that a
//! [`Collective`]: how it meets the others. [`Single`] is one process, [`local`] several threads of
//! one; [`tcp`] and `mpi`, which is behind the feature of that name, connect processes on one or
//! many machines.
//!
//! Sums are taken in the order of the ranks, each element by one rank, and handed to all: so they
//! are the same bits on every rank and in every run, whatever the network between them is.

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

pub use self::call::Call;
use self::launch::{Launch, Launcher, Master};
use self::tcp::MeetingError;

mod call;
mod exchange;
pub mod launch;
pub mod local;
#[cfg(feature = "mpi")]
pub mod mpi;
pub mod tcp;
#[cfg(test)]
mod tests;

/// The ranks of a run, seen from one of them.
///
/// All ranks call the same operations in the same order, with as many values; ranks that do not
/// are told so by an error.
pub trait Collective: Send + Sync + fmt::Debug {
    /// This process: 0 for the first, below [`Collective::size`].
    fn rank(&self) -> usize;

    /// How many ranks there are, at least one.
    fn size(&self) -> usize;

    /// Replaces `values` by their sum over all ranks, element by element.
    ///
    /// The sum of an element is `((x₀ + x₁) + x₂) + …` in the order of the ranks: the same bits on
    /// all of them.
    ///
    /// # Errors
    ///
    /// [`CollectiveError`] if another rank is gone or calls something else; `values` are then
    /// partly summed and of no use.
    fn sum(&self, values: &mut [f32]) -> Result<(), CollectiveError>;

    /// Replaces `values` by those of rank `root`.
    ///
    /// # Errors
    ///
    /// [`CollectiveError`] if there is no such rank, or if another one is gone or calls something
    /// else.
    fn broadcast(&self, values: &mut [f32], root: usize) -> Result<(), CollectiveError>;

    /// Waits until all ranks have come here.
    ///
    /// # Errors
    ///
    /// [`CollectiveError`] if another rank is gone or calls something else.
    fn barrier(&self) -> Result<(), CollectiveError>;

    /// Tells the others that this rank goes no further.
    ///
    /// A rank that has failed calls this after it has said why: the others wait for it in their
    /// next operation, and for ever. MPI ends all processes with the exit code and does not return;
    /// elsewhere the others' next operation is an error.
    fn abandon(&self, code: i32);
}

/// The only rank there is: one process, or one that trains alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Single;

impl Collective for Single {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn sum(&self, _values: &mut [f32]) -> Result<(), CollectiveError> {
        Ok(())
    }

    fn broadcast(&self, _values: &mut [f32], root: usize) -> Result<(), CollectiveError> {
        known(root, 1)
    }

    fn barrier(&self) -> Result<(), CollectiveError> {
        Ok(())
    }

    fn abandon(&self, _code: i32) {}
}

/// How a rank waits for the others at the start, where they meet by TCP.
#[derive(Clone, Copy)]
pub struct Waiting<'a> {
    /// How long; launchers start all ranks within minutes.
    pub patience: Duration,
    /// Set to wait no longer.
    pub stop: &'a AtomicBool,
    /// Hears what a person who waits should know.
    pub tell: &'a dyn Fn(&str),
}

impl fmt::Debug for Waiting<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting").field("patience", &self.patience).finish_non_exhaustive()
    }
}

/// How this process meets the ranks that a launcher has started: not at all where there is only one,
/// by TCP where torchrun has started them, else by MPI or, in a program without it, by TCP where the
/// variables `MASTER_ADDR` and `MASTER_PORT` say where the first rank is.
///
/// # Errors
///
/// [`CollectiveError`] if the others do not come, if this program is built without MPI and nothing
/// says where they are, or if MPI does not see them.
pub fn connect(
    launch: Option<&Launch>,
    waiting: Waiting<'_>,
) -> Result<Box<dyn Collective>, CollectiveError> {
    let Some(launch) = launch.filter(|launch| launch.size() > 1) else {
        return Ok(Box::new(Single));
    };
    match (launch.launcher(), launch.master()) {
        (Launcher::Torchrun, Some(master)) => over_tcp(launch, master, waiting),
        #[cfg(feature = "mpi")]
        _ => Ok(Box::new(mpi::Mpi::start(Some(launch))?)),
        #[cfg(not(feature = "mpi"))]
        (_, Some(master)) => over_tcp(launch, master, waiting),
        #[cfg(not(feature = "mpi"))]
        (launcher, None) => {
            Err(CollectiveError::WithoutMpi { launcher, rank: launch.rank(), size: launch.size() })
        }
    }
}

fn over_tcp(
    launch: &Launch,
    master: &Master,
    waiting: Waiting<'_>,
) -> Result<Box<dyn Collective>, CollectiveError> {
    Ok(Box::new(tcp::Tcp::start(launch.rank(), launch.size(), master, waiting)?))
}

/// Why ranks could not meet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CollectiveError {
    /// A broadcast from a rank that does not exist.
    #[error("there is no rank {root} to take values from: the last of {size} is {}", size - 1)]
    NoSuchRank {
        /// The rank asked for.
        root: usize,
        /// How many there are.
        size: usize,
    },
    /// Two ranks are at different places of the program.
    #[error(
        "rank {rank} {theirs} where rank 0 {firsts}: start all ranks with the same options, data \
         and version of this program"
    )]
    Differs {
        /// The first rank that does not do what rank 0 does.
        rank: usize,
        /// What it does.
        theirs: Call,
        /// What rank 0 does.
        firsts: Call,
    },
    /// Another rank sent what this version does not know.
    #[error("rank {rank} runs another version of this program: start all ranks with the same one")]
    OtherVersion {
        /// That rank.
        rank: usize,
    },
    /// A rank has ended before the others.
    #[error("rank {rank} has ended before the others: its own messages say why")]
    Gone {
        /// That rank.
        rank: usize,
    },
    /// The connection to a rank is lost, and nobody has ended it.
    #[error(
        "the connection to rank {rank} is lost ({why}): see whether its machine is up and can be \
         reached"
    )]
    Unreachable {
        /// That rank.
        rank: usize,
        /// What the system says.
        why: String,
    },
    /// Several ranks were started of a program that cannot connect them.
    #[error(
        "{launcher} has started rank {rank} of {size}, but this program is built without MPI: \
         build it with --features mpi, set MASTER_ADDR and MASTER_PORT to the machine of rank 0 and \
         a free port of it (1 to 65535), or start one process"
    )]
    WithoutMpi {
        /// The launcher whose variables were found.
        launcher: Launcher,
        /// The rank that it gave.
        rank: usize,
        /// The number of ranks that it gave.
        size: usize,
    },
    /// Ranks did not find each other by TCP.
    #[error(transparent)]
    Meeting(#[from] MeetingError),
    /// MPI was started twice in a process.
    #[error("MPI has already been started in this process, and can be only once")]
    StartedBefore,
    /// The MPI library does not work with threads.
    #[error("this MPI library allows calls from one thread only: use one built with threads")]
    OneThread,
    /// What a launcher says is not what MPI says.
    #[error(
        "{launcher} says that this is rank {rank} of {size}, MPI that it is rank {mpi_rank} of \
         {mpi_size}: start the ranks with mpirun, or with srun --mpi=pmix on SLURM"
    )]
    OtherWorld {
        /// The launcher whose variables were found.
        launcher: Launcher,
        /// The rank that it gave.
        rank: usize,
        /// The number of ranks that it gave.
        size: usize,
        /// MPI's rank.
        mpi_rank: usize,
        /// MPI's number of ranks.
        mpi_size: usize,
    },
}

/// Whether `root` is one of `size` ranks.
fn known(root: usize, size: usize) -> Result<(), CollectiveError> {
    if root < size { Ok(()) } else { Err(CollectiveError::NoSuchRank { root, size }) }
}
