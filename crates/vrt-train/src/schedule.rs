//! Learning rates as functions of the step.

use std::f64::consts::PI;

use crate::recipe::{Schedule, ScheduleKind};

/// The learning rate of `step` (from 1) for parameters whose rate begins at `base` · `factor`.
pub fn learning_rate(schedule: &Schedule, factor: f64, step: u64) -> f64 {
    let base = schedule.base * factor;
    match &schedule.kind {
        ScheduleKind::MultiStep { milestones, gamma } => {
            let passed = milestones.iter().filter(|milestone| **milestone <= step).count();
            base * gamma.powi(i32::try_from(passed).unwrap_or(i32::MAX))
        }
        ScheduleKind::CosineRestarts { period, growth, eta_min } => {
            let (within, length) = within_period(step, *period, *growth);
            let share = within as f64 / length as f64;
            eta_min + (base - eta_min) * (1.0 + (PI * share).cos()) / 2.0
        }
    }
}

/// Steps since the last restart, and the length of that period.
fn within_period(step: u64, period: u64, growth: u64) -> (u64, u64) {
    if growth == 1 {
        return (step % period, period);
    }
    let (mut within, mut length) = (step, period);
    while within >= length {
        within -= length;
        length = length.saturating_mul(growth);
    }
    (within, length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cosine(period: u64, growth: u64) -> Schedule {
        Schedule {
            kind: ScheduleKind::CosineRestarts { period, growth, eta_min: 1e-7 },
            base: 4e-4,
        }
    }

    #[test]
    fn milestones_count_from_their_own_step() {
        let kind = ScheduleKind::MultiStep { milestones: vec![3, 5], gamma: 0.5 };
        let schedule = Schedule { kind, base: 4e-4 };
        let rates: Vec<_> = (1..=6).map(|step| learning_rate(&schedule, 0.125, step)).collect();
        assert_eq!(rates, [5e-5, 5e-5, 2.5e-5, 2.5e-5, 1.25e-5, 1.25e-5]);
    }

    #[test]
    fn longer_periods_follow_each_other() {
        assert_eq!(
            [3, 4, 11, 12, 27, 28].map(|step| within_period(step, 4, 2)),
            [(3, 4), (0, 8), (7, 8), (0, 16), (15, 16), (0, 32)]
        );
    }

    proptest! {
        #[test]
        fn rates_stay_between_the_ends_and_begin_anew_at_the_base(
            period in 1..500_u64,
            step in 0..2000_u64,
        ) {
            let schedule = cosine(period, 1);
            let rate = learning_rate(&schedule, 1.0, step);
            prop_assert!((1e-7..=4e-4).contains(&rate), "{}", rate);
            prop_assert_eq!(learning_rate(&schedule, 1.0, 3 * period), 4e-4);
            prop_assert_eq!(rate, learning_rate(&schedule, 1.0, step + period));
        }
    }
}
