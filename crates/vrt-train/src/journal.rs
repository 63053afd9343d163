//! `journal.jsonl`: one line of JSON a step, which reads as one run however often that was stopped.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::run_folder::aside;
use crate::step::StepReport;

/// A journal that cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the journal {path:?} cannot be written: {source}")]
pub struct JournalError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// The journal of a run.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Opens the journal at `path` after `step`: lines about later steps, which the run does
    /// again, are cut off, and so is a line that was not written to its end.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or written.
    pub fn open_after(path: &Path, step: u64) -> Result<Self, JournalError> {
        let failed = |source| JournalError { path: path.to_path_buf(), source };
        let file = open_after(path, step).map_err(failed)?;
        Ok(Self { path: path.to_path_buf(), file })
    }

    /// Writes the line of a step.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn step(&mut self, report: &StepReport, seconds: f64) -> Result<(), JournalError> {
        let StepReport { step, loss, rates, gradient_norm } = report;
        self.line(&json!({
            "step": step,
            "loss": loss,
            "lr": rates,
            "grad_norm": gradient_norm,
            "seconds": seconds,
        }))
    }

    /// Writes a line about something else that happened after a step.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn event(&mut self, event: &str, step: u64, facts: Value) -> Result<(), JournalError> {
        let mut line = json!({ "event": event, "after": step });
        if let (Value::Object(line), Value::Object(facts)) = (&mut line, facts) {
            line.extend(facts);
        }
        self.line(&line)
    }

    fn line(&mut self, line: &Value) -> Result<(), JournalError> {
        // In one piece: a run that is killed leaves whole lines.
        let text = format!("{line}\n");
        let failed = |source| JournalError { path: self.path.clone(), source };
        self.file.write_all(text.as_bytes()).map_err(failed)
    }
}

/// Whether the journal at `path` has a line about `event` after `step`.
pub fn tells(path: &Path, event: &str, step: u64) -> bool {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.into_iter().any(|line| line["event"] == event && line["after"] == step)
}

fn open_after(path: &Path, step: u64) -> io::Result<File> {
    match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
        Ok(text) => {
            let kept: String =
                text.split_inclusive('\n').filter(|line| is_of(line, step)).collect();
            if kept != text {
                let folder = path.parent().unwrap_or(Path::new("."));
                let mut aside = aside(folder)?;
                aside.write_all(kept.as_bytes())?;
                aside.as_file().sync_all()?;
                aside.persist(path)?;
            }
        }
    }
    OpenOptions::new().create(true).append(true).open(path)
}

/// Whether a line is whole and about the first `step` steps.
fn is_of(line: &str, step: u64) -> bool {
    let value: Option<Value> = serde_json::from_str(line).ok();
    let of = value.and_then(|value| value.get("step").or(value.get("after"))?.as_u64());
    line.ends_with('\n') && of.is_some_and(|of| of <= step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(step: u64) -> StepReport {
        StepReport { step, loss: 0.5, rates: vec![1e-3, 1e-4], gradient_norm: 2.0 }
    }

    #[test]
    fn lines_have_the_documented_keys() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        Journal::open_after(&path, 0).unwrap().step(&report(1), 0.25).unwrap();
        let line: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let expected = json!({
            "step": 1, "loss": 0.5, "lr": [1e-3, 1e-4], "grad_norm": 2.0, "seconds": 0.25
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn lines_after_the_step_and_broken_ones_are_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let mut journal = Journal::open_after(&path, 0).unwrap();
        for step in 1..=4 {
            journal.step(&report(step), 0.1).unwrap();
            journal.event("validation", step, json!({ "psnr": 30.0 })).unwrap();
        }
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(b"{\"step\": 2, \"lo")
            .unwrap();
        let before = std::fs::read_to_string(&path).unwrap();
        let mut journal = Journal::open_after(&path, 2).unwrap();
        let after = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            after,
            before.lines().take(4).map(|line| format!("{line}\n")).collect::<String>()
        );
        assert!(tells(&path, "validation", 2) && !tells(&path, "validation", 3));
        journal.step(&report(3), 0.1).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 5);
    }

    #[test]
    fn a_journal_that_cannot_be_written_is_named() {
        let error = Journal::open_after(Path::new("/no/such/journal.jsonl"), 0).unwrap_err();
        assert!(error.to_string().contains("/no/such/journal.jsonl"), "{error}");
    }
}
