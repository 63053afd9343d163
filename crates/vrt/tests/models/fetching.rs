//! Whole files over bad connections, and errors that say what was wrong.

use std::cell::RefCell;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;
use vrt::models::fetch::{Wanted, fetch};
use vrt::models::published::ContentError;
use vrt::models::{FetchError, FetchEvent, FetchOptions, Fetched, Record, Sha256};

use crate::server::{Request, Server, answer, rest, well, whole};

const TAG: &str = "\"one\"";

/// A folder, a file to fetch into it, and how.
struct Bench {
    folder: TempDir,
    options: FetchOptions,
}

impl Bench {
    fn new() -> Self {
        let options = FetchOptions { pause: Duration::ZERO, ..FetchOptions::default() };
        Self { folder: tempfile::tempdir().unwrap(), options }
    }

    fn to(&self) -> PathBuf {
        self.folder.path().join("weights/a.pth")
    }

    fn wanted(&self, address: &str) -> Wanted {
        Wanted { address: address.to_owned(), to: self.to(), about: 1000, sha256: None }
    }

    fn fetch(&self, server: &Server) -> Result<Fetched, FetchError> {
        fetch(&self.wanted(&server.at("a.pth")), &|_| Ok(()), &self.options, &mut |_| {})
    }

    /// Names in the folder of the file.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path().join("weights")).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn body(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * i % 251) as u8).collect()
}

