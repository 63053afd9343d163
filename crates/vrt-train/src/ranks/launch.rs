//! Which rank a launcher made of this process: torchrun, SLURM or Open MPI.
//!
//! Launchers tell by environment variables. Where several are found, the nearest counts: torchrun
//! and mpirun also run inside an allocation of SLURM, whose variables then speak of the allocation.

use std::ffi::OsString;
use std::fmt;

/// A program that starts the ranks of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launcher {
    /// PyTorch's `torchrun`, and what sets its variables.
    Torchrun,
    /// SLURM's `srun`.
    Slurm,
    /// Open MPI's `mpirun`.
    OpenMpi,
}

impl Launcher {
    fn names(self) -> &'static Names {
        match self {
            Self::Torchrun => &TORCHRUN,
            Self::Slurm => &SLURM,
            Self::OpenMpi => &OPEN_MPI,
        }
    }
}

impl fmt::Display for Launcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Torchrun => "torchrun",
            Self::Slurm => "SLURM",
            Self::OpenMpi => "Open MPI",
        })
    }
}

/// The variables in which a launcher tells rank, number of ranks and rank on the machine.
struct Names {
    launcher: Launcher,
    rank: &'static str,
    size: &'static str,
    local_rank: &'static str,
    /// Those that tell one run from another.
    run: &'static [&'static str],
}

const TORCHRUN: Names = Names {
    launcher: Launcher::Torchrun,
    rank: "RANK",
    size: "WORLD_SIZE",
    local_rank: "LOCAL_RANK",
    run: &["TORCHELASTIC_RUN_ID"],
};
const SLURM: Names = Names {
    launcher: Launcher::Slurm,
    rank: "SLURM_PROCID",
    size: "SLURM_NTASKS",
    local_rank: "SLURM_LOCALID",
    run: &["SLURM_JOB_ID", SLURM_STEP_ID],
};
const OPEN_MPI: Names = Names {
    launcher: Launcher::OpenMpi,
    rank: "OMPI_COMM_WORLD_RANK",
    size: "OMPI_COMM_WORLD_SIZE",
    local_rank: "OMPI_COMM_WORLD_LOCAL_RANK",
    run: &["PMIX_NAMESPACE"],
};
const MASTER_ADDR: &str = "MASTER_ADDR";
const MASTER_PORT: &str = "MASTER_PORT";
/// How many ranks torchrun has started on a machine.
const LOCAL_WORLD_SIZE: &str = "LOCAL_WORLD_SIZE";
/// "True" where torchrun itself listens at the port that it tells of.
const AGENT_STORE: &str = "TORCHELASTIC_USE_AGENT_STORE";
/// Set for what `srun` starts, and not for the script of a batch job.
const SLURM_STEP_ID: &str = "SLURM_STEP_ID";

/// Where the first rank waits for the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Master {
    /// Name or number of a machine.
    pub address: String,
    /// A port of it.
    pub port: u16,
    /// Whether the launcher itself listens there: the first rank then takes a port behind it.
    pub held: bool,
    /// What the launcher calls the run, where it does: tells ranks of other runs.
    pub run: String,
}

/// One of the ranks that a launcher has started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    launcher: Launcher,
    rank: usize,
    size: usize,
    local_rank: usize,
    local_size: Option<usize>,
    master: Option<Master>,
}

impl Launch {
    /// Who started this process.
    pub fn launcher(&self) -> Launcher {
        self.launcher
    }

    /// This process among all, below [`Launch::size`].
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// How many ranks there are, at least one.
    pub fn size(&self) -> usize {
        self.size
    }

    /// This process among those on its machine: which of its GPUs it uses. At most
    /// [`Launch::rank`].
    pub fn local_rank(&self) -> usize {
        self.local_rank
    }

    /// How many ranks have all processors of this machine in common. torchrun alone tells: others
    /// give each rank its own.
    pub fn local_size(&self) -> Option<usize> {
        self.local_size
    }

    /// Where the first rank is: torchrun tells, and scripts for other launchers may.
    pub fn master(&self) -> Option<&Master> {
        self.master.as_ref()
    }
}

