//! What is wrong with an option file, and what in it means nothing here.

use std::fmt;
use std::path::{Path, PathBuf};

/// Something wrong with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key with its sections, written with dots; empty for the whole file.
    pub key: String,
    /// What is wrong and what to do, to be read behind the key.
    pub what: String,
}

impl Problem {
    pub(super) fn new(key: impl Into<String>, what: impl Into<String>) -> Self {
        Self { key: key.into(), what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.is_empty() {
            true => f.write_str(&self.what),
            false => write!(f, "{} {}", self.key, self.what),
        }
    }
}

/// A key that is accepted although it changes nothing, or not what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The key with its sections, written with dots.
    pub key: String,
    /// Why it changes nothing.
    pub why: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.why)
    }
}

/// An option file that nothing can be trained from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecipeError {
    /// The file.
    pub path: PathBuf,
    /// Everything that is wrong with it; at least one.
    pub problems: Vec<Problem>,
    /// Keys of these that were set from outside, and not in the file.
    pub set: Vec<String>,
}

impl RecipeError {
    /// One thing wrong with a whole file.
    pub(super) fn whole(path: &Path, what: String) -> Self {
        Self { path: path.to_path_buf(), problems: vec![Problem::new("", what)], set: Vec::new() }
    }
}

impl fmt::Display for RecipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = |problem: &Problem| match self.set.contains(&problem.key) {
            true => " (given by --set)",
            false => "",
        };
        write!(f, "the option file {:?}", self.path)?;
        match &self.problems[..] {
            [only] => write!(f, "{}: {only}", from(only)),
            all => all.iter().try_for_each(|problem| write!(f, "\n  {problem}{}", from(problem))),
        }
    }
}

impl std::error::Error for RecipeError {}
