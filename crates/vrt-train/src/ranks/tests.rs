//! Ranks in threads: laws of sums and broadcasts, and what happens when ranks part.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use proptest::prelude::*;

use super::exchange;
use super::launch::detect;
use super::local::{LocalRank, group};
use super::{Call, Collective, CollectiveError, Single, Waiting, connect};

mod launch;

static NEVER: AtomicBool = AtomicBool::new(false);
const WAITING: Waiting<'_> =
    Waiting { patience: Duration::from_secs(60), stop: &NEVER, tell: &|_| {} };

/// What `run` returns on every rank of a group, in order.
fn on_ranks<T: Send>(size: usize, run: impl Fn(LocalRank) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let run = &run;
        let threads: Vec<_> =
            group(size).into_iter().map(|rank| scope.spawn(move || run(rank))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Bits, so that NaN equals itself and 0 does not equal −0.
fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Values of every rank: as many lists of one length as there are ranks.
fn values() -> impl Strategy<Value = Vec<Vec<f32>>> {
    let number = prop_oneof![-1e3f32..1e3, Just(-0.0), Just(1e30), Just(-1e30), Just(1e-40)];
    (1usize..6, 0usize..40).prop_flat_map(move |(ranks, len)| {
        prop::collection::vec(prop::collection::vec(number.clone(), len), ranks)
    })
}

proptest! {
    #[test]
    fn every_rank_gets_the_sum_in_the_order_of_ranks(given in values(), chunk in 1usize..50) {
        let expected: Vec<f32> = (0..given[0].len())
            .map(|i| given[1..].iter().fold(given[0][i], |sum, values| sum + values[i]))
            .collect();
        let sums = on_ranks(given.len(), |rank| {
            let mut values = given[rank.rank()].clone();
            exchange::sum(&rank, &mut values, chunk).map(|()| bits(&values))
        });
        for sum in sums {
            prop_assert_eq!(sum, Ok(bits(&expected)));
        }
    }

    #[test]
    fn every_rank_gets_the_values_of_the_root(given in values(), root in 0usize..6) {
        let root = root % given.len();
        let copies = on_ranks(given.len(), |rank| {
            let mut values = given[rank.rank()].clone();
            rank.broadcast(&mut values, root).map(|()| bits(&values))
        });
        for copy in copies {
            prop_assert_eq!(copy, Ok(bits(&given[root])));
        }
    }
}

#[test]
fn nobody_passes_a_barrier_before_all_have_come() {
    let come = std::sync::atomic::AtomicUsize::new(0);
    let seen = on_ranks(4, |rank| {
        come.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        rank.barrier().map(|()| come.load(std::sync::atomic::Ordering::SeqCst))
    });
    assert_eq!(seen, vec![Ok(4); 4]);
}

#[test]
fn ranks_with_other_lengths_all_hear_of_it() {
    let errors = on_ranks(3, |rank| {
        let len = if rank.rank() == 2 { 7 } else { 8 };
        rank.sum(&mut vec![0.0; len]).unwrap_err()
    });
    for error in errors {
        let message = error.to_string();
        let start = "rank 2 adds up 7 values where rank 0 adds up 8 values: start all ranks with";
        assert!(message.starts_with(start), "{message}");
    }
}

#[test]
fn ranks_at_different_operations_all_hear_of_it() {
    let errors = on_ranks(2, |rank| match rank.rank() {
        0 => rank.broadcast(&mut [0.0; 4], 1).unwrap_err(),
        _ => rank.barrier().unwrap_err(),
    });
    let firsts = Call::Broadcast { values: 4, root: 1 };
    assert_eq!(
        errors,
        vec![CollectiveError::Differs { rank: 1, theirs: Call::Barrier, firsts }; 2]
    );
}

#[test]
fn a_rank_that_has_ended_is_an_error_to_the_others() {
    // The others stay until all have tried, for who leaves after an error is gone as well.
    let errors = on_ranks(3, |rank| match rank.rank() {
        1 => None,
        _ => Some((rank.sum(&mut [1.0; 5]), rank)),
    });
    let gone = CollectiveError::Gone { rank: 1 };
    let errors: Vec<_> = errors.into_iter().map(|end| end.map(|(sum, _)| sum)).collect();
    assert_eq!(errors, [Some(Err(gone.clone())), None, Some(Err(gone.clone()))]);
    assert_eq!(gone.to_string(), "rank 1 has ended before the others: its own messages say why");
}

#[test]
fn one_process_changes_nothing() {
    let mut values = [1.5, -0.0];
    Single.sum(&mut values).unwrap();
    Single.broadcast(&mut values, 0).unwrap();
    Single.barrier().unwrap();
    assert_eq!((bits(&values), Single.rank(), Single.size()), (bits(&[1.5, -0.0]), 0, 1));
}

#[test]
fn values_cannot_come_from_a_rank_that_is_not_there() {
    let message = "there is no rank 2 to take values from: the last of 2 is 1";
    for error in on_ranks(2, |rank| rank.broadcast(&mut [0.0], 2).unwrap_err()) {
        assert_eq!(error.to_string(), message);
    }
    let error = Single.broadcast(&mut [0.0], 1).unwrap_err();
    assert_eq!(error, CollectiveError::NoSuchRank { root: 1, size: 1 });
}

#[test]
fn a_group_counts_its_ranks() {
    let ranks = group(3);
    let places: Vec<_> = ranks.iter().map(|r| (r.rank(), r.size())).collect();
    assert_eq!(places, [(0, 3), (1, 3), (2, 3)]);
}

#[test]
fn one_rank_needs_no_messages() {
    let one = [("SLURM_PROCID", "0"), ("SLURM_NTASKS", "1"), ("SLURM_LOCALID", "0")];
    let launch = detect(|name| one.iter().find(|(n, _)| *n == name).map(|(_, v)| v.into()));
    for launch in [None, launch.unwrap()] {
        assert_eq!(connect(launch.as_ref(), WAITING).unwrap().size(), 1);
    }
}

#[test]
fn ranks_of_torchrun_meet_at_its_port() {
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = free.local_addr().unwrap().port().to_string();
    drop(free);
    let joined = |rank: &'static str| {
        let said = [
            ("RANK", rank),
            ("WORLD_SIZE", "2"),
            ("LOCAL_RANK", rank),
            ("MASTER_ADDR", "localhost"),
            ("MASTER_PORT", &port),
        ];
        let launch = detect(|name| said.iter().find(|(n, _)| *n == name).map(|(_, v)| v.into()));
        let ranks = connect(launch.unwrap().as_ref(), WAITING).unwrap();
        let mut values = [ranks.rank() as f32 + 1.0; 3];
        ranks.sum(&mut values).map(|()| values)
    };
    std::thread::scope(|scope| {
        let ranks = ["0", "1"].map(|rank| scope.spawn(move || joined(rank)));
        assert_eq!(ranks.map(|rank| rank.join().unwrap()), [Ok([3.0; 3]), Ok([3.0; 3])]);
    });
}

#[cfg(not(feature = "mpi"))]
#[test]
fn several_ranks_need_mpi_or_a_place_to_meet() {
    let two = [("SLURM_PROCID", "1"), ("SLURM_NTASKS", "2"), ("SLURM_LOCALID", "0")];
    let launch = detect(|name| two.iter().find(|(n, _)| *n == name).map(|(_, v)| v.into()));
    let error = connect(launch.unwrap().as_ref(), WAITING).unwrap_err();
    let expected = "SLURM has started rank 1 of 2, but this program is built without MPI: build it \
                    with --features mpi, set MASTER_ADDR and MASTER_PORT to the machine of rank 0 \
                    and a free port of it (1 to 65535), or start one process";
    assert_eq!(error.to_string(), expected);
}