/// Why the variables of a launcher make no rank.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LaunchError {
    /// Some variables of a launcher are set and others are not.
    #[error(
        "{} set but {} not: start the program with {launcher}, or unset all of them to train in \
         one process",
        listed(set),
        listed(missing)
    )]
    Incomplete {
        /// The launcher whose variables they are.
        launcher: Launcher,
        /// Those that are set.
        set: Vec<&'static str>,
        /// Those that are not.
        missing: Vec<&'static str>,
    },
    /// A variable is not the number it should be.
    #[error("{variable} is {value:?} and should be a number from {least} to {most}")]
    NotANumber {
        /// Its name.
        variable: &'static str,
        /// What it holds.
        value: OsString,
        /// The least number it may be.
        least: usize,
        /// The largest number it may be.
        most: usize,
    },
    /// The address is not text.
    #[error("{variable} is {value:?} and should be the name of a machine")]
    NotAName {
        /// The variable.
        variable: &'static str,
        /// What it holds.
        value: OsString,
    },
    /// A rank is not below the number of ranks, or that on its machine above that among all.
    #[error("{variable} is {value} and {limit} is {at}: {variable} must be {relation} {limit}")]
    OutOfRange {
        /// The variable that is too large.
        variable: &'static str,
        /// What it holds.
        value: usize,
        /// The variable that limits it.
        limit: &'static str,
        /// What that one holds.
        at: usize,
        /// "below" or "at most".
        relation: &'static str,
    },
    /// Two launchers say different things.
    #[error(
        "{variable} is {value} but {other} is {theirs}: torchrun and Open MPI speak of different \
         runs; unset the variables of the one that did not start this process"
    )]
    Contradiction {
        /// torchrun's variable.
        variable: &'static str,
        /// What it holds.
        value: usize,
        /// Open MPI's variable.
        other: &'static str,
        /// What that one holds.
        theirs: usize,
    },
}

/// Names in a sentence, with their verb: "A is", "A and B are".
fn listed(names: &[&str]) -> String {
    match names {
        [] => "nothing is".to_owned(),
        [name] => format!("{name} is"),
        [names @ .., last] => format!("{} and {last} are", names.join(", ")),
    }
}

