//! Ranks that meet by TCP on this machine, and who else may knock at their ports.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
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
    listener.local_addr().unwrap().port()
}

/// What `run` returns on every rank of a group, in order.
fn on_ranks<T: Send>(size: usize, master: &Master, run: impl Fn(Tcp) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let run = &run;
        let of = |rank| move || run(joined(rank, size, master, LONG).unwrap());
        let threads: Vec<_> = (0..size).rev().map(|rank| scope.spawn(of(rank))).collect();
        threads.into_iter().rev().map(|thread| thread.join().unwrap()).collect()
    })
}

/// A rank that nobody stops, and that says nothing.
fn joined(
    rank: usize,
    size: usize,
    master: &Master,
    patience: Duration,
) -> Result<Tcp, CollectiveError> {
    let stop = AtomicBool::new(false);
    Tcp::start(rank, size, master, Waiting { patience, stop: &stop, tell: &|_| {} })
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

/// A connection to a port where somebody is about to listen.
fn knock(port: u16) -> TcpStream {
    let deadline = Instant::now() + LONG;
    loop {
        match TcpStream::connect(("127.0.0.1", port)) {
            Ok(link) => return link,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn strangers_and_other_runs_are_sent_away() {
    let port = free_port();
    std::thread::scope(|scope| {
        let run = |rank| joined(rank, 2, &master(port), LONG).unwrap().rank();
        let first = scope.spawn(move || run(0));
        // One says nothing, one something else, one hangs up; they are heard before the rank is.
        let silent = knock(port);
        let mut other = knock(port);
        other.write_all(b"GET / HTTP/1.1\r\nHost: somebody\r\nAccept: nothing\r\n\r\n").unwrap();
        drop(knock(port));
        let another = Master { run: "another".to_owned(), ..master(port) };
        // Long enough for the silent one to be given up.
        let patience = Duration::from_secs(3);
        let error = joined(1, 2, &another, patience).unwrap_err().to_string();
        assert!(error.contains("within 3 s (the rank there is of another run)"), "{error}");
        let error = joined(1, 3, &master(port), LONG).unwrap_err().to_string();
        let start = format!("rank 0 at 127.0.0.1:{port} does not count 3 ranks: start all ranks");
        assert!(error.starts_with(&start), "{error}");
        assert_eq!(run(1), 1);
        assert_eq!(first.join().unwrap(), 0);
        let mut rest = Vec::new();
        assert_eq!(other.read_to_end(&mut rest).unwrap_or(0), 0, "{rest:?}");
        drop(silent);
    });
}

#[test]
fn ranks_of_another_run_do_not_keep_rank_0_waiting() {
    let port = free_port();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let done = &done;
        let pest = scope.spawn(move || {
            let another = Master { run: "another".to_owned(), ..master(port) };
            while !done.load(Ordering::Relaxed) {
                let error = joined(1, 2, &another, SHORT).unwrap_err();
                assert!(matches!(error, CollectiveError::Meeting(_)), "{error}");
            }
        });
        let error = joined(0, 2, &master(port), Duration::from_secs(5)).unwrap_err().to_string();
        done.store(true, Ordering::Relaxed);
        let told = "within 5 s (a rank of another run came and was refused): start";
        assert!(error.contains(told), "{error}");
        pest.join().unwrap();
    });
}

#[test]
fn who_speaks_slowly_is_not_waited_for() {
    let port = free_port();
    std::thread::scope(|scope| {
        let first = scope.spawn(move || joined(0, 2, &master(port), LONG).map(|tcp| tcp.rank));
        let mut slow = knock(port);
        let slow = scope.spawn(move || {
            let started = Instant::now();
            // The right words, byte by byte, for seven seconds.
            let words =
                bytemuck::cast_slice::<u64, u8>(&[u64::from_be_bytes(*b"vrtrank1"); 5]).to_vec();
            let sent = words.iter().take_while(|byte| {
                std::thread::sleep(Duration::from_millis(175));
                slow.write_all(&[**byte]).is_ok()
            });
            (sent.count(), started.elapsed())
        });
        assert_eq!(joined(1, 2, &master(port), LONG).map(|tcp| tcp.rank), Ok(1));
        assert_eq!(first.join().unwrap(), Ok(0));
        let (sent, elapsed) = slow.join().unwrap();
        assert!(sent < 40, "{sent} bytes were heard in {elapsed:?}");
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
        let first = scope.spawn(move || joined(0, 3, &master(port), Duration::from_secs(9)));
        let one = meeting::tests::admitted(1, 3, &master(port));
        let error = joined(1, 3, &master(port), Duration::from_secs(3)).unwrap_err().to_string();
        assert!(error.contains("another process is rank 1 there"), "{error}");
        let error = first.join().unwrap().unwrap_err().to_string();
        let start = format!("rank 2 did not come to rank 0 at 127.0.0.1, port {port}, within 9 s");
        assert!(error.starts_with(&start), "{error}");
        let told = "(a second process that is the same rank came and was refused)";
        assert!(error.contains(told), "{error}");
        drop(one);
    });
}

#[test]
fn who_comes_again_is_let_in() {
    let port = free_port();
    std::thread::scope(|scope| {
        let run = |rank| {
            let tcp = joined(rank, 3, &master(port), LONG)?;
            tcp.barrier().map(|()| tcp.rank())
        };
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
fn a_rank_that_dies_among_the_others_is_missed_by_all() {
    let port = free_port();
    std::thread::scope(|scope| {
        let run = |rank| joined(rank, 3, &master(port), LONG);
        let first = scope.spawn(move || run(0).and_then(|tcp| tcp.barrier()));
        let second = scope.spawn(move || run(1).and_then(|tcp| tcp.barrier()));
        // Rank 2 dies when rank 0 has told it of rank 1, which waits for it.
        let mut dead = meeting::tests::admitted(2, 3, &master(port));
        dead.read_exact(&mut [0; 9 * 8]).unwrap();
        drop(dead);
        let lost = MeetingError::Lost { rank: 2 };
        assert_eq!(first.join().unwrap(), Err(lost.into()));
        let lost = second.join().unwrap().unwrap_err().to_string();
        assert_eq!(lost, "rank 0 was lost while ranks met: its own messages say why");
    });
}

#[test]
fn ranks_meet_under_every_name_of_their_machine() {
    for address in ["localhost", "127.0.1.1", "::1", "0.0.0.0"] {
        let master = Master { address: address.to_owned(), ..master(free_port()) };
        if address == "::1" && TcpListener::bind((address, 0)).is_err() {
            eprintln!("SKIPPED: there is no IPv6 here");
            continue;
        }
        let sums = on_ranks(3, &master, |tcp| {
            let mut values = [1.0];
            tcp.sum(&mut values).map(|()| values)
        });
        assert_eq!(sums, vec![Ok([3.0]); 3], "{address}");
    }
}

#[test]
fn waiting_in_vain_ends_with_who_did_not_come() {
    let missing = |size| joined(0, size, &master(free_port()), SHORT).unwrap_err().to_string();
    let cases = [(2, "rank 1 did"), (3, "ranks 1 and 2 did"), (6, "ranks 1, 2 and 3 more did")];
    for (size, start) in cases {
        let error = missing(size);
        assert!(error.starts_with(&format!("{start} not come to rank 0 at 127.0.0.1")), "{error}");
        assert!(error.contains(&format!("within 0 s: start all {size} ranks")), "{error}");
    }
    let port = free_port();
    let error = joined(1, 2, &master(port), Duration::from_secs(2)).unwrap_err().to_string();
    let start = format!("rank 0 did not answer at ports {}", Ports::of(&master(port)));
    assert!(error.starts_with(&start) && error.contains("refused"), "{error}");
    let nowhere = Master { address: "no such machine".to_owned(), ..master(port) };
    let error = joined(1, 2, &nowhere, SHORT).unwrap_err().to_string();
    assert!(error.starts_with(&start) && error.contains("of no such machine"), "{error}");
    let error = joined(0, 1001, &master(port), SHORT).unwrap_err();
    assert_eq!(error, MeetingError::TooMany { size: 1001 }.into());
}

#[test]
fn rank_0_says_where_it_cannot_listen() {
    let all_of = |master: &Master| -> io::Result<Vec<_>> {
        Ports::of(master).all().map(|port| TcpListener::bind(("127.0.0.1", port))).collect()
    };
    let (own, taken) = (0..100)
        .map(|_| master(free_port()))
        .find_map(|master| all_of(&master).ok().map(|taken| (master, taken)))
        .expect("seventeen free ports");
    let error = joined(0, 2, &own, SHORT).unwrap_err().to_string();
    let start = format!("rank 0 cannot listen at ports {} of 127.0.0.1 (", Ports::of(&own));
    assert!(error.starts_with(&start), "{error}");
    drop(taken);
}

#[test]
fn behind_an_error_in_the_middle_nothing_is_understood() {
    let ends = on_ranks(2, &master(free_port()), |tcp| {
        if tcp.rank() == 1 {
            return None;
        }
        let gone = Err(CollectiveError::Gone { rank: 1 });
        assert_eq!((tcp.barrier(), tcp.barrier()), (gone.clone(), gone));
        Some(())
    });
    assert_eq!(ends, [Some(()), None]);
}

#[test]
fn who_waits_says_for_whom_and_can_be_stopped() {
    let port = free_port();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (stop, started) = (&stop, Instant::now());
        let rank = |rank| {
            move || {
                let told = std::sync::Mutex::new(Vec::new());
                let tell = |what: &str| told.lock().unwrap().push(what.to_owned());
                let waiting = Waiting { patience: LONG, stop, tell: &tell };
                let error = Tcp::start(rank, 3, &master(port), waiting).unwrap_err();
                (error, told.into_inner().unwrap())
            }
        };
        let first = scope.spawn(rank(0));
        // One that is let in and waits, and one that finds nobody.
        let second = scope.spawn(rank(1));
        let error = joined(2, 5, &master(port), LONG).unwrap_err();
        assert!(matches!(error, CollectiveError::Meeting(MeetingError::OtherSize { .. })));
        stop.store(true, Ordering::Relaxed);
        let (error, told) = first.join().unwrap();
        assert_eq!(error, MeetingError::Stopped.into());
        let waits = format!("rank 0 waits for 2 more at 127.0.0.1, port {port}");
        let refused = "a rank that counts another number of ranks came and was refused";
        assert!(told.contains(&waits) && told.iter().any(|what| what == refused), "{told:?}");
        let (error, _) = second.join().unwrap();
        let lost = MeetingError::Lost { rank: 0 }.into();
        assert!(error == MeetingError::Stopped.into() || error == lost, "{error}");
        assert!(started.elapsed() < LONG);
    });
}
