//! A server of one file, which answers as badly as it is told to.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// What is asked for.
    pub(crate) path: String,
    headers: BTreeMap<String, String>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The first byte that is asked for, if not all are.
    pub(crate) fn first(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }

    fn read(stream: &TcpStream) -> Option<Self> {
        let mut lines = BufReader::new(stream).lines();
        let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
        let mut headers = BTreeMap::new();
        for line in lines {
            let line = line.ok()?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
        Some(Self { path, headers })
    }
}

/// What is answered to the request of a number.
type Answers = Arc<dyn Fn(usize, &Request) -> Vec<u8> + Send + Sync>;

/// Answers one request.
fn serve(mut stream: TcpStream, answer: &Answers, log: &Mutex<Vec<Request>>) {
    let Some(request) = Request::read(&stream) else { return };
    let mut asked = log.lock().unwrap();
    asked.push(request.clone());
    let number = asked.len() - 1;
    drop(asked);
    // The other side may have heard enough.
    let _ = stream.write_all(&answer(number, &request));
    let _ = stream.shutdown(Shutdown::Write);
}

/// Runs until the tests end.
pub(crate) struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Sends what `answer` gives for the request of this number, and closes the connection.
    pub(crate) fn start(
        answer: impl Fn(usize, &Request) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answer, log): (Answers, _) = (Arc::new(answer), Arc::clone(&asked));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
                thread::spawn(move || serve(stream, &answer, &log));
            }
        });
        Self { address, asked }
    }

    /// The address of a file there.
    pub(crate) fn at(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// All requests until now.
    pub(crate) fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }
}

/// An answer of this status.
pub(crate) fn answer(status: &str, headers: &[(&str, String)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    [text.as_bytes(), body].concat()
}

/// A whole file, of which only the first `sent` bytes are sent.
pub(crate) fn whole(body: &[u8], tag: Option<&str>, sent: usize) -> Vec<u8> {
    let mut headers = vec![("Content-Length", body.len().to_string())];
    headers.extend(tag.map(|tag| ("ETag", tag.to_owned())));
    answer("200 OK", &headers, &body[..sent])
}

/// The bytes from `first` on.
pub(crate) fn rest(body: &[u8], tag: &str, first: usize) -> Vec<u8> {
    let headers = [
        ("Content-Length", (body.len() - first).to_string()),
        ("Content-Range", format!("bytes {first}-{}/{}", body.len() - 1, body.len())),
        ("ETag", tag.to_owned()),
    ];
    answer("206 Partial Content", &headers, &body[first..])
}

/// What a good server answers: the rest if it is asked for and the file is still the same.
pub(crate) fn well(request: &Request, body: &[u8], tag: &str) -> Vec<u8> {
    match request.first() {
        Some(first) if request.header("if-range") == Some(tag) => rest(body, tag, first),
        _ => whole(body, Some(tag), body.len()),
    }
}
