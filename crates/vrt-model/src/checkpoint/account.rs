//! Every tensor of a checkpoint held against every tensor of a network.

use std::collections::BTreeMap;
use std::fmt;

use super::{Checkpoint, CheckpointError, FLOW};
use crate::config::VrtConfig;
use crate::inventory::Entry;

/// All differences between a checkpoint and a network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Parameters that the checkpoint has not.
    pub missing: Vec<String>,
    /// Tensors that the network has not.
    pub unknown: Vec<String>,
    /// Tensors of another shape, or of no floats.
    pub misshaped: Vec<Misshaped>,
}

/// A tensor that is not as the network has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misshaped {
    /// Which one.
    pub name: String,
    /// The network's sizes.
    pub expected: Vec<usize>,
    /// What the checkpoint holds, in words.
    pub found: String,
}

impl Account {
    fn balances(&self) -> bool {
        self.missing.is_empty() && self.unknown.is_empty() && self.misshaped.is_empty()
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { missing, unknown, misshaped } = self;
        write!(
            f,
            "the tensors are not those of the network: {} missing, {} unknown, {} of another shape",
            missing.len(),
            unknown.len(),
            misshaped.len()
        )?;
        if !missing.is_empty() && missing.iter().all(|name| name.starts_with(FLOW)) {
            f.write_str(" (only SpyNet is missing: give its file too, with --flow FILE)")?;
        }
        for name in missing {
            write!(f, "\n  missing: {name}")?;
        }
        for name in unknown {
            write!(f, "\n  unknown: {name}")?;
        }
        for Misshaped { name, expected, found } in misshaped {
            write!(f, "\n  of another shape: {name} is {found}, the network has {expected:?}")?;
        }
        Ok(())
    }
}

/// Holds `checkpoint` against `config`: every parameter is there once, in its shape and as
/// floats, and nothing else is, except the constants of published checkpoints.
///
/// # Errors
///
/// Fails with everything that is missing, unknown or of another shape.
pub fn account(config: &VrtConfig, checkpoint: &Checkpoint) -> Result<(), CheckpointError> {
    let mut found = Account::default();
    let mut expected = BTreeMap::new();
    for entry in config.entries() {
        match entry {
            Entry::Parameter(spec) => {
                if !checkpoint.tensors.contains_key(&spec.name) {
                    found.missing.push(spec.name.clone());
                }
                expected.insert(spec.name, (spec.shape, true));
            }
            Entry::Buffer(spec) => {
                expected.insert(spec.name, (spec.buffer.shape(), false));
            }
        }
    }
    for (name, tensor) in &checkpoint.tensors {
        let Some((shape, learnt)) = expected.get(name) else {
            found.unknown.push(name.clone());
            continue;
        };
        let as_floats = !learnt || tensor.element.is_float();
        if tensor.shape != *shape || !as_floats {
            let (name, expected) = (name.clone(), shape.clone());
            let found_there = format!("{:?} of {}", tensor.shape, tensor.element);
            found.misshaped.push(Misshaped { name, expected, found: found_there });
        }
    }
    if found.balances() {
        return Ok(());
    }
    Err(CheckpointError::Account { path: checkpoint.path.clone(), account: found })
}
