//! Text for people and programs. A reader that has gone away, such as `head`, has read what it
//! wanted: that is no error.

use std::io::{self, Write};

use serde::Serialize;

/// One line on standard output: a result.
pub(crate) fn result(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// One line of JSON on standard output.
pub(crate) fn json(value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string(value).map_err(io::Error::other)?;
    result(&text)
}

/// One line on standard error, for a person.
pub(crate) fn message(text: &str) {
    // Nobody is left to be told if this fails.
    let _ = writeln!(io::stderr().lock(), "{text}");
}
