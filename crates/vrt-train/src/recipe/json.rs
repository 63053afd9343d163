//! Option files as JSON values: comments taken out, keys that stand twice refused, keys set from
//! outside.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::problem::Problem;

/// The object that a text describes: JSON with `//` comments.
pub(super) fn parse(text: &str) -> Result<Map<String, Value>, String> {
    // Editors of some systems put a mark before UTF-8.
    let mut text = text.trim_start_matches('\u{feff}').to_owned();
    json_strip_comments::strip(&mut text)
        .map_err(|error| format!("a comment or string does not end: {error}"))?;
    match serde_json::from_str(&text) {
        Ok(Once(Value::Object(map))) => Ok(map),
        Ok(_) => Err("it is no JSON object: write {…} around its keys".to_owned()),
        Err(error) => Err(format!("it is not JSON with // comments: {error}")),
    }
}

/// A value in whose objects each key stands once; plain JSON would keep the last one in silence.
struct Once(Value);

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OnceVisitor).map(Once)
    }
}

struct OnceVisitor;

impl<'de> Visitor<'de> for OnceVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Once(value)) = entries.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((key, Once(value))) = entries.next_entry::<String, Once>()? {
            if map.contains_key(&key) {
                return Err(de::Error::custom(format!("the key {key} stands twice: keep one")));
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// A value for a key of an option file, given beside it: `train.total_iter=100`.
#[derive(Clone, Debug, PartialEq)]
pub struct Override {
    /// Sections and key.
    path: Vec<String>,
    value: Value,
}

/// The text sets no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} sets no key; write section.key=value, for example train.total_iter=1000")]
pub struct OverrideError(String);

impl std::str::FromStr for Override {
    type Err = OverrideError;

    /// Takes `section.key=value`; a value that is no JSON is text.
    fn from_str(text: &str) -> Result<Self, OverrideError> {
        let wrong = || OverrideError(text.to_owned());
        let (path, value) = text.split_once('=').ok_or_else(wrong)?;
        let path: Vec<_> = path.trim().split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            return Err(wrong());
        }
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        Ok(Self { path, value })
    }
}

impl Override {
    /// Whether it is about the key `path`, written with dots.
    pub(super) fn is_of(&self, path: &str) -> bool {
        self.path.iter().map(String::as_str).eq(path.split('.'))
    }

    /// Puts the value into `file`, making sections that are not there.
    pub(super) fn apply(&self, file: &mut Map<String, Value>) -> Result<(), Problem> {
        let Some((key, sections)) = self.path.split_last() else { return Ok(()) };
        let mut map = file;
        for (depth, section) in sections.iter().enumerate() {
            let inner = map.entry(section.clone()).or_insert_with(|| Map::new().into());
            let Value::Object(inner) = inner else {
                let key = self.path[..=depth].join(".");
                return Err(Problem::new(key, "is no section, so nothing can be set in it"));
            };
            map = inner;
        }
        map.insert(key.clone(), self.value.clone());
        Ok(())
    }
}