/// The rank that a launcher made of this process; `None` where none has started it.
///
/// `lookup` is the environment: the value of a variable. `RANK`, `WORLD_SIZE`, `LOCAL_RANK`,
/// `MASTER_ADDR` and `MASTER_PORT` are torchrun's (`LOCAL_WORLD_SIZE` and those of torchelastic are
/// heeded, too), `SLURM_PROCID`, `SLURM_NTASKS` and `SLURM_LOCALID` SLURM's, `OMPI_COMM_WORLD_RANK`,
/// `…_SIZE` and `…_LOCAL_RANK` Open MPI's.
///
/// `MASTER_ADDR` and `MASTER_PORT` alone, or `SLURM_NTASKS` alone, say nothing: scripts set the
/// former, every allocation of SLURM the latter. Both of the former beside a rank of SLURM or Open
/// MPI are its [`Launch::master`]. The script of a SLURM batch job without a number of tasks is no
/// rank either.
///
/// # Errors
///
/// [`LaunchError`] if variables are missing, are not numbers or contradict each other.
pub fn detect(
    lookup: impl Fn(&'static str) -> Option<OsString>,
) -> Result<Option<Launch>, LaunchError> {
    let torchrun = torchrun(&lookup)?;
    let open_mpi = ranks_of(&OPEN_MPI, &lookup, &[])?;
    let launch = match (torchrun, open_mpi) {
        // Wrappers of mpirun give its ranks to programs that know torchrun's variables only.
        (Some(torchrun), Some(open_mpi)) => Some(agreed(&torchrun, open_mpi)?),
        (Some(launch), None) | (None, Some(launch)) => Some(launch),
        (None, None) => slurm(&lookup)?,
    };
    Ok(launch.map(|launch| {
        // What a script says wrongly matters to those alone who need it.
        let told = || master(launch.launcher.names(), &lookup).ok();
        let master = launch.master.clone().or_else(told);
        Launch { master, ..launch }
    }))
}

/// What torchrun says.
fn torchrun(
    lookup: &impl Fn(&'static str) -> Option<OsString>,
) -> Result<Option<Launch>, LaunchError> {
    let Some(launch) = ranks_of(&TORCHRUN, lookup, &[MASTER_ADDR, MASTER_PORT])? else {
        return Ok(None);
    };
    let local_size = lookup(LOCAL_WORLD_SIZE)
        .map(|value| number(LOCAL_WORLD_SIZE, &value, 1, launch.size))
        .transpose()?;
    Ok(Some(Launch { local_size, master: Some(master(&TORCHRUN, lookup)?), ..launch }))
}

/// Where the first rank is.
fn master(
    names: &Names,
    lookup: &impl Fn(&'static str) -> Option<OsString>,
) -> Result<Master, LaunchError> {
    let most = usize::from(u16::MAX);
    let port = number(MASTER_PORT, &lookup(MASTER_PORT).unwrap_or_default(), 1, most)?;
    let port = u16::try_from(port).unwrap_or(u16::MAX);
    let address = lookup(MASTER_ADDR).unwrap_or_default().into_string();
    let address = address
        .and_then(|name| if name.is_empty() { Err(name.into()) } else { Ok(name) })
        .map_err(|value| LaunchError::NotAName { variable: MASTER_ADDR, value })?;
    let held = lookup(AGENT_STORE).is_some_and(|value| value == "True");
    let run: Vec<_> = names.run.iter().copied().filter_map(lookup).collect();
    let run: Vec<_> = run.iter().map(|name| name.to_string_lossy()).collect();
    Ok(Master { address, port, held, run: run.join(".") })
}

/// What SLURM says.
fn slurm(
    lookup: &impl Fn(&'static str) -> Option<OsString>,
) -> Result<Option<Launch>, LaunchError> {
    let is_zero = |name| lookup(name).is_some_and(|value| value == "0");
    let batch_script = is_zero(SLURM.rank)
        && is_zero(SLURM.local_rank)
        && lookup(SLURM.size).is_none()
        && lookup(SLURM_STEP_ID).is_none();
    let allocation = lookup(SLURM.rank).is_none() && lookup(SLURM.local_rank).is_none();
    if batch_script || allocation { Ok(None) } else { ranks_of(&SLURM, lookup, &[]) }
}

/// The rank in the variables `names`, which with `also` must all be set if one of `names` is.
fn ranks_of(
    names: &Names,
    lookup: &impl Fn(&'static str) -> Option<OsString>,
    also: &[&'static str],
) -> Result<Option<Launch>, LaunchError> {
    let own = [names.rank, names.size, names.local_rank];
    if own.iter().all(|name| lookup(name).is_none()) {
        return Ok(None);
    }
    let values = own.map(lookup);
    let (set, missing): (Vec<_>, Vec<_>) =
        own.iter().chain(also).partition(|name| lookup(name).is_some());
    let ([Some(rank), Some(size), Some(local_rank)], true) = (values, missing.is_empty()) else {
        return Err(LaunchError::Incomplete { launcher: names.launcher, set, missing });
    };
    let most = i32::MAX as usize;
    let rank = number(names.rank, &rank, 0, most)?;
    let size = number(names.size, &size, 1, most)?;
    let local_rank = number(names.local_rank, &local_rank, 0, most)?;
    below(rank < size, (names.rank, rank), "below", (names.size, size))?;
    below(local_rank <= rank, (names.local_rank, local_rank), "at most", (names.rank, rank))?;
    let launcher = names.launcher;
    Ok(Some(Launch { launcher, rank, size, local_rank, local_size: None, master: None }))
}

/// The number that a variable holds.
fn number(
    variable: &'static str,
    value: &OsString,
    least: usize,
    most: usize,
) -> Result<usize, LaunchError> {
    let number = value.to_str().and_then(|text| text.trim().parse().ok());
    let number = number.filter(|number| (least..=most).contains(number));
    let error = || LaunchError::NotANumber { variable, value: value.clone(), least, most };
    number.ok_or_else(error)
}

/// An error unless `holds`.
fn below(
    holds: bool,
    (variable, value): (&'static str, usize),
    relation: &'static str,
    (limit, at): (&'static str, usize),
) -> Result<(), LaunchError> {
    let error = LaunchError::OutOfRange { variable, value, limit, at, relation };
    if holds { Ok(()) } else { Err(error) }
}

/// Open MPI's rank, if torchrun's variables say the same.
fn agreed(torchrun: &Launch, open_mpi: Launch) -> Result<Launch, LaunchError> {
    let pairs = [
        (TORCHRUN.rank, torchrun.rank, OPEN_MPI.rank, open_mpi.rank),
        (TORCHRUN.size, torchrun.size, OPEN_MPI.size, open_mpi.size),
        (TORCHRUN.local_rank, torchrun.local_rank, OPEN_MPI.local_rank, open_mpi.local_rank),
    ];
    match pairs.into_iter().find(|(_, ours, _, theirs)| ours != theirs) {
        Some((variable, value, other, theirs)) => {
            Err(LaunchError::Contradiction { variable, value, other, theirs })
        }
        None => Ok(open_mpi),
    }
}
