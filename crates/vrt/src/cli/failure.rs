//! From errors to messages and exit codes.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use serde_json::json;

use super::{GlobalOptions, output};

/// Exit code of a run that failed or was stopped.
const FAILED: u8 = 1;

/// Exit code of wrong usage, as the parser of arguments has it.
const WRONG_USAGE: u8 = 2;

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The arguments do not fit each other, which only a look at them together shows.
    Usage(String),
    /// The work failed.
    Failed(Box<dyn Error>),
    /// The work failed, and it has been said.
    Told,
}

impl Failure {
    /// The failure behind an error of the library.
    pub(crate) fn failed(error: impl Into<Box<dyn Error>>) -> Self {
        Self::Failed(error.into())
    }

    /// Tells the person, and the program that reads JSON, and gives the exit code.
    pub(crate) fn report(&self, global: &GlobalOptions) -> ExitCode {
        if matches!(self, Self::Told) {
            return ExitCode::from(FAILED);
        }
        output::message(&format!("error: {self}"));
        if global.json {
            // The message is on standard error already if this does not arrive.
            let _ = output::json(&json!({ "event": "failed", "message": self.to_string() }));
        }
        match self {
            Self::Usage(_) => ExitCode::from(WRONG_USAGE),
            Self::Failed(_) | Self::Told => ExitCode::from(FAILED),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) => f.write_str(message),
            Self::Failed(error) => error.fmt(f),
            Self::Told => f.write_str("it has been said"),
        }
    }
}

/// Errors of the library state their causes themselves.
impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(Box::new(error))
    }
}
