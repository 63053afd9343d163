//! Reads one section of an option file key by key, and keeps account of all keys.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::{Map, Value};
use vrt_model::similar::nearest;

use super::problem::{Note, Problem};

/// What reading a file has found beside its values.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) problems: Vec<Problem>,
    pub(super) notes: Vec<Note>,
    /// Keys that mean something, by section.
    known: BTreeMap<String, BTreeSet<&'static str>>,
    /// Section and key of those that nobody asked for.
    unknown: Vec<(String, String)>,
}

impl Findings {
    pub(super) fn problem(&mut self, key: &str, what: impl Into<String>) {
        self.problems.push(Problem::new(key, what));
    }

    pub(super) fn note(&mut self, key: &str, why: impl Into<String>) {
        self.notes.push(Note { key: key.to_owned(), why: why.into() });
    }

    /// Turns keys that nobody asked for into problems, once all sections are read.
    pub(super) fn settle_unknown(&mut self) {
        for (section, key) in std::mem::take(&mut self.unknown) {
            let own = self.known.get(&section).into_iter().flatten();
            let elsewhere = self.known.iter().find(|(_, keys)| keys.contains(key.as_str()));
            let hint = match (nearest(&key, own), elsewhere) {
                (Some(nearest), _) => format!("did you mean {}?", joined(&section, &nearest)),
                (None, Some((other, _))) => format!("did you mean {}?", joined(other, &key)),
                (None, None) => "remove it".to_owned(),
            };
            self.problem(&joined(&section, &key), format!("is a key that nobody knows; {hint}"));
        }
    }
}

fn joined(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}

/// A kind of value that a key may have.
pub(super) trait Kind: Sized {
    /// What to write, for an error.
    const WHAT: &'static str;

    fn of(value: &Value) -> Option<Self>;
}

macro_rules! kind {
    ($type:ty, $what:literal, $of:expr) => {
        impl Kind for $type {
            const WHAT: &'static str = $what;

            fn of(value: &Value) -> Option<Self> {
                let of: fn(&Value) -> Option<Self> = $of;
                of(value)
            }
        }
    };
}

kind!(bool, "true or false", Value::as_bool);
kind!(u64, "a whole number from 0", Value::as_u64);
kind!(usize, "a whole number from 0", |value| value.as_u64()?.try_into().ok());
kind!(i64, "a whole number", Value::as_i64);
kind!(f64, "a number", Value::as_f64);
kind!(String, "text in quotes", |value| value.as_str().map(str::to_owned));
kind!(PathBuf, "a path in quotes", |value| value.as_str().map(PathBuf::from));
kind!(Vec<u64>, "a list of whole numbers, as [1, 2]", list);
kind!(Vec<usize>, "a list of whole numbers, as [1, 2]", list);
kind!(Vec<String>, "a list of texts, as [\"a\", \"b\"]", list);
kind!([f64; 2], "two numbers, as [0.9, 0.99]", |value| list(value)?.try_into().ok());

fn list<T: Kind>(value: &Value) -> Option<Vec<T>> {
    value.as_array()?.iter().map(T::of).collect()
}

/// One section.
pub(super) struct Section<'a> {
    path: String,
    keys: Map<String, Value>,
    asked: BTreeSet<&'static str>,
    pub(super) findings: &'a mut Findings,
}

impl<'a> Section<'a> {
    /// The section of `keys` at `path`, written with dots.
    pub(super) fn new(path: &str, keys: Map<String, Value>, findings: &'a mut Findings) -> Self {
        Self { path: path.to_owned(), keys, asked: BTreeSet::new(), findings }
    }

    /// The name of a key with its sections.
    pub(super) fn name(&self, key: &str) -> String {
        joined(&self.path, key)
    }

    fn value(&mut self, key: &'static str) -> Option<&Value> {
        self.asked.insert(key);
        self.keys.get(key).filter(|value| !value.is_null())
    }

    /// The section `key` in this one; empty if it is not there.
    pub(super) fn inner(&mut self, key: &'static str) -> Option<Map<String, Value>> {
        match self.value(key)?.clone() {
            Value::Object(map) => Some(map),
            other => {
                self.problem(key, format!("is {other}: write a section, {{…}}"));
                None
            }
        }
    }

    /// The value of `key`, if it is there and not `null`.
    pub(super) fn optional<T: Kind>(&mut self, key: &'static str) -> Option<T> {
        let value = self.value(key)?.clone();
        let found = T::of(&value);
        if found.is_none() {
            self.problem(key, format!("is {value}: write {}", T::WHAT));
        }
        found
    }

    /// The value of `key`, or what it is where the file is silent.
    pub(super) fn or<T: Kind>(&mut self, key: &'static str, default: T) -> T {
        self.optional(key).unwrap_or(default)
    }

    /// The value of a key that has to be there.
    pub(super) fn needed<T: Kind>(&mut self, key: &'static str, stand_in: T) -> T {
        if self.value(key).is_none() {
            self.problem(key, format!("is missing: write {}", T::WHAT));
        }
        self.optional(key).unwrap_or(stand_in)
    }

    /// A count that is at least 1.
    pub(super) fn count(&mut self, key: &'static str, default: Option<usize>) -> usize {
        let count = match default {
            Some(default) => self.or(key, default),
            None => self.needed(key, 1),
        };
        if count == 0 {
            self.problem(key, "is 0: write at least 1");
        }
        count.max(1)
    }

    /// A number of at least 0.
    pub(super) fn amount(&mut self, key: &'static str, default: f64) -> f64 {
        let amount = self.or(key, default);
        if amount < 0.0 || !amount.is_finite() {
            self.problem(key, format!("is {amount}: write a number from 0"));
            return default;
        }
        amount
    }

    /// A name out of a list.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
        default: Option<T>,
    ) -> Option<T> {
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        let Some(name) = self.optional::<String>(key) else {
            if default.is_none() && !self.keys.contains_key(key) {
                self.problem(key, format!("is missing: write one of {}", names.join(", ")));
            }
            return default;
        };
        let found = choices.iter().find(|(known, _)| *known == name).map(|(_, choice)| *choice);
        if found.is_none() {
            let hint = match nearest(&name, &names) {
                Some(nearest) => format!("did you mean {nearest}?"),
                None => format!("write one of {}", names.join(", ")),
            };
            self.problem(key, format!("is {name:?}, which is not known; {hint}"));
        }
        found.or(default)
    }

    /// A key that is accepted and means nothing here.
    pub(super) fn unused(&mut self, key: &'static str, why: &str) {
        if self.value(key).is_some() {
            let name = self.name(key);
            self.findings.note(&name, why);
        }
    }

    /// A key that may only have the value that everything here has.
    pub(super) fn fixed(&mut self, key: &'static str, only: &Value, why: &str) {
        if let Some(got) = self.value(key).filter(|got| *got != only) {
            let what = format!("is {got}: {why}; write {only} or remove the key");
            self.problem(key, what);
        }
    }

    pub(super) fn problem(&mut self, key: &str, what: impl Into<String>) {
        let name = self.name(key);
        self.findings.problem(&name, what);
    }

    /// Takes account of the keys that nobody asked for, and gives the findings on.
    pub(super) fn finish(self) -> &'a mut Findings {
        let Self { path, keys, asked, findings } = self;
        let left = keys.into_iter().map(|(key, _)| key);
        let left = left.filter(|key| !asked.contains(key.as_str()));
        findings.unknown.extend(left.map(|key| (path.clone(), key)));
        findings.known.entry(path).or_default().extend(asked);
        findings
    }
}
