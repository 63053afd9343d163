//! One request and its answer: which bytes come, and what it means if none do.

use std::io::{self, Read};

use ureq::http::Response;
use ureq::{Agent, Body};

use super::error::FetchError;
use super::part::{Notes, Part};
use super::{FetchEvent, FetchOptions, Wanted};

/// Bytes that are read at once.
const CHUNK: usize = 1 << 16;
/// How many times as large as expected a file may be, and bytes on top.
const MOST: (u64, u64) = (2, 1 << 20);
/// What servers are told that this is.
const USER_AGENT: &str = concat!("vrt/", env!("CARGO_PKG_VERSION"));

/// Why a request did not bring the rest of the file.
#[derive(Debug)]
pub(super) enum Problem {
    /// It may bring it later.
    Passing(String),
    /// It may bring it once what has come is forgotten.
    Stale(String),
    /// It never will.
    Final(FetchError),
}

/// Whether files can be fetched from there.
pub(super) fn check_address(address: &str) -> Result<(), FetchError> {
    let lower = address.to_lowercase();
    let host = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://"));
    match host {
        Some(host) if !host.is_empty() => Ok(()),
        _ => Err(FetchError::Address(address.to_owned())),
    }
}

/// What asks the server of an address.
pub(super) fn agent(address: &str, options: &FetchOptions) -> Agent {
    let patience = Some(options.patience);
    let config = Agent::config_builder()
        .http_status_as_error(false)
        // What is asked for in secret is not redirected to where everybody reads it.
        .https_only(address.to_lowercase().starts_with("https://"))
        .user_agent(USER_AGENT)
        .proxy(options.proxy.clone())
        .timeout_resolve(patience)
        .timeout_connect(patience)
        .timeout_recv_response(patience)
        .timeout_per_read(patience);
    config.build().new_agent()
}

/// Asks for what is missing, and adds what comes.
pub(super) fn go_on(
    agent: &Agent,
    wanted: &Wanted,
    part: &mut Part,
    on_event: &mut dyn FnMut(FetchEvent<'_>),
) -> Result<(), Problem> {
    let address = &wanted.address;
    let mut request = agent.get(address);
    // Without a validator, the rest might be that of another file.
    if let Some(validator) = part.validator() {
        request = request.header("range", format!("bytes={}-", part.have()));
        request = request.header("if-range", validator);
    }
    let have = part.validator().map_or(0, |_| part.have());
    on_event(FetchEvent::Asked { address, have });
    let response = request.call().map_err(|error| failed(wanted, error))?;
    begin(wanted, part, &response)?;
    receive(wanted, part, response.into_body(), on_event)
}

/// Settles what the bytes of an answer are.
fn begin(wanted: &Wanted, part: &mut Part, response: &Response<Body>) -> Result<(), Problem> {
    let (address, status) = (wanted.address.clone(), response.status().as_u16());
    let written = |source| Problem::Final(FetchError::io(&wanted.to, source));
    match status {
        200 => {
            let total = response.body().content_length();
            bounded(wanted, total.unwrap_or(0))?;
            let validator = validator(response);
            part.start(Notes { address, validator, total }).map_err(written)
        }
        206 => {
            let total = total_of_rest(part, response).ok_or_else(other_file)?;
            bounded(wanted, total.unwrap_or(0))?;
            total.map_or(Ok(()), |total| part.set_total(total)).map_err(written)
        }
        416 => Err(other_file()),
        404 | 410 => Err(Problem::Final(FetchError::NotThere { address, status })),
        408 | 425 | 429 => Err(Problem::Passing(format!("the server is busy (status {status})"))),
        300..500 => Err(Problem::Final(FetchError::Refused { address, status })),
        _ => Err(Problem::Passing(format!("the server answered with status {status}"))),
    }
}

fn other_file() -> Problem {
    Problem::Stale("the server has another file than the one that was begun".to_owned())
}

/// Bytes of the whole file, if the server tells, where the bytes of an answer follow those that
/// are there; `None` where they do not.
fn total_of_rest(part: &Part, response: &Response<Body>) -> Option<Option<u64>> {
    let range = text(response, "content-range")?;
    let (bytes, total) = range.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _) = bytes.split_once('-')?;
    let (first, total) = (first.trim().parse::<u64>().ok()?, total.trim().parse::<u64>().ok());
    let fits = match (total, part.total()) {
        (Some(total), Some(told)) => total == told,
        // The first answer need not have told how long the file is.
        (Some(total), None) => total > part.have(),
        (None, _) => true,
    };
    (first == part.have() && fits && same_version(part, response)).then_some(total)
}

