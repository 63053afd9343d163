//! How much memory a run may take.

use sysinfo::{CGroupLimits, ProcessRefreshKind, ProcessesToUpdate, System};

/// Share of the free memory that a plan uses, a GPU's too: predictions are not exact, and others
/// live there.
pub(crate) const USABLE_PERCENT: u64 = 80;

/// Memory of this machine in bytes, now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Of the machine.
    pub total: u64,
    /// That the machine can still hand out.
    pub available: u64,
    /// What the control group of this process (a container, a batch job) may take in all, where
    /// that is less than the machine has.
    pub limit: Option<u64>,
    /// What that group may still take.
    pub left_of_limit: Option<u64>,
}

impl Memory {
    /// Asks the system; `None` where it does not tell.
    pub fn now() -> Option<Self> {
        let mut system = System::new().ok()?;
        system.refresh_memory();
        let (total, available) = (system.total_memory(), system.available_memory());
        let group = control_group(&mut system).filter(|group| group.total_memory < total);
        Some(Self {
            total,
            available,
            limit: group.as_ref().map(|group| group.total_memory),
            left_of_limit: group.as_ref().map(|group| group.free_memory),
        })
    }

    /// What a run plans its tiles for: a safe share of what is free.
    pub fn usable(&self) -> u64 {
        let free = self.left_of_limit.map_or(self.available, |left| left.min(self.available));
        free / 100 * USABLE_PERCENT
    }
}

/// The limits of this process's control group, or else of the container's.
fn control_group(system: &mut System) -> Option<CGroupLimits> {
    let own = sysinfo::get_current_pid().ok().and_then(|pid| {
        let (which, what) = (ProcessesToUpdate::Some(&[pid]), ProcessRefreshKind::nothing());
        system.refresh_processes_specifics(which, false, what);
        system.process(pid)?.cgroup_limits()
    });
    own.or_else(|| system.cgroup_limits())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_memory_and_some_of_it_is_usable() {
        let memory = Memory::now().expect("a system that tells");
        assert!(memory.available > 0 && memory.available <= memory.total, "{memory:?}");
        assert!(memory.usable() > 0 && memory.usable() < memory.available, "{memory:?}");
    }

    #[test]
    fn a_control_group_bounds_what_is_usable() {
        let machine = Memory { total: 1000, available: 800, limit: None, left_of_limit: None };
        assert_eq!(machine.usable(), 640);
        let group = Memory { limit: Some(500), left_of_limit: Some(100), ..machine };
        assert_eq!(group.usable(), 80);
        let generous = Memory { limit: Some(900), left_of_limit: Some(900), ..machine };
        assert_eq!(generous.usable(), 640);
    }
}
