//! Why ranks did not find each other.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::super::launch::Master;
use super::meeting::MOST;

/// How far behind the launcher's port the others are that rank 0 may take: those next to it are what
/// people give to other runs.
const FAR: u16 = 1000;
/// How many there are.
const MORE: u16 = 16;

/// Ports at which rank 0 may listen: that of the launcher, unless it listens there itself, and some
/// that are far from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    own: Option<u16>,
    far: RangeInclusive<u16>,
}

impl Ports {
    /// Those of a master.
    pub fn of(master: &Master) -> Self {
        let Master { port, held, .. } = *master;
        let far = match port.checked_add(FAR + MORE) {
            Some(last) => last - MORE + 1..=last,
            None => port - FAR - MORE + 1..=port - FAR,
        };
        Self { own: (!held).then_some(port), far }
    }

    /// All of them, in the order in which they are tried.
    pub(super) fn all(&self) -> impl Iterator<Item = u16> + use<> {
        self.own.into_iter().chain(self.far.clone())
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(own) = self.own {
            write!(f, "{own} and ")?;
        }
        write!(f, "{} to {}", self.far.start(), self.far.end())
    }
}

/// Why ranks did not find each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MeetingError {
    /// More ranks than can meet.
    #[error(
        "{size} ranks were started, and at most {MOST} can meet by TCP: start fewer, or start them \
         with mpirun (built with --features mpi)"
    )]
    TooMany {
        /// How many.
        size: usize,
    },
    /// Somebody has asked to stop.
    #[error("stopped while ranks waited for each other: nothing has begun")]
    Stopped,
    /// Rank 0 was told another number of ranks.
    #[error(
        "rank 0 at {place} does not count {size} ranks: start all ranks with the same WORLD_SIZE, and \
         runs beside each other with MASTER_PORTs of their own"
    )]
    OtherSize {
        /// Where it listens.
        place: SocketAddr,
        /// How many ranks this one was told of.
        size: usize,
    },
    /// Rank 0 cannot listen.
    #[error(
        "rank 0 cannot listen at ports {ports} of {address} ({why}): set MASTER_ADDR to its machine \
         and MASTER_PORT to a free port of it"
    )]
    NotHeard {
        /// The machine, as `MASTER_ADDR` names it.
        address: String,
        /// The ports that were tried.
        ports: Ports,
        /// What the system says.
        why: String,
    },
    /// Rank 0 has waited for others in vain.
    #[error(
        "{} did not come to rank 0 at {address}, port {port}, within {} s{}: start all {size} ranks \
         with the same WORLD_SIZE, MASTER_ADDR and MASTER_PORT; MASTER_ADDR is the machine of rank 0 \
         as the others reach it",
        Listed(ranks), waited.as_secs(), Refused(refused)
    )]
    Missing {
        /// Those that did not come.
        ranks: Vec<usize>,
        /// How many there should be.
        size: usize,
        /// The machine, as `MASTER_ADDR` names it.
        address: String,
        /// Where they were waited for.
        port: u16,
        /// How long.
        waited: Duration,
        /// Who came instead.
        refused: Option<&'static str>,
    },
    /// A rank has waited for rank 0 in vain.
    #[error(
        "rank 0 did not answer at ports {ports} of {address} within {} s ({why}): start all ranks \
         with the same WORLD_SIZE, MASTER_ADDR and MASTER_PORT; MASTER_ADDR is the machine of rank 0 \
         as the others reach it",
        waited.as_secs()
    )]
    NoAnswer {
        /// The machine, as `MASTER_ADDR` names it.
        address: String,
        /// The ports that were tried.
        ports: Ports,
        /// How long.
        waited: Duration,
        /// What came of the last try.
        why: String,
    },
    /// A rank that rank 0 has told of cannot be reached.
    #[error(
        "rank {rank} cannot be reached at {place} ({why}): ranks listen for each other at free ports \
         of their own, which firewalls between their machines must let through"
    )]
    Unreachable {
        /// That rank.
        rank: usize,
        /// Where it listens.
        place: SocketAddr,
        /// What came of the last try.
        why: String,
    },
    /// A rank was there, and is not any more, or has not come from rank 0 to this one.
    #[error("rank {rank} was lost while ranks met: its own messages say why")]
    Lost {
        /// That rank.
        rank: usize,
    },
}

/// Ranks in a sentence.
struct Listed<'a>(&'a [usize]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [rank] => write!(f, "rank {rank}"),
            [first, last] => write!(f, "ranks {first} and {last}"),
            [first, second, more @ ..] => {
                write!(f, "ranks {first}, {second} and {} more", more.len())
            }
            [] => f.write_str("no rank"),
        }
    }
}

/// Who came instead, in a sentence.
struct Refused<'a>(&'a Option<&'static str>);

impl fmt::Display for Refused<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |who| write!(f, " ({who} came and was refused)"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ports_are_different_ones(port in 1u16.., held: bool) {
            let master = Master { address: String::new(), port, held, run: String::new() };
            let mut ports: Vec<_> = Ports::of(&master).all().collect();
            prop_assert_eq!(ports.first() == Some(&port), !held);
            prop_assert!(!ports.contains(&0) && ports.contains(&port) != held);
            ports.sort_unstable();
            ports.dedup();
            prop_assert_eq!(ports.len(), 16 + usize::from(!held));
        }
    }
}
