//! Ranks that meet by TCP on this machine, and who else may knock at their ports.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(300);

fn master(port: u16) -> Master {
    Master { address: "127.0.0.1".to_owned(), port, held: false, run: "a run".to_owned() }
}

/// A port that was free a moment ago, and with it most of those behind it.
fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port().min(u16::MAX - 32)
}

/// What `run` returns on every rank of a group, in order.
fn on_ranks<T: Send>(size: usize, master: &Master, run: impl Fn(Tcp) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let run = &run;
        let start = |rank| move || run(Tcp::start(rank, size, master, LONG).unwrap());
        let threads: Vec<_> = (0..size).rev().map(|rank| scope.spawn(start(rank))).collect();
        threads.into_iter().rev().map(|thread| thread.join().unwrap()).collect()
    })
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn sums_and_copies_are_those_of_threads(
        size in 2usize..6,
        root in 0usize..6,
        len in 0usize..40,
        chunk in 1usize..50,
    ) {
        let root = root % size;
        let value = |rank: usize, i: usize| ((rank * 7919 + i * 104_729) % 1009) as f32 * 1e-3 - 0.5;
        let own = |rank| (0..len).map(|i| value(rank, i)).collect::<Vec<_>>();
        let tried = |rank: usize, ranks: &dyn Fn(&mut [f32], &mut [f32])| {
            let (mut summed, mut copied) = (own(rank), own(rank));
            ranks(&mut summed, &mut copied);
            [bits(&summed), bits(&copied)]
        };
        let found = on_ranks(size, &master(free_port()), |tcp| {
            tried(tcp.rank(), &|summed, copied| {
                exchange::sum(&tcp, summed, chunk).unwrap();
                tcp.broadcast(copied, root).unwrap();
                tcp.barrier().unwrap();
            })
        });
        let sum: Vec<f32> = (0..len)
            .map(|i| (1..size).fold(value(0, i), |sum, rank| sum + value(rank, i)))
            .collect();
        for found in found {
            prop_assert_eq!(found, [bits(&sum), bits(&own(root))]);
        }
    }
}

#[test]
fn what_fits_into_no_buffer_arrives() {
    let len = CHUNK + 5;
    let sums = on_ranks(3, &master(free_port()), |tcp| {
        let mut values: Vec<f32> = (0..len).map(|i| (i % 4093 + tcp.rank()) as f32).collect();
        tcp.sum(&mut values).unwrap();
        values
    });
    for sum in sums {
        let wrong = (0..len).find(|i| sum[*i] != (3 * (i % 4093) + 3) as f32);
        assert_eq!((sum.len(), wrong), (len, None));
    }
}

#[test]
fn a_rank_that_does_something_else_is_named_to_all_and_they_go_on() {
    let ends = on_ranks(3, &master(free_port()), |tcp| {
        let error = tcp.sum(&mut vec![0.0; 8 - tcp.rank() / 2]).unwrap_err();
        (error.to_string(), tcp.barrier())
    });
    for (message, end) in ends {
        let start = "rank 2 adds up 7 values where rank 0 adds up 8 values: start all ranks with";
        assert!(message.starts_with(start), "{message}");
        assert_eq!(end, Ok(()));
    }
}

#[test]
fn a_rank_that_has_ended_or_given_up_is_an_error_to_the_others() {
    for gives_up in [false, true] {
        let ends = on_ranks(3, &master(free_port()), |tcp| match tcp.rank() {
            1 => {
                if gives_up {
                    tcp.abandon(1);
                }
                None
            }
            // The others stay until all have tried, for who leaves after an error is gone as well.
            _ => Some((tcp.sum(&mut [1.0; 5]), tcp)),
        });
        let ends: Vec<_> = ends.into_iter().map(|end| end.map(|(sum, _)| sum)).collect();
        let gone = CollectiveError::Gone { rank: 1 };
        assert_eq!(ends, [Some(Err(gone.clone())), None, Some(Err(gone))]);
    }
}

#[test]
fn strangers_and_other_runs_are_sent_away() {
    let port = free_port();
    let deadline = Instant::now() + LONG;
    let knock = || loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(link) => return link,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    std::thread::scope(|scope| {
        let run = |rank| Tcp::start(rank, 2, &master(port), LONG).unwrap().rank();
        let first = scope.spawn(move || run(0));
        // One says nothing, one something else, one hangs up; they are heard before the rank is.
        let silent = knock();
        let mut other = knock();
        other.write_all(b"GET / HTTP/1.1\r\nHost: somebody\r\n\r\n").unwrap();
        drop(knock());
        for other in [Master { run: "another".to_owned(), ..master(port) }, master(port)] {
            let size = if other.run == "another" { 2 } else { 3 };
            let error = Tcp::start(1, size, &other, SHORT).unwrap_err().to_string();
            let ports = format!("at ports {port} to {} of 127.0.0.1 within 0 s", port + 16);
            assert!(error.contains(&ports), "{error}");
        }
        assert_eq!(run(1), 1);
        assert_eq!(first.join().unwrap(), 0);
        let mut rest = Vec::new();
        assert_eq!(other.read_to_end(&mut rest).unwrap_or(0), 0, "{rest:?}");
        drop(silent);
    });
}

