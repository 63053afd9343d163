//! What launchers say, and the ways in which they can say it wrongly.

use std::collections::BTreeMap;
use std::ffi::OsString;

use proptest::prelude::*;

use crate::ranks::launch::{Launch, LaunchError, Launcher, Master, detect};

type Environment = BTreeMap<&'static str, String>;

const TORCHRUN: [&str; 3] = ["RANK", "WORLD_SIZE", "LOCAL_RANK"];
const SLURM: [&str; 3] = ["SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"];
const OPEN_MPI: [&str; 3] =
    ["OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"];
const MASTER: [(&str, &str); 2] = [("MASTER_ADDR", "node7"), ("MASTER_PORT", "29500")];

fn found(environment: &Environment) -> Result<Option<Launch>, LaunchError> {
    detect(|name| environment.get(name).map(OsString::from))
}

fn message(environment: &Environment) -> String {
    found(environment).unwrap_err().to_string()
}

/// The variables of a launcher for a rank, the number of ranks, and the rank on the machine.
fn says(names: [&'static str; 3], numbers: [usize; 3]) -> Environment {
    names.into_iter().zip(numbers.map(|number| number.to_string())).collect()
}

fn with(mut environment: Environment, more: &[(&'static str, &str)]) -> Environment {
    environment.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    environment
}

fn numbers(launch: &Launch) -> [usize; 3] {
    [launch.rank(), launch.size(), launch.local_rank()]
}

/// What [`MASTER`] says.
fn node7(held: bool, run: &str) -> Master {
    Master { address: "node7".to_owned(), port: 29500, held, run: run.to_owned() }
}

/// Rank, number of ranks and rank on the machine, as they can be.
fn places() -> impl Strategy<Value = [usize; 3]> {
    (1usize..1000)
        .prop_flat_map(|size| (0..size, Just(size)))
        .prop_flat_map(|(rank, size)| (Just(rank), Just(size), 0..=rank))
        .prop_map(|(rank, size, local)| [rank, size, local])
}

/// The variables of one launcher, torchrun's with its master.
fn launchers()
-> impl Strategy<Value = (Launcher, [&'static str; 3], &'static [(&'static str, &'static str)])> {
    prop_oneof![
        Just((Launcher::Torchrun, TORCHRUN, &MASTER[..])),
        Just((Launcher::Slurm, SLURM, &[][..])),
        Just((Launcher::OpenMpi, OPEN_MPI, &[][..])),
    ]
}

proptest! {
    #[test]
    fn a_launcher_is_understood((launcher, names, more) in launchers(), place in places()) {
        let launch = found(&with(says(names, place), more)).unwrap().unwrap();
        prop_assert_eq!((launch.launcher(), numbers(&launch)), (launcher, place));
        let master = node7(false, "");
        prop_assert_eq!(launch.master(), (launcher == Launcher::Torchrun).then_some(&master));
    }

    #[test]
    fn a_missing_variable_is_named(
        (launcher, names, more) in launchers(), place in places(), which in 0usize..5,
    ) {
        let mut environment = with(says(names, place), more);
        let name = *environment.keys().nth(which % environment.len()).unwrap();
        environment.remove(name);
        // A batch script of SLURM without a number of tasks.
        prop_assume!((name, place[0], place[2]) != ("SLURM_NTASKS", 0, 0));
        let message = message(&environment);
        prop_assert!(message.contains(&format!("set but {name} is not")), "{}", message);
        let remedy = format!("start the program with {launcher}, or unset all of them");
        prop_assert!(message.contains(&remedy), "{}", message);
    }

    #[test]
    fn a_number_that_is_none_is_named(
        (_, names, more) in launchers(), place in places(), which in 0usize..3, value in "[-a-z.]{0,4}",
    ) {
        let message = message(&with(with(says(names, place), more), &[(names[which], &value)]));
        let start = format!("{} is {value:?} and should be a number from", names[which]);
        prop_assert!(message.starts_with(&start), "{}", message);
    }

    #[test]
    fn a_rank_beyond_the_last_is_named(
        (_, names, more) in launchers(), [_, size, _] in places(), beyond in 0usize..9,
    ) {
        let rank = size + beyond;
        let message = message(&with(says(names, [rank, size, 0]), more));
        let start = format!("{} is {rank} and {} is {size}: ", names[0], names[1]);
        prop_assert!(message.starts_with(&start), "{}", message);
    }

    #[test]
    fn the_nearest_launcher_counts(place in places(), allocation in places()) {
        let slurm = says(SLURM, allocation);
        for (names, launcher) in [(OPEN_MPI, Launcher::OpenMpi), (TORCHRUN, Launcher::Torchrun)] {
            let mut both = with(says(names, place), &MASTER);
            both.extend(slurm.clone());
            let launch = found(&both).unwrap().unwrap();
            prop_assert_eq!((launch.launcher(), numbers(&launch)), (launcher, place));
        }
    }

    #[test]
    fn two_launchers_of_one_run_agree(
        (place, other) in (places(), places(), any::<bool>())
            .prop_map(|(place, other, same)| (place, if same { place } else { other })),
    ) {
        let mut both = with(says(OPEN_MPI, place), &MASTER);
        both.extend(says(TORCHRUN, other));
        match found(&both) {
            Ok(launch) => {
                let launch = launch.unwrap();
                prop_assert_eq!(other, place);
                prop_assert_eq!((launch.launcher(), numbers(&launch)), (Launcher::OpenMpi, place));
                prop_assert!(launch.master().is_some());
            }
            Err(error) => {
                let i = (0..3).find(|i| place[*i] != other[*i]).unwrap();
                let (ours, theirs) = (TORCHRUN[i], OPEN_MPI[i]);
                let start = format!("{ours} is {} but {theirs} is {}", other[i], place[i]);
                prop_assert!(error.to_string().starts_with(&start), "{}", error);
            }
        }
    }
}

#[test]
fn nobody_has_started_a_process_without_variables() {
    assert_eq!(found(&Environment::new()), Ok(None));
}

#[test]
fn variables_that_scripts_and_allocations_set_are_no_launcher() {
    let script = with(Environment::new(), &MASTER);
    assert_eq!(found(&script), Ok(None));
    assert_eq!(found(&with(script, &[("SLURM_NTASKS", "8")])), Ok(None));
    let batch = [("SLURM_PROCID", "0"), ("SLURM_LOCALID", "0")];
    assert_eq!(found(&with(Environment::new(), &batch)), Ok(None));
}

#[test]
fn a_step_of_slurm_without_a_number_of_tasks_is_incomplete() {
    let step = [("SLURM_PROCID", "0"), ("SLURM_LOCALID", "0"), ("SLURM_STEP_ID", "3")];
    let expected = "SLURM_PROCID and SLURM_LOCALID are set but SLURM_NTASKS is not: start the \
                    program with SLURM, or unset all of them to train in one process";
    assert_eq!(message(&with(Environment::new(), &step)), expected);
}

#[test]
fn a_rank_alone_names_all_that_is_missing() {
    let expected = "RANK is set but WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT are not: \
                    start the program with torchrun, or unset all of them to train in one process";
    assert_eq!(message(&with(Environment::new(), &[("RANK", "1")])), expected);
}

#[test]
fn a_port_and_an_address_are_checked() {
    let place = with(says(TORCHRUN, [0, 2, 0]), &MASTER);
    let port = message(&with(place.clone(), &[("MASTER_PORT", "65536")]));
    assert_eq!(port, "MASTER_PORT is \"65536\" and should be a number from 1 to 65535");
    let address = message(&with(place, &[("MASTER_ADDR", "")]));
    assert_eq!(address, "MASTER_ADDR is \"\" and should be the name of a machine");
}

#[test]
fn scripts_of_other_launchers_may_say_where_the_first_rank_is() {
    for names in [SLURM, OPEN_MPI] {
        let place = says(names, [1, 2, 0]);
        let ids = [("SLURM_JOB_ID", "77"), ("SLURM_STEP_ID", "3"), ("PMIX_NAMESPACE", "5")];
        let job = with(with(place.clone(), &MASTER), &ids);
        let run = if names == SLURM { "77.3" } else { "5" };
        assert_eq!(found(&job).unwrap().unwrap().master(), Some(&node7(false, run)));
        for said in MASTER {
            let half = with(place.clone(), &[said]);
            assert_eq!(found(&half).unwrap().unwrap().master(), None);
        }
        // They need it not, where there is MPI.
        let wrong = with(job, &[("MASTER_PORT", "71234")]);
        assert_eq!(found(&wrong).unwrap().unwrap().master(), None);
    }
}

#[test]
fn torchrun_tells_of_its_port_its_run_and_the_ranks_beside_this_one() {
    let place = with(says(TORCHRUN, [5, 8, 1]), &MASTER);
    let launch = found(&place).unwrap().unwrap();
    assert_eq!((launch.local_size(), launch.master()), (None, Some(&node7(false, ""))));
    let more = [
        ("LOCAL_WORLD_SIZE", "4"),
        ("TORCHELASTIC_USE_AGENT_STORE", "True"),
        ("TORCHELASTIC_RUN_ID", "mine"),
        ("SLURM_JOB_ID", "77"),
    ];
    let launch = found(&with(place.clone(), &more)).unwrap().unwrap();
    assert_eq!((launch.local_size(), launch.master()), (Some(4), Some(&node7(true, "mine"))));
    for wrong in ["0", "9", "all"] {
        let message = message(&with(place.clone(), &[("LOCAL_WORLD_SIZE", wrong)]));
        let expected = format!("LOCAL_WORLD_SIZE is {wrong:?} and should be a number from 1 to 8");
        assert_eq!(message, expected);
    }
}

#[test]
fn no_ranks_at_all_are_refused() {
    let message = message(&says(OPEN_MPI, [0, 0, 0]));
    assert!(message.starts_with("OMPI_COMM_WORLD_SIZE is \"0\" and should be a number from 1 to"));
}

#[test]
fn a_rank_on_its_machine_is_not_above_that_among_all() {
    let message = message(&says(SLURM, [1, 4, 2]));
    let expected =
        "SLURM_LOCALID is 2 and SLURM_PROCID is 1: SLURM_LOCALID must be at most SLURM_PROCID";
    assert_eq!(message, expected);
}