#[test]
fn a_file_comes_whole_with_a_record_and_nothing_beside_it() {
    let (bench, bytes) = (Bench::new(), body(300_000));
    let sent = bytes.clone();
    let server = Server::start(move |_, request| well(request, &sent, TAG));
    let wanted = Wanted { about: 300_000, ..bench.wanted(&server.at("a.pth")) };
    let told = RefCell::new(Vec::new());
    let fetched = fetch(&wanted, &|_| Ok(()), &bench.options, &mut |event| {
        if let FetchEvent::Moved { have, total } = event {
            told.borrow_mut().push((have, total));
        }
    });
    let fetched = fetched.unwrap();
    assert_eq!(fs::read(bench.to()).unwrap(), bytes);
    assert_eq!((fetched.bytes, fetched.was_there), (300_000, false));
    assert_eq!(bench.files(), ["a.pth", "a.pth.json", "a.pth.lock"]);
    let record = fs::read_to_string(bench.folder.path().join("weights/a.pth.json")).unwrap();
    let record: Record = serde_json::from_str(&record).unwrap();
    assert_eq!(record.sha256, Sha256::of_file(&bench.to()).unwrap());
    assert_eq!((record.bytes, record.source), (300_000, Some(wanted.address)));
    let told = told.into_inner();
    assert!(told.is_sorted() && told.last() == Some(&(300_000, Some(300_000))), "{told:?}");
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn a_file_that_is_there_is_not_asked_for() {
    let bench = Bench::new();
    let server = Server::start(|_, request| well(request, &body(1000), TAG));
    bench.fetch(&server).unwrap();
    let again = bench.fetch(&server).unwrap();
    assert!(again.was_there);
    assert_eq!(server.asked().len(), 1);
    // But one with another digest than asked for is told of, and stays.
    let sha256 = Some("0".repeat(64).parse().unwrap());
    let wanted = Wanted { sha256, ..bench.wanted(&server.at("a.pth")) };
    let error = fetch(&wanted, &|_| Ok(()), &bench.options, &mut |_| {}).unwrap_err();
    assert!(matches!(error, FetchError::HeldDigest { .. }), "{error}");
    assert_eq!(fs::read(bench.to()).unwrap(), body(1000));
}

#[test]
fn a_file_that_changed_since_it_came_is_told_of_and_stays() {
    let bench = Bench::new();
    let server = Server::start(|_, request| well(request, &body(1000), TAG));
    bench.fetch(&server).unwrap();
    fs::write(bench.to(), [7; 1000]).unwrap();
    let error = bench.fetch(&server).unwrap_err();
    assert!(matches!(error, FetchError::HeldDigest { .. }), "{error}");
    let text = error.to_string();
    for part in ["a.pth", "`vrt models remove`"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    assert_eq!(fs::read(bench.to()).unwrap(), [7; 1000]);
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn a_file_put_there_by_hand_is_checked_and_recorded_once() {
    let bench = Bench::new();
    let server = Server::start(|_, request| well(request, &body(1000), TAG));
    let wanted = bench.wanted(&server.at("a.pth"));
    fs::create_dir(bench.folder.path().join("weights")).unwrap();
    fs::write(bench.to(), body(500)).unwrap();
    let wrong = |path: &Path| {
        let (path, tensor) = (path.to_owned(), "norm.weight".to_owned());
        Err(ContentError::NoNumber { path, tensor })
    };
    let error = fetch(&wanted, &wrong, &bench.options, &mut |_| {}).unwrap_err();
    assert!(matches!(error, FetchError::HeldContent { .. }), "{error}");
    let text = error.to_string();
    for part in [bench.to().to_str().unwrap(), "norm.weight", "`vrt models remove`"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    assert_eq!(bench.files(), ["a.pth", "a.pth.lock"]);

    let checked = RefCell::new(0);
    let right = |_: &Path| {
        *checked.borrow_mut() += 1;
        Ok(())
    };
    for _ in 0..2 {
        let fetched = fetch(&wanted, &right, &bench.options, &mut |_| {}).unwrap();
        assert_eq!((fetched.bytes, fetched.was_there), (500, true));
    }
    assert_eq!(checked.into_inner(), 1);
    let record = fs::read_to_string(bench.folder.path().join("weights/a.pth.json")).unwrap();
    let record: Record = serde_json::from_str(&record).unwrap();
    let sha256 = Sha256::of_file(&bench.to()).unwrap();
    assert_eq!(record, Record { sha256, bytes: 500, source: None });
    assert!(server.asked().is_empty());
}

#[test]
fn what_is_broken_off_goes_on_wherever_it_broke() {
    for cut in [1, 2, 499, 998, 999] {
        let bench = Bench::new();
        let server = Server::start(move |number, request| match number {
            0 => whole(&body(1000), Some(TAG), cut),
            _ => well(request, &body(1000), TAG),
        });
        bench.fetch(&server).unwrap();
        assert_eq!(fs::read(bench.to()).unwrap(), body(1000), "{cut}");
        let asked = server.asked();
        assert_eq!(asked.len(), 2);
        assert_eq!((asked[0].first(), asked[1].first()), (None, Some(cut)));
        assert_eq!(asked[1].header("if-range"), Some(TAG));
    }
}

/// The first bytes of a file whose length is not told, and then the end of the connection.
fn broken_chunks(bytes: &[u8]) -> Vec<u8> {
    let headers = [("Transfer-Encoding", "chunked".to_owned()), ("ETag", TAG.to_owned())];
    let start = format!("{:x}\r\n", bytes.len());
    answer("200 OK", &headers, &[start.as_bytes(), bytes, b"\r\n"].concat())
}

#[test]
fn a_file_whose_length_is_told_only_with_its_rest_goes_on() {
    let bench = Bench::new();
    let server = Server::start(|number, request| match number {
        0 => broken_chunks(&body(400)),
        _ => well(request, &body(1000), TAG),
    });
    bench.fetch(&server).unwrap();
    assert_eq!(fs::read(bench.to()).unwrap(), body(1000));
    let firsts: Vec<_> = server.asked().iter().map(Request::first).collect();
    assert_eq!(firsts, [None, Some(400)]);
}

#[test]
fn a_length_that_is_told_only_with_the_rest_is_held_to_the_same_bound() {
    let bench = Bench::new();
    let server = Server::start(|number, _| match number {
        0 => broken_chunks(&body(400)),
        _ => {
            let range = format!("bytes 400-{}/{}", (1_u64 << 40) - 1, 1_u64 << 40);
            let headers = [("Content-Range", range), ("ETag", TAG.to_owned())];
            answer("206 Partial Content", &headers, b"abc")
        }
    });
    let error = bench.fetch(&server).unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { got, .. } if got == 1 << 40), "{error}");
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn a_later_run_goes_on_where_an_earlier_one_gave_up() {
    let mut bench = Bench::new();
    bench.options.tries = 1;
    let server = Server::start(|number, request| match number {
        0 => whole(&body(1000), Some(TAG), 600),
        // The rest breaks off as well.
        1 => rest(&body(1000), TAG, 600)[..300].to_vec(),
        _ => well(request, &body(1000), TAG),
    });
    let error = bench.fetch(&server).unwrap_err();
    assert!(matches!(error, FetchError::BrokenOff { have: 600, total: Some(1000), .. }), "{error}");
    assert!(!bench.to().exists());
    let error = bench.fetch(&server).unwrap_err();
    let FetchError::BrokenOff { have, .. } = error else { panic!("{error}") };
    assert!(have > 600 && have < 1000, "{have}");
    bench.fetch(&server).unwrap();
    assert_eq!(fs::read(bench.to()).unwrap(), body(1000));
    assert_eq!(server.asked()[2].first(), Some(have as usize));
}

#[test]
fn a_run_that_ended_before_the_name_was_given_needs_no_server() {
    let bench = Bench::new();
    let server = Server::start(|_, request| well(request, &body(1000), TAG));
    fs::create_dir(bench.folder.path().join("weights")).unwrap();
    let notes =
        serde_json::json!({ "address": server.at("a.pth"), "validator": TAG, "total": 1000 });
    fs::write(bench.folder.path().join("weights/a.pth.part"), body(1000)).unwrap();
    fs::write(bench.folder.path().join("weights/a.pth.part.json"), notes.to_string()).unwrap();
    bench.fetch(&server).unwrap();
    assert_eq!(fs::read(bench.to()).unwrap(), body(1000));
    assert!(server.asked().is_empty());
}

#[test]
fn bytes_from_elsewhere_or_without_notes_are_not_gone_on_from() {
    for notes in ["", "{\"address\":\"http://elsewhere/a.pth\",\"validator\":\"\\\"one\\\"\"}"] {
        let bench = Bench::new();
        let server = Server::start(|_, request| well(request, &body(1000), TAG));
        fs::create_dir(bench.folder.path().join("weights")).unwrap();
        fs::write(bench.folder.path().join("weights/a.pth.part"), [7; 500]).unwrap();
        fs::write(bench.folder.path().join("weights/a.pth.part.json"), notes).unwrap();
        bench.fetch(&server).unwrap();
        assert_eq!(fs::read(bench.to()).unwrap(), body(1000));
        assert_eq!(server.asked()[0].first(), None);
    }
}

#[test]
fn a_server_without_ranges_starts_over() {
    // With a tag it is asked for the rest and sends everything; without one it is not asked.
    for tag in [Some(TAG), None, Some("W/\"weak\"")] {
        let bench = Bench::new();
        let server = Server::start(move |number, _| {
            whole(&body(1000), tag, if number == 0 { 400 } else { 1000 })
        });
        bench.fetch(&server).unwrap();
        assert_eq!(fs::read(bench.to()).unwrap(), body(1000), "{tag:?}");
        let first = server.asked()[1].first();
        assert_eq!(first, (tag == Some(TAG)).then_some(400), "{tag:?}");
    }
}

#[test]
fn a_file_that_changed_meanwhile_is_not_mixed_with_the_old_one() {
    let bench = Bench::new();
    let server = Server::start(|number, request| match number {
        0 => whole(&body(1000), Some(TAG), 400),
        _ => well(request, &[9; 900], "\"two\""),
    });
    bench.fetch(&server).unwrap();
    assert_eq!(fs::read(bench.to()).unwrap(), [9; 900]);
}

#[test]
fn a_rest_that_does_not_fit_is_not_taken() {
    type Answer = fn() -> Vec<u8>;
    let wrong: [Answer; 5] = [
        || rest(&body(1000), TAG, 300),
        // Of another version, which the server was told not to send.
        || rest(&[9; 1000], "\"two\"", 400),
        || rest(&body(2000), TAG, 400),
        || answer("206 Partial Content", &[("Content-Length", "3".to_owned())], b"abc"),
        || answer("416 Range Not Satisfiable", &[("Content-Length", "0".to_owned())], b""),
    ];
    for wrong in wrong {
        let bench = Bench::new();
        let server = Server::start(move |number, request| match number {
            0 => whole(&body(1000), Some(TAG), 400),
            1 => wrong(),
            _ => well(request, &body(1000), TAG),
        });
        bench.fetch(&server).unwrap();
        assert_eq!(fs::read(bench.to()).unwrap(), body(1000));
        assert_eq!(server.asked()[2].first(), None);
    }
}

#[test]
fn a_file_of_another_size_is_refused_before_it_fills_the_disk() {
    let announced = || answer("200 OK", &[("Content-Length", (1_u64 << 40).to_string())], b"abc");
    // Without a length, the bytes themselves are counted.
    let endless = || answer("200 OK", &[], &vec![1; (1 << 20) + 10_000]);
    for answer in [announced as fn() -> Vec<u8>, endless] {
        let bench = Bench::new();
        let server = Server::start(move |_, _| answer());
        let error = bench.fetch(&server).unwrap_err();
        assert!(matches!(error, FetchError::TooLarge { about: 1000, .. }), "{error}");
        assert_eq!(bench.files(), ["a.pth.lock"]);
        assert_eq!(server.asked().len(), 1);
    }
}

#[test]
fn a_file_whose_length_is_not_told_ends_with_the_connection() {
    let bench = Bench::new();
    let server = Server::start(|_, _| answer("200 OK", &[], &body(1000)));
    let fetched = bench.fetch(&server).unwrap();
    assert_eq!(fetched.bytes, 1000);
    assert_eq!(fs::read(bench.to()).unwrap(), body(1000));
}

#[test]
fn a_connection_that_always_ends_early_is_given_up() {
    let bench = Bench::new();
    let server = Server::start(|_, _| whole(&body(1000), None, 10));
    let error = bench.fetch(&server).unwrap_err();
    assert!(matches!(error, FetchError::BrokenOff { total: Some(1000), .. }), "{error}");
    assert_eq!(server.asked().len() as u32, bench.options.tries);
}

#[test]
fn getting_back_to_where_it_broke_is_no_headway() {
    let bench = Bench::new();
    let bytes = body(4 << 20);
    let server = Server::start(move |number, request| match request.first() {
        // A client that never gives up gets the file after all, and fails the test.
        _ if number >= 20 => well(request, &bytes, TAG),
        None => whole(&bytes, Some(TAG), 2 << 20),
        Some(_) => answer("416 Range Not Satisfiable", &[("Content-Length", "0".to_owned())], b""),
    });
    let wanted = Wanted { about: 4 << 20, ..bench.wanted(&server.at("a.pth")) };
    fetch(&wanted, &|_| Ok(()), &bench.options, &mut |_| {}).unwrap_err();
    assert_eq!(server.asked().len() as u32, bench.options.tries);
}

#[test]
fn a_server_that_is_there_and_gives_nothing_is_not_called_unreachable() {
    let bench = Bench::new();
    let server = Server::start(|_, _| {
        answer("503 Service Unavailable", &[("Content-Length", "0".to_owned())], b"")
    });
    let text = bench.fetch(&server).unwrap_err().to_string();
    for part in ["nothing came", "503", "--from"] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    assert!(!text.contains("reached"), "{text}");
    assert_eq!(bench.files(), ["a.pth.lock"]);
}

#[test]
fn another_digest_is_an_error_and_nothing_is_kept() {
    let bench = Bench::new();
    let server = Server::start(|_, request| well(request, &body(1000), TAG));
    let sha256 = Some("0".repeat(64).parse().unwrap());
    let wanted = Wanted { sha256, ..bench.wanted(&server.at("a.pth")) };
    let error = fetch(&wanted, &|_| Ok(()), &bench.options, &mut |_| {}).unwrap_err();
    assert!(matches!(error, FetchError::Digest { .. }), "{error}");
    assert_eq!(bench.files(), ["a.pth.lock"]);
    let file = bench.folder.path().join("same");
    fs::write(&file, body(1000)).unwrap();
    let wanted = Wanted { sha256: Some(Sha256::of_file(&file).unwrap()), ..wanted };
    fetch(&wanted, &|_| Ok(()), &bench.options, &mut |_| {}).unwrap();
}

#[test]
fn other_content_is_an_error_and_nothing_is_kept() {
    let bench = Bench::new();
    let server = Server::start(|_, request| well(request, &body(1000), TAG));
    let seen = RefCell::new(None);
    let check = |path: &Path| {
        *seen.borrow_mut() = Some(fs::read(path).unwrap());
        let (path, tensor) = (path.to_owned(), "norm.weight".to_owned());
        Err(ContentError::NoNumber { path, tensor })
    };
    let wanted = bench.wanted(&server.at("a.pth"));
    let error = fetch(&wanted, &check, &bench.options, &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("norm.weight"), "{error}");
    assert_eq!(seen.into_inner(), Some(body(1000)));
    assert_eq!(bench.files(), ["a.pth.lock"]);
}

#[test]
fn what_the_server_refuses_is_not_asked_for_again() {
    for (status, part) in [("404 Not Found", "no such file"), ("403 Forbidden", "refuses")] {
        let bench = Bench::new();
        let server = Server::start(move |_, _| answer(status, &[], b"no"));
        let error = bench.fetch(&server).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains(&status[..3]), "{error}");
        assert!(error.contains("a.pth"), "{error}");
        assert_eq!(server.asked().len(), 1);
    }
}

#[test]
fn a_busy_server_is_asked_again_and_a_redirection_followed() {
    let bench = Bench::new();
    let server = Server::start(|number, request| match (number, request.path.as_str()) {
        (0, _) => answer("503 Service Unavailable", &[("Content-Length", "0".to_owned())], b""),
        (1, _) => answer("429 Too Many Requests", &[("Content-Length", "0".to_owned())], b""),
        (_, "/a.pth") => {
            let headers = [("Location", "/b".to_owned()), ("Content-Length", "0".to_owned())];
            answer("302 Found", &headers, b"")
        }
        _ => well(request, &body(1000), TAG),
    });
    bench.fetch(&server).unwrap();
    assert_eq!(fs::read(bench.to()).unwrap(), body(1000));
    let paths: Vec<_> = server.asked().iter().map(|request| request.path.clone()).collect();
    assert_eq!(paths, ["/a.pth", "/a.pth", "/a.pth", "/b"]);
}

#[test]
fn without_a_network_the_error_says_what_else_can_be_done() {
    let bench = Bench::new();
    // A port that nothing listens at any more.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let wanted = bench.wanted(&format!("http://{address}/a.pth"));
    let mut again = 0;
    let error = fetch(&wanted, &|_| Ok(()), &bench.options, &mut |event| {
        again += u32::from(matches!(event, FetchEvent::Again { .. }));
    });
    let text = error.unwrap_err().to_string();
    for part in ["refused", &wanted.address, "--from", bench.to().to_str().unwrap()] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    assert_eq!(again, bench.options.tries - 1);
}

#[test]
fn a_server_that_says_nothing_is_not_waited_for_forever() {
    let mut bench = Bench::new();
    bench.options =
        FetchOptions { tries: 2, patience: Duration::from_millis(200), ..bench.options };
    let server = Server::start(|_, _| {
        thread::sleep(Duration::from_secs(60));
        Vec::new()
    });
    let error = bench.fetch(&server).unwrap_err();
    assert!(error.to_string().contains("said nothing"), "{error}");
    assert_eq!(server.asked().len(), 2);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_said() {
    let bench = Bench::new();
    let server = Server::start(|_, request| well(request, &body(1000), TAG));
    fs::create_dir(bench.folder.path().join("weights")).unwrap();
    let part = bench.folder.path().join("weights/a.pth.part");
    std::os::unix::fs::symlink("/dev/full", part).unwrap();
    let error = bench.fetch(&server).unwrap_err();
    assert!(matches!(error, FetchError::NoSpace { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("no space") && text.contains("--cache"), "{text}");
    assert!(text.contains(bench.folder.path().to_str().unwrap()), "{text}");
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let bench = Bench::new();
    let server = Server::start(|_, request| well(request, &body(1000), TAG));
    fs::write(bench.folder.path().join("weights"), "a file").unwrap();
    let error = bench.fetch(&server).unwrap_err();
    assert!(matches!(error, FetchError::Io { .. }), "{error}");
    assert!(error.to_string().contains("weights"), "{error}");
    assert!(server.asked().is_empty());
}

#[test]
fn of_several_at_once_one_fetches_and_the_others_wait() {
    let bench = Arc::new(Bench::new());
    let server = Arc::new(Server::start(|_, request| {
        // Long enough for the others to come.
        thread::sleep(Duration::from_millis(300));
        well(request, &body(1000), TAG)
    }));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (bench, server) = (Arc::clone(&bench), Arc::clone(&server));
            thread::spawn(move || bench.fetch(&server).unwrap())
        })
        .collect();
    let fetched: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(fetched.iter().filter(|fetched| !fetched.was_there).count(), 1);
    assert_eq!(server.asked().len(), 1);
    assert_eq!(fs::read(bench.to()).unwrap(), body(1000));
}

#[test]
fn only_addresses_of_servers_are_fetched_from() {
    let bench = Bench::new();
    for address in ["", "a.pth", "ftp://host/a.pth", "file:///a.pth", "http://", "https:/host"] {
        let error = fetch(&bench.wanted(address), &|_| Ok(()), &bench.options, &mut |_| {});
        assert!(matches!(error, Err(FetchError::Address(_))), "{address}: {error:?}");
    }
    assert!(!bench.folder.path().join("weights").exists());
    // An address of the right form that leads nowhere.
    let wanted = bench.wanted("http://no such host/a.pth");
    assert!(fetch(&wanted, &|_| Ok(()), &bench.options, &mut |_| {}).is_err());
}