#[test]
fn a_port_that_somebody_has_is_passed_by() {
    for held in [false, true] {
        // It takes connections and never answers, as a store of torchrun's does.
        let somebody = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
        let port = somebody.local_addr().unwrap().port();
        let sums = on_ranks(2, &Master { held, ..master(port) }, |tcp| {
            let mut values = [tcp.rank() as f32 + 1.0];
            tcp.sum(&mut values).map(|()| values)
        });
        assert_eq!(sums, [Ok([3.0]), Ok([3.0])]);
        somebody.set_nonblocking(true).unwrap();
        assert_eq!(somebody.accept().is_ok(), !held, "a port that is known as held is left alone");
    }
}

#[test]
fn a_rank_that_two_processes_claim_to_be_is_refused() {
    let port = free_port();
    std::thread::scope(|scope| {
        let run = |rank, patience| Tcp::start(rank, 3, &master(port), patience);
        let first = scope.spawn(move || run(0, LONG));
        let second = scope.spawn(move || run(1, LONG));
        // Behind the one above, or before it: one of the two is told.
        std::thread::sleep(SHORT);
        let error = run(1, SHORT).unwrap_err().to_string();
        assert!(error.contains("another process is rank 1 there"), "{error}");
        let third = scope.spawn(move || run(2, LONG));
        for rank in [first, second, third] {
            assert_eq!(rank.join().unwrap().unwrap().size(), 3);
        }
    });
}

#[test]
fn who_comes_again_is_let_in() {
    let port = free_port();
    std::thread::scope(|scope| {
        let run = |rank| Tcp::start(rank, 3, &master(port), LONG).map(|tcp| tcp.rank());
        let first = scope.spawn(move || run(0));
        // Rank 1 dies while it waits.
        let mut dead = meeting::tests::admitted(1, 3, &master(port));
        dead.flush().unwrap();
        drop(dead);
        let others = [1, 2].map(|rank| scope.spawn(move || run(rank)));
        assert_eq!(first.join().unwrap(), Ok(0));
        for (rank, other) in [1, 2].into_iter().zip(others) {
            assert_eq!(other.join().unwrap(), Ok(rank));
        }
    });
}

#[test]
fn waiting_in_vain_ends_with_who_did_not_come() {
    let port = free_port();
    let missing = |size| Tcp::start(0, size, &master(port), SHORT).unwrap_err().to_string();
    let start =
        |who: &str| format!("{who} did not come to port {port} of rank 0 within 0 s: start");
    assert!(missing(2).starts_with(&start("rank 1")), "{}", missing(2));
    assert!(missing(3).starts_with(&start("ranks 1 and 2")), "{}", missing(3));
    assert!(missing(6).starts_with(&start("ranks 1, 2 and 3 more")), "{}", missing(6));
    let error = Tcp::start(1, 2, &master(port), SHORT).unwrap_err().to_string();
    assert!(error.contains("refused"), "{error}");
    let nowhere = Master { address: "no such machine".to_owned(), ..master(port) };
    let error = Tcp::start(1, 2, &nowhere, SHORT).unwrap_err().to_string();
    assert!(error.starts_with(&format!("rank 0 did not answer at ports {port} to")), "{error}");
    let error = Tcp::start(0, 1001, &master(port), SHORT).unwrap_err();
    assert_eq!(error, MeetingError::TooMany { size: 1001 }.into());
}

#[test]
fn rank_0_says_where_it_cannot_listen() {
    let all_of = |port: u16| -> io::Result<Vec<_>> {
        (port..=port + 16).map(|port| TcpListener::bind(("127.0.0.1", port))).collect()
    };
    let (port, taken) = (0..100)
        .map(|_| free_port())
        .find_map(|port| all_of(port).ok().map(|taken| (port, taken)))
        .expect("seventeen free ports");
    let error = Tcp::start(0, 2, &master(port), SHORT).unwrap_err().to_string();
    let start = format!("rank 0 cannot listen at ports {port} to {} of 127.0.0.1 (", port + 16);
    assert!(error.starts_with(&start), "{error}");
    drop(taken);
}