/// Whether an answer is of the version of the file that was begun, as far as it tells: a server
/// may not know the condition that it was asked with.
fn same_version(part: &Part, response: &Response<Body>) -> bool {
    part.validator().is_some_and(|begun| {
        // Like is compared with like: a date says nothing about a tag.
        let told = if is_tag(begun) { "etag" } else { "last-modified" };
        text(response, told).is_none_or(|told| told == begun)
    })
}

/// What tells this version of the file from others; weak tags do not tell bytes.
fn validator(response: &Response<Body>) -> Option<String> {
    let tag = text(response, "etag").filter(|tag| is_tag(tag));
    tag.or_else(|| text(response, "last-modified")).map(str::to_owned)
}

/// Whether this is a strong entity tag, and neither a weak one nor a date.
fn is_tag(validator: &str) -> bool {
    validator.starts_with('"')
}

fn text<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

fn bounded(wanted: &Wanted, got: u64) -> Result<(), Problem> {
    let (times, more) = MOST;
    if got <= wanted.about.saturating_mul(times).saturating_add(more) {
        return Ok(());
    }
    let (address, about) = (wanted.address.clone(), wanted.about);
    Err(Problem::Final(FetchError::TooLarge { address, got, about }))
}

/// Adds the bytes of an answer.
fn receive(
    wanted: &Wanted,
    part: &mut Part,
    body: Body,
    on_event: &mut dyn FnMut(FetchEvent<'_>),
) -> Result<(), Problem> {
    let written = |source| Problem::Final(FetchError::io(&wanted.to, source));
    let mut body = body.into_reader();
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = match body.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Problem::Passing(in_words(&error.into()))),
        };
        if let Err(problem) = bounded(wanted, part.have() + read as u64) {
            // Nothing can go on from there.
            part.start_over().map_err(written)?;
            return Err(problem);
        }
        part.append(&chunk[..read]).map_err(written)?;
        on_event(FetchEvent::Moved { have: part.have(), total: part.total() });
    }
    match part.total() {
        None if part.have() > 0 => part.end().map_err(written),
        Some(total) if total == part.have() && total > 0 => Ok(()),
        Some(total) if total < part.have() => {
            Err(Problem::Stale("more bytes came than the server had told".to_owned()))
        }
        _ if part.have() == 0 => Err(Problem::Passing("the server sent an empty file".to_owned())),
        _ => Err(Problem::Passing("the connection ended early".to_owned())),
    }
}

/// What a request that got no answer means.
fn failed(wanted: &Wanted, error: ureq::Error) -> Problem {
    let reason = in_words(&error);
    match error {
        ureq::Error::Io(_)
        | ureq::Error::Timeout(_)
        | ureq::Error::HostNotFound
        | ureq::Error::ConnectionFailed
        | ureq::Error::Protocol(_)
        | ureq::Error::BodyStalled => Problem::Passing(reason),
        _ => {
            let (address, to) = (wanted.address.clone(), wanted.to.clone());
            Problem::Final(FetchError::Unreachable { address, reason, to })
        }
    }
}

fn in_words(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.to_string(),
        ureq::Error::HostNotFound => "the name of the server is not known here".to_owned(),
        ureq::Error::Timeout(_) => "the server said nothing for too long".to_owned(),
        other => other.to_string(),
    }
}
